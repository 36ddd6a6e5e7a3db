"""Small intervals beside the numbers of a table: where each end lies on the table's common scale."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from training.statistics.intervals import Interval

WIDTH = 96.0
"""Width of the drawing in pixels, as in `report.html.j2`."""
EDGE = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Whisker:
    """An interval on the common scale; positions in pixels from the left.

    Attributes:
        zero: position of no difference.
    """

    low: float
    at: float
    high: float
    zero: float


def whiskers(intervals: Sequence[Interval], *, zero: float = 0.0) -> Callable[[Interval], Whisker | None]:
    """Return a function that places an interval on a scale that holds all of them; None if it is unknown.

    Args:
        zero: value of no difference: 0 for a difference, 1 for a ratio.
    """
    known = [end for each in intervals for end in (each.low, each.value, each.high) if math.isfinite(end)]
    least, most = min([zero, *known]), max([zero, *known])

    def place(value: float) -> float:
        share = (min(max(value, least), most) - least) / ((most - least) or 1.0)
        return round(EDGE + share * (WIDTH - 2 * EDGE), 1)

    def whisker(interval: Interval) -> Whisker | None:
        if not math.isfinite(interval.value):
            return None
        low, high = (interval.value if math.isnan(end) else end for end in (interval.low, interval.high))
        return Whisker(low=place(low), at=place(interval.value), high=place(high), zero=place(zero))

    return whisker
