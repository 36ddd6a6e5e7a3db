"""Traces that `mlflow.litellm.autolog()` made on a real MLflow server, read from there and from files."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import litellm
import mlflow
import pytest
from mlflow.entities import AssessmentSource, SpanType

from router.errors import CallLogError
from router.records import Json
from tests.services.mlflow_server import MlflowServer
from tests.training.logs import read, write_lines
from tests.training.readers.counting import counted
from tests.training.readers.example_mlflow import SPAN, trace
from training.readers.mlflow_traces import READER
from training.reading.calls import CallFiles

TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]
EXPERIMENT = "shop / chat"
PERSON = AssessmentSource(source_type="HUMAN", source_id="someone")
JUDGE = AssessmentSource(source_type="LLM_JUDGE", source_id="some model")


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """What was logged, as files.

    Attributes:
        address: of the experiment.
        traces: JSON lines of `Trace.to_json`.
        table: JSON lines of what `mlflow.search_traces` returns.
    """

    address: str
    traces: str
    table: str


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Logged]:
    folder = tmp_path_factory.mktemp("mlflow")
    before = mlflow.get_tracking_uri()
    with MlflowServer(folder) as server:
        app = get_context("spawn").Process(target=_log_all, args=(server.uri, EXPERIMENT))
        app.start()
        app.join()
        assert app.exitcode == 0
        mlflow.set_tracking_uri(server.uri)
        experiment = mlflow.set_experiment(EXPERIMENT).experiment_id
        found = mlflow.search_traces(locations=[experiment], return_type="list")
        assert isinstance(found, list)
        (folder / "traces.jsonl").write_text("".join(one.to_json() + "\n" for one in found))
        table: Any = mlflow.search_traces(locations=[experiment])
        table.to_json(folder / "table.jsonl", orient="records", lines=True)
        yield Logged(
            address=f"mlflow://{EXPERIMENT}",
            traces=str(folder / "traces.jsonl"),
            table=str(folder / "table.jsonl"),
        )
    mlflow.set_tracking_uri(before)


def _ask(text: str, answer: str = "Fine.", **fields: Json) -> None:
    messages = [{"role": "user", "content": text}]
    litellm.completion(model="openai/gpt-4o-mini", messages=messages, mock_response=answer, **fields)


def _log_all(uri: str, experiment: str) -> None:
    """What an application does; in a process of its own, as autolog outlives its switching off."""
    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment(experiment)
    mlflow.litellm.autolog()
    roots = {}
    for text in ("plain", "judged", "graded", "met", "unmet"):
        with mlflow.start_span("root") as root:
            _ask(text, tools=TOOLS if text == "plain" else None)
        roots[text] = root.trace_id
    with mlflow.start_span("agent", span_type=SpanType.AGENT) as root:
        _ask("first step")
        _ask("last step")
    with mlflow.start_span("wrapper", span_type=SpanType.CHAT_MODEL) as wrapper:
        wrapper.set_inputs({"messages": [{"role": "user", "content": "wrapped"}]})
        _ask("wrapped")
    mlflow.flush_trace_async_logging()
    for text, trace_id in roots.items():
        _assess(text, trace_id)
    mlflow.log_feedback(trace_id=root.trace_id, name="helpful", value="yes", source=PERSON)


def _assess(text: str, trace_id: str) -> None:
    if text == "judged":
        mlflow.log_feedback(trace_id=trace_id, name="correct", value=True, source=JUDGE)
        mlflow.log_feedback(trace_id=trace_id, name="thumbs", value=False, source=PERSON)
    elif text == "graded":
        mlflow.log_feedback(trace_id=trace_id, name="quality", value=0.75, source=JUDGE)
        mlflow.log_feedback(trace_id=trace_id, name="toxicity", value=0.01, source=JUDGE)
    elif text in ("met", "unmet"):
        value = "fine" if text == "met" else "Bad"
        mlflow.log_expectation(trace_id=trace_id, name="expected_response", value=value, source=PERSON)


def calls_of(files: CallFiles) -> dict[str, dict[str, Any]]:
    """The calls by the text that was asked."""
    return {json.loads(row["messages"])[-1]["content"]: row for row in counted(files)}


@pytest.fixture(params=["server", "traces", "table"])
def calls(request: pytest.FixtureRequest, logged: Logged, tmp_path: Path) -> dict[str, dict[str, Any]]:
    source = {"server": logged.address, "traces": logged.traces, "table": logged.table}[request.param]
    files = read(tmp_path, source)
    assert files.summary.set_apart == {
        "no span of a language model": 6, "span around another model call": 1,
    }  # fmt: skip
    return calls_of(files)


class NeverCompared(dict[str, Json]):
    """A span that is told from others by its identity alone."""

    def __eq__(self, other: object) -> bool:
        raise AssertionError("two spans were compared, which takes time in the square of a trace's length")


def test_no_span_of_a_long_trace_is_compared_with_others() -> None:
    nested = [
        NeverCompared(SPAN, span_id=f"s{number}", parent_span_id=f"s{number - 1}") for number in range(20_000)
    ]
    roles = [row["role"] for row in READER.rows({"info": {}, "data": {"spans": nested}})]
    assert roles == ["outer"] * 19_999 + [None]


def outcome(call: Mapping[str, Json]) -> tuple[Json, Json, Json]:
    return call["success"], call["score"], call["outcome_source"]


def test_every_call_and_its_outcome_is_read(calls: dict[str, dict[str, Any]]) -> None:
    assert {text: outcome(call) for text, call in calls.items()} == {
        "plain": (None, None, None), "judged": (False, None, "feedback"),
        "graded": (None, 0.75, "evaluation"), "met": (True, None, "expectation"),
        "unmet": (False, None, "expectation"), "first step": (None, None, None),
        "last step": (True, None, "feedback"), "wrapped": (None, None, None),
    }  # fmt: skip


def test_what_was_sent_is_what_is_read(calls: dict[str, dict[str, Any]]) -> None:
    plain = calls["plain"]
    assert json.loads(plain["tools"]) == TOOLS
    assert (plain["model"], plain["input_tokens"], plain["output_tokens"]) == ("gpt-4o-mini", 10, 20)
    assert plain["cost_usd"] == pytest.approx(10 * 0.15e-6 + 20 * 0.6e-6)
    assert 0 < plain["latency_s"] < 60
    assert plain["time"] is not None
    assert calls["first step"]["session_id"] == calls["last step"]["session_id"]


def test_an_experiment_that_is_not_there_is_named(logged: Logged, tmp_path: Path) -> None:
    with pytest.raises(
        CallLogError, match="mlflow://nowhere: the server of MLFLOW_TRACKING_URI has no experiment"
    ):
        read(tmp_path, "mlflow://nowhere")


def test_reading_makes_no_database(tmp_path: Path) -> None:
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'missing.db'}")
    try:
        with pytest.raises(CallLogError, match=r"missing\.db: no such database; check MLFLOW_TRACKING_URI"):
            read(tmp_path, "mlflow://shop")
    finally:
        mlflow.set_tracking_uri(before)
    assert not (tmp_path / "missing.db").exists()


RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
TOLD = (
    r"^mlflow://shop: can't be read from http://\*\*\*@127\.0\.0\.1:9: no answer \(Connection refused\); "
    "check MLFLOW_TRACKING_URI"
)


@pytest.mark.parametrize("retries", [pytest.param("0", id="the user's"), pytest.param(None, id="ours")])
def test_a_server_that_does_not_answer_is_told_soon_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    retries: str | None,
) -> None:
    monkeypatch.delenv(RETRIES, raising=False)
    if retries is not None:
        monkeypatch.setenv(RETRIES, retries)
    begun = time.monotonic()
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri("http://someone:secret@127.0.0.1:9")
    try:
        with pytest.raises(CallLogError, match=TOLD) as raised:
            read(tmp_path, "mlflow://shop")
    finally:
        mlflow.set_tracking_uri(before)
    assert "secret" not in str(raised.value)
    assert "Retrying" not in caplog.text
    assert os.environ.get(RETRIES) == retries
    assert time.monotonic() - begun < 60  # by itself MLflow tries again for two minutes


def of_file(folder: Path, *traces: dict[str, Json]) -> dict[str, dict[str, Any]]:
    return calls_of(read(folder, write_lines(folder / "traces.jsonl", *traces)))


def span(**attributes: Json) -> dict[str, Any]:
    """The example's span, with these attributes besides; `__` in a name stands for a dot."""
    more = {name.replace("__", "."): json.dumps(value) for name, value in attributes.items()}
    return {**SPAN, "attributes": {**SPAN["attributes"], **more}}


def test_the_session_and_the_provider_are_read_where_they_were_logged(tmp_path: Path) -> None:
    (call,) = of_file(tmp_path, trace(span(mlflow__llm__provider="openai"))).values()
    assert (call["session_id"], call["model"]) == ("s1", "openai/gpt-4o")


def test_a_withdrawn_feedback_does_not_count(tmp_path: Path) -> None:
    (said,) = trace()["info"]["assessments"]
    (call,) = of_file(tmp_path, trace(SPAN, assessments=[{**said, "valid": False}])).values()
    assert outcome(call) == (None, None, None)


def test_an_error_is_a_failure_where_it_says_something_of_the_model(tmp_path: Path) -> None:
    raised = {"name": "exception", "attributes": {"exception.type": "ContextWindowExceededError"}}
    failed = {**SPAN, "status": {"code": "STATUS_CODE_ERROR", "message": ""}, "events": [raised]}
    (call,) = of_file(tmp_path, trace(failed, assessments=[])).values()
    assert outcome(call) == (False, None, "error")


def test_langchains_messages_are_read_as_chat(tmp_path: Path) -> None:
    said = [[{"type": "system", "content": "Be brief."}, {"type": "human", "content": "hello"}]]
    (call,) = of_file(tmp_path, trace(span(mlflow__spanInputs=said))).values()
    assert json.loads(call["messages"]) == [
        {"role": "system", "content": "Be brief."}, {"role": "user", "content": "hello"},
    ]  # fmt: skip


def test_the_older_schema_of_spans_is_read_too(tmp_path: Path) -> None:
    older = {
        "name": "llm", "context": {"span_id": "0x1", "trace_id": "0x2"}, "parent_id": None, "events": [],
        "start_time": SPAN["start_time_unix_nano"], "end_time": SPAN["end_time_unix_nano"],
        "status_code": "OK", "status_message": "", "attributes": SPAN["attributes"],
    }  # fmt: skip
    info = {
        "request_id": "r1",
        "request_metadata": {"mlflow.trace.session": "s2"},
        "tags": {},
        "trace_id": None,
    }
    (call,) = of_file(tmp_path, {"info": info, "data": {"spans": [older]}}).values()
    assert (call["session_id"], call["latency_s"]) == ("s2", pytest.approx(0.566, abs=0.001))


HUMAN = [[{"type": "human", "content": "hello"}]]
BEDROCK = {"modelId": "anthropic.claude-3-5-sonnet-20241022-v2:0",
           "messages": [{"role": "user", "content": [{"text": "hello"}]}]}  # fmt: skip


@pytest.mark.parametrize(
    ("more", "model"),
    [
        pytest.param({"invocation_params": {"model_name": "m"}}, "m", id="the invocation's"),
        pytest.param({"invocation_params": {"model": "m", "model_name": "n"}}, "m", id="its first name"),
        pytest.param({"metadata": {"ls_model_name": "m"}}, "m", id="the run's"),
        pytest.param(
            {"metadata": {"ls_provider": "google_vertexai", "ls_model_name": "m"}},
            "vertex_ai/m",
            id="with provider",
        ),
        pytest.param({"mlflow__spanInputs": BEDROCK}, BEDROCK["modelId"], id="Bedrock's"),
        pytest.param({"mlflow__spanInputs": {"model_name": "m", "messages": HUMAN[0]}}, "m", id="inputs"),
    ],
)
def test_the_model_is_read_wherever_a_library_writes_it(
    tmp_path: Path, more: dict[str, Json], model: str
) -> None:
    one = span(**{"mlflow__spanInputs": HUMAN, **more})
    del one["attributes"]["mlflow.llm.model"]
    (call,) = counted(read(tmp_path, write_lines(tmp_path / "traces.jsonl", trace(one))))
    assert call["model"] == model


@pytest.mark.parametrize(
    ("name", "usage"),
    [
        pytest.param("usage", {"input_tokens": 45, "output_tokens": 7}, id="Responses"),
        pytest.param("usage", {"prompt_tokens": 45, "completion_tokens": 7}, id="chat"),
        pytest.param("mlflow.chat.tokenUsage", {"input_tokens": 45, "output_tokens": 7}, id="MLflow's own"),
        pytest.param(
            "mlflow.spanOutputs",
            {"generations": [[{"text": "x"}]],
             "llm_output": {"token_usage": {"prompt_tokens": 45, "completion_tokens": 7}}},
            id="LangChain's",
        ),
    ],
)  # fmt: skip
def test_tokens_are_read_wherever_a_library_writes_them(tmp_path: Path, name: str, usage: Json) -> None:
    one = span(**{name.replace(".", "__"): usage})
    if name != "mlflow.chat.tokenUsage":
        del one["attributes"]["mlflow.chat.tokenUsage"]
    (call,) = counted(read(tmp_path, write_lines(tmp_path / "traces.jsonl", trace(one))))
    assert (call["input_tokens"], call["output_tokens"]) == (45, 7)


def test_instructions_and_tools_are_part_of_the_prompt_where_they_are_attributes(tmp_path: Path) -> None:
    said = [{"role": "user", "content": "hello"}]
    tool = {"type": "function", "name": "f", "parameters": {"type": "object"}}
    kind, gentle = (
        span(mlflow__spanInputs=said, instructions=text, tools=[tool]) for text in ("Be kind.", "Be gentle.")
    )
    files = read(
        tmp_path, write_lines(tmp_path / "traces.jsonl", trace(kind), trace({**gentle, "span_id": "x"}))
    )
    calls = counted(files)
    assert [json.loads(call["messages"])[0] for call in calls] == [
        {"role": "system", "content": "Be kind."}, {"role": "system", "content": "Be gentle."},
    ]  # fmt: skip
    assert json.loads(calls[0]["tools"])[0]["function"]["name"] == "f"
    assert len({call["prompt_key"] for call in calls}) == 2


def test_a_text_completion_of_langchain_is_a_prompt(tmp_path: Path) -> None:
    for number, said in enumerate((["hello"], {"prompts": ["hello"]})):
        file = write_lines(tmp_path / f"{number}.jsonl", trace(span(mlflow__spanInputs=said)))
        assert counted(read(tmp_path, file))[0]["prompt"] == "hello"


def test_a_model_that_no_span_names_can_be_mapped(tmp_path: Path) -> None:
    one = span(app__model="m")
    del one["attributes"]["mlflow.llm.model"]
    file = write_lines(tmp_path / "traces.jsonl", trace(one))
    files = read(tmp_path, file, mapping={"model": "span.attributes.app.model"})
    assert counted(files)[0]["model"] == '"m"'
