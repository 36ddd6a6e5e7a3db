"""The call log: one row per attempt, kept for the next training; no request waits for it."""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Collection, Iterator
from datetime import datetime
from functools import partial
from itertools import count
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

from router.call_log.address import LogAddress
from router.call_log.lookup import NOTHING_SPENT, Spend, spend_since, unknown_calls
from router.call_log.rows import COLUMNS, TEXTS, CallRecord, Row, fit_row
from router.call_log.text import Redact, TextMode, TextRule, take_snapshot
from router.call_log.writer import Buffer, Counts, LogWriter
from router.errors import CallLogError
from router.records import Json
from router.settings.functions import load_function

if TYPE_CHECKING:
    from router.call_log.lines import LineStore
    from router.call_log.store import DatabaseStore

__all__ = ["Buffer", "CallLog", "CallRecord", "Counts", "load_function", "read_rows"]

_SCALARS = tuple(name for name in COLUMNS if name not in TEXTS)
_scalar_values = attrgetter(*_SCALARS)
_text_values = attrgetter(*TEXTS)
_ROW_BYTES = 1000
"""About how much memory a waiting row takes beside its text."""
_NO_BUFFER = Buffer()


class CallLog:
    """The rows of this process; a thread of its own writes them.

    `write` copies the text and returns. The log's thread does the rest, in batches of at most 0.2 seconds or
    500 rows. A process that is killed loses the batch in flight and the rows that wait in memory, which are
    those of the last moments or those since the log could not be written; older rows are safe. SIGTERM loses
    none: `router.call_log.process` says how. A power cut may also take the last
    commits, but never damages a database.

    No call fails because of a full disk, a locked database or a server that is down: rows wait in memory,
    each batch is tried again, and no row is stored twice. A forked process gets its own thread and
    connection.
    """

    def __init__(self, writer: LogWriter, rule: TextRule, address: LogAddress | None = None) -> None:
        self._writer = writer
        self._address = address
        self._rule = rule
        self._feedback_number = count()

    @classmethod
    def open(
        cls,
        url: str | Path,
        text: TextMode = "full",
        redact: Redact | None = None,
        buffer: Buffer = _NO_BUFFER,
        warn_of_unknown: bool = True,
    ) -> CallLog:
        """Open a log; the first row creates its file or its tables.

        Args:
            url: a file ending in .db or .sqlite (SQLite) or .jsonl (JSON lines), or postgresql://...
            text: "full"; "redacted": messages, tools and response format with every text as `redact` returns
                it, or no text if it fails; "hash": the prompt key only. An image or another file inside a
                message is left out if redacted; "full" replaces it by its hash from 32 kB on.
            redact: runs in the log's thread.
            warn_of_unknown: whether the log's thread warns of feedback for a call that the log does not have.

        Raises:
            CallLogError: the address is wrong.
            MissingExtra: the database's driver is not installed.
            ValueError: `text` and `redact` don't go together.
        """
        address = LogAddress.of(url)
        rule = TextRule(mode=text, redact=redact)
        lookup = {"unknown": partial(unknown_calls, address)} if warn_of_unknown else {}
        return cls(LogWriter(partial(_store_at, address), buffer, address.shown, **lookup), rule, address)

    @property
    def address(self) -> LogAddress | None:
        """Where the rows are; None for a log that something else writes."""
        return self._address

    def write(self, record: CallRecord) -> None:
        """Log an attempt; never waits and never raises. The caller may change its messages afterwards."""
        try:
            texts = take_snapshot(_text_values(record))
            self._writer.put(partial(self._row, _scalar_values(record), texts), len(texts) + _ROW_BYTES)
        except Exception as error:  # noqa: BLE001 - no request may fail because of its log
            self._writer.drop()
            self._writer.alarm.refused([type(error).__name__])

    def feedback(
        self,
        call_id: str | None,
        *,
        success: bool | None = None,
        score: float | None = None,
        source: str = "feedback",
    ) -> None:
        """Log the outcome of a call of any process and time; of several, the last to arrive counts.

        Args:
            score: in [0, 1].

        Raises:
            ValueError: neither success nor score, or a value of the wrong form.
        """
        check_feedback(call_id=call_id, success=success, score=score, source=source)
        moment = time.time_ns()
        values: Row = {
            "feedback_id": f"{moment:020d}-{next(self._feedback_number):08d}-{uuid.uuid4().hex[:12]}",
            "call_id": call_id,
            "time": moment / 1e9,
            "success": success,
            "score": score,
            "source": source,
        }
        self._writer.put(partial(fit_row, values), _ROW_BYTES, is_feedback=True)

    def flush(self, timeout_s: float = 10) -> bool:
        """Wait until all rows so far are stored or dropped; False if the time runs out."""
        return self._writer.flush(timeout_s)

    def close(self) -> None:
        """Write the waiting rows for at most the buffer's `close_s`; the end of the process does so too."""
        self._writer.close()

    def spend_since(self, since: datetime) -> Spend:
        """What the stored calls since a moment cost, whichever process logged them; nothing before the first.

        Raises:
            CallLogError: the log can't be read.
        """
        if self._address is None:
            raise CallLogError("this call log has no address to read from: open it by CallLog.open")
        if self._address.kind != "postgres" and not self._address.path.exists():
            return NOTHING_SPENT
        return spend_since(self._address, since)

    @property
    def counts(self) -> Counts:
        """What became of the rows so far."""
        return self._writer.counts

    def _row(self, scalars: tuple[Json, ...], texts: bytes) -> Row:
        """The stored form of a record; runs in the writer's thread."""
        values = dict(zip(_SCALARS, scalars, strict=True))
        kept = self._rule.keep(texts, values["prompt_key"])
        if kept.redaction_error is not None:
            self._writer.unredacted += 1
            self._writer.alarm.once(
                f"redaction failed ({kept.redaction_error}): prompts are logged without text"
            )
        values |= {"messages": kept.messages, "tools": kept.tools, "response_format": kept.response_format}
        values |= {"prompt_key": kept.prompt_key, "truncated": values["truncated"] or kept.cut}
        return fit_row({name: values[name] for name in COLUMNS})


def read_rows(
    url: str | Path,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    columns: Collection[str] = COLUMNS,
) -> Iterator[dict[str, Json]]:
    """Every call of a log, by time and call id, with its latest feedback in place of its own outcome.

    Rows are plain JSON values: `time` is ISO 8601 in UTC. A success or score that the feedback lacks stays
    the row's. Of several feedbacks the last to arrive counts, whatever the clocks said. Damaged rows are left
    out, with a warning of their number. Memory does not grow with the log.

    Args:
        since, until: only calls from `since` and before `until`, both with a time zone.
        columns: those to read beside `time` and `call_id`; the others are null, which is faster.

    Raises:
        CallLogError: there is no such log, or it can't be read.
        MissingExtra: the database's driver is not installed.
        ValueError: a time without a zone.
    """
    for name, moment in (("since", since), ("until", until)):
        if moment is not None and moment.tzinfo is None:
            raise ValueError(f"{name} needs a time zone, got {moment.isoformat()}")
    address = LogAddress.of(url)
    address.check_exists()
    return _store_at(address).read(since, until, columns)


def _store_at(address: LogAddress) -> LineStore | DatabaseStore:
    if address.kind == "lines":
        from router.call_log.lines import LineStore

        return LineStore(address)
    from router.call_log.store import DatabaseStore

    return DatabaseStore(address)


def check_feedback(*, call_id: str | None, success: bool | None, score: float | None, source: str) -> None:
    """Check the form of a feedback.

    Raises:
        ValueError: neither success nor score, or a value of the wrong form.
    """
    for name, text in (("call_id", call_id), ("source", source)):
        if not isinstance(text, str) or not text:
            raise ValueError(f"{name} must be a text, got {text!r}")
    if success is None and score is None:
        raise ValueError(f"feedback on {call_id!r} has neither success nor score; give one of them")
    if not isinstance(success, bool | None):
        raise ValueError(f"success must be true or false, got {success!r}")
    is_number = isinstance(score, int | float) and not isinstance(score, bool)
    if score is not None and not (is_number and math.isfinite(score) and 0 <= score <= 1):
        raise ValueError(f"score must be a number from 0 to 1, got {score!r}")
