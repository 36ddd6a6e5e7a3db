"""Spans of the real OpenTelemetry SDK, exported to OTLP's JSON by its own encoder, and read back."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
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
from tests.training.logs import read, write_lines
from tests.training.readers.counting import counted
from tests.training.readers.example_otel import EXAMPLES, SPAN, attributes
from training.readers.otel_genai import READER
from training.readers.protocol import NO_PROMPT
from training.reading.calls import CallFiles
from training.reading.outcomes.answer_check import logged_answer

CHAT = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o"}
OLD = {"gen_ai.system": "openai", "gen_ai.request.model": "gpt-4o"}
OLD_CHAT = {"gen_ai__system": "openai", "gen_ai__request__model": "gpt-4o"}
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

    def read(self, folder: Path, **mapping: str) -> CallFiles:
        """What was exported, as the encoder's JSON, a request a line; spans and logs in a file each."""
        spans = MessageToJson(encode_spans(self.spans.get_finished_spans()), indent=None)
        (folder / "traces.jsonl").write_text(spans + "\n")
        logs = self.logs.get_finished_logs()
        if logs:
            (folder / "logs.jsonl").write_text(MessageToJson(encode_logs(logs), indent=None) + "\n")
        return read(folder, str(folder), mapping=mapping)


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


OPERATIONS = (
    "chat text_completion generate_content completion acompletion aresponses anthropic_messages "
    "atext_completion agenerate_content chat.completions text.completions chat.streaming.completions "
    "converse messages responses inference deep_research_chat our_own create_message streamGenerateContent"
).split()
NO_CHATS = (
    "embeddings embedding aembedding execute_tool invoke_agent create_agent invoke_workflow image_generation "
    "aimage_generation atranscription speech rerank arerank moderation retrieval search_memory ocr "
    "call_mcp_tool create_batch acreate_file vector_store_search file_list aget_responses create_thread "
    "arun_thread alist_input_items add_message create_sandbox arun_code aquery apply_guardrail"
).split()


def test_every_operation_with_a_prompt_is_a_call_but_for_the_exceptions(
    recorded: Recorded, tmp_path: Path
) -> None:
    for operation in (*OPERATIONS, *NO_CHATS):
        recorded.span({**ASKED, "gen_ai.operation.name": operation, "app.operation": operation})
    files = recorded.read(tmp_path, task_type="attributes.app.operation")
    assert sorted(call["task_type"] for call in counted(files)) == sorted(OPERATIONS)
    assert files.summary.set_apart == {"no chat or completion": len(NO_CHATS)}


def test_instructions_beside_an_empty_list_of_messages_are_the_prompt(
    recorded: Recorded, tmp_path: Path
) -> None:
    said = json.dumps([{"type": "text", "content": "Write a poem."}])
    recorded.span({**CHAT, "gen_ai.input.messages": "[]", "gen_ai.system_instructions": said})
    recorded.span({**CHAT, "gen_ai.input.messages": "[]"})
    files = recorded.read(tmp_path)
    [call] = counted(files)
    assert json.loads(call["messages"]) == [{"role": "system", "content": "Write a poem."}]
    assert files.summary.set_apart == {"no prompt logged": 1}


@pytest.mark.parametrize(
    ("name", "value", "column"),
    [
        pytest.param(
            "gen_ai.openai.request.reasoning_effort", "low", ("effort", "low"), id="OpenAI's effort"
        ),
        pytest.param("gen_ai.request.thinking.budget_tokens", 99, ("effort", "thinking=99"), id="a budget"),
        pytest.param("langfuse.session.id", "s9", ("session_id", "s9"), id="Langfuse's session"),
    ],
)
def test_names_beyond_the_conventions_are_read(
    recorded: Recorded, tmp_path: Path, name: str, value: Json, column: tuple[str, str]
) -> None:
    recorded.span({**ASKED, name: value})
    [call] = counted(recorded.read(tmp_path))
    assert call[column[0]] == column[1]


def test_a_span_around_calls_that_names_no_model_is_no_bad_row(recorded: Recorded, tmp_path: Path) -> None:
    recorded.span(ASKED)
    recorded.span({"gen_ai.operation.name": "our_loop", "gen_ai.input.messages": json.dumps(HELLO)})
    files = recorded.read(tmp_path)
    assert (len(counted(files)), files.summary.set_apart) == (1, {"no chat or completion": 1})


def test_what_a_span_lacks_can_be_mapped(recorded: Recorded, tmp_path: Path) -> None:
    recorded.span({**CHAT, "app.prompt": "hello"})
    recorded.span({"gen_ai.input.messages": json.dumps(HELLO), "app.prompt": "hi", "app.model": "m"})
    with_prompts = recorded.read(tmp_path, prompt="attributes.app.prompt", model="attributes.app.model")
    assert {call["model"] for call in counted(with_prompts)} == {"openai/gpt-4o", "m"}


def otlp(**named: Json) -> dict[str, Json]:
    """A span in an export request; `__` in names stands for a dot."""
    return {**SPAN, "events": [], "attributes": attributes(**named)}


MODEL = {"gen_ai__request__model": "m", "gen_ai__prompt__0__content": "hello"}


@pytest.mark.parametrize(
    ("names", "inputs", "outputs"),
    [
        ({"gen_ai__usage__input_tokens": 7, "gen_ai__usage__output_tokens": 2}, 7, 2),
        ({"gen_ai__usage__prompt_tokens": 7, "gen_ai__usage__completion_tokens": 2}, 7, 2),
        ({"gen_ai__response__prompt_tokens": 7, "gen_ai__response__completion_tokens": 2}, 7, 2),
        ({"llm__usage__prompt_tokens": 7, "llm__usage__completion_tokens": 2}, 7, 2),
        ({"gen_ai__usage__text__input_tokens": 5, "gen_ai__usage__image__input_tokens": 2}, 7, None),
        ({"gen_ai__usage__input_tokens": 7, "gen_ai__usage__text__input_tokens": 5,
          "gen_ai__usage__cache_write__input_tokens": 3, "gen_ai__usage__output_tokens": 2,
          "gen_ai__usage__reasoning__output_tokens": 1}, 7, 2),
    ],
    ids=["current", "older", "Semantic Kernel", "OpenLLMetry", "by modality", "parts of the whole"],
)  # fmt: skip
def test_every_generation_of_token_counts_is_read(
    tmp_path: Path, names: dict[str, Json], inputs: int, outputs: int | None
) -> None:
    (call,) = counted(read(tmp_path, write_lines(tmp_path / "a.jsonl", otlp(**MODEL, **names))))
    assert (call["input_tokens"], call["output_tokens"]) == (inputs, outputs)


@pytest.mark.parametrize(
    ("names", "cost"),
    [
        ({"gen_ai__usage__cost": 0.5}, 0.5),
        ({"gen_ai__usage__total_cost": 0.5}, 0.5),
        ({"gen_ai__cost__total_cost": 0.5, "gen_ai__cost__input_cost": 0.1}, 0.5),
        ({"gen_ai__cost__input_tokens": 0.25, "gen_ai__cost__output_tokens": 0.5}, 0.75),
        ({"gen_ai__cost__total_tokens": 0.5}, 0.5),
        ({"operation__cost": 0.5}, 0.5),
        ({"gen_ai__usage__cost": 0.0}, None),
        ({"gen_ai__cost__input_cost": 0.0, "gen_ai__cost__output_cost": 0.0}, None),
        ({}, None),
    ],
)
def test_every_name_of_a_cost_is_read(tmp_path: Path, names: dict[str, Json], cost: float | None) -> None:
    (call,) = counted(read(tmp_path, write_lines(tmp_path / "a.jsonl", otlp(**MODEL, **names))))
    assert call["cost_usd"] == cost


def span_event(name: str, **named: Json) -> dict[str, Json]:
    return {"name": name, "timeUnixNano": "1", "attributes": attributes(**named)}


CUT_PARTS = [{"type": "text", "content": "cut"}]
SAID_SO = json.dumps([{"role": "assistant", "parts": CUT_PARTS, "finish_reason": "length"}])


@pytest.mark.parametrize(
    ("names", "events"),
    [
        ({"gen_ai__output__messages": SAID_SO}, []),
        ({"gen_ai__completion__0__content": "cut", "gen_ai__completion__0__finish_reason": "length"}, []),
        ({"llm__completions__0__content": "cut", "llm__completions__0__finish_reason": "length"}, []),
        ({"gen_ai__completion": "cut", "gen_ai__response__finish_reason": "length"}, []),
        ({"gen_ai__response__finish_reasons": "length", "gen_ai__completion": "cut"}, []),
        ({"gen_ai__response__finish_reasons": '["length"]'},
         [span_event("gen_ai.content.completion", gen_ai__completion="cut")]),
        ({}, [span_event("gen_ai.choice", finish_reason="length", message='{"content": "cut"}')]),
        ({}, [span_event("gen_ai.choice", gen_ai__event__content=json.dumps(
            {"index": 0, "finish_reason": "length", "message": {"role": "assistant", "content": "cut"}}))]),
    ],
)  # fmt: skip
def test_every_generation_of_answers_is_read(names: dict[str, Json], events: list[Json]) -> None:
    (row,) = READER.rows({**otlp(**MODEL, **names), "events": events})
    (call,) = READER.join([row])
    assert isinstance(call, dict)
    assert call["finish_reason"] == "length"
    assert logged_answer(call["answer"]).text == "cut"


NUMBERED = {
    "0__role": "user", "0__content": "hello",
    "1__role": "assistant", "1__tool_calls__0__id": "c", "1__tool_calls__0__name": "f",
    "1__tool_calls__0__arguments": "{}",
    "2__role": "tool", "2__tool_call_id": "c", "2__name": "f", "2__content": "[1]",
    "4__role": "assistant", "11__role": "user", "11__content": "last",
}  # fmt: skip


@pytest.mark.parametrize("name", ["gen_ai__prompt", "llm__prompts"])
def test_a_turn_without_content_does_not_end_the_conversation(tmp_path: Path, name: str) -> None:
    named: dict[str, Json] = {f"{name}__{rest}": value for rest, value in NUMBERED.items()}
    functions = {"llm__request__functions__0__name": "f", "llm__request__functions__0__parameters": "{}"}
    span = otlp(gen_ai__request__model="m", **named, **functions)
    (call,) = counted(read(tmp_path, write_lines(tmp_path / "a.jsonl", span)))
    function = {"name": "f", "arguments": "{}"}
    assert json.loads(call["messages"]) == [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": None,
         "tool_calls": [{"id": "c", "type": "function", "function": function}]},
        {"role": "tool", "content": "[1]", "tool_call_id": "c", "name": "f"},
        {"role": "assistant", "content": None}, {"role": "user", "content": "last"},
    ]  # fmt: skip
    assert json.loads(call["tools"])[0]["function"]["name"] == "f"


JSON_TEXT = ['{"order": 17}', "[5, 3]", '[{"id": 1}]', '{"input": "x"}', '{"content": "x"}', "{no json}"]


@pytest.mark.parametrize("text", JSON_TEXT)
@pytest.mark.parametrize("name", ["gen_ai__prompt", "gen_ai__prompt__0__content", "gen_ai__input__messages"])
def test_a_prompt_of_json_text_stays_text(tmp_path: Path, name: str, text: str) -> None:
    span = otlp(gen_ai__request__model="m", **{name: text})
    (call,) = counted(read(tmp_path, write_lines(tmp_path / "a.jsonl", span)))
    assert json.loads(call["messages"]) == [{"role": "user", "content": text}]


def test_messages_that_were_uploaded_are_no_prompt(tmp_path: Path) -> None:
    uploaded = otlp(gen_ai__request__model="m", gen_ai__input__messages="s3://bucket/a.json")
    elsewhere = otlp(gen_ai__request__model="m", gen_ai__input__messages_ref="s3://bucket/a.json")
    rows = [row for span in (uploaded, elsewhere) for row in READER.rows(span)]
    assert READER.join(rows) == [NO_PROMPT, NO_PROMPT]


def test_messages_are_in_the_order_of_their_times(tmp_path: Path) -> None:
    ids = {"traceId": SPAN["traceId"], "spanId": SPAN["spanId"]}

    def log(time: Json, content: str, name: str = "timeUnixNano") -> Json:
        return {**ids, name: time, "eventName": "gen_ai.user.message",
                "body": {"kvlistValue": {"values": attributes(content=content)}}}  # fmt: skip

    late = {"low": 1255131136, "high": 410795077, "unsigned": True}
    logs = [log(late, "c"), log("100", "b", "observedTimeUnixNano"), log(99, "a")]
    records = {"resourceLogs": [{"scopeLogs": [{"logRecords": logs}]}]}
    span = otlp(gen_ai__request__model="m")
    (call,) = counted(read(tmp_path, write_lines(tmp_path / "a.jsonl", records, span)))
    assert [one["content"] for one in json.loads(call["messages"])] == ["a", "b", "c"]


@pytest.mark.parametrize(
    "trace",
    [
        "0af7651916cd43dd8448eb211c80319c", "CvdlGRbNQ92ESOshHIAxnA==", "0x0af7651916cd43dd8448eb211c80319c",
        {"type": "Buffer", "data": list(bytes.fromhex("0af7651916cd43dd8448eb211c80319c"))},
        {str(at): one for at, one in enumerate(bytes.fromhex("0af7651916cd43dd8448eb211c80319c"))},
    ],
    ids=["digits", "base64", "prefixed", "Buffer", "Uint8Array"],
)  # fmt: skip
def test_an_id_is_the_same_in_every_form(tmp_path: Path, trace: Json) -> None:
    files = read(tmp_path, write_lines(tmp_path / "a.jsonl", {**otlp(**MODEL), "traceId": trace}))
    assert counted(files)[0]["call_id"] == "0af7651916cd43dd8448eb211c80319c/b7ad6b7169203331"


@pytest.mark.parametrize(
    ("value", "number"),
    [
        pytest.param({"intValue": "14"}, 14, id="text"),
        pytest.param({"intValue": 14}, 14, id="number"),
        pytest.param({"intValue": {"low": 14, "high": 0, "unsigned": False}}, 14, id="halves"),
        pytest.param({"intValue": {"low": -1, "high": 0, "unsigned": True}}, 2**32 - 1, id="signed halves"),
        pytest.param({"int_value": {"low": 0, "high": 1}}, 1 << 32, id="in snake case"),
        pytest.param({"doubleValue": 14.0}, 14, id="double"),
        pytest.param({"stringValue": "14"}, 14, id="string"),
        pytest.param({"stringValue": "many"}, None, id="no number"),
        pytest.param({"intValue": {"low": "x"}}, None, id="no halves"),
        pytest.param({"boolValue": True}, None, id="true"),
        pytest.param({"arrayValue": {"values": [{"intValue": "1"}, {"intValue": "2"}]}}, None, id="a list"),
        pytest.param({"doubleValue": -3.0}, None, id="negative"),
        pytest.param({"doubleValue": 1.5}, None, id="half a token"),
    ],
)
def test_a_count_in_any_form_is_read_or_left_out(tmp_path: Path, value: Json, number: int | None) -> None:
    span = otlp(**MODEL)
    span["attributes"] += [{"key": "gen_ai.usage.input_tokens", "value": value}]
    files = read(tmp_path, write_lines(tmp_path / "a.jsonl", span))
    assert counted(files)[0]["input_tokens"] == number
    assert sum(files.summary.left_out.values()) == (number is None)


def test_trace_stores_forms_hold_the_same_call(tmp_path: Path) -> None:
    for record in EXAMPLES["otel-genai"]:
        files = read(tmp_path, write_lines(tmp_path / "a.jsonl", record))
        assert files.summary.calls > 0
        assert all(0 <= call["latency_s"] <= 1.5 for call in counted(files))
        assert all(call["time"].year == 2026 for call in counted(files))


def nested(*outer: Mapping[str, Any]) -> Json:
    """An export request of spans, each within the one before."""
    spans = [
        {**SPAN, "spanId": f"b7ad6b716920333{number}", "parentSpanId": f"b7ad6b716920333{number - 1}", **one}
        for number, one in enumerate(outer)
    ]
    return {"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}


_TOOL = {"attributes": attributes(gen_ai__operation__name="execute_tool", gen_ai__tool__name="f")}


@pytest.mark.parametrize(
    ("spans", "ids"),
    [
        pytest.param([{}, {}], ["1"], id="two tracers"),
        pytest.param([{}, {"attributes": []}, {}], ["2"], id="a span between"),
        pytest.param([{}, _TOOL, {}], ["0", "2"], id="a tool between"),
        pytest.param(
            [{}, {"attributes": attributes(gen_ai__system="openai")}], ["0"], id="inner without text"
        ),
    ],
)
def test_of_nested_spans_of_a_call_the_innermost_counts(
    tmp_path: Path, spans: Sequence[Mapping[str, Any]], ids: Sequence[str]
) -> None:
    files = read(tmp_path, write_lines(tmp_path / "a.jsonl", nested(*spans)))
    assert sorted(call["call_id"][-1] for call in counted(files)) == ids


def test_ids_meet_in_capitals_and_in_base64(tmp_path: Path) -> None:
    plain = {
        "traceId": "CvdlGRbNQ92ESOshHIAxnA==",
        "spanId": "t61rcWkgMzE=",
        "attributes": attributes(**OLD_CHAT),
    }
    log = {
        "traceId": "0AF7651916CD43DD8448EB211C80319C", "spanId": "B7AD6B7169203331",
        "eventName": "gen_ai.user.message", "body": {"kvlistValue": {"values": attributes(content="hello")}},
    }  # fmt: skip
    rows = [nested({**plain, "events": []}), {"resourceLogs": [{"scopeLogs": [{"logRecords": [log]}]}]}]
    assert messages(read(tmp_path, write_lines(tmp_path / "a.jsonl", *rows))) == [
        {"role": "user", "content": "hello"}
    ]


@pytest.mark.parametrize("called", [{}, {"tool_calls": json.dumps([{"id": "c", "type": "function"}])}])
def test_events_without_the_users_text_are_no_prompt(
    recorded: Recorded, tmp_path: Path, called: Mapping[str, Any]
) -> None:
    recorded.span(ASKED)
    recorded.span(CHAT, event("gen_ai.user.message"), event("gen_ai.assistant.message", **called))
    files = recorded.read(tmp_path)
    assert (len(counted(files)), files.summary.set_apart) == (1, {NO_PROMPT.reason: 1})


@pytest.mark.parametrize(
    "name",
    ["gen_ai.request.reasoning.level", "gen_ai.request.reasoning_effort", "llm.request.reasoning_effort"],
)
def test_an_effort_is_read_by_each_of_its_names(recorded: Recorded, tmp_path: Path, name: str) -> None:
    recorded.span({**ASKED, name: "high"})
    assert [call["effort"] for call in counted(recorded.read(tmp_path))] == ["high"]


@pytest.mark.parametrize(
    ("costs", "cost"),
    [
        ({"gen_ai.cost.input_cost": 0.1}, None),
        ({"gen_ai.cost.input_cost": 0.1, "gen_ai.cost.output_cost": 0.2}, 0.3),
        ({"llm.cost.prompt": 0.1}, None),
    ],
)
def test_the_cost_of_one_side_is_not_the_cost(
    recorded: Recorded, tmp_path: Path, costs: Mapping[str, float], cost: float | None
) -> None:
    recorded.span({**ASKED, **costs})
    (call,) = counted(recorded.read(tmp_path))
    assert call["cost_usd"] == (cost if cost is None else pytest.approx(cost))


def test_the_message_of_a_failed_span_tells_that_the_prompt_was_too_long(
    recorded: Recorded, tmp_path: Path
) -> None:
    said = "This model's maximum context length is 8 tokens"
    recorded.span(ASKED, lambda span: span.set_status(Status(StatusCode.ERROR, said)))
    assert [call["success"] for call in counted(recorded.read(tmp_path))] == [False]
