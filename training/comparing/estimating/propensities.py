"""The chance with which the log gave each prompt each model: as logged, or estimated from the log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from router.records import BoolArray, FloatArray, IntArray
from training.comparing.estimating.logged import Logged
from training.comparing.estimating.outcome_model import CovariateScaling, row_blocks
from training.statistics.intervals import cluster_numbers

FIT_ROWS = 100_000
CHOICE_ROWS = 20_000
PENALTIES = (1.0, 10.0, 100.0, 1000.0)
"""Of the squared weights of the propensity model, on covariates of spread 1."""
BIN_ROWS = 100
MOST_BINS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Propensities:
    """Chances of the logging policy.

    Attributes:
        values: shape (n, m). Logged: known where the log holds a call. Estimated: all known; 0 for a
            model without calls.
        source: "estimated" if some call was logged without a propensity.
        calibration_error: of the estimated ones, as `calibration_error` returns it; NaN if they were logged.
    """

    values: FloatArray
    source: Literal["logged", "estimated"]
    calibration_error: float


def propensities_of(logged: Logged, covariates: FloatArray, fold: IntArray, *, seed: int = 0) -> Propensities:
    """The logged chances if every call has one, else those of a cross-fitted model of the whole log.

    Logged and estimated chances are never mixed, as the calls without one are seldom a random part.

    Args:
        covariates: shape (n, p); what the logging policy may have looked at.
        fold: shape (n,); from 0; each cluster is in one fold.
    """
    if np.isfinite(logged.propensity[logged.called]).all():
        return Propensities(values=logged.propensity, source="logged", calibration_error=float("nan"))
    counts = np.column_stack([logged.calls, logged.elsewhere]).astype(np.float64)
    values = estimated_propensities(counts, covariates, fold, logged.clusters, seed=seed)
    error = calibration_error(values, counts)
    return Propensities(values=values[:, :-1], source="estimated", calibration_error=error)


def estimated_propensities(
    counts: FloatArray, covariates: FloatArray, fold: IntArray, clusters: IntArray, *, seed: int = 0
) -> FloatArray:
    """Chance of each column, by multinomial logistic regressions that did not see the row's fold.

    Args:
        counts: shape (n, c); calls.
        covariates: shape (n, p).
        fold: shape (n,).
        clusters: shape (n,); with more than 100,000 rows, the fit uses those of random clusters.

    Returns:
        Shape (n, c); rows sum to 1, columns without a call are 0.
    """
    used = np.flatnonzero(counts.sum(axis=0) > 0)
    values = np.zeros(counts.shape)
    if len(used) == 1:
        values[:, used] = 1.0
        return values
    number, n_clusters = cluster_numbers(clusters)
    order = np.argsort(np.random.default_rng(seed).random(n_clusters)[number], kind="stable")
    sample = order[:FIT_ROWS]
    design = Design.of(covariates[sample])
    inputs, target = design(covariates[sample]), counts[np.ix_(sample, used)] / (counts.sum() / len(counts))
    penalty, weights = _best_penalty(inputs, target, fold[sample], design.spread)
    for part in range(int(fold.max()) + 1):
        rows = fold[sample] != part
        weights = _fitted(inputs[rows], target[rows], penalty / design.spread, weights)
        for block in row_blocks(np.flatnonzero(fold == part)):
            values[np.ix_(block, used)] = _chances(design(covariates[block]) @ weights)
    return values


def calibration_error(values: FloatArray, counts: FloatArray) -> float:
    """Root mean square of predicted less actual share of calls, over bins of rows by prediction.

    Per column, up to ten bins of equal size and at least 100 rows; the error expected from chance alone is
    subtracted (Kumar, Liang & Ma 2019, Verified Uncertainty Calibration, definition 5.1).

    Args:
        values: shape (n, c); chances.
        counts: shape (n, c); calls.
    """
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1e-12)
    bins = int(np.clip(len(values) // BIN_ROWS, 1, MOST_BINS))
    excess = [_excess(chance, share, bins) for chance, share in zip(values.T, shares.T, strict=True)]
    return float(np.sqrt(max(float(np.mean(excess)), 0.0)))


def _excess(chance: FloatArray, share: FloatArray, bins: int) -> float:
    """Mean over bins of the squared gap less its variance."""
    parts = np.array_split(np.argsort(chance, kind="stable"), bins)
    gaps = [(chance[rows].mean() - share[rows].mean()) ** 2 for rows in parts]
    noise = [share[rows].var() / max(len(rows) - 1, 1) for rows in parts]
    return float(np.mean(gaps) - np.mean(noise))


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """A rotation of the covariates in which L-BFGS needs no rescaling.

    Attributes:
        rotation: shape (p + 1, q); from scaled covariates to inputs of spread 1 without correlation, behind a
            column of ones. Directions that vary only by rounding (one-hots add up to 1) are left out.
        spread: shape (q, 1); variance of each direction. A penalty divided by it is the penalty of the scaled
            covariates; infinite for the intercept, which has no penalty.
    """

    scaling: CovariateScaling
    rotation: FloatArray
    spread: FloatArray

    @staticmethod
    def of(covariates: FloatArray) -> Design:
        """The design of covariates of shape (n, p)."""
        scaling = CovariateScaling.of(covariates)
        scaled = scaling(covariates)
        spread, basis = np.linalg.eigh(scaled[:, 1:].T @ scaled[:, 1:] / len(scaled))
        kept: BoolArray = spread > 1e-8 * max(float(spread.max(initial=0.0)), 1e-8)
        rotation = np.zeros((scaled.shape[1], int(kept.sum()) + 1))
        rotation[0, 0] = 1.0
        rotation[1:, 1:] = basis[:, kept] / np.sqrt(spread[kept])
        return Design(scaling=scaling, rotation=rotation, spread=np.append(np.inf, spread[kept])[:, None])

    def __call__(self, covariates: FloatArray) -> FloatArray:
        """Inputs of shape (n, q)."""
        return np.asarray(self.scaling(covariates) @ self.rotation)


def _best_penalty(
    inputs: FloatArray, counts: FloatArray, fold: IntArray, spread: FloatArray
) -> tuple[float, FloatArray]:
    """The penalty at which a fit on the other folds makes the first fold most likely, and that fit."""
    few = np.arange(len(fold)) < CHOICE_ROWS
    rows, held_out = (fold != 0) & few, (fold == 0) & few
    if not held_out.any() or not rows.any():
        return PENALTIES[0], _start(inputs, counts)
    weights, fits = _start(inputs[rows], counts[rows]), []
    for penalty in sorted(PENALTIES, reverse=True):
        weights = _fitted(inputs[rows], counts[rows], penalty / spread, weights)
        chances = np.maximum(_chances(inputs[held_out] @ weights), 1e-300)
        fits.append((float((counts[held_out] * np.log(chances)).sum()), penalty, weights))
    return max(fits, key=lambda fit: fit[0])[1:]


def _start(inputs: FloatArray, counts: FloatArray) -> FloatArray:
    """Weights (q, c) that give every row the shares of the whole."""
    start = np.zeros((inputs.shape[1], counts.shape[1]))
    start[0] = np.log(np.maximum(counts.sum(axis=0), 0.5))
    start[0] -= start[0].mean()
    return start


def _fitted(x: FloatArray, counts: FloatArray, penalties: FloatArray, start: FloatArray) -> FloatArray:
    """Weights (q, c) of the multinomial logistic regression with `penalties` (q, 1), by L-BFGS."""
    from scipy.optimize import minimize

    # One column a prompt: numpy is fast at sums over a few models only along the first axis.
    inputs, target = np.ascontiguousarray(x.T), np.ascontiguousarray(counts.T)
    total = target.sum(axis=0)

    def loss(flat: FloatArray) -> tuple[float, FloatArray]:
        weights = flat.reshape(start.shape)
        logits = weights.T @ inputs
        logits -= logits.max(axis=0)
        likely = np.vdot(target, logits)
        np.exp(logits, out=logits)
        sums = logits.sum(axis=0)
        value = total @ np.log(sums) - likely + 0.5 * (penalties * weights**2).sum()
        logits *= total / sums
        logits -= target
        gradient = inputs @ logits.T + penalties * weights
        return float(value / total.sum()), (gradient / total.sum()).ravel()

    options = {"maxiter": 200, "gtol": 1e-5, "ftol": 1e-9}
    result = minimize(loss, start.ravel(), jac=True, method="L-BFGS-B", options=options)
    return np.asarray(result.x, dtype=np.float64).reshape(start.shape)


def _chances(logits: FloatArray) -> FloatArray:
    chance = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(chance / chance.sum(axis=1, keepdims=True))
