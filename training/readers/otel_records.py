"""Converts spans and log records, in JSON of OTLP or of the SDK, to one plain form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from router.records import Json
from training.readers.protocol import Record
from training.readers.values import first_given, from_nanoseconds, listed, mapping, member

_DEEPEST = 40
_FAILED = (2, "2", "STATUS_CODE_ERROR", "ERROR")


def plain_rows(record: Record) -> Iterator[Record]:
    """The spans and log records in a record, which is an export request, a span or a log record.

    Each has `kind` ("span" or "log"), `trace_id`, `span_id`, `name`, `start` and `end` (seconds since
    1970, or the logged values), `failed`, `attributes` and `events` with plain values; a log record has a
    `body`.
    """
    spans = _nested(record, "resourceSpans", "scopeSpans", "spans")
    logs = _nested(record, "resourceLogs", "scopeLogs", "logRecords")
    yield from (_span(span) for span in spans)
    yield from (_log(log) for log in logs)
    if "context" in record:
        yield _sdk_span(record)
    elif "traceId" in record or "trace_id" in record:
        yield _log(record) if "body" in record or "eventName" in record else _span(record)


def _nested(record: Record, *path: str) -> Iterator[Record]:
    """The objects at the end of a path of lists; names may be in camel or in snake case."""
    outer: list[Json] = [record]
    for name in path:
        older = {"scopeSpans": "instrumentationLibrarySpans"}.get(name, name)
        outer = [
            inner
            for one in outer
            if isinstance(one, dict)
            for inner in listed(first_given(_get(one, name), one.get(older)))
        ]
    return (one for one in outer if isinstance(one, dict))


def _get(record: Record, name: str) -> Json:
    snake = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
    value = record.get(name)
    return record.get(snake) if value is None else value


def _span(span: Record) -> Record:
    return {
        "kind": "span",
        "trace_id": _get(span, "traceId"),
        "span_id": _get(span, "spanId"),
        "name": span.get("name"),
        "start": from_nanoseconds(_get(span, "startTimeUnixNano")),
        "end": from_nanoseconds(_get(span, "endTimeUnixNano")),
        "failed": _failed(span),
        "attributes": _attributes(span.get("attributes")),
        "events": [
            {"name": event.get("name"), "attributes": _attributes(event.get("attributes"))}
            for event in listed(span.get("events"))
            if isinstance(event, dict)
        ],
    }


def _log(log: Record) -> Record:
    attributes = _attributes(log.get("attributes"))
    return {
        "kind": "log",
        "trace_id": _get(log, "traceId"),
        "span_id": _get(log, "spanId"),
        "name": first_given(_get(log, "eventName"), attributes.get("event.name")),
        "attributes": attributes,
        "body": _value(log.get("body")),
    }


def _sdk_span(span: Record) -> Record:
    """A span from `ReadableSpan.to_json`, which the console exporter writes."""
    return {
        "kind": "span",
        "trace_id": member(span, "context", "trace_id"),
        "span_id": member(span, "context", "span_id"),
        "name": span.get("name"),
        "start": span.get("start_time"),
        "end": span.get("end_time"),
        "failed": _failed(span),
        "attributes": mapping(span.get("attributes")),
        "events": listed(span.get("events")),
    }


def _failed(span: Record) -> bool:
    status = mapping(span.get("status"))
    return first_given(status.get("code"), status.get("status_code")) in _FAILED


def _attributes(value: Json) -> Mapping[str, Json]:
    """Attributes by name, from OTLP's list of keys and values, or from the plain object of some tools."""
    return value if isinstance(value, dict) else _pairs(value, 0)


def _pairs(value: Json, depth: int) -> dict[str, Json]:
    pairs = [pair for pair in listed(value) if isinstance(pair, dict) and isinstance(pair.get("key"), str)]
    return {pair["key"]: _value(pair.get("value"), depth) for pair in pairs}


def _value(value: Json, depth: int = 0) -> Json:
    """The value in an `AnyValue`, which writes whole numbers as text."""
    if not isinstance(value, dict) or depth > _DEEPEST:
        return value
    plain = [_get(value, name) for name in ("stringValue", "boolValue", "doubleValue", "bytesValue")]
    if (scalar := next((one for one in plain if one is not None), None)) is not None:
        return scalar
    if (whole := _get(value, "intValue")) is not None:
        return _whole(whole)
    if (array := _get(value, "arrayValue")) is not None:
        return [_value(one, depth + 1) for one in listed(member(array, "values"))]
    return _pairs(member(_get(value, "kvlistValue"), "values"), depth + 1) or None


def _whole(value: Json) -> Json:
    try:
        return int(value) if isinstance(value, str) else value
    except ValueError:
        return value
