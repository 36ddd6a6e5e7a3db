"""Call logs in a database, SQLite or PostgreSQL: append each row once and read them back in order."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import cache, partial
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
    literal_column,
    make_url,
    null,
    select,
    text,
)
from sqlalchemy.pool import NullPool

from router.call_log.address import LogAddress
from router.call_log.file_lock import locked_folder
from router.call_log.rows import COLUMNS, KEY, Row, row_to_json
from router.call_log.sqlite_file import (
    BUSY_S,
    is_damaged,
    open_to_read,
    open_to_write,
    remove_journal,
    set_aside,
    was_moved,
)
from router.call_log.sqlite_rows import read_in_order, warn_of_damage
from router.call_log.tables import ARRIVAL, CALLS, FEEDBACK, is_log, missing_columns, prepare_tables
from router.errors import CallLogError, MissingExtra
from router.records import Json

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
    """The tables of one call log.

    Each row has a key, and a row that exists already is left alone: a batch whose commit was not confirmed
    can be written again. Only one thread at a time may use a store.

    A server's connection stays open. A SQLite file is opened for each batch, by one process at a time, so
    its batches go into the file that has the log's name at their start, even if that file is moved away or
    removed meanwhile. Rows are in the file itself as soon as they are stored, never in one beside it.
    """

    def __init__(self, address: LogAddress) -> None:
        self._address = address
        self._engine = _engine(address)
        self._connection: Connection | None = None

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
            if self._address.kind == "sqlite":
                connection.rollback()
                file = cast("sqlite3.Connection", connection.connection.driver_connection)
                yield from read_in_order(file, self._address.shown, since, until, columns)
            else:
                yield from self._stream(connection, with_feedback(connection, since, until, columns))

    def _stream(self, connection: Connection, wanted: Select[tuple[Json]]) -> Iterator[dict[str, Json]]:
        damaged = 0
        streaming = connection.execution_options(yield_per=_READ_AT_ONCE)
        for row in streaming.execute(wanted):
            try:
                values = row_to_json(dict(zip(COLUMNS, row, strict=True)))
            except (ValueError, RecursionError):
                damaged += 1
                continue
            yield values
        if damaged:
            warn_of_damage(self._address.shown, damaged)

    def _append(self, table: Table, rows: Sequence[Row], *, again: bool = False) -> list[str]:
        if not rows:
            return []
        try:
            with self._writing() as connection:
                if _try_insert(connection, table, rows) is None:
                    return []
                with connection.begin():
                    return [why for row in rows if (why := _try_insert(connection, table, [row])) is not None]
        except exc.SQLAlchemyError as error:
            if isinstance(error, exc.DBAPIError) and was_moved(error.orig) and not again:
                return self._append(table, rows, again=True)
            self.close()
            raise CallLogError(self._address.reason(error)) from None
        except OSError as error:
            raise CallLogError(error.strerror or type(error).__name__) from None
        except CallLogError:
            self.close()
            raise

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        """The connection for one batch, to tables that exist."""
        if self._address.kind == "sqlite":
            path = self._address.path
            path.parent.mkdir(parents=True, exist_ok=True)
            with (
                locked_folder(path.parent, wait_s=BUSY_S),
                _set_aside_if_damaged(path),
                self._engine.connect() as connection,
            ):
                prepare_tables(connection, self._address.shown)
                yield connection
                remove_journal(cast("sqlite3.Connection", connection.connection.driver_connection))
            return
        if self._connection is None:
            self._connection = self._engine.connect()
            prepare_tables(self._connection, self._address.shown)
        yield self._connection


@contextmanager
def _set_aside_if_damaged(path: Path) -> Iterator[None]:
    """Make room for a new log when the file turns out to be damaged.

    Raises:
        CallLogError: it was.
    """
    try:
        yield
    except exc.DBAPIError as error:
        if not is_damaged(path, error.orig):
            raise
        raise CallLogError(
            f"the file is damaged and is now {set_aside(path).name}; a new one follows"
        ) from None


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
    except (exc.SQLAlchemyError, sqlite3.Error) as error:
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
        with connection.begin_nested() if connection.in_transaction() else connection.begin():
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


def with_feedback(
    connection: Connection, since: datetime | None, until: datetime | None, wanted_columns: Collection[str]
) -> Select[tuple[Json]]:
    """Selects the calls from `since` and before `until` by time and id, with their latest feedback.

    Args:
        wanted_columns: those to read beside the key; the others are null.
    """
    missing = {column.name for column in missing_columns(connection)}
    given = FEEDBACK.alias("given")
    of_call = select(given.c.feedback_id).where(given.c.call_id == CALLS.c.call_id).correlate(CALLS)
    if connection.dialect.name == "sqlite":
        row: ColumnElement[int] = literal_column("feedback.rowid")
        latest = row == of_call.with_only_columns(func.max(literal_column("given.rowid"))).scalar_subquery()
    else:
        by_time = (given.c.time.desc(), given.c.feedback_id.desc())  # as a log has it until it is written
        order = by_time if ARRIVAL.name in missing else (literal_column(f"given.{ARRIVAL.name}").desc(),)
        latest = FEEDBACK.c.feedback_id == of_call.order_by(*order).limit(1).scalar_subquery()
    joined: dict[str, ColumnElement[Json]] = {
        "success": func.coalesce(FEEDBACK.c.success, CALLS.c.success),
        "score": func.coalesce(FEEDBACK.c.score, CALLS.c.score),
        "outcome_source": func.coalesce(FEEDBACK.c.source, CALLS.c.outcome_source),
    }
    missing |= set(COLUMNS).difference(KEY, wanted_columns)
    columns = [
        (null() if column.name in missing else joined.get(column.name, column)).label(column.name)
        for column in CALLS.columns
    ]
    wanted = select(*columns).outerjoin_from(CALLS, FEEDBACK, latest)
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
        creator=partial(open_to_read if reading else open_to_write, path),
        poolclass=NullPool,
    )
    begin = "BEGIN" if reading else "BEGIN IMMEDIATE"

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine
