from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from router.records import Json
from tests.training.logs import read, write_lines
from tests.training.readers.counting import counted
from tests.training.readers.example_traced_runs import (
    BRAINTRUST_ROOT,
    LANGSMITH_ROOT,
    OPIK_ROOT,
    WEAVE_ROOT,
    braintrust,
    langsmith,
    opik,
    weave,
    weave_said,
)
from training.readers.langsmith import READER as LANGSMITH
from training.readers.litellm_records import OTHER_CALL
from training.readers.message_shapes import chat_of
from training.readers.protocol import OUTER, Result
from training.readers.traced_runs import generation_evidence, run_model, sum_of, without_outer

CALL = {"name": "f", "args": {"x": 1}, "id": "c", "type": "tool_call"}
CALLED = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}}


def constructed(kind: str, **fields: Json) -> Json:
    return {"lc": 1, "type": "constructor", "id": ["langchain", "schema", "messages", kind], "kwargs": fields}


@pytest.mark.parametrize(
    ("message", "chat"),
    [
        pytest.param({"type": "human", "content": "a"}, {"role": "user", "content": "a"}, id="plain"),
        pytest.param(
            constructed("HumanMessage", content="a"), {"role": "user", "content": "a"}, id="constructor"
        ),
        pytest.param(
            {"type": "system", "data": {"content": "a"}}, {"role": "system", "content": "a"}, id="with data"
        ),
        pytest.param(
            {"type": "AIMessageChunk", "content": "", "tool_calls": [CALL]},
            {"role": "assistant", "tool_calls": [CALLED]},
            id="a piece that calls a tool",
        ),
        pytest.param(
            constructed("ToolMessage", content="1", tool_call_id="c", name="f"),
            {"role": "tool", "content": "1", "tool_call_id": "c", "name": "f"},
            id="a tool's result",
        ),
        pytest.param({"role": "user", "content": "a"}, {"role": "user", "content": "a"}, id="of chat"),
    ],
)
def test_a_message_of_any_form_is_one_of_chat(message: Json, chat: Json) -> None:
    assert chat_of([message]) == [chat]


@pytest.mark.parametrize(
    ("generation", "evidence"),
    [
        (
            {"text": "a", "generation_info": {"finish_reason": "length"}},
            {"finish_reason": "length", "answer": "a"},
        ),
        (
            {
                "text": "a",
                "message": {"type": "ai", "content": "a", "response_metadata": {"stop_reason": "end"}},
            },
            {"finish_reason": "end", "answer": {"role": "assistant", "content": "a"}},
        ),
    ],
)
def test_the_first_generation_is_the_answer(generation: Json, evidence: Json) -> None:
    assert generation_evidence({"generations": [[generation]]}) == evidence
    assert generation_evidence({"generations": [generation]}) == evidence


def test_other_outputs_have_none() -> None:
    assert generation_evidence({"choices": []}) == {}


@pytest.mark.parametrize("name", ["model", "model_name", "model_id", "modelId", "deployment_name"])
def test_the_model_is_the_invocations_before_the_runs(name: str) -> None:
    assert run_model({name: "m"}, {"ls_model_name": "n", "ls_provider": "p"}) == ("m", "p")
    assert run_model({}, '{"ls_model_name": "n"}') == ("n", None)


ROOTS: Mapping[str, Mapping[str, Json]] = {
    "langsmith": LANGSMITH_ROOT, "opik": OPIK_ROOT, "braintrust": BRAINTRUST_ROOT, "weave": WEAVE_ROOT,
}  # fmt: skip
RUNS: Mapping[str, Callable[..., dict[str, Json]]] = {
    "langsmith": langsmith, "opik": opik, "braintrust": braintrust, "weave": weave,
}  # fmt: skip
GRADED: Mapping[str, Mapping[str, Json]] = {
    "langsmith": {"feedback_stats": {"quality": {"n": 2, "avg": 0.25}}},
    "opik": {"feedback_scores": [{"name": "quality", "value": 0.25, "source": "sdk"}]},
    "braintrust": {"scores": {"quality": 0.25, "missing": None}},
    "weave": {"summary": weave_said("wandb.runnable.judge", output={"quality": 0.25})},
}
NAMES = sorted(RUNS)


def calls_of(folder: Path, *rows: Mapping[str, Json]) -> list[dict[str, Any]]:
    return counted(read(folder, write_lines(folder / "runs.jsonl", *map(dict, rows))))


@pytest.mark.parametrize("name", NAMES)
def test_a_run_of_a_model_is_a_call_with_all_that_it_has(tmp_path: Path, name: str) -> None:
    files = read(tmp_path, write_lines(tmp_path / "runs.jsonl", dict(ROOTS[name]), RUNS[name]()))
    (call,) = counted(files)
    assert files.summary.readers == {name: 1}
    assert json.loads(call["messages"]) == [{"role": "user", "content": "2 + 2?"}]
    assert (call["model"], call["session_id"], call["tags"]) == ("openai/gpt-4o", "s1", ["prod"])
    assert (call["cost_usd"], call["input_tokens"], call["output_tokens"]) == (0.5, 10, 3)
    assert (call["latency_s"], call["time"].year, call["success"]) == (1.5, 2026, None)
    assert files.summary.set_apart == {"no chat or completion": 1}


@pytest.mark.parametrize("name", NAMES)
def test_the_inner_of_two_runs_of_one_call_counts(tmp_path: Path, name: str) -> None:
    rows = [RUNS[name]("b", "a"), RUNS[name]("a")]
    files = read(tmp_path, write_lines(tmp_path / "runs.jsonl", *rows))
    assert [call["call_id"] for call in counted(files)] == ["b"]
    assert files.summary.set_apart == {"span around another model call": 1}


@pytest.mark.parametrize("on", ["the call", "the trace"])
@pytest.mark.parametrize("name", NAMES)
def test_a_grade_is_of_its_call_or_of_the_last_one(tmp_path: Path, name: str, on: str) -> None:
    early = RUNS[name]("z")
    last = RUNS[name]("a", **GRADED[name]) if on == "the call" else RUNS[name]("a")
    if name == "braintrust":
        early["metrics"] = {"start": 1795867100.0, "end": 1795867101.5}
    else:
        early |= {"end_time": "2026-11-28T11:00:00Z", "ended_at": "2026-11-28T11:00:00Z"}
    root = {**ROOTS[name], **(GRADED[name] if on == "the trace" else {})}
    scores = {call["call_id"]: call["score"] for call in calls_of(tmp_path, root, last, early)}
    assert scores == {"z": None, "a": 0.25}


@pytest.mark.parametrize(
    ("name", "said", "outcome"),
    [
        ("langsmith", {"feedback_stats": {"thumbs": {"n": 1, "avg": None, "values": {"up": 1}}}},
         (True, "feedback")),
        ("langsmith", {"feedback_stats": '{"toxicity": {"avg": 0.5}}'}, (None, None)),
        ("opik", {"feedback_scores": [{"name": "ok", "value": 0, "category_name": "bad", "source": "ui"}]},
         (False, "annotation")),
        ("opik", {"feedback_scores": [{"name": "q", "value": 1.0, "source": "online_scoring"}]},
         (None, "evaluation")),
        ("braintrust", {"expected": "4"}, (True, "expectation")),
        ("braintrust", {"expected": "5"}, (False, "expectation")),
        ("weave", {"summary": weave_said("wandb.reaction.1", emoji="👎")}, (False, "feedback")),
        ("weave", {"summary": weave_said("wandb.annotation.good", value=True)}, (True, "annotation")),
        ("weave", {"summary": weave_said("wandb.note.1", note="nice")}, (None, None)),
    ],
)  # fmt: skip
def test_every_kind_of_feedback_is_an_outcome(
    tmp_path: Path, name: str, said: dict[str, Json], outcome: tuple[Json, Json]
) -> None:
    (call,) = calls_of(tmp_path, RUNS[name](**said))
    assert (call["success"], call["outcome_source"]) == outcome


@pytest.mark.parametrize(
    ("name", "failed"),
    [
        ("langsmith", {"error": "ContextWindowExceededError('too long')", "status": "error"}),
        ("opik", {"error_info": {"exception_type": "ContextWindowExceededError", "traceback": ""}}),
        ("braintrust", {"error": "ContextWindowExceededError: too long"}),
        ("weave", {"exception": "ContextWindowExceededError: too long"}),
    ],
)
def test_an_error_of_the_model_is_a_failure(tmp_path: Path, name: str, failed: dict[str, Json]) -> None:
    (call,) = calls_of(tmp_path, RUNS[name](**failed))
    assert (call["success"], call["outcome_source"]) == (False, "error")


@pytest.mark.parametrize(
    ("name", "unpriced"),
    [
        ("langsmith", {"total_cost": 0, "prompt_cost": None, "completion_cost": None}),
        ("opik", {"total_estimated_cost": 0}),
        ("braintrust", {"metrics": {"estimated_cost": 0.0}}),
        ("weave", {"summary": {"weave": {"costs": {"gpt-4o": {"prompt_tokens_total_cost": 0}}}}}),
    ],
)
def test_a_cost_of_zero_is_unknown(tmp_path: Path, name: str, unpriced: dict[str, Json]) -> None:
    assert calls_of(tmp_path, RUNS[name](**unpriced))[0]["cost_usd"] is None


@pytest.mark.parametrize(
    ("name", "other", "reason"),
    [
        ("langsmith", {"run_type": "embedding"}, "no chat or completion"),
        ("langsmith", {"inputs": {}, "inputs_s3_urls": {"ROOT": {}}}, "no prompt logged"),
        ("opik", {"type": "tool"}, "no chat or completion"),
        ("braintrust", {"span_attributes": {"type": "score"}}, "no chat or completion"),
        ("braintrust", {"span_attributes": {"type": "llm", "purpose": "scorer"}}, "internal call"),
        ("weave", {"op_name": "weave:///a/b/op/openai.embeddings.create:x"}, "no chat or completion"),
        ("weave", {"inputs": {"model": "weave:///a/b/object/m:x", "messages": []}}, "no chat or completion"),
    ],
)
def test_what_is_no_call_is_counted_by_reason(
    tmp_path: Path, name: str, other: dict[str, Json], reason: str
) -> None:
    rows = [RUNS[name](), RUNS[name]("b", **other)]
    files = read(tmp_path, write_lines(tmp_path / "runs.jsonl", *rows))
    assert (len(counted(files)), files.summary.set_apart) == (1, {reason: 1})


def test_a_parquet_export_of_langsmith_is_read_in_any_number_of_row_groups(tmp_path: Path) -> None:
    texts = ("inputs", "outputs", "extra")
    runs = [langsmith("a"), langsmith("b")]
    rows = [{**run, "events": None, **{name: json.dumps(run[name]) for name in texts}} for run in runs]
    table = pa.Table.from_pylist(rows)
    pq.write_table(table, tmp_path / "runs.parquet", row_group_size=1)
    files = read(tmp_path, str(tmp_path / "runs.parquet"))
    assert ({call["call_id"] for call in counted(files)}, files.summary.readers) == (
        {"a", "b"},
        {"langsmith": 1},
    )


def test_no_run_of_a_long_trace_is_looked_at_twice(tmp_path: Path) -> None:
    rows = [langsmith(f"s{number}", f"s{number - 1}") for number in range(5000)]
    results = LANGSMITH.join(rows)
    assert [isinstance(result, dict) for result in results] == [False] * 4999 + [True]


_WITHIN: Mapping[str, tuple[Mapping[str, str | None], Sequence[str]]] = {
    "two tracers": ({"a": None, "b": "a"}, "b"),
    "a span between": ({"a": None, "x": "a", "b": "x"}, "b"),
    "three tracers": ({"a": None, "b": "a", "c": "b"}, "c"),
    "two attempts": ({"a": None, "b": "a", "c": "a"}, "bc"),
    "a tool between": ({"a": None, "tool": "a", "b": "tool"}, "ab"),
    "side by side": ({"x": None, "a": "x", "b": "x"}, "ab"),
    "a parent elsewhere": ({"a": "gone", "b": "lost"}, "ab"),
    "a circle": ({"a": "x", "x": "y", "y": "x"}, "a"),
    "its own parent": ({"a": "a"}, "a"),
}


@pytest.mark.parametrize(("parents", "calls"), _WITHIN.values(), ids=_WITHIN)
def test_of_nested_calls_the_innermost_count(parents: Mapping[str, str | None], calls: Sequence[str]) -> None:
    results: dict[str, Result] = {name: {"time": 1} if name in "abc" else OTHER_CALL for name in parents}
    known = without_outer(results, parents, {"tool"})
    assert [name for name, result in known.items() if isinstance(result, dict)] == [*calls]
    assert {name for name, result in known.items() if result == OUTER} == {*"abc"} & {*parents} - {*calls}


def test_what_only_the_outer_call_knows_is_the_last_inner_ones() -> None:
    parents = {"a": None, "b": "a"}
    outer = {"cost_usd": 1.0, "input_tokens": 5, "success": True, "outcome_source": "feedback", "model": "x"}
    known = without_outer({"a": outer, "b": {"input_tokens": 7, "model": "y"}}, parents, ())
    assert known["b"] == {**outer, "input_tokens": 7, "model": "y"}
    twice = without_outer(
        {"a": outer, "b": {"time": 1, "outcome_source": "error"}, "c": {"time": 2}}, {**parents, "c": "a"}, ()
    )
    assert twice["b"] == {"time": 1, "outcome_source": "error"}
    assert twice["c"] == {"time": 2, "success": True, "outcome_source": "feedback"}


@pytest.mark.parametrize("place", [{"metadata": {"model": "m", "reasoning_effort": "low"}}, {"input": None}])
@pytest.mark.parametrize("make", [opik, braintrust])
def test_an_effort_is_read_from_the_request_or_the_metadata(
    tmp_path: Path, make: Callable[..., dict[str, Json]], place: dict[str, Json]
) -> None:
    body = {"messages": [{"role": "user", "content": "Hi"}], "reasoning_effort": "low"}
    row = make(**{name: value or body for name, value in place.items()})
    [call] = counted(read(tmp_path, write_lines(tmp_path / "runs.jsonl", row)))
    assert call["effort"] == "low"


@pytest.mark.parametrize(
    ("parts", "whole"),
    [((1, 2), 3), (("1", 2.0), 3), ((1, None), None), ((1, -2), None), ((None, None), None), ((0, 0), 0)],
)
def test_a_part_of_a_cost_is_not_the_cost(parts: tuple[Json, Json], whole: float | None) -> None:
    assert sum_of(*parts) == whole
