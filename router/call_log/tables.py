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
    Identity,
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
"""Version of the tables: one higher when earlier code can't use them; a new column alone does not count."""
_LOCK = 7_306_914_523_011_841
"""Key of pointsman's advisory lock in PostgreSQL."""


class UtcTime(TypeDecorator[datetime]):
    """A moment: `timestamptz` in PostgreSQL; in SQLite, text in UTC, which sorts by time."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """The moment in UTC."""
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """The moment with its zone, which SQLite leaves out."""
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
ARRIVAL = Table("feedback", MetaData(), Column("arrival", BigInteger, Identity())).c.arrival
"""Number of a feedback in PostgreSQL, in the order of arrival; in SQLite it is the `rowid`."""
VERSION = Table("pointsman_log", TABLES, Column("shape", Integer, primary_key=True, autoincrement=False))


def prepare_tables(connection: Connection, shown: str) -> None:
    """Create the tables, or add the columns that an earlier version did not have.

    Processes that start together wait for each other, by SQLite's write lock or PostgreSQL's advisory lock.

    Args:
        shown: the log's address, for errors.

    Raises:
        CallLogError: the tables are not pointsman's, or of a later version.
    """
    with connection.begin():
        if is_log(connection, shown) and not missing_columns(connection):
            return
    with connection.begin():
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        existed = is_log(connection, shown)
        TABLES.create_all(connection, checkfirst=True)
        if not existed:
            connection.execute(insert(VERSION), {"shape": SHAPE})
        for column in missing_columns(connection):
            definition = CreateColumn(column).compile(dialect=connection.dialect)
            connection.execute(text(f"ALTER TABLE {column.table.name} ADD COLUMN {definition}"))


def is_log(connection: Connection, shown: str) -> bool:
    """Whether the database holds a call log that this version can use.

    Raises:
        CallLogError: it holds tables of these names that are not pointsman's, or of a later version.
    """
    names = set(inspect(connection).get_table_names())
    if VERSION.name not in names:
        foreign = sorted(names & {CALLS.name, FEEDBACK.name})
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
    """Columns that the tables in the database lack."""
    inspector = inspect(connection)
    is_postgres = connection.dialect.name == "postgresql"
    missing: list[Column[Json]] = []
    for table in (CALLS, FEEDBACK):
        present = {column["name"] for column in inspector.get_columns(table.name)}
        wanted = [*table.columns, *([ARRIVAL] if table is FEEDBACK and is_postgres else [])]
        missing += [column for column in wanted if column.name not in present]
    return missing
