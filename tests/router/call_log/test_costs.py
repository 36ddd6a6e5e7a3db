from __future__ import annotations

import statistics
import tracemalloc
from collections.abc import Iterable
from datetime import UTC
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.call_log.costs import GROUPINGS, CostLine, CostReport, Grouping, cost_report, period_bound
from router.records import Json

BERLIN = ZoneInfo("Europe/Berlin")
NOON = "2026-09-14T12:00:00+00:00"


def row(**fields: Json) -> dict[str, Any]:
    """One answered call as a log gives it; fields given override the plain one's."""
    plain: dict[str, Json] = {
        "call_id": "c", "time": NOON, "model": "small", "error": None, "tags": [], "input_tokens": 100,
        "output_tokens": 10, "cached_input_tokens": None, "reasoning_tokens": None, "cost_usd": 1.0,
        "baseline_model": "large", "baseline_cost_usd": 4.0, "latency_s": 2.0,
    }  # fmt: skip
    return {**plain, **fields}


def failed(**fields: Json) -> dict[str, Any]:
    """An attempt that gave no answer."""
    nothing = dict.fromkeys(("input_tokens", "output_tokens", "cost_usd", "baseline_cost_usd"))
    return row(**{"error": "rate_limit: RateLimitError", **nothing, **fields})


def total(*rows: dict[str, Any]) -> CostLine:
    return cost_report(rows).total


def groups(report: CostReport) -> dict[tuple[str | None, ...], int]:
    """Answered calls per group."""
    return {line.group: line.calls for line in report.lines}


def grouped(rows: Iterable[dict[str, Any]], *by: Grouping) -> dict[tuple[str | None, ...], int]:
    return groups(cost_report(rows, by))


def test_calls_tokens_and_costs_are_added_up() -> None:
    found = total(row(cached_input_tokens=50, reasoning_tokens=4), row(cost_usd=0.5, input_tokens=20))
    assert (found.calls, found.cost_usd, found.baseline_cost_usd) == (2, 1.5, 8.0)
    assert (found.input_tokens, found.cached_input_tokens) == (120, 50)
    assert (found.output_tokens, found.reasoning_tokens) == (20, 4)


def test_an_empty_log_adds_up_to_nothing() -> None:
    report = cost_report([], ["model"])
    assert (report.lines, report.total.calls, report.total.saved_share) == ([], 0, None)
    assert (report.total.latency_mean_s, report.total.latency_median_s) == (None, None)


# Savings, and what is not known


def test_the_saving_is_what_the_strong_model_would_have_cost_more() -> None:
    found = total(row(cost_usd=1.0, baseline_cost_usd=4.0), row(cost_usd=3.0, baseline_cost_usd=4.0))
    assert (found.saved_usd, found.saved_share, found.compared) == (4.0, 0.5, 2)


def test_a_loss_is_a_negative_saving() -> None:
    found = total(row(cost_usd=5.0, baseline_cost_usd=4.0))
    assert (found.saved_usd, found.saved_share) == (-1.0, -0.25)


@pytest.mark.parametrize("lacking", ["cost_usd", "baseline_cost_usd"])
def test_a_call_that_lacks_one_of_the_two_costs_is_not_compared(lacking: str) -> None:
    found = total(row(), row(**{lacking: None}))
    assert (found.compared, found.saved_usd, found.saved_share) == (1, 3.0, 0.75)


def test_an_unknown_cost_is_counted_and_not_taken_for_zero() -> None:
    found = total(row(), row(cost_usd=None), row(cost_usd=0.0, baseline_cost_usd=0.0))
    assert (found.calls, found.unknown_cost, found.cost_usd) == (3, 1, 1.0)


def test_free_estimates_give_no_share() -> None:
    found = total(row(cost_usd=0.0, baseline_cost_usd=0.0))
    assert (found.saved_usd, found.saved_share) == (0.0, None)


@pytest.mark.parametrize("lacking", ["input_tokens", "output_tokens"])
def test_calls_without_token_counts_are_counted(lacking: str) -> None:
    assert total(row(), row(**{lacking: None})).unknown_tokens == 1


# Failed attempts


def test_a_failed_attempt_is_no_call_and_has_no_unknown_cost() -> None:
    found = total(row(), failed())
    assert (found.calls, found.failed_attempts, found.unknown_cost) == (1, 1, 0)
    assert found.unknown_failed_cost == 1


def test_what_a_failed_attempt_cost_is_in_the_cost_and_not_in_the_saving() -> None:
    found = total(row(), failed(cost_usd=0.25, baseline_cost_usd=4.0, output_tokens=3))
    assert (found.cost_usd, found.failed_cost_usd, found.unknown_failed_cost) == (1.25, 0.25, 0)
    assert (found.saved_usd, found.compared, found.baseline_cost_usd) == (3.0, 1, 4.0)
    assert found.output_tokens == 13


def test_the_latency_is_that_of_answers() -> None:
    assert total(row(latency_s=2.0), failed(latency_s=60.0)).latency_mean_s == 2.0


# Latency


@given(st.lists(st.floats(0.001, 4000.0), min_size=1, max_size=60))
def test_the_median_latency_is_within_one_percent(seconds: list[float]) -> None:
    found = total(*(row(latency_s=one) for one in seconds)).latency_median_s
    assert found == pytest.approx(statistics.median_low(seconds), rel=0.0101)


@pytest.mark.parametrize("seconds", [0.0, 0.5, 3600.0])
def test_the_median_of_equal_latencies_is_that_latency(seconds: float) -> None:
    found = total(row(latency_s=seconds), row(latency_s=seconds))
    assert (found.latency_median_s, found.latency_mean_s) == (seconds, seconds)


# Groups


@pytest.mark.parametrize(
    ("grouping", "column"),
    [
        ("model", "model"),
        ("task_type", "task_type"),
        ("source", "decision_source"),
        ("session", "session_id"),
        ("version", "policy_version"),
    ],
)
def test_calls_are_grouped_by_a_column(grouping: Grouping, column: str) -> None:
    rows = [row(**{column: "a"}), row(**{column: "b"}), row(**{column: "a"}), row(**{column: None})]
    assert grouped(rows, grouping) == {("a",): 2, ("b",): 1, (None,): 1}


def test_every_grouping_is_one_that_works() -> None:
    (line,) = cost_report([row()], GROUPINGS).lines
    assert len(line.group) == len(GROUPINGS)


def test_a_failed_attempt_counts_for_the_model_that_failed() -> None:
    report = cost_report([row(), failed(model="large")], ["model"])
    assert {line.group: (line.calls, line.failed_attempts) for line in report.lines} == {
        ("small",): (1, 0),
        ("large",): (0, 1),
    }


def test_a_call_with_several_tags_counts_under_each_and_once_in_the_total() -> None:
    report = cost_report([row(tags=["a", "b"]), row(tags=["a"]), row(tags=None)], ["tag"])
    assert groups(report) == {("a",): 2, ("b",): 1, (None,): 1}
    assert (report.total.calls, report.total.cost_usd) == (3, 3.0)


def test_a_tag_that_is_there_twice_counts_once() -> None:
    assert grouped([row(tags=["a", "a"])], "tag") == {("a",): 1}


def test_several_groupings_make_a_line_for_each_combination() -> None:
    rows = [row(task_type="x", tags=["a", "b"]), row(task_type="y", tags=["a"])]
    assert grouped(rows, "task_type", "tag") == {("x", "a"): 1, ("x", "b"): 1, ("y", "a"): 1}


def test_without_a_grouping_there_is_only_the_total() -> None:
    assert cost_report([row()]).lines == []


def test_the_dearest_group_comes_first() -> None:
    rows = [row(model="a", cost_usd=1), row(model="b", cost_usd=3), row(model="c", cost_usd=2)]
    assert [line.group for line in cost_report(rows, ["model"]).lines] == [("b",), ("c",), ("a",)]


def test_days_come_in_order_and_within_a_day_the_dearest_first() -> None:
    rows = [row(time=f"2026-09-{day}T12:00:00Z", model=model, cost_usd=cost) for day, model, cost in (
        ("02", "a", 1), ("01", "a", 1), ("01", "b", 2))]  # fmt: skip
    lines = cost_report(rows, ["model", "day"]).lines
    assert [line.group for line in lines] == [
        ("b", "2026-09-01"), ("a", "2026-09-01"), ("a", "2026-09-02")]  # fmt: skip


def test_the_models_that_the_estimates_stand_for_are_named() -> None:
    rows = [row(), row(baseline_model="gpt-5"), row(baseline_model=None)]
    assert cost_report(rows).baselines == ("gpt-5", "large")


# Time


def test_a_day_begins_at_midnight_of_the_time_zone() -> None:
    late = [row(time="2026-09-14T22:30:00Z")]
    assert groups(cost_report(late, ["day"])) == {("2026-09-14",): 1}
    assert groups(cost_report(late, ["day"], zone=BERLIN)) == {("2026-09-15",): 1}


def test_months_are_a_grouping() -> None:
    assert grouped([row(), row(time="2026-10-01T00:00:00Z")], "month") == {("2026-09",): 1, ("2026-10",): 1}


@pytest.mark.parametrize(
    ("text", "end", "expected"),
    [
        pytest.param("2026-09-14", False, "2026-09-14T00:00:00+02:00", id="a day's beginning"),
        pytest.param("2026-09-14", True, "2026-09-15T00:00:00+02:00", id="a day's end"),
        pytest.param("2026-10-25", True, "2026-10-26T00:00:00+01:00", id="a day of 25 hours"),
        pytest.param("2026-09-14T12:30", True, "2026-09-14T12:30:00+02:00", id="a time in the zone"),
        pytest.param("2026-09-14T12:30Z", True, "2026-09-14T12:30:00+00:00", id="a time with its zone"),
    ],
)
def test_a_bound_is_a_day_or_a_time(text: str, end: bool, expected: str) -> None:
    assert period_bound(text, BERLIN, end=end).isoformat() == expected


def test_a_bound_that_is_neither_is_refused() -> None:
    with pytest.raises(ValueError, match="yesterday"):
        period_bound("yesterday", UTC, end=False)


def test_memory_grows_with_the_groups_and_not_with_the_rows() -> None:
    rows = (row(latency_s=1 + n % 97, model=f"m{n % 5}", session_id=str(n)) for n in range(20_000))
    tracemalloc.start()
    report = cost_report(rows, ["model"])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (report.total.calls, peak < 500_000) == (20_000, True)
