from __future__ import annotations

import itertools
import json
import math
from dataclasses import asdict, replace

import pytest

from router.records import Json
from tests.training.comparing.report.reports import CASES, HOSTILE, exact, hostile, one_model, unknown_costs
from training.comparing.report.charts import (
    SYMBOLS,
    charts_of,
    cost_quality,
    plain,
    reliability_chart,
    risk_coverage_chart,
    wilson,
)
from training.pages.rendering import PALETTES
from training.statistics.intervals import UNKNOWN

TEXT = ("ink", "soft", "router", "other", "base", "win", "loss", "undecided", "trade")


def painted(value: Json, key: str = "") -> Json:
    """Names of colours as colours, the way report.js does it."""
    if isinstance(value, list):
        return [painted(entry, key) for entry in value]
    if isinstance(value, dict):
        return {name: painted(entry, name) for name, entry in value.items()}
    return PALETTES["light"].get(value, value) if key.endswith("color") and isinstance(value, str) else value


@pytest.mark.parametrize("name", CASES)
def test_every_chart_is_one_that_plotly_can_draw(name: str) -> None:
    from plotly.graph_objects import Figure

    for chart in charts_of(CASES[name]()).values():
        json.dumps(asdict(chart), allow_nan=False)
        Figure(data=painted(list(chart.data)), layout=painted(dict(chart.layout)))


@pytest.mark.parametrize(
    ("scheme", "color", "behind"), list(itertools.product(PALETTES, TEXT, ("card", "paper")))
)
def test_every_text_colour_has_enough_contrast(scheme: str, color: str, behind: str) -> None:
    assert contrast(PALETTES[scheme][color], PALETTES[scheme][behind]) >= 4.5


def contrast(one: str, other: str) -> float:
    """Ratio of the relative luminances (WCAG 2.2)."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def luminance(color: str) -> float:
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_both_schemes_name_the_same_colours() -> None:
    assert PALETTES["light"].keys() == PALETTES["dark"].keys()


def test_every_kind_of_policy_has_a_shape_or_a_size_of_its_own() -> None:
    assert len({(symbol, size) for symbol, size, _ in SYMBOLS.values()}) == len(SYMBOLS)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_label_holds_no_markup(text: str) -> None:
    label = plain(text)
    assert not set("<>\u202e\u2028\n") & set(label)
    assert len(label.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")) <= 34


def test_only_line_breaks_and_bold_names_are_markup_in_hover_texts() -> None:
    said = json.dumps([asdict(chart) for chart in charts_of(hostile(exact())).values()])
    assert {part.split(">")[0] for part in said.split("<")[1:]} == {"br", "b", "/b"}


def test_unknown_costs_give_no_curve_and_no_confidence_no_diagram() -> None:
    assert cost_quality(unknown_costs()) is None
    assert charts_of(one_model()).keys() == {"cost-quality"}


def test_policies_of_the_same_choices_are_drawn_once() -> None:
    chart = cost_quality(exact())
    assert chart is not None
    texts = [label["text"] for label in chart.labels]
    assert "best single (gpt-4o)" in texts
    assert "gpt-4o" not in texts


def test_the_router_is_labelled_first_and_drawn_last() -> None:
    chart = cost_quality(exact())
    assert chart is not None
    assert (chart.labels[0]["text"], chart.data[-1]["name"]) == ("router", "router")


def test_a_policy_without_a_number_is_not_drawn() -> None:
    chart = cost_quality(CASES["off-policy"]())
    assert chart is not None
    assert "oracle" not in [label["text"] for label in chart.labels]


def test_free_models_are_drawn_on_a_linear_axis() -> None:
    case = exact()
    free = replace(case.router, cost_usd_per_call=replace(UNKNOWN, value=0.0))
    chart = cost_quality(replace(case, router=free))
    assert chart is not None
    assert "type" not in chart.layout["xaxis"]
    assert chart.layout["xaxis"]["range"][0] == 0


def test_intervals_are_drawn_both_ways() -> None:
    chart = cost_quality(exact())
    assert chart is not None
    router = chart.data[-1]
    assert router["error_x"]["array"][0] == pytest.approx(1.72 * 0.04)
    assert router["error_y"]["arrayminus"][0] == pytest.approx(0.014)


def test_the_reliability_diagram_counts_the_prompts_of_each_bin() -> None:
    chart = reliability_chart(exact())
    assert chart is not None
    assert sum(chart.data[-1]["y"]) == 2400


def test_risk_over_coverage_ends_with_every_prompt() -> None:
    chart = risk_coverage_chart(exact())
    assert chart is not None
    assert (chart.data[0]["x"][-1], chart.data[0]["y"][-1]) == (1.0, pytest.approx(0.164))


def test_the_score_interval_is_the_published_one() -> None:
    # Newcombe 1998, table 1: 81 of 263.
    found = wilson(81 / 263, 263)
    assert (round(found.low, 4), round(found.high, 4)) == (0.2553, 0.3662)


@pytest.mark.parametrize(
    "share", [pytest.param(-0.1, id="below"), pytest.param(1.2, id="above"), pytest.param(1.0, id="all")]
)
def test_a_share_outside_of_its_range_still_has_an_interval(share: float) -> None:
    found = wilson(share, 10)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert math.isfinite(found.low)
