"""The expected cost of a call: today's token prices times predicted tokens."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Self

import numpy as np

from router.effort import effort_in, effort_of
from router.models.model_list import (
    SEARCHING,
    Entry,
    Target,
    cached_price_share,
    listed_entry,
    stated_number,
)
from router.records import LISTS, BoolArray, FloatArray, Json
from router.settings.sections import Config, Price, TierPrice

PER_MILLION = 1e-6
LISTED_TIER = re.compile(r"input_cost_per_token_([a-z]{1,30})")
CACHED = ("cached_price", "cached_first", "cached_later")
"""Members of a logged price that only a log with cached tokens has."""
LISTED_CHANGES = ("long_from", "long", "tiers", "long_tiers", "other")
"""Attributes that the list knows of a price that a log shows."""
LISTED_OTHER = {
    "heard": ("input_cost_per_audio_token", "input_cost_per_token"),
    "spoken": ("output_cost_per_audio_token", "output_cost_per_token"),
    "thought": ("output_cost_per_reasoning_token", "output_cost_per_token"),
}
"""Members of the list for tokens that are no text, and for those that are."""
LISTED_LONG = re.compile(r"input_cost_per_token_above_(\d{1,6})k_tokens")


@dataclass(frozen=True, slots=True, kw_only=True)
class Factor:
    """What multiplies the prices of input and output tokens."""

    input: float = 1.0
    output: float = 1.0


PLAIN = Factor()


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherTokens:
    """What a token costs that is no text, as a multiple of the price of one that is.

    Attributes:
        heard: of audio in the request.
        spoken, thought: of a spoken answer, and of one that the model thinks about first.
    """

    heard: float = 1.0
    spoken: float = 1.0
    thought: float = 1.0


TEXT_ALIKE = OtherTokens()


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
        other: what audio and thought cost.
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
    other: OtherTokens = TEXT_ALIKE

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

    def answer_factor(self, call: Mapping[str, Json]) -> float:
        """What a call's arguments multiply the price of the answer by: speech and thought may cost more."""
        thinks = effort_of(call) not in (None, "none") or call.get("enable_thinking") is True
        return max(self.other.spoken if wants_speech(call) else 1.0, self.other.thought if thinks else 1.0)

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


def wants_speech(call: Mapping[str, Json]) -> bool:
    """Whether a call's arguments ask for a spoken answer."""
    stated = call.get("modalities")
    listed = [stated] if isinstance(stated, str) else stated
    return isinstance(listed, LISTS) and any(isinstance(one, str) and one == "audio" for one in listed)


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
    price = _at_effort(model, _source_price(model, logged, config))
    if price.source == "log" or not logged or "cached_price" not in logged:
        return price
    share = cached_price_of(model, config)
    cached = {name: logged[name] for name in CACHED} | {"cached_price": 1.0 if share is None else share}
    return replace(price, **cached)


def _at_effort(model: str, price: ModelPrice) -> ModelPrice:
    """The price of an action that thinks; the log's own holds that already."""
    if price.other.thought == 1.0 or (price.source != "log" and effort_in(model) in (None, "none")):
        return price
    factor = 1.0 if price.source == "log" else price.other.thought
    other = replace(price.other, thought=1.0)
    return replace(price, per_output_token=factor * price.per_output_token, other=other)


def _source_price(model: str, logged: Json, config: Config) -> ModelPrice:
    settings = config.of(model)
    listed = listed_price(settings.litellm_model, model)
    if settings.price:
        return _with_own_audio(settings.price, listed)
    from_log = ModelPrice(**logged, source="log") if logged else None
    if from_log and listed:
        from_log = replace(from_log, **{name: getattr(listed, name) for name in LISTED_CHANGES})
    return (from_log if config.prices == "log" else None) or listed or from_log or ModelPrice.unknown()


def _with_own_audio(own: Price, listed: ModelPrice | None) -> ModelPrice:
    """The team's own price; what it does not say of audio and thought costs the list's multiple of text."""
    price = ModelPrice.of_settings(own)
    multiples = {
        name: stated / plain
        for name, stated, plain in (
            ("heard", own.audio_input_usd_per_million, own.input_usd_per_million),
            ("spoken", own.audio_output_usd_per_million, own.output_usd_per_million),
        )
        if stated is not None and plain
    }
    other = listed.other if listed else TEXT_ALIKE
    return replace(price, other=replace(other, **multiples) if multiples else other)


def listed_price(*names: str | None) -> ModelPrice | None:
    """LiteLLM's list price of a model, by the first of its names that is listed.

    None if LiteLLM is not installed, or the list has no price per token.
    """
    return _entry_price(listed_entry(*names))


def listed_other(*names: str | None) -> OtherTokens:
    """What tokens that are no text cost by LiteLLM's list, by the first of a model's names that is listed."""
    entry = listed_entry(*names)
    return _listed_other(entry) if entry else TEXT_ALIKE


def _entry_price(entry: Entry | None) -> ModelPrice | None:
    if not entry:
        return None
    if "input_cost_per_token" not in entry:
        return _price_by_length(entry.get("tiered_pricing"))
    return ModelPrice(
        per_input_token=float(entry["input_cost_per_token"] or 0),
        per_output_token=float(entry.get("output_cost_per_token") or 0),
        per_call=(stated_number(entry, "input_cost_per_request") or 0.0) + _search_fee(entry),
        source="litellm",
        **_listed_changes(entry),
    )


def _price_by_length(parts: Json) -> ModelPrice | None:
    """The price of a model that is listed by ranges of input tokens; beyond the first, the dearest one's."""
    usable = [part for part in parts if _is_range(part)] if isinstance(parts, list) else []
    if not usable:
        return None
    first, *later = sorted(usable, key=lambda part: part["range"][0])
    price = _entry_price(first)
    if price is None or not later:
        return price
    kinds = ("input", "output")
    most = {kind: max(float(part[f"{kind}_cost_per_token"]) for part in later) for kind in kinds}
    plain = {kind: float(first[f"{kind}_cost_per_token"]) for kind in kinds}
    long = Factor(**{kind: most[kind] / plain[kind] for kind in kinds if plain[kind]})
    return replace(price, long_from=float(first["range"][1]), long=long)


def _is_range(part: Json) -> bool:
    wanted = {"range", "input_cost_per_token", "output_cost_per_token"}
    return isinstance(part, Mapping) and wanted <= part.keys() and len(part["range"]) == 2


def _search_fee(entry: Entry) -> float:
    """USD of the one search that every call of a provider of answers from the web makes at least."""
    fees = entry.get("search_context_cost_per_query")
    always = entry.get("litellm_provider") in SEARCHING
    return (stated_number(fees, "search_context_size_low") or 0.0) if always and fees else 0.0


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
    tiers = {_tier(name): _listed_factor(entry, f"_{name}") for name in names}
    other = _listed_other(entry)
    if not lengths:
        return {"tiers": tiers, "other": other}
    long = f"_above_{lengths[0]}k_tokens"
    both = {name for name in names if f"input_cost_per_token{long}_{name}" in entry}
    return {
        "tiers": tiers,
        "long_from": 1_000.0 * lengths[0],
        "long": _listed_factor(entry, long),
        "long_tiers": {_tier(name): _listed_factor(entry, f"{long}_{name}") for name in both},
        "other": other,
    }


def _tier(listed: str) -> str:
    """A service tier by the word that a call states and a response reports."""
    return "batch" if listed == "batches" else listed


def _listed_other(entry: Entry) -> OtherTokens:
    multiples = {
        name: stated / plain
        for name, (member, text) in LISTED_OTHER.items()
        if (stated := stated_number(entry, member)) is not None and (plain := stated_number(entry, text))
    }
    return TEXT_ALIKE if all(one == 1.0 for one in multiples.values()) else OtherTokens(**multiples)


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
