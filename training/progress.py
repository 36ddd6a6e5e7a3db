"""How a long step reports its progress."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

Advance = Callable[[float], object]


class Reporter(Protocol):
    """Shows the progress of the work."""

    def stage(self, name: str, total: float | None) -> Advance:
        """Begin a stage of `total` units; call the result with the units done since its last call."""
        ...


class Silent:
    """A reporter that shows nothing."""

    def stage(self, name: str, total: float | None) -> Advance:
        """See `Reporter.stage`."""
        return lambda done: None


def stage_steps(reporter: Reporter, name: str) -> Callable[[int, int], None]:
    """A callback for (done, total), which reading calls, that shows a stage."""
    advance: Advance | None = None
    reported = 0

    def progress(done: int, total: int) -> None:
        nonlocal advance, reported
        advance = advance or reporter.stage(name, total)
        advance(done - reported)
        reported = done

    return progress
