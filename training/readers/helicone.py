"""Helicone's requests: what `@helicone/export` writes, and the pages of its request queries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from router.records import Json
from training.readers.judgements import Judgement, judgement_of, with_judgements
from training.readers.litellm_records import CACHED, NO_MODEL, OTHER_CALL
from training.readers.protocol import NO_PROMPT, Apart, Call, Reader, Record, Rejected, Result, Sample
from training.readers.provider_errors import provider_outcome
from training.readers.request_shapes import answer_evidence, request_fields
from training.readers.values import first_given, first_words, listed, mapping, member, words

_TELLING = ("response_id", "response_status", "request_created_at", "request_body")
_NO_CACHE = "00000000-0000-0000-0000-000000000000"
_FEEDBACK = "helicone-score-feedback"
_OWN_PROPERTIES = "helicone-"
_SESSION = "Helicone-Session-Id"
_NO_MODELS = frozenset({"unknown", "not-found", "null"})
_OTHER_PATHS = ("/embeddings", "/images", "/audio", "/moderations")

BODY_ELSEWHERE = Apart("body is behind signed_body_url: export it with --include-body")
NO_ROW = Rejected("no request of Helicone's")
NOT_ANSWERED = Apart("canceled, blocked or still pending")


class Helicone(Reader):
    """One row a request, with its response, feedback, scores and properties."""

    name = "helicone"
    many_rows = True

    def recognise(self, sample: Sample) -> float:
        """By the names of its rows, also of those in a page."""
        if set(_TELLING) <= sample.columns:
            return 0.9
        known = [row for row in sample.records if _is_row(row) or _is_row(member(_page(row), 0))]
        return 0.9 * len(known) / len(sample.records) if sample.records else 0.0

    def rows(self, record: Record) -> Iterable[Record]:
        """The rows of a page; else the record."""
        if not isinstance(record.get("data"), list) or "response_status" in record:
            return (record,)
        return [one if isinstance(one, dict) else {"row": one} for one in _page(record)]

    def convert(self, row: Record) -> Result:
        """Costs are Helicone's own estimates in USD; times to answer are milliseconds."""
        apart = _set_apart(row)
        if apart is not None:
            return apart
        failed = _failure(row)
        if isinstance(failed, Apart):
            return failed
        fields = request_fields(mapping(row.get("request_body")))
        if not fields:
            return BODY_ELSEWHERE if words(row.get("signed_body_url")) else NO_PROMPT
        model = _model(row)
        if model is None:
            return NO_MODEL
        fields |= {"model": model, **_labels(row), **_amounts(row, failed=failed is not None)}
        fields |= answer_evidence(row.get("response_body")) if failed is None else failed
        return with_judgements(fields, _verdicts(row))


def _page(record: Record) -> list[Json]:
    return list(listed(record.get("data")))


def _is_row(row: Json) -> bool:
    return isinstance(row, dict) and all(name in row for name in _TELLING)


def _set_apart(row: Record) -> Apart | Rejected | None:
    if "response_status" not in row:
        return NO_ROW
    if first_words(row.get("cache_reference_id")) not in (None, _NO_CACHE):
        return CACHED
    path = first_words(row.get("request_path"), row.get("target_url")) or ""
    return OTHER_CALL if path.partition("?")[0].rstrip("/").endswith(_OTHER_PATHS) else None


def _failure(row: Record) -> Call | Apart | None:
    """What became of a request that failed; None for one that was answered."""
    status = _whole(row.get("response_status"))
    if status is None or 200 <= status < 400:
        return None
    if status < 200:
        return NOT_ANSWERED
    return provider_outcome(status, mapping(row.get("response_body")).get("error"))


def _whole(value: Json) -> int | None:
    try:
        return None if isinstance(value, bool) or value in (None, "") else int(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _model(row: Record) -> str | None:
    """The model as the request named it, as other logs have it; a list of fall-backs names none."""
    asked = words(row.get("request_model"))
    named = (row.get("model_override"), None if asked and "," in asked else asked)
    given = [words(name) for name in (*named, row.get("model"), row.get("response_model"))]
    return next((name for name in given if name and name.lower() not in _NO_MODELS), None)


def _properties(row: Record) -> Mapping[str, Json]:
    return mapping(row.get("request_properties")) or mapping(row.get("properties"))


def _labels(row: Record) -> Call:
    said = {name.lower(): value for name, value in _properties(row).items() if words(value)}
    own = {name: value for name, value in said.items() if not name.startswith(_OWN_PROPERTIES)}
    found: Call = {
        "call_id": first_words(row.get("request_id"), row.get("response_id")),
        "session_id": said.get(_SESSION.lower()),
        "time": row.get("request_created_at"),
        "tags": [f"{name}:{value}" for name, value in own.items()],
        "task_type": first_given(own.get("task_type"), own.get("tasktype"), own.get("task")),
    }
    return {name: value for name, value in found.items() if value}


def _amounts(row: Record, *, failed: bool) -> Call:
    """Cost, tokens and latency; zeros of a failed request are left out, and so is a cost of zero."""
    cost = first_given(row.get("costUSD"), row.get("cost"))
    found: Call = {
        "cost_usd": None if _is_zero(cost) else cost,
        "input_tokens": row.get("prompt_tokens"),
        "output_tokens": row.get("completion_tokens"),
        "latency_s": _seconds(first_given(row.get("delay_ms"), row.get("latency"))),
    }
    return {
        name: value
        for name, value in found.items()
        if value is not None and value != "" and not (failed and _is_zero(value))
    }


def _is_zero(value: Json) -> bool:
    return value in (0, "0", "0.0")


def _seconds(milliseconds: Json) -> float | None:
    try:
        return None if milliseconds is None else float(milliseconds) / 1000
    except (TypeError, ValueError, OverflowError):
        return None


def _verdicts(row: Record) -> list[Judgement | None]:
    """What the user and the evaluators said; Helicone writes truth as 0 and 1 into its scores."""
    scores = dict(mapping(row.get("scores")))
    rating = first_given(row.get("feedback_rating"), scores.pop(_FEEDBACK, None))
    rated = judgement_of("feedback", "rating", bool(rating) if rating in (0, 1) else rating)
    return [rated, *(judgement_of("evaluation", name, value) for name, value in scores.items())]


READER = Helicone()
