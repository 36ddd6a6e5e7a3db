"""Spans of the real OpenTelemetry SDK, exported to OTLP's JSON by its own encoder, and read back."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToJson  # type: ignore[import-untyped]
from opentelemetry._logs import LogRecord
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Span, Status, StatusCode

from router.records import Json
from tests.training.logs import read
from tests.training.readers.counting import counted
from training.reading.calls import CallFiles

CHAT = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o"}
OLD = {"gen_ai.system": "openai", "gen_ai.request.model": "gpt-4o"}
HELLO = [{"role": "user", "parts": [{"type": "text", "content": "hello"}]}]
ASKED: dict[str, Any] = {**CHAT, "gen_ai.input.messages": json.dumps(HELLO)}


class Recorded:
    """A tracer and a logger of the SDK, and what they have exported."""

    def __init__(self) -> None:
        self.spans, self.logs = InMemorySpanExporter(), InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]
        tracing, logging = TracerProvider(), LoggerProvider()
        tracing.add_span_processor(SimpleSpanProcessor(self.spans))
        logging.add_log_record_processor(SimpleLogRecordProcessor(self.logs))
        self.tracer, self._logger = tracing.get_tracer("test"), logging.get_logger("test")

    def span(self, attributes: Mapping[str, Any], *more: Callable[[Span], object]) -> None:
        """Record a span; `more` are called with it while it is open."""
        with self.tracer.start_as_current_span("chat", attributes=dict(attributes)) as span:
            for one in more:
                one(span)

    def log(self, name: str, body: Json = None, **attributes: Json) -> Callable[[Span], None]:
        """What emits a log record within a span; `__` in names stands for a dot."""
        named = {key.replace("__", "."): value for key, value in attributes.items()}
        return lambda _: self._logger.emit(LogRecord(event_name=name, body=body, attributes=named))

    def read(self, folder: Path) -> CallFiles:
        """What was exported, as the encoder's JSON, a request a line; spans and logs in a file each."""
        spans = MessageToJson(encode_spans(self.spans.get_finished_spans()), indent=None)
        (folder / "traces.jsonl").write_text(spans + "\n")
        logs = self.logs.get_finished_logs()
        if logs:
            (folder / "logs.jsonl").write_text(MessageToJson(encode_logs(logs), indent=None) + "\n")
        return read(folder, str(folder))


@pytest.fixture
def recorded() -> Recorded:
    return Recorded()


def event(name: str, **attributes: Json) -> Callable[[Span], None]:
    named = {key.replace("__", "."): value for key, value in attributes.items()}
    return lambda span: span.add_event(name, named)


def messages(files: CallFiles) -> Json:
    (call,) = counted(files)
    return json.loads(call["messages"])


def test_a_chat_span_is_a_call_with_all_that_was_recorded(recorded: Recorded, tmp_path: Path) -> None:
    tool = {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}}
    more = {
        "gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": 3, "gen_ai.conversation.id": "c1",
        "gen_ai.usage.cost": 0.5, "gen_ai.tool.definitions": json.dumps([tool]), "gen_ai.output.type": "json",
        "gen_ai.response.model": "gpt-4o-2024-08-06", "gen_ai.response.finish_reasons": ["stop"],
    }  # fmt: skip
    recorded.span({**ASKED, **more})
    (call,) = counted(recorded.read(tmp_path))
    assert json.loads(call["messages"]) == [{"role": "user", "content": "hello"}]
    assert (call["model"], call["session_id"], call["cost_usd"]) == ("openai/gpt-4o", "c1", 0.5)
    assert (call["input_tokens"], call["output_tokens"]) == (10, 3)
    assert json.loads(call["tools"])[0]["function"]["name"] == "f"
    assert json.loads(call["response_format"]) == {"type": "json_object"}
    (span,) = recorded.spans.get_finished_spans()
    assert span.start_time is not None
    assert span.end_time is not None
    assert call["latency_s"] == pytest.approx((span.end_time - span.start_time) / 1e9, abs=2e-6)
    assert call["time"].timestamp() == pytest.approx(span.start_time / 1e9, abs=2e-6)


def test_parts_are_read_as_chat_messages(recorded: Recorded, tmp_path: Path) -> None:
    call = {"type": "tool_call", "id": "1", "name": "f", "arguments": {"x": 1}}
    answer = {"type": "tool_call_response", "id": "1", "response": "42"}
    image = {"type": "uri", "uri": "https://example.com/a.png"}
    history = [
        {"role": "user", "parts": [{"type": "text", "content": "look"}, image]},
        {"role": "assistant", "parts": [{"type": "reasoning", "content": "hm"}, call]},
        {"role": "tool", "parts": [answer]},
    ]
    system = [{"type": "text", "content": "Be brief."}]
    recorded.span(
        {
            **CHAT,
            "gen_ai.input.messages": json.dumps(history),
            "gen_ai.system_instructions": json.dumps(system),
        }
    )
    function = {"name": "f", "arguments": '{"x":1}'}
    found = messages(recorded.read(tmp_path))
    found[2]["tool_calls"][0]["function"]["arguments"] = function["arguments"]
    assert found == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "look"}, image]},
        {"role": "assistant", "content": None,
         "tool_calls": [{"id": "1", "type": "function", "function": function}]},
        {"role": "tool", "tool_call_id": "1", "content": "42"},
    ]  # fmt: skip


SAID = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hello"}]


@pytest.mark.parametrize(
    ("attributes", "events"),
    [
        pytest.param({"gen_ai.prompt": json.dumps(SAID)}, [], id="gen_ai.prompt"),
        pytest.param(
            {"gen_ai.prompt.0.role": "system", "gen_ai.prompt.0.content": "Be brief.",
             "gen_ai.prompt.1.role": "user", "gen_ai.prompt.1.content": "hello"},
            [], id="numbered",
        ),
        pytest.param(
            {}, [event("gen_ai.content.prompt", gen_ai__prompt=json.dumps(SAID))], id="gen_ai.content.prompt"
        ),
        pytest.param(
            {},
            [event("gen_ai.system.message", content="Be brief."),
             event("gen_ai.user.message", content="hello")],
            id="an event each",
        ),
        pytest.param(
            {},
            [event("gen_ai.system.message", gen_ai__event__content=json.dumps({"content": "Be brief."})),
             event("gen_ai.user.message", gen_ai__event__content=json.dumps({"content": "hello"}))],
            id="an event each, in JSON",
        ),
        pytest.param(
            {},
            [event("gen_ai.client.inference.operation.details", gen_ai__input__messages=json.dumps(HELLO),
                   gen_ai__system_instructions='[{"type":"text","content":"Be brief."}]')],
            id="details in an event",
        ),
    ],
)  # fmt: skip
def test_every_generation_of_names_holds_the_same_chat(
    recorded: Recorded, tmp_path: Path, attributes: dict[str, Any], events: list[Callable[[Span], None]]
) -> None:
    recorded.span({**OLD, **attributes, "gen_ai.usage.prompt_tokens": 7}, *events)
    files = recorded.read(tmp_path)
    assert messages(files) == SAID
    assert (counted(files)[0]["model"], counted(files)[0]["input_tokens"]) == ("openai/gpt-4o", 7)


def test_structured_attributes_are_read_as_their_json_is(tmp_path: Path) -> None:
    """The convention's own form, which few SDKs can record yet."""

    def pair(key: str, value: Json) -> Json:
        return {"key": key, "value": value}

    part = [pair("type", {"stringValue": "text"}), pair("content", {"stringValue": "hello"})]
    parts = {"arrayValue": {"values": [{"kvlistValue": {"values": part}}]}}
    message = {"kvlistValue": {"values": [pair("role", {"stringValue": "user"}), pair("parts", parts)]}}
    span = {
        "traceId": "a", "spanId": "b",
        "attributes": [
            pair("gen_ai.request.model", {"stringValue": "m"}),
            pair("gen_ai.input.messages", {"arrayValue": {"values": [message]}}),
        ],
    }  # fmt: skip
    (tmp_path / "a.jsonl").write_text(json.dumps(span))
    assert messages(read(tmp_path, str(tmp_path / "a.jsonl"))) == [{"role": "user", "content": "hello"}]


def test_log_records_of_a_span_are_joined_to_it(recorded: Recorded, tmp_path: Path) -> None:
    recorded.span(
        CHAT,
        recorded.log("gen_ai.user.message", {"content": "hello"}),
        recorded.log(
            "gen_ai.evaluation.result",
            gen_ai__evaluation__name="Relevance",
            gen_ai__evaluation__score__value=0.5,
        ),
        recorded.log("app.checkout"),
    )
    files = recorded.read(tmp_path)
    (call,) = counted(files)
    assert json.loads(call["messages"]) == [{"role": "user", "content": "hello"}]
    assert (call["score"], call["outcome_source"]) == (0.5, "evaluation")
    assert (files.summary.joined, files.summary.set_apart) == (2, {"no GenAI event": 1})


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        pytest.param({"gen_ai__evaluation__score__label": "pass"}, (True, None), id="label"),
        pytest.param({"gen_ai__evaluation__score__value": 0.25}, (None, 0.25), id="value"),
        pytest.param(
            {"gen_ai__evaluation__score__value": 0.25, "gen_ai__evaluation__score__label": "fail"},
            (False, 0.25), id="both",
        ),
    ],
)  # fmt: skip
def test_an_evaluation_is_the_outcome(
    recorded: Recorded, tmp_path: Path, said: dict[str, Any], outcome: tuple[Json, Json]
) -> None:
    recorded.span(ASKED, event("gen_ai.evaluation.result", gen_ai__evaluation__name="Relevance", **said))
    (call,) = counted(recorded.read(tmp_path))
    assert (call["success"], call["score"], call["outcome_source"]) == (*outcome, "evaluation")


class ContextWindowExceededError(Exception):
    """An error as LiteLLM names it."""


def fail(span: Span) -> None:
    span.record_exception(ContextWindowExceededError("too long"))
    span.set_status(Status(StatusCode.ERROR))


@pytest.mark.parametrize(
    ("attributes", "more", "success"),
    [
        pytest.param({"error.type": "timeout"}, [], None, id="nobody's"),
        pytest.param(
            {"error.type": "litellm.exceptions.ContextWindowExceededError"}, [], False, id="the model's"
        ),
        pytest.param({}, [fail], False, id="an exception"),
        pytest.param({}, [lambda span: span.set_status(Status(StatusCode.ERROR))], None, id="a status"),
    ],
)
def test_an_error_is_a_failure_where_it_says_something_of_the_model(
    recorded: Recorded, tmp_path: Path, attributes: dict[str, Any], more: list[Any], success: bool | None
) -> None:
    recorded.span({**ASKED, **attributes}, *more)
    (call,) = counted(recorded.read(tmp_path))
    assert (call["success"], call["outcome_source"]) == (success, "error")


def test_other_spans_are_set_apart_by_reason(recorded: Recorded, tmp_path: Path) -> None:
    recorded.span(ASKED)
    recorded.span({"http.request.method": "GET"})
    recorded.span({**CHAT, "gen_ai.operation.name": "embeddings"})
    recorded.span({**CHAT, "gen_ai.operation.name": "execute_tool"})
    recorded.span(CHAT)
    recorded.span({**ASKED, "error.type": "AuthenticationError"})
    recorded.span({"http.request.method": "GET"}, recorded.log("gen_ai.user.message", {"content": "x"}))
    files = recorded.read(tmp_path)
    assert len(counted(files)) == 1
    assert files.summary.set_apart == {
        "no GenAI span": 2, "no chat or completion": 2, "no prompt logged": 1,
        "error of the caller or the proxy": 1, "event of what is no call here": 1,
    }  # fmt: skip


def test_spans_of_a_conversation_share_a_session_and_those_of_a_trace_do_without_one(
    recorded: Recorded, tmp_path: Path
) -> None:
    recorded.span(ASKED, lambda _: recorded.span({**ASKED, "gen_ai.input.messages": json.dumps(SAID)}))
    sessions = {call["session_id"] for call in counted(recorded.read(tmp_path))}
    assert len(sessions) == 1


@pytest.mark.parametrize("layout", ["sdk", "spans", "snake", "array"])
def test_every_form_of_a_span_in_json_is_the_same_call(
    recorded: Recorded, tmp_path: Path, layout: str
) -> None:
    recorded.span({**ASKED, "gen_ai.usage.input_tokens": 10})
    finished = recorded.spans.get_finished_spans()
    request = json.loads(MessageToJson(encode_spans(finished), preserving_proto_field_name=layout == "snake"))
    if layout == "sdk":
        text = finished[0].to_json()
    elif layout == "spans":
        text = json.dumps(request["resourceSpans"][0]["scopeSpans"][0]["spans"][0])
    else:
        text = json.dumps([request] if layout == "array" else request)
    (tmp_path / "spans.json").write_text(text)
    (call,) = counted(read(tmp_path, str(tmp_path / "spans.json")))
    assert (call["model"], call["input_tokens"], json.loads(call["messages"])[0]["content"]) == (
        "openai/gpt-4o", 10, "hello",
    )  # fmt: skip
    assert 0 <= call["latency_s"] < 60


@pytest.mark.parametrize(
    ("provider", "model", "named"),
    [
        pytest.param("aws.bedrock", "claude", "bedrock/claude", id="known by another name"),
        pytest.param("openai", "openai/gpt-4o", "openai/gpt-4o", id="named already"),
        pytest.param("my_gateway", "gpt-4o", "gpt-4o", id="unknown"),
    ],
)
def test_a_model_has_litellms_name(
    recorded: Recorded, tmp_path: Path, provider: str, model: str, named: str
) -> None:
    recorded.span({**ASKED, "gen_ai.provider.name": provider, "gen_ai.request.model": model})
    assert counted(recorded.read(tmp_path))[0]["model"] == named
