"""Spans of time between two moments of a record, in whichever form each stands there."""

from __future__ import annotations

from router.records import Json
from training.readers.cells import microseconds


def seconds_between(start: Json, end: Json) -> float | None:
    """Seconds from one moment to another; None where one is no time, or the second comes first."""
    try:
        first, last = microseconds(start), microseconds(end)
    except ValueError:
        return None
    return (last - first) / 1e6 if first is not None and last is not None and last >= first else None


def from_nanoseconds(value: Json) -> float | None:
    """Seconds since 1970 from nanoseconds, also as text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return int(value) / 1e9
    except (ValueError, OverflowError):
        return None
