from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from router.records import FloatArray, IntArray
from tests.training.statistics.means import mean_ratio
from training.statistics.intervals import (
    UNKNOWN,
    Interval,
    calls_to_settle,
    cost_reaching,
    interval,
    joined,
    mean_difference,
    resampled_blocks,
    resampled_counts,
    resampled_sums,
    with_room,
)

ALONE = np.arange(200)


def difference(a: FloatArray, b: FloatArray, clusters: IntArray, seed: int = 0) -> Interval:
    columns = np.stack([a, b, np.ones_like(a)], axis=1)
    return interval(resampled_sums(columns, clusters, n_resamples=400, seed=seed), mean_difference)


def test_a_constant_difference_has_no_uncertainty_when_paired() -> None:
    a = np.random.default_rng(0).random(200)
    result = difference(a + 0.1, a, ALONE)
    assert (result.value, result.low, result.high) == pytest.approx((0.1, 0.1, 0.1))
    assert result.above == 1


def test_the_interval_agrees_with_the_normal_one_on_many_prompts() -> None:
    a = np.random.default_rng(1).normal(0.3, 1, 3000)
    result = difference(a, np.zeros(3000), np.arange(3000))
    half = 1.96 * a.std() / 3000**0.5
    assert (result.high - result.low) / 2 == pytest.approx(half, rel=0.12)


def test_the_interval_covers_the_truth_nineteen_times_in_twenty() -> None:
    rng = np.random.default_rng(2)
    covered = 0
    for trial in range(200):
        effect = np.repeat(rng.normal(0, 0.5, 60), 4)
        result = difference(
            0.2 + effect + rng.normal(0, 1, 240), np.zeros(240), np.repeat(np.arange(60), 4), trial
        )
        covered += result.low <= 0.2 <= result.high
    assert 0.90 <= covered / 200 <= 0.985


def test_prompts_of_one_session_count_as_one_group() -> None:
    a = np.repeat(np.random.default_rng(3).normal(0, 1, 50), 4)
    wide, narrow = difference(a, 0 * a, np.arange(200) // 4), difference(a, 0 * a, ALONE)
    assert wide.high - wide.low > 1.7 * (narrow.high - narrow.low)


def test_the_names_of_the_groups_do_not_matter() -> None:
    a = np.random.default_rng(4).random(200)
    assert difference(a, 1 - a, ALONE // 2) == difference(a, 1 - a, 1000 + 3 * (ALONE // 2))


def test_one_group_gives_a_value_without_bounds() -> None:
    result = difference(np.ones(200), np.zeros(200), np.zeros(200, dtype=np.int64))
    assert result.value == 1
    assert np.isnan([result.low, result.high, result.above]).all()


def test_a_ratio_of_costs_counts_resamples_above_one() -> None:
    cost = np.random.default_rng(5).random(200)
    sums = resampled_sums(np.stack([2 * cost, cost], axis=1), ALONE, n_resamples=50)
    result = interval(sums, mean_ratio, reference=1.0)
    assert (result.value, result.low, result.above) == pytest.approx((2, 2, 1))


def test_a_ratio_to_nothing_is_unknown() -> None:
    assert np.isnan(mean_ratio(np.array([1.0, 0.0])))


def test_every_resample_draws_as_many_groups_as_there_are() -> None:
    counts = np.concatenate(list(resampled_counts(7, n_resamples=30, seed=0)))
    assert counts.shape == (30, 7)
    assert (counts.sum(axis=1) == 7).all()


def test_the_same_seed_gives_the_same_resamples() -> None:
    values = np.random.default_rng(6).random((40, 2))
    draws = [resampled_sums(values, np.arange(40), n_resamples=9, seed=s).draws for s in (1, 1, 2)]
    assert (draws[0] == draws[1]).all()
    assert not (draws[0] == draws[2]).all()


def test_blocks_share_their_resamples() -> None:
    values = np.random.default_rng(7).random((40, 3))
    blocks = resampled_blocks([("a", values[:, :1]), ("b", values[:, 1:])], np.arange(40), n_resamples=9)
    whole = resampled_sums(values, np.arange(40), n_resamples=9)
    assert joined(blocks["a"], blocks["b"]).draws == pytest.approx(whole.draws)


def test_a_target_that_a_curve_never_reaches_costs_without_limit() -> None:
    success, cost = np.array([[0.9, 0.5], [0.4, 0.3]]), np.array([[2.0, 1.0], [2.0, 1.0]])
    assert cost_reaching(success, cost, np.array([0.5, 0.5])).tolist() == [1.0, np.inf]


@pytest.mark.parametrize(
    ("difference", "error", "more"),
    [
        pytest.param(1.0, 1.0, 685, id="at one standard error, 7.85 times as many"),
        pytest.param(-1.0, 1.0, 685, id="of either sign"),
        pytest.param(2.0, 1.0, None, id="settled"),
        pytest.param(0.0, 1.0, None, id="no difference"),
        pytest.param(1e-5, 1.0, None, id="more than a billion"),
        pytest.param(math.nan, 1.0, None, id="unknown"),
        pytest.param(1.0, math.nan, None, id="unknown spread"),
    ],
)
def test_calls_to_settle_by_hand(difference: float, error: float, more: int | None) -> None:
    assert calls_to_settle(difference, error, 100) == more


def test_with_the_calls_that_settle_it_four_tests_in_five_find_the_difference() -> None:
    rng = np.random.default_rng(8)
    more = calls_to_settle(0.1, 1 / 10, 100)
    assert more is not None
    samples = rng.normal(0.1, 1, (1000, 100 + more))
    found = abs(samples.mean(axis=1)) > 1.96 * samples.std(axis=1) / (100 + more) ** 0.5
    assert found.mean() == pytest.approx(0.8, abs=0.05)


def test_equal_outcomes_on_all_prompts_still_leave_room_for_a_difference() -> None:
    equal = Interval(value=0.0, low=0.0, high=0.0, above=0.0)
    assert (with_room(equal, 300).low, with_room(equal, 300).high) == (-0.01, 0.01)
    shown = replace(equal, low=-0.1, high=0.2)
    assert with_room(shown, 300) is shown
    assert with_room(UNKNOWN, 300) is UNKNOWN
