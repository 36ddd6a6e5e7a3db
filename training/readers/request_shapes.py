"""Converts bodies of the chat, Anthropic and Responses protocols to messages, tools and response format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from router.records import Json
from training.readers.cells import dump_json
from training.readers.values import filled, first_given, listed, mapping, unpacked, words


def request_fields(body: Mapping[str, Json]) -> dict[str, Json]:
    """`messages` or `prompt`, `tools` and `response_format` of a request, as far as it has them.

    Content other than text (images, thinking) stays as it is. The result is empty if there is no prompt.
    """
    messages = _messages(body)
    if not messages:
        prompt = body.get("prompt")
        if isinstance(prompt, list) and len(prompt) == 1:
            prompt = prompt[0]
        return _with_rest({"prompt": prompt}, body) if words(prompt) else {}
    return _with_rest({"messages": messages}, body)


def _messages(body: Mapping[str, Json]) -> list[Json]:
    messages: Json = unpacked(body.get("messages"))
    if isinstance(messages, str) and messages:
        messages = _from_items(messages)
    if isinstance(messages, dict):
        messages = messages.get("messages", [messages] if "role" in messages else [])
    if not messages and (items := unpacked(body.get("input"))):
        messages = _from_items(items)
    if not isinstance(messages, list) or not messages:
        return []
    chat = [_from_item(one) if isinstance(one, dict) else one for one in messages]
    system = first_given(body.get("system"), body.get("instructions"))
    has_system = isinstance(chat[0], dict) and chat[0].get("role") in ("system", "developer")
    return [{"role": "system", "content": system}, *chat] if system and not has_system else chat


def _from_items(items: Json) -> list[Json]:
    if isinstance(items, str):
        return [{"role": "user", "content": items}]
    if not isinstance(items, list) or not any(isinstance(item, dict) for item in items):
        return []
    return [_from_item(item) if isinstance(item, dict) else item for item in items]


def _from_item(item: Mapping[str, Json]) -> Mapping[str, Json]:
    """A chat message, from one or from an item of the Responses protocol."""
    kind = item.get("type")
    if kind == "function_call":
        function = {"name": item.get("name"), "arguments": item.get("arguments")}
        calls = [{"id": item.get("call_id"), "type": "function", "function": function}]
        return {"role": "assistant", "content": None, "tool_calls": calls}
    if kind == "function_call_output":
        output = item.get("output")
        text = output if isinstance(output, str) else dump_json(output)
        return {"role": "tool", "tool_call_id": item.get("call_id"), "content": text}
    if kind == "reasoning" and "role" not in item:
        return {"role": "assistant", "content": None}
    content: Json = item.get("content")
    if isinstance(content, list) and any(_kind(part) in _TEXT_PARTS for part in content):
        return {"role": item.get("role"), "content": [_text_part(part) for part in content]}
    if kind == "message":
        return {"role": item.get("role"), "content": content}
    return item


_TEXT_PARTS = ("input_text", "output_text")


def _kind(part: Json) -> Json:
    return part.get("type") if isinstance(part, dict) else None


def _text_part(part: Json) -> Json:
    return {"type": "text", "text": part.get("text")} if _kind(part) in _TEXT_PARTS else part


def _with_rest(fields: dict[str, Json], body: Mapping[str, Json]) -> dict[str, Json]:
    tools = [_chat_tool(tool) for tool in listed(body.get("tools"))]
    if tools:
        fields["tools"] = tools
    form = unpacked(body.get("response_format")) or _chat_format(mapping(body.get("text")).get("format"))
    if form:
        fields["response_format"] = form
    return fields


def _chat_tool(tool: Json) -> Json:
    """A tool in the form of the chat protocol; a provider's own kind of tool stays as it is."""
    if not isinstance(tool, dict) or "function" in tool:
        return tool
    schema = first_given(tool.get("input_schema"), tool.get("parameters"))
    if "name" not in tool or schema is None:
        return tool
    named = {"name": tool["name"], "description": tool.get("description"), "parameters": schema}
    return {"type": "function", "function": {name: one for name, one in named.items() if one is not None}}


def _chat_format(form: Json) -> Json:
    if not isinstance(form, dict) or form.get("type") in (None, "text"):
        return None
    if form.get("type") != "json_schema" or "schema" not in form:
        return form
    schema = {name: form[name] for name in ("name", "schema", "strict") if form.get(name) is not None}
    return {"type": "json_schema", "json_schema": schema}


def answer_evidence(response: Json) -> dict[str, Json]:
    """`finish_reason` and `answer` of a response body in any protocol, as far as it has them."""
    body = mapping(response)
    choice = next(iter(listed(body.get("choices"))), None)
    if isinstance(choice, dict):
        return _evidence(choice.get("finish_reason"), first_given(choice.get("message"), choice.get("text")))
    if "stop_reason" in body:
        return _evidence(body["stop_reason"], body.get("content"))
    if "output" in body:
        reason = mapping(body.get("incomplete_details")).get("reason")
        return _evidence(first_given(reason, body.get("status")), body["output"])
    return {}


def _evidence(reason: Json, answer: Json) -> dict[str, Json]:
    return filled({"finish_reason": words(reason), "answer": answer})


def texts_in(messages: Json) -> Sequence[str]:
    """Every text in the contents of messages, or in a prompt."""
    if isinstance(messages, str):
        return (messages,)
    texts: list[str] = []
    for message in messages if isinstance(messages, list) else ():
        content = message.get("content") if isinstance(message, dict) else None
        if isinstance(content, str):
            texts.append(content)
        elif isinstance(content, list):
            texts += [text for part in content if (text := _text_of(part))]
    return texts


def _text_of(part: Json) -> str | None:
    if not isinstance(part, dict):
        return None
    return words(first_given(part.get("text"), part.get("content")))
