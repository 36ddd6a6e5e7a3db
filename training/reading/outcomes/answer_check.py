"""Whether an answer keeps to the JSON schema, or the signatures of the tools, that its request gave."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from router.records import Json
from router.text import well_formed
from training.readers.cells import dump_json, parse_json
from training.readers.litellm_records import CUT_MARK
from training.readers.values import listed, mapping, words

_MEDIA = frozenset(
    "image image_url input_image output_image image_generation_call audio input_audio output_audio video "
    "video_url file document".split()
)
"""Types of parts, in the chat protocol, Anthropic's and Responses."""


_LARGEST_PATTERN = 1 << 14
"""Bytes of a compiled pattern; a text of 100,000 characters then takes a fraction of a second."""
_DEEPEST = 100
"""Keywords inside keywords: Python's own limit, met in jsonschema's native part, would end the process."""


class _TooLong(Exception):
    """The check took longer, or went deeper, than it may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedAnswer:
    """What a model answered, in whichever protocol.

    Attributes:
        text: None where it wrote none.
        calls: name and arguments of each tool call; the arguments as JSON text, or already parsed.
    """

    text: str | None
    calls: Sequence[tuple[str | None, Json]]


def logged_answer(evidence: Json) -> LoggedAnswer:
    """The answer in a reader's `answer`: a text, a chat message, Anthropic's or Responses' parts."""
    value = _opened(evidence)
    if isinstance(value, dict) and ("role" in value or "content" in value or "tool_calls" in value):
        functions = [mapping(mapping(call).get("function")) for call in listed(value.get("tool_calls"))]
        calls = [(words(one.get("name")), one.get("arguments")) for one in functions]
        return LoggedAnswer(text=_text(value.get("content")), calls=calls)
    if isinstance(value, list) and all(isinstance(part, dict) for part in value):
        return _of_parts(value)
    return LoggedAnswer(text=evidence if isinstance(evidence, str) else None, calls=())


def whole_answer(evidence: Json) -> str | None:
    """The answer as JSON text, in one form for all protocols.

    None where there is none, the log cut it, or more than text and tool calls belong to it.
    """
    if evidence is None or CUT_MARK in _as_text(evidence) or _has_media(_opened(evidence)):
        return None
    answer = logged_answer(evidence)
    calls = [{"name": name, "arguments": arguments} for name, arguments in answer.calls]
    if not answer.text and not calls:
        return None
    return well_formed(dump_json({"text": answer.text} | ({"tool_calls": calls} if calls else {})))


def _has_media(answer: Json) -> bool:
    """Whether a message, or parts, hold images, sounds or files."""
    outer = _objects_in(answer if isinstance(answer, list) else [answer])
    inner = [part for one in outer for part in _objects_in(one.get("content"))]
    named = (part.get("images") or part.get("audio") for part in outer)
    return any(named) or any(words(part.get("type")) in _MEDIA for part in (*outer, *inner))


def _objects_in(parts: Json) -> Sequence[Mapping[str, Json]]:
    return [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else ()


def _opened(evidence: Json) -> Json:
    """A message kept as JSON text, as a value; any other text stays a text."""
    if isinstance(evidence, str) and evidence[:1] in "{[":
        try:
            value = parse_json(evidence)[0]
        except ValueError:
            return evidence
        is_message = isinstance(value, dict) and "role" in value
        return value if is_message or _are_parts(value) else evidence
    return evidence


def _are_parts(value: Json) -> bool:
    kinds = {"text", "tool_use", "thinking", "message", "function_call", "reasoning"}
    return (
        isinstance(value, list) and bool(value) and all(mapping(part).get("type") in kinds for part in value)
    )


def _of_parts(parts: Sequence[Mapping[str, Json]]) -> LoggedAnswer:
    texts: list[str] = []
    calls: list[tuple[str | None, Json]] = []
    for part in parts:
        kind = part.get("type")
        if kind == "tool_use":
            calls.append((words(part.get("name")), part.get("input")))
        elif kind == "function_call":
            calls.append((words(part.get("name")), part.get("arguments")))
        elif text := _text(part.get("text") if kind == "text" else part.get("content")):
            texts.append(text)
    return LoggedAnswer(text="".join(texts) or None, calls=calls)


def _text(content: Json) -> str | None:
    if isinstance(content, list):
        parts = [words(mapping(part).get("text")) for part in content]
        return "".join(part for part in parts if part) or None
    return words(content)


def keeps_to_schema(
    evidence: Json, response_format: str | None, tools: str | None, *, max_bytes: int, timeout_s: float
) -> bool | None:
    """Whether an answer is what its request asked for.

    Patterns are matched in linear time; those that only backtracking can match, and formats, are not looked
    at. Nothing outside the schema is fetched.

    Args:
        evidence: what the log has of the answer.
        response_format, tools: JSON text, in the form of the chat protocol.

    Returns:
        None where the request asked for no form, the answer is not there or was cut by the log, or it can't
        be checked within the bounds.
    """
    checks: list[tuple[Json, str]] = []
    try:
        if any(CUT_MARK in text for text in (_as_text(evidence), response_format or "", tools or "")):
            return None
        answer = logged_answer(evidence)
        if tools and answer.calls:
            found = _tool_checks(answer, _bounded(tools, max_bytes))
            if found is None:
                return False
            checks += found
        schema = _asked(response_format, max_bytes)
        if schema is not None and (answer.text is not None or not answer.calls):
            checks.append((answer.text, schema))
        if evidence is None or not checks:
            return None
        deadline = time.monotonic() + timeout_s
        return all(_fits(value, schema, max_bytes, deadline) for value, schema in checks)
    except (_TooLong, RecursionError, _Unusable):
        return None


def _as_text(evidence: Json) -> str:
    return evidence if isinstance(evidence, str) else json.dumps(evidence, default=str)


class _Unusable(Exception):
    """What the request asked for is too large or too deep, or no schema."""


def _bounded(text: str, max_bytes: int) -> Json:
    if len(text) > max_bytes:
        raise _Unusable
    try:
        return parse_json(text)[0]
    except ValueError as error:
        raise _Unusable from error


def _tool_checks(answer: LoggedAnswer, tools: Json) -> list[tuple[Json, str]] | None:
    """Arguments and schema of each call; None where it calls a tool that there is not."""
    functions = [mapping(mapping(tool).get("function")) for tool in listed(tools)]
    known = {one["name"]: one.get("parameters") for one in functions if isinstance(one.get("name"), str)}
    if len(known) < len(listed(tools)):
        raise _Unusable  # a tool of the provider's own, whose signature is not in the request
    if any(name not in known for name, _ in answer.calls):
        return None
    return [(arguments, json.dumps(known[name or ""] or {})) for name, arguments in answer.calls]


def _asked(response_format: str | None, max_bytes: int) -> str | None:
    """The JSON schema that an answer has to fit; None where none was asked for."""
    form = mapping(_bounded(response_format, max_bytes)) if response_format else {}
    if form.get("type") == "json_object":
        return '{"type": "object"}'
    if form.get("type") != "json_schema":
        return None
    schema = mapping(form.get("json_schema")).get("schema")
    return json.dumps(schema) if isinstance(schema, dict) else None


def _fits(value: Json, schema: str, max_bytes: int, deadline: float) -> bool:
    """Whether a value, or the value of a JSON text, fits.

    Raises:
        _TooLong: at the deadline.
        _Unusable: it is too long to be checked, or the schema is none.
    """
    if value is None:
        return False
    text = value if isinstance(value, str) else json.dumps(value)
    if len(text) > max_bytes:
        raise _Unusable
    try:
        parsed = parse_json(text)[0]
    except ValueError:
        return False
    validator = _validator(schema)
    if validator is None:
        raise _Unusable
    _check.ends, _check.depth = deadline, 0
    try:
        return validator(parsed)
    except _TooLong:
        raise
    except Exception as error:  # as where it is made: references are followed only here
        raise _Unusable from error


_check = threading.local()
"""When this thread's check has to end, and how deep it is: all threads share a schema's validator."""


@lru_cache(maxsize=256)
def _validator(schema: str) -> Callable[[Json], bool] | None:
    """A check by a schema that stops at its bounds; None for one that is none, or has no bound."""
    import jsonschema_rs
    from jsonschema import Draft202012Validator, validators
    from referencing import Registry

    if '"patternProperties"' in schema:
        return None
    try:
        value = json.loads(schema)
        base = validators.validator_for(value, default=Draft202012Validator)
        form = jsonschema_rs.validator_for(base.META_SCHEMA, validate_formats=False, offline=True)
        if not form.is_valid(value):
            return None
    except Exception:  # noqa: BLE001 - both raise anything on what only looks like a schema
        return None
    ours = {"pattern": _pattern, "format": _ignored, "uniqueItems": _unique}
    keywords: dict[str, Any] = {
        name: _bounded_check(ours.get(name, check)) for name, check in base.VALIDATORS.items()
    }
    bounded = validators.extend(base, keywords)(value, registry=Registry())
    return cast("Callable[[Json], bool]", bounded.is_valid)


def _bounded_check(check: Callable[..., Any]) -> Callable[..., Iterator[Any]]:
    """A keyword's check that looks at the clock and the depth first."""

    def bounded(validator: Any, value: Json, instance: Json, schema: Json) -> Iterator[Any]:  # noqa: ANN401 - jsonschema's
        if time.monotonic() > _check.ends or _check.depth >= _DEEPEST:
            raise _TooLong
        _check.depth += 1
        try:
            yield from check(validator, value, instance, schema) or ()
        finally:
            _check.depth -= 1

    return bounded


def _ignored(*_: object) -> tuple[()]:
    return ()


def _pattern(_validator: object, pattern: str, instance: Json, _schema: Json) -> Iterator[Any]:
    from jsonschema import ValidationError

    if isinstance(instance, str) and not _matcher(pattern)(instance):
        yield ValidationError("the pattern does not match")


@lru_cache(maxsize=1024)
def _matcher(pattern: str) -> Callable[[str], bool]:
    """Whether a text holds a schema's pattern, in linear time; always where it is not regular."""
    from jsonschema_rs import RegexOptions, validator_for

    try:
        options = RegexOptions(size_limit=_LARGEST_PATTERN)
        return validator_for({"pattern": pattern}, pattern_options=options).is_valid
    except ValueError:
        return lambda _: True


def _unique(_validator: object, wanted: Json, instance: Json, _schema: Json) -> Iterator[Any]:
    """Distinct items, by their text: jsonschema's own check takes a time that grows with the square."""
    from jsonschema import ValidationError

    if wanted and isinstance(instance, list):
        texts = {json.dumps(item, sort_keys=True) for item in instance}
        if len(texts) < len(instance):
            yield ValidationError("items are not distinct")
