"""Whether a rate changed between two periods, with an interval that holds for dependent calls."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np

from router.records import FloatArray, IntArray
from training.dashboard.cells import RANDOM_GROUPS

LEVEL = 0.95
LEAST_GROUPS = 10
"""Fewest random groups with calls, in each period, from which an interval is computed."""
Verdict = Literal["better", "worse", "no clear change", "too few calls to compare"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A share of calls.

    Attributes:
        part, whole: calls by random group of sessions, shape (RANDOM_GROUPS,); of a forecast, `part` is the
            sum of the chances.
    """

    part: IntArray | FloatArray
    whole: IntArray

    @property
    def value(self) -> float:
        """The share; NaN without calls."""
        calls = int(self.whole.sum())
        return float(self.part.sum()) / calls if calls else math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class RateChange:
    """A rate now and before.

    Attributes:
        low, high: the interval of the difference; NaN if there are too few calls.
        good: whether a higher rate is better.
    """

    name: str
    now: float
    before: float
    low: float
    high: float
    good: bool

    @property
    def verdict(self) -> Verdict:
        """What the interval says."""
        if math.isnan(self.low):
            return "too few calls to compare"
        if self.low <= 0 <= self.high:
            return "no clear change"
        return "better" if (self.low > 0) == self.good else "worse"


def change(name: str, now: Rate, before: Rate, *, good: bool, comparisons: int = 1) -> RateChange:
    """Compare a rate with the same rate before.

    The interval is linearised over the random groups, in which a session counts as one (Wolter 2007,
    Introduction to Variance Estimation, chapter 2). It is never narrower than that of independent calls with
    two successes and two failures added, so rates of 0 and 1 are not taken for certain.

    Args:
        comparisons: that are looked at together; the intervals hold for all of them at once (Bonferroni).
    """
    return _compared(name, now, before, _of_calls(now, before), good=good, comparisons=comparisons)


def against_forecast(name: str, actual: Rate, forecast: Rate, *, comparisons: int = 1) -> RateChange:
    """Compare the successes of calls with the chances that were forecast for these calls, as `change` does.

    A forecast does not vary with the calls' outcomes, so only the successes' own variance is a lower bound.
    """
    return _compared(name, actual, forecast, _of_calls(actual), good=True, comparisons=comparisons)


def _compared(
    name: str, now: Rate, before: Rate, least_variance: float, *, good: bool, comparisons: int
) -> RateChange:
    low = high = math.nan
    if min(np.count_nonzero(now.whole), np.count_nonzero(before.whole)) >= LEAST_GROUPS:
        variance = max(_between_groups(now, before), least_variance)
        margin = _quantile(comparisons) * math.sqrt(variance)
        difference = now.value - before.value
        low, high = max(difference - margin, -1.0), min(difference + margin, 1.0)
    return RateChange(name=name, now=now.value, before=before.value, low=low, high=high, good=good)


def _between_groups(now: Rate, before: Rate) -> float:
    offsets = _offsets(now) - _offsets(before)
    return float(offsets @ offsets) * RANDOM_GROUPS / (RANDOM_GROUPS - 1)


def _offsets(rate: Rate) -> FloatArray:
    """What each random group adds to the rate's error, to first order."""
    offsets: FloatArray = (rate.part - rate.value * rate.whole) / rate.whole.sum()
    return offsets


def _of_calls(*rates: Rate) -> float:
    variance = 0.0
    for rate in rates:
        calls = int(rate.whole.sum()) + 4
        share = (int(rate.part.sum()) + 2) / calls
        variance += share * (1 - share) / calls
    return variance


def _quantile(comparisons: int) -> float:
    """Student's two-sided quantile, by the first term of its expansion around the normal one."""
    z = NormalDist().inv_cdf(1 - (1 - LEVEL) / (2 * max(comparisons, 1)))
    return z + (z**3 + z) / (4 * (RANDOM_GROUPS - 1))
