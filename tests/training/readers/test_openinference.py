"""Spans of OpenInference, as its instrumentation writes them and as its specification allows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from router.records import Json
from tests.training.logs import read, write_lines
from tests.training.readers.counting import counted
from tests.training.readers.example_otel import OPENINFERENCE, PHOENIX, attributes, request

LLM = {"openinference__span__kind": "LLM", "llm__model_name": "gpt-4o", "llm__provider": "openai"}
ASKED = {"llm__input_messages__0__message__role": "user", "llm__input_messages__0__message__content": "hello"}


def span(**named: Json) -> dict[str, Json]:
    return {"traceId": "a", "spanId": "b", "attributes": attributes(**named)}


def calls(folder: Path, *spans: Mapping[str, Json]) -> list[dict[str, Any]]:
    whole = request(*({**one, "spanId": f"s{number}"} for number, one in enumerate(spans)))
    return counted(read(folder, write_lines(folder / "spans.jsonl", whole)))


def test_a_span_of_the_instrumentation_is_a_call_with_all_that_it_has(tmp_path: Path) -> None:
    (call,) = calls(tmp_path, OPENINFERENCE)
    function = {"name": "bus", "arguments": "{}"}
    assert json.loads(call["messages"]) == [
        {"role": "system", "content": "Answer briefly."},
        {"role": "user", "content": [{"type": "text", "text": "Which bus?"}]},
        {"role": "assistant", "content": None,
         "tool_calls": [{"id": "c1", "type": "function", "function": function}]},
        {"role": "tool", "content": "line 4", "tool_call_id": "c1"},
    ]  # fmt: skip
    assert (call["model"], call["session_id"], call["tags"]) == ("openai/gpt-4o-mini", "s1", ["prod"])
    assert (call["task_type"], call["input_tokens"], call["output_tokens"]) == ("bus", 31, 5)
    assert json.loads(call["tools"]) == [{"type": "function", "function": {"name": "bus"}}]
    assert (call["success"], call["outcome_source"]) == (True, "feedback")


BODY = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}
LANGCHAIN = {"messages": [[{
    "lc": 1, "type": "constructor", "id": ["langchain", "schema", "messages", "HumanMessage"],
    "kwargs": {"content": "hello", "type": "human"},
}]]}  # fmt: skip


@pytest.mark.parametrize(
    "prompt",
    [
        pytest.param(ASKED, id="flat"),
        pytest.param({"input__value": "hello"}, id="text"),
        pytest.param({"input__value": json.dumps(BODY)}, id="body"),
        pytest.param({"input__value": json.dumps({"model": "m", "input": "hello"})}, id="Responses body"),
        pytest.param({"input__value": json.dumps(BODY["messages"])}, id="messages"),
        pytest.param({"input__value": json.dumps(LANGCHAIN)}, id="LangChain"),
        pytest.param({"llm__prompts__0__prompt__text": "hello"}, id="completion"),
    ],
)
def test_the_prompt_is_read_wherever_it_is(tmp_path: Path, prompt: dict[str, Json]) -> None:
    (call,) = calls(tmp_path, span(**LLM, **prompt))
    assert json.loads(call["messages"]) == [{"role": "user", "content": "hello"}]


def test_a_prompt_of_json_text_stays_text(tmp_path: Path) -> None:
    (call,) = calls(tmp_path, span(**LLM, input__value='{"order": 17}'))
    assert json.loads(call["messages"]) == [{"role": "user", "content": '{"order": 17}'}]


@pytest.mark.parametrize("word", ["annotation", "evaluation"])
@pytest.mark.parametrize("scope", ["", "trace__", "session__"])
@pytest.mark.parametrize(
    ("kind", "said", "outcome"),
    [
        pytest.param("HUMAN", {"label": "thumbs down"}, (False, None, "feedback"), id="a person"),
        pytest.param("LLM", {"score": 0.25}, (None, 0.25, "evaluation"), id="a judge"),
        pytest.param("CODE", {"label": "pass", "score": 1}, (True, 1, "evaluation"), id="a check"),
    ],
)
def test_an_annotation_is_the_outcome(
    tmp_path: Path, word: str, scope: str, kind: str, said: dict[str, Json], outcome: tuple[Json, ...]
) -> None:
    start = f"{scope}{word}s__0__{word}__"
    named = {f"{start}{name}": value for name, value in {"name": "q", "annotator_kind": kind, **said}.items()}
    (call,) = calls(tmp_path, span(**LLM, **ASKED, **named))
    assert (call["success"], call["score"], call["outcome_source"]) == outcome


@pytest.mark.parametrize(
    ("cost", "known"),
    [
        pytest.param({"llm__cost__total": 0.5}, 0.5, id="whole"),
        pytest.param({"llm__cost__prompt": 0.25, "llm__cost__completion": 0.5}, 0.75, id="both sides"),
        pytest.param({"llm__cost__total": 0.0}, None, id="zero"),
    ],
)
def test_the_cost_is_read(tmp_path: Path, cost: dict[str, Json], known: float | None) -> None:
    assert calls(tmp_path, span(**LLM, **ASKED, **cost))[0]["cost_usd"] == known


CHAIN = {"openinference__span__kind": "CHAIN"}


@pytest.mark.parametrize(
    ("named", "reason"),
    [
        pytest.param({**LLM, **ASKED, **CHAIN}, "no chat or completion", id="a chain"),
        pytest.param({**LLM, "input__value": "__REDACTED__"}, "redacted", id="redacted"),
        pytest.param(LLM, "no prompt logged", id="no prompt"),
    ],
)  # fmt: skip
def test_what_is_no_call_is_counted_by_reason(tmp_path: Path, named: dict[str, Json], reason: str) -> None:
    whole = request(OPENINFERENCE, span(**named))
    files = read(tmp_path, write_lines(tmp_path / "spans.jsonl", whole))
    assert (len(counted(files)), files.summary.set_apart) == (1, {reason: 1})


def test_phoenixs_own_forms_are_read(tmp_path: Path) -> None:
    table: dict[str, Any] = {
        "name": "llm", "context.trace_id": "a", "context.span_id": "c", "span_kind": "LLM",
        "start_time": "2026-11-28T12:43:59Z", "end_time": "2026-11-28T12:44:00Z", "status_code": "OK",
        "attributes.llm.model_name": "gpt-4o", "attributes.llm.token_count.prompt": 10,
        "attributes.llm.input_messages": [{"message.role": "user", "message.content": "2 + 2?"}],
        "attributes.metadata": None,
    }  # fmt: skip
    files = read(tmp_path, write_lines(tmp_path / "spans.jsonl", dict(PHOENIX), table))
    for call in counted(files):
        assert json.loads(call["messages"]) == [{"role": "user", "content": "2 + 2?"}]
        assert (call["model"], call["input_tokens"], call["latency_s"]) == ("gpt-4o", 10, 1.0)
    assert files.summary.calls == 2
