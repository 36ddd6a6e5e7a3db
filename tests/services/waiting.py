"""Waiting for a state, so that no test sleeps and hopes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE_S = 180.0
"""Longest wait for what takes a moment on an idle machine: it ends a test that hangs, it measures nothing."""
PAUSE_S = 0.01

Found = TypeVar("Found")


def wait_until(look: Callable[[], Found], within_s: float = PATIENCE_S) -> Found:
    """What `look` finds as soon as it is true.

    Raises:
        TimeoutError: it never was; with what it found last.
    """
    until = time.monotonic() + within_s
    while not (found := look()):
        _check(until, within_s, found)
        time.sleep(PAUSE_S)
    return found


async def wait_until_async(look: Callable[[], Found], within_s: float = PATIENCE_S) -> Found:
    """The same, while the event loop goes on."""
    until = time.monotonic() + within_s
    while not (found := look()):
        _check(until, within_s, found)
        await asyncio.sleep(PAUSE_S)
    return found


def _check(until: float, within_s: float, found: object) -> None:
    if time.monotonic() > until:
        raise TimeoutError(f"waited {within_s:g} s in vain; found last: {found!r}")
