"""Open call logs and the life of their process: they are written out at its end, and left alone in a fork."""

from __future__ import annotations

import atexit
import os
import sys
from functools import cache
from typing import Protocol
from weakref import WeakSet


class ForkAware(Protocol):
    """What a log does around a fork, and at the end."""

    def before_fork(self) -> None:
        """Let go of what two processes must not share."""

    def after_fork_in_parent(self) -> None:
        """Go on."""

    def after_fork_in_child(self) -> None:
        """Start afresh: the parent keeps what waits, and its connection."""

    def close(self) -> None:
        """Write what waits."""


_open: WeakSet[ForkAware] = WeakSet()


def watch(log: ForkAware) -> None:
    """Close the log when the process ends, and tell it of forks."""
    _register()
    _open.add(log)


def close_with_worker(log: ForkAware) -> None:
    """Close the log when a worker of `multiprocessing` ends: up to Python 3.12 those skip `atexit`."""
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
