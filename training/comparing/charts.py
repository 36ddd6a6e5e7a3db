"""Where the marks of the report's charts go; the template draws them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from training.comparing.evaluated import Comparison, PolicyResult

CHARACTER = 6.1
"""Width of a character of a label, at the 11 pixels that the template sets it in."""
LINE = 13.0
LOGARITHMIC_FROM = 6.0
"""Ratio of the dearest to the cheapest point from which costs are drawn on a logarithmic axis."""

Box = tuple[float, float, float, float]
Scale = Callable[[float], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A mark on an axis; `at` in pixels."""

    at: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One policy in the cost and quality chart; positions in pixels, the label's at its left end.

    Attributes:
        kind: of the policy, and the style of the mark.
        label: empty where there was no room.
    """

    kind: str
    label: str
    x: float
    y: float
    label_x: float = 0.0
    label_y: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A chart ready to draw.

    Attributes:
        left: of the plot, as `right`, `top` and `bottom` in pixels from the upper left corner.
        lines: name and SVG path of each.
        logarithmic: of the x axis.
    """

    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[tuple[str, str], ...]
    marks: tuple[Mark, ...]
    logarithmic: bool = False


def cost_quality_chart(comparison: Comparison, *, width: float, height: float) -> Chart | None:
    """Mean success over mean cost of every policy, the sweeps as lines; None where costs are unknown."""
    if not comparison.costs_known:
        return None
    policies = [comparison.router, *comparison.policies]
    costs = [one.cost_usd_per_call.value for one in policies]
    costs += [cost for curve in comparison.curves for cost in curve.cost_usd_per_call]
    successes = [one.success.value for one in policies]
    successes += [success for curve in comparison.curves for success in curve.success]
    left, right, top, bottom = 46.0, width - 12, 14.0, height - 42
    logarithmic = min(costs) > 0 and max(costs) / min(costs) >= LOGARITHMIC_FROM
    x, x_ticks = _cost_axis(costs, left, right, logarithmic=logarithmic)
    y, y_ticks = _success_axis(successes, bottom, top)
    lines = {
        curve.name: [(x(c), y(s)) for c, s in zip(curve.cost_usd_per_call, curve.success, strict=True)]
        for curve in comparison.curves
    }
    covered = [(px - 2, py - 2, px + 2, py + 2) for points in lines.values() for px, py in points]
    marks = _labelled(_marks(policies, x, y), covered, (left, top, right, bottom))
    return Chart(
        width=width,
        height=height,
        left=left,
        right=right,
        top=top,
        bottom=bottom,
        x_ticks=x_ticks,
        y_ticks=y_ticks,
        lines=tuple((name, _path(points)) for name, points in lines.items()),
        marks=marks,
        logarithmic=logarithmic,
    )


def reliability_chart(comparison: Comparison, *, size: float) -> Chart:
    """Mean success over mean confidence per bin: on the diagonal, confidence can be taken at its word."""
    left, right, top, bottom = 46.0, size - 18, 10.0, size - 42
    x, y = _linear(0, 1, left, right), _linear(0, 1, bottom, top)
    steps = [0, 0.25, 0.5, 0.75, 1]
    marks = tuple(
        Mark(kind="bin", label="", x=x(bin_["confidence"]), y=y(bin_["success"]))
        for bin_ in comparison.calibration.bins
    )
    return Chart(
        width=size,
        height=size,
        left=left,
        right=right,
        top=top,
        bottom=bottom,
        x_ticks=tuple(Tick(at=x(step), label=f"{step:.0%}") for step in steps),
        y_ticks=tuple(Tick(at=y(step), label=f"{step:.0%}") for step in steps),
        lines=(
            ("perfect", _path([(x(0), y(0)), (x(1), y(1))])),
            ("router", _path([(mark.x, mark.y) for mark in marks])),
        ),
        marks=marks,
    )


def _linear(low: float, high: float, start: float, end: float) -> Scale:
    span = (high - low) or 1.0
    return lambda value: start + (value - low) / span * (end - start)


def _cost_axis(
    costs: Sequence[float], left: float, right: float, *, logarithmic: bool
) -> tuple[Scale, tuple[Tick, ...]]:
    """Scale of USD a call, and its marks in USD per thousand calls."""
    low, high = min(costs), max(costs)
    if not logarithmic:
        scale = _linear(0, high * 1.06 or 1.0, left, right)
        steps = _round_steps(0, high * 1.06 * 1000 or 1.0, 5)
        return scale, tuple(Tick(at=scale(step / 1000), label=_usd(step)) for step in steps)
    inner = _linear(math.log(low / 1.25), math.log(high * 1.25), left, right)
    powers = range(math.floor(math.log10(low * 1000)), math.ceil(math.log10(high * 1000)) + 1)
    marks = [digit * 10.0**power / 1000 for power in powers for digit in (1, 2, 5)]
    inside = [mark for mark in marks if low / 1.25 <= mark <= high * 1.25]
    kept = [mark for mark in inside if len(inside) <= 7 or _leading_one(mark)]
    return lambda cost: inner(math.log(cost)), tuple(
        Tick(at=inner(math.log(mark)), label=_usd(mark * 1000)) for mark in kept
    )


def _leading_one(mark: float) -> bool:
    return math.isclose(math.log10(mark), round(math.log10(mark)), abs_tol=1e-6)


def _success_axis(successes: Sequence[float], bottom: float, top: float) -> tuple[Scale, tuple[Tick, ...]]:
    """Scale of success rates with room above and below, and its marks in per cent."""
    room = max((max(successes) - min(successes)) * 0.08, 0.01)
    low, high = max(min(successes) - room, 0.0), min(max(successes) + room, 1.0)
    scale = _linear(low, high, bottom, top)
    steps = _round_steps(low * 100, high * 100, 6)
    return scale, tuple(Tick(at=scale(step / 100), label=f"{step:g} %") for step in steps)


def _round_steps(low: float, high: float, most: int) -> list[float]:
    """At most about `most` round numbers from `low` to `high`."""
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * digit for digit in (1, 2, 5, 10) if power * digit >= raw)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 10) for number in range(first, last + 1)]


def _usd(value: float) -> str:
    return f"${value:,.10g}"


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) if points else ""


def _marks(policies: Sequence[PolicyResult], x: Scale, y: Scale) -> list[Mark]:
    """A mark per policy; policies of the same choices share one, named after all of them."""
    marks, told = [], set[str]()
    for one in policies:
        names = [one.name, *one.aliases]
        if one.name in told or (one.kind == "single model" and one.aliases):
            continue
        told |= set(names)
        # "always gpt-4" is the model's own mark, a baseline of one model is labelled with the model as well.
        label = ", ".join(names) if one.kind != "single model" else str(one.model)
        if one.model and one.kind == "baseline":
            label = f"{one.model} ({label})"
        marks.append(
            Mark(kind=one.kind, label=label, x=x(one.cost_usd_per_call.value), y=y(one.success.value))
        )
    return marks


def _labelled(marks: list[Mark], lines: Sequence[Box], plot: Box) -> tuple[Mark, ...]:
    """The marks with their labels placed where they cover no other one, and no line if that can be."""
    rank = {"router": 0, "baseline": 1, "control": 2, "bound": 3}
    taken = [_around(mark) for mark in marks]
    placed = []
    for mark in sorted(marks, key=lambda mark: rank.get(mark.kind, 4)):
        fitted = (
            _fitted(mark, [*taken, *lines], plot) or _fitted(mark, taken, plot) or replace(mark, label="")
        )
        if fitted.label:
            taken.append(_label_box(fitted))
        placed.append(fitted)
    return tuple(placed)


def _fitted(mark: Mark, taken: Sequence[Box], plot: Box) -> Mark | None:
    """The mark with its label beside, above or below it; None where each place is taken."""
    longest = int((plot[2] - plot[0]) / CHARACTER) - 2
    label = mark.label if len(mark.label) <= longest else mark.label[: longest - 1] + "…"
    wide = len(label) * CHARACTER
    # Pushed inside the plot, a label above or below its mark still spans it.
    inside = min(max(mark.x - wide / 2, plot[0] + 2), plot[2] - wide - 2) - mark.x
    sides = [(9.0, 4.0), (-9 - wide, 4.0), *((inside, step) for step in (-10.0, 19.0, -20.0, 29.0))]
    sides += [(7.0, -7.0), (7.0, 16.0), (-7 - wide, -7.0), (-7 - wide, 16.0)]
    for dx, dy in sides:
        candidate = replace(mark, label=label, label_x=mark.x + dx, label_y=mark.y + dy)
        box = _label_box(candidate)
        fits = plot[0] <= box[0] and box[2] <= plot[2] and plot[1] - 4 <= box[1] and box[3] <= plot[3]
        if fits and not any(_overlap(box, other) for other in taken):
            return candidate
    return None


def _around(mark: Mark) -> Box:
    return (mark.x - 5, mark.y - 5, mark.x + 5, mark.y + 5)


def _label_box(mark: Mark) -> Box:
    return (
        mark.label_x,
        mark.label_y - LINE + 3,
        mark.label_x + len(mark.label) * CHARACTER,
        mark.label_y + 3,
    )


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
