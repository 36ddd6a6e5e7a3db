"""Checks whether an answer keeps to the JSON schema, or to the tools' signatures, of its request."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, cast

from router.forecasting.answer_numbers import Answer
from router.records import Json
from router.text import well_formed
from training.readers.cells import dump_json, parse_json
from training.readers.litellm_records import CUT_MARK
from training.readers.values import listed, mapping, words

_MEDIA = frozenset(
    "image image_url input_image output_image image_generation_call audio input_audio output_audio video "
    "video_url file document".split()
)
"""Types of parts, in the protocols Chat Completions, Anthropic Messages and Responses."""

_LARGEST_PATTERN = 1 << 14
"""Bytes of a compiled pattern; to search 100,000 characters then takes a fraction of a second."""
_DEEPEST = 100
"""Keywords inside keywords: reaching Python's own limit in jsonschema's native code would end the process."""


class _OutOfBounds(Exception):
    """The check took longer, or went deeper, than it may."""


class _Unusable(Exception):
    """What the request asks for is too large or too deep, or not a schema."""


def logged_answer(evidence: Json) -> Answer:
    """Parse a reader's `answer`: a text, a chat message, or the parts of Anthropic or Responses."""
    value = _opened(evidence)
    if isinstance(value, dict) and ("role" in value or "content" in value or "tool_calls" in value):
        functions = [mapping(mapping(call).get("function")) for call in listed(value.get("tool_calls"))]
        calls = [(words(function.get("name")), function.get("arguments")) for function in functions]
        return Answer(text=_text(value.get("content")), calls=calls)
    if isinstance(value, list) and all(isinstance(part, dict) for part in value):
        return _answer_of_parts(value)
    return Answer(text=evidence if isinstance(evidence, str) else None, calls=())


def whole_answer(evidence: Json) -> str | None:
    """The answer as JSON text, in one form for all protocols.

    None if there is no answer, the log cut it, or it has more than text and tool calls.
    """
    if evidence is None or CUT_MARK in _as_text(evidence) or _has_media(_opened(evidence)):
        return None
    answer = logged_answer(evidence)
    calls = [{"name": name, "arguments": arguments} for name, arguments in answer.calls]
    if not answer.text and not calls:
        return None
    return well_formed(dump_json({"text": answer.text} | ({"tool_calls": calls} if calls else {})))


def _has_media(answer: Json) -> bool:
    """Whether a message or its parts hold images, sounds or files."""
    outer = _objects_in(answer if isinstance(answer, list) else [answer])
    inner = [part for message in outer for part in _objects_in(message.get("content"))]
    members = (part.get("images") or part.get("audio") for part in outer)
    return any(members) or any(words(part.get("type")) in _MEDIA for part in (*outer, *inner))


def _objects_in(parts: Json) -> Sequence[Mapping[str, Json]]:
    return [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else ()


def _opened(evidence: Json) -> Json:
    """The value of a message or parts that the log has as JSON text; any other text stays a text."""
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


def _answer_of_parts(parts: Sequence[Mapping[str, Json]]) -> Answer:
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
    return Answer(text="".join(texts) or None, calls=calls)


def _text(content: Json) -> str | None:
    if isinstance(content, list):
        parts = [words(mapping(part).get("text")) for part in content]
        return "".join(part for part in parts if part) or None
    return words(content)


def keeps_to_schema(
    evidence: Json, response_format: str | None, tools: str | None, *, max_bytes: int, timeout_s: float
) -> bool | None:
    """Whether an answer has the form that its request asks for.

    Patterns are matched in linear time. Formats, and patterns that need backtracking, are not checked.
    References to schemas elsewhere are not fetched.

    Args:
        evidence: the answer in the log.
        response_format, tools: JSON text, in the form of Chat Completions.

    Returns:
        None if the request asks for no form, the log lacks the answer or cut it, or the check would exceed
        its bounds.
    """
    checks: list[tuple[Json, str]] = []
    try:
        if any(CUT_MARK in text for text in (_as_text(evidence), response_format or "", tools or "")):
            return None
        answer = logged_answer(evidence)
        if tools and answer.calls:
            tool_checks = _tool_checks(answer, _bounded(tools, max_bytes))
            if tool_checks is None:
                return False
            checks += tool_checks
        schema = _answer_schema(response_format, max_bytes)
        if schema is not None and (answer.text is not None or not answer.calls):
            checks.append((answer.text, schema))
        if evidence is None or not checks:
            return None
        deadline = time.monotonic() + timeout_s
        return all(_fits(value, schema, max_bytes, deadline) for value, schema in checks)
    except (_OutOfBounds, RecursionError, _Unusable):
        return None


def _as_text(evidence: Json) -> str:
    return evidence if isinstance(evidence, str) else json.dumps(evidence, default=str)


def _bounded(text: str, max_bytes: int) -> Json:
    if len(text) > max_bytes:
        raise _Unusable
    try:
        return parse_json(text)[0]
    except ValueError as error:
        raise _Unusable from error


def _tool_checks(answer: Answer, tools: Json) -> list[tuple[Json, str]] | None:
    """Arguments and schema of each call; None if the answer calls an unknown tool."""
    functions = [mapping(mapping(tool).get("function")) for tool in listed(tools)]
    known = {each["name"]: each.get("parameters") for each in functions if isinstance(each.get("name"), str)}
    if len(known) < len(listed(tools)):
        raise _Unusable  # a built-in tool of the provider, whose signature is not in the request
    if any(name not in known for name, _ in answer.calls):
        return None
    return [(arguments, json.dumps(known[name or ""] or {})) for name, arguments in answer.calls]


def _answer_schema(response_format: str | None, max_bytes: int) -> str | None:
    """The JSON schema that the request wants the answer to fit; None if it wants none."""
    form = mapping(_bounded(response_format, max_bytes)) if response_format else {}
    if form.get("type") == "json_object":
        return '{"type": "object"}'
    if form.get("type") != "json_schema":
        return None
    schema = mapping(form.get("json_schema")).get("schema")
    return json.dumps(schema) if isinstance(schema, dict) else None


def _fits(value: Json, schema: str, max_bytes: int, deadline: float) -> bool:
    """Whether a value, or the value of a JSON text, fits a schema.

    Raises:
        _OutOfBounds: at the deadline.
        _Unusable: the value is too long to check, or the schema is not one.
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
    except _OutOfBounds:
        raise
    except Exception as error:  # jsonschema follows references only now, and may raise anything
        raise _Unusable from error


_check = threading.local()
"""This thread's deadline and depth: all threads share the validator of a schema."""


@lru_cache(maxsize=256)
def _validator(schema: str) -> Callable[[Json], bool] | None:
    """A check that stops at the bounds; None if the schema is invalid, or its time can't be bounded."""
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
    changed = {"pattern": _pattern, "format": _ignored, "uniqueItems": _unique}
    keywords: dict[str, Any] = {
        name: _bounded_check(changed.get(name, check)) for name, check in base.VALIDATORS.items()
    }
    bounded = validators.extend(base, keywords)(value, registry=Registry())
    return cast("Callable[[Json], bool]", bounded.is_valid)


def _bounded_check(check: Callable[..., Any]) -> Callable[..., Iterator[Any]]:
    """A keyword's check that first checks the time and the depth."""

    def bounded(validator: Any, value: Json, instance: Json, schema: Json) -> Iterator[Any]:  # noqa: ANN401 - jsonschema's
        if time.monotonic() > _check.ends or _check.depth >= _DEEPEST:
            raise _OutOfBounds
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
    """A check by a schema's pattern in linear time; always true for a pattern that needs more."""
    from jsonschema_rs import RegexOptions, validator_for

    try:
        options = RegexOptions(size_limit=_LARGEST_PATTERN)
        return validator_for({"pattern": pattern}, pattern_options=options).is_valid
    except ValueError:
        return lambda _: True


def _unique(_validator: object, wanted: Json, instance: Json, _schema: Json) -> Iterator[Any]:
    """Compares items by their text, as jsonschema's own check takes quadratic time."""
    from jsonschema import ValidationError

    if wanted and isinstance(instance, list):
        texts = {json.dumps(item, sort_keys=True) for item in instance}
        if len(texts) < len(instance):
            yield ValidationError("items are not distinct")
