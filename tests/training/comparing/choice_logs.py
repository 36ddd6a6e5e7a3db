"""Small logs in which prompts met one model, for the tests of off-policy evaluation."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from router.records import FloatArray, IntArray
from training.comparing.estimating.logged import Logged


def logged_of(
    success: ArrayLike,
    *,
    calls: ArrayLike | None = None,
    cost: ArrayLike | None = None,
    propensity: ArrayLike | None = None,
    traffic: ArrayLike | None = None,
    clusters: ArrayLike | None = None,
    task_types: list[str | None] | None = None,
    graded: ArrayLike | None = None,
) -> Logged:
    """A log; without more one call where the success is known, at no known cost or propensity."""
    known = np.array(success, dtype=np.float64)
    n, m = known.shape
    unknown = np.full((n, m), np.nan)
    called = np.isfinite(known).astype(np.int64) if calls is None else np.array(calls, dtype=np.int64)
    return Logged(
        models=tuple("abcdefgh"[:m]),
        calls=called,
        traffic=called.sum(axis=1).astype(np.float64) if traffic is None else np.array(traffic, dtype=float),
        success=known,
        cost=unknown if cost is None else np.array(cost, dtype=np.float64),
        propensity=unknown if propensity is None else np.array(propensity, dtype=np.float64),
        clusters=np.arange(n) if clusters is None else np.array(clusters, dtype=np.int64),
        task_types=task_types or [None] * n,
        graded=None if graded is None else np.array(graded, dtype=np.float64),
    )


def random_log(
    n: int = 400, *, seed: int = 0, most_calls: int = 1, session: int = 1, with_propensity: bool = True
) -> tuple[Logged, FloatArray, FloatArray]:
    """A log of three models with one covariate that both choice and outcome depend on.

    Returns:
        The log, the covariates (n, 1), and the propensities of all models (n, 3).
    """
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 1))
    chance = np.exp(x * np.array([-0.7, 0.0, 0.7]))
    chance /= chance.sum(axis=1, keepdims=True)
    n_calls = rng.integers(1, most_calls + 1, size=n)
    calls = np.stack([rng.multinomial(k, p) for k, p in zip(n_calls, chance, strict=True)])
    succeeded = rng.binomial(calls, 1 / (1 + np.exp(-(x + np.array([0.0, 0.5, 1.0])))))
    blank = np.where(calls > 0, 0.0, np.nan)
    log = logged_of(
        succeeded / np.maximum(calls, 1) + blank,
        calls=calls,
        cost=np.array([1.0, 2.0, 4.0]) * rng.exponential(size=(n, 3)) * np.exp(0.3 * x) + blank,
        propensity=chance + blank if with_propensity else None,
        clusters=np.arange(n) // session,
    )
    return log, x, chance


def rows_of(log: Logged, rows: IntArray) -> Logged:
    """The prompts at `rows`, in that order."""
    return logged_of(
        log.success[rows],
        calls=log.calls[rows],
        cost=log.cost[rows],
        propensity=log.propensity[rows],
        traffic=log.traffic[rows],
        clusters=log.clusters[rows],
        task_types=[log.task_types[row] for row in rows],
    )


def repeated(log: Logged, times: int) -> Logged:
    """The log in which every call stands several times."""
    return logged_of(
        log.success,
        calls=log.calls * times,
        cost=log.cost,
        propensity=log.propensity,
        traffic=log.traffic * times,
        clusters=log.clusters,
        task_types=list(log.task_types),
    )
