from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from router.records import FloatArray, IntArray
from training.comparing.estimating import outcome_model
from training.comparing.estimating.outcome_model import CovariateScaling, expected_cost, expected_success
from training.prompts.split import folds


def design(n: int = 300, seed: int = 0) -> tuple[FloatArray, IntArray, IntArray, np.random.Generator]:
    """Covariates, calls of two models, folds."""
    rng = np.random.default_rng(seed)
    calls = np.eye(2, dtype=np.int64)[rng.integers(0, 2, size=n)]
    return rng.normal(size=(n, 3)), calls, folds(np.arange(n), 5, 0), rng


def seen(values: FloatArray, calls: IntArray) -> FloatArray:
    return np.where(calls > 0, values, np.nan)


def naive(outcome: FloatArray, calls: IntArray, x: FloatArray, fold: IntArray, penalty: float) -> FloatArray:
    """Ridge regressions fitted fold by fold and model by model."""
    predicted, z = np.empty(outcome.shape), (x - x.mean(axis=0)) / x.std(axis=0)
    ones = np.column_stack([np.ones(len(z)), z])
    weight = calls / (calls.sum() / len(calls))
    penalties = np.diag([outcome_model.PRIOR_CALLS, *[penalty] * x.shape[1]])
    for number in range(fold.max() + 1):
        other = fold != number
        prior = np.nansum((weight * outcome)[other]) / (weight * np.isfinite(outcome))[other].sum()
        for model in range(outcome.shape[1]):
            rows = other & np.isfinite(outcome[:, model])
            w, a = weight[rows, model][:, None], ones[rows]
            b = np.linalg.solve((w * a).T @ a + penalties, (w * a).T @ (outcome[rows, model] - prior))
            predicted[fold == number, model] = ones[fold == number] @ b + prior
    return predicted


def test_predictions_are_those_of_regressions_fitted_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    x, calls, fold, rng = design()
    calls *= rng.integers(1, 4, size=calls.shape)
    outcome = seen(0.5 + 0.05 * rng.random((300, 2)), calls)
    monkeypatch.setattr(outcome_model, "PENALTIES", np.array([30.0]))
    assert_allclose(expected_success(outcome, calls, x, fold), naive(outcome, calls, x, fold, 30.0))


def test_a_linear_outcome_is_found_again() -> None:
    x, calls, fold, _ = design(2000)
    cost = 5 + x @ np.array([[1.0, 0.2], [0.0, 0.5], [0.0, 0.0]])
    predicted = expected_cost(seen(cost, calls), calls, x, fold)
    assert np.sqrt(np.mean((predicted - cost) ** 2)) < 0.15


def test_a_prediction_does_not_depend_on_the_outcomes_of_its_own_fold() -> None:
    x, calls, fold, rng = design()
    success = seen(rng.integers(0, 2, size=(300, 2)).astype(float), calls)
    other = np.where((fold == 0)[:, None], np.roll(success, 1, axis=1) * 0 + 1 - success, success)
    first, second = (expected_success(one, calls, 0 * x, fold) for one in (success, other))
    assert_allclose(first[fold == 0], second[fold == 0])
    assert not np.allclose(first[fold == 1], second[fold == 1])


def test_a_model_with_few_calls_is_expected_to_do_as_on_average() -> None:
    x, _, fold, rng = design()
    calls = np.column_stack([np.ones(300, dtype=np.int64), np.arange(300) < 6])
    success = seen((rng.random((300, 2)) < 0.5).astype(float), calls)
    assert np.ptp(expected_success(success, calls, x, fold)[fold == 0, 1]) < 1e-3


def test_a_model_without_calls_is_expected_to_do_as_all_models_together() -> None:
    x, _, fold, _ = design()
    calls = np.column_stack([np.ones(300, dtype=np.int64), np.zeros(300, dtype=np.int64)])
    success = seen(np.full((300, 2), 0.7), calls)
    assert_allclose(expected_success(success, calls, x, fold)[:, 1], 0.7)


def test_success_stays_within_its_range_and_cost_above_zero() -> None:
    x, calls, fold, _ = design()
    steep = seen(np.repeat((x[:, :1] > 1.5).astype(float), 2, axis=1), calls)
    success, cost = expected_success(steep, calls, x, fold), expected_cost(steep, calls, x, fold)
    assert (success.min(), cost.min()) == (0.0, 0.0)
    assert success.max() <= 1.0


def test_a_few_huge_costs_do_not_tilt_the_slopes_but_count_in_the_mean() -> None:
    x, calls, fold, _ = design(1000)
    cost = seen(1 + 0.1 * x[:, :1] + np.zeros((1000, 2)), calls)
    row = int(np.argmax(np.where(calls[:, 0] > 0, x[:, 0], -np.inf)))
    cost[row, 0] = 500.0
    predicted = expected_cost(cost, calls, x, fold)[:, 0]
    assert predicted.mean() == pytest.approx(np.nanmean(cost[:, 0]), rel=0.02)
    assert np.polyfit(x[:, 0], predicted / predicted.mean(), 1)[0] == pytest.approx(0.1, abs=0.02)


def test_doubled_calls_and_another_order_change_nothing() -> None:
    x, calls, fold, rng = design()
    success = seen(rng.integers(0, 2, size=(300, 2)).astype(float), calls)
    first, order = expected_success(success, calls, x, fold), rng.permutation(300)
    assert_allclose(expected_success(success, 2 * calls, x, fold), first)
    assert_allclose(expected_success(success[order], calls[order], x[order], fold[order]), first[order])


def test_a_constant_covariate_is_no_obstacle() -> None:
    assert_allclose(CovariateScaling.of(np.full((4, 1), 3.0))(np.array([[3.0]])), [[1.0, 0.0]])
