"""Resamples long logs in the time and memory of short ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import numpy as np

from router.records import BoolArray, FloatArray, IntArray
from training.statistics.intervals import Sums, cluster_numbers, resampled_counts

Name = TypeVar("Name")

MOST_GROUPS = 20_000
"""Number of groups to resample: so many give the standard error to 1 / sqrt(2 * 20,000) = 0.5 %, and 2,000
draws of them to 1.6 %."""


def grouped(clusters: IntArray, *, most: int = MOST_GROUPS, seed: int = 0) -> IntArray:
    """Merge clusters at random until there are no more than `most`.

    Groups of independent clusters are independent, and the variance of a sum over groups is the sum of the
    clusters' variances: resampling groups gives the same standard errors as resampling clusters (the random
    group method: Wolter 2007, Introduction to Variance Estimation, chapter 2). A mean is a ratio of two sums,
    so groups may differ by a cluster in size.

    Args:
        clusters: shape (n,).

    Returns:
        Shape (n,); rows that shared a number still do. `clusters` itself if there are no more than `most`.
    """
    number, n_clusters = cluster_numbers(clusters)
    if n_clusters <= most:
        return clusters
    group: IntArray = np.random.default_rng(seed).permutation(n_clusters) % most
    return group[number]


def resampled_parts(
    parts: Mapping[Name, BoolArray],
    columns: FloatArray,
    clusters: IntArray,
    *,
    n_resamples: int = 2000,
    seed: int = 0,
) -> dict[Name, Sums]:
    """Sums of the same columns over several parts of the prompts, over the same resamples.

    The result and the resamples of a seed are those of `resampled_blocks` with blocks that are 0 outside
    their part, but no block of all prompts is built. Meant for clusters that went through `grouped`.

    Args:
        parts: shape (n,) each; they may overlap.
        columns: shape (n, n_columns).
        clusters: shape (n,).
    """
    number, n_clusters = cluster_numbers(clusters)
    width = columns.shape[1]
    per_cluster = np.zeros((n_clusters, len(parts) * width))
    for place, rows in enumerate(parts.values()):
        inside = np.flatnonzero(rows)
        for column in range(width):
            per_cluster[:, place * width + column] = np.bincount(
                number[inside], weights=columns[inside, column], minlength=n_clusters
            )
    blocks = [
        counts @ per_cluster for counts in resampled_counts(n_clusters, n_resamples=n_resamples, seed=seed)
    ]
    draws = np.concatenate([np.empty((0, per_cluster.shape[1])), *blocks])
    total = per_cluster.sum(axis=0)
    ends = {name: slice(place * width, (place + 1) * width) for place, name in enumerate(parts)}
    return {name: Sums(total=total[end], draws=draws[:, end]) for name, end in ends.items()}
