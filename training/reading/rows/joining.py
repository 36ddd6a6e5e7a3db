"""Joins rows that belong to one call: sorts them into spools by key, then joins each spool."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, cast

import orjson

from router.errors import CallLogError
from training.readers.cells import DecimalComma
from training.readers.known import known_readers
from training.readers.protocol import JoiningReader, Record
from training.reading.files.log_file import COMPRESSED, LogFile, damage_as_log_error
from training.reading.files.raw import RawBatch, place_at
from training.reading.rows.converting import Results, numbered_rows, with_overrides
from training.reading.rows.source_rows import SourceRow, SourceRows, record_text
from training.reading.rows.task_summary import TaskSummary

_SPOOL_BYTES = 16 << 20
_MOST_SPOOLS = 400
_UNPACKED = 6
"""Bytes that a compressed byte becomes, roughly: a whole spool is held in memory at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spooled:
    """The files that the read pass takes after joining rows were spooled.

    Attributes:
        files: those that need no joining, and spools instead of the others.
        summaries: what spooling counted in each of the others.
    """

    files: Sequence[LogFile]
    summaries: Sequence[TaskSummary]


def spool(files: Sequence[LogFile], folder: Path) -> Spooled:
    """Sort the rows of files with a joining reader into spools by key; other files stay as they are.

    A damaged file ends its own rows early; its summary has the error.
    """
    kept: list[LogFile] = []
    groups: dict[str, list[LogFile]] = defaultdict(list)
    for file in files:
        joins = isinstance(known_readers().get(file.reader), JoiningReader)
        (groups[file.reader] if joins else kept).append(file)
    summaries: list[TaskSummary] = []
    for name, group in groups.items():
        spooled = _spool_group(name, group, folder)
        kept += spooled.files
        summaries += spooled.summaries
    return Spooled(files=kept, summaries=summaries)


def _spool_group(name: str, files: Sequence[LogFile], folder: Path) -> Spooled:
    folder.mkdir(parents=True, exist_ok=True)
    packed = (*COMPRESSED, ".parquet")
    size = sum(file.size * (_UNPACKED if file.path.endswith(packed) else 1) for file in files)
    count = min(1 + size // _SPOOL_BYTES, _MOST_SPOOLS)
    paths = [folder / f"{name}-{number}.jsonl" for number in range(count)]
    with ExitStack() as stack:
        spools = [cast(BinaryIO, stack.enter_context(path.open("wb"))) for path in paths]
        summaries = [_spool_file(file, spools) for file in files]
    spool_files = [
        replace(files[0], kind="spool", path=str(path), size=path.stat().st_size, row_groups=1, names=None)
        for path in paths
        if path.stat().st_size
    ]
    return Spooled(files=spool_files, summaries=summaries)


def _spool_file(file: LogFile, spools: Sequence[BinaryIO]) -> TaskSummary:
    reader = cast(JoiningReader, known_readers()[file.reader])
    summary = TaskSummary(file=file.number)
    try:
        for batch in _all_rows(file):
            summary.digest = batch.digest or summary.digest
            for source_row in batch.rows:
                summary.rows += 1
                row = SpooledRow.of(source_row, place_at(file.number, source_row.line), reader)
                spools[row.spool_of(len(spools))].write(row.to_line())
    except CallLogError as error:
        summary.error = str(error)
    return summary


def _all_rows(file: LogFile) -> Iterator[SourceRows]:
    with damage_as_log_error(file.path):
        for part in range(file.row_groups if file.size else 0):
            yield from numbered_rows(file, part)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpooledRow:
    """One row of a spool, which is a line of JSON there.

    Attributes:
        place: its place in the log.
        group: what all rows of one call share: the reader's key, or the place of a row without a key.
        record: None if the row can't be parsed.
        problem: reason and excerpt if the row can't be parsed.
        repaired: whether a lone surrogate in it was replaced.
        text: of a row that can't be parsed, as it stands in its file.
        commas: names of the members that are a number with a decimal comma.
    """

    place: int
    group: str | int
    record: Record | None
    problem: tuple[str, str] | None
    repaired: bool
    text: str | None
    commas: Sequence[str] = ()

    @staticmethod
    def of(row: SourceRow, place: int, reader: JoiningReader) -> SpooledRow:
        """A row of a file, with the key that its reader gives it."""
        key = reader.key(row.record) if row.record else None
        return SpooledRow(
            place=place,
            group=place if key is None else key,
            record=row.record,
            problem=row.problem,
            repaired=row.repaired,
            text=row.raw() if row.record is None else None,
            commas=[name for name, value in (row.record or {}).items() if type(value) is DecimalComma],
        )

    def spool_of(self, count: int) -> int:
        """Number of the spool for this row, in [0, count); the same for all rows of a group."""
        name = str(self.group).encode("utf-8", "surrogatepass")
        return int.from_bytes(sha256(name).digest()[:4]) % count

    def source_row(self) -> SourceRow:
        """The row as it is read from any source, its place as its line."""
        text = None if self.text is None else self.text.encode("utf-8", "surrogatepass")
        return SourceRow(self.place, self.record, text, self.problem, self.repaired)

    def to_line(self) -> bytes:
        """The row as a line with its line end."""
        values = [
            self.place, self.group, self.record, self.problem, self.repaired, self.text, self.commas
        ]  # fmt: skip
        return record_text(values).encode("utf-8", "surrogatepass") + b"\n"

    @staticmethod
    def from_line(line: bytes) -> SpooledRow:
        """The row that `to_line` wrote."""
        try:
            values = orjson.loads(line)
        except orjson.JSONDecodeError:  # only Python's own decoder takes half a surrogate pair
            values = json.loads(line)
        place, group, record, problem, repaired, text, commas = values
        for name in commas:
            record[name] = DecimalComma(record[name])
        return SpooledRow(
            place=place,
            group=group,
            record=record,
            problem=problem and tuple(problem),
            repaired=repaired,
            text=text,
            commas=commas,
        )


def joined_batches(file: LogFile) -> Iterator[RawBatch]:
    """The calls of one spool; the lines of its rows are their places in the log.

    Raises:
        ValueError: the reader did not return one result for each row, which is a defect of the reader.
    """
    reader = cast(JoiningReader, known_readers()[file.reader])
    groups: dict[str | int, list[tuple[SpooledRow, Record]]] = defaultdict(list)
    results, seen = Results(overrides=file.overrides), set[str]()
    with Path(file.path).open("rb") as lines:
        for row in map(SpooledRow.from_line, lines):
            if row.record is None:
                results.add_broken(row.source_row())
            else:
                groups[row.group].append((row, row.record))
    for rows in groups.values():
        rows.sort(key=lambda row: row[0].place)
        joined = reader.join([record for _, record in rows])
        for (row, record), result in zip(rows, joined, strict=True):
            results.add(row.source_row(), with_overrides(result, record, file.overrides, seen))
    yield results.batch(0, frozenset(seen))
