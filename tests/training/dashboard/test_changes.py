from __future__ import annotations

import math

import numpy as np
import pytest

from router.records import IntArray
from training.dashboard.cells import RANDOM_GROUPS
from training.dashboard.changes import Rate, against_forecast, change


def rate(part: IntArray, whole: IntArray) -> Rate:
    return Rate(part=part, whole=whole)


def drawn(seed: int, share: float, sessions: int = 400, calls: int = 10, *, together: bool = False) -> Rate:
    """Successes of sessions of several calls; together: a session's calls all succeed or all fail."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, RANDOM_GROUPS, sessions)
    good = calls * (rng.random(sessions) < share) if together else rng.binomial(calls, share, sessions)
    part = np.bincount(group, weights=good, minlength=RANDOM_GROUPS).astype(np.int64)
    return rate(part, calls * np.bincount(group, minlength=RANDOM_GROUPS))


@pytest.mark.parametrize(
    "together", [pytest.param(False, id="independent"), pytest.param(True, id="sessions")]
)
def test_the_interval_holds_nothing_changed_in_about_nineteen_of_twenty(together: bool) -> None:
    covered = sum(
        (
            one := change(
                "", drawn(2 * i, 0.7, together=together), drawn(2 * i + 1, 0.7, together=together), good=True
            )
        ).low
        <= 0
        <= one.high
        for i in range(300)
    )
    assert 0.91 <= covered / 300 <= 0.99


@pytest.mark.parametrize(
    "together", [pytest.param(False, id="independent"), pytest.param(True, id="sessions")]
)
def test_the_interval_holds_a_true_forecast_in_about_nineteen_of_twenty(together: bool) -> None:
    covered = 0
    for seed in range(300):
        actual = drawn(seed, 0.7, together=together)
        one = against_forecast(
            "", actual, Rate(part=np.full(RANDOM_GROUPS, 0.7) * actual.whole, whole=actual.whole)
        )
        covered += one.low <= 0 <= one.high
    assert 0.91 <= covered / 300 <= 0.99


@pytest.mark.parametrize(
    ("now", "before", "good", "verdict"),
    [
        pytest.param(0.9, 0.6, True, "better", id="more successes"),
        pytest.param(0.6, 0.9, True, "worse", id="fewer successes"),
        pytest.param(0.3, 0.1, False, "worse", id="more failures"),
        pytest.param(0.1, 0.3, False, "better", id="fewer failures"),
        pytest.param(0.7, 0.7, True, "no clear change", id="the same"),
    ],
)
def test_a_verdict_is_what_the_interval_says(now: float, before: float, good: bool, verdict: str) -> None:
    assert change("", drawn(1, now), drawn(2, before), good=good).verdict == verdict


def test_a_few_sessions_are_too_few() -> None:
    one = change("", drawn(1, 1.0, sessions=5), drawn(2, 0.0, sessions=5), good=True)
    assert math.isnan(one.low)
    assert one.verdict == "too few calls to compare"


def test_no_call_at_all_is_too_few() -> None:
    nothing = rate(np.zeros(RANDOM_GROUPS, np.int64), np.zeros(RANDOM_GROUPS, np.int64))
    assert change("", nothing, drawn(1, 0.5), good=True).verdict == "too few calls to compare"


def test_rates_of_one_are_not_taken_for_certain() -> None:
    one = change("", drawn(1, 1.0, sessions=20, calls=1), drawn(2, 1.0, sessions=20, calls=1), good=True)
    assert one.low < 0 < one.high


def test_more_comparisons_make_wider_intervals() -> None:
    alone, many = (change("", drawn(1, 0.7), drawn(2, 0.7), good=True, comparisons=n) for n in (1, 10))
    assert many.low < alone.low < alone.high < many.high
