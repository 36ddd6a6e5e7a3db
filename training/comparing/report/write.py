"""The comparison as files: report.json for programs, report.html for people."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import platform
from collections.abc import Mapping
from importlib import metadata
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from router.errors import MissingExtra
from router.records import Json
from training.comparing.evaluated import Comparison, Difference, Outcome, SliceResult
from training.comparing.report.charts import SYMBOLS, Chart, charts_of
from training.comparing.report.sentences import headline
from training.comparing.report.summary import headline_of
from training.comparing.report.whiskers import whiskers
from training.pages import numbers
from training.pages.palettes import PALETTES, style_sheet
from training.whole_file import write_whole

if TYPE_CHECKING:
    import jinja2

TEMPLATE, SCRIPT = "report.html.j2", "report.js"
COVERAGES = (0.2, 0.4, 0.6, 0.8, 0.9, 1.0)
SHOWN = 0.05
"""An adjusted p-value below this shows a difference."""
ESTIMATORS = ("direct method", "IPS", "self-normalised IPS", "doubly robust", "switch-DR")
PACKAGES = ("pointsman", "numpy", "scikit-learn", "plotly")
"""Whose versions are in the report."""


def write_report(comparison: Comparison, out: Path) -> tuple[Path, Path]:
    """Write `report.json` and `report.html` into a folder; each appears whole or not at all.

    Args:
        out: made where it does not exist; reports in it are replaced.

    Returns:
        The paths of the two, in that order.

    Raises:
        CallLogError: the folder can't be written.
        MissingExtra: jinja2 or plotly is not installed.
    """
    page = html(comparison)
    content = json.dumps(comparison.to_json(), indent=1, ensure_ascii=False, allow_nan=False)
    data, whole_page = out / "report.json", out / "report.html"
    write_whole(data, content + "\n")
    write_whole(whole_page, page)
    return data, whole_page


def html(comparison: Comparison) -> str:
    """The report as one page that needs no other file and asks for none.

    Raises:
        MissingExtra: jinja2 or plotly is not installed.
    """
    scripts = (_plotly(), _packaged(SCRIPT))
    charts = charts_of(comparison)
    page = _template().render(
        c=comparison,
        answer=headline_of(comparison),
        headline=headline(comparison.verdict),
        policies=(comparison.router, *comparison.policies),
        slice_whisker=whiskers([one.success_difference.interval for one in comparison.slices]),
        slices=_by_dimension(comparison),
        lost=[one for one in comparison.slices if conclusion_of(one.success_difference) == "loss"],
        risks=_risks(comparison),
        estimators=ESTIMATORS,
        kinds=[kind for kind in SYMBOLS if any(one.kind == kind for one in comparison.policies)],
        versions=_versions(),
        palettes=PALETTES,
        style=style_sheet(),
        charts=charts,
        chart_data=_for_script({"charts": _plain(charts), "palettes": _plain(PALETTES)}),
        scripts=scripts,
        hashes=[_hash(script) for script in scripts],
    )
    return page.lstrip()


def _template() -> jinja2.Template:
    try:
        import jinja2
    except ImportError as error:
        raise MissingExtra("jinja2", "train") from error
    # Names and texts come from users: everything is escaped, but for the page's own style and scripts.
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "usd": lambda value: numbers.typeset(numbers.usd_per_thousand(value)),
        "usd_change": lambda value: numbers.typeset(numbers.dollars(value * 1000, signed=True)),
        "rate": lambda value: numbers.typeset(numbers.rate(value)),
        "points": lambda value: numbers.typeset(numbers.signed_points(value)),
        "ratio": lambda value: numbers.typeset(numbers.relative(value)),
        "range": lambda value, unit: numbers.typeset(numbers.bounds(value, unit)),
        "decimal": numbers.decimal,
        "p": numbers.p_value_text,
        "typeset": numbers.typeset,
        "short": numbers.shortened,
        "found": conclusion_of,
    }
    environment.tests |= {"known": math.isfinite}
    return environment.from_string(_packaged(TEMPLATE))


def _packaged(name: str) -> str:
    return files("training.comparing.report").joinpath(name).read_text(encoding="utf-8")


def _plotly() -> str:
    """Plotly's script, from its package."""
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise MissingExtra("plotly", "train") from error
    script: str = get_plotlyjs()
    return script


def _hash(script: str) -> str:
    """What the page's content security policy knows a script by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _plain(values: Mapping[str, Chart] | Mapping[str, Mapping[str, str]]) -> Json:
    return {
        name: value.to_json() if isinstance(value, Chart) else dict(value) for name, value in values.items()
    }


def _for_script(value: Json) -> str:
    """JSON that nothing in it can end or escape: no `<`, `>` or `&`, and only ASCII."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def conclusion_of(difference: Difference) -> Outcome:
    """What a corrected difference shows, more being better."""
    if not difference.p_adjusted < SHOWN:
        return "undecided"
    return "loss" if difference.interval.value < 0 else "win"


def _by_dimension(comparison: Comparison) -> dict[str, list[SliceResult]]:
    """The slices of each dimension, as they come."""
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
    """Of Python and of the packages that the numbers and the page come from, as far as they are installed."""
    versions = {"Python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions
