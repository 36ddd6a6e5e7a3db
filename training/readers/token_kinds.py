"""Tokens that providers count apart: read from the prompt cache, written into it, spent on thoughts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache

from router.records import Json
from training.readers.protocol import Call
from training.readers.values import mapping, usable_number

TOKEN_KINDS = ("cached_input_tokens", "cache_write_tokens", "reasoning_tokens")
_NAMES = {
    "cache_write_tokens": re.compile(r"cache_?(writ|creat)", re.IGNORECASE),
    "cached_input_tokens": re.compile(r"cached|cache_?(audio_?)?(read|hit)", re.IGNORECASE),
    "reasoning_tokens": re.compile(r"reasoning|thought", re.IGNORECASE),
}
_NO_COUNT = re.compile(r"cost|price|usd|discount", re.IGNORECASE)
_BY_LIFETIME = re.compile(r"_(5m|1h)(_|$)")
_GROUP = re.compile(r"details?$|^original_usage$", re.IGNORECASE)


def token_kinds(usage: Mapping[str, Json]) -> Call:
    """The counts of a provider's usage by canonical column; a kind that it does not count has none.

    Protocols name them alike (`prompt_tokens_details.cached_tokens`, `cache_read_input_tokens`,
    `cacheReadInputTokens`, `cachedContentTokenCount`), so that the words in a name say what it counts. Where
    several names say the same, the largest counts: the others are parts of it, or a client's own zero.
    """
    counts: dict[str, Json] = {}
    parts: dict[str, int] = {}
    for name, value in _members(usage):
        kind = _kind(name)
        count = usable_number(value) if kind and not isinstance(value, list) else None
        if kind is None or count is None or not count.is_integer():
            continue
        if _BY_LIFETIME.search(name):
            parts[kind] = parts.get(kind, 0) + int(count)
        counts[kind] = max(counts.get(kind, 0), parts.get(kind, 0), int(count))
    return counts


def conventional_names(call: Call) -> dict[str, Json]:
    """Cost and tokens of a call by the names of the attributes of OpenTelemetry's GenAI conventions."""
    return {name: call[field] for field, name in _CONVENTIONAL.items() if field in call}


_CONVENTIONAL = {
    "cost_usd": "gen_ai.usage.cost",
    "input_tokens": "gen_ai.usage.input_tokens",
    "output_tokens": "gen_ai.usage.output_tokens",
    "cached_input_tokens": "gen_ai.usage.cache_read.input_tokens",
    "cache_write_tokens": "gen_ai.usage.cache_write.input_tokens",
    "reasoning_tokens": "gen_ai.usage.reasoning.output_tokens",
}


def _members(usage: Mapping[str, Json]) -> Iterator[tuple[str, Json]]:
    for name, value in usage.items():
        if isinstance(value, dict | str) and _GROUP.search(name):
            yield from mapping(value).items()
        else:
            yield name, value


@lru_cache(maxsize=4_096)
def _kind(name: str) -> str | None:
    """The canonical column of a count with this name; None for any other."""
    if _NO_COUNT.search(name):
        return None
    return next((kind for kind, words in _NAMES.items() if words.search(name)), None)
