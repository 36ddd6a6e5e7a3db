"""Translates spans of Vercel's AI SDK to the names of the GenAI conventions.

Names: the SDK's page on telemetry, in its versions from 3 to 6.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from router.records import Json
from training.readers.cells import dump_json
from training.readers.litellm_records import OTHER_CALL
from training.readers.message_shapes import chat_of
from training.readers.otel_records import AttributeMap
from training.readers.protocol import OUTER, Skipped
from training.readers.values import filled, first_given, first_words, listed, mapping, unpacked, words

_INNER = (".doGenerate", ".doStream")
_OUTER = ("ai.generate", "ai.stream")


def from_vercel_ai(attributes: AttributeMap) -> AttributeMap | Skipped:
    """What a span of one call to a provider says, by the names of GenAI; empty for another convention.

    The span around it, which may hold several such calls, is no call itself.
    """
    operation = first_words(attributes.get("ai.operationId"), attributes.get("operation.name")) or ""
    operation = operation.partition(" ")[0]
    if not operation.startswith("ai."):
        return {}
    if not operation.endswith(_INNER):
        return OUTER if operation.startswith(_OUTER) and "." not in operation[3:] else OTHER_CALL
    metadata = "ai.telemetry.metadata."
    return filled(
        {
            "gen_ai.input.messages": _messages(attributes),
            "gen_ai.tool.definitions": [unpacked(one) for one in listed(attributes.get("ai.prompt.tools"))],
            "gen_ai.openai.request.response_format": _format(attributes, operation),
            "gen_ai.request.model": attributes.get("ai.model.id"),
            "gen_ai.provider.name": attributes.get("ai.model.provider"),
            "gen_ai.usage.input_tokens": _first(attributes, "usage", "inputTokens", "promptTokens"),
            "gen_ai.usage.output_tokens": _first(attributes, "usage", "outputTokens", "completionTokens"),
            "gen_ai.response.finish_reason": first_given(
                attributes.get("ai.response.finishReason"), attributes.get("ai.finishReason")
            ),
            "gen_ai.output.messages": _answer(attributes),
            "session.id": first_given(
                *(attributes.get(metadata + name) for name in ("sessionId", "session_id"))
            ),
            "tag.tags": attributes.get(f"{metadata}tags"),
            "metadata": filled({"task_type": attributes.get(f"{metadata}task_type")}),
        }
    )


def _first(attributes: AttributeMap, group: str, *names: str) -> Json:
    return first_given(*(attributes.get(f"ai.{group}.{name}") for name in names))


def _messages(attributes: AttributeMap) -> Sequence[Json]:
    """The messages as the provider got them, or the prompt that the application gave."""
    prompt = mapping(attributes.get("ai.prompt"))
    system = words(prompt.get("system"))
    text = words(prompt.get("prompt"))
    before = [{"role": "system", "content": system}] if system else []
    given = listed(prompt.get("messages")) or ([{"role": "user", "content": text}] if text else [])
    messages = listed(attributes.get("ai.prompt.messages")) or [*before, *given]
    return chat_of(messages)


def _tool_call(part: Mapping[str, Json]) -> Json:
    function = {
        "name": part.get("toolName"),
        "arguments": _text(first_given(part.get("input"), part.get("args"))),
    }
    return {"id": part.get("toolCallId"), "type": "function", "function": function}


def _text(value: Json) -> str | None:
    try:
        return value if isinstance(value, str) else dump_json(value)
    except RecursionError:
        return None


def _format(attributes: AttributeMap, operation: str) -> Json:
    schema = unpacked(attributes.get("ai.schema"))
    if isinstance(schema, dict):
        named = filled({"name": attributes.get("ai.schema.name"), "schema": schema})
        return {"type": "json_schema", "json_schema": named}
    return {"type": "json_object"} if "Object" in operation else None


def _answer(attributes: AttributeMap) -> Json:
    text, calls, made = (
        first_given(*(attributes.get(f"ai.{group}.{name}") for group in ("response", "result")))
        for name in ("text", "toolCalls", "object")
    )
    called = [_tool_call(call) for call in listed(calls) if isinstance(call, dict)]
    content = first_given(text, made)
    if content is None and not called:
        return None
    return [{"role": "assistant", "content": content, **filled({"tool_calls": called})}]
