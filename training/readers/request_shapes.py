"""Converts bodies of the chat, Anthropic and Responses protocols to messages, tools and response format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from router.effort import effort_of
from router.records import Json
from training.readers.cells import parse_json
from training.readers.message_shapes import chat_of, is_message
from training.readers.protocol import NO_PROMPT, UNREAD_PROMPT, Skipped
from training.readers.values import filled, first_given, first_words, listed, mapping, member, unpacked, words

_HOLDERS = ("messages", "prompt", "input")
"""Members in whose place some logs keep the whole body."""
_LISTS = ("messages", "input", "contents", "chat_history")
_BODY = (*_LISTS, "prompt", "message", "inputText")
_SYSTEM = ("system", "instructions", "systemInstruction", "system_instruction", "preamble")


def request_fields(body: Mapping[str, Json]) -> dict[str, Json]:
    """`messages` or `prompt`, `tools`, `response_format` and `effort` of a request, as far as it has them.

    Content other than text (images, thinking) stays as it is. The result is empty if there is no prompt. A
    prompt of token numbers, or of several texts, stays as it is: it is checked with all others.
    """
    for name in _HOLDERS:
        inner = opened(body.get(name))
        if isinstance(inner, dict) and not is_message(inner):
            body = {**{member: body[member] for member in body if member != name}, **inner}
            break
    if messages := _messages(body):
        return _with_rest({"messages": messages}, body)
    values = (opened(body.get(name)) for name in _HOLDERS)
    prompt = next((value for value in values if isinstance(value, str | list) and value), None)
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str):
        prompt = prompt[0]
    return _with_rest({"prompt": prompt}, body) if prompt else {}


def why_no_prompt(body: Mapping[str, Json]) -> Skipped:
    """Why a request has no prompt that is read: none was logged, or one of a form that no reader knows."""
    return UNREAD_PROMPT if is_request(body) else NO_PROMPT


def opened(value: Json) -> Json:
    """A value, or what JSON text opens to if that is messages or a body; any other text stays as it is.

    Messages may be JSON text within JSON text: some logs write a body as text once more.
    """
    inner = unpacked(value)
    if isinstance(value, str) and value.startswith('"'):
        inner = unpacked(_quoted(value))
    if not isinstance(value, str) or inner is value:
        return value
    if isinstance(inner, dict):
        return inner if is_message(inner) or any(_are_messages(inner.get(name)) for name in _LISTS) else value
    return inner if _are_messages(inner) else value


def _quoted(text: str) -> Json:
    try:
        return parse_json(text)[0]
    except ValueError:
        return text


def is_request(value: Json) -> bool:
    """Whether a value is an object with a member that holds a prompt in some protocol."""
    return isinstance(value, dict) and any(value.get(name) for name in _BODY)


def _are_messages(value: Json) -> bool:
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], list):
        value = value[0]
    objects = isinstance(value, list) and all(isinstance(one, dict) for one in value)
    return objects and any(map(is_message, value))


def _messages(body: Mapping[str, Json]) -> list[Json]:
    lists = (_listed(opened(body.get(name))) for name in _LISTS)
    messages = next((found for found in lists if found), [])
    if "messages" not in body and (said := first_words(body.get("message"), body.get("inputText"))):
        messages = [*messages, said]
    chat = chat_of(messages)
    has_system = bool(chat) and member(chat[0], "role") in ("system", "developer")
    config = mapping(body.get("config"))
    system = first_given(*(where.get(name) for where in (body, config) for name in _SYSTEM))
    return chat if has_system or not chat or not system else [*_system(system), *chat]


def _listed(messages: Json) -> list[Json]:
    """A list of messages, also from one message or text in its place; empty if there are none."""
    if isinstance(messages, str | dict):
        return [messages] if messages else []
    if not isinstance(messages, list):
        return []
    if (
        len(messages) == 1
        and isinstance(messages[0], list)
        and not all(isinstance(one, str) for one in messages[0])
    ):
        messages = messages[0]
    texts = sum(isinstance(one, str) for one in messages)
    return messages if texts < max(len(messages), 2) and any(map(_may_be_message, messages)) else []


def _may_be_message(value: Json) -> bool:
    return isinstance(value, str | dict) or (isinstance(value, list) and any(map(_may_be_message, value[:2])))


def _system(system: Json) -> list[Json]:
    """The system message that a body has beside its messages: a text, an object with parts, or parts."""
    if isinstance(system, dict):
        system = first_given(system.get("parts"), system.get("content"), [system])
    return chat_of([{"role": "system", "content": system}])


def _with_rest(fields: dict[str, Json], body: Mapping[str, Json]) -> dict[str, Json]:
    lists = body.get("tools"), mapping(body.get("toolConfig")).get("tools"), body.get("functions")
    declared = [tool for tools in lists for tool in listed(tools)]
    if tools := [chat for tool in declared for chat in _chat_tools(tool)]:
        fields["tools"] = tools
    if form := _format(body):
        fields["response_format"] = form
    if effort := effort_of(body):
        fields["effort"] = effort
    return fields


def _chat_tools(tool: Json) -> list[Json]:
    """A tool in the form of the chat protocol, or the several that Gemini declares in one."""
    if not isinstance(tool, dict):
        return [tool]
    declared = first_given(tool.get("functionDeclarations"), tool.get("function_declarations"))
    if isinstance(declared, list):
        return [_chat_tool(one) for one in declared]
    return [_chat_tool(tool)]


def _chat_tool(tool: Json) -> Json:
    """A tool in the form of the chat protocol; a provider's own kind of tool stays as it is."""
    if not isinstance(tool, dict) or "function" in tool:
        return tool
    tool = mapping(tool.get("toolSpec")) or tool
    schemas = ("input_schema", "parameters", "parametersJsonSchema", "parameters_json_schema")
    schema = first_given(*(tool.get(name) for name in schemas), member(tool.get("inputSchema"), "json"))
    if "name" not in tool or (schema is None and not tool.keys() <= {"name", "description", "type"}):
        return tool
    if schema is None and tool.get("type") not in (None, "function"):
        return tool
    named = {"name": tool["name"], "description": tool.get("description"), "parameters": schema}
    return {"type": "function", "function": {name: one for name, one in named.items() if one is not None}}


_CONFIGS = ("generationConfig", "generation_config", "config")
_FORMAT_HOLDERS = frozenset({"response_format", "text", "output_format", "output_config", *_CONFIGS})


def _format(body: Mapping[str, Json]) -> Json:
    """The response format of any protocol; None for text."""
    if _FORMAT_HOLDERS.isdisjoint(body):  # most requests
        return None
    if form := unpacked(body.get("response_format")):
        return form
    stated = (mapping(body.get("text")).get("format"), body.get("output_format"))
    for form in (*stated, mapping(body.get("output_config")).get("format")):
        if chat := _chat_format(form):
            return chat
    for name in _CONFIGS:
        config = mapping(body.get(name))
        schemas = ("responseSchema", "response_schema", "responseJsonSchema", "response_json_schema")
        if schema := first_given(*(config.get(one) for one in schemas)):
            return {"type": "json_schema", "json_schema": {"schema": schema}}
        if first_given(config.get("responseMimeType"), config.get("response_mime_type")) == _JSON:
            return {"type": "json_object"}
    return None


_JSON = "application/json"


def _chat_format(form: Json) -> Json:
    if not isinstance(form, dict) or form.get("type") in (None, "text"):
        return None
    if form.get("type") != "json_schema" or "schema" not in form:
        return form
    schema = {name: form[name] for name in ("name", "schema", "strict") if form.get(name) is not None}
    return {"type": "json_schema", "json_schema": schema}


_REASONS = ("finish_reason", "finishReason", "stop_reason", "stopReason", "completionReason")
_ANSWERS = ("message", "content", "text", "completion", "generation", "outputText", "output")
_CHOICES = ("choices", "candidates", "results", "outputs", "generations")


def answer_evidence(response: Json) -> dict[str, Json]:
    """`finish_reason`, `answer` and `effort` of a response body in any protocol, as far as it has them."""
    body = mapping(response)
    choice = next((found for name in _CHOICES if (found := _first(body, name))), body)
    cut = mapping(choice.get("incomplete_details")).get("reason")
    status = choice.get("status") if "output" in choice else None
    reason = first_given(cut, *(choice.get(name) for name in _REASONS), status)
    if choice is body and reason is None and "output" not in body:
        return {}
    answer = first_given(*(choice.get(name) for name in _ANSWERS))
    answer = first_given(member(answer, "message"), answer)
    if isinstance(answer, dict) and ("parts" in answer or "stopReason" in choice):
        answer = next(iter(chat_of([answer])), None)
    effort = effort_of({"reasoning": mapping(body["reasoning"])}) if body.get("reasoning") else None
    return filled({"finish_reason": words(reason), "answer": answer, "effort": effort})


def _first(body: Mapping[str, Json], name: str) -> Mapping[str, Json]:
    return mapping(next(iter(listed(body.get(name))), None))


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
