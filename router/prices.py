"""What a call is expected to cost: token prices of today times predicted tokens."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from router.config import Config
from router.records import FloatArray, Json

PRICE_LIST = "model_prices_and_context_window_backup.json"
PER_MILLION = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What one model costs.

    Attributes:
        per_input_token, per_output_token: USD.
        per_call: USD on top; the log's mean cost, for a model whose log has costs but no token counts.
        source: "config", "log", "litellm", or "unknown" (then the rest is NaN).
    """

    per_input_token: float
    per_output_token: float
    per_call: float
    source: str

    @staticmethod
    def unknown() -> Price:
        """No price: the expected cost is NaN."""
        return Price(per_input_token=np.nan, per_output_token=np.nan, per_call=np.nan, source="unknown")

    def to_json(self) -> dict[str, Json]:
        """Plain JSON values, as the manifest holds them."""
        return {
            "per_input_token": self.per_input_token,
            "per_output_token": self.per_output_token,
            "per_call": self.per_call,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceTable:
    """Prices of a router's models, in the order of its columns; arrays of shape (n_models,), USD."""

    per_input_token: FloatArray
    per_output_token: FloatArray
    per_call: FloatArray

    @staticmethod
    def of(prices: Sequence[Price]) -> PriceTable:
        """The prices as arrays."""
        return PriceTable(
            per_input_token=np.array([price.per_input_token for price in prices]),
            per_output_token=np.array([price.per_output_token for price in prices]),
            per_call=np.array([price.per_call for price in prices]),
        )

    def expected_cost(self, input_tokens: FloatArray, output_tokens: FloatArray) -> FloatArray:
        """USD a call, shape (..., n_models), from token counts of the same shape; NaN where unknown."""
        return input_tokens * self.per_input_token + output_tokens * self.per_output_token + self.per_call


def current_prices(models: Sequence[str], logged: Mapping[str, Json], config: Config) -> dict[str, Price]:
    """Today's price of each model.

    The configuration comes first. Then the price that the team's calls show, or LiteLLM's list: the log first
    with `prices: log` (it knows discounts and cached tokens), the list first with `prices: litellm`.

    Args:
        logged: per model the members of `Price.to_json`, as fitted on the log; a model may be missing.
    """
    return {model: _price(model, logged.get(model), config) for model in models}


def _price(model: str, logged: Json, config: Config) -> Price:
    settings = config.models.get(model)
    if settings and settings.price:
        return Price(
            per_input_token=settings.price.input_usd_per_million * PER_MILLION,
            per_output_token=settings.price.output_usd_per_million * PER_MILLION,
            per_call=0.0,
            source="config",
        )
    from_log = Price(**logged, source="log") if logged else None
    if from_log and config.prices == "log":
        return from_log
    return listed_price(model) or from_log or Price.unknown()


def listed_price(model: str) -> Price | None:
    """LiteLLM's list price of a model, or None when LiteLLM is not installed or does not list it."""
    listed = _price_list()
    entry = listed.get(model) or listed.get(model.rpartition("/")[2])
    if not entry or "input_cost_per_token" not in entry:
        return None
    return Price(
        per_input_token=float(entry["input_cost_per_token"] or 0),
        per_output_token=float(entry.get("output_cost_per_token") or 0),
        per_call=0.0,
        source="litellm",
    )


@cache
def _price_list() -> dict[str, dict[str, Json]]:
    """LiteLLM's price file, read without importing LiteLLM, which takes seconds and asks the network."""
    spec = importlib.util.find_spec("litellm")
    path = Path(spec.origin).with_name(PRICE_LIST) if spec and spec.origin else None
    if path is None or not path.is_file():
        return {}
    loaded: dict[str, dict[str, Json]] = json.loads(path.read_bytes())
    return loaded
