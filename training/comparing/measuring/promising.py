"""A promise made on one half of the compared prompts, and reported on the other."""

from __future__ import annotations

import numpy as np

from router.errors import CallLogError
from router.records import FloatArray, IntArray
from training.comparing.evaluated import Promise
from training.statistics.intervals import (
    UNKNOWN,
    Interval,
    cluster_numbers,
    interval,
    mean_ratio,
    resampled_sums,
)
from training.statistics.policy_curves import picked
from training.statistics.quality_guarantee import Trial, guaranteed_weight, weights_to_test


def promise_on(
    trial: Trial, *, max_loss: float, confidence: float, n_resamples: int = 2000, seed: int = 0
) -> Promise:
    """Choose the weight on half of the clusters, and see on the other half what it loses and costs.

    The weights that are tested come from the forecasts of the half that is reported on, so that nothing of
    the calibration part decides what is tested on it. Where no weight is safe, loss and cost are unknown,
    and with the loss whether the promise is kept.

    Raises:
        CallLogError: all prompts are of one session.
    """
    calibration, rest = halves(trial.clusters, seed)
    if not len(calibration):
        raise CallLogError(
            f"--max-quality-loss needs prompts of two sessions or more, and all {len(trial)} are of one; "
            "give more of the log, or leave the promise out"
        )
    report = trial.rows(rest)
    found = guaranteed_weight(
        trial.rows(calibration), max_loss=max_loss, confidence=confidence, weights=weights_to_test(report)
    )
    loss = cost = UNKNOWN
    if found.weight is not None:
        loss, cost = _reached(report, found.weight, n_resamples=n_resamples, seed=seed)
    return Promise(
        max_quality_loss=max_loss,
        confidence=confidence,
        weight=found.weight,
        calibration_prompts=found.n,
        bound=found.bound,
        test_prompts=len(report),
        loss=loss,
        cost_ratio=cost,
        kept=bool(loss.value <= max_loss) if np.isfinite(loss.value) else None,
        method=found.method,
        assumptions=found.assumptions,
    )


def halves(clusters: IntArray, seed: int) -> tuple[IntArray, IntArray]:
    """Rows of two halves of the clusters, drawn at random."""
    number, count = cluster_numbers(clusters)
    first = np.zeros(count, dtype=bool)
    first[np.random.default_rng(seed).permutation(count)[: count // 2]] = True
    return np.flatnonzero(first[number]), np.flatnonzero(~first[number])


def _reached(report: Trial, weight: float, *, n_resamples: int, seed: int) -> tuple[Interval, Interval]:
    """Loss against the best single model, each resample's own, and cost relative to the best one's."""
    choice = report.path().at(weight)
    best = int((report.traffic @ report.success).argmax())
    columns = np.concatenate(
        [
            np.stack([np.ones(len(report)), picked(report.success, choice)], axis=1),
            np.stack([picked(report.cost, choice), report.cost[:, best]], axis=1),
            report.success,
        ],
        axis=1,
    )
    sums = resampled_sums(
        columns * report.traffic[:, None], report.clusters, n_resamples=n_resamples, seed=seed
    )
    known = bool(np.isfinite(report.cost).all())
    cost = interval(sums, lambda s: mean_ratio(s[..., 2:4]), reference=1.0) if known else UNKNOWN
    return interval(sums, _loss), cost


def _loss(sums: FloatArray) -> FloatArray:
    """Columns: calls, policy's success, two that are not used, success of each model."""
    behind: FloatArray = (sums[..., 4:].max(axis=-1) - sums[..., 1]) / sums[..., 0]
    return behind
