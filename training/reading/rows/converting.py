"""Records of a source through its reader: calls as raw rows, and the count of what was set apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import cast

from training.readers.cells import excerpt
from training.readers.known import known_readers
from training.readers.protocol import (
    EVIDENCE_FIELDS,
    NO_RECORD,
    Apart,
    Call,
    Joined,
    JoiningReader,
    Reader,
    Record,
    Rejected,
    Result,
)
from training.readers.values import at_path
from training.reading.files.log_file import OWN_LOG, LogFile, RawBatch
from training.reading.rows.cleaning import CALL_SCHEMA, RUNTIME_FIELDS, RawRows
from training.reading.rows.source_rows import SourceRow, SourceRows, raw_text, record_text, source_rows

_FIELDS = (*CALL_SCHEMA.names, *RUNTIME_FIELDS, *EVIDENCE_FIELDS)


@dataclass(slots=True)
class Results:
    """What became of some rows, gathered one by one."""

    lines: list[int] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    raws: list[bytes | Record | None] = field(default_factory=list)
    broken: dict[int, tuple[str, str]] = field(default_factory=dict)
    repaired: set[int] = field(default_factory=set)
    apart: Counter[str] = field(default_factory=Counter)
    joined: int = 0
    rows_in: int = 0

    def add(self, line: int, row: SourceRow, result: Result) -> None:
        """Count one row, and keep it where it is a call or rejected.

        Args:
            line: its number in the file, or its place in the log.
        """
        self.rows_in += 1
        if isinstance(result, Apart):
            self.apart[result.reason] += 1
            return
        if isinstance(result, Joined):
            self.joined += 1
            return
        if isinstance(result, Rejected):
            self.broken[len(self.lines)] = result.reason, excerpt(result.value)
            result = {}
        elif row.repaired:
            self.repaired.add(len(self.lines))
        self.lines.append(line)
        self.calls.append(result)
        self.raws.append(row.record if row.text is None else row.text)

    def add_broken(self, line: int, row: SourceRow) -> None:
        """Count one row that could not be taken apart."""
        self.add(line, row, {})
        if row.problem:
            self.broken[len(self.lines) - 1] = row.problem

    def batch(self, size: int, names: frozenset[str] = frozenset(), digest: str | None = None) -> RawBatch:
        """What was gathered, as the rest of the read pass takes it."""
        given = {name for call in self.calls for name in call}
        raws = self.raws
        rows = RawRows(
            lines=self.lines,
            columns={name: [call.get(name) for call in self.calls] for name in _FIELDS if name in given},
            broken=self.broken,
            repaired=frozenset(self.repaired),
            raw=lambda row: raw_text(raws[row]),
        )
        return RawBatch(
            rows=rows,
            names=names,
            bytes_read=size,
            digest=digest,
            rows_in=self.rows_in,
            apart=self.apart,
            joined=self.joined,
        )


def converted_batches(file: LogFile, part: int = 0) -> Iterator[RawBatch]:
    """The rows of a file through its reader, in order.

    Raises:
        CallLogError: the file is damaged, or can't be read.
    """
    if file.reader == OWN_LOG:
        convert = partial(_own, file.mapping)
    else:
        convert = partial(_foreign, known_readers()[file.reader], file.overrides)
    for rows in numbered_rows(file, part):
        results = Results()
        seen: set[str] = set()
        for row in rows.rows:
            if row.record is None:
                results.add_broken(row.line, row)
            else:
                results.add(row.line, row, convert(row.record, seen))
        yield results.batch(rows.size, frozenset(seen), rows.digest)


def numbered_rows(file: LogFile, part: int = 0) -> Iterator[SourceRows]:
    """The rows in the records of a file: each its record, or for a reader of many rows each numbered anew.

    Raises:
        CallLogError: the file is damaged, or can't be read.
    """
    reader = known_readers().get(file.reader)
    if reader is None or not reader.many_rows:
        yield from source_rows(file, part)
        return
    number = 0
    for batch in source_rows(file, part):
        rows = []
        for row in batch.rows:
            for one in _rows_in(reader, row):
                number += 1
                rows.append(SourceRow(number, one.record, one.text, one.problem, one.repaired))
        yield SourceRows(rows=rows, size=batch.size, digest=batch.digest)


def _rows_in(reader: Reader, row: SourceRow) -> Iterator[SourceRow]:
    """The rows in one record; an empty one is kept as it is, and then set apart."""
    if row.record is None:
        yield row
        return
    empty = True
    for record in reader.rows(row.record):
        empty = False
        yield SourceRow(row.line, record, None, None, row.repaired)
    if empty:
        yield SourceRow(row.line, _EMPTY, row.text, None, row.repaired)


_EMPTY: Record = {}
"""Stands for a record without rows; told from others by being this very object."""


def _own(mapping: Mapping[str, str], record: Record, seen: set[str]) -> Result:
    """The canonical log's own columns, for what is not read column by column: arrays and foreign tables."""
    seen.update(record)
    return {name: record[source] for name, source in mapping.items() if source in record}


def _foreign(reader: Reader, overrides: Mapping[str, str], record: Record, seen: set[str]) -> Result:
    """What a reader says, with what the user mapped in its place."""
    result = NO_RECORD if record is _EMPTY else reader.convert(record)
    return overridden(result, record, overrides, seen)


def overridden(result: Result, record: Record, overrides: Mapping[str, str], seen: set[str]) -> Result:
    """A call with the fields that the user mapped, by the path of a member, read from there."""
    if not overrides or not isinstance(result, dict):
        return result
    found = {name: value for name, path in overrides.items() if (value := at_path(record, path)) is not None}
    seen.update(overrides[name] for name in found)
    return {**result, **found}


def joined_results(
    reader_name: str, rows: Sequence[tuple[int, Record]], overrides: Mapping[str, str], seen: set[str]
) -> Iterator[tuple[int, SourceRow, Result]]:
    """What a joining reader makes of rows that share a key, each with its place.

    Raises:
        ValueError: the reader did not give one result for each row, which is a defect of it.
    """
    reader = cast(JoiningReader, known_readers()[reader_name])
    results = reader.join([record for _, record in rows])
    for (place, record), result in zip(rows, results, strict=True):
        row = SourceRow(place, record, record_text(record).encode("utf-8", "surrogatepass"))
        yield place, row, overridden(result, record, overrides, seen)
