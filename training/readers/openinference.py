"""Translates spans of the OpenInference conventions to the names of the GenAI conventions.

Names: `semantic_conventions.md` and `llm_spans.md` of the specification, as of August 2026, and what
`openinference-instrumentation-openai` 0.1 writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from router.records import Json
from training.readers.cells import dump_json
from training.readers.judgements import Judgement, judgement_of
from training.readers.litellm_records import OTHER_CALL
from training.readers.otel_records import AttributeMap, members
from training.readers.protocol import Skipped
from training.readers.traced_runs import request_in
from training.readers.values import filled, first_given, first_words, mapping, unpacked, words

REDACTED_TEXT = "__REDACTED__"
_SCOPES = ("", "trace.", "session.")
_WORDS = ("annotation", "evaluation")


def from_openinference(attributes: AttributeMap) -> AttributeMap | Skipped:
    """What an OpenInference span of a model says, by the names of GenAI; empty for any other convention."""
    kind = words(attributes.get("openinference.span.kind"))
    if kind is None:
        return {}
    if kind.upper() != "LLM":
        return OTHER_CALL
    parameters = mapping(attributes.get("llm.invocation_parameters"))
    request = _request(attributes)
    return filled(
        {
            "gen_ai.input.messages": _messages(attributes) or request.get("messages"),
            "gen_ai.tool.definitions": _tools(attributes) or request.get("tools"),
            "gen_ai.openai.request.response_format": first_given(
                parameters.get("response_format"), request.get("response_format")
            ),
            "gen_ai.request.model": _model(attributes, parameters),
            "gen_ai.provider.name": first_given(attributes.get("llm.provider"), attributes.get("llm.system")),
            "gen_ai.response.finish_reason": attributes.get("llm.finish_reason"),
            "gen_ai.output.messages": _answer(attributes),
        }
    )


def _model(attributes: AttributeMap, parameters: Mapping[str, Json]) -> Json:
    """The requested model, as in other logs; `llm.model_name` may be the dated name of the answer."""
    asked_for = parameters.get("model"), parameters.get("model_name"), parameters.get("model_id")
    names = "llm.model_name", "llm.response.model_name"
    return first_words(
        attributes.get("llm.request.model_name"), *asked_for, *(attributes.get(name) for name in names)
    )


def _messages(attributes: AttributeMap) -> list[Json]:
    chat = [_message(one) for one in members(attributes, "llm.input_messages")]
    prompts = [words(one.get("prompt.text")) for one in members(attributes, "llm.prompts")]
    return chat or [{"role": "user", "content": text} for text in prompts if text][:1]


def _message(one: AttributeMap) -> Json:
    calls = [_tool_call(call) for call in members(one, "message.tool_calls")]
    parts = [_part(part) for part in members(one, "message.contents")]
    called = one.get("message.function_call_name")
    if called is not None and not calls:
        function = {"name": called, "arguments": one.get("message.function_call_arguments_json")}
        calls = [{"type": "function", "function": function}]
    rest = {
        "tool_calls": calls,
        "tool_call_id": one.get("message.tool_call_id"),
        "name": one.get("message.name"),
    }
    content = first_given(one.get("message.content"), parts or None)
    return {"role": words(one.get("message.role")) or "user", "content": content, **filled(rest)}


def _tool_call(call: AttributeMap) -> Json:
    arguments = call.get("tool_call.function.arguments")
    text = arguments if isinstance(arguments, str) else dump_json(arguments)
    function = {"name": call.get("tool_call.function.name"), "arguments": text}
    return {"id": call.get("tool_call.id"), "type": "function", "function": function}


def _part(part: AttributeMap) -> Json:
    """A part in the form of the chat protocol; one of another kind keeps what it holds."""
    kind = part.get("message_content.type")
    if kind == "text":
        return {"type": "text", "text": part.get("message_content.text")}
    url = first_given(part.get("message_content.image.image.url"), part.get("message_content.image.url"))
    if kind == "image" or url is not None:
        return {"type": "image_url", "image_url": {"url": url}}
    return {name.removeprefix("message_content."): value for name, value in part.items()}


def _request(attributes: AttributeMap) -> Mapping[str, Json]:
    """The request in `input.value`: the body that was sent, LangChain's messages, or a text."""
    value = attributes.get("input.value")
    fields = request_in(value, {})
    return fields if "messages" in fields else _of_text(fields.get("prompt"), fields)


def _of_text(text: Json, fields: Mapping[str, Json]) -> Mapping[str, Json]:
    return {**fields, "messages": [{"role": "user", "content": text}]} if words(text) else fields


def _tools(attributes: AttributeMap) -> list[Json]:
    tools = [_tool(one) for one in members(attributes, "llm.tools")]
    return [tool for tool in tools if tool]


def _tool(one: AttributeMap) -> Json:
    schema = unpacked(one.get("tool.json_schema"))
    if isinstance(schema, dict) and ("function" in schema or "name" in schema):
        renamed = {"parameters" if name == "input_schema" else name: value for name, value in schema.items()}
        return {**renamed, "type": "function"} if "function" not in schema else schema
    named = {"name": one.get("tool.name"), "description": one.get("tool.description")}
    given = first_given(schema, unpacked(one.get("tool.parameters")))
    return filled({**named, "parameters": given}) if named["name"] else None


def _answer(attributes: AttributeMap) -> Json:
    messages = [_message(one) for one in members(attributes, "llm.output_messages")]
    texts = [one.get("completion.text") for one in members(attributes, "llm.choices")]
    return messages or first_given(*texts, attributes.get("output.value"))


def judgements(attributes: AttributeMap) -> Iterator[Judgement | None]:
    """What people and evaluators said of the answer; else of its trace, else of its session."""
    if not any(word in name for name in attributes for word in _WORDS):  # most spans
        return
    for scope in _SCOPES:
        found = [
            (word, one) for word in _WORDS for one in members(attributes, f"{scope}{word}s")
        ]  # fmt: skip
        for word, one in found:
            judge = words(one.get(f"{word}.annotator_kind")) or ""
            for part in ("label", "score"):
                yield judgement_of(
                    "feedback" if judge.upper() == "HUMAN" else "evaluation",
                    one.get(f"{word}.name"),
                    one.get(f"{word}.{part}"),
                )
        if found:
            return
