"""Converts messages of any protocol (Anthropic, Responses, Gemini, Bedrock, LangChain) to chat messages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from router.records import Json
from training.readers.cells import dump_json
from training.readers.values import first_given, first_words, listed, mapping, member, words

_Object: TypeAlias = Mapping[str, Json]

_ROLES: Mapping[str, str] = {
    "model": "assistant", "ai": "assistant", "AIMessageChunk": "assistant", "chatbot": "assistant",
    "human": "user", "HumanMessageChunk": "user",
}  # fmt: skip
"""The chat protocol's role for that of another protocol."""
_LANGCHAIN = frozenset({"human", "ai", "system", "tool", "function", "AIMessageChunk", "HumanMessageChunk"})
_CHAT_ROLES = ("user", "assistant", "system", "developer", "tool", "function")
_TEXT_PARTS = ("text", "input_text", "output_text")
_THOUGHTS = ("thinking", "redacted_thinking", "reasoning", "reasoning_text")
_MEDIA = ("image", "document", "video", "audio")
_MEDIA_ITEMS = ("input_image", "input_file", "input_audio", "image_url", *_MEDIA)
_CALLS = ("tool_call", "tool-call")
_RESULTS = ("tool_call_response", "tool-result")
_OTHER_PARTS = ("input_text", "output_text", *_CALLS, *_RESULTS)
"""Types of parts that the chat protocol has in another form."""
_DEEPEST = 8
_TELLING: Mapping[str, Sequence[str]] = {
    "kwargs": ("constructor",), "content": ("message", *_LANGCHAIN), "data": tuple(_LANGCHAIN),
    "text": _TEXT_PARTS, "call_id": ("function_call", "function_call_output", "custom_tool_call"),
}  # fmt: skip
"""Types of messages, items and parts without a role, by the member that they must have."""


def chat_of(messages: Sequence[Json]) -> list[Json]:
    """The chat messages of a list of messages, items or texts.

    An item of unknown kind becomes a turn of the assistant without content; numbers are tokens, of which no
    text is known. What is no message (an object with neither role, type nor parts) stays as it is, for the
    check of the messages to refuse.
    """
    chats: list[Json] = []
    for message in messages:
        if isinstance(message, dict) and "type" not in message and _is_chat_message(message):  # most logs'
            chats.append(message)
        else:
            chats.extend(_chat(message))
    return chats


def is_message(value: Json) -> bool:
    """Whether an object is surely a message, an item or a part of a protocol, and no data of a prompt."""
    if not isinstance(value, dict):
        return False
    role, kind = value.get("role"), value.get("type")
    if isinstance(role, str):
        return _role(role) in _CHAT_ROLES and any(
            name in value for name in ("content", "parts", "tool_calls")
        )
    if not isinstance(kind, str):
        return isinstance(value.get("parts"), list)
    return any(kind in kinds and name in value for name, kinds in _TELLING.items())


def is_chat(messages: Sequence[Json]) -> bool:
    """Whether messages have the form of the chat protocol already, in all that routing reads of them."""
    return all(isinstance(message, dict) and _is_chat_message(message) for message in messages)


def _is_chat_message(message: _Object) -> bool:
    role, content = message.get("role"), message.get("content")
    if not isinstance(role, str) or _role(role) != role or "parts" in message:
        return False
    return all(map(_is_chat_part, content)) if isinstance(content, list) else isinstance(content, str | None)


def _is_chat_part(part: Json) -> bool:
    kind = part.get("type") if isinstance(part, dict) else None
    return isinstance(kind, str) and kind not in _OTHER_PARTS and (kind != "text" or "text" in part)


def _role(role: str) -> str:
    """The chat protocol's name of a role."""
    if role in _CHAT_ROLES:
        return role
    plain = role.lower()
    return _ROLES.get(role) or _ROLES.get(plain) or (plain if plain in _CHAT_ROLES else role)


def holds_prompt(messages: Json) -> bool:
    """Whether a prompt, or some chat message, has a text, an image or a tool call."""
    if not isinstance(messages, list):
        return isinstance(messages, str) and not messages.isspace() and bool(messages)
    return any(isinstance(message, dict) and _says_something(message) for message in messages)


def _says_something(message: _Object) -> bool:
    content = message.get("content")
    parts = content if isinstance(content, list) else [content]
    return bool(message.get("tool_calls") or message.get("function_call")) or any(map(_says, parts))


def _says(part: Json) -> bool:
    if not isinstance(part, dict):
        return isinstance(part, str) and bool(part.strip())
    kind = part.get("type")
    if kind in _TEXT_PARTS:
        return bool((words(part.get("text")) or "").strip())
    return isinstance(kind, str) and kind not in _THOUGHTS


def _chat(message: Json) -> Iterator[Json]:
    if isinstance(message, str):
        yield {"role": "user", "content": message}
    elif isinstance(message, list):
        yield from _of_list(message)
    elif not isinstance(message, dict):
        yield from () if _is_token(message) else (message,)
    elif isinstance(kwargs := message.get("kwargs"), dict) and message.get("type") == "constructor":
        yield from _serialised(message, kwargs)
    elif isinstance(message.get("role"), str):
        yield from _with_role(message, message["role"])
    elif isinstance(kind := message.get("type"), str):
        yield from _of_kind(message, kind)
    elif "parts" in message:
        yield from _with_role(message, "user")
    else:
        yield message


def _is_token(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _of_list(message: Sequence[Json]) -> Iterator[Json]:
    """A pair of role and text, or a list of messages in the place of one; numbers hold no message."""
    if len(message) == 2 and message[0] in (*_LANGCHAIN, *_CHAT_ROLES) and words(message[1]):
        yield {"role": _role(message[0]), "content": message[1]}
        return
    for one in message:
        if isinstance(one, dict):
            yield from _chat(one)


def _serialised(message: _Object, kwargs: _Object) -> Iterator[Json]:
    """A message of LangChain as its `dumps` writes it: the class stands in `id`."""
    name = words(member(message.get("id"), -1)) or ""
    kind = first_words(kwargs.get("type")) or name.removesuffix("Chunk").removesuffix("Message").lower()
    yield from _of_kind({**kwargs, "type": kind}, kind)


def _of_kind(item: _Object, kind: str) -> Iterator[Json]:
    """An item without a role: LangChain's message, an item of the Responses protocol, or a part alone."""
    if kind in _LANGCHAIN:
        yield from _langchain(item, kind)
    elif kind == "message":
        yield from _with_role(item, "assistant")
    elif kind in ("function_call", "custom_tool_call"):
        arguments = first_given(item.get("arguments"), item.get("input"))
        yield _turn("assistant", None, [_call(item.get("call_id"), item.get("name"), arguments)])
    elif kind.endswith("_output") and kind not in _TEXT_PARTS:
        output = item.get("output")
        yield {"role": "tool", "tool_call_id": item.get("call_id"), "content": _as_text(output)}
    elif kind in (*_TEXT_PARTS, *_MEDIA_ITEMS):
        yield {"role": "user", "content": [_part(item)]}
    else:
        yield {"role": "assistant", "content": None}


def _langchain(item: _Object, kind: str) -> Iterator[Json]:
    inner = mapping(item.get("data")) or item
    kept = {name: inner[name] for name in ("content", "tool_call_id", "name") if inner.get(name)}
    calls = [
        one if "function" in one else _call(one.get("id"), one.get("name"), one.get("args"))
        for one in listed(inner.get("tool_calls"))
        if isinstance(one, dict)
    ]
    yield from _with_role({"role": _role(kind), **kept, **({"tool_calls": calls} if calls else {})}, kind)


def _with_role(message: _Object, role: str) -> Iterator[Json]:
    """A message with a role: its content in parts of the chat protocol, calls and results of tools apart."""
    if _is_chat_message(message) and message.get("type") != "message":
        yield message
        return
    pieces = _Pieces()
    given = first_given(message.get("content"), message.get("parts"), message.get("message"))
    for part in _parts_of(given, _DEEPEST):
        pieces.add(part)
    pieces.calls += listed(message.get("tool_calls"))
    yield from pieces.results
    if pieces.content or pieces.calls or not pieces.results:
        kept = {name: message[name] for name in _KEPT if message.get(name) is not None}
        yield {**_turn(_role(role), pieces.as_content(), pieces.calls), **kept}


_KEPT = ("name", "tool_call_id", "function_call")


def _parts_of(content: Json, depth: int) -> Iterator[Json]:
    """The parts of a content: a text, an object, or lists of these; a number within a list is a token."""
    if isinstance(content, list):
        for part in content if depth else ():
            if isinstance(part, str | dict | list):
                yield from _parts_of(part, depth - 1)
    elif isinstance(content, dict) and content:
        inner = content.get("parts") if "type" not in content else None
        yield from _parts_of(inner, depth - 1) if isinstance(inner, list) and depth else (content,)
    elif _is_token(content):
        yield str(content)
    elif isinstance(content, str) and content:
        yield content


class _Pieces:
    """The parts of one message, sorted: content, calls of tools, and results of tools."""

    def __init__(self) -> None:
        self.content: list[Json] = []
        self.calls: list[Json] = []
        self.results: list[Json] = []

    def add(self, part: Json) -> None:
        """Add one part: a text or an object."""
        if isinstance(part, str):
            self.content.append({"type": "text", "text": part})
        elif call := _call_in(part):
            self.calls.append(call)
        elif result := _result_in(part):
            self.results.append(result)
        elif "cachePoint" not in part:
            self.content.append(_part(part))

    def as_content(self) -> Json:
        """Text alone as text, anything else as parts; None if there is nothing."""
        only = self.content[0] if len(self.content) == 1 else None
        if isinstance(only, dict) and only.keys() == {"type", "text"} and only["type"] == "text":
            return only["text"]
        return self.content or None


def _call_in(part: _Object) -> Json:
    """The call of a tool in a part of Gemini's, Bedrock's, the AI SDK's or OpenTelemetry's form."""
    for name in ("functionCall", "function_call", "toolUse"):
        if isinstance(call := part.get(name), dict):
            arguments = first_given(call.get("args"), call.get("input"))
            return _call(first_given(call.get("toolUseId"), call.get("id")), call.get("name"), arguments)
    if part.get("type") not in _CALLS:
        return None
    arguments = first_given(part.get("args"), part.get("input"), part.get("arguments"))
    named = first_words(part.get("toolName"), part.get("name"))
    return _call(first_words(part.get("toolCallId"), part.get("id")), named, arguments)


def _result_in(part: _Object) -> Json:
    """The result of a tool as a message of its own."""
    for name in ("functionResponse", "function_response", "toolResult"):
        if isinstance(result := part.get(name), dict):
            told = first_given(result.get("response"), result.get("content"))
            named = first_words(result.get("toolUseId"), result.get("id"), result.get("name"))
            return {"role": "tool", "tool_call_id": named, "content": _as_text(told)}
    if part.get("type") not in _RESULTS:
        return None
    told = first_given(part.get("output"), part.get("result"), part.get("response"))
    told = told.get("value") if isinstance(told, dict) and {"type", "value"} == told.keys() else told
    named = first_words(part.get("toolCallId"), part.get("id"))
    return {"role": "tool", "tool_call_id": named, "content": _as_text(told)}


def _as_text(value: Json) -> str | None:
    """The texts in some parts, else the JSON text of a value; None if it is nested too deeply."""
    parts = value if isinstance(value, list) else [value]
    texts = [
        first_given(part.get("text"), part.get("content")) if isinstance(part, dict) else part
        for part in parts
    ]
    if texts and all(isinstance(text, str) for text in texts):
        return "\n".join(texts)
    try:
        return dump_json(value)
    except RecursionError:
        return None


def _call(call_id: Json, name: Json, arguments: Json) -> Json:
    arguments = arguments if isinstance(arguments, str | None) else _as_text(arguments)
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def _turn(role: str, content: Json, calls: Sequence[Json]) -> dict[str, Json]:
    turn: dict[str, Json] = {"role": role, "content": content}
    return {**turn, "tool_calls": list(calls)} if calls else turn


def _part(part: _Object) -> Json:
    """A part of the chat protocol; text, images and thoughts of other protocols get their type."""
    kind = part.get("type")
    if not isinstance(kind, str):
        return _media(part) or _thought(part) or _text_part(_as_text(part) or "")
    if kind not in _TEXT_PARTS or (kind == "text" and "text" in part):
        return part
    return {"type": "text", "text": first_given(part.get("text"), part.get("content"))}


def _media(part: _Object) -> Json:
    """Bedrock's and Gemini's images, documents, videos and sounds."""
    for name in ("inlineData", "inline_data", "fileData", "file_data"):
        if isinstance(data := part.get(name), dict):
            family = (first_words(data.get("mimeType"), data.get("mime_type")) or "").partition("/")[0]
            return {"type": family if family in _MEDIA else "file", "source": data}
    return next(({"type": name, "source": part[name]} for name in _MEDIA if part.get(name)), None)


def _thought(part: _Object) -> Json:
    reasoning = member(part.get("reasoningContent"), "reasoningText", "text")
    text = part.get("text") if part.get("thought") is True else reasoning
    return {"type": "thinking", "thinking": text} if text or "reasoningContent" in part else None


def _text_part(text: str) -> Json:
    return {"type": "text", "text": text}
