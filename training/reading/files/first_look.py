"""What the name and the beginning of a file tell: its kind, its size and its columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from router.call_log.address import DATABASE_FILES
from router.errors import CallLogError
from router.errors.masking import shown_address, without_query
from training.reading.files.csv_rows import csv_header
from training.reading.files.feedback_file import feedback_beside
from training.reading.files.json_values import LOOKED_AT, layout_of
from training.reading.files.log_file import (
    COMPRESSED,
    COPY_AGAIN,
    DAMAGED_GZIP,
    Format,
    LogFile,
    beginning_of,
    is_remote,
    one_line,
    open_raw,
    plain_name,
)
from training.reading.files.sources import LOG_ENDINGS

_ENDINGS: Mapping[str, Format] = {
    ".parquet": "parquet", ".pq": "parquet", ".jsonl": "json", ".ndjson": "json", ".json": "json",
    ".csv": "csv", ".tsv": "csv",
}  # fmt: skip


def look_at_file(number: int, path: str, mapping: Mapping[str, str]) -> LogFile:
    """Look at a file or an object of a store; its reader is not known yet.

    Raises:
        CallLogError: no reader takes its ending, or it can't be opened.
        MissingExtra: the package of an object store is not installed.
    """
    name = plain_name(path)
    label = shown_address(path) if is_remote(path) else path
    kind = _ENDINGS.get(Path(name).suffix)
    if kind is None or (kind == "parquet" and without_query(path).lower().endswith(COMPRESSED)):
        known = ", ".join((*LOG_ENDINGS, *DATABASE_FILES))
        raise CallLogError(
            f"{label}: no reader for this ending; it must be one of {known}, "
            "with .gz or .zst after it if JSON or CSV is compressed"
        )
    names: tuple[str, ...] | None = None
    row_groups, separator = 1, ","
    with _opening(label, kind):
        with open_raw(path) as raw:
            size = raw.seek(0, 2)
        if size and kind == "parquet":
            with open_raw(path) as raw, pq.ParquetFile(raw) as parquet:
                names, row_groups = tuple(parquet.schema_arrow.names), parquet.num_row_groups
        elif size:
            beginning = beginning_of(path, LOOKED_AT)
            if kind == "csv":
                names, separator = csv_header(path)
            else:
                kind = layout_of(beginning)
    return LogFile(
        number=number,
        path=label,
        url="" if label == path else path,
        kind=kind,
        size=size,
        mapping=mapping,
        names=names,
        row_groups=row_groups,
        separator=separator,
        feedback=feedback_beside(path) if kind == "json" and not is_remote(path) else None,
    )


@contextmanager
def _opening(label: str, kind: Format) -> Iterator[None]:
    """Turn the errors of opening a file for the first time into a CallLogError."""
    try:
        yield
    except DAMAGED_GZIP as error:
        raise CallLogError(f"{label}: not gzip, or cut short ({error}); {COPY_AGAIN}") from error
    except PermissionError as error:
        raise CallLogError(
            f"{label}: can't be opened: {error.strerror}; allow reading it, or leave it out"
        ) from error
    except (pa.ArrowException, OSError) as error:
        raise CallLogError(f"{label}: can't be read as {kind}: {one_line(error)}; {COPY_AGAIN}") from error
