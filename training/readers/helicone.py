"""Helicone's requests: exports of `@helicone/export`, and pages of its request queries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from router.records import Json
from training.readers.judgements import Judgement, judgement_of, provider_outcome, with_judgements
from training.readers.litellm_records import CACHED, OTHER_CALL
from training.readers.protocol import (
    NO_MODEL,
    Call,
    Reader,
    Record,
    Rejected,
    Result,
    Sample,
    Skipped,
)
from training.readers.providers import without_path
from training.readers.request_shapes import answer_evidence, request_fields, why_no_prompt
from training.readers.token_kinds import token_kinds
from training.readers.values import (
    filled,
    first_given,
    first_words,
    is_zero,
    listed,
    mapping,
    member,
    seconds_between,
    words,
)
from training.readers.zero_costs import paid

_TELLING = ("response_id", "response_status", "request_created_at", "request_body")
_NO_CACHE = "00000000-0000-0000-0000-000000000000"
_FEEDBACK = "helicone-score-feedback"
_HELICONES = "helicone-"
"""Beginning of the properties that Helicone defines; all others are the application's own."""
_SESSION = "helicone-session-id"
_NO_MODELS = frozenset({"unknown", "not-found", "null"})
_OTHER_PATHS = ("/embeddings", "/images", "/audio", "/moderations")

BODY_ELSEWHERE = Skipped("body is behind signed_body_url: export it with --include-body")
NO_ROW = Rejected("not a Helicone request")
NOT_ANSWERED = Skipped("canceled, blocked or still pending")


class Helicone(Reader):
    """One row a request, with its response, feedback, scores and properties."""

    name = "helicone"
    many_rows = True
    pages = True

    def recognise(self, sample: Sample) -> float:
        """By the columns of its rows, or of the rows in a page."""
        if set(_TELLING) <= sample.columns:
            return 0.9
        return 0.9 * sample.share_of(lambda row: _is_row(row) or _is_row(member(_page(row), 0)))

    def rows(self, record: Record) -> Iterable[Record]:
        """The rows of a page; any other record as it is."""
        if not isinstance(record.get("data"), list) or "response_status" in record:
            return (record,)
        return [one if isinstance(one, dict) else {"row": one} for one in _page(record)]

    def convert(self, row: Record) -> Result:
        """The call in a row; costs are Helicone's own estimates in USD, latencies are in milliseconds."""
        if (no_call := _no_call(row)) is not None:
            return no_call
        failed = _failure(row)
        if isinstance(failed, Skipped):
            return failed
        body = mapping(row.get("request_body"))
        fields = request_fields(body)
        if not fields:
            return BODY_ELSEWHERE if words(row.get("signed_body_url")) else why_no_prompt(body)
        model = _model(row)
        if model is None:
            return NO_MODEL
        fields |= {"model": model, **_labels(row), **_amounts(row, model, failed=failed is not None)}
        fields |= answer_evidence(row.get("response_body")) if failed is None else failed
        return with_judgements(fields, _judgements(row))


def _page(record: Record) -> list[Json]:
    return list(listed(record.get("data")))


def _is_row(row: Json) -> bool:
    return isinstance(row, dict) and all(name in row for name in _TELLING)


def _no_call(row: Record) -> Skipped | Rejected | None:
    if "response_status" not in row and "request_body" not in row:
        return NO_ROW
    if first_words(row.get("cache_reference_id")) not in (None, _NO_CACHE):
        return CACHED
    path = first_words(row.get("request_path"), row.get("target_url")) or ""
    return OTHER_CALL if path.partition("?")[0].rstrip("/").endswith(_OTHER_PATHS) else None


def _failure(row: Record) -> Call | Skipped | None:
    """The outcome of a request that failed; None if it was answered."""
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
    """The model as the request named it, as in other logs; a list of fall-backs names no model."""
    requested = words(row.get("request_model"))
    first = (row.get("model_override"), None if requested and "," in requested else requested)
    names = [without_path(name) for name in (*first, row.get("model"), row.get("response_model"))]
    return next((name for name in names if name and name.lower() not in _NO_MODELS), None)


def _properties(row: Record) -> Mapping[str, Json]:
    return mapping(row.get("request_properties")) or mapping(row.get("properties"))


def _labels(row: Record) -> Call:
    properties = {name.lower(): value for name, value in _properties(row).items() if words(value)}
    own = {name: value for name, value in properties.items() if not name.startswith(_HELICONES)}
    return filled(
        {
            "call_id": first_words(row.get("request_id"), row.get("response_id")),
            "session_id": properties.get(_SESSION),
            "time": row.get("request_created_at"),
            "tags": [f"{name}:{value}" for name, value in own.items()],
            "task_type": first_given(own.get("task_type"), own.get("tasktype"), own.get("task")),
        }
    )


def _amounts(row: Record, model: str, *, failed: bool) -> Call:
    """Cost, tokens and latency, without an unknown cost and without the zeros of a failed request."""
    cost = first_given(row.get("costUSD"), row.get("cost"))
    amounts: Call = {
        "cost_usd": paid(cost, model),
        "input_tokens": row.get("prompt_tokens"),
        "output_tokens": row.get("completion_tokens"),
        **token_kinds(filled({name: row[name] for name in row if name.endswith("_tokens")})),
        **token_kinds(mapping(mapping(row.get("response_body")).get("usage"))),
        "latency_s": first_given(
            _seconds(first_given(row.get("delay_ms"), row.get("latency"))),
            seconds_between(row.get("request_created_at"), row.get("response_created_at")),
        ),
    }
    known = filled(amounts, zeros=True)
    return {name: value for name, value in known.items() if not (failed and is_zero(value))}


def _seconds(milliseconds: Json) -> float | None:
    try:
        return None if milliseconds is None else float(milliseconds) / 1000
    except (TypeError, ValueError, OverflowError):
        return None


def _judgements(row: Record) -> list[Judgement | None]:
    """The judgements of the user and the evaluators; Helicone's scores have 0 and 1 for false and true."""
    scores = dict(mapping(row.get("scores")))
    rating = first_given(row.get("feedback_rating"), scores.pop(_FEEDBACK, None))
    rated = judgement_of("feedback", "rating", bool(rating) if rating in (0, 1) else rating)
    return [rated, *(judgement_of("evaluation", name, value) for name, value in scores.items())]


READER = Helicone()
