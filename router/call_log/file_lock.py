"""A lock on an open file, which keeps the other processes that write it out."""

from __future__ import annotations

import time

try:
    import fcntl
except ImportError:  # Windows, where the user sees to it that one process at a time writes a file
    fcntl = None  # type: ignore[assignment]

_BETWEEN_TRIES_S = 0.005


def lock(file: int, *, wait_s: float) -> None:
    """Keep other processes out until the file is closed.

    The lock is on the file itself, not on one beside it: older versions see it, no second file appears, and
    a folder in which no file can be made is enough.

    Args:
        file: descriptor of a file that is open for writing.

    Raises:
        BlockingIOError: another process holds it and does not let go within `wait_s`.
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
