"""Small intervals drawn beside their numbers in a table: where each end lies on the table's common scale."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from training.statistics.intervals import Interval

WIDTH = 96.0
"""Of the drawing, in pixels; `report.html.j2` draws it that wide."""
EDGE = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Whisker:
    """An interval on the common scale; positions in pixels from the left.

    Attributes:
        zero: where no difference lies.
    """

    low: float
    at: float
    high: float
    zero: float


def whiskers(intervals: Sequence[Interval], *, zero: float = 0.0) -> Callable[[Interval], Whisker | None]:
    """Places any of the intervals on one scale that holds all of them; None for one that is unknown.

    Args:
        zero: value of no difference: 0 for a difference, 1 for a ratio.
    """
    known = [end for one in intervals for end in (one.low, one.value, one.high) if math.isfinite(end)]
    least, most = min([zero, *known]), max([zero, *known])

    def place(value: float) -> float:
        share = (min(max(value, least), most) - least) / ((most - least) or 1.0)
        return round(EDGE + share * (WIDTH - 2 * EDGE), 1)

    def placed(one: Interval) -> Whisker | None:
        if not math.isfinite(one.value):
            return None
        low, high = (one.value if math.isnan(end) else end for end in (one.low, one.high))
        return Whisker(low=place(low), at=place(one.value), high=place(high), zero=place(zero))

    return placed
