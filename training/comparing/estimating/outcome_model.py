"""The outcome to expect of each model on each prompt: cross-fitted ridge regressions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from router.records import FloatArray, IntArray

FOLDS = 5
PENALTIES: FloatArray = np.array([3.0, 30.0, 300.0, 3e3, 1e6])
"""Of the slopes, in calls; at the last one the slopes are as good as 0 and only the means remain."""
PRIOR_CALLS = 1.0
"""Number of calls at the mean of all models that is mixed into each model's own mean."""
COST_TAIL = 0.99
"""While slopes are fitted, costs above this quantile of their model count as the quantile."""
ROWS_AT_ONCE = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class CovariateScaling:
    """Centre and spread of each covariate, so that one penalty suits them all; shape (p,) each."""

    centre: FloatArray
    spread: FloatArray

    @staticmethod
    def of(covariates: FloatArray) -> CovariateScaling:
        """Mean and standard deviation; a constant covariate keeps its unit."""
        spread = covariates.std(axis=0) if len(covariates) else np.ones(covariates.shape[1])
        centre = covariates.mean(axis=0) if len(covariates) else np.zeros(covariates.shape[1])
        constant = spread <= 1e-9 * np.maximum(np.abs(centre), 1e-300)
        return CovariateScaling(centre=centre, spread=np.where(constant, 1.0, spread))

    def __call__(self, covariates: FloatArray) -> FloatArray:
        """Scaled covariates behind a column of ones, shape (n, p + 1)."""
        out = np.empty((len(covariates), covariates.shape[1] + 1))
        out[:, 0] = 1.0
        out[:, 1:] = (covariates - self.centre) / self.spread
        return out

    def unscaled(self, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Slopes (p, k) and intercepts (k,) for unscaled covariates, from `weights` (p + 1, k)."""
        slopes = weights[1:] / self.spread[:, None]
        return slopes, weights[0] - self.centre @ slopes


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """Weighted sums of squares and products per fold and model, which a ridge regression needs.

    Attributes:
        gram: shape (k, m, p + 1, p + 1); of the scaled covariates with a column of ones.
        cross: shape (k, m, p + 1); with the outcome.
        square: shape (k, m); of the outcome.
        rows: shape (k, m); prompts whose outcome is known.
    """

    gram: FloatArray
    cross: FloatArray
    square: FloatArray
    rows: IntArray


def expected_success(
    success: FloatArray, calls: IntArray, covariates: FloatArray, fold: IntArray
) -> FloatArray:
    """Chance that each model succeeds on each prompt, by regressions that did not see the prompt's fold.

    One ridge regression per model and fold on the calls of the other folds, at the penalty with the least
    cross-validated squared error. A model with few calls falls back to its mean, one with none to the mean
    of all models.

    Args:
        success: shape (n, m); NaN is unknown.
        calls: shape (n, m); each entry's weight.
        covariates: shape (n, p); finite.
        fold: shape (n,); from 0.

    Returns:
        Shape (n, m), in [0, 1].
    """
    return np.clip(_cross_fitted(success, calls, covariates, fold), 0.0, 1.0)


def expected_cost(cost: FloatArray, calls: IntArray, covariates: FloatArray, fold: IntArray) -> FloatArray:
    """USD that each model is expected to cost on each prompt, as `expected_success`; never negative.

    A few huge costs would tilt every slope, so costs above the model's 99 % quantile count as the quantile,
    and the predictions are scaled up to keep the model's mean.
    """
    capped, scale = cost.copy(), np.ones(cost.shape[1])
    most = np.zeros(cost.shape[1])
    for model, values in enumerate(cost.T):
        known = np.isfinite(values)
        if known.any():
            most[model] = np.quantile(values[known], COST_TAIL, method="higher")
            capped[:, model] = np.minimum(values, most[model])
            weight = calls[known, model]
            kept = weight @ capped[known, model]
            scale[model] = weight @ values[known] / kept if kept > 0 else 1.0
    dearest = most.max(initial=0.0)
    expected = _cross_fitted(capped, calls, covariates, fold)
    return np.clip(expected, 0.0, np.where(most > 0, most, dearest)) * scale


def _cross_fitted(outcome: FloatArray, calls: IntArray, covariates: FloatArray, fold: IntArray) -> FloatArray:
    scaling = CovariateScaling.of(covariates)
    moments = _moments(outcome, calls, covariates, fold, scaling)
    weights = _best_weights(moments)
    predicted = np.empty(outcome.shape)
    for number in range(len(weights)):
        slopes, intercepts = scaling.unscaled(weights[number].T)
        for block in row_blocks(np.flatnonzero(fold == number)):
            predicted[block] = covariates[block] @ slopes + intercepts
    return predicted


def row_blocks(rows: IntArray) -> Iterator[IntArray]:
    """Yield the rows in blocks of at most `ROWS_AT_ONCE`, which bounds the memory."""
    for start in range(0, len(rows), ROWS_AT_ONCE):
        yield rows[start : start + ROWS_AT_ONCE]


def _moments(
    outcome: FloatArray, calls: IntArray, covariates: FloatArray, fold: IntArray, scaling: CovariateScaling
) -> Moments:
    (n, m), p, k = outcome.shape, covariates.shape[1] + 1, int(fold.max()) + 1
    gram, cross, square = np.zeros((k, m, p, p)), np.zeros((k, m, p)), np.zeros((k, m))
    rows_of = np.zeros((k, m), dtype=np.int64)
    # Weights are relative, so that a log that holds every call twice has the same regressions.
    usual = calls.sum() / max(n, 1)
    for model in range(m):
        known = np.flatnonzero(np.isfinite(outcome[:, model]))
        known = known[np.argsort(fold[known], kind="stable")]
        ends = np.searchsorted(fold[known], np.arange(k), side="right")
        for number, part in enumerate(np.split(known, ends[:-1])):
            rows_of[number, model] = len(part)
            for block in row_blocks(part):
                x, y = scaling(covariates[block]), outcome[block, model]
                weighted = x * (calls[block, model] / usual)[:, None]
                gram[number, model] += weighted.T @ x
                cross[number, model] += weighted.T @ y
                square[number, model] += weighted[:, 0] @ y**2
    return Moments(gram=gram, cross=cross, square=square, rows=rows_of)


def _best_weights(moments: Moments) -> FloatArray:
    """Shape (k, m, p + 1): for each fold the solution of the others, at the model's best penalty."""
    weights = np.stack([_solutions(moments, penalty) for penalty in PENALTIES])
    fitted = np.einsum("lkmp,kmpq,lkmq->lm", weights, moments.gram, weights, optimize=True)
    error = fitted - 2 * np.einsum("lkmp,kmp->lm", weights, moments.cross) + moments.square.sum(axis=0)
    best = np.argmin(error, axis=0)
    few = moments.rows.sum(axis=0) < 2 * moments.cross.shape[2]
    best = np.where(few, len(PENALTIES) - 1, best)
    return np.moveaxis(weights[best, :, np.arange(len(best))], 0, 1)


def _solutions(moments: Moments, penalty: float) -> FloatArray:
    """Shape (k, m, p + 1): ridge solutions on all folds but one, means shrunk to the mean of all models."""
    gram = moments.gram.sum(axis=0) - moments.gram
    cross = moments.cross.sum(axis=0) - moments.cross
    calls = gram[..., 0, 0]
    prior = cross[..., 0].sum(axis=1) / np.maximum(calls.sum(axis=1), 1e-12)
    penalties = np.full(gram.shape[-1], penalty)
    penalties[0] = PRIOR_CALLS
    centred = cross - gram[..., 0] * prior[:, None, None]
    weights = np.linalg.solve(gram + np.diag(penalties), centred[..., None])[..., 0]
    weights[..., 0] += prior[:, None]
    return weights
