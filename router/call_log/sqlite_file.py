"""The file of a SQLite log: opened to write or to read, and set aside once it is damaged."""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path

BUSY_S = 5.0
"""Longest wait for another program that has the file locked."""
_BESIDE = ("", "-journal", "-wal", "-shm")
"""Endings of the files that belong together."""
_HEADER_BYTES = 16


def open_to_write(path: Path) -> sqlite3.Connection:
    """Open with a rollback journal: a write-ahead log keeps its name, and its rows, if the file is moved."""
    connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA synchronous=NORMAL")
        # Truncated, not deleted: a journal that was moved away can't be deleted, and the commit would fail.
        with suppress(sqlite3.OperationalError):  # an earlier version still has it open, in WAL mode
            connection.execute("PRAGMA journal_mode=TRUNCATE")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def remove_journal(connection: sqlite3.Connection) -> None:
    """Remove the empty journal beside the file."""
    with suppress(sqlite3.Error):
        connection.execute("PRAGMA journal_mode=DELETE")


def open_to_read(path: Path) -> sqlite3.Connection:
    """Open without ever creating the file."""
    # A reader may have to make files beside it. On a read-only disk it can't, and needs to be sure that
    # nobody changes the file.
    fixed = not os.access(path.parent, os.W_OK) and not path.with_name(f"{path.name}-wal").exists()
    address = f"{path.as_uri()}?mode=rw{'&immutable=1' if fixed else ''}"
    connection = sqlite3.connect(
        address, uri=True, timeout=BUSY_S, isolation_level=None, check_same_thread=False
    )
    connection.text_factory = _text
    return connection


def _text(data: bytes) -> str:
    """A text of the file, repaired: sqlite3's own error for one that is not UTF-8 would quote it."""
    return data.decode("utf-8", "replace")


def was_moved(error: BaseException | None) -> bool:
    """Whether a transaction failed, before it wrote, because the file was moved or removed after opening."""
    return _code(error) == sqlite3.SQLITE_READONLY_DBMOVED


def is_corrupt(error: BaseException | None) -> bool:
    """Whether the error says that a part of the database can't be read."""
    return _code(error) & 0xFF == sqlite3.SQLITE_CORRUPT


def is_damaged(path: Path, error: BaseException | None) -> bool:
    """Whether the error says that a part of the log can't be read; another program's file is not damaged."""
    is_no_database = _code(error) == sqlite3.SQLITE_NOTADB
    return is_corrupt(error) or (is_no_database and _is_hollow(path))


def set_aside(path: Path) -> Path:
    """Rename a damaged log, so that a new one can be made; returns its new path."""
    number = 1
    while (aside := path.with_stem(f"{path.stem}.damaged-{number}")).exists():
        number += 1
    for ending in reversed(_BESIDE):
        with suppress(FileNotFoundError):
            path.with_name(path.name + ending).rename(aside.with_name(aside.name + ending))
    return aside


def _is_hollow(path: Path) -> bool:
    """Whether NULs are where a database has its mark: the file was cut to nothing while it was written."""
    with path.open("rb") as file:
        return file.read(_HEADER_BYTES) == bytes(_HEADER_BYTES)


def _code(error: BaseException | None) -> int:
    return getattr(error, "sqlite_errorcode", None) or 0
