"""A log's cells by span of time, kept in a file of their own: only spans that changed are read again."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo
from itertools import pairwise
from pathlib import Path
from threading import Lock

from router.call_log.address import LogAddress
from router.call_log.marks import Span, call_marks, feedback_mark, feedback_marks, number_in
from training.dashboard.cells import Cell, Key, from_text, to_text
from training.dashboard.counting import Advance, cells_by_span

FORMAT = 2
"""Version of the kept cells: another one has a file of its own."""
_TABLE = """CREATE TABLE IF NOT EXISTS spans (
    start TEXT, stop TEXT, calls TEXT, all_feedback TEXT, feedback TEXT, cells TEXT, PRIMARY KEY (start, stop)
)"""
Cells = Mapping[Key, Cell]


@dataclass(slots=True, kw_only=True)
class _Kept:
    """The cells of a span, and the marks of the calls and feedback that they count."""

    calls: str
    all_feedback: str
    feedback: str
    cells: Cells


def spans_between(since: datetime, until: datetime, zone: tzinfo, now: datetime) -> list[Span]:
    """Cut a period at the zone's midnights, and today, which grows by the minute, at the full hours."""
    cuts = {since.astimezone(UTC), until.astimezone(UTC)}
    day = since.astimezone(zone).date()
    while (
        midnight := datetime.combine(day := day + timedelta(days=1), time(), zone).astimezone(UTC)
    ) < until:
        cuts.add(midnight)
    today = datetime.combine(now.astimezone(zone).date(), time(), zone)
    hour = max(since, today).astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    while (hour := hour + timedelta(hours=1)) < min(until, now):
        cuts.add(hour)
    return list(pairwise(sorted(cuts)))


class KeptCells:
    """The cells of one log. Several threads may ask."""

    def __init__(self, url: str | Path, folder: Path | None, zone: tzinfo) -> None:
        """Name the log; nothing is read before the first question.

        Args:
            folder: keeps the cells between runs; None: they are kept in memory only.
            zone: where days begin.

        Raises:
            CallLogError: the address is wrong.
        """
        self.url, self.zone = url, zone
        self._file: Path | None = None
        if folder is not None:
            address = LogAddress.of(url)
            name = f"{FORMAT} {address.path} {address.shown} {zone}"
            self._file = folder / "dashboard" / f"{hashlib.sha256(name.encode()).hexdigest()[:24]}.db"
        self._kept: dict[Span, _Kept] = {}
        self._lock = Lock()

    def cells(
        self, since: datetime, until: datetime, advance: Advance = lambda _: None
    ) -> list[tuple[Span, Cells]]:
        """The cells of a period, as the log is now.

        Args:
            advance: gets the number of rows read since it was last called.

        Raises:
            CallLogError: there is no such log, or it can't be read.
            MissingExtra: the database's driver is not installed.
        """
        spans = spans_between(since, until, self.zone, datetime.now(UTC))
        with self._lock:
            self._load(spans)
            all_feedback, calls = feedback_mark(self.url), call_marks(self.url, spans)
            feedback = self._feedback(spans, all_feedback)
            fresh = {
                span: _Kept(calls=mark, all_feedback=all_feedback, feedback=given, cells={})
                for span, mark, given in zip(spans, calls, feedback, strict=True)
            }
            changed = [span for span in spans if not self._counts(span, fresh[span])]
            for some in _neighbours(changed):
                self._count(some, fresh, advance)
            self._kept = {span: self._kept[span] for span in spans}
            return [(span, self._kept[span].cells) for span in spans]

    def _feedback(self, spans: Sequence[Span], all_feedback: str) -> list[str]:
        """The mark of each span's feedback, asked for only where any feedback is new."""
        unsure = [
            span for span in spans if span not in self._kept or self._kept[span].all_feedback != all_feedback
        ]
        asked = dict(zip(unsure, feedback_marks(self.url, unsure), strict=True)) if unsure else {}
        return [asked[span] if span in asked else self._kept[span].feedback for span in spans]

    def _counts(self, span: Span, fresh: _Kept) -> bool:
        """Whether the kept cells of a span still count its calls and feedback."""
        kept = self._kept.get(span)
        if kept is None or (kept.calls, kept.feedback) != (fresh.calls, fresh.feedback):
            return False
        kept.all_feedback = fresh.all_feedback
        return True

    def _count(self, spans: Sequence[Span], fresh: Mapping[Span, _Kept], advance: Advance) -> None:
        """Add up the calls of neighbouring spans, and keep their cells.

        The marks are older than the rows: a call that came in between is read again the next time.
        """
        calls = [number_in(fresh[span].calls) for span in spans]
        with self._database() as database:
            for span, cells in zip(spans, cells_by_span(self.url, spans, calls, advance), strict=True):
                kept = fresh[span]
                kept.cells = cells
                self._kept[span] = kept
                if database is not None:
                    database.execute("DELETE FROM spans WHERE start < ? AND stop > ?", _texts(span)[::-1])
                    values = (
                        *_texts(span),
                        kept.calls,
                        kept.all_feedback,
                        kept.feedback,
                        to_text(kept.cells),
                    )
                    database.execute("INSERT OR REPLACE INTO spans VALUES (?, ?, ?, ?, ?, ?)", values)

    def _load(self, spans: Iterable[Span]) -> None:
        with self._database() as database:
            for span in spans:
                if database is None or span in self._kept:
                    continue
                query = "SELECT calls, all_feedback, feedback, cells FROM spans WHERE start = ? AND stop = ?"
                for calls, all_feedback, feedback, cells in database.execute(query, _texts(span)):
                    self._kept[span] = _Kept(
                        calls=calls, all_feedback=all_feedback, feedback=feedback, cells=from_text(cells)
                    )

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection | None]:
        if self._file is None:
            yield None
            return
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self._file)) as database, database:
            database.execute(_TABLE)
            yield database


def _neighbours(spans: Iterable[Span]) -> Iterator[list[Span]]:
    """Group spans that follow each other without a gap."""
    some: list[Span] = []
    for span in spans:
        if some and some[-1][1] != span[0]:
            yield some
            some = []
        some.append(span)
    if some:
        yield some


def _texts(span: Span) -> tuple[str, str]:
    return span[0].isoformat(), span[1].isoformat()
