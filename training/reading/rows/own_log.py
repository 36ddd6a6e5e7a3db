"""Raw rows of all sources: canonical logs are read by column here, other logs by their readers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

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
    LogFile,
    LongLine,
    damage_as_log_error,
    is_remote,
    line_batches,
    open_log,
    open_raw,
)
from training.reading.files.raw import RawBatch, RawRows
from training.reading.rows.converting import converted_batches
from training.reading.rows.joining import joined_batches
from training.reading.rows.source_rows import parquet_values

_MOST_NAMES = 1000


def read_batches(file: LogFile, row_group: int = 0) -> Iterator[RawBatch]:
    """The rows of a file or database, or of one row group of a Parquet file, in order.

    Raises:
        CallLogError: the file is damaged, or the database can't be read.
    """
    with damage_as_log_error(file.path):
        if file.kind == "spool":
            yield from joined_batches(file)
        elif file.reader == OWN_LOG:
            yield from _own_batches(file, row_group)
        else:
            yield from converted_batches(file, row_group)


def _own_batches(file: LogFile, row_group: int) -> Iterator[RawBatch]:
    match file.kind:
        case "parquet":
            return _parquet_batches(file, row_group)
        case "json":
            return _json_batches(file)
        case "csv":
            return _csv_batches(file)
        case "database":
            return database_batches(file)
        case _:
            return converted_batches(file)


def _json_batches(file: LogFile) -> Iterator[RawBatch]:
    content, raw = open_log(file.location)
    feedback = Feedback(file.feedback) if file.feedback else None
    seen: set[str] = set()
    line, position = 0, 0
    with raw:
        for lines in line_batches(content, BATCH_BYTES):
            rows, names = _json_rows(lines, line + 1, file.mapping, feedback)
            new = frozenset(names - seen) if len(seen) < _MOST_NAMES else frozenset()
            seen |= new
            yield RawBatch(rows=rows, names=new, bytes_read=raw.tell() - position)
            line, position = line + len(lines), raw.tell()


def _json_rows(
    lines: Sequence[bytes], first: int, mapping: Mapping[str, str], feedback: Feedback | None
) -> tuple[RawRows, set[str]]:
    """Raw rows of consecutive lines, of which the first has number `first`, and the names in them."""
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
    if isinstance(line, LongLine):
        raise ValueError(f"line {line.problem}")
    try:
        value, repaired = parse_json(line.removeprefix(b"\xef\xbb\xbf"))
    except UnicodeDecodeError as error:
        raise ValueError("line is not valid UTF-8") from error
    except ValueError as error:
        raise ValueError("line is broken JSON") from error
    if not isinstance(value, dict):
        raise ValueError("line is not a JSON object")
    return value, repaired


def _csv_batches(file: LogFile) -> Iterator[RawBatch]:
    content, raw = open_log(file.location)
    names = file.names or ()
    position = 0
    with raw:
        rows = csv_rows(content, len(names))
        next(rows, None)
        for first in rows:
            batch, size = [first], 0
            for row in rows:
                batch.append(row)
                size += len(row.text)
                if size > BATCH_BYTES or len(batch) >= BATCH_ROWS:
                    break
            new = frozenset(names) if position == 0 else frozenset[str]()
            yield RawBatch(
                rows=_csv_columns(batch, names, file.mapping), names=new, bytes_read=raw.tell() - position
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
    sources = {field: source for field, source in file.mapping.items() if source in (file.names or ())}
    source = open_raw(file.location) if is_remote(file.location) else file.location
    with pq.ParquetFile(source, pre_buffer=False, buffer_size=1 << 20) as parquet:
        if not parquet.num_row_groups:
            return
        group = parquet.metadata.row_group(row_group)
        row = 1 + sum(parquet.metadata.row_group(number).num_rows for number in range(row_group))
        size = max(1, min(BATCH_ROWS, BATCH_BYTES * group.num_rows // max(group.total_byte_size, 1)))
        batches = parquet.iter_batches(
            size, row_groups=[row_group], columns=list(dict.fromkeys(sources.values()))
        )
        names = frozenset(file.names or ()) if row_group == 0 else frozenset[str]()
        for batch in batches:
            rows = _parquet_rows(batch, row, sources)
            share = file.size * batch.num_rows // max(parquet.metadata.num_rows, 1)
            yield RawBatch(rows=rows, names=names, bytes_read=share)
            row, names = row + batch.num_rows, frozenset()


def _parquet_rows(batch: pa.RecordBatch, first: int, sources: Mapping[str, str]) -> RawRows:
    columns = {field: parquet_values(batch.column(source)) for field, source in sources.items()}

    def raw(row: int) -> str:
        return json.dumps({sources[field]: values[row] for field, values in columns.items()}, default=str)

    return RawRows(
        lines=range(first, first + batch.num_rows),
        columns=columns,
        broken={},
        repaired=frozenset(),
        raw=raw,
    )
