"""Locks that keep out other processes: on an open file, and on a folder."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # on Windows it is up to the user that one process at a time writes a file
    fcntl = None  # type: ignore[assignment]

_BETWEEN_TRIES_S = 0.005
_WITHOUT_LOCKS = frozenset({errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP})
"""Errors of file systems that lock no folders, such as NFS."""


def lock(file: int, *, wait_s: float) -> None:
    """Keep other processes out until the file is closed.

    The lock is on the file itself, not on one beside it: older versions respect it, no second file appears,
    and it works in a folder where no file can be created.

    Args:
        file: descriptor of a file open for writing, or of a folder.

    Raises:
        BlockingIOError: another process does not release it within `wait_s`.
    """
    until = time.monotonic() + wait_s
    while fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= until:
                raise
        time.sleep(_BETWEEN_TRIES_S)


@contextmanager
def locked_folder(folder: Path, *, wait_s: float) -> Iterator[None]:
    """Keep out the other processes that lock the folder, whatever happens to the files in it.

    Where the file system locks no folders, nobody is kept out.

    Raises:
        BlockingIOError: another process does not release it within `wait_s`.
    """
    if fcntl is None:
        yield
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        try:
            lock(opened, wait_s=wait_s)
        except OSError as error:
            if error.errno not in _WITHOUT_LOCKS:
                raise
        yield
    finally:
        with suppress(OSError):  # closing alone would leave the lock to a child that was forked meanwhile
            fcntl.flock(opened, fcntl.LOCK_UN)
        os.close(opened)
