"""How well a score ranks prompts between the cheapest and the best single model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from router.records import BoolArray, FloatArray, IntArray
from training.comparing.evaluated import Evaluated, Ranking
from training.comparing.policies.baselines import SUCCEEDED
from training.statistics.auc import clustered_auc
from training.statistics.intervals import UNKNOWN, Interval, Sums, cluster_numbers, interval, resampled_counts
from training.statistics.policy_curves import ROUNDING

HALF, MOST = 0.5, 0.8
"""Parts of the performance gap that CPT is given for (Ong et al. 2024, table 1)."""
STEPS = 1000
"""Most groups of prompts in a resample; its curve is straight over each."""
NO_SCORES: Mapping[str, FloatArray] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """How much of the strong model's lead a ranking recovers (Ong et al. 2024, section 3.2)."""

    apgr: Interval
    cpt_50: Interval
    cpt_80: Interval


def ranking(
    evaluated: Evaluated,
    best: int,
    *,
    scores: Mapping[str, FloatArray] = NO_SCORES,
    n_resamples: int = 2000,
    seed: int = 0,
) -> Ranking | None:
    """The router's ranking: APGR and CPT by its gap, p_strong - p_weak, AUC by its chance that weak fails.

    None if weak and strong are one model.

    Args:
        best: column of the best single model: strong. Weak is the cheapest model, or the least successful
            one if costs are unknown.
        scores: further scores of each prompt, shape (n,), higher if it is harder; only their AUC is reported.
    """
    weak = weak_column(evaluated.success, evaluated.cost)
    if weak == best:
        return None
    success, clusters = evaluated.success, evaluated.clusters
    gap = evaluated.probability[:, best] - evaluated.probability[:, weak]
    recovered = recovery(
        gap, success[:, best] - success[:, weak], clusters, n_resamples=n_resamples, seed=seed
    )
    failed = success[:, weak] < SUCCEEDED
    return Ranking(
        weak=evaluated.models[weak],
        strong=evaluated.models[best],
        apgr=recovered.apgr,
        cpt_50=recovered.cpt_50,
        cpt_80=recovered.cpt_80,
        auc=clustered_auc(-evaluated.probability[:, weak], failed, clusters),
        auc_by_score={name: clustered_auc(score, failed, clusters) for name, score in scores.items()},
    )


def weak_column(success: FloatArray, cost: FloatArray) -> int:
    """Column of the model of least mean cost, or of least mean success if a cost is unknown."""
    known = bool(np.isfinite(cost).all())
    return int(np.argmin((cost if known else success).mean(axis=0)))


def recovery(
    gap: FloatArray, gain: FloatArray, clusters: IntArray, *, n_resamples: int = 2000, seed: int = 0
) -> Recovery:
    """APGR, and CPT at half and at 80 % of the gap, with intervals from the same resamples.

    The curve is the performance gap recovered (PGR) when the prompts of widest gap go to strong, over the
    share of these prompts. APGR is its area, which `policy_curves.apgr` has in closed form. CPT(x) is the
    least share at which it is at least x. Prompts of equal gap come in random order, so the curve is
    straight over them, and CPT may lie between two prompts. Random routing gets 0.5, 0.5 and 0.8.

    Args:
        gap: shape (n,), p_strong - p_weak.
        gain: shape (n,), outcome of strong less outcome of weak.
        clusters: shape (n,).

    Returns:
        Unknown if a gap is unknown, or strong succeeds no more often than weak.
    """
    if not np.isfinite(gap).all():
        return Recovery(apgr=UNKNOWN, cpt_50=UNKNOWN, cpt_80=UNKNOWN)
    sums = _resampled(gap, gain, clusters, n_resamples=n_resamples, seed=seed)
    return Recovery(
        apgr=interval(sums, lambda s: s[..., 0], reference=0.5),
        cpt_50=interval(sums, lambda s: s[..., 1], reference=HALF),
        cpt_80=interval(sums, lambda s: s[..., 2], reference=MOST),
    )


def _resampled(gap: FloatArray, gain: FloatArray, clusters: IntArray, *, n_resamples: int, seed: int) -> Sums:
    """`_recovered` on the prompts as they are (`total`), and on resamples of the clusters."""
    order = np.argsort(-gap, kind="stable")
    falling, gain = gap[order], gain[order]
    first = np.flatnonzero(np.append(True, falling[1:] != falling[:-1]))
    size = np.diff(first, append=len(gap))
    total = _recovered(size[None].astype(np.float64), np.add.reduceat(gain, first)[None])
    steps = _merged(first, len(gap))
    number, n_clusters = cluster_numbers(clusters)
    # Sparse: a cluster has prompts in few of the steps.
    step = np.repeat(np.arange(len(steps)), np.diff(steps, append=len(gap)))
    per_cluster = csr_array(
        (
            np.concatenate([np.ones_like(gain), gain]),
            (np.tile(number[order], 2), np.concatenate([step, step + len(steps)])),
        ),
        shape=(n_clusters, 2 * len(steps)),
    )
    draws = [total[:0]]
    for counts in resampled_counts(n_clusters, n_resamples=n_resamples, seed=seed):
        sums = (per_cluster.T @ counts.T).T
        draws.append(_recovered(sums[:, : len(steps)], sums[:, len(steps) :]))
    return Sums(total=total[0], draws=np.concatenate(draws))


def _merged(first: IntArray, n: int) -> IntArray:
    """Starts of at most `STEPS` groups of similar size, merged from those that start at `first`."""
    even = np.linspace(0, n, STEPS, endpoint=False)
    starts: IntArray = first[np.unique(np.searchsorted(first, even, side="right") - 1)]
    return starts


def _recovered(prompts: FloatArray, gain: FloatArray) -> FloatArray:
    """APGR, CPT at `HALF` and at `MOST` per draw; NaN if there is no gap to recover."""
    share = np.cumsum(prompts, axis=1) / prompts.sum(axis=1, keepdims=True)
    whole = gain.sum(axis=1, keepdims=True)
    enough = whole > ROUNDING
    pgr = np.cumsum(gain, axis=1) / np.where(enough, whole, 1)
    share, pgr = (np.pad(curve, ((0, 0), (1, 0))) for curve in (share, pgr))
    area = (np.diff(share, axis=1) * (pgr[:, 1:] + pgr[:, :-1]) / 2).sum(axis=1)
    values = np.stack([area, _first_share(share, pgr, HALF), _first_share(share, pgr, MOST)], axis=1)
    return np.where(enough, values, np.nan)


def _first_share(share: FloatArray, pgr: FloatArray, level: float) -> FloatArray:
    """Least share at which each row's curve, straight between its points, reaches `level`."""
    reached: BoolArray = pgr >= level - ROUNDING
    at = np.maximum(reached.argmax(axis=1), 1)
    rows = np.arange(len(share))
    below, above = pgr[rows, at - 1], pgr[rows, at]
    rise = np.where(above > below, above - below, 1.0)
    part = np.clip((level - below) / rise, 0.0, 1.0)
    least: FloatArray = share[rows, at - 1] + part * (share[rows, at] - share[rows, at - 1])
    return least
