"""Raw rows of all sources: canonical logs are put into columns here, other logs go through their readers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import pyarrow as pa

from router.records import Json
from training.readers.values import at_path
from training.reading.files.feedback_file import Feedback
from training.reading.files.log_file import OWN_LOG, LogFile, damage_as_log_error
from training.reading.files.raw import RawBatch, RawRows
from training.reading.rows.converting import converted_batches
from training.reading.rows.joining import joined_batches
from training.reading.rows.source_rows import SourceRows, parquet_values, row_group_batches, source_rows

_MOST_NAMES = 1000


def read_batches(file: LogFile, row_group: int = 0) -> Iterator[RawBatch]:
    """The rows of a file or database, or of one row group of a Parquet file, in order.

    Raises:
        CallLogError: the file is damaged, or the database can't be read.
    """
    with damage_as_log_error(file.path):
        if file.kind == "spool":
            yield from joined_batches(file)
        elif file.reader != OWN_LOG:
            yield from converted_batches(file, row_group)
        elif file.kind == "parquet" and set(file.overrides.values()) <= set(file.names or ()):
            yield from _parquet_batches(file, row_group)
        else:
            yield from _record_batches(file, row_group)


def _record_batches(file: LogFile, row_group: int = 0) -> Iterator[RawBatch]:
    feedback = Feedback(file.feedback) if file.feedback else None
    seen: set[str] = set()
    for batch in source_rows(file, row_group):
        rows, names = _raw_rows(batch, file, feedback)
        new = frozenset(names - seen) if len(seen) < _MOST_NAMES else frozenset[str]()
        seen |= new
        yield RawBatch(rows=rows, names=new, bytes_read=batch.size, digest=batch.digest)


def _raw_rows(batch: SourceRows, file: LogFile, feedback: Feedback | None) -> tuple[RawRows, set[str]]:
    """The columns of the mapping that the records have, and the names in the source so far."""
    rows = list(batch.rows)
    records: list[Mapping[str, Json]] = [row.record or {} for row in rows]
    if feedback:
        records = [feedback.joined(record, file.mapping) for record in records]
    names = set(file.names or ()).union(*records)
    paths = set(file.overrides.values()) - names
    within = {path: [at_path(record, path) for record in records] for path in paths}
    names |= {path for path, values in within.items() if any(value is not None for value in values)}
    raw_rows = RawRows(
        lines=[row.line for row in rows],
        columns={
            field: within.get(source) or [record.get(source) for record in records]
            for field, source in file.mapping.items()
            if source in names
        },
        broken={number: row.problem for number, row in enumerate(rows) if row.problem},
        repaired=frozenset(number for number, row in enumerate(rows) if row.repaired),
        raw=lambda number: rows[number].raw(),
    )
    return raw_rows, names


def _parquet_batches(file: LogFile, row_group: int) -> Iterator[RawBatch]:
    # By column: to put the values into records first would take longer than to check them.
    sources = {field: source for field, source in file.mapping.items() if source in (file.names or ())}
    names = frozenset(file.names or ()) if row_group == 0 else frozenset[str]()
    for first, batch, size in row_group_batches(file, row_group, list(dict.fromkeys(sources.values()))):
        yield RawBatch(rows=_parquet_rows(batch, first, sources), names=names, bytes_read=size)
        names = frozenset()


def _parquet_rows(batch: pa.RecordBatch, first: int, sources: Mapping[str, str]) -> RawRows:
    columns = {field: parquet_values(batch.column(source)) for field, source in sources.items()}

    def raw(row: int) -> str:
        return json.dumps({sources[field]: values[row] for field, values in columns.items()}, default=str)

    lines = range(first, first + batch.num_rows)
    return RawRows(lines=lines, columns=columns, broken={}, repaired=frozenset(), raw=raw)
