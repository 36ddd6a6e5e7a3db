"""The comparison as files: report.json for programs, report.html for people."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from router import numbers
from router.records import Json
from training.comparing.evaluated import Comparison, Difference, Outcome, SliceResult
from training.comparing.report.charts import SYMBOLS, charts_of
from training.comparing.report.sentences import headline
from training.comparing.report.summary import headline_of
from training.pages.rendering import PALETTES, packaged, render, typeset_by
from training.statistics.intervals import Interval
from training.whole_file import write_whole

PACKAGE, TEMPLATE, SCRIPT = "training.comparing.report", "report.html.j2", "report.js"
PLOTLY = "plotly-basic.min.js"
"""plotly.js 4.1.1 with the traces that the charts use, as npm's plotly.js-basic-dist-min has it (MIT)."""
COVERAGES = (0.2, 0.4, 0.6, 0.8, 0.9, 1.0)
SHOWN = 0.05
"""An adjusted p-value below this shows a difference."""
ESTIMATORS = (
    "direct method", "IPS", "self-normalised IPS", "doubly robust", "switch-DR", "prediction-powered",
)  # fmt: skip
PACKAGES = ("pointsman", "numpy", "scikit-learn")
"""Packages whose versions the report names."""


def write_report(comparison: Comparison, out: Path) -> tuple[Path, Path]:
    """Write `report.json` and `report.html` into a folder; each appears whole or not at all.

    Args:
        out: created if it does not exist; an earlier report in it is replaced.

    Returns:
        The paths of the two files, in that order.

    Raises:
        CallLogError: the folder can't be written.
        MissingExtra: jinja2 is not installed.
    """
    page = html(comparison)
    content = json.dumps(comparison.to_json(), indent=1, ensure_ascii=False, allow_nan=False)
    data, whole_page = out / "report.json", out / "report.html"
    write_whole(data, content + "\n")
    write_whole(whole_page, page)
    return data, whole_page


def html(comparison: Comparison) -> str:
    """The report as one page that loads no other file.

    Raises:
        MissingExtra: jinja2 is not installed.
    """
    scripts = (packaged(PACKAGE, PLOTLY), packaged(PACKAGE, SCRIPT))
    charts, log = charts_of(comparison), comparison.off_policy
    filters = {
        "usd": typeset_by(numbers.usd_per_thousand),
        "points": typeset_by(numbers.signed_points),
        "ratio": typeset_by(numbers.relative),
        "range": typeset_by(numbers.bounds),
        "p": numbers.p_value_text,
        "significant": numbers.significant,
        "conclusion": conclusion_of,
    }
    values = {
        "c": comparison,
        "answer": headline_of(comparison),
        "headline": headline(comparison.verdict),
        "policies": (comparison.router, *comparison.policies),
        "slice_whisker": whiskers([one.success_difference.interval for one in comparison.slices]),
        "slices": _by_dimension(comparison),
        "lost": [one for one in comparison.slices if conclusion_of(one.success_difference) == "loss"],
        "risks": _risks(comparison),
        "estimators": ESTIMATORS if log is not None and log.grade_shares else ESTIMATORS[:-1],
        "kinds": [kind for kind in SYMBOLS if kind in _drawn(comparison)],
        "versions": _versions(),
        "charts": charts,
        "chart_data": _for_script(
            {"charts": {id_: asdict(chart) for id_, chart in charts.items()}, "palettes": PALETTES}
        ),
        "scripts": scripts,
        "hashes": [_hash(script) for script in scripts],
    }
    return render(PACKAGE, TEMPLATE, filters, values)


def _drawn(comparison: Comparison) -> set[str]:
    """The kinds of policies that have a point in the chart of cost against success."""
    return {
        one.kind
        for one in (comparison.router, *comparison.policies)
        if math.isfinite(one.success.value) and math.isfinite(one.cost_usd_per_call.value)
    }


def _hash(script: str) -> str:
    """The hash by which the page's content security policy admits a script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _for_script(value: Json) -> str:
    """JSON that can't end or leave its script element: ASCII only, without `<`, `>` and `&`."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def conclusion_of(difference: Difference) -> Outcome:
    """What a corrected difference shows, if more is better."""
    if not difference.p_adjusted < SHOWN:
        return "undecided"
    return "loss" if difference.interval.value < 0 else "win"


def _by_dimension(comparison: Comparison) -> dict[str, list[SliceResult]]:
    """The slices of each dimension, in their order."""
    parts: dict[str, list[SliceResult]] = {}
    for one in comparison.slices:
        parts.setdefault(one.dimension, []).append(one)
    return parts


def _risks(comparison: Comparison) -> list[dict[str, float]]:
    """Points of the risk-coverage curve near round coverages."""
    points = [dict(point) for point in comparison.calibration.risk_coverage]
    if not points:
        return []
    near = [min(points, key=lambda point: abs(point["coverage"] - share)) for share in COVERAGES]
    return [point for place, point in enumerate(near) if point not in near[:place]]


def _versions() -> dict[str, str]:
    """Versions of Python and of those `PACKAGES` that are installed."""
    versions = {"Python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


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
