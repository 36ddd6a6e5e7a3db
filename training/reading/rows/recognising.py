"""Which reader each file of a call log is for, and whether it can hold one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pyarrow as pa

from router.call_log.address import LogAddress
from router.errors import CallLogError, ConfigError
from training.readers.known import known_readers
from training.readers.protocol import EVIDENCE_FIELDS, Sample
from training.reading.files.database import look_at_database
from training.reading.files.feedback_file import log_beside
from training.reading.files.first_look import look_at_file
from training.reading.files.foreign_table import Table, no_table, tables_of, without_table
from training.reading.files.json_values import LOOKED_AT
from training.reading.files.log_file import DAMAGED_GZIP, OWN_LOG, LogFile
from training.reading.files.sources import expand, is_database
from training.reading.rows.cleaning import CALL_SCHEMA, RUNTIME_FIELDS
from training.reading.rows.source_rows import source_rows

AUTO = "auto"
_SAMPLED = 20
_LOOKED_AT_EACH = 200
"""Files that are looked at one by one; of more, small ones are taken to be of the format that all had."""
_SMALL = 256 << 10
_OWN_SCORE = 0.5


def find_files(
    sources: Sequence[str], mapping: Mapping[str, str], format: str = AUTO, *, evidence: bool = False
) -> list[LogFile]:
    """The files and tables that `sources` stand for, each with its reader.

    Args:
        mapping: source column per canonical field; a field left out is read from the column of its own name,
            or from where the file's reader finds it.
        format: name of a reader for all of them, or "auto": the surest for each.
        evidence: the `EVIDENCE_FIELDS` are fields too.

    Raises:
        CallLogError: nothing there, an ending no reader knows, a file or database that can't be opened, a
            mapping of fields or columns that don't exist, or no reader for a file.
        ConfigError: no reader has that name.
        MissingExtra: the package of a database or an object store is not installed.
    """
    extra = EVIDENCE_FIELDS if evidence else ()
    _check_names(mapping, (*CALL_SCHEMA.names, *extra), format)
    fields = dict.fromkeys((*CALL_SCHEMA.names, *RUNTIME_FIELDS, *extra))
    whole = {name: name for name in fields if name not in mapping.values()} | dict(mapping)
    schemes = [scheme for reader in known_readers().values() for scheme in reader.schemes]
    files: list[LogFile] = []
    for path in expand(sources, schemes):
        files += _look_at(len(files), path, whole, format, files)
    files = _taken_over(files)
    for file in files:
        if file.reader == OWN_LOG:
            _check_columns(file, set(mapping))
    return files


def _check_names(mapping: Mapping[str, str], fields: Sequence[str], format: str) -> None:
    unknown = sorted(set(mapping) - set(fields))
    if unknown:
        known = ", ".join(fields)
        raise CallLogError(f"can't map a column to {unknown[0]!r}: no such field; fields: {known}")
    names = (AUTO, OWN_LOG, *known_readers())
    if format not in names:
        raise ConfigError(f"--format {format!r}: no such format; it is one of {', '.join(names)}")


def _look_at(
    number: int, path: str, mapping: Mapping[str, str], wanted: str, before: Sequence[LogFile]
) -> list[LogFile]:
    if is_database(path):
        return _look_at_tables(number, path, mapping, wanted)
    for reader in known_readers().values():
        if path.startswith(reader.schemes):
            return [
                LogFile(
                    number=number,
                    path=path.partition("?")[0],
                    kind="address",
                    size=1,
                    mapping=mapping,
                    names=None,
                    url=path,
                    reader=reader.name,
                )
            ]
    if (log := log_beside(path)) is not None:
        raise CallLogError(f"{path}: holds feedback, no calls; name {log}, whose calls it is joined to")
    file = look_at_file(number, path, mapping)
    if not file.size:
        return [file]
    trusted = _trusted(file, before) if wanted == AUTO else wanted
    return [_with_reader(file, trusted or _surest(file))]


def _trusted(file: LogFile, before: Sequence[LogFile]) -> str | None:
    """The reader of the many files before, if it was the same for all of them and this one is as small."""
    if len(before) < _LOOKED_AT_EACH or file.size > _SMALL or before[-1].kind != file.kind:
        return None
    readers = {one.reader for one in before[-_LOOKED_AT_EACH:]}
    return readers.pop() if len(readers) == 1 else None


def _with_reader(file: LogFile, name: str) -> LogFile:
    feedback = file.feedback if name == OWN_LOG else None
    reader = known_readers().get(name)
    whole = file.kind == "parquet" and reader is not None and reader.many_rows and file.row_groups > 1
    if whole:
        raise CallLogError(
            f"{file.path}: {name} is read from Parquet in one row group only; write it as JSON lines"
        )
    return replace(file, reader=name, feedback=feedback)


def _surest(file: LogFile) -> str:
    """The name of the reader that is surest of the file.

    Raises:
        CallLogError: none is.
    """
    sample = sample_of(file)
    scores = {name: reader.recognise(sample) for name, reader in known_readers().items()}
    scores[OWN_LOG] = _OWN_SCORE if _is_own(file, sample) else 0.0
    best = max(scores, key=lambda name: scores[name])
    if scores[best] > 0:
        return best
    return OWN_LOG  # its checks say what a file lacks to be read by column


def _is_own(file: LogFile, sample: Sample) -> bool:
    there = sample.columns or frozenset(name for record in sample.records for name in record)
    model, texts = file.mapping.get("model"), (file.mapping.get("prompt"), file.mapping.get("messages"))
    return model in there and any(text in there for text in texts)


def sample_of(file: LogFile) -> Sample:
    """The beginning of a file; without records where none of the first can be read.

    Damage is left for the read pass to find, which tells of every damaged file.
    """
    records = []
    try:
        batch = next(iter(source_rows(file, 0, LOOKED_AT)), None)
    except (pa.ArrowException, OSError, CallLogError, *DAMAGED_GZIP):
        batch = None
    for row in batch.rows if batch else ():
        if row.record is not None:
            records.append(row.record)
        if len(records) == _SAMPLED:
            break
    name = file.table or file.path.replace("\\", "/").rpartition("/")[2]
    return Sample(name=name, columns=frozenset(file.names or ()), records=records)


def _look_at_tables(number: int, source: str, mapping: Mapping[str, str], wanted: str) -> list[LogFile]:
    """The tables of a database that hold calls: the runtime's log, or those of other programs.

    Raises:
        CallLogError: there is none, or the database can't be read.
    """
    source, name = without_table(source)
    if wanted == OWN_LOG and not name:
        return [look_at_database(number, source, mapping)]
    address = LogAddress.of(source if "://" in source else f"sqlite:///{source}")
    url = address.url or f"sqlite:///{address.path}"
    there = tables_of(url)
    found = [(table, reader) for table in there if (reader := _reader_of(table, name, wanted))]
    if name and not found:
        raise no_table(address.shown, name, there)
    if not found:
        return [look_at_database(number, source, mapping)]
    return [
        LogFile(
            number=number + place,
            path=f"{address.shown}#{table.name}",
            kind="table",
            size=1 if table.filled else 0,
            mapping=mapping,
            names=table.columns,
            url=url,
            table=table.name,
            reader=reader,
        )
        for place, (table, reader) in enumerate(found)
    ]


def _reader_of(table: Table, name: str, wanted: str) -> str | None:
    """The reader of a table; None for one that is not to be read."""
    if name and table.name != name:
        return None
    if wanted != AUTO:
        reader = known_readers().get(wanted)
        known = reader is None or table.name in reader.tables
        return wanted if name or known else None
    for reader in known_readers().values():
        if table.name in reader.tables and (table.filled or name):
            return reader.name
    return _by_columns(table) if name else None


def _by_columns(table: Table) -> str:
    sample = Sample(name=table.name, columns=frozenset(table.columns), records=())
    scores = {name: reader.recognise(sample) for name, reader in known_readers().items()}
    best = max(scores, key=lambda one: scores[one], default=OWN_LOG)
    return best if scores.get(best, 0.0) > _OWN_SCORE else OWN_LOG


def _taken_over(files: Sequence[LogFile]) -> list[LogFile]:
    """The files, those of another reader given to one that joins its own rows to them."""
    present = {file.reader for file in files}
    takers = {
        reader.takes_over: reader.name
        for reader in known_readers().values()
        if reader.takes_over in present and reader.name in present
    }
    return [replace(file, reader=takers.get(file.reader, file.reader)) for file in files]


def _check_columns(file: LogFile, mapped: set[str]) -> None:
    """Refuse a file whose header shows that no row of it can be read."""
    if not file.names:
        return
    there = ", ".join(file.names)
    for field in sorted(mapped):
        if file.mapping[field] not in file.names:
            raise CallLogError(
                f"{file.path}: no column {file.mapping[field]!r}, which {field!r} is mapped to; "
                f"columns: {there}"
            )
    for needed in (("model",), ("prompt", "messages")):
        if not any(file.mapping.get(field) in file.names for field in needed):
            raise CallLogError(
                f"{file.path}: no column {' or '.join(needed)!r}; map one with --map {needed[0]}=COLUMN; "
                f"columns: {there}"
            )
    twice = [name for name in file.mapping.values() if file.names.count(name) > 1]
    if twice:
        raise CallLogError(f"{file.path}: two columns are named {twice[0]!r}; rename one")
