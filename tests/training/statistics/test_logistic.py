from __future__ import annotations

import numpy as np
import pytest

from router.forecasting.head import sigmoid
from router.records import FloatArray
from training.statistics.logistic import LogisticFit, fit_logistic, log_loss


def sample(n: int = 300, seed: int = 0) -> tuple[FloatArray, FloatArray]:
    draw = np.random.default_rng(seed)
    inputs = np.column_stack([np.ones(n), draw.normal(size=(n, 3))])
    return inputs, (draw.random(n) < sigmoid(inputs @ np.array([0.5, 1.0, -2.0, 0.0]))).astype(float)


def fitted(inputs: FloatArray, target: FloatArray, penalty: float = 1.0) -> LogisticFit:
    p = inputs.shape[1]
    return fit_logistic(inputs, target, np.ones(len(target)), np.full(p, penalty), np.zeros(p))


def test_the_fit_is_that_of_scikit_learn() -> None:
    from sklearn.linear_model import LogisticRegression

    inputs, target = sample()
    other = LogisticRegression(C=1.0, fit_intercept=False, tol=1e-10).fit(inputs, target)
    np.testing.assert_allclose(fitted(inputs, target).weights, other.coef_[0], atol=1e-4)


def test_a_left_out_prediction_is_near_that_of_a_fit_without_the_row() -> None:
    inputs, target = sample(80)
    whole = fitted(inputs, target)
    for row in range(0, 80, 9):
        rest = np.delete(np.arange(80), row)
        exact = inputs[row] @ fitted(inputs[rest], target[rest]).weights
        assert whole.left_out[row] == pytest.approx(exact, abs=0.1, rel=0.1)


def test_without_evidence_the_weights_stay_at_their_centre() -> None:
    inputs, target = sample()
    centre = np.array([0.0, 1.0, 0.0, 2.0])
    fit = fit_logistic(inputs, target, np.ones(len(target)), np.full(4, 1e9), centre)
    np.testing.assert_allclose(fit.weights, centre, atol=1e-5)


@pytest.mark.parametrize("scale", [1.0, 1e3, 1e6])
def test_rows_that_separate_the_outcomes_give_finite_weights(scale: float) -> None:
    inputs, _ = sample()
    fit = fitted(inputs * scale, (inputs[:, 1] > 0).astype(float), 1e-3)
    assert np.isfinite(fit.weights).all()
    assert np.isfinite(fit.left_out).all()
    assert log_loss(inputs * scale @ fit.weights, (inputs[:, 1] > 0).astype(float), np.ones(300)) < 0.1
