"""Reads the fields of Langfuse's rows: in snake or camel case, and with their counts, costs and scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache

from router.records import Json
from training.readers.cells import number
from training.readers.judgements import Judgement, judgement_of
from training.readers.protocol import Call, Record
from training.readers.token_kinds import token_kinds
from training.readers.traced_runs import sum_of
from training.readers.values import filled, first_given, is_zero, listed, mapping, seconds_between
from training.readers.zero_costs import paid


@cache
def camel(name: str) -> str:
    """A name of the exports as the API spells it."""
    first, *rest = name.split("_")
    return first + "".join(part.title() for part in rest)


def field(row: Record, name: str) -> Json:
    """A member by its name in the exports, or by its name in the API."""
    value = row.get(name)
    return row.get(camel(name)) if value is None else value


def pairs(value: Json) -> Mapping[str, Json]:
    """An object, or one from the list of keys and values that Parquet makes of it."""
    if not isinstance(value, list):
        return mapping(value)
    named = [pair for pair in value if isinstance(pair, dict) and isinstance(pair.get("key"), str)]
    return {pair["key"]: pair.get("value") for pair in named}


def score_columns(row: Record) -> Iterator[Judgement | None]:
    """The scores in the table that Langfuse's pages export: a column for each name, with a list of values."""
    columns = {name: row[name] for name in row if name not in _COLUMNS} if "traceName" in row else {}
    for name, values in {**columns, **mapping(row.get("scores"))}.items():
        for value in listed(values):
            yield judgement_of("evaluation", name, value)


_COLUMNS = frozenset(
    "id traceId projectId environment type parentObservationId startTime endTime name level statusMessage "
    "version createdAt updatedAt model internalModelId modelParameters input output metadata usageDetails "
    "costDetails providedCostDetails latency timeToFirstToken inputCost outputCost totalCost inputUsage "
    "outputUsage totalUsage promptName promptVersion promptId traceName traceTags traceTimestamp userId "
    "sessionId modelId comments tags scores completionStartTime toolDefinitions toolCalls toolCallNames "
    "usage bookmarked public release".split()
)
"""Columns of that table that hold no score."""


def amounts(row: Record, model: str) -> Call:
    """Cost, tokens, latency. A cost of zero means that Langfuse knows no price, unless it states one of zero.

    Latency is the time from start to end: the column `latency` is in milliseconds in enriched exports set up
    before April 2026 and in seconds in all others, and nothing in the export says which.
    """
    details = pairs(field(row, "cost_details"))
    cost = first_given(field(row, "total_cost"), field(row, "calculated_total_cost"), details.get("total"))
    if cost is None:
        cost = sum_of(*(value for name, value in details.items() if name != "total"))
    usage = pairs(field(row, "usage_details")) or pairs(row.get("usage"))
    counts = usage if usage.get("unit") in (None, "TOKENS") else {}
    inputs, outputs = _tokens(counts)
    known: Call = {
        "cost_usd": cost if details.keys() - {"total"} or _is_priced_at_zero(row) else paid(cost, model),
        "input_tokens": first_given(inputs, field(row, "prompt_tokens"), field(row, "input_usage")),
        "output_tokens": first_given(outputs, field(row, "completion_tokens"), field(row, "output_usage")),
        **token_kinds(counts),
        "latency_s": seconds_between(field(row, "start_time"), field(row, "end_time")),
    }
    return filled(known, zeros=True)


def _is_priced_at_zero(row: Record) -> bool:
    """Whether Langfuse's own definition of the model has prices, all zero."""
    prices = [field(row, name) for name in ("input_price", "output_price", "total_price")]
    stated = [price for price in prices if price is not None]
    return bool(stated) and all(map(is_zero, stated))


def _tokens(usage: Mapping[str, Json]) -> tuple[int | None, int | None]:
    """All tokens of input and output.

    Plain, cached and other tokens each have a count of their own, which are added up by side, unless `total`
    shows that the plain count of a side includes the others.
    """
    counts = {name: _count(usage[name]) for name in usage if "cost" not in name.lower()}
    sums = tuple(_sum(counts, words) for words in _SIDES)
    plain = tuple(first_given(_first(counts, names), side) for names, side in zip(_PLAIN, sums, strict=True))
    ways = (sums, plain, (sums[0], plain[1]), (plain[0], sums[1]))
    total = _first(counts, _TOTALS)
    inputs, outputs = next((way for way in ways if (way[0] or 0) + (way[1] or 0) == total), sums)
    return inputs, outputs


_SIDES = (("input", "prompt"), ("output", "completion"))
_PLAIN = (
    ("input", "input_tokens", "prompt_tokens", "promptTokens"),
    ("output", "output_tokens", "completion_tokens", "completionTokens"),
)
_TOTALS = ("total", "total_tokens", "totalTokens")


def _first(counts: Mapping[str, int | None], names: Sequence[str]) -> int | None:
    return next((counts[name] for name in names if counts.get(name) is not None), None)


def _sum(counts: Mapping[str, int | None], side: Sequence[str]) -> int | None:
    named = [n for name, n in counts.items() if n is not None and any(word in name.lower() for word in side)]
    return sum(named) if named else None


def _count(value: Json) -> int | None:
    """A count of tokens, also as text or as a float without a fraction."""
    try:
        counted = number(value)
    except ValueError:
        return None
    whole = isinstance(counted, float) and not isinstance(value, bool) and counted.is_integer()
    return int(counted) if whole and counted is not None else None
