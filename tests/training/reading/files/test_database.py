from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from router.call_log.log import CallLog
from router.errors import CallLogError, MissingExtra
from router.records import Json, prompt_key
from tests.services.postgres import Postgres
from tests.services.runtime_log import failed, fill, give, record, write_log
from tests.training.logs import read
from training.commands import tables
from training.reading.calls import write_calls
from training.reading.files.raw import RawBatch
from training.reading.rows import source_rows
from training.reading.rows.own_log import read_batches
from training.reading.rows.recognising import find_files


def batches_of(log: str) -> Iterator[RawBatch]:
    return read_batches(find_files([log], {})[0])


def canonical(folder: Path, *sources: str, **settings: Json) -> list[dict[str, Json]]:
    """The rows that `pointsman import` writes."""
    write_calls(read(folder, *sources, **settings), folder / "out.parquet")
    return list(pq.read_table(folder / "out.parquet").to_pylist())


def change(log: str, statement: str) -> None:
    """Do to a database what pointsman would not."""
    with sqlite3.connect(log) as connection:
        connection.execute(statement)
    connection.close()


# What is read


@pytest.mark.parametrize("name", ["calls.db", "calls.sqlite", "calls.sqlite3", "CALLS.DB"])
def test_a_file_with_an_ending_of_sqlites_is_a_database(tmp_path: Path, name: str) -> None:
    write_log(tmp_path / "calls.db", record())
    (tmp_path / "calls.db").rename(tmp_path / name)
    assert find_files([str(tmp_path / name)], {})[0].kind == "database"


def test_every_field_that_the_runtime_knows_is_read(tmp_path: Path) -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    fields = {
        "session_id": "s", "task_type": "code", "tags": ["a", "b"], "propensity": 0.9, "policy_version": "v",
        "confidence": 0.7, "truncated": True, "success": True, "score": 0.75, "outcome_source": "judge",
    }  # fmt: skip
    form = {"type": "json_object"}
    log = write_log(tmp_path / "calls.db", record("c1", tools=tools, response_format=form, **fields))
    (row,) = canonical(tmp_path, log)
    assert {name: row[name] for name in fields} == fields
    assert [json.loads(row[name]) for name in ("tools", "response_format")] == [tools, form]
    assert (row["call_id"], row["model"], row["cost_usd"], row["output_tokens"]) == ("c1", "small", 0.001, 20)
    assert row["time"].isoformat() == "2026-09-14T12:00:00+00:00"


def test_a_number_of_any_size_is_read(tmp_path: Path) -> None:
    messages = [{"role": "user", "content": "x", "n": 10**30}]
    (row,) = canonical(tmp_path, write_log(tmp_path / "calls.db", record(messages=messages)))
    assert json.loads(row["messages"]) == messages


def test_the_latest_feedback_is_the_outcome(tmp_path: Path) -> None:
    log = write_log(tmp_path / "calls.db", record("a", success=True), record("b"))
    give(log, a=(False, None), b=(None, 0.25))
    rows = {row["call_id"]: row for row in canonical(tmp_path, log)}
    assert (rows["a"]["success"], rows["a"]["outcome_source"]) == (False, "test")
    assert (rows["b"]["success"], rows["b"]["score"]) == (None, 0.25)


def test_the_runtimes_own_columns_are_not_called_unused(tmp_path: Path) -> None:
    log = write_log(tmp_path / "calls.db", record())
    assert read(tmp_path, log).summary.ignored_columns == []


def test_a_field_can_be_read_from_another_column(tmp_path: Path) -> None:
    log = write_log(tmp_path / "calls.db", record(confidence=0.25))
    (row,) = canonical(tmp_path, log, mapping={"score": "confidence"})
    assert (row["score"], row["confidence"]) == (0.25, None)


def test_a_mapping_of_an_unknown_column_is_refused(tmp_path: Path) -> None:
    log = write_log(tmp_path / "calls.db", record())
    with pytest.raises(CallLogError, match=r"calls\.db: no column 'won', which 'success' is mapped to"):
        find_files([log], {"success": "won"})


def test_a_database_and_files_are_read_together(tmp_path: Path) -> None:
    log = write_log(tmp_path / "calls.db", record("a"), record("b"))
    (tmp_path / "more.jsonl").write_text('{"prompt": "x", "model": "m"}\n')
    summary = read(tmp_path, log, str(tmp_path / "more.jsonl")).summary
    assert (summary.rows, summary.calls, summary.files) == (3, 3, [log, str(tmp_path / "more.jsonl")])


# Rows that are turned away, and rows without their text


def test_a_bad_row_is_named_with_its_file_its_number_and_its_call(tmp_path: Path) -> None:
    log = write_log(tmp_path / "calls.db", *(record(f"c{number}") for number in range(3)))
    change(log, "UPDATE calls SET cost_usd = -1 WHERE call_id = 'c1'")
    summary = read(tmp_path, log, rejects=tmp_path / "rejects.jsonl").summary
    assert (summary.rows, summary.calls) == (3, 2)
    assert list(map(str, summary.rejects)) == [
        f"1 x cost_usd is negative, first {log}: row 2 (call_id c1): -1.0"
    ]
    (reject,) = map(json.loads, (tmp_path / "rejects.jsonl").read_text().splitlines())
    assert {name: reject[name] for name in ("file", "line", "call_id", "reason")} == {
        "file": log, "line": 2, "call_id": "c1", "reason": "cost_usd is negative",
    }  # fmt: skip
    assert json.loads(reject["raw"])["messages"] == [{"role": "user", "content": "2 + 2?"}]


def test_rows_without_their_text_are_counted_and_are_no_rejects(tmp_path: Path) -> None:
    log = write_log(tmp_path / "calls.db", *(record(f"h{number}") for number in range(9)), text="hash")
    write_log(log, record("whole"))
    summary = read(tmp_path, log, max_reject_share=0.0, rejects=tmp_path / "rejects.jsonl").summary
    assert (summary.rows, summary.calls, summary.without_text, summary.rejected) == (10, 1, 9, 0)
    assert not (tmp_path / "rejects.jsonl").exists()


def test_the_reason_is_told_to_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = write_log(tmp_path / "calls.db", record("a"), text="hash")
    write_log(log, record("b"))
    tables.show_read_summary(read(tmp_path, log).summary)
    told = capsys.readouterr().out
    assert told == "2 rows in 1 file: 1 call, 1 whose text was not kept (log.text: hash)\n"


def test_a_log_without_any_text_is_told_what_to_change(tmp_path: Path) -> None:
    log = write_log(tmp_path / "calls.db", record("a"), record("b"), text="hash")
    reason = r"\(2 rows\): in 2 of them the text was not kept \(log\.text: hash\).* log\.text 'full'"
    with pytest.raises(CallLogError, match=reason):
        read(tmp_path, log)


def test_an_empty_log_is_told_so(tmp_path: Path) -> None:
    give(tmp_path / "calls.db", early=(True, None))
    with pytest.raises(
        CallLogError, match=r"no readable call in .*calls\.db \(0 rows\); the files are empty"
    ):
        read(tmp_path, str(tmp_path / "calls.db"))


def test_redacted_text_is_read_as_it_was_kept(tmp_path: Path) -> None:
    log = write_log(tmp_path / "calls.db", record(), text="redacted", redact=lambda text: "[number] + 2?")
    files = read(tmp_path, log)
    frame = files.bucket(0)
    assert frame is not None
    expected = prompt_key([{"role": "user", "content": "[number] + 2?"}])
    assert frame.to_pydict()["prompt_key"] == [expected]


# Failed attempts


def test_a_failed_attempt_of_unknown_outcome_is_a_call_without_label(tmp_path: Path) -> None:
    log = write_log(tmp_path / "calls.db", record("a", success=True), failed("a-1"))
    row = next(row for row in canonical(tmp_path, log) if row["call_id"] == "a-1")
    assert (row["success"], row["score"], row["cost_usd"]) == (None, None, None)


def test_a_failed_attempt_that_cost_nothing_is_not_a_free_call(tmp_path: Path) -> None:
    nothing = {"cost_usd": 0.0, "input_tokens": 0, "output_tokens": 0}
    log = write_log(tmp_path / "calls.db", failed("a-1", **nothing), record("a", **nothing))
    rows = {row["call_id"]: (row["cost_usd"], row["output_tokens"]) for row in canonical(tmp_path, log)}
    assert rows == {"a-1": (None, None), "a": (0.0, 0)}


def test_what_a_broken_answer_did_cost_is_kept(tmp_path: Path) -> None:
    spent = {"error": "cancelled", "cost_usd": 0.5, "input_tokens": 10, "output_tokens": 3}
    (row,) = canonical(tmp_path, write_log(tmp_path / "calls.db", failed("a", **spent)))
    assert (row["cost_usd"], row["input_tokens"], row["output_tokens"]) == (0.5, 10, 3)


def test_a_failure_of_the_models_own_is_a_label(tmp_path: Path) -> None:
    blamed = {"error": "context_window: E", "success": False, "outcome_source": "error"}
    (row,) = canonical(tmp_path, write_log(tmp_path / "calls.db", failed("a", **blamed)))
    assert (row["success"], row["outcome_source"]) == (False, "error")


def test_an_answer_of_a_fallback_has_no_propensity_and_is_kept(tmp_path: Path) -> None:
    log = write_log(tmp_path / "calls.db", record(decision_source="fallback", success=True))
    (row,) = canonical(tmp_path, log)
    assert (row["success"], row["propensity"], row["decision_source"]) == (True, None, "fallback")


# A log that is in use, and one that is large


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_rows, "BATCH_ROWS", 4)


@pytest.mark.usefixtures("small_batches")
def test_a_log_is_read_in_parts_whose_rows_are_numbered_through(tmp_path: Path) -> None:
    log = write_log(tmp_path / "calls.db", *(record(f"c{number}") for number in range(10)))
    assert [list(batch.rows.lines) for batch in batches_of(log)] == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10]]


def test_a_part_of_a_log_is_limited_by_its_bytes_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_rows, "BATCH_BYTES", 10_000)
    texts = [{"role": "user", "content": "x" * 6000}]
    log = write_log(tmp_path / "calls.db", *(record(f"c{number}", messages=texts) for number in range(4)))
    assert [len(batch.rows.lines) for batch in batches_of(log)] == [2, 2]


@pytest.mark.usefixtures("small_batches")
def test_calls_that_are_logged_meanwhile_are_left_for_the_next_time(tmp_path: Path) -> None:
    log = write_log(tmp_path / "calls.db", *(record(f"c{number}") for number in range(10)))
    batches = batches_of(log)
    rows = len(next(batches).rows.lines)
    write_log(log, *(record(f"d{number}") for number in range(10)))
    give(log, c9=(True, None))
    rest = [batch.rows for batch in batches]
    assert rows + sum(len(some.lines) for some in rest) == 10
    assert rest[-1].columns["success"][-1] is None


def test_a_log_that_is_open_for_writing_is_read(tmp_path: Path) -> None:
    log = CallLog.open(tmp_path / "calls.db")
    log.write(record())
    assert log.flush(60)
    assert read(tmp_path, str(tmp_path / "calls.db")).summary.calls == 1
    fill(log, [record("c2")])
    assert read(tmp_path, str(tmp_path / "calls.db")).summary.calls == 2


def test_progress_ends_at_the_whole(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    log = write_log(tmp_path / "calls.db", record())
    read(tmp_path, log, progress=lambda done, total: seen.append((done, total)))
    assert 0 < seen[0][0] <= seen[-1][0] == seen[-1][1]


def test_the_digest_is_that_of_the_rows_and_their_feedback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = write_log(tmp_path / "one.db", record("a"), record("b"))
    two = write_log(tmp_path / "two.db", record("b"), record("a"))
    first = read(tmp_path, one).summary.digest
    monkeypatch.setattr(source_rows, "BATCH_ROWS", 1)
    assert read(tmp_path, two).summary.digest == first
    give(two, a=(True, None))
    assert read(tmp_path, two).summary.digest != first


# Databases that hold no log


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "calls.db").write_bytes(b"no database at all " * 99)
    with pytest.raises(CallLogError, match=r"calls\.db: can't be read: file is not a database"):
        find_files([str(tmp_path / "calls.db")], {})


@pytest.mark.parametrize(
    ("table", "message"),
    [
        pytest.param("other", r"calls\.db: holds no call log", id="another application's"),
        pytest.param("calls", r"calls\.db: holds a table 'calls' that pointsman did not make", id="foreign"),
    ],
)
def test_a_database_without_a_log_is_refused(tmp_path: Path, table: str, message: str) -> None:
    change(str(tmp_path / "calls.db"), f"CREATE TABLE {table} (x)")
    with pytest.raises(CallLogError, match=message):
        find_files([str(tmp_path / "calls.db")], {})


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "calls.db").touch()
    with pytest.raises(CallLogError, match=r"calls\.db: holds no call log"):
        find_files([str(tmp_path / "calls.db")], {})


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CallLogError, match=r"gone\.db: no such file"):
        find_files([str(tmp_path / "gone.db")], {})


def test_an_address_of_another_kind_of_server_is_refused() -> None:
    with pytest.raises(CallLogError, match=r"^mysql://(?!.*hush).*no store has such an address"):
        find_files(["mysql://me:hush@host/x"], {})


def test_a_damaged_row_is_left_out_and_counted_without_its_text(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = write_log(tmp_path / "calls.db", record("a"), record("b"))
    change(log, "UPDATE calls SET messages = '[half' WHERE call_id = 'a'")
    assert read(tmp_path, log).summary.calls == 1
    assert "calls.db: 1 row(s) are damaged and were left out" in caplog.text
    assert "half" not in caplog.text


# PostgreSQL


def test_a_server_gives_the_calls_that_a_file_gives(tmp_path: Path, postgres: Postgres) -> None:
    rows = [record("a", tags=["x"], success=True), failed("a-1"), record("b", score=0.5)]
    server = write_log(postgres.new_database("training"), *rows)
    file = write_log(tmp_path / "calls.db", *rows)
    expected = canonical(tmp_path, file)
    assert canonical(tmp_path, server) == expected
    assert read(tmp_path, server).summary.digest == read(tmp_path, file).summary.digest


def test_a_bad_row_of_a_server_is_named_without_the_password(tmp_path: Path, postgres: Postgres) -> None:
    server = write_log(postgres.new_database("bad_rows"), record("a"), record("b"))
    postgres.execute("UPDATE calls SET score = 7 WHERE call_id = 'b'", "bad_rows")
    summary = read(tmp_path, server).summary
    shown = f"postgresql://127.0.0.1:{postgres.port}/bad_rows"
    assert summary.rejects[0].where == f"{shown}: row 2 (call_id b)"
    assert summary.files == [shown]


def test_a_server_that_is_not_there_is_named_without_the_password(tmp_path: Path) -> None:
    with pytest.raises(CallLogError, match=r"postgresql://127\.0\.0\.1:1/x: can't be read") as refused:
        read(tmp_path, "postgresql://me:hush@127.0.0.1:1/x")
    assert "hush" not in str(refused.value)


def test_a_missing_driver_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingExtra, match=r"psycopg.*pip install 'pointsman\[postgres\]'"):
        find_files(["postgresql://me@127.0.0.1:1/x"], {})
