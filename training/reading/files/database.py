"""Databases: the records of the runtime's call log, and of the tables of other programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from router.call_log.address import LogAddress
from router.call_log.log import read_rows
from router.call_log.lookup import log_bytes
from router.call_log.rows import COLUMNS
from router.call_log.store import connection_to
from router.errors import CallLogError
from router.records import Json
from training.reading.files.log_file import LogFile

_AFTER_ALL = datetime(9000, 1, 1, tzinfo=UTC)
_ROWS_FETCHED = 1000
_TABLES_NAMED = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table or view.

    Attributes:
        columns: their names, in order.
        filled: whether it has a row.
    """

    name: str
    columns: tuple[str, ...]
    filled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """A database that a source names.

    Attributes:
        table: the table that the source names after `#`; "" if it names none.
    """

    address: LogAddress
    table: str

    @staticmethod
    def of(source: str) -> Database:
        """Parse a source for which `is_database` is true.

        Raises:
            CallLogError: no database has such an address.
        """
        location, _, table = source.partition("#")
        address = LogAddress.of(location if "://" in location else f"sqlite:///{location}")
        return Database(address=address, table=table)

    @property
    def url(self) -> str:
        """Opens the database; it may hold a password."""
        return self.address.url or f"sqlite:///{self.address.path}"

    def own_log(self, number: int, mapping: Mapping[str, str]) -> LogFile:
        """The runtime's call log in this database.

        Raises:
            CallLogError: the database can't be reached or read, or holds no call log.
            MissingExtra: its driver is not installed.
        """
        next(read_rows(self.url, since=_AFTER_ALL), None)  # returns no row, but opens the log
        return LogFile(
            number=number,
            path=self.address.shown,
            kind="database",
            size=log_bytes(self.url),
            mapping=mapping,
            names=COLUMNS,
            url=self.url,
        )

    def tables(self) -> list[Table]:
        """All tables and views, in the order of their names.

        Raises:
            CallLogError: the database can't be reached or read.
            MissingExtra: its driver is not installed.
        """
        from sqlalchemy import inspect, select, table, text

        if self.address.kind == "sqlite" and not self.address.path.is_file():
            raise CallLogError(f"{self.address.shown}: no such file (from {Path.cwd()}); check the path")
        tables = []
        with connection_to(self.address) as connection:
            inspector = inspect(connection)
            for name in sorted([*inspector.get_table_names(), *inspector.get_view_names()]):
                columns = tuple(column["name"] for column in inspector.get_columns(name))
                first = connection.execute(select(text("1")).select_from(table(name)).limit(1)).first()
                tables.append(Table(name=name, columns=columns, filled=first is not None))
        return tables

    def no_table(self, tables: Sequence[Table]) -> CallLogError:
        """The error that the table which the source names is none of these."""
        names = ", ".join(table.name for table in tables[:_TABLES_NAMED]) or "none"
        return CallLogError(
            f"{self.address.shown}: no table {self.table!r}; tables there: {names}; name one as ADDRESS#TABLE"
        )


def table_records(url: str, name: str) -> Iterator[Mapping[str, Json]]:
    """The rows of a table by column name, in the order of its primary key if it has one.

    The database keeps the result and returns it in parts, so memory stays the same for any table.

    Raises:
        CallLogError: the table can't be read.
    """
    from sqlalchemy import column, inspect, select, table, text

    with connection_to(LogAddress.of(url)) as connection:
        key = inspect(connection).get_pk_constraint(name)["constrained_columns"]
        query = select(text("*")).select_from(table(name)).order_by(*map(column, key))
        rows = connection.execution_options(stream_results=True, yield_per=_ROWS_FETCHED).execute(query)
        yield from map(dict, rows.mappings())


def log_records(file: LogFile) -> Iterator[Mapping[str, Json]]:
    """The rows that the runtime's log has now, with their feedback so far; later writes are not included.

    Raises:
        CallLogError: the log can't be read.
    """
    number = 0
    try:
        for row in read_rows(file.url):
            yield row
            number += 1
    except ValueError as error:
        raise CallLogError(
            f"{file.path}: a row after row {number} holds what pointsman did not write there: {error}"
        ) from error
