"""Lines and bars over days, as the numbers that an inline SVG needs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from training.dashboard.figures import Line, VersionTime

WIDTH, HEIGHT = 1000, 160


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A bar of a day: its place, and its height up from the bottom."""

    x: float
    y: float
    width: float
    height: float
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DayChart:
    """A chart in a box of `WIDTH` by `HEIGHT`.

    Attributes:
        lines: the points of each unbroken piece of the line.
        marks: x of the days on which another version began to decide, with the version.
        top: the value at the upper edge.
    """

    bars: Sequence[Bar]
    lines: Sequence[str]
    marks: Sequence[tuple[float, str]]
    top: float
    first: str
    last: str


def spending(days: Sequence[Line], versions: Sequence[VersionTime]) -> DayChart | None:
    """What each day cost, as bars, and what always-strong was estimated to cost, as a line."""
    costs = [line.costs.cost_usd for line in days]
    strong = [line.costs.baseline_cost_usd if line.costs.compared else math.nan for line in days]
    return _chart(
        days,
        versions,
        costs,
        strong,
        max([*costs, *(one for one in strong if not math.isnan(one))], default=0.0),
    )


def success(days: Sequence[Line], versions: Sequence[VersionTime]) -> DayChart | None:
    """The share of successes of each day, as a line."""
    return _chart(days, versions, [], [line.success.value for line in days], 1.0)


def _chart(
    days: Sequence[Line],
    versions: Sequence[VersionTime],
    bars: Sequence[float],
    line: Sequence[float],
    top: float,
) -> DayChart | None:
    if len(days) < 2 or top <= 0:
        return None
    first, last = (date.fromisoformat(one.name) for one in (days[0], days[-1]))
    step = WIDTH / ((last - first).days + 1)
    xs = [(date.fromisoformat(one.name) - first).days * step for one in days]
    return DayChart(
        bars=[
            Bar(
                x=x + 0.1 * step,
                y=HEIGHT * (1 - value / top),
                width=0.8 * step,
                height=HEIGHT * value / top,
                title=day.name,
            )
            for x, value, day in zip(xs, bars, days, strict=False)
        ],
        lines=_pieces(
            [(x + step / 2, HEIGHT * (1 - value / top)) for x, value in zip(xs, line, strict=True)]
        ),
        marks=[((one.first - first).days * step, one.name) for one in versions[1:] if one.first > first],
        top=top,
        first=days[0].name,
        last=days[-1].name,
    )


def _pieces(points: Sequence[tuple[float, float]]) -> list[str]:
    """The points of each piece without an unknown value; a single point becomes a short dash."""
    pieces: list[list[tuple[float, float]]] = [[]]
    for x, y in points:
        if math.isnan(y):
            pieces.append([])
        else:
            pieces[-1].append((x, y))
    return [
        " ".join(
            f"{round(x, 1)},{round(y, 1)}"
            for x, y in ([(piece[0][0] - 3, piece[0][1]), *piece] if len(piece) == 1 else piece)
        )
        for piece in pieces
        if piece
    ]
