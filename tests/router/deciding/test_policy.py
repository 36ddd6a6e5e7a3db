from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.deciding.policy import Policy, assumed_cost, choose
from router.records import FloatArray

NAN = math.nan
WEIGHTS = st.sampled_from([0.0, 0.5, 1.0, 20.0])


@st.composite
def tables(draw: st.DrawFn) -> tuple[FloatArray, FloatArray, np.ndarray]:
    """Probabilities, costs with unknown ones, and an allowed mask, from few values so that ties happen."""
    n, m = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    cells = st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), min_size=n * m, max_size=n * m)
    costs = st.lists(st.sampled_from([0.0, 0.25, 0.5, NAN]), min_size=n * m, max_size=n * m)
    masks = st.lists(st.booleans(), min_size=n * m, max_size=n * m)
    allowed = np.array(draw(masks)).reshape(n, m)
    allowed[np.arange(n), [draw(st.integers(0, m - 1)) for _ in range(n)]] = True
    return np.array(draw(cells)).reshape(n, m), np.array(draw(costs)).reshape(n, m), allowed


def one_by_one(p: list[float], cost: list[float], weight: float, allowed: list[bool]) -> int:
    """The choice in one row, as its definition says it."""
    dearest = max((c for c in cost if not math.isnan(c)), default=0.0)
    known = [dearest if math.isnan(c) else c for c in cost]
    return min(
        (column for column in range(len(p)) if allowed[column]),
        key=lambda column: (-(p[column] - weight * known[column]), known[column], column),
    )


@given(tables(), WEIGHTS)
def test_the_choice_is_the_one_that_trying_every_model_finds(
    table: tuple[FloatArray, FloatArray, np.ndarray], weight: float
) -> None:
    p, cost, allowed = table
    rows = zip(p.tolist(), cost.tolist(), allowed.tolist(), strict=True)
    assert choose(p, cost, weight, allowed).tolist() == [one_by_one(a, b, weight, c) for a, b, c in rows]


@pytest.mark.parametrize(
    ("p", "cost", "weight", "column"),
    [
        pytest.param([0.9, 0.8], [2.0, 1.0], 0.0, 0, id="weight 0 ignores cost"),
        pytest.param([0.9, 0.8], [2.0, 1.0], 1.0, 1, id="cost counts"),
        pytest.param([0.5, 0.5], [2.0, 1.0], 0.0, 1, id="a tie goes to the cheaper"),
        pytest.param([0.5, 0.5], [1.0, 1.0], 1.0, 0, id="equal in all goes to the first"),
        pytest.param([0.5, 0.5], [NAN, 1.0], 1.0, 0, id="unknown ties with the dearest known"),
        pytest.param([0.5, 0.5, 0.5], [NAN, 1.0, 2.0], 1.0, 1, id="unknown is never cheap"),
        pytest.param([0.5, 0.6], [NAN, NAN], 9.0, 1, id="no known cost: success alone"),
    ],
)
def test_value_is_success_less_weighted_cost(
    p: list[float], cost: list[float], weight: float, column: int
) -> None:
    assert choose(np.array([p]), np.array([cost]), weight).tolist() == [column]


def test_one_mask_serves_every_row() -> None:
    p = np.array([[0.9, 0.1], [0.8, 0.2]])
    assert choose(p, np.ones((2, 2)), 1.0, np.array([False, True])).tolist() == [1, 1]


def test_an_unknown_cost_is_taken_for_its_rows_dearest() -> None:
    cost = np.array([[NAN, 1.0, 3.0], [NAN, NAN, NAN]])
    assert assumed_cost(cost).tolist() == [[3.0, 1.0, 3.0], [0.0, 0.0, 0.0]]


def test_a_policy_survives_its_json_form() -> None:
    policy = Policy(weight=3.0, least_confidence=0.6, least_familiarity=-1.0, best_single="large")
    assert Policy(**policy.to_json()) == policy
