"""A lock on an open file, which keeps out other processes that write it."""

from __future__ import annotations

import time

try:
    import fcntl
except ImportError:  # on Windows it is up to the user that one process at a time writes a file
    fcntl = None  # type: ignore[assignment]

_BETWEEN_TRIES_S = 0.005


def lock(file: int, *, wait_s: float) -> None:
    """Keep other processes out until the file is closed.

    The lock is on the file itself, not on one beside it: older versions respect it, no second file appears,
    and it works in a folder where no file can be created.

    Args:
        file: descriptor of a file open for writing.

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
