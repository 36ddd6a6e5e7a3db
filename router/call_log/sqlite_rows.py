"""Rows of a SQLite log, read in short transactions so that writers never wait long, and past damage."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import TypeAlias

from router.call_log.rows import COLUMNS, FEEDBACK_COLUMNS, KEY, row_from_sqlite
from router.call_log.sqlite_file import is_corrupt
from router.records import Json

logger = logging.getLogger(__name__)

_AT_ONCE = 500
_END = "~"
"""Sorts after every time."""
_TREES: Mapping[str, tuple[Sequence[str], Sequence[str]]] = {
    "calls": (COLUMNS, ("rowid", "call_id", "time, call_id")),
    "feedback": (FEEDBACK_COLUMNS, ("rowid", "feedback_id", "call_id, time, feedback_id")),
}
"""Columns of each table, and the order of the rows in each of its trees: the table itself and its indexes."""
_OF_FEEDBACK = {"success": "success", "score": "score", "outcome_source": "source"}
_Key: TypeAlias = tuple[str, str]


class _Disorder(Exception):
    """Rows don't come in their order: the table and its index differ."""


def read_in_order(
    connection: sqlite3.Connection,
    shown: str,
    since: datetime | None,
    until: datetime | None,
    columns: Collection[str] = COLUMNS,
) -> Iterator[dict[str, Json]]:
    """The calls that the log holds at the start, by time and call id, with their latest feedback.

    Damaged rows are left out with a warning: one that holds something else than pointsman wrote, and those of
    a page that can't be read. A period is from `since` and before `until`.

    Args:
        shown: the log's address, for the warning.
        columns: those to read beside the key; the others are null.

    Raises:
        sqlite3.Error: the database can't be read at all.
    """
    connection.text_factory = _text_or_bytes
    last = "" if since is None else _time_text(since), ""
    end = _END if until is None else _time_text(until)
    damaged = 0
    try:
        for key, values in _ordered(connection, last, end, columns):
            last = key
            try:
                row = row_from_sqlite(values)
            except ValueError:
                damaged += 1
                continue
            yield row
    except (sqlite3.DatabaseError, _Disorder) as error:
        if isinstance(error, sqlite3.DatabaseError) and not is_corrupt(error):
            raise
        with closing(sqlite3.connect("")) as saved:
            damaged = _save(connection, saved)
            yield from (row_from_sqlite(values) for _, values in _ordered(saved, last, end, columns))
        logger.warning("%s: the file is damaged; move it away, and a new one is made", shown)
    if damaged:
        warn_of_damage(shown, damaged)


def warn_of_damage(shown: str, rows: int) -> None:
    """Report the number of rows that were left out of a log."""
    logger.warning("%s: %d row(s) are damaged and were left out", shown, rows)


def _ordered(
    connection: sqlite3.Connection, last: _Key, end: str, columns: Collection[str]
) -> Iterator[tuple[_Key, dict[str, Json]]]:
    """The rows after `last` and before the time `end`, each with its key: time and call id."""
    query = _query(connection, columns)
    # Rows are only ever added, so the numbers of the last ones mark the log of this moment.
    calls, feedback = (
        connection.execute(f"SELECT max(rowid) FROM {table}").fetchone()[0] or 0 for table in _TREES
    )
    while rows := connection.execute(query, (feedback, calls, *last, end, _AT_ONCE)).fetchall():
        for row in rows:
            values = dict(zip(COLUMNS, row, strict=True))
            key = values["time"], values["call_id"]
            if not all(isinstance(part, str) for part in key) or key <= last:
                raise _Disorder
            last = key
            yield key, values


def _query(connection: sqlite3.Connection, wanted: Collection[str]) -> str:
    """Selects the next calls with their latest feedback; null for columns not wanted, or not in the log."""
    present = {name for _, name, *_ in connection.execute("PRAGMA table_info(calls)")}
    given = {name: f"coalesce(f.{column}, c.{name})" for name, column in _OF_FEEDBACK.items()}
    columns = [
        given.get(name, f"c.{name}") if name in present and name in {*KEY, *wanted} else "NULL"
        for name in COLUMNS
    ]
    return f"""
        SELECT {", ".join(columns)} FROM calls c LEFT JOIN feedback f ON f.rowid =
            (SELECT max(rowid) FROM feedback WHERE call_id = c.call_id AND rowid <= ?)
        WHERE c.rowid <= ? AND (c.time, c.call_id) > (?, ?) AND c.time < ?
        ORDER BY c.time, c.call_id LIMIT ?
    """


def _save(source: sqlite3.Connection, saved: sqlite3.Connection) -> int:
    """Copy the rows that can be read into an empty database; returns the number of those that can't."""
    damaged = 0
    for table, (columns, orders) in _TREES.items():
        present = {name for _, name, *_ in source.execute(f"PRAGMA table_info({table})")}
        names = ", ".join(name for name in columns if name in present)
        saved.execute(f"CREATE TABLE {table} ({', '.join(columns)}, PRIMARY KEY ({orders[1]}))")
        saved.execute(f"CREATE INDEX {table}_in_order ON {table} ({orders[2]})")
        for number in _row_numbers(source, table, orders):
            try:
                row = source.execute(f"SELECT {names} FROM {table} WHERE rowid = ?", (number,)).fetchone()
                row_from_sqlite(dict(zip(names.split(", "), row, strict=True)))
            except (sqlite3.DatabaseError, ValueError, TypeError):
                damaged += 1
                continue
            marks = ", ".join("?" * (len(row) + 1))
            saved.execute(f"INSERT OR IGNORE INTO {table} (rowid, {names}) VALUES ({marks})", (number, *row))
    return damaged


def _row_numbers(source: sqlite3.Connection, table: str, orders: Sequence[str]) -> Iterator[int]:
    """The numbers of a table's rows, from the first of its trees that is whole; else from parts of all."""
    with closing(sqlite3.connect("")) as seen:
        seen.execute("CREATE TABLE numbers (number INTEGER PRIMARY KEY)")
        for order in orders:
            if _walk(source, f"SELECT rowid FROM {table} ORDER BY {order}", seen):
                break
            _walk(source, f"SELECT rowid FROM {table} ORDER BY {order.replace(',', ' DESC,')} DESC", seen)
        yield from (number for (number,) in seen.execute("SELECT number FROM numbers ORDER BY number"))


def _walk(source: sqlite3.Connection, query: str, seen: sqlite3.Connection) -> bool:
    """Note the numbers up to the first damage; returns whether there is none."""
    try:
        seen.executemany("INSERT OR IGNORE INTO numbers VALUES (?)", source.execute(query))
    except sqlite3.DatabaseError:
        return False
    return True


def _text_or_bytes(data: bytes) -> str | bytes:
    """A text of the file; left as bytes if it is damaged, since sqlite3's own error quotes it."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def _time_text(moment: datetime) -> str:
    """A moment as the file holds it."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"
