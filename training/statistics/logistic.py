"""Penalised logistic regression, with approximate leave-one-out predictions in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from router.forecasting.head import sigmoid
from router.records import FloatArray

STEPS = 50
CONVERGED = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class LogisticFit:
    """A logistic regression on n rows of p inputs.

    Attributes:
        weights: shape (p,).
        left_out: shape (n,); log odds of each row by a fit without it. One Newton step from the fit with all
            rows (Rahnama Rad & Maleki 2020, A scalable estimate of the out-of-sample prediction error via
            approximate leave-one-out, eq. 8).
    """

    weights: FloatArray
    left_out: FloatArray


def log_loss(logits: FloatArray, target: FloatArray, weight: FloatArray) -> float:
    """Weighted mean of minus the log likelihood."""
    losses = np.logaddexp(0.0, logits) - target * logits
    return float(weight @ losses / weight.sum())


def fit_logistic(
    inputs: FloatArray, target: FloatArray, weight: FloatArray, penalties: FloatArray, centre: FloatArray
) -> LogisticFit:
    """Minimise log loss plus half the penalised squares of (weights - centre), by Newton's method.

    Args:
        inputs: shape (n, p).
        target: shape (n,); in [0, 1].
        weight: shape (n,); positive.
        penalties: shape (p,); of the squares; not all of the directions need one if the rows settle them.
        centre: shape (p,); the weights without any row.
    """

    def loss(weights: FloatArray) -> float:
        logits = inputs @ weights
        fitted = weight @ (np.logaddexp(0.0, logits) - target * logits)
        return float(fitted + 0.5 * penalties @ (weights - centre) ** 2)

    weights, value = centre.astype(np.float64), loss(centre)
    for _ in range(STEPS):
        chance = sigmoid(inputs @ weights)
        curve = weight * chance * (1.0 - chance)
        hessian = (inputs * curve[:, None]).T @ inputs + np.diag(penalties + 1e-9)
        gradient = inputs.T @ (weight * (chance - target)) + penalties * (weights - centre)
        step = np.linalg.solve(hessian, gradient)
        while (after := loss(weights - step)) > value and np.abs(step).max() > CONVERGED:
            step = step / 2
        weights = weights - step
        if value - after <= CONVERGED * max(1.0, value) * 1e-2:
            break
        value = after
    logits = inputs @ weights
    chance = sigmoid(logits)
    curve = weight * chance * (1.0 - chance)
    hessian = (inputs * curve[:, None]).T @ inputs + np.diag(penalties + 1e-9)
    reach = np.einsum("np,np->n", inputs @ np.linalg.inv(hessian), inputs)
    own = np.minimum(reach * curve, 0.99)
    return LogisticFit(weights=weights, left_out=logits + reach / (1.0 - own) * weight * (chance - target))
