"""The thread that writes a process's rows in batches, and keeps them while it can't write the log."""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, Protocol

from router.call_log.alarm import LogAlarm
from router.call_log.process import close_at_exit, close_with_worker, write_before_sigterm
from router.call_log.rows import Row
from router.errors import CallLogError
from router.forking import ForkAware, ForkSafe, watch
from router.records import Json

_BATCH_BYTES = 8 << 20
_FIRST_WAIT_S = 0.1
_LONGEST_WAIT_S = 5.0
_FORK_WAIT_S = 2.0


class Store(Protocol):
    """Where a log is written; see `DatabaseStore`."""

    def append_calls(self, rows: Sequence[Row]) -> list[str]:
        """Store rows; returns the reason for each row that can never be stored."""

    def append_feedback(self, rows: Sequence[Row]) -> list[str]:
        """Store feedback likewise."""

    def close(self) -> None:
        """Close connections until the next rows."""

    def read(self, since: datetime | None = None, until: datetime | None = None) -> Iterator[dict[str, Json]]:
        """The calls of a period, in order, with their latest feedback."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Buffer:
    """How rows wait to be written.

    Attributes:
        interval_s: longest wait of a row for others to share its batch.
        batch_rows: most rows of a batch.
        most_rows, most_bytes: what may wait in memory while the log can't be written; further rows are
            dropped, and counted.
        close_s: longest wait for the last rows at the end of the process.
    """

    interval_s: float = 0.2
    batch_rows: int = 500
    most_rows: int = 50_000
    most_bytes: int = 256 << 20
    close_s: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What became of the rows of this process, both calls and feedback.

    Attributes:
        written: rows stored for good.
        waiting: rows in memory.
        dropped: rows lost: over the buffer's limit, impossible to store, or still waiting at the end.
        failures: times that a batch could not be written; each is tried again.
        unredacted: rows logged without their text because the redaction function failed on it.
    """

    written: int
    waiting: int
    dropped: int
    failures: int
    unredacted: int


class _Entry(NamedTuple):
    """A row that waits, not yet in its stored form; `size` in bytes."""

    make_row: Callable[[], Row]
    size: int
    is_feedback: bool


@dataclass(slots=True)
class _Batch:
    """Rows on their way into the store; both lists are emptied once they are stored.

    Attributes:
        graded: calls that the feedback is for.
    """

    entries: int
    size: int
    calls: list[Row] = field(default_factory=list)
    feedback: list[Row] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    graded: list[str] = field(default_factory=list)

    @staticmethod
    def of(entries: Sequence[_Entry]) -> _Batch:
        batch = _Batch(entries=len(entries), size=sum(entry.size for entry in entries))
        for entry in entries:
            try:
                (batch.feedback if entry.is_feedback else batch.calls).append(entry.make_row())
            except Exception as error:  # noqa: BLE001 - one row must not stop the others
                batch.refused.append(type(error).__name__)
        batch.graded += [str(row["call_id"]) for row in batch.feedback if "call_id" in row]
        return batch

    def store_in(self, store: Store) -> None:
        """Store the remaining rows; after an error it can be called again and stores no row twice."""
        self.refused += store.append_calls(self.calls)
        self.calls.clear()
        self.refused += store.append_feedback(self.feedback)
        self.feedback.clear()


@dataclass(slots=True)
class _Pending:
    """The rows between `put` and the store, and what became of them; guarded by the writer's lock.

    Attributes:
        queue: rows that no batch has yet, the oldest first.
        accepted: rows taken since the start.
        settled: how many of these are stored or dropped; the first ones, as batches go in order.
        wanted: rows that must be settled before the latest flush returns.
        size: bytes of the rows that are not settled.
        written, dropped, failures: as in `Counts`.
        overflow: rows dropped over the buffer's limit since it last had room.
    """

    queue: deque[_Entry] = field(default_factory=deque)
    accepted: int = 0
    settled: int = 0
    wanted: int = 0
    size: int = 0
    written: int = 0
    dropped: int = 0
    failures: int = 0
    overflow: int = 0

    def has_room(self, size: int, buffer: Buffer) -> bool:
        waiting = self.accepted - self.settled
        return waiting < buffer.most_rows and self.size + size <= buffer.most_bytes

    def add(self, entry: _Entry) -> None:
        self.queue.append(entry)
        self.accepted += 1
        self.size += entry.size

    def take(self, most_rows: int) -> list[_Entry]:
        """Move the entries of the next batch out of the queue."""
        entries: list[_Entry] = []
        size = 0
        while self.queue and len(entries) < most_rows and size < _BATCH_BYTES:
            entries.append(self.queue.popleft())
            size += entries[-1].size
        return entries

    def settle(self, batch: _Batch) -> None:
        """Count a stored batch."""
        self.settled += batch.entries
        self.size -= batch.size
        self.written += batch.entries - len(batch.refused)
        self.dropped += len(batch.refused)

    def give_up(self) -> int:
        """Drop all rows that are not settled; returns their number."""
        rest, self.settled = self.accepted - self.settled, self.accepted
        self.dropped += rest
        return rest


class _ForkSafeStore:
    """A store that one batch uses at a time, and that two processes never share."""

    def __init__(self, make_store: Callable[[], Store]) -> None:
        self._make_store = make_store
        self._store = make_store()
        self._lock = ForkSafe(threading.Lock)
        self._is_held = False
        self._inherited: list[Store] = []

    def write(self, batch: _Batch) -> None:
        with self._lock.part:
            batch.store_in(self._store)

    def close(self) -> None:
        with self._lock.part:
            self._store.close()

    def before_fork(self) -> None:
        """Close the connection as soon as no batch is in flight."""
        self._is_held = self._lock.part.acquire(timeout=_FORK_WAIT_S)
        if self._is_held:
            self._store.close()

    def after_fork_in_parent(self) -> None:
        if self._is_held:
            self._lock.part.release()

    def after_fork_in_child(self) -> None:
        if not self._is_held:
            self._inherited.append(self._store)  # kept, because closing it would end the parent's connection
            self._store = self._make_store()
        self._is_held = False


def _all_known(_call_ids: list[str]) -> list[str]:
    return []


class LogWriter(ForkAware):
    """Takes rows and writes them in batches.

    Attributes:
        unredacted: as in `Counts`; whoever makes the rows counts them.
        alarm: where to report trouble.
    """

    alarm: LogAlarm
    unredacted: int

    def __init__(
        self,
        make_store: Callable[[], Store],
        buffer: Buffer,
        shown: str,
        unknown: Callable[[list[str]], list[str]] = _all_known,
    ) -> None:
        """Start without rows.

        Args:
            unknown: those of the ids of calls that the log does not have; runs in the writer's thread.
        """
        self._unknown = unknown
        self._store = _ForkSafeStore(make_store)
        self._buffer = buffer
        self._shown = shown
        self._closed = False
        self._start_empty()
        watch(self)
        close_at_exit(self)

    def _start_empty(self) -> None:
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._pending = _Pending()
        self._thread: threading.Thread | None = None
        self._idle = True
        self._hurry = self._over = False
        self.unredacted = 0
        self.alarm = LogAlarm(self._shown, self._buffer.most_rows)

    @property
    def counts(self) -> Counts:
        """What became of the rows so far."""
        with self._lock:
            pending = self._pending
            return Counts(
                written=pending.written,
                waiting=pending.accepted - pending.settled,
                dropped=pending.dropped,
                failures=pending.failures,
                unredacted=self.unredacted,
            )

    def put(self, make_row: Callable[[], Row], size: int, *, is_feedback: bool = False) -> None:
        """Take a row; `make_row` runs in the writer's thread.

        Args:
            size: bytes that the row takes while it waits.
        """
        with self._lock:
            pending = self._pending
            if self._closed or not pending.has_room(size, self._buffer):
                pending.dropped += 1
                pending.overflow += 1
                return
            pending.add(_Entry(make_row, size, is_feedback))
            if self._idle or len(pending.queue) == self._buffer.batch_rows:
                self._wake()

    def drop(self) -> None:
        """Count a row that could not even be taken."""
        with self._lock:
            self._pending.dropped += 1

    def flush(self, timeout_s: float) -> bool:
        """Wait until the rows taken so far are stored or dropped; False if the time runs out."""
        with self._changed:
            target = self._pending.wanted = self._pending.accepted
            self._hurry = True
            self._wake()
            return bool(self._changed.wait_for(lambda: self._pending.settled >= target, timeout_s))

    def close(self) -> None:
        """Write the waiting rows for at most `Buffer.close_s`; rows that come later are dropped."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        whole = self.flush(self._buffer.close_s)
        with self._changed:
            rest, self._over = self._pending.give_up(), True
            self._wake()
        if not whole:
            self.alarm.lost(rest)
        elif self._thread is not None:
            self._thread.join(self._buffer.close_s)

    def before_fork(self) -> None:
        """Close the connection, once no batch is in flight: two processes can't share it."""
        self._store.before_fork()

    def after_fork_in_parent(self) -> None:
        """Go on: the next batch opens a connection."""
        self._store.after_fork_in_parent()

    def after_fork_in_child(self) -> None:
        """Start without rows: the parent writes those that waited."""
        self._store.after_fork_in_child()
        self._start_empty()

    def _wake(self) -> None:
        """Wake the thread; the first row starts it, or a later one if the system has no thread to spare."""
        if self._thread is None and self._pending.queue:
            thread = threading.Thread(target=self._run, name="pointsman-call-log", daemon=True)
            with suppress(RuntimeError):
                thread.start()
                self._thread = thread
                close_with_worker(self)
        self._idle = self._thread is None
        self._changed.notify_all()

    def _run(self) -> None:
        while (batch := self._next_batch()) is not None and self._write_out(batch):
            self._settle(batch)
        self._store.close()

    def _next_batch(self) -> _Batch | None:
        """The next rows, as soon as there are enough or they have waited long enough; None at the end."""
        with self._changed:
            self._idle = not self._pending.queue
            self._changed.wait_for(lambda: self._pending.queue or self._closed)
            write_before_sigterm()  # a server that started since the log was opened, or in a fork
            self._changed.wait_for(self._is_due, self._buffer.interval_s)
            self._idle = False
            if self._over or not self._pending.queue:
                return None
            entries = self._pending.take(self._buffer.batch_rows)
        return _Batch.of(entries)

    def _is_due(self) -> bool:
        pending = self._pending
        enough = len(pending.queue) >= self._buffer.batch_rows
        return enough or pending.settled < pending.wanted or self._closed

    def _write_out(self, batch: _Batch) -> bool:
        """Try until the batch is stored; False if the log is closed first."""
        wait_s = _FIRST_WAIT_S
        while (reason := self._try(batch)) is not None:
            self.alarm.outage(reason)
            if self._pending.overflow:
                self.alarm.full()
            with self._changed:
                self._pending.failures += 1
                self._hurry = False
                jitter = random.uniform(0.5, 1)
                self._changed.wait_for(lambda: self._hurry or self._over, wait_s * jitter)
                if self._over:
                    return False
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
        return True

    def _try(self, batch: _Batch) -> str | None:
        """Store the batch; returns why it can't be stored now, or None."""
        try:
            self._store.write(batch)
        except CallLogError as error:
            return str(error)
        except Exception as error:  # noqa: BLE001 - the thread must survive what a driver raises
            return type(error).__name__
        return None

    def _warn_of_unknown(self, graded: list[str]) -> None:
        """Warn of feedback, now stored, for calls that the log does not have."""
        try:
            unknown = self._unknown(graded) if graded else []
        except Exception as error:  # noqa: BLE001 - the thread must survive what a driver raises
            self.alarm.once(f"the calls of feedback can't be looked up ({type(error).__name__})")
            return
        if unknown:
            self.alarm.unknown(unknown)

    def _settle(self, batch: _Batch) -> None:
        """Count a stored batch and wake those who wait for it."""
        with self._changed:
            pending = self._pending
            if not self._over:
                pending.settle(batch)
            self._changed.notify_all()
            overflow = pending.overflow
            has_emptied = len(pending.queue) < self._buffer.most_rows // 2
            pending.overflow = 0 if has_emptied else overflow
        self.alarm.refused(batch.refused)
        self._warn_of_unknown(batch.graded)
        if overflow:
            self.alarm.full()
        if self.alarm.is_on and has_emptied:
            self.alarm.over(overflow)
