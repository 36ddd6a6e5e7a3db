"""Attributes, nesting and errors of the spans of an MLflow trace, in both schemas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from router.records import Json
from training.readers.cells import parse_json
from training.readers.judgements import error_class
from training.readers.protocol import Record
from training.readers.values import first_words, listed, mapping, member

_MODELS = ("LLM", "CHAT_MODEL")


def spans_of(trace: Record) -> Sequence[Record]:
    """The spans of a trace."""
    spans = listed(member(trace, "data", "spans")) or listed(trace.get("spans"))
    return [span for span in spans if isinstance(span, dict)]


def attributes_of(span: Record) -> Mapping[str, Json]:
    """The attributes of a span, parsed from JSON text."""
    return {name: _parsed(value) for name, value in mapping(span.get("attributes")).items()}


def _parsed(value: Json) -> Json:
    try:
        return parse_json(value)[0] if isinstance(value, str) else value
    except ValueError:
        return value


def is_model(span: Record) -> bool:
    """Whether the span is a call of a language model."""
    kind = mapping(span.get("attributes")).get("mlflow.spanType")
    return isinstance(kind, str) and kind.strip('"') in _MODELS


def span_id(span: Record) -> str | None:
    """The span's id within its trace."""
    return first_words(span.get("span_id"), member(span, "context", "span_id"))


def llm_spans(spans: Sequence[Record]) -> tuple[Sequence[Record], Sequence[Record]]:
    """The spans of language models that contain no other, sorted by their end; then those that contain one.

    Two libraries that trace one call write two spans of it; the inner one has more details.
    """
    models = [span for span in spans if is_model(span)]
    parent_of = {span_id(span): _parent(span) for span in spans}
    ancestors: set[str] = set()
    for span in models:
        above = _parent(span)
        while above is not None and above not in ancestors:
            ancestors.add(above)
            above = parent_of.get(above)
    inner = [span for span in models if span_id(span) not in ancestors]
    outer = [span for span in models if span_id(span) in ancestors]
    return sorted(inner, key=_end), outer


def _parent(span: Record) -> str | None:
    return first_words(span.get("parent_span_id"), span.get("parent_id"))


def _end(span: Record) -> int:
    end = first_number(span.get("end_time_unix_nano"), span.get("end_time"))
    return int(end) if end is not None else 0


def first_number(*values: Json) -> int | None:
    """The first of the values that is a whole number."""
    whole = (value for value in values if isinstance(value, int) and not isinstance(value, bool))
    return next(whole, None)


def error_of(span: Record) -> str | None:
    """The class of the error that ended the span; "error" if it is unknown, None without an error."""
    code = first_words(member(span, "status", "code"), span.get("status_code"))
    if code not in ("STATUS_CODE_ERROR", "ERROR"):
        return None
    raised = [member(event, "attributes", "exception.type") for event in listed(span.get("events"))]
    message = first_words(member(span, "status", "message"), span.get("status_message"))
    return error_class(*(_parsed(one) for one in raised), message) or "error"
