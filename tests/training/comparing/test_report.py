from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from tests.training.comparing.comparisons import evaluated, knowing
from training.comparing.charts import cost_quality_chart
from training.comparing.report import (
    Comparison,
    bounds,
    compare,
    html,
    relative,
    usd_per_thousand,
    write_report,
)
from training.intervals import UNKNOWN, Interval

EVIL = "<script>alert('x')</script>"


def comparison(**options: object) -> Comparison:
    return compare(evaluated(knowing(120), **options), n_resamples=100)  # type: ignore[arg-type]


class Tags(HTMLParser):
    """The tags of a page that were opened and not closed, and all that were opened."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def parsed(page: str) -> Tags:
    tags = Tags()
    tags.feed(page)
    return tags


def test_both_files_are_written_and_nothing_else(tmp_path: Path) -> None:
    data, page = write_report(comparison(), tmp_path / "new" / "folder")
    assert sorted(path.name for path in data.parent.iterdir()) == ["report.html", "report.json"]
    assert json.loads(data.read_text())["best_single"] == "large"
    assert page.read_text().startswith("<!doctype html>")


def test_a_report_is_replaced_by_the_next_one(tmp_path: Path) -> None:
    write_report(comparison(), tmp_path)
    data, _ = write_report(comparison(warnings=["second"]), tmp_path)
    assert json.loads(data.read_text())["warnings"] == ["second"]


def test_a_failed_write_leaves_the_old_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, _ = write_report(comparison(), tmp_path)
    before = data.read_text()
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_report(comparison(warnings=["second"]), tmp_path)
    assert data.read_text() == before
    assert len(list(tmp_path.iterdir())) == 2


def test_names_from_users_are_text_and_never_markup() -> None:
    page = html(comparison(models=("small", EVIL), task_types=[EVIL] * 120, warnings=[EVIL]))
    assert "script" not in parsed(page).seen
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;" in page


def test_the_page_is_well_formed_and_needs_nothing_from_outside() -> None:
    page = html(comparison())
    assert parsed(page).open == []
    assert re.findall(r"https?://|\bsrc=|@import|url\(", page) == []
    assert not {"script", "link", "img", "iframe"} & parsed(page).seen


def test_the_verdict_comes_before_the_curve_and_the_curve_before_the_tables() -> None:
    page = html(comparison())
    order = [
        "Verdict</h2>",
        "Cost against",
        "Every policy</h2>",
        "By task type",
        "believed?",
        "left out</h2>",
        "How this",
    ]
    assert [page.index(title) for title in order] == sorted(page.index(title) for title in order)


def test_every_chart_has_a_title_and_a_description() -> None:
    page = html(comparison())
    assert page.count("<svg") == page.count("<title id=") == page.count("<desc id=") == 3


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"known_costs": False}, id="unknown costs"),
        pytest.param({"models": ("small",)}, id="one model"),
        pytest.param({"task_types": [None] * 60}, id="no task types"),
    ],
)
def test_a_page_is_written_for_every_kind_of_log(options: dict[str, object]) -> None:
    found = compare(evaluated(np.zeros(60, dtype=np.int64), **options), n_resamples=50)  # type: ignore[arg-type]
    assert parsed(html(found)).open == []


def test_one_prompt_makes_a_page() -> None:
    found = compare(evaluated(np.zeros(1, dtype=np.int64)), n_resamples=50)
    assert "on 1 held-out prompt and" in html(found)


def test_unknown_costs_are_called_unknown() -> None:
    page = html(comparison(known_costs=False))
    assert "Costs are unknown, so there is no curve" in page
    assert "nan" not in page


def test_free_models_are_drawn_on_a_linear_axis() -> None:
    case = evaluated(knowing(60))
    free = compare(replace(case, cost=case.cost * np.array([0.0, 1.0])), n_resamples=50)
    chart = cost_quality_chart(free, width=800, height=400)
    assert chart is not None
    assert not chart.logarithmic
    assert parsed(html(free)).open == []


def test_every_mark_and_label_is_inside_the_chart() -> None:
    chart = cost_quality_chart(comparison(), width=370, height=400)
    assert chart is not None
    for mark in chart.marks:
        assert chart.left <= mark.x <= chart.right
        assert chart.top <= mark.y <= chart.bottom
        assert mark.label == "" or chart.left <= mark.label_x <= chart.right


@pytest.mark.parametrize(
    ("usd", "text"),
    [
        pytest.param(0.00113, "$1.13", id="dollars"),
        pytest.param(0.00000042, "$0.00042", id="fractions of a cent"),
        pytest.param(0.0, "$0.00", id="free"),
        pytest.param(2.5, "$2,500", id="thousands"),
        pytest.param(math.nan, "unknown", id="unknown"),
    ],
)
def test_costs_are_told_per_thousand_calls(usd: float, text: str) -> None:
    assert usd_per_thousand(usd) == text


def test_a_ratio_without_an_end_is_never_reached() -> None:
    assert [relative(ratio) for ratio in (0.38, math.inf, math.nan)] == ["38 %", "never", "unknown"]


def test_bounds_are_left_out_where_unknown() -> None:
    assert bounds(UNKNOWN, "ratio") == ""
    assert bounds(Interval(value=0, low=-0.009, high=0.011, above=0), "points") == "[-0.9, +1.1]"
