from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

import pytest

from router.call_log import writer as log_writer
from router.call_log.rows import Row
from router.call_log.writer import Buffer, Counts, LogWriter
from router.errors import CallLogError
from router.records import Json
from tests.router.call_log.call_records import QUICK
from tests.services.waiting import PATIENCE_S, wait_until

NOTHING = Counts(written=0, waiting=0, dropped=0, failures=0, unredacted=0)


class Memory:
    """A store in memory, which fails or waits on request.

    Attributes:
        trouble: raised instead of storing.
        poison: values of rows that can never be stored.
        open: cleared, it makes the store hang.
    """

    def __init__(self) -> None:
        self.batches: list[list[Row]] = []
        self.feedback: list[Row] = []
        self.trouble: Exception | None = None
        self.feedback_trouble: Exception | None = None
        self.poison: set[int] = set()
        self.open = threading.Event()
        self.open.set()
        self.closed = 0
        self.tries = 0

    @property
    def numbers(self) -> list[int]:
        return [row["n"] for batch in self.batches for row in batch]

    def append_calls(self, rows: Sequence[Row]) -> list[str]:
        self.tries += 1
        assert self.open.wait(PATIENCE_S)
        if self.trouble:
            raise self.trouble
        if rows:
            self.batches.append([row for row in rows if row["n"] not in self.poison])
        return ["DataError" for row in rows if row["n"] in self.poison]

    def append_feedback(self, rows: Sequence[Row]) -> list[str]:
        if self.feedback_trouble:
            raise self.feedback_trouble
        self.feedback += rows
        return []

    def close(self) -> None:
        self.closed += 1

    def read(self, since: datetime | None = None, until: datetime | None = None) -> Iterator[dict[str, Json]]:
        return iter(())


@pytest.fixture
def store() -> Memory:
    return Memory()


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_writer, "_FIRST_WAIT_S", 0.001)
    monkeypatch.setattr(log_writer, "_LONGEST_WAIT_S", 0.01)


def writer_to(store: Memory, buffer: Buffer = QUICK) -> LogWriter:
    return LogWriter(lambda: store, buffer, "calls.db")


def put(writer: LogWriter, *numbers: int, size: int = 1) -> None:
    for number in numbers:
        writer.put(lambda n=number: {"n": n}, size)  # type: ignore[misc]


def test_rows_are_stored_in_order(store: Memory) -> None:
    writer = writer_to(store)
    put(writer, *range(2000))
    assert writer.flush(60)
    assert store.numbers == list(range(2000))
    assert writer.counts == replace(NOTHING, written=2000)


def test_rows_that_come_together_are_stored_together(store: Memory) -> None:
    writer = writer_to(store, Buffer(interval_s=60))
    put(writer, 1, 2, 3)
    assert writer.flush(60)
    assert [len(batch) for batch in store.batches] == [3]


def test_a_full_batch_does_not_wait(store: Memory) -> None:
    writer = writer_to(store, Buffer(interval_s=3600, batch_rows=10))
    put(writer, *range(25))
    wait_until(lambda: len(store.numbers) == 20)
    assert [len(batch) for batch in store.batches] == [10, 10]
    assert writer.counts.waiting == 5


def test_rows_are_stored_after_the_interval_without_a_flush(store: Memory) -> None:
    writer = writer_to(store, Buffer(interval_s=0.01))
    put(writer, 1)
    wait_until(lambda: store.numbers == [1])
    put(writer, 2)
    wait_until(lambda: store.numbers == [1, 2])


def test_large_rows_make_small_batches(store: Memory) -> None:
    writer = writer_to(store, Buffer(interval_s=60))
    put(writer, *range(10), size=5 << 20)
    assert writer.flush(60)
    assert [len(batch) for batch in store.batches] == [2] * 5


def test_a_writer_without_rows_has_no_thread(store: Memory) -> None:
    before = threading.active_count()
    writer = writer_to(store)
    assert writer.flush(0)
    writer.close()
    assert threading.active_count() == before
    assert store.tries == 0


def test_a_flush_that_takes_too_long_says_so(store: Memory) -> None:
    store.open.clear()
    writer = writer_to(store)
    put(writer, 1)
    assert not writer.flush(0.01)
    assert writer.counts.waiting == 1
    store.open.set()
    assert writer.flush(60)


def test_a_row_never_waits_for_the_store(store: Memory) -> None:
    store.open.clear()
    writer = writer_to(store)
    put(writer, *range(1000))
    assert writer.counts.waiting == 1000
    store.open.set()
    assert writer.flush(60)


@pytest.mark.usefixtures("quick_retries")
@pytest.mark.parametrize("trouble", [CallLogError("the disk is full"), RuntimeError("the prompt")])
def test_a_batch_is_tried_until_it_is_stored(
    store: Memory, trouble: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    store.trouble = trouble
    writer = writer_to(store)
    with caplog.at_level(logging.INFO):
        put(writer, 1, 2)
        wait_until(lambda: writer.counts.failures >= 3)
        put(writer, 3)
        store.trouble = None
        assert writer.flush(60)
        writer.close()
    assert store.numbers == [1, 2, 3]
    assert writer.counts.written == 3
    assert writer.counts.dropped == 0
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "can't be written: " in caplog.messages[0]
    assert "the prompt" not in caplog.text
    assert caplog.messages[1] == "call log calls.db is written again; 0 row(s) were dropped"


@pytest.mark.usefixtures("quick_retries")
def test_each_outage_is_warned_about_once(store: Memory, caplog: pytest.LogCaptureFixture) -> None:
    writer = writer_to(store)
    for number in range(3):
        store.trouble = CallLogError("locked")
        failures = writer.counts.failures
        put(writer, number)
        wait_until(lambda known=failures: writer.counts.failures > known + 2)  # type: ignore[misc]
        store.trouble = None
        assert writer.flush(60)
    writer.close()
    assert sum("can't be written: locked" in message for message in caplog.messages) == 3


def test_a_flush_tries_at_once_in_an_outage(store: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_writer, "_FIRST_WAIT_S", 3600)
    store.trouble = CallLogError("locked")
    writer = writer_to(store)
    put(writer, 1)
    wait_until(lambda: writer.counts.failures == 1)
    store.trouble = None
    assert writer.flush(60)


@pytest.mark.usefixtures("quick_retries")
def test_calls_are_not_stored_twice_when_only_their_feedback_failed(store: Memory) -> None:
    store.feedback_trouble = CallLogError("locked")
    writer = writer_to(store, Buffer(interval_s=0.2))
    put(writer, 1)
    writer.put(lambda: {"n": 2}, 1, is_feedback=True)
    wait_until(lambda: writer.counts.failures >= 2)
    store.feedback_trouble = None
    assert writer.flush(60)
    assert (store.numbers, store.feedback) == ([1], [{"n": 2}])


@pytest.mark.parametrize(
    "limit", [pytest.param({"most_rows": 10}, id="rows"), pytest.param({"most_bytes": 100}, id="bytes")]
)
def test_rows_over_the_limit_are_dropped_and_counted(
    store: Memory, limit: dict[str, int], caplog: pytest.LogCaptureFixture
) -> None:
    store.open.clear()
    writer = writer_to(store, replace(QUICK, **limit))
    put(writer, *range(25), size=10)
    assert writer.counts == replace(NOTHING, waiting=10, dropped=15)
    store.open.set()
    assert writer.flush(60)
    put(writer, 100)
    assert writer.flush(60)
    writer.close()
    assert store.numbers == [*range(10), 100]
    assert writer.counts == replace(NOTHING, written=11, dropped=15)
    assert caplog.messages == [
        "call log calls.db: too many rows wait; further ones are dropped",
        "call log calls.db is written again; 15 row(s) were dropped",
    ]


def test_a_row_that_can_not_be_made_or_stored_does_not_stop_the_others(
    store: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    store.poison = {2}
    writer = writer_to(store)
    put(writer, 1, 2)
    writer.put(lambda: {"n": 1 // 0}, 1)
    put(writer, 3)
    assert writer.flush(60)
    writer.close()
    assert store.numbers == [1, 3]
    assert writer.counts == replace(NOTHING, written=2, dropped=2)
    assert {"DataError", "ZeroDivisionError"} == {message.split("(")[1][:-1] for message in caplog.messages}


def test_closing_writes_what_waits_and_ends_the_thread(store: Memory) -> None:
    writer = writer_to(store, replace(QUICK, interval_s=3600))
    before = threading.active_count()
    put(writer, *range(1200))
    writer.close()
    writer.close()
    assert store.numbers == list(range(1200))
    assert threading.active_count() <= before
    assert store.closed == 1


def test_rows_after_the_end_are_dropped(store: Memory) -> None:
    writer = writer_to(store)
    writer.close()
    put(writer, 1)
    assert writer.counts == replace(NOTHING, dropped=1)


@pytest.mark.usefixtures("quick_retries")
def test_closing_in_an_outage_gives_up_after_its_time(
    store: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    store.trouble = CallLogError("locked")
    writer = writer_to(store, replace(QUICK, close_s=0.05))
    put(writer, 1, 2, 3)
    writer.close()
    assert writer.counts.dropped == 3
    assert writer.counts.waiting == 0
    assert caplog.messages[-1] == "call log calls.db: 3 row(s) could not be written and are lost"


def test_closing_does_not_wait_for_a_store_that_hangs(store: Memory) -> None:
    store.open.clear()
    writer = writer_to(store, replace(QUICK, close_s=0.05))
    put(writer, 1)
    writer.close()
    assert writer.counts == replace(NOTHING, dropped=1)
    store.open.set()
    wait_until(lambda: store.closed == 1)
    assert writer.counts == replace(NOTHING, dropped=1)


def test_where_no_thread_can_be_started_a_later_row_tries_again(
    store: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    writer = writer_to(store)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        put(writer, 1)
    put(writer, 2)
    assert writer.flush(60)
    assert store.numbers == [1, 2]


def test_rows_of_many_threads_are_all_counted(store: Memory) -> None:
    writer = writer_to(store)
    threads = [threading.Thread(target=put, args=(writer, *range(n, n + 100))) for n in range(0, 3200, 100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert writer.flush(60)
    assert sorted(store.numbers) == list(range(3200))
    assert writer.counts == replace(NOTHING, written=3200)
