"""The tables of a call log in a database: made on first use, and brought to this version's shape."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    DateTime,
    Dialect,
    Double,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    insert,
    inspect,
    select,
    text,
)
from sqlalchemy.schema import CreateColumn
from sqlalchemy.types import TypeDecorator, TypeEngine

from router.call_log.rows import COLUMNS, FEEDBACK_COLUMNS, FLAGS, NUMBERS, WHOLE_NUMBERS
from router.errors import CallLogError
from router.records import Json

SHAPE = 1
"""Grows when a log of this version can't be used by earlier ones; a new column alone does not count."""
_LOCK = 7_306_914_523_011_841
"""Names our advisory lock in PostgreSQL."""


class UtcTime(TypeDecorator[datetime]):
    """A moment: PostgreSQL's `timestamptz`; in SQLite text in UTC, which sorts by time."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """The moment as the driver takes it."""
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """The moment, aware; SQLite gives it without its zone."""
        if value is None:
            return None
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


def _type_of(name: str) -> TypeEngine[Json]:
    if name == "time":
        return UtcTime()
    if name in FLAGS:
        return Boolean()
    if name in WHOLE_NUMBERS:
        return BigInteger()
    return Double() if name in NUMBERS else Text()


def _columns(names: tuple[str, ...], key: str) -> list[Column[Json]]:
    return [Column(name, _type_of(name), primary_key=name == key) for name in names]


TABLES = MetaData()
CALLS = Table("calls", TABLES, *_columns(COLUMNS, "call_id"), Index("calls_by_time", "time", "call_id"))
FEEDBACK = Table(
    "feedback",
    TABLES,
    *_columns(FEEDBACK_COLUMNS, "feedback_id"),
    Index("feedback_by_call", "call_id", "time", "feedback_id"),
)
VERSION = Table("pointsman_log", TABLES, Column("shape", Integer, primary_key=True, autoincrement=False))


def prepare_tables(connection: Connection, shown: str) -> None:
    """Make the tables, or add the columns that an earlier version did not have.

    Processes that start together wait for each other: SQLite's write lock and PostgreSQL's advisory lock see
    to it.

    Args:
        shown: the log's address, for errors.

    Raises:
        CallLogError: the tables are not ours, or a later version's.
    """
    with connection.begin():
        if is_log(connection, shown) and not missing_columns(connection):
            return
    with connection.begin():
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        made = is_log(connection, shown)
        TABLES.create_all(connection, checkfirst=True)
        if not made:
            connection.execute(insert(VERSION), {"shape": SHAPE})
        for column in missing_columns(connection):
            definition = CreateColumn(column).compile(dialect=connection.dialect)
            connection.execute(text(f"ALTER TABLE {column.table.name} ADD COLUMN {definition}"))


def is_log(connection: Connection, shown: str) -> bool:
    """Whether the database holds a call log that this version can use.

    Raises:
        CallLogError: it holds tables of these names that are not ours, or a later version's.
    """
    found = set(inspect(connection).get_table_names())
    if VERSION.name not in found:
        foreign = sorted(found & {CALLS.name, FEEDBACK.name})
        if foreign:
            raise CallLogError(
                f"{shown}: holds a table {foreign[0]!r} that pointsman did not make; name another file or "
                "database, or in PostgreSQL another schema: ...?options=-csearch_path%3Dpointsman"
            )
        return False
    shape = connection.execute(select(VERSION.c.shape)).scalar()
    if shape is not None and shape > SHAPE:
        raise CallLogError(
            f"{shown}: written by a later version of pointsman (shape {shape}, this one knows {SHAPE}); "
            "upgrade pointsman, or name another log"
        )
    return True


def missing_columns(connection: Connection) -> list[Column[Json]]:
    """Columns of our tables that the database's lack."""
    inspector = inspect(connection)
    missing: list[Column[Json]] = []
    for table in (CALLS, FEEDBACK):
        present = {column["name"] for column in inspector.get_columns(table.name)}
        missing += [column for column in table.columns if column.name not in present]
    return missing
