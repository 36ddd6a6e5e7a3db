"""The expected cost of a call: today's token prices times predicted tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from router.models.model_list import listed_entry
from router.records import FloatArray, Json
from router.settings.sections import Config

PER_MILLION = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPrice:
    """What one model costs.

    Attributes:
        per_input_token, per_output_token: USD.
        per_call: USD on top; the log's mean cost for a model with costs but no token counts in the log.
        source: "config", "log", "litellm", or "unknown" (then the rest is NaN).
    """

    per_input_token: float
    per_output_token: float
    per_call: float
    source: str

    @staticmethod
    def unknown() -> ModelPrice:
        """No price: the expected cost is NaN."""
        return ModelPrice(per_input_token=np.nan, per_output_token=np.nan, per_call=np.nan, source="unknown")

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
    def of(prices: Sequence[ModelPrice]) -> PriceTable:
        """The prices as arrays."""
        return PriceTable(
            per_input_token=np.array([price.per_input_token for price in prices]),
            per_output_token=np.array([price.per_output_token for price in prices]),
            per_call=np.array([price.per_call for price in prices]),
        )

    def expected_cost(self, input_tokens: FloatArray, output_tokens: FloatArray) -> FloatArray:
        """USD per call, shape (..., n_models), from token counts of the same shape; NaN if unknown."""
        return input_tokens * self.per_input_token + output_tokens * self.per_output_token + self.per_call


def current_prices(
    models: Sequence[str], logged: Mapping[str, Json], config: Config
) -> dict[str, ModelPrice]:
    """Today's price of each model.

    The settings come first. Then, with `prices: log`, come the price in the team's calls (which includes
    discounts and cached tokens) and LiteLLM's list; with `prices: litellm`, the list and the log.

    Args:
        logged: per model, the members of `ModelPrice.to_json` as fitted on the log; a model may be missing.
    """
    return {model: _price(model, logged.get(model), config) for model in models}


def _price(model: str, logged: Json, config: Config) -> ModelPrice:
    settings = config.of(model)
    if settings.price:
        return ModelPrice(
            per_input_token=settings.price.input_usd_per_million * PER_MILLION,
            per_output_token=settings.price.output_usd_per_million * PER_MILLION,
            per_call=0.0,
            source="config",
        )
    from_log = ModelPrice(**logged, source="log") if logged else None
    if from_log and config.prices == "log":
        return from_log
    return listed_price(settings.litellm_model, model) or from_log or ModelPrice.unknown()


def listed_price(*names: str | None) -> ModelPrice | None:
    """LiteLLM's list price of a model, by the first of its names that is listed.

    None if LiteLLM is not installed, or the list has no price per token.
    """
    entry = listed_entry(*names)
    if not entry or "input_cost_per_token" not in entry:
        return None
    return ModelPrice(
        per_input_token=float(entry["input_cost_per_token"] or 0),
        per_output_token=float(entry.get("output_cost_per_token") or 0),
        per_call=0.0,
        source="litellm",
    )
