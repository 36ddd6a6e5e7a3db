"""Reads the chat of a GenAI span from the attributes and events of any version of the conventions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from router.records import Json
from training.readers.cells import dump_json
from training.readers.otel_records import AttributeMap, members
from training.readers.protocol import Call, Record
from training.readers.request_shapes import request_fields
from training.readers.values import filled, first_given, first_words, listed, mapping, member, unpacked, words

_ROLES: Mapping[str, str] = {
    "gen_ai.system.message": "system", "gen_ai.user.message": "user", "gen_ai.tool.message": "tool",
    "gen_ai.assistant.message": "assistant",
}  # fmt: skip
_PROMPTS = ("gen_ai.prompt", "llm.prompts")
_COMPLETIONS = ("gen_ai.completion", "llm.completions")
_FUNCTIONS = ("llm.request.functions", "gen_ai.request.functions", "gen_ai.request.tools")
_REFERENCE = re.compile(r"[a-z][a-z0-9+.-]*://\S+")
"""The address of messages that were uploaded elsewhere."""
_CONTENT_NAMES = frozenset("text content source data input".split())


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An event of a span, or a log record with the id of the span.

    Attributes:
        time: nanoseconds since 1970; 0 if it is unknown.
        body: of a log record; empty for an event of a span.
    """

    name: str
    time: int
    attributes: AttributeMap
    body: Mapping[str, Json]

    @classmethod
    def of(cls, row: Record) -> Self:
        """From a row, or an event in a row; the name is "" if there is none."""
        attributes, time = row.get("attributes"), row.get("time")
        return cls(
            name=words(row.get("name")) or "",
            time=time if type(time) is int else 0,
            attributes=attributes if isinstance(attributes, dict) else {},
            body=mapping(row.get("body")),
        )

    @property
    def content(self) -> Mapping[str, Json]:
        """The message, which is in the body, in an attribute, or in the attributes themselves."""
        return mapping(self.attributes.get("gen_ai.event.content")) or self.body or self.attributes


def events_of(row: Record, attributes: AttributeMap, logs: Sequence[Event]) -> Sequence[Event]:
    """The events of a span and its log records by time; Pydantic AI keeps them in an attribute instead."""
    own = [Event.of(event) for event in listed(row.get("events")) if isinstance(event, dict)]
    kept = [
        Event(name=words(one.get("event.name")) or "", time=0, attributes={}, body=one)
        for one in listed(attributes.get("events"))
        if isinstance(one, dict)
    ]
    events = [*own, *kept, *logs]
    return sorted(events, key=lambda event: event.time) if len(events) > 1 else events


def messages_of(attributes: AttributeMap, events: Sequence[Event]) -> Call:
    """`messages` or `prompt`; empty if the prompt was not recorded, which is the conventions' default."""
    bodies = (body for body in _bodies(attributes, events) if body)
    return next((fields for body in bodies if (fields := request_fields(body))), {})


def _bodies(attributes: AttributeMap, events: Sequence[Event]) -> Iterator[Mapping[str, Json]]:
    """What may be the request, the current names first."""
    current = _opened(attributes.get("gen_ai.input.messages"), _is_chat)
    if unpacked(current) == []:
        yield {"messages": _instructions(attributes)}
    elif current and not _is_reference(current):
        yield {"messages": [*_instructions(attributes), *_chat(current)]}
    prompts = [event.attributes.get("gen_ai.prompt") for event in events]
    for older in (*(attributes.get(name) for name in _PROMPTS), *prompts, attributes.get("request_data")):
        body = unpacked(older)
        if isinstance(body, dict) and _is_body(body):
            yield body
        elif older := _opened(older, _is_chat):
            yield {"messages": [*_instructions(attributes), *_chat(older)]}
    yield {
        "messages": next((numbered for name in _PROMPTS if (numbered := _numbered(attributes, name))), None)
    }
    yield {"messages": [*_from_events(events)]}


def _opened(value: Json, is_known: Callable[[Json], bool]) -> Json:
    """A value, parsed if it is the JSON text of a known form; a prompt may be JSON text of its own."""
    parsed = unpacked(value)
    return parsed if is_known(parsed) else value


def _is_chat(value: Json) -> bool:
    messages = [value] if isinstance(value, dict) else value
    return isinstance(messages, list) and any(isinstance(one, dict) and "role" in one for one in messages)


def _is_body(value: Mapping[str, Json]) -> bool:
    return "role" not in value and (
        bool({"messages", "contents"} & value.keys()) or ("model" in value and "input" in value)
    )


def _is_content(value: Json) -> bool:
    """Whether a value is the parts of a message."""
    return isinstance(value, list) and bool(value) and all(map(_is_part, value))


def _is_part(value: Json) -> bool:
    if not isinstance(value, dict):
        return False
    kind = words(value.get("type"))
    return isinstance(value.get("text"), str) or (
        kind is not None and bool((_CONTENT_NAMES | {kind}) & value.keys())
    )


def _is_reference(value: Json) -> bool:
    return isinstance(value, str) and _REFERENCE.fullmatch(value) is not None


def tools_of(attributes: AttributeMap) -> Call:
    """`tools` and `response_format`, as far as they were recorded."""
    current = listed(attributes.get("gen_ai.tool.definitions"))
    older = [_function(one) for name in _FUNCTIONS for one in members(attributes, name)]
    form = first_given(
        unpacked(attributes.get("gen_ai.openai.request.response_format")),
        _format(unpacked(attributes.get("gen_ai.request.structured_output_schema"))),
        "json_object" if attributes.get("gen_ai.output.type") == "json" else None,
    )
    form = {"type": form} if isinstance(form, str) else form
    tools = [_tool(unpacked(tool)) for tool in current or older]
    return filled({"response_format": None if form == {"type": "text"} else form, "tools": tools})


def _format(schema: Json) -> Json:
    return {"type": "json_schema", "json_schema": {"schema": schema}} if isinstance(schema, dict) else None


def _function(one: AttributeMap) -> Json:
    return filled({name: unpacked(one.get(name)) for name in ("name", "description", "parameters")})


def _tool(tool: Json) -> Json:
    """A tool in the form of the chat protocol, from that form or the flat one of the conventions."""
    if not isinstance(tool, dict) or "function" in tool or "name" not in tool:
        return tool
    function = {name: value for name, value in tool.items() if name != "type"}
    return {"type": tool.get("type", "function"), "function": function}


def _instructions(attributes: AttributeMap) -> list[Json]:
    """The system message, which has an attribute of its own: parts, or a text."""
    system = _opened(attributes.get("gen_ai.system_instructions"), _is_content)
    if isinstance(system, str):
        return [{"role": "system", "content": system}] if system and not _is_reference(system) else []
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
            content.append({"type": "text", "text": first_given(part.get("content"), part.get("text"))})
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


def _numbered(attributes: AttributeMap, name: str, role: str = "user") -> list[Json]:
    """Messages of attributes such as `gen_ai.prompt.0.role`, as OpenLLMetry writes them.

    A turn that only calls tools has no content; it is a message all the same.
    """
    return [_numbered_message(one, role) for one in members(attributes, name)]


def _numbered_message(one: AttributeMap, role: str) -> Json:
    content = first_given(one.get("content"), one.get("user"), one.get("text"))
    rest = {
        "tool_calls": [_tool_call(call) for call in members(one, "tool_calls")],
        "tool_call_id": one.get("tool_call_id"),
        "name": one.get("name"),
    }
    opened = _opened(content, _is_content)
    return {"role": words(one.get("role")) or role, "content": opened, **filled(rest)}


def _from_events(events: Sequence[Event]) -> Iterator[Json]:
    """One message of each event, in their order; none if the user's texts were not recorded."""
    turns = [(event.content, role) for event in events if (role := _ROLES.get(event.name))]
    recorded = [body.get("content") is not None for body, role in turns if role == "user"]
    if any(recorded) or not recorded:
        yield from (_event_message(body, role) for body, role in turns)


def _event_message(body: Mapping[str, Json], role: str) -> Json:
    content = _opened(body.get("content"), _is_content)
    message: dict[str, Json] = {"role": words(body.get("role")) or role, "content": content}
    if body.get("tool_calls"):
        message["tool_calls"] = unpacked(body["tool_calls"])
    if role == "tool":
        message["tool_call_id"] = first_given(body.get("id"), body.get("tool_call_id"))
    return {**message, **filled({"name": body.get("name")})}


def answer_of(attributes: AttributeMap, events: Sequence[Event]) -> Call:
    """`finish_reason` and `answer`, from the names of any version."""
    reasons = unpacked(attributes.get("gen_ai.response.finish_reasons"))
    completions = [one for name in _COMPLETIONS for one in members(attributes, name)]
    choices = [event.content for event in events if event.name == "gen_ai.choice"]
    whole = [attributes.get(name) for name in ("gen_ai.output.messages", *_COMPLETIONS)]
    whole += [event.attributes.get("gen_ai.completion") for event in events]
    whole = [_opened(one, _is_chat) for one in whole if one is not None]
    answers = [
        *(_answer(one) for one in whole),
        *(_numbered_message(one, "assistant") for one in completions),
        *(_answer(mapping(one.get("message")) or first_words(one.get("content"))) for one in choices),
    ]
    reason = first_words(
        member(reasons, 0), reasons, attributes.get("gen_ai.response.finish_reason"),
        *(one.get("finish_reason") for one in (*completions, *choices)),
        *(member(unpacked(one), 0, "finish_reason") for one in whole),
        attributes.get("llm.response.finish_reason"), attributes.get("llm.response.stop_reason"),
    )  # fmt: skip
    return filled({"finish_reason": reason, "answer": first_given(*answers)})


def _answer(value: Json) -> Json:
    """A message or a text, from any form of what the model answered."""
    opened = _opened(value, _is_chat)
    if isinstance(opened, dict) and "role" not in opened:
        opened = {"role": "assistant", **opened}
    return next(_chat(opened), None) if _is_chat(opened) else opened
