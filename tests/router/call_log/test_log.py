from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from router.call_log import sqlite_file
from router.call_log import writer as log_writer
from router.call_log.log import CallLog, Counts, load_function, read_rows
from router.errors import CallLogError
from router.records import Json, prompt_key
from tests.router.call_log.call_records import (
    FILES,
    QUESTION,
    QUICK,
    call_ids,
    only_row,
    record,
    rows_of,
    run_python,
    start_python,
)
from tests.services.postgres import PASSWORD, Postgres
from tests.services.waiting import PATIENCE_S, wait_until

PRELUDE = """
import os, sys, time
from router.call_log import Buffer, CallLog, CallRecord
def record(name):
    messages = [{"role": "user", "content": "hi " * 100}]
    return CallRecord(call_id=name, time=1.0, messages=messages, model="small")
log = CallLog.open(sys.argv[1], buffer=Buffer(interval_s=float(sys.argv[2]), close_s=60))
"""
WRITE_MANY = """
for number in range(800):
    log.write(record(f"{sys.argv[3]}-{number:04}"))
    if number % 100 == 0:
        time.sleep(0.02)  # the two writers take turns: that is what is tested
"""
WRITE_UNTIL_KILLED = """
number = 0
while True:
    for _ in range(100):
        log.write(record(f"{number:07}"))
        number += 1
    assert log.flush(60)
    print(number, flush=True)
"""
FORK = """
for number in range(50):
    log.write(record(f"parent-{number}"))
assert log.flush(60)
for number in range(50):
    log.write(record(f"later-{number}"))
children = []
for child in range(2):
    if not (made := os.fork()):
        assert log.counts.waiting == 0
        for number in range(20):
            log.write(record(f"child-{child}-{number}"))
        log.feedback("parent-0", score=0.5)
        log.close()
        os._exit(0 if log.counts.written == 21 and not log.counts.dropped else 1)
    children.append(made)
for made in children:
    assert os.waitstatus_to_exitcode(os.waitpid(made, 0)[1]) == 0
log.write(record("parent-at-last"))
"""
WORKERS = """
import multiprocessing
def work(name):
    log.write(record(name))
if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=work, args=(f"worker-{n}",)) for n in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
"""
DISK_FULL = """
import resource
from tests.services.waiting import wait_until
log.write(record("first"))
assert log.flush(60)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
for number in range(1500):
    log.write(record(f"call-{number}"))
wait_until(lambda: log.counts.failures)
print(log.counts.failures > 0, log.counts.dropped)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert log.flush(60)
print(log.counts.written, log.counts.dropped)
"""


@pytest.fixture(params=FILES)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A new log in a file, of each kind."""
    return tmp_path / str(request.param)


@pytest.fixture(params=[*FILES, "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a new log, of each kind."""
    if request.param != "postgres":
        return str(tmp_path / request.param)
    server: Postgres = request.getfixturevalue("postgres")
    return server.new_database(tmp_path.name)


@pytest.fixture
def log(url: str) -> Iterator[CallLog]:
    log = CallLog.open(url, buffer=QUICK)
    yield log
    log.close()


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_writer, "_FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(log_writer, "_LONGEST_WAIT_S", 0.1)


def unlike(log: CallLog, **counts: int) -> Counts:
    """The counts of a log in which nothing else happened."""
    return replace(Counts(written=0, waiting=0, dropped=0, failures=0, unredacted=0), **counts)


def test_a_call_is_read_back_with_its_key(log: CallLog, url: str) -> None:
    log.write(record("a", tags=("x",), alternatives={"small": 0.75}, notes=("dropped seed",)))
    assert log.flush(PATIENCE_S)
    row = only_row(url)
    assert (row["call_id"], row["messages"], row["model"]) == ("a", QUESTION, "small")
    assert (row["tags"], row["alternatives"], row["notes"]) == (["x"], {"small": 0.75}, ["dropped seed"])
    assert row["prompt_key"] == prompt_key(QUESTION)
    assert row["time"] == "2026-09-21T14:13:20.000000Z"


def test_feedback_counts_whenever_it_comes(log: CallLog, url: str) -> None:
    log.feedback("before", success=True)
    log.write(record("before"))
    log.write(record("beside"))
    log.feedback("beside", success=True)
    log.feedback("beside", success=False, score=0.25, source="user")
    assert log.flush(PATIENCE_S)
    outcomes = {row["call_id"]: (row["success"], row["score"], row["outcome_source"]) for row in rows_of(url)}
    assert outcomes == {"before": (True, None, "feedback"), "beside": (False, 0.25, "user")}


def test_feedback_counts_in_the_order_of_arrival_though_the_clock_was_set_back(
    log: CallLog, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.write(record("a"))
    log.feedback("a", success=True)
    eleven_days_earlier = time.time_ns() - 11 * 24 * 3600 * 10**9
    monkeypatch.setattr(time, "time_ns", lambda: eleven_days_earlier)
    log.feedback("a", success=False)
    assert log.flush(PATIENCE_S)
    assert only_row(url)["success"] is False


def test_feedback_may_come_from_another_log_of_the_same_address(log: CallLog, url: str) -> None:
    log.write(record("a"))
    assert log.flush(PATIENCE_S)
    other = CallLog.open(url, buffer=QUICK)
    other.feedback("a", score=1)
    other.close()
    assert only_row(url)["score"] == 1.0


def test_feedback_on_a_long_name_finds_its_call(log: CallLog, url: str) -> None:
    log.write(record("x" * 3000))
    log.feedback("x" * 3000, success=True)
    assert log.flush(PATIENCE_S)
    assert only_row(url)["success"] is True


@pytest.mark.parametrize(
    ("values", "told"),
    [
        pytest.param({}, "has neither success nor score", id="nothing"),
        pytest.param({"score": 1.01}, r"score must be a number from 0 to 1, got 1\.01", id="score too high"),
        pytest.param({"score": -0.1}, r"from 0 to 1, got -0\.1", id="score too low"),
        pytest.param({"score": float("nan")}, "from 0 to 1, got nan", id="score NaN"),
        pytest.param({"score": True}, "from 0 to 1, got True", id="score that is a flag"),
        pytest.param({"score": "1"}, "from 0 to 1, got '1'", id="score that is a text"),
        pytest.param({"success": 1}, "success must be true or false, got 1", id="success that is a number"),
        pytest.param({"success": True, "source": ""}, "source must be a text, got ''", id="no source"),
        pytest.param({"success": True, "call_id": ""}, "call_id must be a text, got ''", id="no call"),
        pytest.param({"success": True, "call_id": 7}, "call_id must be a text, got 7", id="call by number"),
    ],
)
def test_feedback_that_says_nothing_is_refused_at_once(
    tmp_path: Path, values: dict[str, Any], told: str
) -> None:
    log = CallLog.open(tmp_path / "calls.db")
    with pytest.raises(ValueError, match=told):
        log.feedback(**{"call_id": "a", **values})
    assert log.counts.waiting == 0


def test_rows_of_32_threads_are_all_there(log: CallLog, url: str) -> None:
    def work(worker: int) -> None:
        for number in range(100):
            log.write(record(f"{worker:02}-{number:03}", messages=[{"role": "user", "content": f"{number}"}]))

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert log.flush(PATIENCE_S)
    assert log.counts == unlike(log, written=3200)
    assert sorted(call_ids(url)) == [f"{worker:02}-{n:03}" for worker in range(32) for n in range(100)]


def test_a_later_change_of_the_messages_does_not_reach_the_log(tmp_path: Path) -> None:
    log = CallLog.open(tmp_path / "calls.db", buffer=replace(QUICK, interval_s=3600))
    messages = [{"role": "user", "content": "before"}]
    log.write(record("a", messages=messages))
    messages[0]["content"] = "after"
    messages.append({"role": "assistant", "content": "answer"})
    log.close()
    assert only_row(tmp_path / "calls.db")["messages"] == [{"role": "user", "content": "before"}]


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("the prompt")

    model_dump = property(__str__)


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param("no record", id="no record"),
        pytest.param(record("odd", messages=Unprintable()), id="messages that raise"),
        pytest.param(record("odd", task_type=Unprintable()), id="a column that raises"),
    ],
)
def test_writing_never_raises_and_never_stops(
    tmp_path: Path, odd: Json, caplog: pytest.LogCaptureFixture
) -> None:
    log = CallLog.open(tmp_path / "calls.db", buffer=QUICK)
    log.write(odd)
    log.write(record("a"))
    log.close()
    assert log.counts == unlike(log, written=1, dropped=1)
    assert call_ids(tmp_path / "calls.db") == ["a"]
    assert "the prompt" not in caplog.text


# Privacy


def redact_ann(text: str) -> str:
    return text.replace("Ann", "[name]")


def redact_badly(text: str) -> str:
    raise KeyError(text)


@pytest.mark.parametrize(
    ("text", "redact", "logged"),
    [
        pytest.param("full", None, [{"role": "user", "content": "Ask Ann."}], id="full"),
        pytest.param("redacted", redact_ann, [{"role": "user", "content": "Ask [name]."}], id="redacted"),
        pytest.param("redacted", redact_badly, None, id="redaction fails"),
        pytest.param("hash", None, None, id="hash"),
    ],
)
def test_the_log_holds_as_much_text_as_it_may(path: Path, text: Json, redact: Json, logged: Json) -> None:
    messages = [{"role": "user", "content": "Ask Ann."}]
    log = CallLog.open(path, text=text, redact=redact, buffer=QUICK)
    log.write(record("a", messages=messages, tools=[{"type": "function"}]))
    log.close()
    row = only_row(path)
    assert row["messages"] == logged
    assert row["prompt_key"] == prompt_key(messages, [{"type": "function"}])
    kept = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert (b"Ann" in kept) == (text == "full")


def test_failing_redaction_is_counted_and_warned_about_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = CallLog.open(tmp_path / "calls.db", text="redacted", redact=redact_badly, buffer=QUICK)
    for name in "abc":
        log.write(record(name, messages=[{"role": "user", "content": "Ask Ann."}]))
    log.close()
    assert log.counts == unlike(log, written=3, unredacted=3)
    (told,) = caplog.messages
    assert told.endswith("calls.db: redaction failed (it raised KeyError): prompts are logged without text")


def test_an_image_is_marked_as_left_out(tmp_path: Path) -> None:
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{'A' * 50_000}"}}
    log = CallLog.open(tmp_path / "calls.db", buffer=QUICK)
    log.write(record("a", messages=[{"role": "user", "content": [image]}]))
    log.close()
    row = only_row(tmp_path / "calls.db")
    assert row["truncated"] is True
    assert "AAAA" not in json.dumps(row)


def test_redacted_text_needs_its_function(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs a function"):
        CallLog.open(tmp_path / "calls.db", text="redacted")


def test_the_function_of_a_setting_redacts(tmp_path: Path) -> None:
    redact = load_function(f"{__name__}:redact_ann")
    log = CallLog.open(tmp_path / "calls.jsonl", text="redacted", redact=redact, buffer=QUICK)
    log.write(record("a", messages=[{"role": "user", "content": "Ann"}]))
    log.close()
    assert only_row(tmp_path / "calls.jsonl")["messages"][0]["content"] == "[name]"


# Trouble


@pytest.mark.usefixtures("quick_retries")
def test_a_locked_database_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sqlite_file, "BUSY_S", 0.01)
    log = CallLog.open(tmp_path / "calls.db", buffer=QUICK)
    log.write(record("a"))
    assert log.flush(PATIENCE_S)
    other = sqlite3.connect(tmp_path / "calls.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    log.write(record("b"))
    log.feedback("a", success=True)
    wait_until(lambda: log.counts.failures >= 3)
    log.write(record("c"))
    other.execute("COMMIT")
    assert log.flush(PATIENCE_S)
    log.close()
    assert call_ids(tmp_path / "calls.db") == ["a", "b", "c"]
    assert log.counts.dropped == 0
    assert sum("database is locked" in message for message in caplog.messages) == 1


def test_a_file_that_can_not_grow_loses_nothing_when_there_is_room_again(tmp_path: Path) -> None:
    path = tmp_path / "calls.db"
    assert run_python(PRELUDE + DISK_FULL, path, 0.01).split() == ["True", "0", "1501", "0"]
    assert len(set(call_ids(path))) == 1501


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="needs to mount a small disk, as root")
@pytest.mark.usefixtures("quick_retries")
@pytest.mark.parametrize("name", FILES)
def test_a_full_disk_loses_nothing_when_there_is_room_again(tmp_path: Path, name: str) -> None:
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", tmp_path], check=False)
    if mounted.returncode:
        pytest.skip("this root may not mount")
    try:
        log = CallLog.open(tmp_path / name, buffer=QUICK)
        for number in range(1000):
            log.write(record(f"{number:04}", messages=[{"role": "user", "content": "x" * 2000}]))
        wait_until(lambda: log.counts.failures > 0)
        subprocess.run(["mount", "-o", "remount,size=64m", tmp_path], check=True)
        assert log.flush(PATIENCE_S)
        log.close()
        assert (log.counts.written, log.counts.dropped) == (1000, 0)
        assert call_ids(tmp_path / name) == [f"{number:04}" for number in range(1000)]
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=True)


@pytest.mark.usefixtures("quick_retries")
def test_a_server_that_crashes_and_comes_back_loses_nothing(
    postgres: Postgres, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url = postgres.new_database(tmp_path.name)
    log = CallLog.open(url, buffer=QUICK)
    for number in range(500):
        log.write(record(f"before-{number:03}"))
    postgres.stop(mode="immediate")
    try:
        for number in range(500):
            log.write(record(f"during-{number:03}"))
        log.feedback("before-000", success=True)
        wait_until(lambda: log.counts.failures >= 2)
        assert not log.flush(0.1)
    finally:
        postgres.start()
    log.write(record("after"))
    assert log.flush(PATIENCE_S)
    log.close()
    names = call_ids(url)
    assert len(names) == len(set(names)) == 1001
    assert (log.counts.written, log.counts.dropped) == (1002, 0)
    assert sum("can't be written" in message for message in caplog.messages) == 1
    assert PASSWORD not in caplog.text


def test_a_log_that_can_not_be_opened_fails_no_call(
    postgres: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    log = CallLog.open(postgres.url("nowhere"), buffer=replace(QUICK, close_s=0.1))
    log.write(record("a"))
    wait_until(lambda: log.counts.failures > 0)
    log.close()
    assert log.counts.dropped == 1
    assert 'database "nowhere" does not exist' in caplog.text
    assert PASSWORD not in caplog.text


# Processes


def test_two_processes_write_one_log(url: str) -> None:
    writers = [start_python(PRELUDE + WRITE_MANY, url, 0.01, name) for name in ("a", "b")]
    errors = [writer.communicate(timeout=2 * PATIENCE_S)[1] for writer in writers]
    assert errors == ["", ""]
    assert sorted(call_ids(url)) == [f"{name}-{number:04}" for name in ("a", "b") for number in range(800)]


def test_a_process_killed_while_it_writes_loses_no_batch_that_was_written(path: Path) -> None:
    process = start_python(PRELUDE + WRITE_UNTIL_KILLED, path, 0.001)
    assert process.stdout is not None
    committed = [int(process.stdout.readline()) for _ in range(10)][-1]
    process.send_signal(signal.SIGKILL)
    rest, _ = process.communicate(timeout=PATIENCE_S)
    committed = max(
        [committed, *(int(line) for line in rest.splitlines(keepends=True) if line.endswith("\n"))]
    )
    if path.suffix == ".db":
        assert sqlite3.connect(path).execute("PRAGMA integrity_check").fetchone() == ("ok",)
    names = call_ids(path)
    assert names == [f"{number:07}" for number in range(len(names))]
    assert committed <= len(names) <= committed + 100
    log = CallLog.open(path, buffer=QUICK)
    log.write(record("next"))
    log.close()
    assert call_ids(path) == [*names, "next"]


def test_the_end_of_the_process_writes_what_waits(tmp_path: Path) -> None:
    run_python(f"{PRELUDE}log.write(record('a'))", tmp_path / "calls.db", 3600)
    assert call_ids(tmp_path / "calls.db") == ["a"]


def test_a_forked_process_writes_its_own_rows_and_only_those(url: str) -> None:
    run_python(PRELUDE + FORK, url, 0.2)
    parents = [f"{when}-{number}" for when in ("parent", "later") for number in range(50)]
    children = [f"child-{child}-{number}" for child in range(2) for number in range(20)]
    assert sorted(call_ids(url)) == sorted([*parents, *children, "parent-at-last"])
    if url.endswith(".jsonl"):
        assert len(Path(url).read_text("utf-8").splitlines()) == len(call_ids(url))
    assert next(row for row in rows_of(url) if row["call_id"] == "parent-0")["score"] == 0.5


def test_a_worker_of_multiprocessing_writes_its_rows_at_its_end(tmp_path: Path) -> None:
    run_python(PRELUDE + WORKERS, tmp_path / "calls.db", 3600)
    assert call_ids(tmp_path / "calls.db") == ["worker-0", "worker-1", "worker-2"]


def test_importing_the_log_loads_no_database() -> None:
    loaded = "import router.call_log.log, sys; print('sqlalchemy' in sys.modules, 'psycopg' in sys.modules)"
    assert run_python(loaded).split() == ["False", "False"]


# Reading


@pytest.mark.parametrize("name", ["calls.db", "calls.jsonl"])
def test_a_log_that_is_not_there_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(CallLogError, match=f"{name}: no such call log"):
        read_rows(tmp_path / name)


def test_a_database_file_is_not_made_by_reading_it(tmp_path: Path) -> None:
    with pytest.raises(CallLogError, match="no such call log"):
        read_rows(tmp_path / "calls.db")
    assert not list(tmp_path.iterdir())


def test_an_address_of_no_store_is_refused(tmp_path: Path) -> None:
    for use in (read_rows, CallLog.open):
        with pytest.raises(CallLogError, match="mysql:// is not the address of a call log"):
            use("mysql://ann:secret@db/logs")


def test_a_time_without_a_zone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="since needs a time zone, got 2026-01-01T00:00:00"):
        read_rows(tmp_path / "calls.db", since=datetime(2026, 1, 1))


def test_a_part_of_the_time_can_be_read(log: CallLog, url: str) -> None:
    for hour in range(4):
        log.write(record(f"at-{hour}", time=datetime(2026, 1, 1, hour, tzinfo=UTC)))
    assert log.flush(PATIENCE_S)
    since, until = (datetime(2026, 1, 1, hour, tzinfo=UTC) for hour in (1, 3))
    assert [row["call_id"] for row in read_rows(url, since=since, until=until)] == ["at-1", "at-2"]


@pytest.mark.parametrize("ending", ["db", "jsonl"])
def test_feedback_for_no_call_of_the_log_is_stored_and_warned_of(
    tmp_path: Path, ending: str, caplog: pytest.LogCaptureFixture
) -> None:
    log = CallLog.open(tmp_path / f"calls.{ending}", buffer=QUICK)
    log.write(record("a"))
    for name in ("a", "b"):
        log.feedback(name, success=True)
    log.close()
    assert log.counts == unlike(log, written=3)
    (message,) = caplog.messages
    assert message.endswith(f"calls.{ending}: feedback for no call in the log: 'b'")
