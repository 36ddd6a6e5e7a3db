from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.records import FloatArray, IntArray
from training.comparing.measuring.results import label_agreement

SUCCESS = np.array([[0.0, 1.0, 1.0], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
COST = np.tile([1.0, 2.0, 5.0], (4, 1))


def drawn(seed: int) -> tuple[IntArray, FloatArray, FloatArray]:
    rng = np.random.default_rng(seed)
    return (
        rng.integers(-1, 3, 25),
        (rng.random((25, 3)) < 0.4).astype(float),
        rng.integers(1, 4, (25, 3)).astype(float),
    )


def naive_agreement(choice: IntArray, success: FloatArray, cost: FloatArray) -> float:
    agrees = []
    for chosen, good, paid in zip(choice, success, cost, strict=True):
        right = [p for p, g in zip(paid, good, strict=True) if g >= 0.5]
        if right and chosen >= 0:
            agrees.append(good[chosen] >= 0.5 and paid[chosen] == min(right))
    return float(np.mean(agrees)) if agrees else math.nan


@pytest.mark.parametrize(
    ("choice", "agreement"),
    [
        pytest.param([1, 0, 0, 2], 1.0, id="always the cheapest that succeeded"),
        pytest.param([2, 2, 2, 2], 1 / 3, id="succeeds, but dearer"),
        pytest.param([0, 0, 0, 0], 1 / 3, id="cheapest, but fails"),
        pytest.param([1, -1, 0, -1], 1.0, id="where it can't choose does not count"),
        pytest.param([-1, -1, 0, -1], math.nan, id="nothing labelled is left"),
    ],
)
def test_label_agreement_by_hand(choice: list[int], agreement: float) -> None:
    assert label_agreement(np.array(choice), SUCCESS, COST) == pytest.approx(agreement, nan_ok=True)


def test_models_of_equal_cost_are_equally_right() -> None:
    assert label_agreement(np.array([1, 2, 0, 2]), SUCCESS, np.ones((4, 3))) == 1


@given(st.integers(0, 10_000))
def test_label_agreement_equals_its_definition(seed: int) -> None:
    assert label_agreement(*drawn(seed)) == pytest.approx(naive_agreement(*drawn(seed)), nan_ok=True)


@given(st.integers(0, 10_000))
def test_label_agreement_does_not_depend_on_the_order_of_prompts(seed: int) -> None:
    order = np.random.default_rng(seed).permutation(25)
    choice, success, cost = drawn(seed)
    assert label_agreement(choice[order], success[order], cost[order]) == pytest.approx(
        label_agreement(*drawn(seed)), nan_ok=True
    )
