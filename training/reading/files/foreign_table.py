"""Tables of other programs' databases: which there are, and their rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from router.call_log.address import LogAddress
from router.call_log.store import connection_to
from router.errors import CallLogError
from router.records import Json

_AT_ONCE = 1000


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


def tables_of(url: str) -> list[Table]:
    """The tables of a database, in the order of their names.

    Raises:
        CallLogError: it can't be reached or read.
        MissingExtra: its driver is not installed.
    """
    from sqlalchemy import inspect, select, table

    address = LogAddress.of(url)
    if address.kind == "sqlite" and not address.path.is_file():
        raise CallLogError(f"{address.shown}: no such file (from {Path.cwd()}); check the path")
    found = []
    with connection_to(address) as connection:
        inspector = inspect(connection)
        for name in sorted([*inspector.get_table_names(), *inspector.get_view_names()]):
            columns = tuple(column["name"] for column in inspector.get_columns(name))
            first = connection.execute(select(table(name)).with_only_columns(_one()).limit(1)).first()
            found.append(Table(name=name, columns=columns, filled=first is not None))
    return found


def table_records(url: str, name: str) -> Iterator[tuple[Mapping[str, Json], int]]:
    """The rows of a table by column name, in the order of its primary key where it has one; and 0 for size.

    The database keeps the result and hands it out in parts, so memory stays the same for any table.

    Raises:
        CallLogError: it can't be read.
    """
    from sqlalchemy import column, inspect, select, text
    from sqlalchemy import table as table_clause

    with connection_to(LogAddress.of(url)) as connection:
        key = inspect(connection).get_pk_constraint(name)["constrained_columns"]
        whole = select(text("*")).select_from(table_clause(name)).order_by(*map(column, key))
        rows = connection.execution_options(stream_results=True, yield_per=_AT_ONCE).execute(whole)
        for row in rows.mappings():
            yield dict(row), 0


def without_table(source: str) -> tuple[str, str]:
    """An address and the table that it names after `#`, "" where it names none."""
    address, _, name = source.partition("#")
    return address, name


def no_table(shown: str, name: str, there: list[Table]) -> CallLogError:
    """The error for a table that is not there, or none that a reader knows."""
    names = ", ".join(table.name for table in there[:20]) or "none"
    wanted = f"no table {name!r}" if name else "no table that a reader knows"
    return CallLogError(f"{shown}: {wanted}; tables there: {names}; name one as ADDRESS#TABLE")


def _one() -> Json:
    from sqlalchemy import literal_column

    return literal_column("1")
