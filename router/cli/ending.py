"""How a command ends that can't go on: with one line on standard error, and an exit code."""

from __future__ import annotations

import errno
import os
import re
import signal
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from router.cli.console import people
from router.errors import RouterError

FAILED = 1
INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""
_OF_THE_PLACE = frozenset(
    number
    for name in "ENOSPC EDQUOT EFBIG EROFS EACCES EPERM ENOTDIR EISDIR ENAMETOOLONG ELOOP EIO EMFILE".split()
    if (number := getattr(errno, name, None)) is not None
)
"""Errors of a disk or a folder rather than of the code."""
_SQLITE = ("SQLITE_FULL", "SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_IOERR", "SQLITE_PERM")
_OF_RUST = re.compile(r"\(os error (\d+)\)")
_WAY_OUT = "free disk space, allow writing there, or choose another place (for scratch files by TMPDIR)"


@contextmanager
def clean_end() -> Iterator[None]:
    """End the process with one line if the block meets what an operator can mend, or Ctrl-C.

    Any other error is a bug and keeps its traceback.
    """
    with _signals() as interrupted:
        try:
            yield
        except KeyboardInterrupt:
            _interrupted()
        except SystemExit as end:
            if end.code == INTERRUPTED:  # Typer's end after Ctrl-C, which prints nothing
                _interrupted()
            raise
        except Exception as error:  # packages written in Rust raise classes of their own
            if interrupted():
                _interrupted()
            if (reason := _reason(error)) is None:
                raise
            _end(reason)


@contextmanager
def _signals() -> Iterator[Callable[[], bool]]:
    """Give the block a function that says whether Ctrl-C was pressed in it.

    Imports of some packages turn KeyboardInterrupt into an error of their own. Python also notes signals in a
    socket, so the handler stays the usual one, which asyncio expects.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    reader, writer = socket.socketpair()
    with reader, writer:
        reader.setblocking(False)
        writer.setblocking(False)

        def interrupted() -> bool:
            try:
                return signal.SIGINT in reader.recv(4096)
            except BlockingIOError:
                return False

        before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            yield interrupted
        finally:
            signal.set_wakeup_fd(before)


def _reason(error: Exception) -> str | None:
    """What an error asks of the operator; None if it is a bug."""
    if isinstance(error, RouterError):
        return str(error)
    if isinstance(error, sqlite3.Error):
        of_place = getattr(error, "sqlite_errorname", "").startswith(_SQLITE)
        return f"a SQLite file can't be used: {error}; {_WAY_OUT}" if of_place else None
    if isinstance(error, OSError):
        no_scratch = error.errno == errno.ENOENT and error.filename is None
        number = errno.ENOSPC if no_scratch else error.errno  # what `tempfile` says of a full disk
        place = error.filename
    else:
        number = int(match[1]) if (match := _OF_RUST.search(str(error))) else None
        place = None
    if number not in _OF_THE_PLACE or number is None:
        return None
    return f"{place or 'a scratch file'}: can't be written: {os.strerror(number)}; {_WAY_OUT}"


def _interrupted() -> NoReturn:
    _end("stopped by Ctrl-C; no output is half-written: run the command again", INTERRUPTED)


def _end(line: str, code: int = FAILED) -> NoReturn:
    people.quiet = False
    people.print(f"error: {line}", style="red", markup=False, highlight=False, soft_wrap=True)
    raise SystemExit(code)
