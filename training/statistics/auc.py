"""Area under the ROC curve of a score, with an interval for prompts that come in clusters."""

from __future__ import annotations

from dataclasses import replace
from statistics import NormalDist

import numpy as np

from router.records import BoolArray, FloatArray, IntArray
from training.statistics.intervals import LEVEL, UNKNOWN, Interval, cluster_numbers


def auc(score: FloatArray, positive: BoolArray) -> float:
    """Chance that a positive prompt's score is above a negative one's, ties counting half.

    The Mann-Whitney statistic over the number of pairs (Hanley & McNeil 1982, section 3).

    Args:
        score: shape (n,); rows of NaN don't count.
        positive: shape (n,).

    Returns:
        NaN if there is no positive or no negative prompt.
    """
    known = ~np.isnan(score)
    above, _ = _components(score[known], positive[known])
    return float(above.mean()) if len(above) else float("nan")


def clustered_auc(score: FloatArray, positive: BoolArray, clusters: IntArray) -> Interval:
    """`auc` with the normal 95 % interval of Obuchowski (1997), for clustered data; cut to [0, 1].

    With theta the area, M positive and N negative prompts, and per cluster the sums A_i of the structural
    components of its m_i positive prompts and B_i of its n_i negative ones (equations 3 to 6 there):

        var = S10 / M + S01 / N + 2 S11 / (M N)
        S10 = I10 / ((I10 - 1) M) * sum (A_i - m_i theta)^2     over the I10 clusters with a positive prompt
        S01 = I01 / ((I01 - 1) N) * sum (B_i - n_i theta)^2     over the I01 clusters with a negative one
        S11 = I / (I - 1) * sum (A_i - m_i theta) (B_i - n_i theta)                  over all I clusters

    With clusters of one prompt it is the interval of DeLong et al. (1988).

    Args:
        score: shape (n,); rows of NaN don't count.
        positive: shape (n,).
        clusters: shape (n,); prompts that share a number are not independent.

    Returns:
        `above` is the normal approximation's chance that the area is above 0.5. The ends are NaN if fewer
        than two clusters hold a positive prompt, or a negative one.
    """
    known = ~np.isnan(score)
    score, positive = score[known], positive[known]
    above, below = _components(score, positive)
    if not len(above) or not len(below):
        return UNKNOWN
    theta = float(above.mean())
    number, n_clusters = cluster_numbers(clusters[known])
    groups = [number[positive], number[~positive]]
    if min(len(np.unique(group)) for group in groups) < 2:
        return replace(UNKNOWN, value=theta)
    excess = [
        np.bincount(group, component - theta, minlength=n_clusters)
        for group, component in zip(groups, (above, below), strict=True)
    ]
    m, n = len(above), len(below)
    s10, s01 = (
        _corrected(len(np.unique(group))) * float(one @ one)
        for group, one in zip(groups, excess, strict=True)
    )
    s11 = _corrected(n_clusters) * float(excess[0] @ excess[1])
    error = np.sqrt(max(s10 / m**2 + s01 / n**2 + 2 * s11 / (m * n), 0.0))
    return _interval(theta, float(error))


def _interval(theta: float, error: float) -> Interval:
    reach = NormalDist().inv_cdf(0.5 + LEVEL / 2) * error
    above = NormalDist(theta, error).cdf(0.5) if error > 0 else float(theta < 0.5)
    return Interval(value=theta, low=max(theta - reach, 0.0), high=min(theta + reach, 1.0), above=1.0 - above)


def _corrected(count: int) -> float:
    return count / (count - 1)


def _components(score: FloatArray, positive: BoolArray) -> tuple[FloatArray, FloatArray]:
    """Structural components: with which share of the other kind each prompt is correctly ordered.

    Returns:
        For the positive prompts, shape (M,), and the negative ones, shape (N,), in their own order; both are
        empty if there are no prompts of one kind.
    """
    high, low = np.sort(score[positive]), np.sort(score[~positive])
    if not len(high) or not len(low):
        return np.empty(0), np.empty(0)
    return _share_below(low, score[positive]), 1.0 - _share_below(high, score[~positive])


def _share_below(ordered: FloatArray, score: FloatArray) -> FloatArray:
    """Share of the ordered scores below each score, a tie counting half; shape (n,)."""
    below = np.searchsorted(ordered, score, "left") + np.searchsorted(ordered, score, "right")
    return np.asarray(below / (2 * len(ordered)))
