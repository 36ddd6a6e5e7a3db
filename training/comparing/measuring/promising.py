"""A promise made on one half of the compared prompts, and reported on the other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from router.errors import CallLogError
from router.records import FloatArray, IntArray
from training.comparing.blocks import Block, ratio
from training.comparing.estimating.logged import chosen_shares
from training.comparing.estimating.off_policy import Study
from training.comparing.estimating.support import refusal
from training.comparing.evaluated import Promise
from training.statistics.intervals import UNKNOWN, Interval, cluster_numbers, interval, resampled_sums
from training.statistics.policy_curves import picked
from training.statistics.quality_guarantee import Trial, guaranteed_weight, weights_to_test


@dataclass(frozen=True, slots=True, kw_only=True)
class PromiseBlock(Block):
    """The policy at its weight, the best single model's cost, and every model's success."""

    WIDE: ClassVar[int] = 1

    calls: FloatArray
    success: FloatArray
    cost: FloatArray
    best_cost: FloatArray
    model_success: FloatArray


def promise_on(
    trial: Trial, *, max_loss: float, confidence: float, n_resamples: int = 2000, seed: int = 0
) -> Promise:
    """Choose the weight on half of the clusters, and measure its loss and cost on the other half.

    The weights to test come from the forecasts of the test part, so that they do not depend on the
    calibration part, on which they are tested. If no weight is safe, the loss, the cost and whether the
    promise is kept are unknown.

    Raises:
        CallLogError: all prompts belong to one session.
    """
    calibration, test = halves(trial.clusters, seed)
    if not len(calibration):
        raise CallLogError(
            f"--max-quality-loss needs prompts of two sessions or more, and all {len(trial)} are of one; "
            "give more of the log, or leave the promise out"
        )
    report = trial.rows(test)
    chosen = guaranteed_weight(
        trial.rows(calibration), max_loss=max_loss, confidence=confidence, weights=weights_to_test(report)
    )
    loss = cost = UNKNOWN
    if chosen.weight is not None:
        loss, cost = _reached(report, chosen.weight, n_resamples=n_resamples, seed=seed)
    return Promise(
        max_quality_loss=max_loss,
        confidence=confidence,
        weight=chosen.weight,
        calibration_prompts=chosen.n,
        bound=chosen.bound,
        test_prompts=len(report),
        loss=loss,
        cost_ratio=cost,
        kept=bool(loss.value <= max_loss) if np.isfinite(loss.value) else None,
        method=chosen.method,
        assumptions=chosen.assumptions,
    )


def supported_promise(promise: Promise, trial: Trial, study: Study) -> Promise:
    """The promise as far as an off-policy log can speak for it.

    No weight can be promised unless the log supports the policy at it and every single model that it was
    tested against; the cost relative to the best one is unknown unless it supports their costs.
    """
    if promise.weight is None:
        return promise
    n, m = trial.success.shape
    choices = [trial.path().at(promise.weight), *(np.full(n, model) for model in range(m))]
    shares = [chosen_shares(choice, m) for choice in choices]
    if any(refusal(study, study.success, one) for one in shares):
        return replace(promise, weight=None, bound=float("nan"), loss=UNKNOWN, cost_ratio=UNKNOWN, kept=None)
    no_cost = any(refusal(study, study.cost, one) for one in shares)
    return replace(promise, cost_ratio=UNKNOWN) if no_cost else promise


def halves(clusters: IntArray, seed: int) -> tuple[IntArray, IntArray]:
    """Rows of two halves of the clusters, drawn at random."""
    number, count = cluster_numbers(clusters)
    first = np.zeros(count, dtype=bool)
    first[np.random.default_rng(seed).permutation(count)[: count // 2]] = True
    return np.flatnonzero(first[number]), np.flatnonzero(~first[number])


def _reached(report: Trial, weight: float, *, n_resamples: int, seed: int) -> tuple[Interval, Interval]:
    """Loss against each resample's best single model, and cost relative to the best one of all prompts."""
    choice = report.path().at(weight)
    best = int((report.traffic @ report.success).argmax())
    columns = PromiseBlock(
        calls=np.ones(len(report)),
        success=picked(report.success, choice),
        cost=picked(report.cost, choice),
        best_cost=report.cost[:, best],
        model_success=report.success,
    ).stacked()
    sums = resampled_sums(
        columns * report.traffic[:, None], report.clusters, n_resamples=n_resamples, seed=seed
    )
    loss = interval(
        sums, PromiseBlock.statistic(lambda s: (s.model_success.max(axis=-1) - s.success) / s.calls)
    )
    if not np.isfinite(report.cost).all():
        return loss, UNKNOWN
    cost_ratio = PromiseBlock.statistic(lambda s: ratio(s.cost, s.best_cost))
    return loss, interval(sums, cost_ratio, reference=1.0)
