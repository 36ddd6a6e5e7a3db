from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from router.records import FloatArray
from training.statistics.policy_curves import (
    Curve,
    apgr,
    best_column,
    brier,
    cost_at_quality,
    cost_matched_shuffle,
    cost_quality_curve,
    expected_calibration_error,
    model_shares,
    picked,
    policy_path,
    reliability,
    risk_coverage,
    weight_grid,
)

P = np.array([[0.5, 0.9], [0.5, 0.6]])
C = np.array([[1.0, 3.0], [1.0, 3.0]])
S = np.array([[0.0, 1.0], [1.0, 1.0]])


def grid(low: int, high: int) -> st.SearchStrategy[FloatArray]:
    return arrays(np.float64, (5, 4), elements=st.integers(low, high).map(float))


def test_the_curve_has_a_point_for_every_weight_at_which_a_prompt_changes_model() -> None:
    curve = cost_quality_curve(P, C, S, C)
    assert curve.weight == pytest.approx([0, 0.05, 0.2])
    assert curve.success == pytest.approx([1, 1, 0.5])
    assert curve.cost == pytest.approx([3, 2, 1])


@settings(max_examples=150, deadline=None)
@given(p=grid(0, 10), c=grid(1, 6), s=grid(0, 1))
def test_the_curve_equals_brute_force_between_its_weights(
    p: FloatArray, c: FloatArray, s: FloatArray
) -> None:
    curve = cost_quality_curve(p, c, s, c)
    between = np.append((curve.weight[:-1] + curve.weight[1:]) / 2, curve.weight[-1] + 1)
    for point, weight in enumerate(between):
        choice = best_column(np.round(p - weight * c, 9), c)
        assert curve.success[point] == pytest.approx(picked(s, choice).mean())
        assert curve.cost[point] == pytest.approx(picked(c, choice).mean())


@settings(max_examples=80, deadline=None)
@given(p=grid(0, 10), c=grid(1, 6))
def test_the_path_at_a_weight_is_the_policy_at_that_weight(p: FloatArray, c: FloatArray) -> None:
    for weight in (0.013, 0.37, 1.931, 25.01):
        assert (policy_path(p, c).at(weight) == best_column(p - weight * c, c)).all()


def test_the_cheaper_model_wins_a_tie() -> None:
    assert policy_path(np.full((1, 3), 0.7), np.array([[2.0, 1.0, 3.0]])).at(0).tolist() == [1]


@pytest.mark.parametrize(
    ("p", "c", "message"),
    [
        pytest.param(np.ones((2, 2)), np.ones((2, 3)), r"\(2, 2\) and \(2, 3\)", id="shapes differ"),
        pytest.param(np.ones((1, 2)), np.full((1, 2), np.nan), "must be finite", id="unknown cost"),
    ],
)
def test_a_path_needs_known_numbers_of_one_shape(p: FloatArray, c: FloatArray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        policy_path(p, c)


@pytest.mark.parametrize(
    ("quality", "cost"),
    [
        pytest.param(0.8, 2.0, id="between two points"),
        pytest.param(0.9, 3.0, id="exactly on a point"),
        pytest.param(0.0, 1.0, id="always reached"),
        pytest.param(0.95, float("nan"), id="never reached"),
    ],
)
def test_cost_at_quality_is_the_least_cost_that_reaches_it(quality: float, cost: float) -> None:
    curve = Curve(
        weight=np.array([0.0, 1, 2]), success=np.array([0.9, 0.85, 0.5]), cost=np.array([3.0, 2, 1])
    )
    assert cost_at_quality(curve, quality) == pytest.approx(cost, nan_ok=True)


def test_the_weight_grid_keeps_both_ends_and_no_more_points_than_asked() -> None:
    rng = np.random.default_rng(0)
    p, c = rng.random((400, 4)), np.tile([1.0, 2, 8, 30], (400, 1))
    curve = cost_quality_curve(p, c, p, c)
    weights = weight_grid(curve, points=20)
    assert len(weights) <= 22
    assert (weights[0], weights[-1]) == (curve.weight[0], curve.weight[-1])


def test_apgr_is_the_mean_recovered_gap_over_all_shares() -> None:
    # Shares 0, 1/2, 1 recover 0, 1, 1 of the gap: the area is 0.25 + 0.5.
    assert apgr(np.array([0.9, 0.1]), np.array([0.0, 1.0]), np.array([1.0, 1.0])) == pytest.approx(0.75)


def test_apgr_equals_the_trapezoid_of_the_recovered_gap() -> None:
    rng = np.random.default_rng(1)
    gap, weak, strong = rng.random(300), rng.random(300), rng.random(300) + 0.2
    order = np.argsort(-gap)
    recovered = np.append(0, np.cumsum((strong - weak)[order])) / (strong - weak).sum()
    assert apgr(gap, weak, strong) == pytest.approx(np.trapezoid(recovered, dx=1 / 300))


def test_apgr_of_one_gap_for_all_is_that_of_random_routing() -> None:
    assert apgr(np.zeros(4), np.array([0.0, 0, 1, 1]), np.ones(4)) == pytest.approx(0.5)


def test_apgr_is_undefined_where_strong_is_no_better() -> None:
    assert np.isnan(apgr(np.array([1.0, 2.0]), np.ones(2), np.ones(2)))


def test_calibration_error_weighs_each_bin_by_its_prompts() -> None:
    p, y = np.array([0.1, 0.1, 0.1, 0.9]), np.array([0.0, 0.0, 1.0, 1.0])
    expected = 0.75 * abs(0.1 - 1 / 3) + 0.25 * 0.1
    assert expected_calibration_error(p, y, bins=5) == pytest.approx(expected)


def test_a_bin_holds_its_upper_edge_and_the_first_one_also_zero() -> None:
    assert reliability(np.array([0.0, 0.5, 0.51, 1.0]), np.zeros(4), bins=2).count.tolist() == [2, 2]


def test_brier_is_the_mean_squared_difference() -> None:
    assert brier(np.array([0.8, 0.4]), np.array([1.0, 0.0])) == pytest.approx((0.04 + 0.16) / 2)


def test_risk_is_the_failure_rate_among_the_most_confident() -> None:
    curve = risk_coverage(np.array([0.2, 0.9, 0.5, 0.5]), np.array([0.0, 1.0, 1.0, 0.0]))
    assert curve.coverage == pytest.approx([0.25, 0.75, 1])
    assert curve.risk == pytest.approx([0, 1 / 3, 0.5])
    assert curve.area == pytest.approx(0.5 / 3 + 0.25 * 0.5)


def test_the_shuffle_equals_the_mean_over_many_permutations() -> None:
    rng = np.random.default_rng(2)
    choice, success, cost = rng.integers(0, 3, 60), rng.random((60, 3)), rng.random((60, 3))
    seen = [picked(success, rng.permutation(choice)).mean() for _ in range(4000)]
    expected, spent = cost_matched_shuffle(choice, success, cost)
    assert expected.mean() == pytest.approx(np.mean(seen), abs=4 * np.std(seen) / 4000**0.5)
    assert spent.mean() == pytest.approx(model_shares(choice, 3) @ cost.mean(axis=0))


def test_rows_without_a_choice_have_no_share() -> None:
    assert model_shares(np.array([-1, 0, 1, 1]), 3) == pytest.approx([1 / 3, 2 / 3, 0])
