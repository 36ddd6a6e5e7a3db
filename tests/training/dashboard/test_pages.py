from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.services.runtime_log import NOON, failed, give, record, write_log
from training.dashboard.charts import spending, success
from training.dashboard.figures import Screen, screen
from training.dashboard.kept import KeptCells
from training.dashboard.pages import Site, answer_sentence, call_page, dashboard_page, write_costs_page
from training.dashboard.query import Query

DAY = 86_400.0
WHOLE = Query(days=None)


def site_of(url: str, *, show_text: bool = False) -> Site:
    return Site(kept=KeptCells(url, None, UTC), show_text=show_text)


def screen_of(url: str, query: Query = WHOLE) -> Screen:
    return screen(site_of(url).kept, query)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return str(tmp_path / "calls.db")


def empty_log(url: str) -> str:
    """A log whose only call was removed."""
    import sqlite3

    write_log(url, record())
    with sqlite3.connect(url) as database:
        database.execute("DELETE FROM calls")
    return url


def test_an_empty_log_says_so(url: str) -> None:
    page = dashboard_page(site_of(empty_log(url)), Query())
    assert "The log holds no call yet" in page
    assert "No call." in page


def test_one_call_is_shown(url: str) -> None:
    page = dashboard_page(site_of(write_log(url, record())), Query())
    assert "Saved $0.0030 against always large" in page
    assert "too little to see" in page
    assert "A chart needs two days with calls" in page


def test_a_hashed_log_is_shown(url: str) -> None:
    page = dashboard_page(site_of(write_log(url, record("c1"), text="hash")), Query())
    assert "$0.0030" in page
    assert "2 + 2?" not in call_page(site_of(url, show_text=True), "c1")


def test_without_costs_the_saving_is_unknown(url: str) -> None:
    write_log(url, record(cost_usd=None, baseline_cost_usd=None, baseline_model=None))
    assert answer_sentence(screen_of(url)).startswith("What was saved is unknown")
    page = dashboard_page(site_of(url), Query())
    assert "no call has both a cost and an estimate" in page


def test_a_negative_saving_is_told_as_spending_more(url: str) -> None:
    write_log(url, record(cost_usd=0.01))
    assert answer_sentence(screen_of(url)).startswith("Spent $0.0060 more than always large would have cost")


def test_what_got_worse_is_in_the_headline(url: str) -> None:
    calls = [
        record(f"{week}-{i}", time=NOON + (7 * week + i % 7) * DAY, success=week == 0 or i % 2 == 0)
        for week in range(2)
        for i in range(200)
    ]
    found = screen_of(write_log(url, *calls), Query(days=7))
    assert answer_sentence(found).endswith("something got worse")
    assert [one.name for one in found.worse] == ["success"]
    assert "1 figure got worse" in dashboard_page(site_of(url), Query())


def test_success_is_held_against_its_forecast(url: str, tmp_path: Path) -> None:
    calls = [
        record(
            f"{model}-{i}",
            model=model,
            time=NOON + i,
            success=i % 10 < successes,
            confidence=0.8,
            decision_source="learned" if i % 4 else "rule",
        )
        for model, successes in (("small", 5), ("large", 8))
        for i in range(400)
    ]
    found = screen_of(write_log(url, *calls))
    assert [(one.name, round(one.before, 6), one.now, one.verdict) for one in found.forecasts] == [
        ("", 0.8, 0.65, "worse"),
        ("small", 0.8, 0.5, "worse"),
        ("large", 0.8, 0.8, "no clear change"),
    ]
    page = dashboard_page(site_of(url), WHOLE)
    assert answer_sentence(found).endswith("; successes are fewer than forecast")
    assert "less than forecast" in page
    assert "--traffic" in page
    write_costs_page(url, (None, None), "UTC", UTC, tmp_path / "costs.html")
    assert "less than forecast" in (tmp_path / "costs.html").read_text(encoding="utf-8")
    assert "The rule table decided" not in page, "the whole log has no earlier period"


def test_calls_of_the_rule_table_are_compared_with_the_period_before(url: str) -> None:
    calls = [
        record(f"{week}-{i}", time=NOON + (7 * week + i % 7) * DAY, decision_source=source)
        for week, source in enumerate(("learned", "rule"))
        for i in range(200)
    ]
    page = dashboard_page(site_of(write_log(url, *calls)), Query(days=7))
    assert (
        "The rule table decided 100.0\xa0% of the attempts, before 0.0\xa0% (+98.0 to +100.0 points)" in page
    )
    assert "No call has both a forecast and a known success" in page


def test_the_whole_log_has_nothing_to_be_compared_with(url: str) -> None:
    found = screen_of(write_log(url, record("a"), record("b", time=NOON + DAY)))
    assert (found.before, found.changes) == (None, [])


def test_failures_fallbacks_and_degraded_minutes_are_counted(url: str) -> None:
    write_log(
        url,
        failed("a-1", model="small", chosen_model="small"),
        failed("a-2", model="small", chosen_model="small", time=NOON + 20),
        record("a", model="large", chosen_model="small"),
        failed("b-1", model="small", time=NOON + 3600, error="timeout: Timeout"),
    )
    found = screen_of(url)
    lines = {line.name: line.cell for line in found.groups["model"]}
    assert (len(lines["small"].minutes), lines["large"].fallbacks) == (2, 1)
    assert dict(lines["small"].errors) == {"rate_limit": 2, "timeout": 1}


def test_versions_are_on_the_line_of_time(url: str) -> None:
    calls = [record(f"c{day}", time=NOON + day * DAY, policy_version=f"v{1 + day // 2}") for day in range(4)]
    found = screen_of(write_log(url, *calls))
    assert [(one.name, str(one.first), one.calls) for one in found.versions] == [
        ("v1", "2026-09-14", 2),
        ("v2", "2026-09-16", 2),
    ]
    chart = spending(found.days, found.versions)
    assert chart is not None
    assert [(x, name) for x, name in chart.marks] == [(500.0, "v2")]


def test_a_chart_leaves_out_days_of_unknown_success(url: str) -> None:
    known = {0: True, 1: None, 2: False, 3: True}
    write_log(url, *(record(f"c{day}", time=NOON + day * DAY, success=known[day]) for day in known))
    found = screen_of(url)
    chart = success(found.days, found.versions)
    assert chart is not None
    assert [points.count(",") for points in chart.lines] == [2, 2], "a lone day is a dash"


def test_feedback_counts_whenever_it_comes(url: str) -> None:
    write_log(url, record("a", success=True), record("b"))
    give(url, a=(False, None), b=(None, 0.5))
    cell = screen_of(url).total.cell
    assert (cell.known, cell.graded, dict(cell.outcomes)) == (1, 1, {"test": 2})


def test_a_request_is_explained_from_its_rows(url: str) -> None:
    write_log(
        url,
        failed("r-1", request_id="r", model="small", chosen_model="small"),
        record(
            "r", request_id="r", attempt=2, time=NOON + 1, model="large", chosen_model="small",
            alternatives={"small": 0.9, "large": 0.95}, notes=["large does not take 'seed'"],
        ),
        record("other", time=NOON + 1),
    )  # fmt: skip
    for call_id in ("r", "r-1"):
        page = call_page(site_of(url), call_id)
        assert page.count("<section") == 2
        assert "Why <bdi>large</bdi> answered this request" in page
        assert all(part in page for part in ("95.0", "chosen", "tried here", "does not take", "rate_limit"))


def test_an_unknown_call_is_named(url: str) -> None:
    page = call_page(site_of(write_log(url, record())), "<script>")
    assert "The log has no call <bdi>&lt;script&gt;</bdi>" in page


def test_texts_are_shown_only_on_demand(url: str) -> None:
    write_log(url, record("c1"))
    assert "2 + 2?" not in call_page(site_of(url), "c1")
    assert "2 + 2?" in call_page(site_of(url, show_text=True), "c1")


@pytest.mark.parametrize("name", ["calls.db", "calls.jsonl"])
def test_the_file_holds_the_first_screen_and_no_link(name: str, tmp_path: Path) -> None:
    url, out = write_log(tmp_path / name, record("a"), record("b", time=NOON + DAY)), tmp_path / "costs.html"
    write_costs_page(url, (datetime(2026, 9, 14, tzinfo=UTC), None), "UTC", UTC, out)
    page = out.read_text(encoding="utf-8")
    assert "Saved $0.0060 against always large" in page
    assert "<form" not in page
    assert "<a " not in page
