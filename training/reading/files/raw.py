"""Raw rows as they come out of a source, before any check, and their places in the log."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from router.records import Json

_LINE_BITS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class RawRows:
    """Some rows of one source.

    Attributes:
        lines: line of each row, from 1; the row's number in Parquet files and tables, the row's place in
            spools.
        columns: raw values per canonical or runtime field that the source has, each as long as `lines`.
        broken: reason and excerpt of each row that can't be parsed; its values are all None.
        repaired: rows in which a lone surrogate was replaced.
        spared: fields whose bad values are left out; a bad value in any other field rejects the row.
        raw: returns the text of a row as it stands in the source.
    """

    lines: Sequence[int]
    columns: Mapping[str, Sequence[Json]]
    broken: Mapping[int, tuple[str, str]]
    repaired: frozenset[int]
    raw: Callable[[int], str]
    spared: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class RawBatch:
    """Raw rows, and what reading them shows of their source.

    Attributes:
        names: column names that these rows are the first to have.
        bytes_read: bytes of the source consumed for them.
        digest: hash of all rows of a database up to these; None for a file, which is hashed as it is.
        rows_in: rows of the source that these come from; None if it is one each.
        skipped: number of skipped rows per reason.
        joined: number of rows whose content went into another row.
    """

    rows: RawRows
    names: frozenset[str]
    bytes_read: int
    digest: str | None = None
    rows_in: int | None = None
    skipped: Mapping[str, int] = field(default_factory=dict)
    joined: int = 0


def place_at(file: int, line: int) -> int:
    """The place of a line in a log of several files, as one number that sorts as the log does."""
    return (file << _LINE_BITS) + line


def file_and_line(place: int) -> tuple[int, int]:
    """The number of a place's file, and its line."""
    return place >> _LINE_BITS, place & ((1 << _LINE_BITS) - 1)
