"""Converts the records of a source with its reader: calls become raw rows, skipped rows are counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count

from training.readers.cells import excerpt
from training.readers.known import known_readers
from training.readers.protocol import (
    EVIDENCE_FIELDS,
    NO_RECORD,
    Apart,
    Call,
    Joined,
    Reader,
    Record,
    Rejected,
    Result,
)
from training.readers.token_kinds import TOKEN_KINDS
from training.readers.values import at_path, is_zero
from training.reading.files.log_file import LogFile
from training.reading.files.raw import RawBatch, RawRows
from training.reading.rows.cleaning import CALL_SCHEMA, RUNTIME_FIELDS
from training.reading.rows.source_rows import SourceRow, SourceRows, raw_text, source_rows

_FIELDS = (*CALL_SCHEMA.names, *RUNTIME_FIELDS, *EVIDENCE_FIELDS)

_NOT_NEEDED = frozenset(
    "call_id session_id time task_type tags success score cost_usd input_tokens output_tokens latency_s "
    "policy_version decision_source confidence effort".split()
)
"""Fields without which a call is still one to learn from. The weights are none of them: without its weight a
call of a sample would count as much as any other."""

_EMPTY: Record = {}
"""Stands for a record that holds no row; code compares with it by identity."""


@dataclass(slots=True)
class Results:
    """Collects what a reader returns for the rows of one batch.

    Attributes:
        overrides: path in the record per canonical field that the user mapped; bad values there reject a row.
    """

    overrides: Mapping[str, str]
    lines: list[int] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    raws: list[bytes | Record | None] = field(default_factory=list)
    broken: dict[int, tuple[str, str]] = field(default_factory=dict)
    repaired: set[int] = field(default_factory=set)
    skipped: Counter[str] = field(default_factory=Counter)
    joined: int = 0
    rows_in: int = 0

    def add(self, row: SourceRow, result: Result) -> None:
        """Count one row, and keep it if it is a call or rejected."""
        self.rows_in += 1
        if isinstance(result, Apart):
            self.skipped[result.reason] += 1
            return
        if isinstance(result, Joined):
            self.joined += 1
            return
        if isinstance(result, Rejected):
            self.broken[len(self.lines)] = result.reason, excerpt(result.value)
            result = {}
        elif row.repaired:
            self.repaired.add(len(self.lines))
        self.lines.append(row.line)
        self.calls.append(_counted(result))
        self.raws.append(row.record if row.text is None else row.text)

    def add_broken(self, row: SourceRow) -> None:
        """Count one row that can't be parsed."""
        self.add(row, {})
        if row.problem:
            self.broken[len(self.lines) - 1] = row.problem

    def batch(self, size: int, names: frozenset[str], digest: str | None = None) -> RawBatch:
        """All rows so far, as a batch.

        Args:
            size: bytes of the source consumed for them.
        """
        filled = {name for call in self.calls for name in call}
        raws = self.raws
        rows = RawRows(
            lines=self.lines,
            columns={name: [call.get(name) for call in self.calls] for name in _FIELDS if name in filled},
            broken=self.broken,
            repaired=frozenset(self.repaired),
            raw=lambda row: raw_text(raws[row]),
            spared=_NOT_NEEDED - self.overrides.keys(),
        )
        return RawBatch(
            rows=rows,
            names=names,
            bytes_read=size,
            digest=digest,
            rows_in=self.rows_in,
            skipped=self.skipped,
            joined=self.joined,
        )


_COUNTS = ("input_tokens", "output_tokens")


def _counted(call: Call) -> Call:
    """A call without its tokens where both counts are zero, which logs write for want of a count."""
    if all(name in call and is_zero(call[name]) for name in _COUNTS):
        return {name: value for name, value in call.items() if name not in (*_COUNTS, *TOKEN_KINDS)}
    return call


def converted_batches(file: LogFile, part: int = 0) -> Iterator[RawBatch]:
    """The rows of a file, converted by its reader, in order.

    Raises:
        CallLogError: the file is damaged, or can't be read.
    """
    reader = known_readers()[file.reader]
    for rows in numbered_rows(file, part):
        results = Results(overrides=file.overrides)
        seen: set[str] = set()
        for row in rows.rows:
            if row.record is None:
                results.add_broken(row)
            else:
                result = NO_RECORD if row.record is _EMPTY else reader.convert(row.record)
                results.add(row, with_overrides(result, row.record, file.overrides, seen))
        yield results.batch(rows.size, frozenset(seen), rows.digest)


def numbered_rows(file: LogFile, part: int = 0) -> Iterator[SourceRows]:
    """The rows in the records of a file; for a reader that opens records, numbered instead of by line.

    Raises:
        CallLogError: the file is damaged, or can't be read.
    """
    reader = known_readers().get(file.reader)
    if reader is None or not reader.opens(file.kind):
        yield from source_rows(file, part)
        return
    numbers = count(1)
    for batch in source_rows(file, part):
        rows = [
            SourceRow(next(numbers), record, text, row.problem, row.repaired)
            for row in batch.rows
            for record, text in _rows_in(reader, row)
        ]
        yield SourceRows(rows=rows, size=batch.size, digest=batch.digest)


def _rows_in(reader: Reader, row: SourceRow) -> Iterator[tuple[Record | None, bytes | None]]:
    """Record and text of each row in a record; one row that will be skipped if the record holds none."""
    records = iter(reader.rows(row.record) if row.record is not None else ())
    first = next(records, None)
    if first is None:
        yield None if row.record is None else _EMPTY, row.text
        return
    yield first, None
    for record in records:
        yield record, None


def with_overrides(result: Result, record: Record, overrides: Mapping[str, str], seen: set[str]) -> Result:
    """A reader's result, in which fields that the user mapped come from the paths of their mapping.

    A row that lacks only its prompt or its model is a call once the mapping fills it.

    Args:
        overrides: path in the record per canonical field.
        seen: gets the paths that the record has.
    """
    known = result if isinstance(result, dict) else getattr(result, "call", None)
    if not overrides or known is None:
        return result
    values = {name: value for name, path in overrides.items() if (value := at_path(record, path)) is not None}
    seen.update(overrides[name] for name in values)
    whole = {**known, **values}
    is_call = "model" in whole and ("prompt" in whole or "messages" in whole)
    return whole if isinstance(result, dict) or is_call else result
