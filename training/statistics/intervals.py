"""Percentile intervals of differences, from resampling whole clusters of prompts."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias, TypeVar

import numpy as np

from router.records import FloatArray, IntArray
from training.statistics.policy_curves import ROUNDING, PolicyPath, picked

Statistic: TypeAlias = Callable[[FloatArray], FloatArray]
"""Maps sums of shape (..., n_columns) to values of shape (...)."""

Name = TypeVar("Name", bound=Hashable)

LEVEL = 0.95
TWO_SIDED_5_PERCENT = 1.959964
POWER_80_PERCENT = 0.841621
"""Normal quantiles at 0.975 and 0.8."""
MOST_CALLS = 1_000_000_000
"""A difference that takes more prompts than this to settle counts as one that no number settles."""
CHUNK_ENTRIES = 4_000_000
"""Number of resampling weights in memory at once: 32 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A value with its 95 % percentile interval.

    Attributes:
        value: on the prompts themselves; NaN is unknown.
        low: NaN if there are fewer than two clusters; infinity if no cost reaches the target.
        high: as `low`.
        above: share of resamples above the reference: 0 for a difference, 1 for a ratio.
    """

    value: float
    low: float
    high: float
    above: float


UNKNOWN = Interval(value=float("nan"), low=float("nan"), high=float("nan"), above=float("nan"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """Column sums over the prompts, and over resamples of them; the same resamples for every column.

    Attributes:
        total: shape (n_columns,).
        draws: shape (n_resamples, n_columns); no rows if there are fewer than two clusters.
    """

    total: FloatArray
    draws: FloatArray


def cluster_numbers(clusters: IntArray) -> tuple[IntArray, int]:
    """Renumber clusters from 0 without gaps; returns their count as well."""
    names, number = np.unique(clusters, return_inverse=True)
    return number.astype(np.int64), len(names)


def resampled_counts(n_clusters: int, *, n_resamples: int, seed: int) -> Iterator[FloatArray]:
    """Draw `n_resamples` counts of each cluster, in blocks of shape (n_block, n_clusters).

    Multinomial: as many clusters as there are, drawn with replacement. The same seed gives the same blocks.
    """
    rng = np.random.default_rng(seed)
    block = max(1, CHUNK_ENTRIES // max(n_clusters, 1))
    for start in range(0, n_resamples if n_clusters > 1 else 0, block):
        rows = min(block, n_resamples - start)
        drawn = rng.integers(0, n_clusters, size=(rows, n_clusters))
        drawn += np.arange(rows)[:, None] * n_clusters
        counts = np.bincount(drawn.ravel(), minlength=rows * n_clusters)
        yield counts.reshape(rows, n_clusters).astype(np.float64)


def resampled_sums(
    columns: FloatArray, clusters: IntArray, *, n_resamples: int = 2000, seed: int = 0
) -> Sums:
    """Sums of each column over resamples of the clusters.

    Args:
        columns: shape (n, n_columns), one row a prompt.
        clusters: shape (n,); prompts that share a number are drawn together.
    """
    return resampled_blocks([("", columns)], clusters, n_resamples=n_resamples, seed=seed)[""]


def resampled_blocks(
    blocks: Iterable[tuple[Name, FloatArray]],
    clusters: IntArray,
    *,
    n_resamples: int = 2000,
    seed: int = 0,
) -> dict[Name, Sums]:
    """Sums of several named blocks of columns, each of shape (n, any), over the same resamples.

    Each block is summed by cluster as it arrives, so only one block is in memory if `blocks` is an iterator.
    """
    number, n_clusters = cluster_numbers(clusters)
    order = np.argsort(number, kind="stable")
    first = np.searchsorted(number[order], np.arange(n_clusters))
    summed = {name: np.add.reduceat(block[order], first, axis=0) for name, block in blocks}
    whole = np.concatenate(list(summed.values()), axis=1)
    drawn = [counts @ whole for counts in resampled_counts(n_clusters, n_resamples=n_resamples, seed=seed)]
    draws, total = np.concatenate([np.empty((0, whole.shape[1])), *drawn]), whole.sum(axis=0)
    ends = np.cumsum([block.shape[1] for block in summed.values()])
    return {
        name: Sums(total=total[end - block.shape[1] : end], draws=draws[:, end - block.shape[1] : end])
        for (name, block), end in zip(summed.items(), ends, strict=True)
    }


def joined(*parts: Sums) -> Sums:
    """Put the columns of several blocks of the same resamples side by side."""
    return Sums(
        total=np.concatenate([part.total for part in parts]),
        draws=np.concatenate([part.draws for part in parts], axis=1),
    )


def interval(sums: Sums, statistic: Statistic, *, reference: float = 0.0) -> Interval:
    """A statistic of the sums with its interval; resamples in which it is undefined don't count."""
    with np.errstate(divide="ignore", invalid="ignore"):
        value, draws = statistic(sums.total[None])[0], statistic(sums.draws)
    return _interval(float(value), draws, reference)


def _interval(value: float, draws: FloatArray, reference: float) -> Interval:
    defined = draws[~np.isnan(draws)]
    if np.isnan(value) or not len(defined):
        return replace(UNKNOWN, value=value)
    tail = (1 - LEVEL) / 2
    # No interpolation: a draw may be infinite, and half-way to infinity is no number.
    low, high = np.quantile(defined, [tail, 1 - tail], method="inverted_cdf")
    return Interval(
        value=value, low=float(low), high=float(high), above=float(np.mean(defined > reference + ROUNDING))
    )


def cut_to_range(estimate: Interval, least: float, most: float) -> Interval:
    """Cut off the part of an interval that can't be; unknown if the value itself can't be."""
    if not least - ROUNDING <= estimate.value <= most + ROUNDING:
        return UNKNOWN
    ends = {name: float(np.clip(getattr(estimate, name), least, most)) for name in ("value", "low", "high")}
    return replace(estimate, **ends)


def with_room(difference: Interval, groups: int) -> Interval:
    """Widen a difference of success rates if no group of prompts shows any.

    Resampling equal values gives an interval of no width. With 0 of n groups differing, up to 3 / n of them
    may (the rule of three: Hanley & Lippman-Hand 1983).
    """
    if difference.low != difference.high:
        return difference
    return replace(difference, low=difference.value - 3 / groups, high=difference.value + 3 / groups)


def mean_difference(sums: FloatArray) -> FloatArray:
    """Mean of the first column less mean of the second; the third column holds ones, or a mask."""
    difference: FloatArray = (sums[..., 0] - sums[..., 1]) / sums[..., 2]
    return difference


def path_columns(
    path: PolicyPath, weights: FloatArray, success: FloatArray, cost: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Success and cost of every prompt at every weight, both of shape (n, n_weights): columns to resample."""
    choices = [path.at(weight) for weight in weights]
    return (
        np.stack([picked(success, choice) for choice in choices], axis=1),
        np.stack([picked(cost, choice) for choice in choices], axis=1),
    )


def cost_reaching(success: FloatArray, cost: FloatArray, target: FloatArray) -> FloatArray:
    """Least cost at which a curve reaches a target; infinity if it never does, NaN if the target is unknown.

    Args:
        success: shape (..., n_weights), as sums or means.
        cost: shape (..., n_weights).
        target: shape (...), in the unit of `success`.
    """
    slack = ROUNDING * np.maximum(1.0, np.abs(target))
    reached = success >= (target - slack)[..., None]
    least = np.where(reached, cost, np.inf).min(axis=-1)
    return np.where(np.isnan(target), np.nan, least)


def success_within(success: FloatArray, cost: FloatArray, budget: FloatArray) -> FloatArray:
    """Highest success of a curve within a budget; NaN if every point costs more.

    Args:
        success: shape (..., n_weights), as sums or means.
        cost: shape (..., n_weights).
        budget: shape (...), in the unit of `cost`.
    """
    within = cost <= (budget * (1 + ROUNDING))[..., None]
    most = np.where(within, success, -np.inf).max(axis=-1)
    return np.where(np.isfinite(most), most, np.nan)


def relative_cost_at_best(
    success: FloatArray, cost: FloatArray, target: FloatArray, paid: FloatArray
) -> FloatArray:
    """Cost at which a curve reaches one model's success, as a share of that model's cost.

    Args:
        success: of the curve, shape (..., n_weights), as sums or means.
        cost: of the curve, shape (..., n_weights).
        target: the model's success, shape (...), in the unit of `success`.
        paid: the model's cost, shape (...), in the unit of `cost`.
    """
    return np.where(paid > 0, cost_reaching(success, cost, target) / np.where(paid > 0, paid, 1), np.nan)


def calls_to_settle(difference: float, error: float, prompts: int) -> int | None:
    """Further prompts at which a test would detect a difference of this size.

    The standard error falls with the root of the number of prompts, so a two-sided test at 5 % detects the
    difference with 80 % power at n * ((1.96 + 0.84) * error / |difference|)^2 prompts. The difference is
    itself a guess, so the number only says how far away an answer is. Sessions of several prompts count with
    all of them: the further prompts must come in sessions like these.

    Args:
        error: standard error of the difference.
        prompts: number behind the difference.

    Returns:
        None if it is settled, there is no difference, or it takes more than `MOST_CALLS`.
    """
    if not (math.isfinite(difference) and math.isfinite(error)) or abs(difference) <= ROUNDING:
        return None
    if abs(difference) >= TWO_SIDED_5_PERCENT * error:
        return None
    needed = prompts * ((TWO_SIDED_5_PERCENT + POWER_80_PERCENT) * error / abs(difference)) ** 2
    more = math.ceil(needed - prompts)
    return more if more <= MOST_CALLS else None
