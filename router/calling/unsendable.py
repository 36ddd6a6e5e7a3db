"""What in a request no provider can be sent: the caller's mistake, which must not count against a model."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from router.records import Json

NOT_SENT = frozenset({"metadata", "litellm_metadata", "timeout", "logger_fn", "client", "mock_response"})
"""LiteLLM arguments that stay in this process, in whatever form."""

LONGEST_PLACE = 200
"""Characters of the place of a value in an error."""


def why_unsendable(arguments: Mapping[str, Json]) -> str | None:
    """Name the first value that can't be sent as JSON over HTTP, or return None if all can.

    It quotes no text of the request. It takes time in proportion to the request, so call it after a failure.

    Args:
        arguments: LiteLLM's.
    """
    for name, value in arguments.items():
        if name in NOT_SENT:
            continue
        if name in ("extra_headers", "headers"):
            problem = next(_in_headers(name, value), None)
        else:
            problem = next(_in_json(name, value), None)
        if problem is not None:
            return problem
    return next(_in_tool_calls(arguments.get("messages")), None)


def why_no_timeout(value: Json) -> str | None:
    """Say what is wrong with a timeout; None if it is a positive number or an object of the HTTP library."""
    if value is None or not isinstance(value, str | bytes | bool | int | float | list | tuple | dict):
        return None
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf:
        return None
    return f"timeout must be a positive number of seconds, got {_shown(value)}"


def _in_json(name: str, value: Json) -> Iterator[str]:
    """Walk a value without recursion: callers choose how deep it is."""
    ahead: list[tuple[str, Any]] = [(name, value)]
    while ahead:
        where, one = ahead.pop()
        if isinstance(one, Mapping):
            ahead += [(f"a key of {where}", key) for key in one]
            ahead += [(f"{where}.{key}"[:LONGEST_PLACE], member) for key, member in one.items()]
        elif isinstance(one, list | tuple):
            ahead += [(f"{where}[{number}]"[:LONGEST_PLACE], member) for number, member in enumerate(one)]
        elif (problem := _why_no_json(one)) is not None:
            yield f"{where} {problem}"


def _why_no_json(one: object) -> str | None:
    if isinstance(one, str):
        return _why_no_utf8(one)
    if isinstance(one, float):
        return None if math.isfinite(one) else f"is {one}, which JSON can't hold"
    # LiteLLM itself turns classes and pydantic's objects into JSON.
    fits = one is None or isinstance(one, int | type) or hasattr(one, "model_dump")
    return None if fits else f"is of type {type(one).__name__}, which JSON can't hold"


def _in_headers(name: str, headers: Json) -> Iterator[str]:
    if not isinstance(headers, Mapping):
        yield f"{name} must be an object of texts, got {type(headers).__name__}"
        return
    for header, value in headers.items():
        if not isinstance(header, str) or not isinstance(value, str):
            yield f"{name} must hold texts only, got {type(value).__name__} for {_shown(header)}"
        elif not (header + value).isascii() or not (header + value).replace("\t", " ").isprintable():
            yield f"{name}: the value of {_shown(header)} has characters that no HTTP header can hold"


def _in_tool_calls(messages: Json) -> Iterator[str]:
    """Some providers get a tool call's arguments as an object, so that their text must be JSON."""
    import json

    for number, message in enumerate(messages if isinstance(messages, list) else ()):
        calls = message.get("tool_calls") if isinstance(message, Mapping) else None
        for call in calls if isinstance(calls, list) else ():
            function = call.get("function") if isinstance(call, Mapping) else None
            text = function.get("arguments") if isinstance(function, Mapping) else None
            if isinstance(text, str) and text:
                try:
                    json.loads(text)
                except (ValueError, RecursionError):
                    yield f"messages[{number}]: the arguments of a tool call are no JSON"


def _why_no_utf8(text: str) -> str | None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"has half of a surrogate pair at character {error.start + 1}, which UTF-8 can't hold"
    return None


def _shown(value: object) -> str:
    return repr(value)[:40]
