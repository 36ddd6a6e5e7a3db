"""Which files and databases a call log is made of, and whether they can hold one."""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from router.errors import CallLogError
from router.log.address import DATABASE_FILES
from training.cleaning import CALL_SCHEMA, RUNTIME_FIELDS
from training.database import is_database, look_at_database
from training.feedback_file import feedback_beside, log_beside
from training.formats import COPY_AGAIN, DAMAGED_GZIP, csv_header, one_line, refuse_array
from training.log_file import Format, LogFile

_ENDINGS: Mapping[str, Format] = {
    ".parquet": "parquet", ".pq": "parquet", ".jsonl": "json", ".ndjson": "json", ".json": "json",
    ".csv": "csv",
}  # fmt: skip


def find_files(sources: Sequence[str], mapping: Mapping[str, str]) -> list[LogFile]:
    """What `sources`, paths, globs and addresses of databases, stand for: each once, a glob's in name order.

    Args:
        mapping: source column per canonical field; a field left out is read from the column of its own name.

    Raises:
        CallLogError: nothing there, an ending no reader knows, a file or database that can't be opened, a
            mapping of fields or columns that don't exist, or no column to read the model or the prompt from.
        MissingExtra: a database's driver is not installed.
    """
    unknown = sorted(set(mapping) - set(CALL_SCHEMA.names))
    if unknown:
        known = ", ".join(CALL_SCHEMA.names)
        raise CallLogError(f"can't map a column to {unknown[0]!r}: no such field; fields: {known}")
    fields = (*CALL_SCHEMA.names, *RUNTIME_FIELDS)
    whole = {name: name for name in fields if name not in mapping.values()} | dict(mapping)
    paths = dict.fromkeys(path for source in sources for path in _matches(source))
    if not paths:
        raise CallLogError("no call log given; name at least one file or glob")
    files = [_look_at(number, path, whole) for number, path in enumerate(paths)]
    for file in files:
        _check_columns(file, set(mapping))
    return files


def _matches(source: str) -> list[str]:
    if "://" in source:
        return [source]
    if glob.has_magic(source) and not Path(source).exists():
        matches = glob.glob(source, recursive=True)  # noqa: PTH207 - Path.glob takes no absolute pattern
        found = sorted(path for path in matches if Path(path).is_file() and not log_beside(path))
        if not found:
            raise CallLogError(f"no file matches {source!r} (from {Path.cwd()}); check the pattern")
        return [str(Path(path)) for path in found]
    if Path(source).is_dir():
        raise CallLogError(f"{source} is a folder; name its files, for example '{source}/*.parquet'")
    if not Path(source).exists():
        raise CallLogError(f"{source}: no such file (from {Path.cwd()}); check the path")
    return [str(Path(source))]


def _look_at(number: int, path: str, mapping: Mapping[str, str]) -> LogFile:
    if is_database(path):
        return look_at_database(number, path, mapping)
    if (log := log_beside(path)) is not None:
        raise CallLogError(f"{path}: holds feedback, no calls; name {log}, whose calls it is joined to")
    return _look_at_file(number, path, mapping)


def _look_at_file(number: int, path: str, mapping: Mapping[str, str]) -> LogFile:
    name = path.lower().removesuffix(".gz")
    kind = _ENDINGS.get(Path(name).suffix)
    if kind is None or (kind == "parquet" and name != path.lower()):
        known = ", ".join((*_ENDINGS, *DATABASE_FILES))
        raise CallLogError(
            f"{path}: no reader for this ending; it must be one of {known}, and .gz after JSON's and CSV's"
        )
    size = Path(path).stat().st_size
    names: tuple[str, ...] | None = None
    row_groups = 1
    try:
        if size and kind == "parquet":
            with pq.ParquetFile(path) as parquet:
                names, row_groups = tuple(parquet.schema_arrow.names), parquet.num_row_groups
        elif size and kind == "csv":
            names = csv_header(path)
        elif size:
            refuse_array(path)
    except DAMAGED_GZIP as error:
        raise CallLogError(f"{path}: not gzip, or cut short ({error}); {COPY_AGAIN}") from error
    except (pa.ArrowException, OSError) as error:
        raise CallLogError(f"{path}: can't be read as {kind}: {one_line(error)}; {COPY_AGAIN}") from error
    return LogFile(
        number=number,
        path=path,
        kind=kind,
        size=size,
        mapping=mapping,
        names=names,
        row_groups=row_groups,
        feedback=feedback_beside(path) if kind == "json" else None,
    )


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
