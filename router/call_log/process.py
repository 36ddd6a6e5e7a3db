"""Open call logs and their process: its end writes them out, and a fork starts them empty."""

from __future__ import annotations

import atexit
import os
import sys
from functools import cache
from typing import Protocol
from weakref import WeakSet


class ForkAware(Protocol):
    """What a log does around a fork and at the end of the process."""

    def before_fork(self) -> None:
        """Close what two processes must not share."""

    def after_fork_in_parent(self) -> None:
        """Go on."""

    def after_fork_in_child(self) -> None:
        """Start empty: the parent keeps the waiting rows and its connection."""

    def close(self) -> None:
        """Write the waiting rows."""


_open: WeakSet[ForkAware] = WeakSet()


def watch(log: ForkAware) -> None:
    """Close the log when the process ends, and call its methods around forks."""
    _register()
    _open.add(log)


def close_with_worker(log: ForkAware) -> None:
    """Close the log when a `multiprocessing` worker ends: up to Python 3.12 workers skip `atexit`."""
    process = sys.modules.get("multiprocessing.process")
    if process is not None and process.parent_process() is not None:
        from multiprocessing.util import Finalize

        Finalize(log, type(log).close, args=(log,), exitpriority=0)


@cache
def _register() -> None:
    atexit.register(_close_all)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_before_fork, after_in_parent=_in_parent, after_in_child=_in_child)


def _close_all() -> None:
    for log in list(_open):
        log.close()


def _before_fork() -> None:
    for log in list(_open):
        log.before_fork()


def _in_parent() -> None:
    for log in list(_open):
        log.after_fork_in_parent()


def _in_child() -> None:
    for log in list(_open):
        log.after_fork_in_child()
