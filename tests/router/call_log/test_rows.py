from __future__ import annotations

import json
import math
from dataclasses import fields
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.call_log.rows import (
    COLUMNS,
    FLAGS,
    IDENTIFIERS,
    JSON_COLUMNS,
    NUMBERS,
    WHOLE_NUMBERS,
    CallRecord,
    fit_identifier,
    fit_row,
    row_from_json,
    row_line,
    row_to_json,
)
from router.records import Json
from tests.router.call_log.call_records import record

CANONICAL = (
    "call_id session_id time messages tools response_format task_type tags model success score "
    "outcome_source cost_usd input_tokens output_tokens latency_s propensity policy_version decision_source "
    "confidence truncated "
)
ANYTHING = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.datetimes()
    | st.lists(st.text() | st.integers()) | st.dictionaries(st.text(), st.floats())
)  # fmt: skip


def values_of(call: CallRecord) -> dict[str, Json]:
    return {field.name: getattr(call, field.name) for field in fields(call)}


def fitted(name: str, value: object) -> Json:
    return fit_row({"call_id": "a", "time": 0.0, name: value})[name]


def test_the_columns_start_with_the_canonical_ones() -> None:
    assert " ".join(COLUMNS).startswith(CANONICAL)


def test_every_special_column_exists() -> None:
    assert set(COLUMNS).issuperset(NUMBERS | WHOLE_NUMBERS | FLAGS | JSON_COLUMNS)
    assert IDENTIFIERS.issuperset({"call_id", "session_id", "request_id"})


@pytest.mark.parametrize(
    ("name", "value", "stored"),
    [
        pytest.param("cost_usd", 0.25, 0.25, id="number"),
        pytest.param("cost_usd", np.float32(0.25), 0.25, id="number of numpy's"),
        pytest.param("cost_usd", math.nan, None, id="unknown number"),
        pytest.param("cost_usd", math.inf, None, id="infinite number"),
        pytest.param("latency_s", 10**400, None, id="number too large"),
        pytest.param("latency_s", "fast", None, id="text for a number"),
        pytest.param("input_tokens", 12, 12, id="whole number"),
        pytest.param("input_tokens", np.int64(12), 12, id="whole number of numpy's"),
        pytest.param("input_tokens", 12.0, 12, id="whole number as a float"),
        pytest.param("input_tokens", 12.5, None, id="broken number"),
        pytest.param("input_tokens", 2**63, None, id="whole number too large"),
        pytest.param("success", True, True, id="flag"),
        pytest.param("success", np.bool_(False), False, id="flag of numpy's"),
        pytest.param("success", "yes", None, id="text for a flag"),
        pytest.param("truncated", None, False, id="unknown flag that has a default"),
        pytest.param("task_type", "a\x00b\ud800", "a\ufffdb\ufffd", id="text that databases refuse"),
        pytest.param("task_type", 7, "7", id="number for a text"),
        pytest.param("tags", ("a", 1), '["a","1"]', id="tags"),
        pytest.param("tags", None, "[]", id="no tags"),
        pytest.param("notes", "one", '["one"]', id="one note"),
        pytest.param(
            "alternatives", {"small": 0.5, "large": math.nan}, '{"small":0.5,"large":null}', id="odds"
        ),
        pytest.param("time", "soon", None, id="no time"),
    ],
)
def test_a_value_is_made_fit_for_its_column(name: str, value: object, stored: Json) -> None:
    found = fitted(name, value)
    assert found == stored or (name == "time" and found.tzinfo is UTC)


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(1_790_000_000.25, id="seconds"),
        pytest.param(datetime.fromtimestamp(1_790_000_000.25, UTC), id="moment"),
        pytest.param(datetime.fromtimestamp(1_790_000_000.25, timezone(timedelta(hours=9))), id="elsewhere"),
        pytest.param(datetime.fromtimestamp(1_790_000_000.25, UTC).replace(tzinfo=None), id="without a zone"),
    ],
)
def test_a_time_is_stored_in_utc(moment: object) -> None:
    assert fitted("time", moment) == datetime.fromtimestamp(1_790_000_000.25, UTC)


def test_a_call_without_a_name_gets_one() -> None:
    assert len(fit_row({"call_id": ""})["call_id"]) == 32


def test_a_long_identifier_becomes_its_hash_so_that_an_index_takes_it() -> None:
    long = fit_identifier("x" * 5000)
    assert long is not None
    assert len(long) < 100
    assert long == fit_identifier("x" * 5000) != fit_identifier("y" * 5000)


@given(st.sampled_from(COLUMNS), ANYTHING)
def test_whatever_a_column_is_given_the_row_can_be_written_as_a_line(name: str, value: object) -> None:
    values = values_of(record()) | {"messages": '[{"role":"user"}]'}
    if name not in ("messages", "tools", "response_format"):
        values[name] = value
    row = fit_row(values)
    assert json.loads(row_line(row).encode()).keys() == set(COLUMNS)


def test_a_line_holds_nested_json_and_not_text_of_it() -> None:
    row = fit_row(values_of(record(tags=["a"])) | {"messages": '[{"role":"user","content":"hi"}]'})
    line = json.loads(row_line(row))
    assert (line["messages"], line["tags"]) == ([{"role": "user", "content": "hi"}], ["a"])


@given(st.text(), st.floats(0, 1), st.integers(0, 2**62), st.booleans())
def test_a_line_is_read_back_as_the_row_it_was(task: str, score: float, tokens: int, success: bool) -> None:
    call = record(task_type=task, score=score, input_tokens=tokens, success=success, notes=[task])
    row = fit_row(values_of(call) | {"messages": '[{"role":"user","content":"hi"}]'})
    assert row_from_json(json.loads(row_line(row)), COLUMNS) == row


def test_a_line_without_a_time_is_no_row() -> None:
    with pytest.raises(ValueError, match="Invalid isoformat string"):
        row_from_json({"call_id": "a"}, COLUMNS)


def test_a_stored_row_becomes_plain_json_with_its_time_in_utc() -> None:
    row = row_to_json(fit_row(values_of(record(time=0.5, tags=["a"])) | {"messages": "[]"}))
    assert (row["time"], row["tags"], row["messages"]) == ("1970-01-01T00:00:00.500000Z", ["a"], [])
