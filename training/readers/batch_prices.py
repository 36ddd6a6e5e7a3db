"""What a call in a provider's batch cost: its tokens at LiteLLM's batch prices."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from router.models.model_list import Entry, listed_entry, stated_number
from router.records import Json
from training.readers.values import mapping, member

logger = logging.getLogger(__name__)

HALF = 0.5
"""What providers take off for a batch; used where LiteLLM lists no batch price."""
_INPUT, _OUTPUT = "input_cost_per_token", "output_cost_per_token"
_READ, _WRITTEN = "cache_read_input_token_cost", "cache_creation_input_token_cost"
_TIER = re.compile(r"_above_(\d+)k_tokens(?:_batches)?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchUsage:
    """Tokens of one call.

    Attributes:
        input: all tokens of the prompt, those in the provider's cache included.
        read: tokens read from the cache.
        written: tokens written to it.
    """

    input: float
    output: float
    read: float
    written: float

    @staticmethod
    def of(usage: Json) -> BatchUsage | None:
        """The counts of a `usage` in any of the three protocols; None where it has none."""
        said = mapping(usage)
        if "prompt_tokens" in said:
            read = member(said.get("prompt_tokens_details"), "cached_tokens")
            return _usage(said["prompt_tokens"], said.get("completion_tokens"), read, 0)
        if "input_tokens_details" in said or "total_tokens" in said:
            read = member(said.get("input_tokens_details"), "cached_tokens")
            return _usage(said.get("input_tokens"), said.get("output_tokens"), read, 0)
        read, written = said.get("cache_read_input_tokens"), said.get("cache_creation_input_tokens")
        fresh = _count(said.get("input_tokens"))
        if fresh is None:
            return None
        return _usage(
            fresh + (_count(read) or 0) + (_count(written) or 0), said.get("output_tokens"), read, written
        )


def _usage(given: Json, made: Json, read: Json, written: Json) -> BatchUsage | None:
    inputs, outputs = _count(given), _count(made)
    if inputs is None or outputs is None:
        return None
    return BatchUsage(input=inputs, output=outputs, read=_count(read) or 0, written=_count(written) or 0)


def _count(value: Json) -> float | None:
    usable = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf
    return float(value) if usable and value <= 2**53 else None


def batch_cost(usage: BatchUsage, *names: str | None) -> float | None:
    """USD of a call in a batch, by the first of the model's names that LiteLLM lists; None where none is.

    Half the list price is taken, and a warning given, where the list has a price and none for batches.
    """
    entry = listed_entry(*names)
    if entry is None:
        return None
    given, made = (_rate(entry, name, usage.input) for name in (_INPUT, _OUTPUT))
    if given is None or made is None:
        return None
    listed = f"{_INPUT}_batches" in entry
    if not listed:
        _tell(next(name for name in names if name))
    cached = 0.0
    for name, tokens in ((_READ, usage.read), (_WRITTEN, usage.written)):
        rate = _rate(entry, name, usage.input, or_half=not listed)
        cached += tokens * (given if rate is None else rate)
    return max(usage.input - usage.read - usage.written, 0.0) * given + usage.output * made + cached


@cache
def _tell(model: str) -> None:
    """Once for each model."""
    logger.warning("%s: LiteLLM lists no batch price, so its batches cost half its list price here", model)


def _rate(entry: Entry, name: str, tokens: float, *, or_half: bool = True) -> float | None:
    """The batch price of a kind of token, of the highest tier that a prompt so long reaches.

    Args:
        or_half: take half the price outside batches where there is none. Not for the cache where the input
            has a batch price: as in LiteLLM, that price is the cache's then.
    """
    tiers = _tiers(entry, name)
    reached = [tier for tier in ("", *tiers) if tier == "" or tiers[tier] < tokens]
    for tier in sorted(reached, key=lambda one: -tiers.get(one, 0)):
        batch, plain = (stated_number(entry, f"{name}{tier}{end}") for end in ("_batches", ""))
        if batch is not None:
            return batch
        if plain is not None and or_half:
            return plain * HALF
    return None


def _tiers(entry: Mapping[str, Json], name: str) -> dict[str, int]:
    """The least tokens of each tier beyond the first, by the part of the price's name that says so."""
    found = {}
    for key in entry:
        tier = _TIER.search(key) if key.startswith(name) else None
        if tier and key[: tier.start()] == name:
            found[tier[0].removesuffix("_batches")] = int(tier[1]) * 1000
    return found
