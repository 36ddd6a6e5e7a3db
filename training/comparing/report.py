"""The comparison as files: report.json for programs, report.html for people."""

from __future__ import annotations

import json
import math
import os
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from router.errors import MissingExtra
from training.comparing.charts import cost_quality_chart, reliability_chart
from training.comparing.comparison import compare
from training.comparing.evaluated import FORMAT, Comparison, Evaluated, Provenance, Verdict
from training.comparing.verdicts import headline, percent
from training.intervals import Interval

if TYPE_CHECKING:
    import jinja2

__all__ = ["FORMAT", "Comparison", "Evaluated", "Provenance", "Verdict", "compare", "html", "write_report"]

TEMPLATE = "report.html.j2"
COVERAGES = (0.2, 0.4, 0.6, 0.8, 0.9, 1.0)
SIZES = ((860, 460), (370, 400))
"""Of the cost and quality chart, in pixels: for screens and paper, and for phones."""


def write_report(comparison: Comparison, out: Path) -> tuple[Path, Path]:
    """Write `report.json` and `report.html` into a folder; each appears whole or not at all.

    Args:
        out: made where it does not exist; reports in it are replaced.

    Returns:
        The paths of the two, in that order.

    Raises:
        MissingExtra: jinja2 is not installed.
    """
    page = html(comparison)
    content = json.dumps(comparison.to_json(), indent=1, ensure_ascii=False, allow_nan=False)
    out.mkdir(parents=True, exist_ok=True)
    return (
        _write_whole(out / "report.json", content + "\n"),
        _write_whole(out / "report.html", page),
    )


def html(comparison: Comparison) -> str:
    """The report as one page that needs no other file.

    Raises:
        MissingExtra: jinja2 is not installed.
    """
    return _template().render(
        c=comparison,
        best=next(one for one in comparison.policies if one.model == comparison.best_single),
        headline=headline(comparison.verdict),
        charts=[cost_quality_chart(comparison, width=width, height=height) for width, height in SIZES],
        reliability=reliability_chart(comparison, size=300),
        risks=_risks(comparison),
    )


def _template() -> jinja2.Template:
    try:
        import jinja2
    except ImportError as error:
        raise MissingExtra("jinja2", "train") from error
    # Model names and task types come from users: everything is escaped.
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "usd": usd_per_thousand,
        "rate": rate,
        "points": signed_points,
        "ratio": relative,
        "range": bounds,
    }
    return environment.from_string(files("training.comparing").joinpath(TEMPLATE).read_text(encoding="utf-8"))


def _write_whole(path: Path, text: str) -> Path:
    """Write a text beside its place, then move it there in one step."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return path


def _risks(comparison: Comparison) -> list[dict[str, float]]:
    """Points of the risk-coverage curve near round coverages."""
    points = [dict(point) for point in comparison.calibration.risk_coverage]
    near = [min(points, key=lambda point: abs(point["coverage"] - share)) for share in COVERAGES]
    return [point for place, point in enumerate(near) if point not in near[:place]]


def usd_per_thousand(usd_per_call: float) -> str:
    """A cost of a thousand calls, two decimals or two digits: "$1.13"."""
    if not math.isfinite(usd_per_call):
        return "unknown"
    value = usd_per_call * 1000
    if value >= 1000:
        return f"${value:,.0f}"
    decimals = 2 if value >= 1 or value <= 0 else 1 - math.floor(math.log10(value))
    return f"${value:.{decimals}f}"


def rate(share: float) -> str:
    """A share in [0, 1] as per cent: "84.1 %"."""
    return f"{share * 100:.1f} %" if math.isfinite(share) else "unknown"


def signed_points(difference: float) -> str:
    """A difference of two rates in points: "+1.1"."""
    return f"{difference * 100:+.1f}" if math.isfinite(difference) else "unknown"


def relative(ratio: float) -> str:
    """A ratio of two costs in per cent: "38 %"; "unknown", or "never" where it is infinite."""
    if math.isnan(ratio):
        return "unknown"
    return "never" if math.isinf(ratio) else f"{percent(ratio)} %"


def bounds(interval: Interval, unit: str) -> str:
    """The bounds of an interval: "[-0.9, +1.1]" for points, "[30, 47]" for a ratio; empty where unknown."""
    if math.isnan(interval.low):
        return ""
    if unit == "points":
        return f"[{signed_points(interval.low)}, {signed_points(interval.high)}]"
    return f"[{percent(interval.low)}, {percent(interval.high)}]"
