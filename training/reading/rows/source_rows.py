"""The records of files and tables, in batches."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import BinaryIO, TypeAlias

import orjson
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from router.records import Json
from training.readers.cells import DecimalComma, drop_null_members, dump_json, excerpt, parse_json
from training.readers.known import known_readers
from training.readers.protocol import Record
from training.reading.files.csv_rows import CsvRow, csv_rows
from training.reading.files.database import log_records, table_records
from training.reading.files.json_values import split_values
from training.reading.files.log_file import (
    BATCH_BYTES,
    BATCH_ROWS,
    LogFile,
    LongLine,
    is_remote,
    line_batches,
    open_log,
    open_raw,
)

_YEARS = (-62_135_596_800, 253_402_300_800)
"""Seconds since 1970 in which the years begin and end that Python knows."""
_UNITS = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_Problem: TypeAlias = tuple[str, str]


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One record of a source.

    Attributes:
        line: its line, or its number, from 1; its place in the log once rows of several files are joined.
        record: None if the row can't be parsed.
        text: as it stands in the file; None for a row of Parquet or a table, which has only the record.
        problem: reason and excerpt if the row can't be parsed.
        repaired: whether a lone surrogate in it was replaced.
    """

    line: int
    record: Record | None
    text: bytes | None = None
    problem: _Problem | None = None
    repaired: bool = False

    def raw(self) -> str:
        """The row as it stands in the source."""
        return raw_text(self.record if self.text is None else self.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRows:
    """Some consecutive records of one file.

    Attributes:
        rows: can be iterated once.
        size: bytes of the file consumed for them.
        digest: hash of all rows of a table up to these; None for a file.
    """

    rows: Iterable[SourceRow]
    size: int
    digest: str | None = None


def raw_text(row: bytes | Record | None) -> str:
    """A row as it stands in the source, from its text or its record."""
    return (
        row.decode(errors="backslashreplace").rstrip("\r\n") if isinstance(row, bytes) else record_text(row)
    )


def record_text(value: Json) -> str:
    """JSON text of a record; values that JSON can't hold become strings."""
    try:
        return orjson.dumps(value, default=str).decode()
    except TypeError:
        return dump_json(value)


def source_rows(file: LogFile, part: int = 0, batch_bytes: int = BATCH_BYTES) -> Iterator[SourceRows]:
    """The records of a file or table, or of one row group of a Parquet file, in order.

    Args:
        batch_bytes: about how many bytes of the file are read at a time.

    Raises:
        CallLogError: the file is damaged, or the table can't be read.
    """
    match file.kind:
        case "json":
            return _lines(file, batch_bytes)
        case "values":
            return _values(file, batch_bytes)
        case "csv":
            return _csv(file, batch_bytes)
        case "parquet":
            return _parquet(file, part)
        case "frame":
            records = _frame_records(file)
        case "database":
            records = log_records(file)
        case "table":
            records = table_records(file.url, file.table)
        case _:
            records = known_readers()[file.reader].fetch(file.url)
    return _numbered(records)


def _lines(file: LogFile, batch_bytes: int) -> Iterator[SourceRows]:
    content, raw = open_log(file.location)
    line, position = 0, 0
    with raw:
        for lines in line_batches(content, batch_bytes):
            yield SourceRows(rows=_json_rows(lines, line + 1), size=raw.tell() - position)
            line, position = line + len(lines), raw.tell()


def _json_rows(lines: Sequence[bytes], first: int) -> Iterator[SourceRow]:
    # One record at a time: each is freed before the next, which is much faster than to hold them all.
    for number, text in enumerate(lines, start=first):
        if not text.isspace():
            yield _json_row(number, text, "line")


def _values(file: LogFile, batch_bytes: int) -> Iterator[SourceRows]:
    content, raw = open_log(file.location)
    with raw:
        texts = enumerate(split_values(content, file.path), start=1)
        rows = (_json_row(number, text, "value") for number, text in texts)
        yield from _row_batches(rows, raw, batch_bytes)


def _row_batches(rows: Iterable[SourceRow], raw: BinaryIO, batch_bytes: int) -> Iterator[SourceRows]:
    """Rows in batches, each with the bytes of the stored file that it took."""
    batch: list[SourceRow] = []
    position, size = 0, 0
    for row in rows:
        batch.append(row)
        size += len(row.text or b"")
        if size > batch_bytes or len(batch) >= BATCH_ROWS:
            yield SourceRows(rows=batch, size=raw.tell() - position)
            position, size, batch = raw.tell(), 0, []
    if batch:
        yield SourceRows(rows=batch, size=raw.tell() - position)


def _json_row(line: int, text: bytes, what: str) -> SourceRow:
    if isinstance(text, LongLine):
        return _broken(line, text, f"{what} {text.problem}")
    try:
        value = orjson.loads(text)
        repaired = False
    except orjson.JSONDecodeError:
        try:
            value, repaired = parse_json(text.removeprefix(b"\xef\xbb\xbf"))
        except UnicodeDecodeError:
            return _broken(line, text, f"{what} is not valid UTF-8")
        except ValueError:
            return _broken(line, text, f"{what} is broken JSON")
    if not isinstance(value, dict):
        return _broken(line, text, f"{what} is not a JSON object")
    return SourceRow(line, value, text, None, repaired)


def _broken(line: int, text: bytes, reason: str) -> SourceRow:
    return SourceRow(line, None, text, (reason, excerpt(text.decode(errors="backslashreplace").strip())))


def _csv(file: LogFile, batch_bytes: int) -> Iterator[SourceRows]:
    content, raw = open_log(file.location)
    names = file.names or ()
    with raw:
        rows = csv_rows(content, len(names), file.separator)
        next(rows, None)
        comma = file.separator == ";"
        yield from _row_batches((_csv_row(row, names, comma=comma) for row in rows), raw, batch_bytes)


def _csv_row(row: CsvRow, names: Sequence[str], *, comma: bool) -> SourceRow:
    """One row.

    Args:
        comma: whether a number may have a decimal comma.
    """
    text = row.text.encode("utf-8", "surrogatepass")
    if row.problem:
        return _broken(row.line, text, row.problem)
    cells = map(DecimalComma.marked, row.cells) if comma else row.cells
    return SourceRow(row.line, dict(zip(names, cells, strict=True)), text)


def _parquet(file: LogFile, group: int) -> Iterator[SourceRows]:
    for first, batch, size in row_group_batches(file, group):
        rows = [SourceRow(number, record) for number, record in enumerate(_batch_records(batch), start=first)]
        yield SourceRows(rows=rows, size=size)


def _frame_records(file: LogFile) -> Iterator[Record]:
    assert file.frame is not None, "a file of this kind has its rows with it"
    for batch in file.frame.to_batches(BATCH_ROWS):
        yield from _batch_records(batch)


def _batch_records(batch: pa.RecordBatch) -> Iterator[Record]:
    columns = [parquet_values(column) for column in batch.columns]
    return (dict(zip(batch.schema.names, values, strict=True)) for values in zip(*columns, strict=True))


def row_group_batches(
    file: LogFile, group: int, columns: Sequence[str] | None = None
) -> Iterator[tuple[int, pa.RecordBatch, int]]:
    """The batches of one row group, each with its first row's number and its share of the file's bytes."""
    opened = open_raw(file.location) if is_remote(file.location) else nullcontext(file.location)
    with opened as source, pq.ParquetFile(source, pre_buffer=False, buffer_size=1 << 20) as parquet:
        if not parquet.num_row_groups:
            return
        about = parquet.metadata.row_group(group)
        row = 1 + sum(parquet.metadata.row_group(number).num_rows for number in range(group))
        size = max(1, min(BATCH_ROWS, BATCH_BYTES * about.num_rows // max(about.total_byte_size, 1)))
        for batch in parquet.iter_batches(size, row_groups=[group], columns=columns):
            yield row, batch, file.size * batch.num_rows // max(parquet.metadata.num_rows, 1)
            row += batch.num_rows


def parquet_values(column: pa.Array) -> list[Json]:
    """Python values of a column: maps as objects, UUIDs as text, times in UTC.

    Text that is not UTF-8 stays bytes, and a time beyond the year 9999 is said to be one, so that the row's
    check rejects them.
    """
    column = _readable(column)
    values = _one_by_one(column) if _is_odd(column) else pl.Series(column).to_list()
    return [drop_null_members(value) for value in values] if pa.types.is_nested(column.type) else values


def _readable(column: pa.Array) -> pa.Array:
    """The column in a type that every step after this knows."""
    kind = column.type
    if isinstance(kind, pa.UuidType):
        return pa.array([one and str(one) for one in column.to_pylist()], pa.string())
    if isinstance(kind, pa.BaseExtensionType):
        return column.storage
    return column.cast(pa.timestamp(kind.unit, "UTC")) if pa.types.is_timestamp(kind) and kind.tz else column


def _is_odd(column: pa.Array) -> bool:
    """Whether Python's values have to be made one by one, which is slower."""
    kind = column.type
    if pa.types.is_timestamp(kind):
        first, last = pc.min_max(pc.divide(column.view(pa.int64()), _UNITS[kind.unit])).as_py().values()
        return first is not None and not _YEARS[0] <= first <= last < _YEARS[1]
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return True
    return pa.types.is_decimal256(kind) or "map<" in str(kind)


def _one_by_one(column: pa.Array) -> list[Json]:
    values: list[Json] = []
    for cell in column:
        try:
            values.append(cell.as_py(maps_as_pydicts="lossy"))
        except UnicodeDecodeError as error:
            values.append(error.object)
        except (ValueError, OverflowError):
            values.append(f"a {cell.type} out of range")
    return values


def _numbered(records: Iterable[Record]) -> Iterator[SourceRows]:
    """Records in batches, numbered and hashed."""
    digest = hashlib.sha256()
    batch: list[SourceRow] = []
    size = 0
    for number, record in enumerate(records, start=1):
        text = record_text(record).encode("utf-8", "surrogatepass")
        digest.update(text + b"\n")
        batch.append(SourceRow(number, record))
        size += len(text)
        if size > BATCH_BYTES or len(batch) >= BATCH_ROWS:
            yield SourceRows(rows=batch, size=size, digest=digest.hexdigest())
            batch, size = [], 0
    if batch:
        yield SourceRows(rows=batch, size=size, digest=digest.hexdigest())
