"""Cloudflare's AI Gateway: events of Logpush, and logs of its API with their bodies."""

from __future__ import annotations

from collections.abc import Iterable

from router.records import Json
from training.readers.exchanges import exchange, named, tags_of, whole_number
from training.readers.judgements import judgement_of, with_judgements
from training.readers.litellm_records import CACHED
from training.readers.protocol import Reader, Record, Rejected, Result, Sample, Skipped
from training.readers.values import filled, first_given, first_words, mapping, truth
from training.readers.zero_costs import paid

_EVENT = ("Gateway", "Provider", "Model", "RequestBody")
_LOG = ("provider", "model", "created_at", "status_code", "cached")

ENCRYPTED = Skipped("body is encrypted for the holder of a key")
_NO_ROW = Rejected("not a log of Cloudflare's AI Gateway")


class Cloudflare(Reader):
    """One event or log a request."""

    name = "cloudflare"
    many_rows = True
    pages = True

    def recognise(self, sample: Sample) -> float:
        """By the members of an event, or of a log of the API."""
        if set(_EVENT) <= sample.columns:
            return 0.95
        return 0.95 * sample.share_of(lambda record: any(map(_is_row, self.rows(record))))

    def rows(self, record: Record) -> Iterable[Record]:
        """The logs of a page; any other record as it is."""
        page = record.get("result")
        if isinstance(page, dict):
            return (page,)
        if not isinstance(page, list):
            return (record,)
        return [one if isinstance(one, dict) else {"row": one} for one in page]

    def convert(self, row: Record) -> Result:
        """The call in an event or log."""
        if not _is_row(row):
            return _NO_ROW
        if truth(_get(row, "Cached")):
            return CACHED
        request = first_given(row.get("RequestBody"), row.get("request"), row.get("request_body"))
        answer = first_given(row.get("ResponseBody"), row.get("response"), row.get("response_body"))
        if _is_encrypted(request):
            return ENCRYPTED
        asked = first_words(_get(row, "Model"), row.get("RequestedModel"))
        model = named(_get(row, "Provider"), asked)
        metrics = mapping(row.get("Metrics"))
        milliseconds = whole_number(first_given(metrics.get("durationMs"), row.get("duration")))
        labels = {
            "call_id": first_given(row.get("id"), row.get("LogID"), row.get("RayID")),
            "time": first_given(row.get("Timestamp"), row.get("created_at")),
            "latency_s": None if milliseconds is None else milliseconds / 1000,
            "cost_usd": paid(first_given(metrics.get("cost"), row.get("cost")), model),
            "input_tokens": first_given(metrics.get("tokensIn"), row.get("tokens_in")),
            "output_tokens": first_given(metrics.get("tokensOut"), row.get("tokens_out")),
            **tags_of(_get(row, "Metadata")),
        }
        limited = 429 if truth(row.get("RateLimited")) else None
        status = first_given(limited, row.get("StatusCode"), row.get("status_code"))
        reply = None if _is_encrypted(answer) else answer
        call = exchange(request, reply, model, filled(labels), status=status)
        return with_judgements(call, [_vote(_get(row, "Feedback"))]) if isinstance(call, dict) else call


def _get(row: Record, name: str) -> Json:
    return first_given(row.get(name), row.get(name.lower()))


def _is_row(row: Record) -> bool:
    return any(all(name in row for name in names) for names in (_EVENT, _LOG))


def _is_encrypted(body: Json) -> bool:
    held = mapping(body)
    return held.get("type") == "encrypted" or {"key", "iv", "data"} <= held.keys()


def _vote(value: Json) -> Json:
    """The judgement of a vote: -1 and 1; others are on no known scale."""
    return judgement_of("feedback", "feedback", value > 0) if value in (-1, 1, -1.0, 1.0) else None


READER = Cloudflare()
