"""The thread that writes a process's rows in batches, and keeps them while the log can't be written."""

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
from router.call_log.process import close_with_worker, watch
from router.call_log.rows import Row
from router.errors import CallLogError
from router.records import Json

_BATCH_BYTES = 8 << 20
_FIRST_WAIT_S = 0.1
_LONGEST_WAIT_S = 5.0
_FORK_WAIT_S = 2.0


class Store(Protocol):
    """What a log is written to; see `DatabaseStore`."""

    def append_calls(self, rows: Sequence[Row]) -> list[str]:
        """Store rows; returns why, for each that can never be stored."""

    def append_feedback(self, rows: Sequence[Row]) -> list[str]:
        """Store feedback likewise."""

    def close(self) -> None:
        """Let go of connections until the next rows."""

    def read(self, since: datetime | None = None, until: datetime | None = None) -> Iterator[dict[str, Json]]:
        """The calls of a time, in order, with their latest feedback."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Buffer:
    """How rows wait to be written.

    Attributes:
        interval_s: a row waits at most so long for others to be written with.
        batch_rows: rows written at once.
        most_rows, most_bytes: what may wait in memory while the log can't be written; further rows are
            dropped, and counted.
        close_s: longest wait for the last rows at the end of the process.
    """

    interval_s: float = 0.2
    batch_rows: int = 500
    most_rows: int = 50_000
    most_bytes: int = 256 << 20
    close_s: float = 5.0


class _Waiting(NamedTuple):
    """A row that waits, not yet in its stored form; `size` in bytes."""

    make_row: Callable[[], Row]
    size: int
    is_feedback: bool


@dataclass(slots=True)
class _Batch:
    """Rows on their way: each list is emptied once it is stored."""

    entries: int
    size: int
    calls: list[Row] = field(default_factory=list)
    feedback: list[Row] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def store_in(self, store: Store) -> None:
        """Store what is left; it may be called again after an error, and no row is stored twice."""
        self.refused += store.append_calls(self.calls)
        self.calls.clear()
        self.refused += store.append_feedback(self.feedback)
        self.feedback.clear()


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What became of the rows of this process, calls and feedback alike.

    Attributes:
        written: stored for good.
        waiting: in memory.
        dropped: lost: over the buffer's limit, impossible to store, or left at the end.
        failures: times that a batch could not be written; each is tried again.
        unredacted: rows logged without their text, because the redaction function failed on it.
    """

    written: int
    waiting: int
    dropped: int
    failures: int
    unredacted: int


class LogWriter:
    """Rows in, batches out.

    Attributes:
        unredacted: as in `Counts`; for the one who makes the rows to count.
        alarm: where to tell of trouble.
    """

    _accepted: int  # rows taken since the start, of which ...
    _done: int  # ... so many are stored or dropped, in order, ...
    _wanted: int  # ... and a flush waits for so many
    _bytes: int
    _written: int
    _dropped: int
    _overflow: int
    _failures: int
    unredacted: int

    def __init__(self, make_store: Callable[[], Store], buffer: Buffer, shown: str) -> None:
        self._make_store = make_store
        self._store = make_store()
        self._buffer = buffer
        self._shown = shown
        self._closed = False
        self._inherited: list[Store] = []
        self._start_afresh()
        watch(self)

    @property
    def counts(self) -> Counts:
        """What became of the rows so far."""
        with self._lock:
            return Counts(
                written=self._written,
                waiting=self._accepted - self._done,
                dropped=self._dropped,
                failures=self._failures,
                unredacted=self.unredacted,
            )

    def put(self, make_row: Callable[[], Row], size: int, *, is_feedback: bool = False) -> None:
        """Take a row; `make_row` runs in the writer's thread.

        Args:
            size: bytes that the row takes while it waits.
        """
        with self._lock:
            full = self._accepted - self._done >= self._buffer.most_rows
            if full or self._closed or self._bytes + size > self._buffer.most_bytes:
                self._dropped += 1
                self._overflow += 1
                return
            self._queue.append(_Waiting(make_row, size, is_feedback))
            self._accepted += 1
            self._bytes += size
            if self._idle or len(self._queue) == self._buffer.batch_rows:
                self._wake()

    def drop(self) -> None:
        """Count a row that could not even be taken."""
        with self._lock:
            self._dropped += 1

    def flush(self, timeout_s: float) -> bool:
        """Wait until the rows taken so far are stored or dropped; False when the time is over."""
        with self._changed:
            target = self._wanted = self._accepted
            self._hurry = True
            self._wake()
            return bool(self._changed.wait_for(lambda: self._done >= target, timeout_s))

    def close(self) -> None:
        """Write what waits, as long as `Buffer.close_s` allows; rows that come later are dropped."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        whole = self.flush(self._buffer.close_s)
        with self._changed:
            left, self._done, self._over = self._accepted - self._done, self._accepted, True
            self._dropped += left
            self._wake()
        if whole and self._thread is not None:
            self._thread.join(self._buffer.close_s)
        if not whole:
            self.alarm.lost(left)

    def before_fork(self) -> None:
        """Close the connection, once no batch is in flight: two processes can't share it."""
        self._store_held = self._storing.acquire(timeout=_FORK_WAIT_S)
        if self._store_held:
            self._store.close()

    def after_fork_in_parent(self) -> None:
        """Go on: the next batch opens a connection."""
        if self._store_held:
            self._storing.release()

    def after_fork_in_child(self) -> None:
        """Start without rows: the parent writes those that waited."""
        if not self._store_held:
            self._inherited.append(self._store)  # kept, as closing it would end the parent's connection
            self._store = self._make_store()
        self._start_afresh()

    def _start_afresh(self) -> None:
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._storing = threading.Lock()
        self._store_held = False
        self._queue: deque[_Waiting] = deque()
        self._thread: threading.Thread | None = None
        self._accepted = self._done = self._wanted = self._bytes = 0
        self._written = self._dropped = self._overflow = self._failures = self.unredacted = 0
        self._idle = True
        self._hurry = self._over = False
        self.alarm = LogAlarm(self._shown, self._buffer.most_rows)

    def _wake(self) -> None:
        """Get the thread going; the first row starts it, or a later one where the system has none to give."""
        if self._thread is None and self._queue:
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
        with self._storing:
            self._store.close()

    def _next_batch(self) -> _Batch | None:
        """The next rows, when there are enough or they have waited enough; None at the end."""
        with self._changed:
            self._idle = not self._queue
            self._changed.wait_for(lambda: self._queue or self._closed)
            self._changed.wait_for(self._is_due, self._buffer.interval_s)
            self._idle = False
            if self._over or not self._queue:
                return None
            waiting = self._take()
        batch = _Batch(entries=len(waiting), size=sum(one.size for one in waiting))
        for one in waiting:
            try:
                (batch.feedback if one.is_feedback else batch.calls).append(one.make_row())
            except Exception as error:  # noqa: BLE001 - one row must not stop the others
                batch.refused.append(type(error).__name__)
        return batch

    def _is_due(self) -> bool:
        enough = len(self._queue) >= self._buffer.batch_rows
        return enough or self._done < self._wanted or self._closed

    def _take(self) -> list[_Waiting]:
        taken: list[_Waiting] = []
        size = 0
        while self._queue and len(taken) < self._buffer.batch_rows and size < _BATCH_BYTES:
            taken.append(self._queue.popleft())
            size += taken[-1].size
        return taken

    def _write_out(self, batch: _Batch) -> bool:
        """Try until the batch is stored; False if the log was closed before."""
        wait_s = _FIRST_WAIT_S
        while (reason := self._try(batch)) is not None:
            self.alarm.outage(reason)
            if self._overflow:
                self.alarm.full()
            with self._changed:
                self._failures += 1
                self._hurry = False
                jitter = random.uniform(0.5, 1)
                self._changed.wait_for(lambda: self._hurry or self._over, wait_s * jitter)
                if self._over:
                    return False
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
        return True

    def _try(self, batch: _Batch) -> str | None:
        """Store the batch; returns why that is not possible now."""
        try:
            with self._storing:
                batch.store_in(self._store)
        except CallLogError as error:
            return str(error)
        except Exception as error:  # noqa: BLE001 - the thread must survive what a driver raises
            return type(error).__name__
        return None

    def _settle(self, batch: _Batch) -> None:
        """Count a stored batch and let go of those who wait for it."""
        with self._changed:
            if not self._over:
                self._done += batch.entries
                self._bytes -= batch.size
                self._written += batch.entries - len(batch.refused)
                self._dropped += len(batch.refused)
            self._changed.notify_all()
            overflow = self._overflow
            is_over = len(self._queue) < self._buffer.most_rows // 2
            self._overflow = 0 if is_over else overflow
        self.alarm.refused(batch.refused)
        if overflow:
            self.alarm.full()
        if self.alarm.is_on and is_over:
            self.alarm.over(overflow)
