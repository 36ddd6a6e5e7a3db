"""Open call logs and the end of their process, which writes them out."""

from __future__ import annotations

import atexit
import sys
from functools import cache
from typing import Protocol
from weakref import WeakSet


class Closable(Protocol):
    """An open log."""

    def close(self) -> None:
        """Write the waiting rows."""


_open: WeakSet[Closable] = WeakSet()


def close_at_exit(log: Closable) -> None:
    """Close the log when the process ends."""
    _register()
    _open.add(log)


def close_with_worker(log: Closable) -> None:
    """Close the log when a `multiprocessing` worker ends: up to Python 3.12 workers skip `atexit`."""
    process = sys.modules.get("multiprocessing.process")
    if process is not None and process.parent_process() is not None:
        from multiprocessing.util import Finalize

        Finalize(log, type(log).close, args=(log,), exitpriority=0)


@cache
def _register() -> None:
    atexit.register(_close_all)


def _close_all() -> None:
    for log in list(_open):
        log.close()
