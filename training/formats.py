"""Logs taken apart into raw rows: Parquet, JSON lines and CSV (the last two plain or gzipped), databases."""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from router.errors import CallLogError
from router.records import Json
from training.cells import drop_null_members, excerpt, parse_json
from training.cleaning import RawRows
from training.database import database_batches
from training.feedback_file import Feedback
from training.log_file import BATCH_BYTES, BATCH_ROWS, LogFile, RawBatch, open_log

_LONGEST_FIELD = 1 << 26
_MOST_NAMES = 1000
COPY_AGAIN = "copy the file again, or leave it out"

DAMAGED_GZIP = (EOFError, zlib.error, gzip.BadGzipFile)


def read_batches(file: LogFile, row_group: int = 0) -> Iterator[RawBatch]:
    """The rows of a file or database, or of one row group of a Parquet file, in order.

    Raises:
        CallLogError: the file is damaged, or the database can't be read.
    """
    readers = {
        "parquet": _parquet_batches, "json": _json_batches, "csv": _csv_batches, "database": database_batches,
    }  # fmt: skip
    try:
        yield from readers[file.kind](file, row_group)
    except DAMAGED_GZIP as error:
        raise CallLogError(
            f"{file.path}: the gzip data is cut short or damaged ({error}); {COPY_AGAIN}"
        ) from error
    except (pa.ArrowException, OSError) as error:
        raise CallLogError(f"{file.path}: can't be read: {one_line(error)}; {COPY_AGAIN}") from error


def csv_header(path: str) -> tuple[str, ...]:
    """Column names of a CSV file; none if it is empty."""
    content, raw = open_log(path)
    with raw:
        first = next(csv.reader(_CsvLines(content)), [])
    return tuple(first)


def refuse_array(path: str) -> None:
    """Raise where a file of JSON lines is one JSON array instead."""
    content, raw = open_log(path)
    with raw:
        start = content.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"["):
        raise CallLogError(
            f"{path}: holds one JSON array; write one object a line instead: jq -c '.[]' {Path(path).name}"
        )


def one_line(error: Exception) -> str:
    """An error's first words, without line breaks."""
    return " ".join(str(error).split())[:200]


def _json_batches(file: LogFile, _part: int) -> Iterator[RawBatch]:
    content, raw = open_log(file.path)
    feedback = Feedback(file.feedback) if file.feedback else None
    seen: set[str] = set()
    line, position = 0, 0
    with raw:
        while lines := content.readlines(BATCH_BYTES):
            for start in range(0, len(lines), BATCH_ROWS):
                some = lines[start : start + BATCH_ROWS]
                rows, names = _json_rows(some, line + 1, file.mapping, feedback)
                new = frozenset(names - seen) if len(seen) < _MOST_NAMES else frozenset()
                seen |= new
                yield RawBatch(rows=rows, names=new, bytes_read=raw.tell() - position)
                line, position = line + len(some), raw.tell()


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


class _CsvLines:
    """Lines of a CSV file as text; remembers which were not UTF-8, and the text since the last row."""

    def __init__(self, content: BinaryIO) -> None:
        self._content = content
        self._number = 0
        self.held: list[str] = []
        self.undecodable = False

    def __iter__(self) -> Iterator[str]:
        for line in self._content:
            self._number += 1
            try:
                text = line.decode("utf-8-sig" if self._number == 1 else "utf-8")
            except UnicodeDecodeError:
                text = line.decode(errors="backslashreplace")
                self.undecodable = True
            self.held.append(text)
            yield text

    def take(self) -> tuple[str, bool]:
        """The text since the last call, and whether all of it was UTF-8."""
        taken = "".join(self.held), not self.undecodable
        self.held, self.undecodable = [], False
        return taken


def _csv_batches(file: LogFile, _part: int) -> Iterator[RawBatch]:
    csv.field_size_limit(_LONGEST_FIELD)  # the module's default of 128 KiB is shorter than many a prompt
    content, raw = open_log(file.path)
    names = file.names or ()
    position = 0
    with raw:
        rows = _csv_rows(content, len(names))
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


@dataclass(frozen=True, slots=True)
class _CsvRow:
    line: int
    cells: Sequence[str | None]
    text: str
    problem: str | None


def _csv_rows(content: BinaryIO, width: int) -> Iterator[_CsvRow]:
    """Every row, header included; one that can't be split has cells of None and says why."""
    lines = _CsvLines(content)
    reader = csv.reader(lines, strict=True)
    while True:
        line = reader.line_num + 1
        problem = None
        try:
            cells: Sequence[str | None] | None = next(reader, None)
        except csv.Error as error:
            cells, problem = [None] * width, f"row is broken CSV ({error})"
        if cells is None:
            return
        text, decoded = lines.take()
        if not cells:
            continue
        if problem is None and not decoded:
            problem = "row is not valid UTF-8"
        elif problem is None and len(cells) != width:
            problem = f"row has {len(cells)} cells, the header {width}"
        yield _CsvRow(line, [None] * width if problem else cells, text, problem)


def _csv_columns(rows: Sequence[_CsvRow], names: Sequence[str], mapping: Mapping[str, str]) -> RawRows:
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
    with pq.ParquetFile(file.path, pre_buffer=False, buffer_size=1 << 20) as parquet:
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
    columns = {field: _parquet_values(batch.column(source)) for field, source in wanted.items()}

    def raw(row: int) -> str:
        return json.dumps({wanted[field]: values[row] for field, values in columns.items()}, default=str)

    return RawRows(
        lines=range(first, first + batch.num_rows),
        columns=columns,
        broken={},
        repaired=frozenset(),
        raw=raw,
    )


def _parquet_values(column: pa.Array) -> list[Json]:
    """Python values of a column; text that is not UTF-8 comes as bytes, for the row's check to find."""
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        try:
            column.validate(full=True)
        except pa.ArrowInvalid:
            binary = pa.binary() if pa.types.is_string(column.type) else pa.large_binary()
            return list(column.view(binary).to_pylist())
    values = pl.Series(column).to_list()
    return [drop_null_members(value) for value in values] if pa.types.is_nested(column.type) else values
