"""Export requests of GenAI spans, by the semantic conventions and OTLP's mapping to JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from router.records import Json


def attributes(**values: Json) -> list[Json]:
    """OTLP's list of attributes; `__` in a name stands for a dot."""
    kinds = {str: "stringValue", int: "intValue", float: "doubleValue", bool: "boolValue"}
    return [
        {
            "key": name.replace("__", "."),
            "value": {kinds[type(value)]: str(value) if type(value) is int else value},
        }
        for name, value in values.items()
    ]


def request(*spans: Json) -> dict[str, Json]:
    """An export request with these spans."""
    scope = {"name": "instrumentation", "version": "1"}
    resource = {"attributes": attributes(service__name="shop")}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": scope, "spans": [*spans]}]}]}


_TIMES = {"startTimeUnixNano": "1780000000000000000", "endTimeUnixNano": "1780000001500000000"}
_MESSAGES = [{"role": "user", "parts": [{"type": "text", "content": "2 + 2?"}]}]
SPAN: Mapping[str, Json] = {
    "traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "b7ad6b7169203331", "name": "chat gpt-4o",
    "kind": 3, **_TIMES, "status": {"code": 1},
    "attributes": attributes(
        gen_ai__operation__name="chat", gen_ai__provider__name="openai", gen_ai__request__model="gpt-4o",
        gen_ai__input__messages=json.dumps(_MESSAGES), gen_ai__usage__input_tokens=10,
        gen_ai__usage__output_tokens=3, gen_ai__conversation__id="c1",
    ),
    "events": [{
        "name": "gen_ai.evaluation.result", "timeUnixNano": "1780000002000000000",
        "attributes": attributes(gen_ai__evaluation__name="Relevance", gen_ai__evaluation__score__value=0.75),
    }],
}  # fmt: skip
_OLDER: Mapping[str, Json] = {
    **SPAN, "spanId": "b7ad6b7169203332",
    "attributes": attributes(gen_ai__system="openai", gen_ai__request__model="gpt-4"),
    "events": [
        {"name": "gen_ai.content.prompt",
         "attributes": attributes(gen_ai__prompt='[{"role": "user", "content": "a"}]')},
    ],
}  # fmt: skip

OPENINFERENCE: Mapping[str, Json] = {
    **SPAN, "spanId": "b7ad6b7169203333", "name": "ChatCompletion", "events": [],
    "attributes": [
        *attributes(
            llm__system="openai", session__id="s1", metadata='{"task_type": "bus"}',
            llm__tools__0__tool__json_schema='{"type": "function", "function": {"name": "bus"}}',
            llm__invocation_parameters='{"model": "gpt-4o-mini", "temperature": 0}',
            llm__input_messages__0__message__role="system",
            llm__input_messages__0__message__content="Answer briefly.",
            llm__input_messages__1__message__role="user",
            llm__input_messages__1__message__contents__0__message_content__type="text",
            llm__input_messages__1__message__contents__0__message_content__text="Which bus?",
            llm__input_messages__2__message__role="assistant",
            llm__input_messages__2__message__tool_calls__0__tool_call__id="c1",
            llm__input_messages__2__message__tool_calls__0__tool_call__function__name="bus",
            llm__input_messages__2__message__tool_calls__0__tool_call__function__arguments="{}",
            llm__input_messages__3__message__role="tool",
            llm__input_messages__3__message__tool_call_id="c1",
            llm__input_messages__3__message__content="line 4",
            llm__model_name="gpt-4o-mini-2024-07-18", llm__finish_reason="stop",
            llm__token_count__total=36, llm__token_count__prompt=31, llm__token_count__completion=5,
            llm__token_count__prompt_details__cache_read=8,
            llm__output_messages__0__message__role="assistant",
            llm__output_messages__0__message__content="Line 4", openinference__span__kind="LLM",
            annotations__0__annotation__name="correct", annotations__0__annotation__label="yes",
            annotations__0__annotation__annotator_kind="HUMAN",
        ),
        {"key": "tag.tags", "value": {"arrayValue": {"values": [{"stringValue": "prod"}]}}},
    ],
}  # fmt: skip
"""As `openinference-instrumentation-openai` 0.1.66 wrote it of a call to a server on loopback, with the
annotation that the specification adds."""
VERCEL: Mapping[str, Json] = {
    **SPAN, "spanId": "b7ad6b7169203334", "name": "ai.generateText.doGenerate", "events": [],
    "attributes": attributes(
        ai__operationId="ai.generateText.doGenerate", ai__model__id="gpt-4o-mini",
        ai__model__provider="openai.chat", ai__response__text="Line 4", ai__response__finishReason="stop",
        ai__prompt__messages=json.dumps([
            {"role": "system", "content": "Answer briefly."},
            {"role": "user", "content": [{"type": "text", "text": "Which bus?"}]},
            {"role": "assistant", "content": [
                {"type": "tool-call", "toolCallId": "c1", "toolName": "bus", "input": {}}]},
            {"role": "tool", "content": [
                {"type": "tool-result", "toolCallId": "c1", "toolName": "bus",
                 "output": {"type": "text", "value": "line 4"}}]},
        ]),
        ai__usage__inputTokens=31, ai__usage__outputTokens=5,
    ),
}  # fmt: skip
"""By the page on telemetry of Vercel's AI SDK."""
LANGFUSE: Mapping[str, Json] = {
    **SPAN, "spanId": "b7ad6b7169203336", "name": "answer", "events": [],
    "attributes": attributes(
        langfuse__observation__type="generation", langfuse__observation__model__name="gpt-5",
        langfuse__observation__model__parameters='{"reasoning_effort": "low"}',
        langfuse__observation__input='[{"role": "user", "content": "2 + 2?"}]',
        langfuse__observation__output='{"role": "assistant", "content": "4"}',
        langfuse__observation__usage_details=json.dumps(
            {"input": 100, "input_cached_tokens": 80, "output": 3, "total": 103}
        ),
        langfuse__observation__cost_details='{"input": 0.001, "output": 0.002}', session__id="s1",
    ),
}  # fmt: skip
"""By the mapping of properties on Langfuse's page on OpenTelemetry."""
MLFLOW: Mapping[str, Json] = {
    **SPAN, "spanId": "b7ad6b7169203337", "name": "completion", "events": [],
    "attributes": attributes(
        mlflow__spanType='"CHAT_MODEL"', mlflow__llm__model='"gpt-5"', mlflow__llm__provider='"openai"',
        mlflow__spanInputs=json.dumps(
            {"messages": [{"role": "user", "content": "2 + 2?"}], "reasoning_effort": "low"}
        ),
        mlflow__spanOutputs=json.dumps(
            {"choices": [{"finish_reason": "length", "message": {"role": "assistant", "content": "4"}}]}
        ),
        mlflow__chat__tokenUsage='{"input_tokens": 100, "output_tokens": 3, "cache_read_input_tokens": 80}',
        mlflow__chat__tools='[{"type": "function", "function": {"name": "bus"}}]',
        mlflow__llm__cost='{"input_cost": 0.001, "output_cost": 0.002, "total_cost": 0.003}',
        mlflow__trace__session='"s1"',
    ),
}  # fmt: skip
"""By the names of MLflow 3.17; its values are JSON text."""
JAEGER: Mapping[str, Json] = {
    "traceID": "0af7651916cd43dd8448eb211c80319c", "spanID": "b7ad6b7169203335", "operationName": "chat",
    "references": [], "startTime": 1780000000000000, "duration": 1500000, "processID": "p1", "logs": [],
    "tags": [
        {"key": "gen_ai.request.model", "type": "string", "value": "gpt-4o"},
        {"key": "gen_ai.input.messages", "type": "string", "value": json.dumps(_MESSAGES)},
        {"key": "gen_ai.usage.input_tokens", "type": "int64", "value": 10},
    ],
}  # fmt: skip
PHOENIX: Mapping[str, Json] = {
    "id": "x", "name": "llm", "context": {"trace_id": "a", "span_id": "b"}, "span_kind": "LLM",
    "parent_id": None, "start_time": "2026-11-28T12:43:59Z", "end_time": "2026-11-28T12:44:00Z",
    "status_code": "OK", "status_message": "", "events": [],
    "attributes": {"llm": {
        "model_name": "gpt-4o", "token_count": {"prompt": 10},
        "input_messages": [{"message": {"role": "user", "content": "2 + 2?"}}],
    }},
}  # fmt: skip

EXAMPLES: Mapping[str, Sequence[Json]] = {
    "otel-genai": [
        request(dict(SPAN), dict(_OLDER)), dict(SPAN), request(dict(OPENINFERENCE), dict(VERCEL)),
        request(dict(LANGFUSE)), request(dict(MLFLOW)), {"batches": request(dict(SPAN))["resourceSpans"]},
        {"trace": request(dict(SPAN)), "metrics": {}},
        {"data": [{"traceID": "1", "spans": [dict(JAEGER)], "processes": {}}]}, dict(PHOENIX),
    ]
}  # fmt: skip
