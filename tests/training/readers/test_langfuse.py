"""Langfuse's exports and API rows, made from its reference of fields: joined, judged, and counted."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from router.records import Json
from tests.training.logs import read, write_lines
from tests.training.readers.counting import counted
from tests.training.readers.example_langfuse import MANIFEST, MESSAGES, OBSERVATION, PAGE, SCORE, TRACE, camel
from training.reading.calls import CallFiles


def _types(row: Mapping[str, Json]) -> dict[str, pa.DataType]:
    plain = {int: pa.float64(), float: pa.float64(), bool: pa.bool_(), list: pa.list_(pa.string())}
    found = {name: plain[type(value)] for name, value in row.items() if type(value) in plain}
    return {**found, **{name: kind for name, kind in _MAPS.items() if name in row}}


_MAPS = {
    "metadata": pa.map_(pa.string(), pa.string()), "usage_details": pa.map_(pa.string(), pa.uint64()),
    "cost_details": pa.map_(pa.string(), pa.float64()), "tool_definitions": pa.map_(pa.string(), pa.string()),
}  # fmt: skip
SCHEMAS = {
    folder: pa.schema({**dict.fromkeys(row, pa.string()), **_types(row)})
    for folder, row in (("observations_v2", OBSERVATION), ("scores", SCORE))
}
"""Columns as the database writes them to Parquet: objects are maps."""


def observation(**fields: Json) -> dict[str, Any]:
    return {**OBSERVATION, **fields}


def score(**fields: Json) -> dict[str, Any]:
    return {**SCORE, **fields}


def calls_of(files: CallFiles) -> dict[str, dict[str, Any]]:
    """The calls by id."""
    return {row["call_id"]: row for row in counted(files)}


def read_rows(folder: Path, *rows: dict[str, Any]) -> CallFiles:
    return read(folder, write_lines(folder / "rows.jsonl", *rows))


def outcome(call: Mapping[str, Json]) -> tuple[Json, Json, Json]:
    return call["success"], call["score"], call["outcome_source"]


def test_a_generation_is_a_call_with_all_that_was_logged_of_it(tmp_path: Path) -> None:
    (call,) = calls_of(read_rows(tmp_path, observation())).values()
    assert json.loads(call["messages"]) == MESSAGES
    assert (call["model"], call["session_id"], call["tags"]) == ("gpt-4o", "s1", ["web"])
    assert (call["cost_usd"], call["input_tokens"], call["output_tokens"]) == (0.003, 15, 3)
    assert (call["latency_s"], call["time"].isoformat()) == (1.5, "2026-05-29T13:46:19.963000+00:00")
    assert outcome(call) == (None, None, None)


@pytest.mark.parametrize("latency", [1.5, 1500, None])
def test_latency_is_in_seconds_whichever_unit_the_export_has(tmp_path: Path, latency: float | None) -> None:
    assert calls_of(read_rows(tmp_path, observation(latency=latency)))["o1"]["latency_s"] == 1.5


def test_a_latency_that_no_times_explain_is_unknown(tmp_path: Path) -> None:
    assert calls_of(read_rows(tmp_path, observation(end_time=None)))["o1"]["latency_s"] is None


@pytest.mark.parametrize("layout", ["jsonl", "csv", "parquet", "camel"])
def test_every_layout_and_spelling_holds_the_same_calls(tmp_path: Path, layout: str) -> None:
    (tmp_path / "observations_v2").mkdir()
    (tmp_path / "scores").mkdir()
    for name, row in (("observations_v2", observation()), ("scores", score())):
        write(tmp_path / name, layout, [row, {**row, "id": "other", "observation_id": "o1"}])
    calls = calls_of(read(tmp_path, str(tmp_path / "observations_v2"), str(tmp_path / "scores")))
    told = [
        (call["cost_usd"], call["input_tokens"], call["tags"], call["latency_s"]) for call in calls.values()
    ]
    assert (set(calls), told) == ({"o1", "other"}, [(0.003, 15, ["web"], 1.5)] * 2)
    assert outcome(calls["o1"]) == (True, None, "feedback")


def test_a_decimal_comma_is_one_after_the_rows_were_joined(tmp_path: Path) -> None:
    row = {
        name: json.dumps(one) if isinstance(one, dict | list) else one for name, one in observation().items()
    }
    with (tmp_path / "a.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(row), delimiter=";")
        writer.writeheader()
        writer.writerow({**row, "total_cost": "1,234", "cost_details": None})
    assert calls_of(read(tmp_path, str(tmp_path / "a.csv")))["o1"]["cost_usd"] == 1.234


def write(folder: Path, layout: str, rows: list[dict[str, Any]]) -> None:
    if layout == "csv":
        with (folder / "a.csv").open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(rows[0])
            writer.writerows(
                [json.dumps(value) if isinstance(value, dict | list) else value for value in row.values()]
                for row in [{name: row.get(name) for name in rows[0]} for row in rows]
            )
    elif layout == "parquet":
        table = pa.Table.from_pylist(
            [{name: row.get(name) for name in rows[0]} for row in rows], SCHEMAS[folder.name]
        )
        pq.write_table(table, folder / "a.parquet", row_group_size=1)
    else:
        write_lines(folder / "a.jsonl", *(camel(row) if layout == "camel" else row for row in rows))


@pytest.mark.parametrize("indent", [pytest.param(None, id="on one line"), pytest.param(2, id="indented")])
def test_the_manifests_in_a_bucket_are_set_apart(tmp_path: Path, indent: int | None) -> None:
    bucket = tmp_path / "bucket" / "p"
    for table, row in (("observations_v2", observation()), ("scores", score())):
        (bucket / table).mkdir(parents=True)
        packed = gzip.compress(json.dumps(row).encode() + b"\n")
        (bucket / table / "2026-05-29T14-00-00.jsonl.gz").write_bytes(packed)
    (bucket / "manifests").mkdir()
    for hour in (14, 15):
        manifest = bucket / "manifests" / f"2026-05-29T{hour}-00-00.json"
        manifest.write_text(json.dumps(MANIFEST, indent=indent))
    files = read(tmp_path, str(tmp_path / "bucket"), max_reject_share=0.0)
    assert outcome(calls_of(files)["o1"]) == (True, None, "feedback")
    assert (files.summary.rows, files.summary.set_apart) == (4, {"manifest of an export": 2})
    assert files.summary.readers == {"langfuse": 4}


def test_tags_and_session_of_the_legacy_export_come_from_its_traces(tmp_path: Path) -> None:
    legacy = observation()
    for name in ("session_id", "tags", "user_id", "trace_name", "release", "bookmarked", "public"):
        del legacy[name]
    files = read_rows(tmp_path, dict(TRACE), legacy)
    call = calls_of(files)["o1"]
    assert (call["session_id"], call["tags"], files.summary.joined) == ("s1", ["web"], 1)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        pytest.param({}, (True, None, "feedback"), id="boolean"),
        pytest.param({"value": 0}, (False, None, "feedback"), id="boolean, false"),
        pytest.param({"value": "False"}, (False, None, "feedback"), id="boolean, as text"),
        pytest.param(
            {"value": 0.25, "data_type": "NUMERIC", "source": "EVAL"},
            (None, 0.25, "evaluation"),
            id="numeric",
        ),
        pytest.param(
            {"value": 3, "data_type": "CATEGORICAL", "string_value": "Thumbs Down", "source": "ANNOTATION"},
            (False, None, "annotation"),
            id="categorical",
        ),
    ],
)
def test_a_score_is_the_outcome_of_its_observation(
    tmp_path: Path, fields: dict[str, Json], told: tuple[Json, ...]
) -> None:
    assert outcome(calls_of(read_rows(tmp_path, score(**fields), observation()))["o1"]) == told


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"data_type": "TEXT", "string_value": "good"}, id="text"),
        pytest.param({"data_type": "NUMERIC", "value": 4}, id="a scale that is not told"),
        pytest.param({"name": "hallucination"}, id="a fault"),
        pytest.param({"data_type": "CATEGORICAL", "string_value": "violet"}, id="no word for good or bad"),
        pytest.param({"source": "ELSEWHERE"}, id="no known source"),
    ],
)
def test_a_score_that_does_not_tell_good_from_bad_is_set_apart(
    tmp_path: Path, fields: dict[str, Json]
) -> None:
    files = read_rows(tmp_path, observation(), score(**fields))
    assert outcome(calls_of(files)["o1"]) == (None, None, None)
    assert files.summary.set_apart == {"score without a verdict": 1}


def test_a_traces_score_is_its_last_generations(tmp_path: Path) -> None:
    later = observation(id="o2", start_time="2026-05-29 13:47:19.963000", end_time=None)
    calls = calls_of(read_rows(tmp_path, later, observation(), score(observation_id=None)))
    assert (calls["o1"]["success"], calls["o2"]["success"]) == (None, True)


def test_people_are_believed_before_users_and_users_before_evaluators(tmp_path: Path) -> None:
    rows = [
        score(id=source, source=source, value=source == "ANNOTATION")
        for source in ("EVAL", "ANNOTATION", "API")
    ]
    assert outcome(calls_of(read_rows(tmp_path, observation(), *rows))["o1"]) == (True, None, "annotation")


def test_rows_that_a_later_export_repeats_are_one_call_with_the_newest_values(tmp_path: Path) -> None:
    files = read_rows(
        tmp_path, observation(output="", total_cost=None, cost_details={}), observation(),
        score(), score(value=0),
    )  # fmt: skip
    call = calls_of(files)["o1"]
    assert (call["cost_usd"], call["success"], files.summary.joined) == (0.003, False, 3)


def test_what_is_no_call_is_set_apart_by_reason(tmp_path: Path) -> None:
    files = read_rows(
        tmp_path, observation(), observation(id="o2", type="SPAN"), score(observation_id="o2"),
        {**TRACE, "id": "t2"}, observation(id="o3", input=""), observation(id="o4", input={"q": 1}),
        score(id="c2", trace_id=None, observation_id=None, session_id="s1"),
    )  # fmt: skip
    assert set(calls_of(files)) == {"o1"}
    assert files.summary.set_apart == {
        "no generation": 1, "score of what is no call here": 2, "trace without a call": 1,
        "no prompt logged": 1, "input is no chat": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("message", "success"),
    [
        pytest.param("litellm.ContextWindowExceededError: too long", False, id="the model's"),
        pytest.param("openai.RateLimitError: slow down", None, id="nobody's"),
        pytest.param("something went wrong", None, id="unknown"),
    ],
)
def test_an_error_is_a_failure_where_it_says_something_of_the_model(
    tmp_path: Path, message: str, success: bool | None
) -> None:
    call = calls_of(read_rows(tmp_path, observation(level="ERROR", status_message=message)))["o1"]
    assert outcome(call) == (success, None, "error")


def test_an_error_of_the_caller_is_set_apart(tmp_path: Path) -> None:
    rows = (observation(id="o2", level="ERROR", status_message="AuthenticationError: no"), observation())
    files = read_rows(tmp_path, *rows)
    assert (set(calls_of(files)), files.summary.set_apart) == (
        {"o1"},
        {"error of the caller or the proxy": 1},
    )


def test_a_cost_of_zero_without_details_is_unknown(tmp_path: Path) -> None:
    rows = (observation(total_cost=0, cost_details={}), observation(id="o2", total_cost=0))
    calls = calls_of(read_rows(tmp_path, *rows))
    assert (calls["o1"]["cost_usd"], calls["o2"]["cost_usd"]) == (None, 0.0)


def test_a_cost_is_the_sum_of_its_details_where_no_total_stands(tmp_path: Path) -> None:
    details = {"input": 0.001, "input_cached_tokens": 0.0005, "output": 0.002}
    [call] = calls_of(read_rows(tmp_path, observation(total_cost=None, cost_details=details))).values()
    assert call["cost_usd"] == pytest.approx(0.0035)


def test_a_generation_is_one_in_any_letters_and_its_model_has_no_path(tmp_path: Path) -> None:
    row = observation(type="generation", provided_model_name="models/gemini-2.5-pro")
    assert calls_of(read_rows(tmp_path, row))["o1"]["model"] == "gemini-2.5-pro"


def test_tool_definitions_are_the_tools_of_the_chat_protocol(tmp_path: Path) -> None:
    schema = {"type": "object", "properties": {}}
    about = json.dumps({"description": "d", "parameters": schema})
    call = calls_of(read_rows(tmp_path, observation(tool_definitions={"f": about})))["o1"]
    assert json.loads(call["tools"]) == [
        {"type": "function", "function": {"name": "f", "description": "d", "parameters": schema}}
    ]


def test_a_trace_of_the_api_alone_is_its_calls(tmp_path: Path) -> None:
    rows = [camel(observation()), camel(observation(id="o2", type="SPAN"))]
    trace = {**camel(TRACE), "observations": rows, "scores": [camel(score())]}
    files = read_rows(tmp_path, trace)
    assert outcome(calls_of(files)["o1"]) == (True, None, "feedback")
    assert set(files.summary.readers) == {"langfuse-api"}


def test_of_nested_generations_the_inner_one_counts_with_what_is_said_of_both(tmp_path: Path) -> None:
    inner = observation(id="o2", parent_observation_id="o1", total_cost=None, cost_details={})
    files = read_rows(tmp_path, observation(), inner, score())
    ((name, call),) = calls_of(files).items()
    assert (name, call["cost_usd"], outcome(call)) == ("o2", 0.003, (True, None, "feedback"))
    assert files.summary.set_apart == {"span around another model call": 1}


def test_a_page_of_the_api_is_read_row_by_row(tmp_path: Path) -> None:
    trace = {**camel(TRACE), "observations": [camel(observation(id="o2"))], "scores": [camel(score())]}
    pages = [{**PAGE, "data": [camel(observation()), camel(score())]}, {**PAGE, "data": [trace]}]
    files = read_rows(tmp_path, *pages)
    assert set(calls_of(files)) == {"o1", "o2"}
    assert set(files.summary.readers) == {"langfuse-api"}
    assert (files.summary.rows, files.summary.joined) == (5, 3)


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        pytest.param(
            {"input": 100, "input_cached_tokens": 80, "output": 5, "total": 105}, (100, 5), id="within"
        ),
        pytest.param(
            {"input": 20, "input_cached_tokens": 80, "output": 5, "total": 105}, (100, 5), id="beside"
        ),
        pytest.param(
            {"input": 9, "output": 5, "output_reasoning": 4, "total": 14}, (9, 5), id="thought within"
        ),
        pytest.param(
            {"input": 9, "output": 5, "output_reasoning": 4, "total": 18}, (9, 9), id="thought beside"
        ),
        pytest.param(
            {"input": 1, "input_cached_tokens": 8, "output": 5, "output_reasoning": 4, "total": 14},
            (9, 5),
            id="one side within, one beside",
        ),
        pytest.param({"input": 20, "input_cached_tokens": 80, "output": 5}, (100, 5), id="no total"),
        pytest.param({"input": "20", "output": 5.0}, (20, 5), id="as text and float"),
        pytest.param(
            {"promptTokens": 20, "completionTokens": 5, "totalTokens": 25}, (20, 5), id="older names"
        ),
    ],
)
def test_a_total_tells_whether_cached_tokens_are_within_the_others(
    tmp_path: Path, usage: Json, tokens: tuple[int, int]
) -> None:
    call = calls_of(read_rows(tmp_path, observation(usage_details=usage)))["o1"]
    assert (call["input_tokens"], call["output_tokens"]) == tokens


@pytest.mark.parametrize(
    ("fields", "tokens"),
    [
        pytest.param({"usage": {"input": 5, "output": 3, "unit": "TOKENS"}}, (5, 3), id="older member"),
        pytest.param(
            {"usage": {"input": 5, "output": 3, "unit": "CHARACTERS"}}, (None, None), id="characters"
        ),
        pytest.param({"usage": {"input": 0, "output": 0}}, (None, None), id="never counted"),
        pytest.param({"prompt_tokens": 0, "completion_tokens": 0}, (None, None), id="defaults"),
        pytest.param({"prompt_tokens": 5, "completion_tokens": 0}, (5, 0), id="an empty answer"),
    ],
)
def test_tokens_are_counts_of_tokens(
    tmp_path: Path, fields: Mapping[str, Json], tokens: tuple[int | None, int | None]
) -> None:
    call = calls_of(read_rows(tmp_path, observation(usage_details={}, **fields)))["o1"]
    assert (call["input_tokens"], call["output_tokens"]) == tokens


def test_a_cost_of_zero_that_only_the_total_states_is_unknown(tmp_path: Path) -> None:
    rows = (observation(total_cost=0, cost_details={"total": 0}),)
    assert calls_of(read_rows(tmp_path, *rows))["o1"]["cost_usd"] is None


@pytest.mark.parametrize("text", ['{"order": 17}', "[5, 3, 9, 1]", "42", "null", '"Which bus?"'])
def test_an_input_that_is_json_text_stays_text(tmp_path: Path, text: str) -> None:
    call = calls_of(read_rows(tmp_path, observation(input=text)))["o1"]
    assert json.loads(call["messages"])[0]["content"] == text


@pytest.mark.parametrize(
    "input",
    [
        pytest.param({"contents": [{"parts": [{"text": "Hi"}]}]}, id="Gemini"),
        pytest.param([{"type": "human", "content": "Hi"}], id="LangChain"),
        pytest.param(
            {"args": [], "kwargs": {"messages": [{"role": "user", "content": "Hi"}]}}, id="observed"
        ),
        pytest.param({"args": ["Hi"], "kwargs": {}}, id="observed text"),
    ],
)
@pytest.mark.parametrize("dump", [json.dumps, lambda value: value], ids=["as text", "as it is"])
def test_inputs_of_other_forms_are_read_as_chat(tmp_path: Path, input: Json, dump: Any) -> None:  # noqa: ANN401
    call = calls_of(read_rows(tmp_path, observation(input=dump(input))))["o1"]
    assert json.loads(call["messages"]) == [{"role": "user", "content": "Hi"}]


@pytest.mark.parametrize("nested", [True, False], ids=["with the observations in the trace", "beside it"])
def test_the_download_of_a_trace_is_its_calls_with_their_scores(tmp_path: Path, nested: bool) -> None:
    seen = {
        "id": "o1",
        "type": "GENERATION",
        "startTime": "2026-06-01T10:00:00Z",
        "parentObservationId": None,
        "model": "gpt-4o",
        "input": "Hi",
        "traceId": "t1",
    }
    thumbs = {"id": "s", "name": "thumbs", "source": "API", "dataType": "BOOLEAN", "value": 1}
    trace = {"id": "t1", "timestamp": "2026-06-01T10:00:00Z", "sessionId": "s1", "bookmarked": False,
             "tags": ["prod"], "scores": [thumbs]}  # fmt: skip
    whole = {**trace, "observations": [seen]} if nested else trace
    (tmp_path / "trace.json").write_text(json.dumps({"trace": whole, "observations": [seen]}, indent=1))
    call = calls_of(read(tmp_path, str(tmp_path / "trace.json")))["o1"]
    assert (*outcome(call), call["tags"], call["session_id"]) == (True, None, "feedback", ["prod"], "s1")


def test_the_table_of_the_pages_has_its_scores_in_columns(tmp_path: Path) -> None:
    row = {
        "id": "o1",
        "traceId": "t1",
        "type": "GENERATION",
        "startTime": "2026-06-01T10:00:00Z",
        "model": "m",
        "parentObservationId": None,
        "input": "Hi",
        "traceName": "chat",
        "traceTags": ["prod"],
        "comments": [],
    }
    rows = ({**row, "quality": ["good"]}, {**row, "id": "o2", "traceId": "t2", "thumbs": [0.0]})
    calls = calls_of(read_rows(tmp_path, *rows))
    assert outcome(calls["o1"]) == (True, None, "evaluation")
    assert outcome(calls["o2"]) == (None, 0.0, "evaluation")
    assert calls["o1"]["tags"] == ["prod"]


def test_a_list_of_one_score_can_be_mapped(tmp_path: Path) -> None:
    rows = write_lines(tmp_path / "rows.jsonl", observation(thumbs=[1]))
    files = read(tmp_path, rows, mapping={"score": "thumbs"})
    assert [row["score"] for frame in files.frames() for row in frame.to_pylist()] == [1.0]
