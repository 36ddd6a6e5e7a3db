"""Call logs in a database, SQLite or PostgreSQL: append each row once and read them back in order."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import cast

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Insert,
    Select,
    Table,
    create_engine,
    event,
    exc,
    func,
    make_url,
    null,
    select,
    text,
)
from sqlalchemy.pool import NullPool

from router.call_log.address import LogAddress
from router.call_log.rows import COLUMNS, Row, row_to_json
from router.call_log.tables import CALLS, FEEDBACK, is_log, missing_columns, prepare_tables
from router.errors import CallLogError, MissingExtra
from router.records import Json

_BUSY_S = 5.0
_STATEMENT_MS = 30_000
_READ_AT_ONCE = 1000
_NEVER_STORED = frozenset({"22", "23", "54"})
"""PostgreSQL's classes of errors that a row causes: data exception, violated constraint, exceeded limit."""
_CONNECTION: dict[str, Json] = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
    "application_name": "pointsman",
}
"""These notice in seconds that a server stopped answering; the system's own defaults take hours."""


class DatabaseStore:
    """The tables of one call log, with one connection for writing.

    Each row has a key, and a row that exists already is left alone: a batch whose commit was not confirmed
    can be written again. Only one thread at a time may use a store.
    """

    def __init__(self, address: LogAddress) -> None:
        self._address = address
        self._engine = _engine(address)
        self._connection: Connection | None = None
        self._file: tuple[int, int] | None = None

    def append_calls(self, rows: Sequence[Row]) -> list[str]:
        """Store the rows, in one transaction where possible.

        Returns:
            The reason for each row that can never be stored; the other rows are stored.

        Raises:
            CallLogError: the database can't be written now. Some rows may be stored; try again with all.
        """
        return self._append(CALLS, rows)

    def append_feedback(self, rows: Sequence[Row]) -> list[str]:
        """Store feedback; as `append_calls`."""
        return self._append(FEEDBACK, rows)

    def close(self) -> None:
        """Close the connection; the next rows open another one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(exc.SQLAlchemyError):  # the server may be gone already
                connection.close()

    def read(
        self,
        since: datetime | None = None,
        until: datetime | None = None,
        columns: Collection[str] = COLUMNS,
    ) -> Iterator[dict[str, Json]]:
        """Every call from `since` and before `until`, by time and call id, with its latest feedback.

        Raises:
            CallLogError: there is no such log, or it can't be read.
        """
        with connection_to(self._address) as connection:
            if not is_log(connection, self._address.shown):
                raise CallLogError(
                    f"{self._address.shown}: holds no call log; check the address, or make a call first"
                )
            wanted = _with_feedback(connection, since, until, columns)
            streaming = connection.execution_options(yield_per=_READ_AT_ONCE)
            for row in streaming.execute(wanted).mappings():
                yield row_to_json(dict(row))

    def _append(self, table: Table, rows: Sequence[Row]) -> list[str]:
        if not rows:
            return []
        try:
            connection = self._ready()
            if _try_insert(connection, table, rows) is None:
                return []
            return [why for row in rows if (why := _try_insert(connection, table, [row])) is not None]
        except exc.SQLAlchemyError as error:
            self.close()
            raise CallLogError(self._address.reason(error)) from None
        except OSError as error:
            raise CallLogError(error.strerror or type(error).__name__) from None
        except CallLogError:
            self.close()
            raise

    def _ready(self) -> Connection:
        """The connection; opens one if there is none, or if its file was moved or removed."""
        path = self._address.path
        if self._address.kind == "sqlite" and self._connection is not None and _identity(path) != self._file:
            _empty_wal(self._connection)
            self.close()
        if self._connection is None:
            if self._address.kind == "sqlite":
                path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = self._engine.connect()
            prepare_tables(self._connection, self._address.shown)
            self._file = _identity(path)
        return self._connection


@contextmanager
def connection_to(address: LogAddress) -> Iterator[Connection]:
    """Connect to any database for reading; never creates a file.

    Raises:
        CallLogError: the database can't be reached, or fails while the connection is in use.
        MissingExtra: the database's driver is not installed.
    """
    try:
        connection = _engine(address, reading=True).connect()
    except (exc.SQLAlchemyError, ValueError) as error:
        raise _unreadable(address, error) from None
    try:
        with connection:
            yield connection
    except exc.SQLAlchemyError as error:
        raise _unreadable(address, error) from None


def _unreadable(address: LogAddress, error: Exception) -> CallLogError:
    return CallLogError(f"{address.shown}: can't be read: {address.reason(error)}")


def check_driver(address: LogAddress) -> None:
    """Check that the database's driver is installed.

    Raises:
        MissingExtra: names the extra to install.
    """
    if address.kind == "postgres":
        try:
            import psycopg  # noqa: F401
        except ImportError as error:
            raise MissingExtra("psycopg", "postgres") from error


def _try_insert(connection: Connection, table: Table, rows: Sequence[Row]) -> str | None:
    """Insert all the rows or none.

    Returns:
        None, or why one of them can never be stored: the type of error, since its text may quote the row.

    Raises:
        SQLAlchemyError: the database can't be written now.
    """
    is_postgres = connection.dialect.name == "postgresql"
    try:
        with connection.begin():
            if is_postgres:
                connection.execute(text(f"SET LOCAL statement_timeout = {_STATEMENT_MS}"))
            connection.execute(_insert(table, is_postgres), list(rows))
    except exc.DBAPIError as error:
        state = str(getattr(error.orig, "sqlstate", None) or "")
        if not isinstance(error, exc.DataError | exc.IntegrityError) and state[:2] not in _NEVER_STORED:
            raise
        return " ".join((type(error.orig).__name__, state)).strip()
    except (exc.StatementError, ValueError, TypeError, ArithmeticError) as error:
        return type(getattr(error, "orig", None) or error).__name__  # a value that the driver can't pass on
    return None


@cache
def _insert(table: Table, is_postgres: bool) -> Insert:
    """The statement that adds rows and leaves existing ones alone."""
    if is_postgres:
        from sqlalchemy.dialects.postgresql import insert as into_postgres

        return into_postgres(table).on_conflict_do_nothing(index_elements=list(table.primary_key))
    from sqlalchemy.dialects.sqlite import insert as into_sqlite

    return into_sqlite(table).on_conflict_do_nothing(index_elements=list(table.primary_key))


def _with_feedback(
    connection: Connection, since: datetime | None, until: datetime | None, wanted_columns: Collection[str]
) -> Select[tuple[Json]]:
    latest = (
        select(FEEDBACK.c.feedback_id)
        .where(FEEDBACK.c.call_id == CALLS.c.call_id)
        .order_by(FEEDBACK.c.time.desc(), FEEDBACK.c.feedback_id.desc())
        .limit(1)
        .correlate(CALLS)
        .scalar_subquery()
    )
    missing = {column.name for column in missing_columns(connection)}.union(
        set(COLUMNS).difference(wanted_columns)
    )
    joined: dict[str, ColumnElement[Json]] = {
        "success": func.coalesce(FEEDBACK.c.success, CALLS.c.success),
        "score": func.coalesce(FEEDBACK.c.score, CALLS.c.score),
        "outcome_source": func.coalesce(FEEDBACK.c.source, CALLS.c.outcome_source),
    }
    columns = [
        (null() if column.name in missing else joined.get(column.name, column)).label(column.name)
        for column in CALLS.columns
    ]
    wanted = select(*columns).outerjoin_from(CALLS, FEEDBACK, FEEDBACK.c.feedback_id == latest)
    if since is not None:
        wanted = wanted.where(CALLS.c.time >= since)
    if until is not None:
        wanted = wanted.where(CALLS.c.time < until)
    return wanted.order_by(CALLS.c.time, CALLS.c.call_id)


def _engine(address: LogAddress, *, reading: bool = False) -> Engine:
    if address.kind == "postgres":
        check_driver(address)
        try:
            url = make_url(address.url)
        except (exc.ArgumentError, ValueError):
            raise CallLogError(f"{address.shown}: the address can't be read") from None
        defaults = {name: value for name, value in _CONNECTION.items() if name not in url.query}
        return create_engine(url, poolclass=NullPool, connect_args={**defaults, "prepare_threshold": None})
    path = address.path
    engine = create_engine(
        "sqlite://",
        creator=lambda: _open_to_read(path) if reading else _open_to_write(path),
        poolclass=NullPool,
    )
    begin = "BEGIN" if reading else "BEGIN IMMEDIATE"

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _open_to_write(path: Path) -> sqlite3.Connection:
    """Open in WAL mode, in which readers and the writer don't wait for each other."""
    connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA synchronous=NORMAL")
        use_wal(connection)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def use_wal(connection: sqlite3.Connection) -> None:
    """Switch to WAL; if two processes do so at once, SQLite fails one without waiting, which tries again."""
    until = time.monotonic() + _BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
        time.sleep(0.02)


def _open_to_read(path: Path) -> sqlite3.Connection:
    """Open without ever creating the file."""
    # In WAL mode even a reader creates files beside it. On a read-only disk it can't, and needs to be sure
    # that nobody changes the file.
    fixed = not os.access(path.parent, os.W_OK) and not path.with_name(f"{path.name}-wal").exists()
    address = f"{path.as_uri()}?mode=rw{'&immutable=1' if fixed else ''}"
    return sqlite3.connect(address, uri=True, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)


def _empty_wal(connection: Connection) -> None:
    """Write all rows into the file itself: if it was moved away, its WAL stayed behind."""
    raw = connection.connection.driver_connection
    with suppress(sqlite3.Error):
        cast("sqlite3.Connection", raw).execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
