"""Reads the chat of a GenAI span from the attributes and events of any version of the conventions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self, TypeAlias

from router.records import Json
from training.readers.cells import dump_json
from training.readers.protocol import Call, Record
from training.readers.request_shapes import request_fields
from training.readers.values import filled, first_given, listed, mapping, unpacked, words

AttributeMap: TypeAlias = Mapping[str, Json]

_ROLES: Mapping[str, str] = {
    "gen_ai.system.message": "system", "gen_ai.user.message": "user", "gen_ai.tool.message": "tool",
    "gen_ai.assistant.message": "assistant",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An event of a span, or a log record with the id of the span.

    Attributes:
        body: of a log record; empty for an event of a span.
    """

    name: str
    attributes: AttributeMap
    body: Mapping[str, Json]

    @classmethod
    def of(cls, row: Record) -> Self:
        """From a row, or an event in a row; the name is "" if there is none."""
        attributes = row.get("attributes")
        return cls(
            name=words(row.get("name")) or "",
            attributes=attributes if isinstance(attributes, dict) else {},
            body=mapping(row.get("body")),
        )


def messages_of(attributes: AttributeMap, events: Sequence[Event]) -> Call:
    """`messages` or `prompt`; empty if the prompt was not recorded, which is the conventions' default."""
    current = unpacked(attributes.get("gen_ai.input.messages"))
    if current:
        return request_fields({"messages": [*_instructions(attributes), *_chat(current)]})
    prompts = [
        event.attributes.get("gen_ai.prompt") for event in events if event.name == "gen_ai.content.prompt"
    ]
    older = unpacked(first_given(attributes.get("gen_ai.prompt"), *prompts))
    if older:
        return request_fields(
            older if isinstance(older, dict) and "role" not in older else {"messages": older}
        )
    return request_fields({"messages": _numbered(attributes) or [*_from_events(events)]})


def tools_of(attributes: AttributeMap) -> Call:
    """`tools` and `response_format`, as far as they were recorded."""
    tools = [_tool(tool) for tool in listed(attributes.get("gen_ai.tool.definitions"))]
    form = first_given(
        unpacked(attributes.get("gen_ai.openai.request.response_format")),
        "json_object" if attributes.get("gen_ai.output.type") == "json" else None,
    )
    form = {"type": form} if isinstance(form, str) else form
    return filled({"response_format": None if form == {"type": "text"} else form, "tools": tools})


def _tool(tool: Json) -> Json:
    """A tool in the form of the chat protocol, from that form or the flat one of the conventions."""
    if not isinstance(tool, dict) or "function" in tool or "name" not in tool:
        return tool
    function = {name: value for name, value in tool.items() if name != "type"}
    return {"type": tool.get("type", "function"), "function": function}


def _instructions(attributes: AttributeMap) -> list[Json]:
    """The system message, which has an attribute of its own: parts, or a text."""
    system = unpacked(attributes.get("gen_ai.system_instructions"))
    if isinstance(system, str):
        return [{"role": "system", "content": system}] if system else []
    return [*_from_parts("system", listed(system))]


def _chat(messages: Json) -> Iterator[Json]:
    for message in [messages] if isinstance(messages, str | dict) else listed(messages):
        if isinstance(message, str):
            yield {"role": "user", "content": message}
        elif isinstance(message, dict) and isinstance(parts := message.get("parts"), list):
            yield from _from_parts(message.get("role"), parts)
        else:
            yield message


def _from_parts(role: Json, parts: Sequence[Json]) -> Iterator[Json]:
    """The chat messages in one message of the conventions; each response of a tool is its own message."""
    content: list[Json] = []
    calls: list[Json] = []
    for part in parts:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "tool_call":
            calls.append(_tool_call(part))
        elif kind == "tool_call_response":
            yield {"role": "tool", "tool_call_id": part.get("id"), "content": _text(_response(part))}
        elif kind == "text":
            content.append({"type": "text", "text": part.get("content")})
        elif kind != "reasoning":
            content.append({"type": "text", "text": part} if isinstance(part, str) else part)
    if content or calls:
        only = content[0] if len(content) == 1 and _is_text(content[0]) else None
        message: dict[str, Json] = {"role": role, "content": only["text"] if only else content or None}
        yield {**message, "tool_calls": calls} if calls else message


def _is_text(part: Json) -> bool:
    return isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)


def _response(part: Mapping[str, Json]) -> Json:
    return first_given(part.get("response"), part.get("result"))


def _tool_call(part: Mapping[str, Json]) -> Json:
    function = {"name": part.get("name"), "arguments": _text(part.get("arguments"))}
    return {"id": part.get("id"), "type": "function", "function": function}


def _text(value: Json) -> str | None:
    """The JSON text of a value; None if it is nested too deeply."""
    try:
        return value if isinstance(value, str) else dump_json(value)
    except RecursionError:
        return None


def _numbered(attributes: AttributeMap) -> list[Json]:
    """Messages of attributes such as `gen_ai.prompt.0.role`, as OpenLLMetry wrote them."""
    messages: list[Json] = []
    while (content := attributes.get(f"gen_ai.prompt.{len(messages)}.content")) is not None:
        role = words(attributes.get(f"gen_ai.prompt.{len(messages)}.role")) or "user"
        messages.append({"role": role, "content": unpacked(content)})
    return messages


def _from_events(events: Sequence[Event]) -> Iterator[Json]:
    """One message of each event, in their order."""
    for event in events:
        role = _ROLES.get(event.name)
        if role is None:
            continue
        body = mapping(event.attributes.get("gen_ai.event.content")) or event.body or event.attributes
        message: dict[str, Json] = {"role": words(body.get("role")) or role, "content": body.get("content")}
        if body.get("tool_calls"):
            message["tool_calls"] = unpacked(body["tool_calls"])
        if role == "tool":
            message["tool_call_id"] = body.get("id")
        yield message
