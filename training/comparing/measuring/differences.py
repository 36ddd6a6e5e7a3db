"""Differences corrected for how many are tested."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from scipy.special import stdtr

from router.records import FloatArray
from training.comparing.evaluated import Difference
from training.statistics.intervals import Statistic, Sums, calls_to_settle, interval
from training.statistics.policy_curves import ROUNDING

Name = TypeVar("Name")

LEAST_CLUSTERS = 30
"""Nothing is tested with fewer clusters: their spread is itself a guess."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One difference or ratio to test.

    Attributes:
        statistic: of the sums, for the interval.
        reference: value of no difference: 0, or 1 for a ratio.
        test: statistic that is 0 if there is no difference, for the p-value; None: `statistic` less
            `reference`. For a ratio of means, the difference of the means is the better test: it is 0 when
            the ratio is 1, and a difference of two sums is closer to normal than their ratio.
        clusters: number in the tested part; None: all.
        prompts: number in that part, the unit of `calls_to_settle`; None: as many as clusters.
    """

    sums: Sums
    statistic: Statistic
    reference: float = 0.0
    test: Statistic | None = None
    clusters: int | None = None
    prompts: int | None = None


def differences(looks: Mapping[Name, Look], n_clusters: int) -> dict[Name, Difference]:
    """Every look with its interval and its p-value, corrected for the number of looks.

    A look with fewer than `LEAST_CLUSTERS` clusters, or without a value, is not tested: its p-values are NaN,
    and it does not count.

    Args:
        n_clusters: of the whole, for looks without a number of their own.
    """
    tested = {
        name: _tested(look, n_clusters if look.clusters is None else look.clusters)
        for name, look in looks.items()
    }
    p_values = [_p_value(*one) for one in tested.values()]
    adjusted = holm(p_values)
    return {
        name: Difference(
            interval=interval(look.sums, look.statistic, reference=look.reference),
            p_value=p_value,
            p_adjusted=p_adjusted,
            calls_to_settle=calls_to_settle(*tested[name][:2], look.prompts or tested[name][2]),
        )
        for (name, look), p_value, p_adjusted in zip(looks.items(), p_values, adjusted, strict=True)
    }


def _tested(look: Look, n_clusters: int) -> tuple[float, float, int]:
    """The difference, its standard error, and the clusters behind it."""

    def usual(sums: FloatArray) -> FloatArray:
        return look.statistic(sums) - look.reference

    test = look.test or usual
    with np.errstate(divide="ignore", invalid="ignore"):
        value, draws = float(test(look.sums.total[None])[0]), test(look.sums.draws)
    return value, standard_error(draws, n_clusters), n_clusters


def _p_value(difference: float, error: float, n_clusters: int) -> float:
    return p_value(difference, error, n_clusters) if n_clusters >= LEAST_CLUSTERS else float("nan")


def standard_error(draws: FloatArray, n_clusters: int) -> float:
    """Spread of the bootstrap draws, times sqrt(k / (k - 1)) for k clusters; NaN without two finite draws.

    Resampling k clusters draws from their spread around their own mean, which is that much too small.
    """
    finite = draws[np.isfinite(draws)]
    if len(finite) < 2 or n_clusters < 2:
        return float("nan")
    return float(finite.std(ddof=1) * math.sqrt(n_clusters / (n_clusters - 1)))


def p_value(difference: float, error: float, n_clusters: int) -> float:
    """Two-sided p-value of no difference, by Student's t with k - 1 degrees of freedom for k clusters.

    Never below 2^(1 - k), the least that flipping the signs of k clusters can give (Fisher 1935): a spread of
    0 is no certainty.

    Returns:
        NaN if the difference or its error is unknown.
    """
    # Inverting the percentile interval of B draws is no finer than 2 / B: of 40 looks at 2,000 draws, only
    # those without any draw beyond zero could stay below 0.05, and all of these would be equal. The spread
    # of 2,000 draws is known to 2 % however large the difference is. Student's t, not the normal
    # distribution, because Holm's correction reaches far into the tail.
    if not (math.isfinite(difference) and math.isfinite(error)) or n_clusters < 2:
        return float("nan")
    if abs(difference) <= ROUNDING:
        return 1.0
    tail = float(2 * stdtr(n_clusters - 1, -abs(difference) / error)) if error > 0 else 0.0
    return min(1.0, max(tail, 2.0 ** max(1 - n_clusters, -1000)))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values that keep the family-wise error at a level when read against it (Holm 1979), in order.

    Step-down: the i-th smallest of n is multiplied by n - i + 1, at most 1, and never less than the one
    before it. Holds for any dependence between the looks. NaN stays NaN and does not count.
    """
    p = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(len(p), np.nan)
    order = np.argsort(p, kind="stable")[: np.count_nonzero(~np.isnan(p))]
    stepped = np.minimum(p[order] * np.arange(len(order), 0, -1), 1.0)
    adjusted[order] = np.maximum.accumulate(stepped)
    return [float(value) for value in adjusted]
