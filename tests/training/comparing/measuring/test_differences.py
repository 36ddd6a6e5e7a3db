from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_1samp

from router.records import FloatArray
from tests.training.statistics.means import mean_ratio, mean_value
from training.comparing.evaluated import Difference
from training.comparing.measuring.differences import Look, differences, holm, p_value
from training.statistics.intervals import Sums, mean_difference, resampled_sums

p_lists = st.lists(st.floats(0, 1), max_size=12)


def sums_of(*columns: FloatArray, n_resamples: int = 2000) -> Sums:
    ones = np.ones_like(columns[0])
    return resampled_sums(np.stack([*columns, ones], axis=1), np.arange(len(ones)), n_resamples=n_resamples)


def looked(gained: FloatArray, prompts: int | None = None) -> Difference:
    look = Look(sums=sums_of(gained), statistic=mean_value, prompts=prompts)
    return differences({"only": look}, len(gained))["only"]


def naive_holm(p_values: list[float]) -> list[float]:
    """Adjusted p of each: the greatest (n - i + 1) p_i among those no larger than it, at most 1."""
    ordered = sorted(p_values)
    return [min(1.0, max((len(ordered) - i) * q for i, q in enumerate(ordered) if q <= p)) for p in p_values]


@pytest.mark.parametrize(
    ("p_values", "adjusted"),
    [
        pytest.param([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02], id="textbook"),
        pytest.param([0.2, 0.5, 0.9], [0.6, 1.0, 1.0], id="at most one"),
        pytest.param([0.01, math.nan, 0.04], [0.02, math.nan, 0.04], id="unknown ones do not count"),
        pytest.param([0.02], [0.02], id="one look needs no correction"),
        pytest.param([], [], id="none"),
    ],
)
def test_holm_by_hand(p_values: list[float], adjusted: list[float]) -> None:
    assert holm(p_values) == pytest.approx(adjusted, nan_ok=True)


@given(p_lists)
def test_holm_equals_its_definition(p_values: list[float]) -> None:
    assert holm(p_values) == pytest.approx(naive_holm(p_values))


@given(p_lists)
def test_correcting_never_helps_and_keeps_the_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(after >= before for after, before in zip(adjusted, p_values, strict=True))
    assert [adjusted[i] for i in np.argsort(p_values, kind="stable")] == sorted(adjusted)


@given(p_lists)
def test_the_order_of_the_looks_does_not_matter(p_values: list[float]) -> None:
    assert holm(p_values[::-1]) == holm(p_values)[::-1]


@pytest.mark.parametrize("shift", [0.0, 0.1, 0.4])
def test_the_p_value_is_that_of_a_t_test(shift: float) -> None:
    gained = np.random.default_rng(0).normal(shift, 1, 100)
    expected = ttest_1samp(gained, 0).pvalue
    assert looked(gained).p_value == pytest.approx(expected, rel=0.25)


def test_far_differences_keep_apart() -> None:
    gained = np.random.default_rng(1).normal(0, 1, 500)
    near, far = looked(gained + 0.3), looked(gained + 0.4)
    assert 0 < far.p_value < near.p_value < 1e-6


def test_no_difference_has_a_p_value_of_one() -> None:
    assert looked(np.zeros(50)).p_value == 1


def test_a_difference_without_spread_is_no_certainty() -> None:
    assert p_value(0.5, 0.0, 31) == 2**-30


def test_fewer_than_thirty_clusters_are_not_tested() -> None:
    result = looked(np.random.default_rng(2).normal(2, 1, 29))
    assert math.isnan(result.p_value)
    assert math.isnan(result.p_adjusted)
    assert result.interval.value == pytest.approx(2, abs=0.7)


def test_what_is_not_tested_is_no_look() -> None:
    gained = np.random.default_rng(3).normal(0.2, 1, 100)
    look = Look(sums=sums_of(gained), statistic=mean_value)
    few = Look(sums=sums_of(gained), statistic=mean_value, clusters=12)
    found = differences({"whole": look, "few": few}, 100)
    assert found["whole"].p_adjusted == found["whole"].p_value


def test_looks_are_corrected_together() -> None:
    rng = np.random.default_rng(4)
    looks = {name: Look(sums=sums_of(rng.normal(0.2, 1, 100)), statistic=mean_value) for name in range(10)}
    found = differences(looks, 100).values()
    assert [one.p_adjusted for one in found] == pytest.approx(holm([one.p_value for one in found]))


def test_a_ratio_is_told_from_one_as_its_difference_is_from_zero() -> None:
    rng = np.random.default_rng(5)
    sums = sums_of(rng.lognormal(0.1, 1, 400), rng.lognormal(0, 1, 400))
    looks = {
        "ratio": Look(sums=sums, statistic=mean_ratio, reference=1.0, test=mean_difference),
        "difference": Look(sums=sums, statistic=mean_difference),
    }
    found = differences(looks, 400)
    assert found["ratio"].p_value == found["difference"].p_value
    assert found["ratio"].interval.value == pytest.approx(sums.total[0] / sums.total[1])


def test_a_ratio_without_a_test_of_its_own_is_looked_at_from_one() -> None:
    cost = 1 + np.random.default_rng(6).random(200)
    look = Look(sums=sums_of(cost, cost), statistic=mean_ratio, reference=1.0)
    assert differences({"same": look}, 200)["same"].p_value == 1


@given(st.integers(0, 10_000))
def test_doubling_every_call_of_a_cluster_changes_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    columns = np.stack([rng.normal(0.3, 1, 40), np.ones(40)], axis=1)
    once = Look(sums=resampled_sums(columns, np.arange(40), n_resamples=50), statistic=mean_value)
    twice = Look(
        sums=resampled_sums(np.repeat(columns, 2, axis=0), np.repeat(np.arange(40), 2), n_resamples=50),
        statistic=mean_value,
    )
    found = differences({"once": once, "twice": twice}, 40)
    assert found["once"].p_value == pytest.approx(found["twice"].p_value)


def test_of_forty_looks_at_nothing_one_in_twenty_families_is_fooled() -> None:
    rng, fooled = np.random.default_rng(7), 0
    for _ in range(400):
        gained = rng.choice([-1, 0, 1], p=[0.1, 0.8, 0.1], size=(40, 60))
        errors = gained.std(axis=1, ddof=1) / 60**0.5
        p_values = [p_value(float(d), float(e), 60) for d, e in zip(gained.mean(axis=1), errors, strict=True)]
        fooled += min(holm(p_values)) < 0.05
    assert fooled / 400 < 0.075


def test_prompts_are_counted_where_they_are_more_than_clusters() -> None:
    gained = np.random.default_rng(9).normal(0.1, 1, 100)
    alone, tied = looked(gained).calls_to_settle, looked(gained, prompts=300).calls_to_settle
    assert alone is not None
    assert tied == pytest.approx(3 * alone, abs=3)
