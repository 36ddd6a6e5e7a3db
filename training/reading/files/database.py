"""The runtime's call log in a database: whether it can be read, and its rows, in order, as raw rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeAlias

import orjson

from router.call_log.address import LogAddress
from router.call_log.log import read_rows
from router.call_log.lookup import log_bytes
from router.call_log.rows import COLUMNS
from router.errors import CallLogError
from router.records import Json
from training.reading.files.log_file import BATCH_BYTES, BATCH_ROWS, LogFile, RawBatch
from training.reading.rows.cleaning import RawRows

_Row: TypeAlias = Mapping[str, Json]
_AFTER_ALL = datetime(9000, 1, 1, tzinfo=UTC)


def look_at_database(number: int, source: str, mapping: Mapping[str, str]) -> LogFile:
    """A call log in a database, known to be there.

    Raises:
        CallLogError: the database can't be reached, is none, or holds no call log.
        MissingExtra: its driver is not installed.
    """
    address = LogAddress.of(source if "://" in source else f"sqlite:///{source}")
    url = address.url or f"sqlite:///{address.path}"
    next(read_rows(url, since=_AFTER_ALL), None)  # nothing comes out, but the log has been found and opened
    return LogFile(
        number=number,
        path=address.shown,
        kind="database",
        size=log_bytes(url),
        mapping=mapping,
        names=COLUMNS,
        url=url,
    )


def database_batches(file: LogFile, _part: int) -> Iterator[RawBatch]:
    """The rows of the log as it is now, with the feedback given so far; what is written meanwhile is not in.

    Raises:
        CallLogError: it can't be read.
    """
    digest = hashlib.sha256()
    first = 1
    try:
        for rows, size in _batches(read_rows(file.url), digest):
            yield RawBatch(
                rows=_raw_rows(rows, first, file.mapping),
                names=frozenset(rows[0]),
                bytes_read=size,
                digest=digest.hexdigest(),
            )
            first += len(rows)
    except ValueError as error:
        raise CallLogError(
            f"{file.path}: a row after row {first - 1} holds what pointsman did not write there: {error}"
        ) from error


def _batches(rows: Iterator[_Row], digest: hashlib._Hash) -> Iterator[tuple[list[_Row], int]]:
    """The rows in parts, and the bytes of each part; they go into `digest` on the way."""
    some: list[_Row] = []
    size = 0
    for row in rows:
        text = _text(row)
        digest.update(text + b"\n")
        some.append(row)
        size += len(text)
        if size > BATCH_BYTES or len(some) >= BATCH_ROWS:
            yield some, size
            some, size = [], 0
    if some:
        yield some, size


def _raw_rows(rows: Sequence[_Row], first: int, mapping: Mapping[str, str]) -> RawRows:
    return RawRows(
        lines=range(first, first + len(rows)),
        columns={
            field: [row[source] for row in rows] for field, source in mapping.items() if source in rows[0]
        },
        broken={},
        repaired=frozenset(),
        raw=lambda row: _text(rows[row]).decode(),
    )


def _text(row: _Row) -> bytes:
    try:
        return orjson.dumps(row)
    except TypeError:  # integers of more than 64 bits are legal for Python's own encoder only
        return json.dumps(row).encode()
