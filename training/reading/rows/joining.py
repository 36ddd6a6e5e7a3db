"""Rows of one call that stand apart: sorted into files by key, and joined file by file."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, cast

import orjson

from router.errors import CallLogError
from router.records import Json
from training.readers.known import known_readers
from training.readers.protocol import JoiningReader, Record
from training.reading.files.log_file import LogFile, RawBatch, damage_as_log_error
from training.reading.rows.converting import Results, joined_results, numbered_rows
from training.reading.rows.places import place_at
from training.reading.rows.source_rows import SourceRow, SourceRows, record_text

_SPOOL_BYTES = 16 << 20
_MOST_SPOOLS = 400
_UNPACKED = 6
"""A file of a spool is held in memory at once, as Python's objects; a compressed byte makes about so many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spooled:
    """The tasks that join takes, and what was learned of the files on the way.

    Attributes:
        files: those that need no joining, and the spools in the place of the others.
        tallies: per spooled file, as the read pass sums up a task.
    """

    files: Sequence[LogFile]
    tallies: Sequence[Mapping[str, Json]]


def spool(files: Sequence[LogFile], folder: Path) -> Spooled:
    """Sort the rows of files with a joining reader into files by key; the other files stay as they are.

    Raises:
        CallLogError: a file is damaged or can't be read.
    """
    kept: list[LogFile] = []
    groups: dict[str, list[LogFile]] = defaultdict(list)
    for file in files:
        joins = isinstance(known_readers().get(file.reader), JoiningReader)
        (groups[file.reader] if joins else kept).append(file)
    tallies: list[Mapping[str, Json]] = []
    for name, group in groups.items():
        made, counted = _spool_group(name, group, folder)
        kept += made
        tallies += counted
    return Spooled(files=kept, tallies=tallies)


def _spool_group(
    name: str, files: Sequence[LogFile], folder: Path
) -> tuple[list[LogFile], list[Mapping[str, Json]]]:
    folder.mkdir(parents=True, exist_ok=True)
    size = sum(
        file.size * (_UNPACKED if file.path.endswith((".gz", ".zst", ".parquet")) else 1) for file in files
    )
    count = min(1 + size // _SPOOL_BYTES, _MOST_SPOOLS)
    paths = [folder / f"{name}-{number}.jsonl" for number in range(count)]
    with ExitStack() as stack:
        streams = [cast(BinaryIO, stack.enter_context(path.open("wb"))) for path in paths]
        tallies = [_spool_file(file, streams) for file in files]
    made = [
        replace(files[0], kind="joined", path=str(path), size=path.stat().st_size, row_groups=1, names=None)
        for path in paths
        if path.stat().st_size
    ]
    return made, tallies


def _spool_file(file: LogFile, streams: Sequence[BinaryIO]) -> Mapping[str, Json]:
    reader = cast(JoiningReader, known_readers()[file.reader])
    rows = 0
    digest = fault = None
    try:
        for batch in _all_rows(file):
            digest = batch.digest or digest
            for row in batch.rows:
                rows += 1
                _put(reader, row, place_at(file.number, row.line), streams)
    except CallLogError as error:
        fault = str(error)
    return {
        "file": file.number, "rows": rows, "repaired": 0, "without_text": 0, "names": [], "fault": fault,
        "digest": digest, "apart": {}, "joined": 0,
    }  # fmt: skip


def _all_rows(file: LogFile) -> Iterator[SourceRows]:
    with damage_as_log_error(file.path):
        for part in range(file.row_groups if file.size else 0):
            yield from numbered_rows(file, part)


def _put(reader: JoiningReader, row: SourceRow, place: int, streams: Sequence[BinaryIO]) -> None:
    key = reader.key(row.record) if row.record else None
    name = f"#{place}" if key is None else f"={key}"
    number = int.from_bytes(sha256(name.encode("utf-8", "surrogatepass")).digest()[:4]) % len(streams)
    shown = None if row.record is not None else row.raw()
    line = [place, name, row.record, row.problem, row.repaired, shown]
    streams[number].write(record_text(line).encode("utf-8", "surrogatepass") + b"\n")


def joined_batches(file: LogFile, _part: int = 0) -> Iterator[RawBatch]:
    """The calls of one spool; the numbers of its rows are their places in the log."""
    groups: dict[str, list[tuple[int, Record]]] = defaultdict(list)
    results, seen = Results(), set[str]()
    repaired: set[int] = set()
    with Path(file.path).open("rb") as lines:
        for line in lines:
            place, name, record, problem, was_repaired, shown = _entry(line)
            if record is None:
                row = SourceRow(place, None, shown.encode("utf-8", "surrogatepass"), tuple(problem))
                results.add_broken(place, row)
                continue
            groups[name].append((place, record))
            if was_repaired:
                repaired.add(place)
    for rows in groups.values():
        for place, row, result in joined_results(file.reader, sorted(rows, key=_place), file.overrides, seen):
            results.add(place, replace(row, repaired=place in repaired), result)
    yield results.batch(0, frozenset(seen))


def _place(row: tuple[int, Record]) -> int:
    return row[0]


def _entry(line: bytes) -> Sequence[Json]:
    import json

    try:
        return cast(Sequence[Json], orjson.loads(line))
    except orjson.JSONDecodeError:
        return cast(Sequence[Json], json.loads(line))
