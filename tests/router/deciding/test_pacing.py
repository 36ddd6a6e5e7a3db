from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import pacing as benchmark
from benchmarks.pacing import START, Time
from router.calling.attempt import Attempt
from router.deciding.pacing import DAY_S, MOST_CARRIED, RANGE, Pacer
from router.records import Decision, Json


def decision(expected: Mapping[str, float], model: str = "m") -> Decision:
    return replace(benchmark.expected(0.0), model=model, expected_cost_usd=expected)


def attempt(cost: float | None, **fields: Json) -> Attempt:
    whole = {"model": "m", "number": 1, "started": 0.0, "latency_s": 1.0, "cost_usd": cost, **fields}
    return Attempt(**whole)


@pytest.mark.parametrize("level", [0.15, 0.5])
@pytest.mark.parametrize("first_day", range(7))
def test_a_month_costs_its_budget_within_two_per_cent(level: float, first_day: int) -> None:
    of = benchmark.month(level, first_day=first_day, seed=first_day)
    assert abs(of.share - 1.0) < 0.02
    assert of.days.max() < 1.0 + MOST_CARRIED
    assert of.success > of.hindsight - 0.02


def paced(usd_per_day: float = 10.0, weight: float = 20.0) -> tuple[Pacer, Time]:
    time = Time()
    return Pacer(usd_per_day, weight, time), time


def spend_evenly(pacer: Pacer, time: Time, usd: float, *, days: float, requests: int) -> None:
    for _ in range(requests):
        time.now += days * DAY_S / requests
        pacer.decided(decision({"m": usd}))


def test_an_even_spend_at_the_pace_leaves_the_weight_where_it_is() -> None:
    pacer, time = paced()
    spend_evenly(pacer, time, 0.01, days=5, requests=5000)
    settled = pacer.weight
    spend_evenly(pacer, time, 0.01, days=5, requests=5000)
    assert pacer.weight == pytest.approx(settled, rel=0.05)
    assert pacer.pace.requests_per_day == pytest.approx(1000, rel=0.01)


@pytest.mark.parametrize(("usd", "dearer"), [(0.02, True), (0.005, False)], ids=["too dear", "too cheap"])
def test_the_weight_goes_where_the_spend_must(usd: float, dearer: bool) -> None:
    pacer, time = paced()
    spend_evenly(pacer, time, usd, days=1, requests=1000)
    assert (pacer.weight > 20.0) is dearer


def test_an_hour_of_ten_times_the_traffic_moves_the_weight_by_less_than_three() -> None:
    pacer, time = paced()
    spend_evenly(pacer, time, 0.01, days=7, requests=7000)
    before = pacer.weight
    spend_evenly(pacer, time, 0.01, days=1 / 24, requests=417)
    assert before < pacer.weight < 3.0 * before


def test_unknown_costs_make_the_weight_rise_and_are_counted() -> None:
    cases: list[Mapping[str, float]] = [{"m": math.nan, "dear": 0.5}, {"m": math.nan}, {}]
    for expected in cases:
        pacer, time = paced()
        for _ in range(50):
            time.now += 60.0
            pacer.decided(decision(expected))
        assert pacer.weight > 20.0
        assert pacer.pace.unknown == 50


@pytest.mark.parametrize(
    ("ended", "spent"),
    [
        pytest.param(attempt(0.3), 0.3, id="known"),
        pytest.param(attempt(None), 0.2, id="unknown: as expected"),
        pytest.param(attempt(None, kind="server"), 0.0, id="failed"),
        pytest.param(attempt(0.1, kind="broken_stream"), 0.1, id="failed, and billed"),
        pytest.param(attempt(None, model="other"), 0.2, id="a model of unknown cost: the dearest known"),
    ],
)
def test_what_a_call_cost_replaces_what_was_expected(ended: Attempt, spent: float) -> None:
    pacer, _ = paced()
    chosen = decision({"m": 0.2})
    pacer.decided(chosen)
    pacer.ended(chosen, ended, 0.2)
    assert pacer.pace.carried_usd == pytest.approx(-spent)


def test_a_restart_goes_on_from_the_spend_of_today() -> None:
    time = Time()
    time.now += 0.5 * DAY_S
    pacer = Pacer(10.0, 20.0, time)
    pacer.resume(requests=4000, first=time.now - 4 * DAY_S, usd=8.0, since=START)
    pace = pacer.pace
    assert pace.carried_usd == pytest.approx(5.0 - 8.0)
    assert pace.requests_per_day == pytest.approx(1000)


@settings(max_examples=50, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.floats(-10.0, 1e6), st.floats(0.0, 1e6) | st.just(math.nan) | st.just(math.inf)),
        max_size=60,
    )
)
def test_whatever_comes_the_weight_and_what_is_carried_stay_within_their_limits(
    steps: list[tuple[float, float]],
) -> None:
    pacer, time = paced()
    for seconds, usd in steps:
        time.now += seconds
        pacer.decided(decision({"m": usd}))
    pace = pacer.pace
    assert 20.0 / RANGE * 0.999 <= pace.weight <= 20.0 * RANGE * 1.001
    assert abs(pace.carried_usd) <= MOST_CARRIED * 10.0
    assert math.isfinite(pace.requests_per_day)
