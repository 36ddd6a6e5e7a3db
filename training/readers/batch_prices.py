"""Tokens and cost of a call in a provider's batch, at LiteLLM's batch prices."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from router.models.model_list import Entry, listed_entry, stated_number
from router.records import Json
from training.readers.protocol import Call
from training.readers.token_kinds import token_kinds
from training.readers.values import filled, mapping

logger = logging.getLogger(__name__)

HALF = 0.5
"""Part of the list price that a batch costs if LiteLLM lists no batch price."""
_INPUT, _OUTPUT = "input_cost_per_token", "output_cost_per_token"
_READ, _WRITTEN = "cache_read_input_token_cost", "cache_creation_input_token_cost"
_TIER = re.compile(r"_above_(\d+)k_tokens(?:_batches)?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchUsage:
    """Tokens of one call.

    Attributes:
        input: all tokens of the prompt, with those in the provider's cache.
        read: tokens read from the cache.
        written: tokens written to it.
    """

    input: float
    output: float
    read: float
    written: float

    @staticmethod
    def of(usage: Json) -> BatchUsage | None:
        """The counts of a `usage` in any of the three protocols; None if it has no counts."""
        counts = mapping(usage)
        kinds = token_kinds(counts)
        read, written = kinds.get("cached_input_tokens"), kinds.get("cache_write_tokens")
        if "prompt_tokens" in counts:
            return _usage(counts["prompt_tokens"], counts.get("completion_tokens"), read, written)
        fresh, total = _count(counts.get("input_tokens")), _count(counts.get("total_tokens"))
        if fresh is None:
            return None
        whole = fresh + (_count(read) or 0) + (_count(written) or 0)
        if "input_tokens_details" in counts or (
            total is not None and total != whole + (_count(counts.get("output_tokens")) or 0)
        ):
            whole = fresh
        return _usage(whole, counts.get("output_tokens"), read, written)


def _usage(inputs: Json, outputs: Json, read: Json, written: Json) -> BatchUsage | None:
    prompt, answer = _count(inputs), _count(outputs)
    if prompt is None or answer is None:
        return None
    return BatchUsage(input=prompt, output=answer, read=_count(read) or 0, written=_count(written) or 0)


def _count(value: Json) -> float | None:
    usable = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf
    return float(value) if usable and value <= 2**53 else None


def batch_amounts(usage: Json, *names: str | None) -> Call:
    """Tokens and cost of a call in a batch, from its `usage` and the names of its model; only those known."""
    counts = BatchUsage.of(usage)
    if counts is None:
        return {}
    amounts = {
        "cost_usd": batch_cost(counts, *names),
        "input_tokens": counts.input,
        "output_tokens": counts.output,
    }
    return filled(amounts, zeros=True) | token_kinds(mapping(usage))


def batch_cost(usage: BatchUsage, *names: str | None) -> float | None:
    """USD of a call in a batch, by the first of the model's names that LiteLLM lists; None if it lists none.

    If LiteLLM lists a price but none for batches, this warns and takes half of the list price.
    """
    entry = listed_entry(*names)
    if entry is None:
        return None
    per_input, per_output = (_rate(entry, name, usage.input) for name in (_INPUT, _OUTPUT))
    if per_input is None or per_output is None:
        return None
    listed = f"{_INPUT}_batches" in entry
    if not listed:
        _warn_once(next(name for name in names if name))
    cached = 0.0
    for name, tokens in ((_READ, usage.read), (_WRITTEN, usage.written)):
        rate = _rate(entry, name, usage.input, or_half=not listed)
        cached += tokens * (per_input if rate is None else rate)
    return max(usage.input - usage.read - usage.written, 0.0) * per_input + usage.output * per_output + cached


@cache
def _warn_once(model: str) -> None:
    logger.warning("%s: LiteLLM lists no batch price, so its batches count at half its list price", model)


def _rate(entry: Entry, name: str, tokens: float, *, or_half: bool = True) -> float | None:
    """The batch price of a kind of token, in the highest tier that a prompt of so many tokens reaches.

    Args:
        or_half: if there is no batch price, take half of the normal one. False for the cache if the input has
            a batch price: the cache then costs as much as the input, as in LiteLLM.
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
    """The least tokens of each tier above the first, by the tier's suffix in the name of the price."""
    tiers = {}
    for key in entry:
        tier = _TIER.search(key) if key.startswith(name) else None
        if tier and key[: tier.start()] == name:
            tiers[tier[0].removesuffix("_batches")] = int(tier[1]) * 1000
    return tiers
