"""Canonical logs taken apart into raw rows: Parquet, JSON lines, CSV, databases; others by their readers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from router.records import Json
from training.readers.cells import excerpt, parse_json
from training.reading.files.csv_rows import CsvRow, csv_rows
from training.reading.files.database import database_batches
from training.reading.files.feedback_file import Feedback
from training.reading.files.log_file import (
    BATCH_BYTES,
    BATCH_ROWS,
    OWN_LOG,
    Format,
    LogFile,
    RawBatch,
    damage_as_log_error,
    is_remote,
    line_batches,
    open_log,
    open_raw,
)
from training.reading.rows.cleaning import RawRows
from training.reading.rows.converting import converted_batches
from training.reading.rows.joining import joined_batches
from training.reading.rows.source_rows import parquet_values

_MOST_NAMES = 1000


def read_batches(file: LogFile, row_group: int = 0) -> Iterator[RawBatch]:
    """The rows of a file or database, or of one row group of a Parquet file, in order.

    Raises:
        CallLogError: the file is damaged, or the database can't be read.
    """
    ways: dict[Format, Callable[[LogFile, int], Iterator[RawBatch]]] = {"joined": joined_batches}
    if file.reader == OWN_LOG:
        ways = {
            "parquet": _parquet_batches,
            "json": _json_batches,
            "csv": _csv_batches,
            "database": database_batches,
        }
    with damage_as_log_error(file.path):
        yield from ways.get(file.kind, converted_batches)(file, row_group)


def _json_batches(file: LogFile, _part: int) -> Iterator[RawBatch]:
    content, raw = open_log(file.place)
    feedback = Feedback(file.feedback) if file.feedback else None
    seen: set[str] = set()
    line, position = 0, 0
    with raw:
        for lines in line_batches(content, file.path, BATCH_BYTES):
            rows, names = _json_rows(lines, line + 1, file.mapping, feedback)
            new = frozenset(names - seen) if len(seen) < _MOST_NAMES else frozenset()
            seen |= new
            yield RawBatch(rows=rows, names=new, bytes_read=raw.tell() - position)
            line, position = line + len(lines), raw.tell()


def _json_rows(
    lines: Sequence[bytes], first: int, mapping: Mapping[str, str], feedback: Feedback | None
) -> tuple[RawRows, set[str]]:
    """Raw rows of consecutive lines, the first of which has number `first`, and the names seen in them."""
    kept = [(number, line) for number, line in enumerate(lines, start=first) if not line.isspace()]
    values: list[Mapping[str, Json]] = []
    broken: dict[int, tuple[str, str]] = {}
    repaired: set[int] = set()
    names: set[str] = set()
    for row, (_, line) in enumerate(kept):
        try:
            value, was_repaired = _json_object(line)
        except ValueError as error:
            broken[row] = str(error), excerpt(line.decode(errors="backslashreplace").strip())
            value, was_repaired = {}, False
        value = feedback.joined(value, mapping) if feedback else value
        values.append(value)
        names.update(value)
        if was_repaired:
            repaired.add(row)
    columns = {
        field: [value.get(source) for value in values] for field, source in mapping.items() if source in names
    }
    rows = RawRows(
        lines=[number for number, _ in kept],
        columns=columns,
        broken=broken,
        repaired=frozenset(repaired),
        raw=lambda row: kept[row][1].decode(errors="backslashreplace").rstrip("\r\n"),
    )
    return rows, names


def _json_object(line: bytes) -> tuple[Mapping[str, Json], bool]:
    try:
        value, repaired = parse_json(line.removeprefix(b"\xef\xbb\xbf"))
    except UnicodeDecodeError as error:
        raise ValueError("line is not valid UTF-8") from error
    except ValueError as error:
        raise ValueError("line is broken JSON") from error
    if not isinstance(value, dict):
        raise ValueError("line is not a JSON object")
    return value, repaired


def _csv_batches(file: LogFile, _part: int) -> Iterator[RawBatch]:
    content, raw = open_log(file.place)
    names = file.names or ()
    position = 0
    with raw:
        rows = csv_rows(content, file.path, len(names))
        next(rows, None)
        for first in rows:
            some, size = [first], 0
            for row in rows:
                some.append(row)
                size += len(row.text)
                if size > BATCH_BYTES or len(some) >= BATCH_ROWS:
                    break
            new = frozenset(names) if position == 0 else frozenset[str]()
            yield RawBatch(
                rows=_csv_columns(some, names, file.mapping), names=new, bytes_read=raw.tell() - position
            )
            position = raw.tell()


def _csv_columns(rows: Sequence[CsvRow], names: Sequence[str], mapping: Mapping[str, str]) -> RawRows:
    place = {name: number for number, name in enumerate(names)}
    return RawRows(
        lines=[row.line for row in rows],
        columns={
            field: [row.cells[place[source]] for row in rows]
            for field, source in mapping.items()
            if source in place
        },
        broken={
            number: (row.problem, excerpt(row.text.rstrip("\r\n")))
            for number, row in enumerate(rows)
            if row.problem
        },
        repaired=frozenset(),
        raw=lambda row: rows[row].text.rstrip("\r\n"),
    )


def _parquet_batches(file: LogFile, row_group: int) -> Iterator[RawBatch]:
    wanted = {field: source for field, source in file.mapping.items() if source in (file.names or ())}
    source = open_raw(file.place) if is_remote(file.place) else file.place
    with pq.ParquetFile(source, pre_buffer=False, buffer_size=1 << 20) as parquet:
        if not parquet.num_row_groups:
            return
        group = parquet.metadata.row_group(row_group)
        row = 1 + sum(parquet.metadata.row_group(number).num_rows for number in range(row_group))
        size = max(1, min(BATCH_ROWS, BATCH_BYTES * group.num_rows // max(group.total_byte_size, 1)))
        batches = parquet.iter_batches(
            size, row_groups=[row_group], columns=list(dict.fromkeys(wanted.values()))
        )
        names = frozenset(file.names or ()) if row_group == 0 else frozenset[str]()
        for batch in batches:
            rows = _parquet_rows(batch, row, wanted)
            share = file.size * batch.num_rows // max(parquet.metadata.num_rows, 1)
            yield RawBatch(rows=rows, names=names, bytes_read=share)
            row, names = row + batch.num_rows, frozenset()


def _parquet_rows(batch: pa.RecordBatch, first: int, wanted: Mapping[str, str]) -> RawRows:
    columns = {field: parquet_values(batch.column(source)) for field, source in wanted.items()}

    def raw(row: int) -> str:
        return json.dumps({wanted[field]: values[row] for field, values in columns.items()}, default=str)

    return RawRows(
        lines=range(first, first + batch.num_rows),
        columns=columns,
        broken={},
        repaired=frozenset(),
        raw=raw,
    )
