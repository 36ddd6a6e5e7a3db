"""MLflow's spans as OTLP, by the names of its constants."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from router.records import Json
from tests.training.logs import read, write_lines
from tests.training.readers.counting import counted
from tests.training.readers.example_otel import MLFLOW, SPAN, attributes, request
from training.reading.calls import CallFiles


def span(**changed: Json) -> dict[str, Json]:
    """One model's span, in which these attributes are changed; `__` stands for a dot."""
    kept = {one["key"]: one for one in [*MLFLOW["attributes"], *attributes(**changed)]}
    return {**MLFLOW, "attributes": [*kept.values()]}


def read_one(folder: Path, record: Json) -> CallFiles:
    return read(folder, write_lines(folder / "spans.jsonl", record))


def test_a_models_span_is_a_call_with_all_that_it_has(tmp_path: Path) -> None:
    [call] = counted(read_one(tmp_path, request(span())))
    assert json.loads(call["messages"]) == [{"role": "user", "content": "2 + 2?"}]
    assert (call["model"], call["effort"], call["session_id"]) == ("openai/gpt-5", "low", "s1")
    assert (call["cost_usd"], call["input_tokens"], call["output_tokens"]) == (0.003, 100, 3)
    assert (call["cached_input_tokens"], call["latency_s"]) == (80, 1.5)
    assert json.loads(call["tools"]) == [{"type": "function", "function": {"name": "bus"}}]


def test_a_span_in_snake_case_on_its_own_is_one_too(tmp_path: Path) -> None:
    names = {"traceId": "trace_id", "spanId": "span_id", "startTimeUnixNano": "start_time_unix_nano"}
    one = {names.get(name, name): value for name, value in span().items()}
    [call] = counted(read_one(tmp_path, {**one, "attributes": {"mlflow.spanType": "LLM", **_plain(span())}}))
    assert call["model"] == "openai/gpt-5"


def _plain(one: dict[str, Json]) -> dict[str, Json]:
    return {pair["key"]: pair["value"]["stringValue"] for pair in one["attributes"]}


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        pytest.param({"mlflow__spanType": '"TOOL"'}, "no chat or completion", id="a tool"),
        pytest.param({"cache_hit": "true"}, "cache hit", id="a cached answer"),
        pytest.param({"mlflow__spanInputs": "null"}, "no prompt logged", id="no prompt"),
    ],
)
def test_a_span_that_is_no_call_is_set_apart(tmp_path: Path, changed: Json, reason: str) -> None:
    other = {**span(**changed), "spanId": "b7ad6b7169203338"}
    assert read_one(tmp_path, request(span(), other)).summary.set_apart == {reason: 1}


def test_a_span_of_unknown_type_with_names_of_genai_is_read_by_those(tmp_path: Path) -> None:
    both = [*SPAN["attributes"], *attributes(mlflow__spanType='"UNKNOWN"', mlflow__spanInputs="{}")]
    [call] = counted(read_one(tmp_path, request({**SPAN, "attributes": both})))
    assert call["model"] == "openai/gpt-4o"
