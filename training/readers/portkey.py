"""Portkey's log exports: lines of the fields that the export job was asked for."""

from __future__ import annotations

from router.models.model_list import listed_entry, stated_number
from router.records import Json
from training.readers.exchanges import exchange, named, tags_of, tokens_of, whole_number
from training.readers.judgements import judgement_of, with_judgements
from training.readers.litellm_records import CACHED
from training.readers.protocol import Reader, Record, Rejected, Result, Sample
from training.readers.stream_chunks import answer_body
from training.readers.values import filled, first_given, listed, mapping, words
from training.readers.zero_costs import TOKEN_PRICES

_TELLING = ("ai_model", "request")
_FURTHER = ("ai_org", "response", "trace_id", "response_status_code", "cost")
_NO_ROW = Rejected("not a row of Portkey's log export")
_CENTS = 100


class Portkey(Reader):
    """One row a request; its feedback is a weighted vote of the application's users."""

    name = "portkey"

    def recognise(self, sample: Sample) -> float:
        """By the name of the model beside the request and some of Portkey's other fields."""
        if set(_TELLING) <= sample.columns and len(sample.columns & set(_FURTHER)) > 1:
            return 0.95
        return 0.95 * sample.share_of(
            lambda row: all(name in row for name in _TELLING) and sum(name in row for name in _FURTHER) > 1
        )

    def convert(self, row: Record) -> Result:
        """The call in a row."""
        if not all(name in row for name in _TELLING):
            return _NO_ROW
        if (words(row.get("cache_status")) or "").lower() in ("hit", "semantic hit"):
            return CACHED
        request, answer = (mapping(row.get(name)) for name in ("request", "response"))
        reply = answer_body(first_given(answer.get("body"), row.get("response")))
        model = named(row.get("ai_org"), row.get("ai_model"))
        milliseconds = whole_number(row.get("response_time"))
        counts = {name: whole_number(row.get(name)) for name in ("req_units", "res_units")}
        tokens = tokens_of(reply) | filled(
            {"input_tokens": counts["req_units"], "output_tokens": counts["res_units"]}
        )
        labels = {
            "call_id": row.get("id"),
            "session_id": row.get("trace_id"),
            "time": row.get("created_at"),
            "latency_s": None if milliseconds is None else milliseconds / 1000,
            "cost_usd": _dollars(row, model, tokens),
            **tokens,
            **tags_of(row.get("metadata")),
        }
        body = mapping(request.get("body")) or request
        call = exchange(body, reply, model, filled(labels), status=row.get("response_status_code"))
        if not isinstance(call, dict):
            return call
        votes = first_given(row.get("feedback"), row.get("weighted_feedback"))
        return with_judgements(call, map(_vote, listed(votes) or [votes]))


def _vote(vote: Json) -> Json:
    """The judgement of a vote: -1 and 1, or an object with such a value; others are on no known scale."""
    value = vote.get("value") if isinstance(vote, dict) else vote
    return judgement_of("feedback", "feedback", value > 0) if value in (-1, 1, -1.0, 1.0) else None


def _dollars(row: Record, model: str | None, tokens: Record) -> float | None:
    """The cost in USD; the export states no unit, so dollars and cents are told apart by LiteLLM's prices."""
    entry = listed_entry(model)
    prices = [stated_number(entry, name) for name in TOKEN_PRICES]
    counts = [tokens.get(name) for name in ("input_tokens", "output_tokens")]
    listed_cost = sum((price or 0) * (count or 0) for price, count in zip(prices, counts, strict=True))
    try:
        cost = float(row.get("cost") or 0)
    except (TypeError, ValueError):
        return None
    if not listed_cost or not cost > 0 or (words(row.get("cost_currency")) or "USD").upper() != "USD":
        return None
    unit = cost / listed_cost
    return cost if 1 / 5 < unit < 5 else cost / _CENTS if _CENTS / 5 < unit < _CENTS * 5 else None


READER = Portkey()
