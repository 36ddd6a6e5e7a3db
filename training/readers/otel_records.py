"""Converts spans and log records, in any JSON of OTLP, of the SDK or of a trace store, to one plain form."""

from __future__ import annotations

import base64
import binascii
import string
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import TypeAlias

from router.records import Json
from training.readers.cells import microseconds
from training.readers.protocol import Record
from training.readers.values import first_given, from_nanoseconds, listed, mapping, member, usable_number

AttributeMap: TypeAlias = Mapping[str, Json]

_DEEPEST = 40
_FAILED = (2, "2", "STATUS_CODE_ERROR", "ERROR")
_SPANS = ("resourceSpans", "scopeSpans", "spans")
_LOGS = ("resourceLogs", "scopeLogs", "logRecords")
_OTHER_NAMES: Mapping[str, Sequence[str]] = {
    "resourceSpans": ("batches",), "scopeSpans": ("instrumentationLibrarySpans", "ilSpans"),
    "scopeLogs": ("instrumentationLibraryLogs",), "logRecords": ("logs",),
}  # fmt: skip
"""Names of older versions of OTLP, and of Tempo."""
_FORMS = (
    {"traceId", "spanId", "attributes"},
    {"trace_id", "span_id", "attributes", "start_time_unix_nano"},
    {"context", "attributes", "start_time", "kind", "resource"},
    {"context", "attributes", "start_time", "span_kind"},
    {"context.trace_id", "context.span_id", "start_time"},
    {"traceID", "spanID", "operationName"},
)
"""Members of a span on its own: of OTLP, of the SDK, of Phoenix and its tables, of Jaeger."""
_ID_BYTES = (8, 16)
_ID_DIGITS = (16, 32)
_HEXADECIMAL = frozenset(string.hexdigits)


def is_telemetry(record: Record) -> bool:
    """Whether a record is an export request, a trace of a trace store, or one span."""
    outer = _unwrapped(record)
    if any(_get(outer, name) is not None for name in ("resourceSpans", "resourceLogs")):
        return True
    if any(_get(one, "scopeSpans") for one in listed(outer.get("batches")) if isinstance(one, dict)):
        return True
    return any(form <= record.keys() for form in _FORMS) or next(_jaeger_spans(record), None) is not None


def plain_rows(record: Record) -> Iterator[Record]:
    """The spans and log records in a record, which is an export request, a trace, a span or a log record.

    Each has `kind` ("span" or "log"), `trace_id`, `span_id`, `name` and `attributes`; a span has `parent_id`,
    `start` and `end` (seconds since 1970, or the logged values), `failed` and `events`, with plain values; a
    log record has a `body`. Log records and events have a `time`, in nanoseconds since 1970. Ids are in
    hexadecimal digits, so that they meet whatever wrote them.
    """
    outer = _unwrapped(record)
    yield from (_span(span) for span in _nested(outer, *_SPANS))
    yield from (_log(log) for log in _nested(outer, *_LOGS))
    yield from (_jaeger_span(span) for span in _jaeger_spans(record))
    if "context" in record:
        yield _sdk_span(record)
    elif "context.span_id" in record:
        yield _sdk_span(_of_table(record))
    elif "operationName" not in record and ("traceId" in record or "trace_id" in record):
        yield _log(record) if "body" in record or "eventName" in record else _span(record)


def flat_attributes(attributes: AttributeMap, depth: int = 0) -> AttributeMap:
    """The attributes, with those of nested objects by their dotted names too."""
    flat = dict(attributes)
    for name, value in attributes.items():
        if isinstance(value, dict) and depth < _DEEPEST:
            inner = flat_attributes(value, depth + 1)
            flat.update(
                {f"{name}.{rest}": one for rest, one in inner.items() if f"{name}.{rest}" not in flat}
            )
    return flat


def members(attributes: AttributeMap, name: str) -> Sequence[AttributeMap]:
    """The objects of a list in their order: flattened to names such as `NAME.0.role`, or whole."""
    by_number: dict[int, dict[str, Json]] = {}
    start = f"{name}."
    any_flattened = start in "\n".join(attributes)  # much faster than to ask each name
    for full in [full for full in attributes if full.startswith(start)] if any_flattened else ():
        number, _, rest = full[len(start) :].partition(".")
        if rest and number.isdecimal() and number.isascii() and len(number) < 9:
            by_number.setdefault(int(number), {})[rest] = attributes[full]
    whole = [flat_attributes(one) for one in listed(attributes.get(name)) if isinstance(one, dict)]
    return [by_number[number] for number in sorted(by_number)] or whole


def _unwrapped(record: Record) -> Record:
    """The export request in a record; Tempo wraps it."""
    trace = record.get("trace")
    return trace if isinstance(trace, dict) and not any(name in record for name in _SPANS) else record


def _nested(record: Record, *path: str) -> Iterator[Record]:
    """The objects at the end of a path of lists; names may be in camel or in snake case."""
    outer: list[Json] = [record]
    for name in path:
        names = (name, *_OTHER_NAMES.get(name, ()))
        outer = [
            inner
            for one in outer
            if isinstance(one, dict)
            for inner in listed(first_given(*(_get(one, each) for each in names)))
        ]
    return (one for one in outer if isinstance(one, dict))


def _get(record: Record, name: str) -> Json:
    value = record.get(name)
    return record.get(_snake(name)) if value is None else value


@cache
def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def _span(span: Record) -> Record:
    return {
        "kind": "span",
        "trace_id": _identity(_get(span, "traceId")),
        "span_id": _identity(_get(span, "spanId")),
        "parent_id": _identity(_get(span, "parentSpanId")),
        "name": span.get("name"),
        "start": from_nanoseconds(_whole(_get(span, "startTimeUnixNano"))),
        "end": from_nanoseconds(_whole(_get(span, "endTimeUnixNano"))),
        "failed": _failed(span),
        "message": _message(span),
        "attributes": _attributes(span.get("attributes")),
        "events": [
            {
                "name": event.get("name"),
                "time": _nanoseconds(_get(event, "timeUnixNano")),
                "attributes": _attributes(event.get("attributes")),
            }
            for event in listed(span.get("events"))
            if isinstance(event, dict)
        ],
    }


def _log(log: Record) -> Record:
    attributes = _attributes(log.get("attributes"))
    times = (_nanoseconds(_get(log, name)) for name in ("timeUnixNano", "observedTimeUnixNano"))
    return {
        "kind": "log",
        "trace_id": _identity(_get(log, "traceId")),
        "span_id": _identity(_get(log, "spanId")),
        "name": first_given(_get(log, "eventName"), attributes.get("event.name")),
        "time": next((time for time in times if time), None),
        "attributes": attributes,
        "body": _value(log.get("body")),
    }


def _sdk_span(span: Record) -> Record:
    """A span from `ReadableSpan.to_json`, which the console exporter writes, or from Phoenix."""
    kind = span.get("span_kind")
    attributes = mapping(span.get("attributes"))
    return {
        "kind": "span",
        "trace_id": _identity(member(span, "context", "trace_id")),
        "span_id": _identity(member(span, "context", "span_id")),
        "parent_id": _identity(span.get("parent_id")),
        "name": span.get("name"),
        "start": span.get("start_time"),
        "end": span.get("end_time"),
        "failed": _failed(span),
        "message": _message(span),
        "attributes": {"openinference.span.kind": kind, **attributes} if kind else attributes,
        "events": [
            {**event, "time": _of_iso(event.get("timestamp"))}
            for event in listed(span.get("events"))
            if isinstance(event, dict)
        ],
    }


def _of_table(row: Record) -> Record:
    """A span from a row of Phoenix's table, whose columns have dotted names."""
    filled = {name: value for name, value in row.items() if value is not None}
    context = {name: filled.get(f"context.{name}") for name in ("trace_id", "span_id")}
    start = "attributes."
    named = {name[len(start) :]: value for name, value in filled.items() if name.startswith(start)}
    return {**filled, "context": context, "attributes": named}


def _jaeger_spans(record: Record) -> Iterator[Record]:
    """The spans of Jaeger: in its API's answer, in one trace of it, or the record itself."""
    traces = [record, *(one for one in listed(record.get("data")) if isinstance(one, dict))]
    spans = [record, *(span for trace in traces for span in listed(trace.get("spans")))]
    return (span for span in spans if isinstance(span, dict) and "operationName" in span)


def _jaeger_span(span: Record) -> Record:
    start, length = usable_number(span.get("startTime")), usable_number(span.get("duration"))
    attributes = _tags(span.get("tags"))
    code = attributes.get("otel.status_code")
    return {
        "kind": "span",
        "trace_id": _identity(span.get("traceID")),
        "span_id": _identity(span.get("spanID")),
        "parent_id": _identity(first_given(span.get("parentSpanID"), _parent_in(span))),
        "name": span.get("operationName"),
        "start": None if start is None else start / 1e6,
        "end": None if start is None or length is None else (start + length) / 1e6,
        "failed": code in _FAILED or attributes.get("error") in (True, "true"),
        "attributes": attributes,
        "events": [
            {"name": fields.get("event"), "time": _jaeger_time(log.get("timestamp")), "attributes": fields}
            for log in listed(span.get("logs"))
            if isinstance(log, dict)
            for fields in [_tags(log.get("fields"))]
        ],
    }


def _parent_in(span: Record) -> Json:
    references = [one for one in listed(span.get("references")) if isinstance(one, dict)]
    return next((one.get("spanID") for one in references if one.get("refType") == "CHILD_OF"), None)


def _jaeger_time(value: Json) -> int | None:
    known = usable_number(value)
    return None if known is None else int(known) * 1000


def _tags(value: Json) -> dict[str, Json]:
    tags = [tag for tag in listed(value) if isinstance(tag, dict) and isinstance(tag.get("key"), str)]
    return {tag["key"]: tag.get("value") for tag in tags}


def _failed(span: Record) -> bool:
    status = mapping(span.get("status"))
    code = first_given(status.get("code"), status.get("status_code"), span.get("status_code"))
    return code in _FAILED


def _message(span: Record) -> Json:
    status = mapping(span.get("status"))
    return first_given(status.get("message"), status.get("description"), span.get("status_message"))


def _attributes(value: Json) -> AttributeMap:
    """Attributes by name, from OTLP's list of keys and values, or from the plain object of some tools."""
    return value if isinstance(value, dict) else _pairs(value, 0)


def _pairs(value: Json, depth: int) -> dict[str, Json]:
    pairs = [pair for pair in listed(value) if isinstance(pair, dict) and isinstance(pair.get("key"), str)]
    return {pair["key"]: _value(pair.get("value"), depth) for pair in pairs}


def _value(value: Json, depth: int = 0) -> Json:
    """The value in an `AnyValue`, which writes whole numbers as text."""
    if not isinstance(value, dict) or depth > _DEEPEST:
        return value
    if (text := value.get("stringValue")) is not None:  # most of them
        return text
    for name in ("stringValue", "boolValue", "doubleValue", "bytesValue"):
        if (scalar := _get(value, name)) is not None:
            return scalar
    if (whole := _get(value, "intValue")) is not None:
        return _whole(whole)
    if (array := _get(value, "arrayValue")) is not None:
        return [_value(one, depth + 1) for one in listed(member(array, "values"))]
    return _pairs(member(_get(value, "kvlistValue"), "values"), depth + 1) or None


def _whole(value: Json) -> Json:
    """A whole number from its text, or from the halves of protobufjs; else the value."""
    if isinstance(value, dict):
        low, high = value.get("low"), value.get("high")
        if type(low) is not int or type(high) is not int:
            return value
        whole = (high % (1 << 32) << 32) + low % (1 << 32)
        return whole if value.get("unsigned") is True or whole < 1 << 63 else whole - (1 << 64)
    try:
        return int(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _nanoseconds(value: Json) -> int | None:
    whole = _whole(value)
    return whole if type(whole) is int else None


def _of_iso(value: Json) -> int | None:
    try:
        moment = microseconds(value)
    except ValueError:
        return None
    return None if moment is None else moment * 1000


def _identity(value: Json) -> Json:
    """An id in hexadecimal digits, from its bytes in any form; another text stays as it is."""
    if isinstance(value, str):
        if value.endswith("="):
            try:
                plain = base64.b64decode(value.replace("-", "+").replace("_", "/"), validate=True)
            except (ValueError, binascii.Error):
                return value
            return plain.hex() if len(plain) in _ID_BYTES else value
        digits = value.removeprefix("0x")
        return digits.lower() if len(digits) in _ID_DIGITS and _HEXADECIMAL.issuperset(digits) else digits
    numbers = value
    if isinstance(value, dict):
        numbers = value.get("data", list(value.values()))
    try:
        return bytes(numbers).hex() if isinstance(numbers, list) and numbers else None
    except (TypeError, ValueError):
        return None
