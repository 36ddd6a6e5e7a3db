from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial import ConvexHull

from router.records import FloatArray
from training.statistics.hull import aiq, gain_over_mix, hull, mix_at

points = arrays(np.float64, st.tuples(st.integers(1, 12), st.just(2)), elements=st.floats(0, 1, width=16))


def naive_height(cost: FloatArray, success: FloatArray, at: float) -> float:
    """Best mix of two points whose cost is at most `at`: the hull by its meaning."""
    reached = [q for c, q in zip(cost, success, strict=True) if c <= at]
    mixed = [
        q1 + (q2 - q1) * (at - c1) / (c2 - c1)
        for c1, q1 in zip(cost, success, strict=True)
        for c2, q2 in zip(cost, success, strict=True)
        if c1 <= at < c2
    ]
    return float(max([*reached, *mixed], default=success[np.argmin(cost)] * at / cost.min()))


def naive_aiq(cost: FloatArray, success: FloatArray, low: float, high: float) -> float:
    at = low + (high - low) * (np.arange(4000) + 0.5) / 4000
    return float(np.mean([naive_height(cost, success, x) for x in at]))


def single_aiq(cost: FloatArray, success: FloatArray, low: float, high: float) -> float:
    return float(aiq(success, cost, np.asarray(low), np.asarray(high)))


def test_a_point_below_the_line_between_its_neighbours_is_no_vertex() -> None:
    cost, success = hull(np.array([3.0, 1.0, 2.0]), np.array([0.9, 0.5, 0.6]))
    assert (cost.tolist(), success.tolist()) == ([1, 3, 3], [0.5, 0.9, 0.9])


def test_a_dearer_and_worse_point_does_not_pull_the_hull_down() -> None:
    _, success = hull(np.array([1.0, 2.0, 3.0]), np.array([0.5, 0.9, 0.2]))
    assert success.max() == success[-1] == 0.9


@pytest.mark.parametrize(
    ("cost", "success", "expected"),
    [
        pytest.param([1.0, 3.0], [0.4, 0.8], 0.6, id="a straight line: its middle"),
        pytest.param([1.0, 2.0, 3.0], [0.4, 0.8, 0.8], 0.7, id="a rise, then level"),
        pytest.param([1.0], [0.7], 0.7, id="one model for everything stays level"),
        pytest.param([2.0], [0.8], 0.7, id="below its cheapest point it falls towards nothing"),
        pytest.param([0.5, 1.0, 3.0, 9.0], [0.2, 0.4, 0.8, 1.0], 0.6, id="points outside are cut off"),
    ],
)
def test_aiq_by_hand(cost: list[float], success: list[float], expected: float) -> None:
    assert single_aiq(np.array(cost), np.array(success), 1.0, 3.0) == pytest.approx(expected, abs=1e-12)


def test_aiq_is_the_mean_of_the_best_mixtures() -> None:
    rng = np.random.default_rng(0)
    cost, success = rng.uniform(1, 5, 15), rng.random(15)
    assert single_aiq(cost, success, 0.5, 6.0) == pytest.approx(naive_aiq(cost, success, 0.5, 6.0), abs=1e-3)


def test_the_vertices_are_those_of_qhull() -> None:
    rng = np.random.default_rng(1)
    cost, success = rng.random(40), rng.random(40)
    top = success.max()
    shell = ConvexHull(np.stack([[*cost, cost.min(), 2, 2], [*success, -1, -1, top]], axis=1)).vertices
    expected = {int(index) for index in shell if index < 40}
    vertices = hull(cost, success)
    assert {
        int(np.argmin(abs(cost - c) + abs(success - q))) for c, q in zip(*vertices, strict=True)
    } == expected


def test_no_span_between_the_models_gives_no_number() -> None:
    assert np.isnan(single_aiq(np.array([1.0, 2.0]), np.array([0.1, 0.2]), 1.0, 1.0))


@given(points)
def test_the_hull_lies_on_or_above_the_curve_and_never_falls(curve: FloatArray) -> None:
    cost, success = hull(curve[:, 0], curve[:, 1])
    assert (np.interp(curve[:, 0], cost, success) >= curve[:, 1] - 1e-9).all()
    assert (np.diff(cost) >= 0).all()
    assert (np.diff(success) >= 0).all()


@given(points)
def test_the_hull_is_concave(curve: FloatArray) -> None:
    cost, success = hull(curve[:, 0], curve[:, 1])
    run, rise = np.diff(cost), np.diff(success)
    assert (rise[1:] * run[:-1] <= rise[:-1] * run[1:] + 1e-12).all()


@given(points)
def test_aiq_lies_between_the_least_and_the_most_success_of_a_curve_that_starts_in_time(
    curve: FloatArray,
) -> None:
    value = single_aiq(curve[:, 0], curve[:, 1], float(curve[:, 0].min()), 2.0)
    assert curve[:, 1].min() - 1e-9 <= value <= curve[:, 1].max() + 1e-9


@given(points)
def test_neither_order_nor_repeated_points_matter(curve: FloatArray) -> None:
    again = np.concatenate([curve[::-1], curve])
    once = single_aiq(curve[:, 0], curve[:, 1], 0.25, 1.5)
    assert single_aiq(again[:, 0], again[:, 1], 0.25, 1.5) == pytest.approx(once, abs=1e-9)


def test_many_draws_equal_one_at_a_time() -> None:
    rng = np.random.default_rng(2)
    cost, success, low, high = rng.random((7, 20)), rng.random((7, 20)), rng.random(7) / 9, 1 + rng.random(7)
    alone = [single_aiq(*each) for each in zip(cost, success, low, high, strict=True)]
    assert aiq(success, cost, low, high) == pytest.approx(alone)


def test_two_thousand_draws_of_a_hundred_points_take_two_seconds_at_most() -> None:
    rng = np.random.default_rng(4)
    cost = np.cumsum(rng.random((2000, 100)), axis=1)[:, ::-1]
    success = np.log(cost) + rng.normal(0, 0.05, cost.shape)
    started = time.process_time()
    aiq(success, cost, cost.min(axis=1), cost.max(axis=1))
    assert time.process_time() - started < 2


@given(points, st.floats(0, 1))
def test_the_gain_over_a_mix_is_the_height_above_the_best_mix(curve: FloatArray, at: float) -> None:
    cost, success = curve.T
    at = max(at, float(cost.min()))
    best = naive_height(cost, success, at)
    gain = gain_over_mix((np.asarray([at]), np.asarray([best])), cost[None], success[None])
    np.testing.assert_allclose(gain, 0.0, atol=1e-9)


@given(points, st.floats(0, 1))
def test_the_models_of_the_best_mix_reach_it(curve: FloatArray, at: float) -> None:
    cost, success = curve.T
    at = max(at, float(cost.min()))
    mixed = mix_at(at, cost, success)
    assert 1 <= len(mixed) <= 2
    assert naive_height(cost[mixed], success[mixed], at) >= naive_height(cost, success, at) - 1e-9
