"""How a long step tells how far it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

Advance = Callable[[float], object]


class Reporter(Protocol):
    """Shows how far the work is."""

    def stage(self, name: str, total: float | None) -> Advance:
        """Begin a stage of `total` units; the result is called with the units done since its last call."""
        ...


class Silent:
    """A reporter that shows nothing."""

    def stage(self, name: str, total: float | None) -> Advance:
        """See `Reporter.stage`."""
        return lambda done: None


def stage_steps(reporter: Reporter, name: str) -> Callable[[int, int], None]:
    """A callback for (done, total), as the reading side calls it, that shows a stage."""
    advance: Advance | None = None
    shown = 0

    def progress(done: int, total: int) -> None:
        nonlocal advance, shown
        advance = advance or reporter.stage(name, total)
        advance(done - shown)
        shown = done

    return progress
