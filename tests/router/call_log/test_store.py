from __future__ import annotations

import json
import logging
import os
import sqlite3
import sys
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, inspect, make_url, text

from router.call_log import sqlite_file, sqlite_rows
from router.call_log.address import LogAddress
from router.call_log.rows import COLUMNS, Row, fit_row
from router.call_log.store import DatabaseStore, check_driver
from router.call_log.tables import SHAPE
from router.errors import CallLogError, MissingExtra
from router.records import Json
from tests.router.call_log.call_records import call_ids, only_row, rows_of, run_python
from tests.services.postgres import PASSWORD, Postgres

EVERYTHING = {
    "call_id": "a", "session_id": "s", "time": 1_790_000_000.123456,
    "messages": '[{"role":"user","content":"\\u0000\u00fc"}]', "tools": "[]",
    "response_format": '{"type":"json_object"}', "task_type": "m\u00e4th", "tags": ["x"], "model": "small",
    "success": True, "score": 0.1, "outcome_source": "evaluation", "cost_usd": 1e-9, "input_tokens": 2**62,
    "output_tokens": 0, "latency_s": 0.3, "propensity": 1.0, "policy_version": "v",
    "decision_source": "learned", "confidence": 0.9, "truncated": True, "prompt_key": "k", "request_id": "r",
    "attempt": 1, "chosen_model": "large", "error": "timeout: Timeout", "finish_reason": "stop",
    "cached_input_tokens": 1, "reasoning_tokens": 2, "first_token_s": 0.1, "stream": False,
    "baseline_model": "large", "baseline_cost_usd": 0.5, "expected_cost_usd": 0.25, "shadow_model": "small",
    "shadow_confidence": 0.5, "notes": ["dropped seed"], "alternatives": {"small": 0.9, "large": None},
    "effort": "low", "served_model": "small-2026-11-01", "cache_write_tokens": 3,
}  # fmt: skip
MAKE_AT_ONCE = """
import os, sys
from router.call_log.address import LogAddress
from router.call_log.rows import fit_row
from router.call_log.store import DatabaseStore
workers = 8
ready, start = os.pipe(), os.pipe()
children = []
for worker in range(workers):
    child = os.fork()
    if child == 0:
        os.close(start[1])
        store = DatabaseStore(LogAddress.of(sys.argv[1]))
        os.write(ready[1], b".")
        os.read(start[0], 1)  # ends for all children at once, when the parent closes the pipe
        try:
            name = f"call-{worker}"
            store.append_calls([fit_row({"call_id": name, "time": 1.0, "model": "small"})])
            store.append_feedback([fit_row({"feedback_id": name, "call_id": name, "time": 1.0})])
            store.close()
        except BaseException as error:
            print("failed:", repr(error), flush=True)
            os._exit(1)
        os._exit(0)
    children.append(child)
waiting = workers
while waiting:
    waiting -= len(os.read(ready[0], waiting))
os.close(start[1])
os._exit(max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
"""


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a new log, in each of the databases."""
    if request.param == "sqlite":
        return str(tmp_path / "calls.db")
    server: Postgres = request.getfixturevalue("postgres")
    return server.new_database(tmp_path.name)


@pytest.fixture
def store(url: str) -> Iterator[DatabaseStore]:
    store = DatabaseStore(LogAddress.of(url))
    yield store
    store.close()


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    """The same database, as the team's own program sees it."""
    address = LogAddress.of(url)
    known = make_url(address.url) if address.url else make_url(f"sqlite:///{address.path}")
    engine = create_engine(known)
    yield engine
    engine.dispose()


def run(engine: Engine, *statements: str) -> None:
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


def row(call_id: str, **values: Json) -> Row:
    return fit_row(dict.fromkeys(COLUMNS) | {"call_id": call_id, "time": 1.0, "model": "small", **values})


def verdict(call_id: str, number: int, **values: Json) -> Row:
    names = {"success": None, "score": None, "source": "user"}
    return fit_row({"feedback_id": f"f-{number}", "call_id": call_id, "time": number, **names, **values})


def test_every_column_comes_back_as_it_was(store: DatabaseStore, url: str) -> None:
    store.append_calls([fit_row(EVERYTHING)])
    found = only_row(url)
    texts = {name: json.loads(EVERYTHING[name]) for name in ("messages", "tools", "response_format")}  # type: ignore[arg-type]
    assert found == {**EVERYTHING, **texts, "time": "2026-09-21T14:13:20.123456Z"}
    assert tuple(found) == COLUMNS


def test_null_comes_back_as_null(store: DatabaseStore, url: str) -> None:
    store.append_calls([fit_row(dict.fromkeys(COLUMNS) | {"call_id": "a", "time": 0.0})])
    given = {
        "call_id": "a",
        "time": "1970-01-01T00:00:00.000000Z",
        "tags": [],
        "notes": [],
        "truncated": False,
    }
    assert only_row(url) == dict.fromkeys(COLUMNS) | given


def test_rows_come_by_time_and_then_by_call_id(store: DatabaseStore, url: str) -> None:
    store.append_calls([row("c", time=3.0), row("b", time=2.0), row("a", time=2.0), row("d", time=1.0)])
    assert call_ids(url) == ["d", "a", "b", "c"]


@pytest.mark.parametrize(
    ("since", "until", "found"),
    [
        pytest.param(None, None, ["a", "b", "c"], id="all"),
        pytest.param(2.0, None, ["b", "c"], id="from its first moment"),
        pytest.param(None, 2.0, ["a"], id="up to and without its last"),
        pytest.param(1.5, 2.5, ["b"], id="between"),
    ],
)
def test_a_time_can_be_asked_for(
    store: DatabaseStore, since: float | None, until: float | None, found: list[str]
) -> None:
    store.append_calls([row("a", time=1.0), row("b", time=2.0), row("c", time=3.0)])
    first, last = (None if at is None else datetime.fromtimestamp(at, UTC) for at in (since, until))
    assert [one["call_id"] for one in store.read(first, last)] == found


def test_a_row_that_is_there_already_is_left_alone(store: DatabaseStore, url: str) -> None:
    store.append_calls([row("a", score=0.5), row("b")])
    assert store.append_calls([row("a", score=0.9), row("b"), row("c")]) == []
    assert [(one["call_id"], one["score"]) for one in rows_of(url)] == [("a", 0.5), ("b", None), ("c", None)]


@pytest.mark.parametrize(
    ("verdicts", "outcome"),
    [
        pytest.param([], (False, 0.5, "error"), id="none"),
        pytest.param([{"success": True}], (True, 0.5, "user"), id="success only"),
        pytest.param([{"score": 1.0}], (False, 1.0, "user"), id="score only"),
        pytest.param(
            [{"success": True}, {"success": False, "score": 0.0}], (False, 0.0, "user"), id="changed"
        ),
        pytest.param([{"score": 1.0}, {"success": True}], (True, 0.5, "user"), id="only the latest"),
    ],
)
def test_the_feedback_that_arrived_last_replaces_the_outcome(
    store: DatabaseStore, url: str, verdicts: list[dict[str, Json]], outcome: tuple[Json, ...]
) -> None:
    for number, values in enumerate(verdicts):  # each arrives later than the last, by an earlier clock
        store.append_feedback([verdict("a", 1_000 - number, **values)])
    store.append_calls([row("a", success=False, score=0.5, outcome_source="error"), row("b")])
    found = rows_of(url)[0]
    assert (found["success"], found["score"], found["outcome_source"]) == outcome
    assert len(rows_of(url)) == 2


def test_feedback_of_one_batch_arrives_in_its_order(store: DatabaseStore, url: str) -> None:
    store.append_calls([row("a")])
    store.append_feedback([verdict("a", 1_000 - number, score=number / 10) for number in range(10)])
    assert only_row(url)["score"] == 0.9


def test_feedback_of_an_earlier_version_on_a_server_comes_first(postgres: Postgres, tmp_path: Path) -> None:
    url = postgres.new_database(tmp_path.name)
    store = DatabaseStore(LogAddress.of(url))
    store.append_calls([row("a")])
    store.append_feedback([verdict("a", 5, score=0.5), verdict("a", 4, score=0.4)])
    store.close()
    postgres.execute("ALTER TABLE feedback DROP COLUMN arrival", tmp_path.name)
    assert only_row(url)["score"] == 0.5
    store.append_feedback([verdict("a", 1, score=0.1)])
    store.close()
    assert only_row(url)["score"] == 0.1


def test_feedback_written_twice_counts_once(store: DatabaseStore, engine: Engine) -> None:
    store.append_feedback([verdict("a", 1, success=True)])
    store.append_feedback([verdict("a", 1, success=True), verdict("a", 2, success=True)])
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM feedback")).scalar() == 2


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param({"input_tokens": 2**80}, id="number too large"),
        pytest.param({"model": "a\ud800"}, id="lone surrogate"),
        pytest.param({"call_id": None}, id="no key"),
    ],
)
def test_a_row_that_can_never_be_stored_does_not_stop_the_others(
    store: DatabaseStore, url: str, bad: dict[str, Json]
) -> None:
    rows = [row("a"), {**row("bad", error="the prompt"), **bad}, row("b")]
    (reason,) = store.append_calls(rows)
    assert "the prompt" not in reason
    assert {"a", "b"} <= set(call_ids(url)) <= {"a", "b", None}


def test_a_rule_of_the_teams_own_on_the_table_stops_only_its_row(
    store: DatabaseStore, url: str, engine: Engine
) -> None:
    store.append_calls([row("a", session_id="s1")])
    run(engine, "CREATE UNIQUE INDEX one_per_session ON calls (session_id)")
    assert len(store.append_calls([row("b", session_id="s2"), row("c", session_id="s1")])) == 1
    assert call_ids(url) == ["a", "b"]


def test_processes_that_start_together_make_the_tables_once(url: str) -> None:
    assert "failed" not in run_python(MAKE_AT_ONCE, url)
    assert call_ids(url) == [f"call-{worker}" for worker in range(8)]


def test_columns_that_an_earlier_version_did_not_have_are_added(
    store: DatabaseStore, url: str, engine: Engine
) -> None:
    store.append_calls([row("a", shadow_model="old")])
    store.close()
    run(engine, "ALTER TABLE calls DROP COLUMN shadow_model", "ALTER TABLE calls DROP COLUMN stream")
    assert only_row(url)["shadow_model"] is None
    store.append_calls([row("b", shadow_model="new", stream=True, time=2.0)])
    assert [(one["shadow_model"], one["stream"]) for one in rows_of(url)] == [(None, None), ("new", True)]


def test_a_column_of_a_later_version_is_left_alone(store: DatabaseStore, url: str, engine: Engine) -> None:
    store.append_calls([row("a")])
    store.close()
    run(engine, "ALTER TABLE calls ADD COLUMN mood TEXT")
    store.append_calls([row("b")])
    assert call_ids(url) == ["a", "b"]
    assert "mood" not in rows_of(url)[0]


def test_a_log_of_a_later_shape_is_refused(store: DatabaseStore, url: str, engine: Engine) -> None:
    store.append_calls([row("a")])
    store.close()
    run(engine, f"UPDATE pointsman_log SET shape = {SHAPE + 1}")
    for use in (lambda: rows_of(url), lambda: store.append_calls([row("b")])):
        with pytest.raises(CallLogError, match=r"later version .* upgrade pointsman"):
            use()


@pytest.mark.parametrize("table", ["calls", "feedback"])
def test_a_table_of_somebody_elses_is_not_touched(
    store: DatabaseStore, url: str, engine: Engine, table: str
) -> None:
    run(engine, f"CREATE TABLE {table} (number INTEGER)")
    for use in (lambda: rows_of(url), lambda: store.append_calls([row("b")])):
        with pytest.raises(CallLogError, match=f"table '{table}' that pointsman did not make"):
            use()
    assert inspect(engine).get_table_names() == [table]


def test_a_database_without_a_log_is_refused(url: str, engine: Engine) -> None:
    run(engine, "CREATE TABLE other (number INTEGER)")
    with pytest.raises(CallLogError, match="holds no call log"):
        rows_of(url)


def test_the_store_goes_on_after_it_was_closed(store: DatabaseStore, url: str) -> None:
    store.append_calls([row("a")])
    store.close()
    store.close()
    store.append_calls([row("b")])
    assert call_ids(url) == ["a", "b"]


def test_a_large_log_is_read_in_little_memory(tmp_path: Path) -> None:
    store = DatabaseStore(LogAddress.of(tmp_path / "calls.db"))
    size = 20_000
    for start in range(0, 3000, 500):
        store.append_calls([row(f"{start + n:05}", messages=f'"{"x" * size}"') for n in range(500)])
    tracemalloc.start()
    try:
        count = sum(1 for _ in store.read())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        store.close()
    assert count == 3000
    assert peak < count * size * 0.75


def test_readers_and_the_writer_of_a_file_do_not_wait_for_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_rows, "_AT_ONCE", 1)
    monkeypatch.setattr(sqlite_file, "BUSY_S", 0.0)
    path = tmp_path / "calls.db"
    store = DatabaseStore(LogAddress.of(path))
    store.append_calls([row("a"), row("c")])
    reading = store.read()
    assert next(reading)["call_id"] == "a"
    store.append_calls([row("b"), row("d")])
    store.append_feedback([verdict("c", 1, success=True)])
    assert [(one["call_id"], one["success"]) for one in reading] == [("c", None)]


def test_nothing_is_left_beside_a_file(tmp_path: Path) -> None:
    path = tmp_path / "calls.db"
    DatabaseStore(LogAddress.of(path)).append_calls([row("a")])
    assert list(tmp_path.iterdir()) == [path]


def test_a_log_that_an_earlier_version_left_in_wal_mode_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "calls.db"
    store = DatabaseStore(LogAddress.of(path))
    store.append_calls([row("a")])
    earlier = sqlite3.connect(path, isolation_level=None)
    assert earlier.execute("PRAGMA journal_mode=WAL").fetchone() == ("wal",)
    earlier.execute(
        "INSERT INTO calls (call_id, time, tags, notes, truncated) SELECT 'b', time, '[]', '[]', 0 FROM calls"
    )
    store.append_calls([row("c")])
    assert call_ids(path) == ["a", "b", "c"]
    earlier.close()
    store.append_calls([row("d")])
    assert call_ids(path) == ["a", "b", "c", "d"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_was_removed_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "calls.db"
    store = DatabaseStore(LogAddress.of(path))
    store.append_calls([row("a")])
    path.rename(tmp_path / "old.db")
    store.append_calls([row("b")])
    store.close()
    assert (call_ids(path), call_ids(tmp_path / "old.db")) == (["b"], ["a"])


def test_a_path_with_signs_that_mean_something_in_an_address(tmp_path: Path) -> None:
    path = tmp_path / "50% of #1?" / "calls&more.db"
    store = DatabaseStore(LogAddress.of(path))
    store.append_calls([row("a")])
    assert call_ids(path) == ["a"]
    store.close()


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "calls.db"
    path.write_text("no database " * 1000, encoding="utf-8")
    with pytest.raises(CallLogError, match=r"calls\.db: can't be read: file is not a database"):
        rows_of(path)
    with pytest.raises(CallLogError, match="file is not a database"):
        DatabaseStore(LogAddress.of(path)).append_calls([row("a")])


def test_a_folder_that_can_not_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(CallLogError, match="File exists"):
        DatabaseStore(LogAddress.of(tmp_path / "file" / "calls.db")).append_calls([row("a")])


def test_a_locked_database_is_an_error_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_file, "BUSY_S", 0.05)
    path = tmp_path / "calls.db"
    store = DatabaseStore(LogAddress.of(path))
    store.append_calls([row("a")])
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(CallLogError, match="database is locked"):
        store.append_calls([row("b")])
    other.execute("ROLLBACK")
    store.append_calls([row("b")])
    store.close()
    assert call_ids(path) == ["a", "b"]


def test_a_log_on_a_disk_that_can_not_be_written_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "calls.db"
    store = DatabaseStore(LogAddress.of(path))
    store.append_calls([row("a")])
    store.close()
    monkeypatch.setattr(os, "access", lambda *asked: False)  # root may write anywhere
    assert call_ids(path) == ["a"]
    assert not path.with_name("calls.db-wal").exists()


def test_postgres_takes_its_password_from_the_environment(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    postgres.new_database(tmp_path.name)
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    url = postgres.url(tmp_path.name, password=None)
    store = DatabaseStore(LogAddress.of(url))
    store.append_calls([row("a")])
    assert call_ids(url) == ["a"]
    store.close()


def test_no_error_shows_the_password(postgres: Postgres, caplog: pytest.LogCaptureFixture) -> None:
    wrong = "hunter2hunter2"
    url = postgres.url("nowhere").replace(":p%", f":{wrong}%")
    with caplog.at_level(logging.DEBUG), pytest.raises(CallLogError, match="authentication failed") as caught:
        rows_of(url)
    told = f"{caught.value}{caught.value.__cause__}{caplog.text}"
    assert wrong not in told
    assert PASSWORD not in told


def test_a_schema_of_its_own_keeps_the_log_apart(postgres: Postgres, tmp_path: Path) -> None:
    url = postgres.new_database(tmp_path.name)
    postgres.execute("CREATE TABLE calls (number INTEGER)", tmp_path.name)
    postgres.execute("CREATE SCHEMA pointsman", tmp_path.name)
    apart = f"{url}?options=-csearch_path%3Dpointsman"
    store = DatabaseStore(LogAddress.of(apart))
    store.append_calls([row("a")])
    assert call_ids(apart) == ["a"]
    store.close()


def test_a_driver_that_is_not_installed_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingExtra, match=r"'psycopg'.*pointsman\[postgres\]"):
        check_driver(LogAddress.of("postgresql://ann@db/logs"))
