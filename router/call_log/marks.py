"""Marks of a call log's spans of time: a span whose marks stay the same holds the same calls and feedback."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from router.call_log.address import LogAddress
from router.call_log.log import read_rows

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection

Span: TypeAlias = tuple[datetime, datetime]
"""From the first moment to before the second."""
Place: TypeAlias = tuple[str, datetime]
"""A call's id and time."""
_PLACE = ("call_id", "time")


def call_marks(url: str | Path, spans: Sequence[Span]) -> list[str]:
    """A mark of the calls of each span: their number and greatest id, as rows are only added or removed.

    Of JSON lines, the size and time of the file.

    Raises:
        CallLogError: there is no such log, or it can't be read.
        MissingExtra: the database's driver is not installed.
    """
    address = LogAddress.of(url)
    if address.kind == "lines":
        return [_mark_of_files(address)] * len(spans)
    from sqlalchemy import func, select

    from router.call_log.tables import CALLS

    wanted = select(func.count(), func.max(CALLS.c.call_id))
    with log_read(address) as connection:
        return [_mark(connection.execute(wanted.where(*_within(span))).one()) for span in spans]


def feedback_marks(url: str | Path, spans: Sequence[Span]) -> list[str]:
    """A mark of the feedback on the calls of each span, whenever it was given; as `call_marks`."""
    address = LogAddress.of(url)
    if address.kind == "lines":
        return [_mark_of_files(address)] * len(spans)
    from sqlalchemy import func, select

    from router.call_log.tables import CALLS, FEEDBACK

    wanted = select(func.count(), func.max(FEEDBACK.c.feedback_id)).join_from(
        CALLS, FEEDBACK, FEEDBACK.c.call_id == CALLS.c.call_id
    )
    with log_read(address) as connection:
        return [_mark(connection.execute(wanted.where(*_within(span))).one()) for span in spans]


def feedback_mark(url: str | Path) -> str:
    """A mark of all feedback: as long as it stays the same, so do those of all spans; as `call_marks`."""
    address = LogAddress.of(url)
    if address.kind == "lines":
        return _mark_of_files(address)
    from sqlalchemy import func, select

    from router.call_log.tables import FEEDBACK

    with log_read(address) as connection:
        return _mark(connection.execute(select(func.count(), func.max(FEEDBACK.c.feedback_id))).one())


def first_and_last(url: str | Path) -> Span | None:
    """The times of the first and the last call; None for a log without calls; raises as `call_marks`."""
    address = LogAddress.of(url)
    if address.kind == "lines":
        times = (row["time"] for row in read_rows(url, columns=_PLACE))
        start = next(times, None)
        ends = [start, *deque(times, 1)]
        return (datetime.fromisoformat(ends[0]), datetime.fromisoformat(ends[-1])) if start else None
    from sqlalchemy import select

    from router.call_log.tables import CALLS

    by_time = select(CALLS.c.time).limit(1)
    with log_read(address) as connection:
        first = connection.execute(by_time.order_by(CALLS.c.time)).scalar()
        last = connection.execute(by_time.order_by(CALLS.c.time.desc())).scalar()
        return (first, last) if first and last else None


def latest_calls(url: str | Path, span: Span, most: int) -> list[Place]:
    """The last calls of a span, the latest first; raises as `call_marks`."""
    address = LogAddress.of(url)
    if address.kind == "lines":
        rows = deque(read_rows(url, since=span[0], until=span[1], columns=_PLACE), most)
        return [(row["call_id"], datetime.fromisoformat(row["time"])) for row in reversed(rows)]
    from sqlalchemy import select

    from router.call_log.tables import CALLS

    order = (CALLS.c.time.desc(), CALLS.c.call_id.desc())
    wanted = select(CALLS.c.call_id, CALLS.c.time).where(*_within(span)).order_by(*order).limit(most)
    with log_read(address) as connection:
        return [(call_id, moment) for call_id, moment in connection.execute(wanted)]


def places_of(url: str | Path, call_ids: Collection[str]) -> list[Place]:
    """Which of these calls the log has, by time; raises as `call_marks`."""
    address = LogAddress.of(url)
    if address.kind == "lines":
        rows = (row for row in read_rows(url, columns=_PLACE) if row["call_id"] in call_ids)
        return [(row["call_id"], datetime.fromisoformat(row["time"])) for row in rows]
    from sqlalchemy import select

    from router.call_log.tables import CALLS

    wanted = select(CALLS.c.call_id, CALLS.c.time).where(CALLS.c.call_id.in_(call_ids)).order_by(CALLS.c.time)
    with log_read(address) as connection:
        return [(call_id, moment) for call_id, moment in connection.execute(wanted)]


@contextmanager
def log_read(address: LogAddress) -> Iterator[Connection]:
    """Connect to a log in a database for reading; raises as `call_marks`."""
    from router.call_log.store import connection_to
    from router.call_log.tables import is_log
    from router.errors import CallLogError

    address.check_exists()
    with connection_to(address) as connection:
        if not is_log(connection, address.shown):
            raise CallLogError(f"{address.shown}: holds no call log; check the address, or make a call first")
        yield connection


def _within(span: Span) -> tuple[ColumnElement[bool], ...]:
    from router.call_log.tables import CALLS

    return CALLS.c.time >= span[0], CALLS.c.time < span[1]


def number_in(mark: str) -> int:
    """The number of calls in a mark of a log in a database."""
    return int(mark.partition(" ")[0])


def _mark(values: Iterable[object]) -> str:
    return " ".join(map(str, values))


def _mark_of_files(address: LogAddress) -> str:
    from router.call_log.lines import LineStore

    address.check_exists()
    files = (address.path, LineStore(address).feedback_path)
    stats = [file.stat() for file in files if file.is_file()]
    return _mark(part for stat in stats for part in (stat.st_size, stat.st_mtime_ns))
