from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from router.call_log.log import read_rows
from router.call_log.marks import (
    call_marks,
    feedback_mark,
    feedback_marks,
    first_and_last,
    latest_calls,
    places_of,
)
from router.errors import CallLogError
from tests.services.postgres import Postgres
from tests.services.runtime_log import NOON, give, record, write_log

START = datetime.fromtimestamp(NOON, UTC)
HOUR = timedelta(hours=1)
SPANS = [(START, START + HOUR), (START + HOUR, START + 2 * HOUR)]
STORES = [
    pytest.param("SQLite", id="SQLite"),
    pytest.param("lines", id="JSON lines"),
    pytest.param("PostgreSQL", id="PostgreSQL"),
]


@pytest.fixture(params=STORES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A log with a call in the first hour and two in the second."""
    store = request.param
    if store == "PostgreSQL":
        postgres: Postgres = request.getfixturevalue("postgres")
        address = postgres.new_database(f"marks_{abs(hash(request.node.name))}")
    else:
        address = str(tmp_path / ("calls.db" if store == "SQLite" else "calls.jsonl"))
    calls = [record("a"), record("b", time=NOON + 3600), record("c", time=NOON + 3601)]
    return write_log(address, *calls)


def test_marks_stay_the_same_while_nothing_is_written(url: str) -> None:
    for marks in (call_marks, feedback_marks):
        assert marks(url, SPANS) == marks(url, SPANS)
    assert feedback_mark(url) == feedback_mark(url)


def test_a_call_changes_the_mark_of_its_span(url: str) -> None:
    before = call_marks(url, SPANS)
    write_log(url, record("late", time=NOON + 1))
    after = call_marks(url, SPANS)
    assert before[0] != after[0]
    assert url.endswith(".jsonl") or before[1] == after[1]


def test_feedback_changes_the_mark_of_its_calls_span_however_late(url: str) -> None:
    before, whole = feedback_marks(url, SPANS), feedback_mark(url)
    give(url, b=(False, None))
    after = feedback_marks(url, SPANS)
    assert before[1] != after[1]
    assert url.endswith(".jsonl") or before[0] == after[0]
    assert whole != feedback_mark(url)


def test_the_first_and_the_last_call_give_the_logs_time(url: str) -> None:
    assert first_and_last(url) == (START, START + HOUR + timedelta(seconds=1))


def test_the_latest_calls_come_first(url: str) -> None:
    whole = (START, START + 2 * HOUR)
    assert [call_id for call_id, _ in latest_calls(url, whole, 2)] == ["c", "b"]
    assert [call_id for call_id, _ in latest_calls(url, SPANS[0], 2)] == ["a"]


def test_places_are_those_of_calls_that_the_log_has(url: str) -> None:
    assert places_of(url, {"a", "nobody"}) == [("a", START)]


@pytest.mark.parametrize(
    "ask",
    [
        pytest.param(lambda url: call_marks(url, SPANS), id="call_marks"),
        pytest.param(lambda url: feedback_marks(url, SPANS), id="feedback_marks"),
        pytest.param(feedback_mark, id="feedback_mark"),
        pytest.param(first_and_last, id="first_and_last"),
        pytest.param(lambda url: latest_calls(url, SPANS[0], 1), id="latest_calls"),
        pytest.param(lambda url: places_of(url, {"a"}), id="places_of"),
    ],
)
@pytest.mark.parametrize("name", ["calls.db", "calls.jsonl"])
def test_a_log_that_is_not_there_is_refused(name: str, ask: Callable[[str], object], tmp_path: Path) -> None:
    with pytest.raises(CallLogError, match="no such call log"):
        ask(str(tmp_path / name))


def test_rows_can_be_read_without_columns_that_nobody_wants(url: str) -> None:
    whole = list(read_rows(url))
    some = list(read_rows(url, columns={"call_id", "time", "tags"}))
    assert [(row["call_id"], row["time"], row["tags"]) for row in some] == [
        (row["call_id"], row["time"], row["tags"]) for row in whole
    ]
    assert {row["messages"] for row in some} == {row["cost_usd"] for row in some} == {None}
