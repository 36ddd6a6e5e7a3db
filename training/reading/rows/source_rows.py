"""Files and tables taken apart into records, for the readers of other programs' logs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import orjson
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from router.records import Json
from training.readers.cells import drop_null_members, dump_json, excerpt, parse_json
from training.readers.known import known_readers
from training.readers.protocol import Record
from training.reading.files.csv_rows import csv_rows
from training.reading.files.foreign_table import table_records
from training.reading.files.json_values import split_values
from training.reading.files.log_file import BATCH_BYTES, BATCH_ROWS, LogFile, line_batches, open_log, open_raw

_Problem: TypeAlias = tuple[str, str]


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One record of a source.

    Attributes:
        line: where it stands, from 1; a line, or a row's number.
        record: None where it could not be taken apart.
        text: as it stands in the file; None where that is made from the record.
        problem: reason and excerpt, where it could not be taken apart.
        repaired: a lone surrogate in it was replaced.
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
        rows: to be walked through once.
        size: bytes of the file consumed for them.
        digest: of a table, a hash of its rows up to these.
    """

    rows: Iterable[SourceRow]
    size: int
    digest: str | None = None
    names: frozenset[str] = field(default_factory=frozenset)


def raw_text(row: bytes | Record | None) -> str:
    """A row as it stands in the source, from its text or, of a table, from its record."""
    return (
        row.decode(errors="backslashreplace").rstrip("\r\n") if isinstance(row, bytes) else record_text(row)
    )


def record_text(value: Json) -> str:
    """JSON text of a record; what JSON has no form for, as text."""
    try:
        return orjson.dumps(value, default=str).decode()
    except TypeError:
        return dump_json(value)


def source_rows(file: LogFile, part: int = 0, batch_bytes: int = BATCH_BYTES) -> Iterator[SourceRows]:
    """The records of a file or table, or of one row group of a Parquet file, in order.

    Args:
        batch_bytes: about the bytes of the file read at a time.

    Raises:
        CallLogError: the file is damaged, or the table can't be read.
    """
    if file.kind == "json":
        yield from _lines(file, batch_bytes)
    elif file.kind == "values":
        yield from _values(file, batch_bytes)
    elif file.kind == "csv":
        yield from _csv(file, batch_bytes)
    elif file.kind == "parquet":
        yield from _parquet(file, part)
    elif file.kind == "table":
        yield from _numbered(table_records(file.url, file.table))
    else:
        fetched = known_readers()[file.reader].fetch(file.url)
        yield from _numbered((record, 0) for record in fetched)


def _lines(file: LogFile, batch_bytes: int) -> Iterator[SourceRows]:
    content, raw = open_log(file.place)
    line, position = 0, 0
    with raw:
        for lines in line_batches(content, file.path, batch_bytes):
            yield SourceRows(rows=_json_rows(lines, line + 1), size=raw.tell() - position)
            line, position = line + len(lines), raw.tell()


def _json_rows(lines: Sequence[bytes], first: int) -> Iterator[SourceRow]:
    """Records one at a time: each is gone before the next, which is much quicker than to hold them all."""
    for number, text in enumerate(lines, start=first):
        if not text.isspace():
            yield json_row(number, text)


def _values(file: LogFile, batch_bytes: int) -> Iterator[SourceRows]:
    content, raw = open_log(file.place)
    position, size = 0, 0
    some: list[SourceRow] = []
    with raw:
        for number, text in enumerate(split_values(content, file.path), start=1):
            some.append(json_row(number, text, what="value"))
            size += len(text)
            if size > batch_bytes or len(some) >= BATCH_ROWS:
                yield SourceRows(rows=some, size=raw.tell() - position)
                position, size, some = raw.tell(), 0, []
        if some:
            yield SourceRows(rows=some, size=raw.tell() - position)


def json_row(line: int, text: bytes, what: str = "line") -> SourceRow:
    """A record from its JSON text."""
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
    content, raw = open_log(file.place)
    names = file.names or ()
    position, size = 0, 0
    some: list[SourceRow] = []
    with raw:
        rows = csv_rows(content, file.path, len(names))
        next(rows, None)
        for row in rows:
            text = row.text.encode("utf-8", "surrogatepass")
            if row.problem:
                some.append(_broken(row.line, text, row.problem))
            else:
                some.append(SourceRow(row.line, dict(zip(names, row.cells, strict=True)), text))
            size += len(text)
            if size > batch_bytes or len(some) >= BATCH_ROWS:
                yield SourceRows(rows=some, size=raw.tell() - position)
                position, size, some = raw.tell(), 0, []
        if some:
            yield SourceRows(rows=some, size=raw.tell() - position)


def _parquet(file: LogFile, group: int) -> Iterator[SourceRows]:
    with open_raw(file.place) as raw, pq.ParquetFile(raw, pre_buffer=False) as parquet:
        if not parquet.num_row_groups:
            return
        about = parquet.metadata.row_group(group)
        row = 1 + sum(parquet.metadata.row_group(number).num_rows for number in range(group))
        size = max(1, min(BATCH_ROWS, BATCH_BYTES * about.num_rows // max(about.total_byte_size, 1)))
        for batch in parquet.iter_batches(size, row_groups=[group]):
            names = batch.schema.names
            columns = [parquet_values(column) for column in batch.columns]
            records = (dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True))
            rows = [SourceRow(number, record) for number, record in enumerate(records, start=row)]
            share = file.size * batch.num_rows // max(parquet.metadata.num_rows, 1)
            yield SourceRows(rows=rows, size=share)
            row += batch.num_rows


def parquet_values(column: pa.Array) -> list[Json]:
    """Python values of a column; text that is not UTF-8 comes as bytes, for the row's check to find."""
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        try:
            column.validate(full=True)
        except pa.ArrowInvalid:
            binary = pa.binary() if pa.types.is_string(column.type) else pa.large_binary()
            return list(column.view(binary).to_pylist())
    values = pl.Series(column).to_list()
    return [drop_null_members(value) for value in values] if pa.types.is_nested(column.type) else values


def _numbered(records: Iterator[tuple[Mapping[str, Json], int]]) -> Iterator[SourceRows]:
    """Records with their sizes in batches, hashed on the way."""
    digest = hashlib.sha256()
    some: list[SourceRow] = []
    size = 0
    for number, (record, known_size) in enumerate(records, start=1):
        text = record_text(record).encode("utf-8", "surrogatepass")
        digest.update(text + b"\n")
        some.append(SourceRow(number, record))
        size += known_size or len(text)
        if size > BATCH_BYTES or len(some) >= BATCH_ROWS:
            yield SourceRows(rows=some, size=size, digest=digest.hexdigest())
            some, size = [], 0
    if some:
        yield SourceRows(rows=some, size=size, digest=digest.hexdigest())
