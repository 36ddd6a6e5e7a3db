from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.forecasting.head import unit
from router.records import Float32Array, FloatArray
from training.statistics.sequential import RESTART, by_session, log_evidence_of_excess, novelty

DAYS, A_DAY = 100, 30


def failures(rng: np.random.Generator, chance: FloatArray) -> FloatArray:
    return (rng.random(len(chance)) < chance).astype(float)


def test_calibrated_forecasts_raise_few_alarms_over_a_hundred_daily_looks() -> None:
    rng, alarms, runs = np.random.default_rng(0), 0, 300
    for _ in range(runs):
        chance = rng.beta(1, 4, DAYS * A_DAY)
        looks = log_evidence_of_excess(failures(rng, chance), chance)[A_DAY - 1 :: A_DAY]
        alarms += bool(looks.max() > math.log(1 / 0.05))
    assert alarms / runs <= 0.05


@pytest.mark.parametrize("quiet", [0, 100, 1000, 5000])
@pytest.mark.parametrize(("chance", "power"), [(0.05, 0.98), (0.1, 0.98), (0.2, 0.9), (0.4, 0.8)])
def test_twenty_points_more_failures_are_detected_within_300_calls(
    quiet: int, chance: float, power: float
) -> None:
    """At a level that covers 50 cells, with a tolerance of 2 points; rarely where outcomes vary most."""
    rng, detected, runs = np.random.default_rng(1), 0, 40
    for _ in range(runs):
        actual = np.concatenate([np.full(quiet, chance), np.full(300, chance + 0.2)])
        evidence = log_evidence_of_excess(failures(rng, actual), np.full(quiet + 300, chance + 0.02))
        assert quiet == 0 or evidence[:quiet].max() < math.log(50 / 0.05)
        detected += bool(evidence.max() > math.log(50 / 0.05))
    assert detected / runs >= power


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=3 * RESTART))
def test_evidence_is_finite_and_a_look_changes_none_before(pairs: list[tuple[float, float]]) -> None:
    values, bounds = np.array(pairs, dtype=np.float64).reshape(-1, 2).T
    evidence = log_evidence_of_excess(values, bounds)
    assert np.isfinite(evidence).all()
    half = len(pairs) // 2
    np.testing.assert_allclose(log_evidence_of_excess(values[:half], bounds[:half]), evidence[:half])


def test_the_capital_is_a_fair_game_from_every_state() -> None:
    """The mean over both outcomes of the next value, at the bound, is the evidence now."""
    rng = np.random.default_rng(2)
    for length in (0, 1, 60, RESTART - 1, RESTART, 2 * RESTART + 7):
        bounds = rng.uniform(0.05, 0.95, length + 1)
        past = failures(rng, np.minimum(bounds + 0.1, 1))[:length]
        now = math.exp(log_evidence_of_excess(past, bounds[:length])[-1]) if length else 1.0
        after = [math.exp(log_evidence_of_excess(np.append(past, last), bounds)[-1]) for last in (0.0, 1.0)]
        chance = bounds[-1]
        assert (1 - chance) * after[0] + chance * after[1] == pytest.approx(now)


@pytest.mark.parametrize("wrong", [-0.1, 1.1, math.nan])
def test_values_out_of_range_are_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match=r"values must be in \[0, 1\]"):
        log_evidence_of_excess(np.array([0.5, wrong]), np.array([0.5, 0.5]))


def directions(number: int, *, seed: int, shift: float = 0.0) -> Float32Array:
    points = np.random.default_rng(seed).normal(size=(number, 8))
    points[:, 0] += shift
    return unit(points.astype(np.float32))


def test_points_like_the_reference_are_not_new() -> None:
    means = [
        novelty(directions(600, seed=2 * n), directions(600, seed=2 * n + 1))[0].mean() for n in range(10)
    ]
    assert abs(np.mean(means) - 0.5) < 0.02


def test_points_unlike_the_reference_look_new_once_some_were_seen() -> None:
    points = np.concatenate([directions(200, seed=1), directions(400, seed=2, shift=3.0)])
    values, off = novelty(directions(1000, seed=0), points)
    assert values[:200].mean() < 0.55
    assert values[300:].mean() > 0.8
    assert 0 < off < 0.05


def test_a_longer_past_changes_no_earlier_value() -> None:
    reference, points = directions(500, seed=0), directions(333, seed=1)
    whole, part = novelty(reference, points)[0], novelty(reference, points[:170])[0]
    assert whole[:150] == pytest.approx(part[:150])


@pytest.mark.parametrize("points", [0, 1, 51])
@pytest.mark.parametrize("reference", [2, 3])
def test_any_number_of_points_has_as_many_values(points: int, reference: int) -> None:
    values, _ = novelty(directions(reference, seed=0), directions(points, seed=1))
    assert len(values) == points
    assert ((values >= 0) & (values <= 1)).all()


def test_a_session_counts_once_by_its_length() -> None:
    values, bounds = np.array([1.0, 1.0, 0.0, 1.0]), np.full(4, 0.5)
    found, bound = by_session(values, bounds, ["a", "b", "b", "c"])
    assert found.tolist() == [1.0, 0.5, 0.75]
    assert bound.tolist() == [0.5, 0.5, 0.5]
    alone = by_session(values, bounds, list("abcd"))[0]
    assert alone.tolist() == values.tolist()
