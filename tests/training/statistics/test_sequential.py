from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.records import FloatArray
from training.statistics.sequential import RESTART, log_evidence_of_excess

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
