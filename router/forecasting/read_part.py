"""The part of a request that features are read from: all of it, or head, tail and last turn of a huge one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final, TypeVar

from router.errors import RequestError
from router.records import LISTS, MOST_MESSAGES, Json, Request

READ_PARTS: Final = 1_000
"""Messages that are read, and as many parts of them."""
READ_TOGETHER: Final = 20_000
"""Characters of all system texts, and of all wordings of tools, that are read."""
READ_VALUES: Final = 5_000
"""Values of the tools' schemas that are visited."""
READ_WRITTEN: Final = 200_000
"""Characters of the tools' texts up to which they are written as JSON, to know their size."""
VALUE_CHARACTERS: Final = 16
"""About how many a value of a schema takes as JSON, if there are too many to write."""
MOST_PARTS: Final = MOST_MESSAGES
"""Messages and parts of a request, together."""
TEXT_COST: Final = 16
"""Characters that a text counts beside its own, so that many empty ones are not free."""
DEEPEST_SCHEMA: Final = 32
LONG_NUMBER: Final = 1_000
"""Bits of a number that is not written out: Python refuses to at some thousand digits."""

CONTAINERS: Final = (list, dict, tuple)
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolShape:
    """Size and shape of a request's tools.

    Attributes:
        properties, required: of the schemas at any level, but not in lists of lists.
        depth: of the deepest schema.
        characters: of the tools as JSON; estimated if they have more values than are visited.
    """

    properties: int
    required: int
    depth: int
    characters: int


NO_TOOLS: Final = ToolShape(properties=0, required=0, depth=0, characters=0)


def check_size(request: Request) -> None:
    """Refuse a request that no provider takes, before work that grows with it.

    Raises:
        RequestError: it has too many messages and parts.
    """
    if not fits(request):
        count = _messages_and_parts(request)
        raise RequestError(
            f"the request has {count:,} messages and parts of messages, more than {MOST_PARTS:,}: shorten it"
        )


def fits(request: Request) -> bool:
    """Whether a provider takes so many messages and parts."""
    return _messages_and_parts(request) <= MOST_PARTS


def read_part(request: Request) -> Request:
    """The request itself, or if it has very many messages or parts, their head, tail and last user turn."""
    messages = request.messages
    if len(messages) <= READ_PARTS and _messages_and_parts(request) <= READ_PARTS:
        return request
    places = range(len(messages))
    last = next((place for place in reversed(places) if messages[place]["role"] == "user"), places[-1])
    kept = sorted({*ends(places, READ_PARTS), last})
    share = max(2, READ_PARTS // len(kept))
    cut = [_with_parts(messages[place], READ_PARTS if place == last else share) for place in kept]
    return replace(request, messages=cut)


def ends(items: Sequence[Item], most: int) -> Sequence[Item]:
    """The items, or if there are more than `most`, half as many from the start and half from the end."""
    half = most // 2
    return items if len(items) <= most else [*items[:half], *items[-half:]]


def fitting_texts(texts: Sequence[str], characters: int) -> Sequence[str]:
    """The texts, or if they are longer together, those of head and tail that fit, the last of each cut."""
    if sum(map(len, texts)) + TEXT_COST * len(texts) <= characters:
        return texts
    head: list[str] = []
    tail: list[str] = []
    for kept, order in ((head, texts), (tail, reversed(texts))):
        left = characters // 2
        for text in order:
            left -= TEXT_COST
            if left <= 0:
                break
            kept.append(text[:left] if kept is head else text[-left:])
            left -= len(text)
    return [*head, *reversed(tail)]


def tool_list(tools: Json) -> list[Json]:
    """The definitions, also of a caller who gives one without a list."""
    if isinstance(tools, list):
        return tools
    may_be_empty = isinstance(tools, str | int | float | dict | tuple | None)
    return [tools] if not may_be_empty or tools else []


def tool_wordings(tools: Json) -> Sequence[str]:
    """Name and description of each tool, wherever the provider's form puts them."""
    wordings = []
    for tool in ends(tool_list(tools), READ_PARTS):
        if isinstance(tool, dict):
            inner = tool.get("function", tool)
            inner = inner if isinstance(inner, dict) else tool
            wordings.append(f"{_wording(inner.get('name', ''))} {_wording(inner.get('description', ''))}")
    return fitting_texts(wordings, READ_TOGETHER)


def tool_shape(tools: Json) -> ToolShape:
    """Measure a request's tools, however deep they are."""
    if tools is None:
        return NO_TOOLS
    waiting: list[tuple[Json, int, bool]] = [(tool_list(tools), 0, True)]
    values = written = properties = required = depth = 0
    while waiting and values <= READ_VALUES:
        value, level, is_schema = waiting.pop()
        values += len(value)
        depth = max(depth, level) if is_schema else depth
        inner, schemas = _inside(value, is_schema and level < DEEPEST_SCHEMA)
        if isinstance(value, dict):
            level += 1
            properties += _size(value.get("properties")) if schemas else 0
            required += _size(value.get("required")) if schemas else 0
        for part in islice(inner, READ_VALUES):
            if isinstance(part, str):
                written += len(part)
            elif isinstance(part, CONTAINERS):
                waiting.append((part, level, isinstance(part, schemas)))
    estimated = values > READ_VALUES or written > READ_WRITTEN
    characters = VALUE_CHARACTERS * values + written if estimated else _json_size(tools, values)
    return ToolShape(properties=properties, required=required, depth=depth, characters=characters)


def _inside(value: Json, is_schema: bool) -> tuple[Iterable[Json], tuple[type, ...]]:
    """The values in an object or a list, and the types of those that are schemas."""
    if isinstance(value, dict):
        return value.values(), (list, dict) if is_schema else ()
    return value, (dict,) if is_schema else ()


def _json_size(tools: Json, values: int) -> int:
    """Characters of the tools as JSON; by the number of their values if they have no JSON form."""
    if not tool_list(tools):
        return 0
    try:
        return len(json.dumps(tools, ensure_ascii=False, default=str, skipkeys=True))
    except (RecursionError, ValueError, TypeError):  # too deep, in itself, or a number too long
        return VALUE_CHARACTERS * values


def _wording(value: Json) -> str:
    """A member's text; nothing of objects and lists, which are no wording and may be of any size."""
    if isinstance(value, str):
        return value[:READ_TOGETHER]
    short = isinstance(value, float | None) or (isinstance(value, int) and value.bit_length() < LONG_NUMBER)
    return f"{value}" if short else ""


def _size(value: Json) -> int:
    return len(value) if isinstance(value, list | dict) else 0


def _parts(message: Mapping[str, Json]) -> int:
    content = message.get("content")
    return len(content) if isinstance(content, LISTS) else 0


def _messages_and_parts(request: Request) -> int:
    contents = [message.get("content") for message in request.messages]
    return len(contents) + sum(len(content) for content in contents if isinstance(content, LISTS))


def _with_parts(message: Mapping[str, Json], most: int) -> Mapping[str, Json]:
    """The message with at most so many parts."""
    return {**message, "content": ends(message["content"], most)} if _parts(message) > most else message
