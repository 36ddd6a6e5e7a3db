"""Turns LangChain's messages, as its tracers write them, into messages of the chat protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from router.records import Json
from training.readers.cells import dump_json
from training.readers.protocol import Call
from training.readers.values import filled, first_given, first_words, listed, mapping, member, unpacked, words

_ROLES: Mapping[str, str] = {
    "human": "user", "ai": "assistant", "system": "system", "tool": "tool", "function": "tool",
    "chat": "user", "developer": "developer",
}  # fmt: skip
_CLASSES = ("Message", "MessageChunk")


def chat_of(messages: Json) -> Json:
    """Messages in the form of the chat protocol; what is no message of LangChain's stays as it is.

    A model's inputs are a list of such lists; the first one counts.
    """
    if isinstance(messages, list) and len(messages) == 1 and isinstance(messages[0], list):
        messages = messages[0]
    return [_with_role(one) for one in messages] if isinstance(messages, list) else messages


def _with_role(message: Json) -> Json:
    if not isinstance(message, dict) or "role" in message:
        return message
    role, fields = _kind(message)
    if role is None:
        return message
    content = fields.get("content")
    kept = {
        "tool_calls": _tool_calls(fields),
        "tool_call_id": fields.get("tool_call_id"),
        "name": fields.get("name"),
    }
    return {"role": role, "content": content, **filled(kept)}


def _kind(message: Mapping[str, Json]) -> tuple[str | None, Mapping[str, Json]]:
    """Role and fields: of a plain message, a serialised constructor, or `{"type": ..., "data": ...}`."""
    fields = mapping(first_given(message.get("kwargs"), message.get("data"))) or message
    own = message.get("id")
    last = own[-1] if isinstance(own, list) and own else None
    named = first_words(fields.get("type"), message.get("type"), last) or ""
    for candidate in (named, last if isinstance(last, str) else ""):
        for ending in _CLASSES:
            plain = candidate.removesuffix(ending).lower()
            if plain in _ROLES:
                return _ROLES[plain], fields
    return None, fields


def _tool_calls(fields: Mapping[str, Json]) -> Sequence[Json]:
    given = listed(mapping(fields.get("additional_kwargs")).get("tool_calls"))
    return [_tool_call(call) for call in given or listed(fields.get("tool_calls"))]


def _tool_call(call: Json) -> Json:
    if not isinstance(call, dict) or "function" in call or "args" not in call:
        return call
    arguments = unpacked(call.get("args"))
    try:
        text = arguments if isinstance(arguments, str) else dump_json(arguments)
    except RecursionError:
        text = None
    return {
        "id": call.get("id"),
        "type": "function",
        "function": {"name": call.get("name"), "arguments": text},
    }


def generation_evidence(outputs: Json) -> Call:
    """`finish_reason` and `answer` of a model's outputs; empty if they are not LangChain's."""
    generations = listed(mapping(outputs).get("generations"))
    first = mapping(member(generations, 0, 0)) or mapping(member(generations, 0))
    if not first:
        return {}
    message = next(iter(listed(chat_of([mapping(first.get("message"))]))), None)
    about = mapping(first.get("generation_info")), mapping(member(first, "message", "response_metadata"))
    reason = first_words(*(one.get(name) for one in about for name in ("finish_reason", "stop_reason")))
    return filled({"finish_reason": reason, "answer": message if message else first.get("text")})


def model_of(parameters: Json, metadata: Json) -> tuple[str | None, str | None]:
    """Model and provider, from the parameters of the invocation and the metadata of the run."""
    params, about = mapping(parameters), mapping(metadata)
    names = "model", "model_name", "model_id", "modelId", "deployment_name", "azure_deployment"
    model = first_words(*(params.get(name) for name in names), about.get("ls_model_name"))
    return model, words(about.get("ls_provider"))
