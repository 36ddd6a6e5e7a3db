"""The report's charts as data for Plotly; report.js paints them and places the labels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from router.numbers import bounds, decimal, dollars, rate, usd_per_thousand
from router.records import Json
from router.text import printable, typeset
from training.comparing.evaluated import Comparison, CurveResult, Kind, PolicyResult
from training.statistics.intervals import Interval

LOGARITHMIC_FROM = 6.0
"""Costs get a logarithmic axis if the dearest point costs at least this many times the cheapest."""
LABEL = 34
"""Longest label beside a point, in characters; the whole name is in the tables."""
WILSON = 1.959964
"""Normal quantile of a 95 % interval."""


SYMBOLS: Mapping[Kind, tuple[str, int, str]] = {
    "router": ("circle", 15, "router"),
    "baseline": ("circle", 9, "base"),
    "other router": ("square", 10, "other"),
    "own policy": ("triangle-up", 11, "other"),
    "logged": ("hexagon", 11, "trade"),
    "control": ("diamond", 10, "other"),
    "bound": ("circle-open", 10, "base"),
    "single model": ("x-thin", 7, "soft"),
}
"""Marker, its size in pixels, and its colour; the shape alone identifies the kind."""
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A chart before it is painted: colours are names of a palette.

    Attributes:
        data: traces.
        labels: of points, most important first: x and y in axis units, the ends of the intervals along each,
            text, colour. A label that finds no room is left out.
        heights: in pixels, on wide and on narrow screens.
    """

    data: Sequence[Json]
    layout: Mapping[str, Json]
    labels: Sequence[Json] = ()
    heights: tuple[int, int] = (480, 430)


def charts_of(comparison: Comparison) -> dict[str, Chart]:
    """The charts that the comparison has numbers for, by the id of their place in the page."""
    charts = {
        "cost-quality": cost_quality(comparison),
        "reliability": reliability_chart(comparison),
        "risk-coverage": risk_coverage_chart(comparison),
    }
    return {name: chart for name, chart in charts.items() if chart is not None}


def plain(text: str, longest: int = LABEL) -> str:
    """Make a label of a text from outside: short, and without the HTML tags that Plotly interprets."""
    line = printable(text)
    cut = line if len(line) <= longest else line[: longest - 1] + "…"
    return cut.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def cost_quality(comparison: Comparison) -> Chart | None:
    """Success over cost of every policy that has both, and the sweeps as lines; None if none has both."""
    policies = [one for one in (comparison.router, *comparison.policies) if _placed(one)]
    curves = [curve for curve in comparison.curves if curve.cost_usd_per_call]
    if not policies:
        return None
    ends = [end for one in policies for end in _ends(one.cost_usd_per_call)]
    costs = [cost * 1000 for cost in (*ends, *(c for curve in curves for c in curve.cost_usd_per_call))]
    heights = [end for one in policies for end in _ends(one.success)]
    heights += [value for curve in curves for value in (*curve.success_ci_low, *curve.success_ci_high)]
    logarithmic = min(costs) > 0 and max(costs) / min(costs) >= LOGARITHMIC_FROM
    marked = _merged(policies)
    return Chart(
        data=[
            *([_band(curves[0])] if curves else []),
            *(_line(curve, number) for number, curve in enumerate(curves)),
            *(
                _points(kind, [one for one in marked if one.kind == kind], comparison)
                for kind in reversed(list(SYMBOLS))
                if any(one.kind == kind for one in marked)
            ),
        ],
        layout={
            "xaxis": _cost_axis(costs, logarithmic=logarithmic),
            "yaxis": _axis("success rate", _padded(heights, 0.06, (0.0, 1.0)), tickformat=".1~%"),
        },
        labels=_labels(marked, logarithmic=logarithmic),
    )


def _placed(one: PolicyResult) -> bool:
    return math.isfinite(one.success.value) and math.isfinite(one.cost_usd_per_call.value)


def _ends(interval: Interval) -> list[float]:
    return [end for end in (interval.value, interval.low, interval.high) if math.isfinite(end)]


def _merged(policies: Sequence[PolicyResult]) -> list[PolicyResult]:
    """Keep one of the policies that make the same choices."""
    kept, covered = [], set[str]()
    for one in policies:
        if one.name not in covered and not (one.kind == "single model" and one.aliases):
            kept.append(one)
            covered |= {one.name, *one.aliases}
    return kept


def _band(curve: CurveResult) -> Json:
    cost = [usd * 1000 for usd in curve.cost_usd_per_call]
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [*cost, *reversed(cost)],
        "y": [*curve.success_ci_high, *reversed(curve.success_ci_low)],
        "fill": "toself",
        "fillcolor": "band",
        "line": {"width": 0, "color": "band"},
        "hoverinfo": "skip",
    }


def _line(curve: CurveResult, number: int) -> Json:
    parts = zip(curve.success, curve.success_ci_low, curve.success_ci_high, strict=True)
    success = [Interval(value=value, low=low, high=high, above=math.nan) for value, low, high in parts]
    hover_texts = [
        typeset(f"{plain(curve.name)}<br>success {rate(one.value)} {bounds(one, 'rate')}")
        + f"<br>{usd_per_thousand(cost)} per 1,000"
        for one, cost in zip(success, curve.cost_usd_per_call, strict=True)
    ]
    return {
        "type": "scatter",
        "mode": "lines",
        "name": plain(curve.name),
        "x": [usd * 1000 for usd in curve.cost_usd_per_call],
        "y": list(curve.success),
        "line": {
            "color": "router" if number == 0 else "other",
            "width": 2.4 if number == 0 else 1.8,
            "dash": DASHES[number % len(DASHES)],
        },
        "hoverinfo": "text",
        "hovertext": hover_texts,
    }


def _points(kind: Kind, policies: Sequence[PolicyResult], comparison: Comparison) -> Json:
    """Points of one kind of policy, with intervals in both directions."""
    symbol, size, color = SYMBOLS[kind]
    thin = symbol.endswith("thin")
    return {
        "type": "scatter",
        "mode": "markers",
        "name": kind,
        "x": [one.cost_usd_per_call.value * 1000 for one in policies],
        "y": [one.success.value for one in policies],
        "error_x": _bars([one.cost_usd_per_call for one in policies], 1000, color),
        "error_y": _bars([one.success for one in policies], 1, color),
        "marker": {
            "symbol": symbol,
            "size": size,
            "color": color,
            "line": {"color": color if thin or kind == "bound" else "card", "width": 1.5},
        },
        "hoverinfo": "text",
        "hovertext": [_hover_text(one, comparison) for one in policies],
    }


def _bars(intervals: Sequence[Interval], scale: float, color: str) -> Json:
    def arm(value: float, end: float) -> float:
        return abs(end - value) * scale if math.isfinite(end) else 0.0

    return {
        "type": "data",
        "symmetric": False,
        "array": [arm(one.value, one.high) for one in intervals],
        "arrayminus": [arm(one.value, one.low) for one in intervals],
        "color": color,
        "thickness": 1,
        "width": 0,
    }


def _hover_text(one: PolicyResult, comparison: Comparison) -> str:
    """A policy's name and numbers; the tags are Plotly's line breaks."""
    names = plain(", ".join([one.name, *one.aliases]), 60)
    model = f" ({plain(one.model)})" if one.model else ""
    today = "<br>runs today" if one.name == comparison.change.today else ""
    cost = one.cost_usd_per_call
    numbers = (
        f"<br>success {rate(one.success.value)} "
        f"{bounds(one.success, 'rate')}<br>{usd_per_thousand(cost.value)} {bounds(cost, 'usd')} per 1,000"
    )
    return typeset(f"<b>{names}</b>{model}{numbers}{today}")


def _labels(policies: Sequence[PolicyResult], *, logarithmic: bool) -> list[Json]:
    rank = list(SYMBOLS)
    return [
        {
            "x": _position(one.cost_usd_per_call.value * 1000, logarithmic=logarithmic),
            "y": one.success.value,
            "arms": [
                [_position(end * 1000, logarithmic=logarithmic) for end in _ends(one.cost_usd_per_call)],
                _ends(one.success),
            ],
            "text": plain(_label(one)),
            "color": SYMBOLS[one.kind][2],
            "bold": one.kind == "router",
        }
        for one in sorted(policies, key=lambda one: rank.index(one.kind))
    ]


def _label(one: PolicyResult) -> str:
    if one.kind == "single model":
        return str(one.model)
    return f"{one.name} ({one.model})" if one.model and one.kind == "baseline" else one.name


def _position(cost: float, *, logarithmic: bool) -> float:
    return math.log10(cost) if logarithmic and cost > 0 else cost


def _cost_axis(costs: Sequence[float], *, logarithmic: bool) -> Json:
    """The axis of costs, in USD per 1,000 requests."""
    title = "USD per 1,000 requests" + (", logarithmic scale" if logarithmic else "")
    if not logarithmic:
        form = "$,.2f" if max(costs) >= 0.05 else "$~g"
        return _axis(title, [0.0, max(costs) * 1.08 or 1.0], tickformat=form)
    low, high = min(costs) / 1.3, max(costs) * 1.3
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    marks = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
    inside = [mark for mark in marks if low <= mark <= high]
    kept = [mark for place, mark in enumerate(inside) if place % math.ceil(len(inside) / 7) == 0]
    ticks = {"tickvals": kept, "ticktext": [dollars(mark).removesuffix(".00") for mark in kept]}
    return _axis(title, [math.log10(low), math.log10(high)], type="log", **ticks)


def _padded(values: Sequence[float], share: float, limits: tuple[float, float]) -> list[float]:
    """A range with room on both sides, of which little lies beyond limits that no value exceeds."""
    least, most = min(values), max(values)
    room = max((most - least) * share, 0.01)
    low = max(least - room, limits[0] - 0.02) if least >= limits[0] else least - room
    return [low, min(most + room, limits[1] + 0.02) if most <= limits[1] else most + room]


def _axis(title: str, ends: Sequence[float], **more: Json) -> Json:
    return {
        "title": {"text": title, "font": {"color": "soft"}},
        "range": list(ends),
        "fixedrange": True,
        "zeroline": False,
        "gridcolor": "rule",
        "linecolor": "soft",
        "tickfont": {"color": "soft"},
        **more,
    }


def reliability_chart(comparison: Comparison) -> Chart | None:
    """Success over stated confidence in each bin, with its interval; below, the number of prompts."""
    bins = comparison.calibration.bins
    if not bins:
        return None
    stated, observed = [one["confidence"] for one in bins], [one["success"] for one in bins]
    count = [int(one["prompts"]) for one in bins]
    ends = [wilson(one["success"], int(one["prompts"])) for one in bins]
    hover_texts = [
        typeset(f"confidence {rate(at)}<br>success {rate(what)} {bounds(end, 'rate')}<br>{many:,} prompts")
        for at, what, end, many in zip(stated, observed, ends, count, strict=True)
    ]
    one_to_one = {"x": [0, 1], "y": [0, 1], "hoverinfo": "skip"}
    lowest = max(0.0, math.floor(min(*stated, *(end.low for end in ends)) * 10 - 0.5) / 10)
    span = [lowest, 1.02]
    return Chart(
        data=[
            {
                "type": "scatter",
                "mode": "lines",
                **one_to_one,
                "line": {"color": "soft", "width": 1.2, "dash": "dot"},
            },
            {
                "type": "scatter",
                "mode": "lines+markers",
                "x": stated,
                "y": observed,
                "error_y": _bars(ends, 1, "router"),
                "line": {"color": "router", "width": 1.6},
                "marker": {"color": "router", "size": 8},
                "hoverinfo": "text",
                "hovertext": hover_texts,
            },
            {
                "type": "bar",
                "x": stated,
                "y": count,
                "yaxis": "y2",
                "width": [0.05 * (1 - lowest)] * len(bins),
                "marker": {"color": "band", "line": {"color": "router", "width": 1}},
                "hoverinfo": "text",
                "hovertext": hover_texts,
            },
        ],
        layout={
            "xaxis": _axis("stated confidence", span, tickformat=".0%", anchor="y2", nticks=6),
            "yaxis": _axis("success", span, tickformat=".0%", domain=[0.3, 1], nticks=6),
            "yaxis2": _axis("prompts", [0, max(count) * 1.15], domain=[0, 0.2], nticks=3),
        },
        heights=(420, 400),
    )


def wilson(share: float, prompts: int) -> Interval:
    """The 95 % score interval of a share, as if the prompts were independent (Wilson 1927).

    Args:
        share: clipped to [0, 1], because an off-policy estimate may lie outside.
        prompts: at least 1.
    """
    share, spread = min(max(share, 0.0), 1.0), WILSON**2 / max(prompts, 1)
    middle = (share + spread / 2) / (1 + spread)
    half = WILSON / (1 + spread) * math.sqrt((share * (1 - share) + spread / 4) / max(prompts, 1))
    return Interval(
        value=share, low=min(share, middle - half), high=max(share, middle + half), above=math.nan
    )


def risk_coverage_chart(comparison: Comparison) -> Chart | None:
    """Failure rate among the prompts that the router keeps, over the share that it keeps."""
    points = comparison.calibration.risk_coverage
    if not points:
        return None
    risks = [point["risk"] for point in points]
    hover_texts = [
        typeset(
            f"{rate(point['coverage'])} most confident<br>failures {rate(point['risk'])}<br>confidence from "
            f"{decimal(point['threshold'], 2)}"
        )
        for point in points
    ]
    return Chart(
        data=[
            {
                "type": "scatter",
                "mode": "lines" if len(points) > 1 else "markers",
                "x": [point["coverage"] for point in points],
                "y": risks,
                "line": {"color": "router", "width": 2.2},
                "hoverinfo": "text",
                "hovertext": hover_texts,
            }
        ],
        layout={
            "xaxis": _axis("part of the prompts that it keeps", [0, 1.02], tickformat=".0%"),
            "yaxis": _axis("failures among them", [0, max(*risks, 0.05) * 1.15], tickformat=".0%"),
        },
        heights=(420, 340),
    )
