"""The expected cost of a call: today's token prices times predicted tokens."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Self

import numpy as np

from router.models.model_list import Entry, Target, cached_price_share, listed_entry, stated_number
from router.records import BoolArray, FloatArray, Json
from router.settings.sections import Config, Price, TierPrice

PER_MILLION = 1e-6
LISTED_TIER = re.compile(r"input_cost_per_token_([a-z]{1,30})")
CACHED = ("cached_price", "cached_first", "cached_later")
"""Members of a logged price that only a log with cached tokens has."""
LISTED_LONG = re.compile(r"input_cost_per_token_above_(\d{1,6})k_tokens")


@dataclass(frozen=True, slots=True, kw_only=True)
class Factor:
    """What multiplies the prices of input and output tokens."""

    input: float = 1.0
    output: float = 1.0


PLAIN = Factor()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPrice:
    """What one model costs.

    Attributes:
        per_input_token, per_output_token: USD.
        per_call: USD on top; the log's mean cost for a model with costs but no token counts in the log.
        source: "config", "log", "litellm", or "unknown" (then the rest is NaN).
        long_from, long: input tokens above which a whole call costs more, and how much.
        tiers, long_tiers: how the price differs by service tier, of other and of long prompts; a tier that is
            missing costs what others do.
        cached_price: price of an input token in the provider's prompt cache, as a share of the full price.
        cached_first, cached_later: mean share of the input tokens that the log's calls read from that cache,
            where they began a conversation and where they went on with one.
    """

    per_input_token: float
    per_output_token: float
    per_call: float
    source: str
    long_from: float = np.inf
    long: Factor = PLAIN
    tiers: Mapping[str, Factor] = field(default_factory=dict)
    long_tiers: Mapping[str, Factor] = field(default_factory=dict)
    cached_price: float = 1.0
    cached_first: float = 0.0
    cached_later: float = 0.0

    @classmethod
    def of_settings(cls, price: Price) -> Self:
        """The team's own price."""
        tiers = {name: _factor(tier, price) for name, tier in price.service_tiers.items()}
        return cls(
            per_input_token=price.input_usd_per_million * PER_MILLION,
            per_output_token=price.output_usd_per_million * PER_MILLION,
            per_call=0.0,
            source="config",
            long_from=price.above.tokens if price.above else np.inf,
            long=_factor(price.above, price) if price.above else PLAIN,
            tiers=tiers,
        )

    @staticmethod
    def unknown() -> ModelPrice:
        """No price: the expected cost is NaN."""
        return ModelPrice(per_input_token=np.nan, per_output_token=np.nan, per_call=np.nan, source="unknown")

    def factor(self, input_tokens: float, tier: object = None) -> Factor:
        """What a call's length and service tier multiply the prices by."""
        long = input_tokens > self.long_from
        tiers, plain = (self.long_tiers, self.long) if long else (self.tiers, PLAIN)
        return tiers.get(tier, plain) if isinstance(tier, str) else plain

    def to_json(self) -> dict[str, Json]:
        """Plain JSON values, as the manifest holds them; what differs by length or tier is looked up."""
        cached = CACHED if self.cached_first or self.cached_later else ()
        names = ("per_input_token", "per_output_token", "per_call", *cached)
        return {name: getattr(self, name) for name in names}

    def billed_share(self, *, later: bool) -> float:
        """What share of the full price the input of a call is expected to cost."""
        return 1.0 - (self.cached_later if later else self.cached_first) * (1.0 - self.cached_price)


@dataclass(frozen=True, kw_only=True)
class PriceTable:
    """Prices of a router's models, in the order of its columns; arrays of shape (n_models,), USD."""

    per_input_token: FloatArray
    per_output_token: FloatArray
    per_call: FloatArray
    long_from: FloatArray
    prices: Sequence[ModelPrice]

    @staticmethod
    def of(prices: Sequence[ModelPrice]) -> PriceTable:
        """The prices as arrays."""
        return PriceTable(
            per_input_token=np.array([price.per_input_token for price in prices]),
            per_output_token=np.array([price.per_output_token for price in prices]),
            per_call=np.array([price.per_call for price in prices]),
            long_from=np.array([price.long_from for price in prices]),
            prices=prices,
        )

    @cached_property
    def knows_cache(self) -> bool:
        """Whether the log showed how much of any model's input comes from a cache."""
        return any(price.cached_first or price.cached_later for price in self.prices)

    def expected_cost(
        self,
        input_tokens: FloatArray,
        output_tokens: FloatArray,
        tiers: Sequence[Json] | None = None,
        later: BoolArray | None = None,
    ) -> FloatArray:
        """USD per call, shape (..., n_models), from token counts of the same shape; NaN if unknown.

        Args:
            tiers: each model's `service_tier`; None: none states one.
            later: shape (...); whether each call goes on with a conversation, so that part of its input is in
                the provider's cache; None: nothing is expected to be there, as a cap on costs needs.
        """
        inputs, outputs = input_tokens * self.per_input_token, output_tokens * self.per_output_token
        longer = input_tokens > self.long_from
        if tiers is not None or longer.any():
            stated = list(zip(self.prices, tiers or [None] * len(self.prices), strict=True))
            short = [price.factor(0, tier) for price, tier in stated]
            long = [price.factor(np.inf, tier) for price, tier in stated]
            inputs = inputs * np.where(longer, [one.input for one in long], [one.input for one in short])
            outputs = outputs * np.where(longer, [one.output for one in long], [one.output for one in short])
        if later is not None and self.knows_cache:
            shares = [[price.billed_share(later=kind) for price in self.prices] for kind in (False, True)]
            inputs = inputs * np.where(later[..., None], shares[1], shares[0])
        return inputs + outputs + self.per_call


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


def cached_price_of(model: str, config: Config) -> float | None:
    """Price of a cached input token as a share of the full price; None if neither settings nor list say."""
    settings = config.of(model)
    own = settings.price
    if own and own.cached_input_usd_per_million is not None and own.input_usd_per_million:
        return min(own.cached_input_usd_per_million / own.input_usd_per_million, 1.0)
    return cached_price_share(settings.litellm_model, model)


def _price(model: str, logged: Json, config: Config) -> ModelPrice:
    price = _source_price(model, logged, config)
    if price.source == "log" or not logged or "cached_price" not in logged:
        return price
    share = cached_price_of(model, config)
    cached = {name: logged[name] for name in CACHED} | {"cached_price": 1.0 if share is None else share}
    return replace(price, **cached)


def _source_price(model: str, logged: Json, config: Config) -> ModelPrice:
    settings = config.of(model)
    if settings.price:
        return ModelPrice.of_settings(settings.price)
    listed = listed_price(settings.litellm_model, model)
    from_log = ModelPrice(**logged, source="log") if logged else None
    if from_log and listed:
        changes = {name: getattr(listed, name) for name in ("long_from", "long", "tiers", "long_tiers")}
        from_log = replace(from_log, **changes)
    return (from_log if config.prices == "log" else None) or listed or from_log or ModelPrice.unknown()


def listed_price(*names: str | None) -> ModelPrice | None:
    """LiteLLM's list price of a model, by the first of its names that is listed.

    None if LiteLLM is not installed, or the list has no price per token.
    """
    return _entry_price(listed_entry(*names))


def _entry_price(entry: Entry | None) -> ModelPrice | None:
    if not entry or "input_cost_per_token" not in entry:
        return None
    return ModelPrice(
        per_input_token=float(entry["input_cost_per_token"] or 0),
        per_output_token=float(entry.get("output_cost_per_token") or 0),
        per_call=0.0,
        source="litellm",
        **_listed_changes(entry),
    )


def dearest_price(price: ModelPrice, targets: Sequence[Target]) -> ModelPrice:
    """The most that a call may cost on some deployments; unknown if one of them has no price.

    The team's own price holds for the whole group, and so does the log's if all of them are listed alike.
    """
    listed = [_target_price(target) for target in targets]
    alike = len({(one.per_input_token, one.per_output_token) for one in listed}) == 1
    if not targets or price.source == "config" or (price.source == "log" and alike):
        return price
    long = [one.long for one in listed]
    return replace(
        listed[0],
        per_input_token=np.max([one.per_input_token for one in listed]),
        per_output_token=np.max([one.per_output_token for one in listed]),
        long_from=min(one.long_from for one in listed),
        long=Factor(input=max(one.input for one in long), output=max(one.output for one in long)),
    )


@lru_cache(maxsize=1_000)
def _target_price(target: Target) -> ModelPrice:
    """The listed price of a deployment; kept, as every decision needs it."""
    return _entry_price(target.entry) or ModelPrice.unknown()


def _listed_changes(entry: Entry) -> dict[str, Json]:
    """How the list's price differs for long prompts (from the first length on) and by service tier."""
    lengths = sorted(int(match[1]) for name in entry if (match := LISTED_LONG.fullmatch(name)))
    names = [match[1] for name in entry if (match := LISTED_TIER.fullmatch(name))]
    tiers = {name: _listed_factor(entry, f"_{name}") for name in names}
    if not lengths:
        return {"tiers": tiers}
    long = f"_above_{lengths[0]}k_tokens"
    both = {name for name in names if f"input_cost_per_token{long}_{name}" in entry}
    return {
        "tiers": tiers,
        "long_from": 1_000.0 * lengths[0],
        "long": _listed_factor(entry, long),
        "long_tiers": {name: _listed_factor(entry, f"{long}_{name}") for name in both},
    }


def _listed_factor(entry: Entry, ending: str) -> Factor:
    factors = {}
    for kind in ("input", "output"):
        plain, changed = (stated_number(entry, f"{kind}_cost_per_token{end}") for end in ("", ending))
        if plain and changed is not None:
            factors[kind] = changed / plain
    return Factor(**factors)


def _factor(changed: TierPrice, price: Price) -> Factor:
    """Another price as a multiple of the plain one."""
    inputs, outputs = price.input_usd_per_million, price.output_usd_per_million
    return Factor(
        input=changed.input_usd_per_million / inputs if inputs else 1.0,
        output=changed.output_usd_per_million / outputs if outputs else 1.0,
    )
