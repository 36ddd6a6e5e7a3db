from __future__ import annotations

import numpy as np
import pytest

from router.records import BoolArray, FloatArray
from training.statistics import blocks, ridge
from training.statistics.blocks import Streamed
from training.statistics.ridge import PENALTIES, RidgeHeads, RidgePath, is_sparse


def design(rows: int = 24, columns: int = 5, targets: int = 2) -> tuple[FloatArray, FloatArray]:
    random = np.random.default_rng(4)
    inputs = random.normal(size=(rows, columns))
    return inputs, inputs @ random.normal(size=(columns, targets)) + random.normal(size=(rows, targets))


def weights(rows: int = 24) -> FloatArray:
    return np.random.default_rng(5).uniform(0.2, 1.0, rows)


def partly_seen(rows: int = 24) -> BoolArray:
    return np.random.default_rng(6).random((rows, 2)) < 0.7


def by_hand(inputs: FloatArray, targets: FloatArray, weight: FloatArray, penalty: float) -> FloatArray:
    """Weights and, in the last row, the intercept: the penalised normal equations, solved as they stand."""
    widened = np.hstack([inputs, np.ones((len(inputs), 1))])
    ridge = penalty * np.diag([1.0] * inputs.shape[1] + [0.0])
    gram = widened.T @ (weight[:, None] * widened) + ridge
    return np.asarray(np.linalg.solve(gram, widened.T @ (weight[:, None] * targets)), dtype=np.float64)


@pytest.mark.parametrize("penalty", [pytest.param(0.1, id="light"), pytest.param(300.0, id="heavy")])
def test_a_solution_is_that_of_the_penalised_normal_equations(penalty: float) -> None:
    inputs, targets = design()
    solution = RidgePath.of(inputs, targets, weights()).solution(penalty)
    expected = by_hand(inputs, targets, weights(), penalty)
    np.testing.assert_allclose(np.vstack([solution.weights, solution.intercept]), expected, atol=1e-9)


@pytest.mark.parametrize("penalty", [pytest.param(0.1, id="light"), pytest.param(300.0, id="heavy")])
def test_leave_one_out_equals_refitting_without_the_row(penalty: float) -> None:
    inputs, targets = design()
    predictions = RidgePath.of(inputs, targets, np.ones(24)).leave_one_out(targets, penalty)
    np.testing.assert_allclose(
        predictions, refitted_without(inputs, targets, np.ones(24), penalty), atol=1e-8
    )


def refitted_without(
    inputs: FloatArray, targets: FloatArray, weight: FloatArray, penalty: float
) -> FloatArray:
    out = np.empty_like(targets)
    for row in range(len(inputs)):
        others = np.arange(len(inputs)) != row
        fitted = by_hand(inputs[others], targets[others], weight[others], penalty)
        out[row] = np.append(inputs[row], 1.0) @ fitted
    return out


def test_leave_one_out_honours_the_rows_weights() -> None:
    inputs, targets = design()
    predictions = RidgePath.of(inputs, targets, weights()).leave_one_out(targets, 3.0)
    np.testing.assert_allclose(predictions, refitted_without(inputs, targets, weights(), 3.0), atol=1e-8)


def test_the_best_penalty_has_the_least_error_on_rows_left_out() -> None:
    inputs, targets = design()
    path = RidgePath.of(inputs, targets, np.ones(24))
    errors = [np.square(targets - refitted_without(inputs, targets, np.ones(24), p)).sum() for p in PENALTIES]
    assert path.best_penalty(targets) == PENALTIES[int(np.argmin(errors))]


@pytest.mark.parametrize("block", [pytest.param(1, id="one row"), pytest.param(7, id="an uneven rest")])
def test_the_best_penalty_does_not_depend_on_the_size_of_a_block(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs, targets = design()
    path = RidgePath.of(inputs, targets, weights())
    at_once = path.best_penalty(targets)
    monkeypatch.setattr(ridge, "BLOCK", block)
    assert path.best_penalty(targets) == at_once


def test_a_target_without_signal_gets_a_heavy_penalty() -> None:
    random = np.random.default_rng(8)
    inputs, targets = random.normal(size=(200, 5)), random.normal(size=(200, 1))
    assert RidgePath.of(inputs, targets, np.ones(200)).best_penalty(targets) >= 1000


def test_more_columns_than_rows_are_no_trouble() -> None:
    inputs, targets = design(rows=10, columns=40)
    predictions = RidgePath.of(inputs, targets, np.ones(10)).leave_one_out(targets, 2.0)
    np.testing.assert_allclose(predictions, refitted_without(inputs, targets, np.ones(10), 2.0), atol=1e-8)


def test_a_column_that_says_nothing_gets_no_weight() -> None:
    inputs, targets = design()
    inputs[:, 2] = 7.0
    assert np.allclose(RidgePath.of(inputs, targets, np.ones(24)).solution(1.0).weights[2], 0.0)


def test_each_column_is_fitted_on_its_own_observed_rows() -> None:
    inputs, targets = design()
    seen = partly_seen()
    together = RidgeHeads.of(inputs, np.where(seen, targets, 0.0), seen.astype(float)).solution(3.0)
    alone = by_hand(inputs[seen[:, 1]], targets[seen[:, 1]][:, [1]], np.ones(seen[:, 1].sum()), 3.0)
    np.testing.assert_allclose(together.weights[:, 1], alone[:-1, 0], atol=1e-8)


def test_what_stands_in_for_an_unknown_target_does_not_matter() -> None:
    inputs, targets = design()
    seen = partly_seen()
    zero, huge = (
        RidgeHeads.of(inputs, np.where(seen, targets, other), seen.astype(float)) for other in (0.0, 1e6)
    )
    np.testing.assert_allclose(zero.leave_one_out(), huge.leave_one_out(), atol=1e-8)


def test_an_unobserved_entry_is_predicted_as_fitted() -> None:
    inputs, targets = design()
    seen = partly_seen()
    heads = RidgeHeads.of(inputs, np.where(seen, targets, 0.0), seen.astype(float))
    np.testing.assert_allclose(heads.leave_one_out()[~seen], heads.solution()(inputs)[~seen])


def test_complete_columns_predict_as_columns_do_on_their_own() -> None:
    inputs, targets = design()
    whole = RidgeHeads.of(inputs, targets, np.ones_like(targets))
    apart = RidgePath.of(inputs, targets, np.ones(24)).leave_one_out(targets, whole.penalties[0])
    np.testing.assert_allclose(whole.leave_one_out(), apart)


def test_a_column_that_no_row_observed_predicts_nothing() -> None:
    inputs, targets = design()
    weight = np.ones_like(targets)
    weight[:, 1] = 0.0
    heads = RidgeHeads.of(inputs, targets, weight)
    assert not heads.solution().weights[:, 1].any()
    assert not heads.leave_one_out()[:, 1].any()


@pytest.mark.parametrize("rows", [0, 1, 2, 6])
def test_few_rows_have_the_same_solution_from_their_own_products(rows: int) -> None:
    inputs, targets = design(rows=24, columns=40)
    part = inputs[:rows], targets[:rows], weights()[:rows]
    dual, primal = RidgePath.of(*part, dual=True), RidgePath.of(*part)
    for penalty in PENALTIES:
        got, wanted = dual.solution(penalty), primal.solution(penalty)
        np.testing.assert_allclose(got.weights, wanted.weights, atol=1e-8)
        np.testing.assert_allclose(got.intercept, wanted.intercept, atol=1e-8)
        left_out = dual.leave_one_out(part[1], penalty)
        np.testing.assert_allclose(left_out, primal.leave_one_out(part[1], penalty), atol=1e-6)
    assert dual.basis.shape[1] <= rows


def test_many_targets_with_few_rows_each_are_solved_as_one_by_one() -> None:
    inputs, targets = design(rows=200, columns=8, targets=40)
    seen = np.arange(200)[:, None] % 40 == np.arange(40)
    assert is_sparse(seen.astype(float))
    heads = RidgeHeads.of(inputs, targets, seen.astype(float)).solution(2.0)
    alone = [by_hand(inputs[rows], targets[rows][:, [k]], np.ones(5), 2.0) for k, rows in enumerate(seen.T)]
    np.testing.assert_allclose(np.vstack([heads.weights, heads.intercept]), np.hstack(alone), atol=1e-9)


def test_columns_that_the_same_rows_observed_share_a_decomposition_and_fit_as_alone() -> None:
    inputs, targets = design(targets=4)
    seen = partly_seen()[:, [0, 1, 0, 1]].astype(float)
    heads = RidgeHeads.of(inputs, targets, seen)
    assert len({id(path.basis) for path in heads.paths}) == 2
    alone = [RidgeHeads.of(inputs, targets[:, [k]], seen[:, [k]]) for k in range(4)]
    assert heads.penalties == tuple(one.penalties[0] for one in alone)
    expected = np.hstack([one.leave_one_out() for one in alone])
    np.testing.assert_allclose(heads.leave_one_out(), expected, rtol=1e-9)


@pytest.mark.parametrize(
    "weight",
    [
        pytest.param(np.ones((300, 4)), id="every entry"),
        pytest.param(np.repeat(weights(300)[:, None], 4, axis=1), id="one weight a row"),
        pytest.param(np.random.default_rng(8).integers(0, 3, (300, 4)).astype(float), id="some entries"),
        pytest.param(np.eye(4)[np.arange(300) % 4], id="one entry a row"),
        pytest.param(np.ones((300, 4)) * [1.0, 0.0, 2.0, 1.0], id="a column that no row observed"),
    ],
)
@pytest.mark.parametrize("numbers", [1 << 25, 1], ids=["one pass", "a pass for each column"])
def test_streamed_rows_are_fitted_as_those_in_memory(
    weight: FloatArray, numbers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs, targets = design(rows=300, columns=6, targets=4)
    whole = RidgeHeads.of(inputs, targets, weight)
    for name, value in {"AT_ONCE": 100, "BLOCK": 64}.items():
        monkeypatch.setattr(blocks, name, value)
    monkeypatch.setattr(ridge, "_GRAM_NUMBERS", numbers)
    streamed = RidgeHeads.of(Streamed(shape=inputs.shape, read=inputs.__getitem__), targets, weight)
    assert streamed.penalties == whole.penalties
    for penalty in (None, 2.0):
        one, other = streamed.solution(penalty), whole.solution(penalty)
        np.testing.assert_allclose(one.weights, other.weights, atol=1e-10)
        np.testing.assert_allclose(one.intercept, other.intercept, atol=1e-10)
    np.testing.assert_allclose(streamed.leave_one_out(), whole.leave_one_out(), atol=1e-9)


def test_heads_of_a_given_penalty_search_for_none(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, targets = design()
    monkeypatch.delattr(RidgePath, "best_penalty")
    assert RidgeHeads.of(inputs, targets, np.ones_like(targets)).solution(2.0).weights.any()
