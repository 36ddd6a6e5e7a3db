"""One file or database of a call log, opened, and the rows that come out of it."""

from __future__ import annotations

import gzip
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal, TypeAlias, cast

from training.cleaning import RawRows

Format: TypeAlias = Literal["parquet", "json", "csv", "database"]

BATCH_ROWS = 20_000
BATCH_BYTES = 16 << 20
"""A batch ends at whichever comes first; memory per file being read is a small multiple of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFile:
    """One file of a call log, or the runtime's log in a database.

    Attributes:
        number: place in the order given, from 0.
        path: names it to people; an address without its password.
        size: bytes on disk; of a database about the bytes that its calls take.
        mapping: source column per canonical field, defaults filled in.
        names: the columns it has; None for JSON lines, where each row says.
        row_groups: number of row groups of a Parquet file, else 1: the parts it is read in.
        url: address of a database, as it was given; it may hold a password.
        feedback: the file of later feedback beside the runtime's log of JSON lines.
    """

    number: int
    path: str
    kind: Format
    size: int
    mapping: Mapping[str, str]
    names: tuple[str, ...] | None
    row_groups: int = 1
    url: str = field(default="", repr=False)
    feedback: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RawBatch:
    """Rows of one file, and what was learned about the file on the way.

    Attributes:
        names: column names first seen in these rows.
        bytes_read: bytes of the file consumed for them.
        digest: of a database, a hash of all its rows up to these; a file is hashed as it is.
    """

    rows: RawRows
    names: frozenset[str]
    bytes_read: int
    digest: str | None = None


def open_log(path: str) -> tuple[BinaryIO, BinaryIO]:
    """The file's plain content, and the file on disk below it (the same one without gzip)."""
    raw = Path(path).open("rb")  # noqa: SIM115 - the reader closes it when its last row is out
    if path.lower().endswith(".gz"):
        return cast(BinaryIO, io.BufferedReader(gzip.GzipFile(fileobj=raw), 1 << 20)), raw
    return raw, raw
