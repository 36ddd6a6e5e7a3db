"""Chooses the reader of each file and table of a call log, and refuses those that can't hold one."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa

from router.errors import CallLogError, ConfigError
from training.readers.known import known_readers
from training.readers.protocol import EVIDENCE_FIELDS, Sample
from training.reading.files.database import Database, Table
from training.reading.files.feedback_file import log_beside
from training.reading.files.first_look import look_at_file
from training.reading.files.json_values import LOOKED_AT
from training.reading.files.log_file import DAMAGED_GZIP, OWN_LOG, LogFile
from training.reading.files.sources import expand, is_database
from training.reading.rows.cleaning import CALL_SCHEMA, RUNTIME_FIELDS
from training.reading.rows.source_rows import source_rows

logger = logging.getLogger(__name__)

AUTO = "auto"
_SAMPLED = 20
_LOOKED_AT_EACH = 200
"""Files that are sampled one by one; after so many of one format, small files count as that format too."""
_NAMED = 5
"""Files named in one message."""
_SMALL = 256 << 10
_OWN_SCORE = 0.5


def find_files(
    sources: Sequence[str],
    mapping: Mapping[str, str],
    format: str = AUTO,
    *,
    evidence: bool = False,
    frames: Mapping[str, pa.Table] | None = None,
) -> list[LogFile]:
    """The files and tables that `sources` stand for, each with its reader.

    A file of a folder or a glob that has nothing of a call is left out with a warning.

    Args:
        mapping: source column per canonical field; other fields come from the column of their own name, or
            from where the file's reader finds them.
        format: name of a reader for all of them, or "auto": the surest for each.
        evidence: whether the `EVIDENCE_FIELDS` are fields too.
        frames: tables in memory, by the name that they have among the sources.

    Raises:
        CallLogError: nothing is there, no reader takes an ending or a file, a file or database can't be
            opened, or the mapping names fields or columns that don't exist.
        ConfigError: no reader has that name.
        MissingExtra: the package of a database or an object store is not installed.
    """
    extra = EVIDENCE_FIELDS if evidence else ()
    _check_names(mapping, (*CALL_SCHEMA.names, *extra), format)
    fields = dict.fromkeys((*CALL_SCHEMA.names, *RUNTIME_FIELDS, *extra))
    whole = {name: name for name in fields if name not in mapping.values()} | dict(mapping)
    schemes = [scheme for reader in known_readers().values() for scheme in reader.schemes]
    search = _Search(mapping=whole, format=format, frames=frames or {})
    named = {source if "://" in source else str(Path(source)) for source in sources}
    for source in expand(sources, schemes, search.frames):
        search.add(source, named=source in named)
    _warn_of_others(search.others, search.files)
    files = _taken_over(search.files)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Search:
    """How to read the sources of one log, and the files and tables so far.

    Attributes:
        mapping: source column per canonical field.
        format: name of a reader for all of them, or "auto".
        frames: tables in memory, by name.
        files: in the order of their numbers.
        others: files that hold no calls, found in a folder or by a glob.
    """

    mapping: Mapping[str, str]
    format: str
    frames: Mapping[str, pa.Table]
    files: list[LogFile] = field(default_factory=list)
    others: list[str] = field(default_factory=list)

    def add(self, source: str, *, named: bool) -> None:
        """Add the file, the address or the tables of one source.

        Args:
            named: whether the user named it, not only a folder that it is in.

        Raises:
            CallLogError: the source can't be read, or holds no calls.
        """
        if source in self.frames:
            self._add_frame(source, self.frames[source])
            return
        if is_database(source):
            self._add_database(Database.of(source))
            return
        for reader in known_readers().values():
            if source.startswith(reader.schemes):
                self._add_address(source, reader.name)
                return
        self._add_file(source, named=named)

    def _add_frame(self, name: str, table: pa.Table) -> None:
        file = LogFile(
            number=len(self.files),
            path=name,
            kind="frame",
            size=table.nbytes if len(table) else 0,
            mapping=self.mapping,
            names=tuple(table.column_names),
            frame=table,
        )
        self.files.append(self._recognised(file)[0])

    def _add_address(self, address: str, reader: str) -> None:
        self.files.append(
            LogFile(
                number=len(self.files),
                path=address.partition("?")[0],
                kind="address",
                size=1,
                mapping=self.mapping,
                names=None,
                url=address,
                reader=reader,
            )
        )

    def _add_file(self, path: str, *, named: bool) -> None:
        if (log := log_beside(path)) is not None:
            raise CallLogError(f"{path}: holds feedback, not calls; name {log} to read both")
        file = look_at_file(len(self.files), path, self.mapping)
        file, sample = self._recognised(file)
        may_be_other = self.format == AUTO and not named and file.reader == OWN_LOG and file.size > 0
        if may_be_other and _has_nothing_of_a_call(file, sample or sample_of(file)):
            self.others.append(file.path)
        else:
            self.files.append(file)

    def _recognised(self, file: LogFile) -> tuple[LogFile, Sample | None]:
        """The file with its reader, and what was looked at to find that; None if nothing was."""
        if not file.size:
            return file, None
        if reader := self._trusted(file) if self.format == AUTO else self.format:
            return _with_reader(file, reader), None
        sample = sample_of(file)
        return _with_reader(file, _reader_of_file(file, sample)), sample

    def _trusted(self, file: LogFile) -> str | None:
        """The reader of the many files before this small one; None if they are few, large or mixed."""
        before = self.files[-_LOOKED_AT_EACH:]
        if len(before) < _LOOKED_AT_EACH or file.size > _SMALL or before[-1].kind != file.kind:
            return None
        readers = {each.reader for each in before}
        return readers.pop() if len(readers) == 1 else None

    def _add_database(self, database: Database) -> None:
        """Add the tables that hold calls of other programs, or else the runtime's log."""
        own_only = self.format == OWN_LOG and not database.table
        tables = [] if own_only else database.tables()
        named = [table for table in tables if database.table in ("", table.name)]
        if database.table and not named:
            raise database.no_table(tables)
        files = [
            LogFile(
                number=0,
                path=f"{database.address.shown}#{table.name}",
                kind="table",
                size=1 if table.filled else 0,
                mapping=self.mapping,
                names=table.columns,
                url=database.url,
                table=table.name,
                reader=reader,
            )
            for table in named
            if (reader := self._reader_of_table(table, named=bool(database.table)))
        ]
        for file in files or [database.own_log(0, self.mapping)]:
            self.files.append(replace(file, number=len(self.files)))

    def _reader_of_table(self, table: Table, *, named: bool) -> str | None:
        """The reader of a table; None if the table is not to be read.

        Args:
            named: whether the source names this very table.
        """
        if self.format != AUTO:
            return self.format if named or table.name in known_readers()[self.format].tables else None
        for reader in known_readers().values():
            if table.name in reader.tables and (table.filled or named):
                return reader.name
        sample = Sample(name=table.name, columns=frozenset(table.columns), records=())
        return _surest(sample, _OWN_SCORE) if named else None


def _with_reader(file: LogFile, name: str) -> LogFile:
    reader = known_readers().get(name)
    if file.kind == "parquet" and reader is not None and reader.opens(file.kind) and file.row_groups > 1:
        raise CallLogError(
            f"{file.path}: {name} is read from Parquet in one row group only; write it as JSON lines"
        )
    return replace(file, reader=name, feedback=file.feedback if name == OWN_LOG else None)


def _reader_of_file(file: LogFile, sample: Sample) -> str:
    """The name of the reader that is surest of a file with this beginning.

    If none is, it is the canonical log's: its checks say which columns the file lacks.
    """
    columns = sample.columns or frozenset(name for record in sample.records for name in record)
    model, prompt, messages = (file.mapping.get(name) for name in ("model", "prompt", "messages"))
    is_own = model in columns and (prompt in columns or messages in columns)
    return _surest(sample, _OWN_SCORE if is_own else 0.0)


def _has_nothing_of_a_call(file: LogFile, sample: Sample) -> bool:
    """Whether a file can be read, and neither its columns nor its first rows name a model or a prompt."""
    needed = [file.mapping.get(name, "") for name in ("model", "prompt", "messages")]
    columns = [sample.columns] if sample.columns else sample.records
    return bool(columns) and not any(_may_have(names, path) for names in columns for path in needed)


def _warn_of_others(others: Sequence[str], files: Sequence[LogFile]) -> None:
    """Warn of files that are no logs.

    Raises:
        CallLogError: there are no others.
    """
    if not others:
        return
    more = f" and {len(others) - _NAMED:,} more" if len(others) > _NAMED else ""
    listed = f"{', '.join(others[:_NAMED])}{more}"
    if not files:
        raise CallLogError(
            f"no file names a model or a prompt: {listed}; name the file that is a log to see what it lacks"
        )
    logger.warning("left out, because nothing there names a model or a prompt: %s", listed)


def _surest(sample: Sample, own_score: float) -> str:
    """The name of the surest reader; the canonical log's if no other is surer than `own_score`."""
    scores = {OWN_LOG: own_score} | {
        name: reader.recognise(sample) for name, reader in known_readers().items()
    }
    return max(scores, key=lambda name: scores[name])


def sample_of(file: LogFile) -> Sample:
    """The beginning of a file; without records if none of the first ones can be read.

    It ignores damage: the read pass reports every damaged file.
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


def _taken_over(files: Sequence[LogFile]) -> list[LogFile]:
    """The files, after readers that join their own rows to another reader's took over the files of both."""
    present = {file.reader for file in files}
    takers = {
        reader.takes_over: reader.name
        for reader in known_readers().values()
        if reader.takes_over in present and reader.name in present
    }
    return [replace(file, reader=takers.get(file.reader, file.reader)) for file in files]


def _check_columns(file: LogFile, mapped: set[str]) -> None:
    """Refuse a file if its header shows that none of its rows can be read."""
    if not file.names:
        return
    there = ", ".join(file.names)
    for name in sorted(mapped):
        if not _may_have(file.names, file.mapping[name]):
            raise CallLogError(
                f"{file.path}: no column {file.mapping[name]!r}, which {name!r} is mapped to; "
                f"columns: {there}"
            )
    for needed in (("model",), ("prompt", "messages")):
        if not any(_may_have(file.names, file.mapping.get(field, "")) for field in needed):
            raise CallLogError(
                f"{file.path}: no column {' or '.join(needed)!r}; map one with --map {needed[0]}=COLUMN; "
                f"columns: {there}"
            )
    twice = [name for name in file.mapping.values() if file.names.count(name) > 1]
    if twice:
        raise CallLogError(f"{file.path}: two columns are named {twice[0]!r}; rename one")


def _may_have(names: Iterable[str], path: str) -> bool:
    """Whether a table with these columns has a path: a column, or a member of what one holds."""
    return any(path == name or path.startswith(f"{name}.") for name in names)
