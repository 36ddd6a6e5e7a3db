"""The weight on cost whose loss of success is bounded at a stated confidence (Learn then Test)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from router.deciding.policy import assumed_cost
from router.records import FloatArray, IntArray
from training.statistics.intervals import cluster_numbers
from training.statistics.policy_curves import PolicyPath, curve_of_path, picked, policy_path, weight_grid

Test: TypeAlias = Callable[[FloatArray, float], float]
"""P-value of "the mean is 0 or more", from independent values and the largest that one of them can be."""

HALVINGS = 40
NEAR_HALF = 1e-3
"""So few standard deviations from the middle, the tail counts as one half."""

SEQUENCE = (
    "fixed-sequence testing from weight 0 upwards (Learn then Test: Angelopoulos, Bates, Candes, Jordan & "
    "Lei 2021, arXiv 2110.01052), each weight against every single model, by "
)
BOUNDED = (
    SEQUENCE + "Gaffke's test of a bounded mean (Gaffke 2005; Learned-Miller & Thomas 2020, arXiv 1905.06208)"
)
UNBOUNDED = SEQUENCE + "a cluster-robust t-test"
SAME_TRAFFIC = (
    "the traffic to come is like the calibration prompts; other prompts, models or prices end the guarantee"
)
LEARNED_ONLY = (
    "it covers the learned policy, not the decisions of the rule table, of limits or of pinned models"
)
CONJECTURED = (
    "Gaffke's test is exact where losses take two values; beyond that it is a conjecture without a known "
    "counterexample"
)
LARGE_SAMPLE = (
    "outcomes are estimates without bounds, so the test rests on the central limit theorem: it holds for "
    "many independent {units}, not for few"
)
ALONE = "every prompt is independent of the others: no session links any of them"
LINKED = (
    "sessions are independent of each other, and none is longer than the longest seen; the prompts of one "
    "may depend on each other"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Forecasts for unseen prompts beside the outcomes, as a test of the guarantee needs them.

    Attributes:
        probability: shape (n, m), chance of success; NaN in the columns of models that the policy can't
            choose but is compared with.
        expected_cost: shape (n, m), USD; NaN is unknown.
        success: shape (n, m); outcomes in [0, 1], or doubly robust scores, which may lie outside of it.
        cost: shape (n, m), USD; the expected cost replaces it unless every entry is known.
        clusters: shape (n,); prompts that share a number (a session) may depend on each other.
        traffic: shape (n,); number of calls that each prompt stands for; 1 if only for itself.
    """

    probability: FloatArray
    expected_cost: FloatArray
    success: FloatArray
    cost: FloatArray
    clusters: IntArray
    traffic: FloatArray

    def __len__(self) -> int:
        return len(self.success)

    @property
    def assumed(self) -> FloatArray:
        """Expected cost; an unknown one is the highest of its row, as the policy itself assumes."""
        return assumed_cost(np.where(np.isnan(self.probability), np.nan, self.expected_cost))

    def path(self) -> PolicyPath:
        """The policy's choices at every weight, among the models that it has a forecast for."""
        able = np.flatnonzero(np.isfinite(self.probability).all(axis=0))
        path = policy_path(self.probability[:, able], self.assumed[:, able])
        return PolicyPath(start=path.start, model=able[path.model])

    def rows(self, index: IntArray) -> Trial:
        """The prompts at `index`."""
        return Trial(**{name: getattr(self, name)[index] for name in Trial.__slots__})


@dataclass(frozen=True, slots=True, kw_only=True)
class GuaranteedWeight:
    """A weight on cost, and the guarantee for the policy at that weight.

    Attributes:
        max_loss: how far the success rate may lie below the best single model's.
        confidence: of the guarantee, over the draw of the calibration prompts.
        weight: 1 / USD; None if no weight is safe.
        bound: upper confidence bound on the loss at that weight, or at weight 0 if none is safe.
        n: number of calibration prompts.
        clusters: number of independent groups of them.
        method: the test and its source.
        assumptions: sentences.
    """

    max_loss: float
    confidence: float
    weight: float | None
    bound: float
    n: int
    clusters: int
    method: str
    assumptions: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """How far a policy lies behind each single model, summed over the prompts of a cluster.

    Attributes:
        total: shape (n_clusters, m); the model's success less the policy's.
        size: shape (n_clusters,); number of calls that the prompts stand for.
    """

    total: FloatArray
    size: FloatArray

    @staticmethod
    def of(trial: Trial, choice: IntArray) -> Losses:
        """The losses of a policy that takes the models in `choice`, shape (n,)."""
        number, count = cluster_numbers(trial.clusters)
        behind = (trial.success - picked(trial.success, choice)[:, None]) * trial.traffic[:, None]
        columns = [np.bincount(number, weights=column, minlength=count) for column in behind.T]
        return Losses(
            total=np.stack(columns, axis=1),
            size=np.bincount(number, weights=trial.traffic, minlength=count).astype(np.float64),
        )

    def p_value(self, max_loss: float, test: Test) -> float:
        """P-value of "the policy lies `max_loss` or more behind some model".

        The hypothesis is a union of one per model and is rejected only if each of them is: the largest of
        their p-values is valid whichever model is the best (intersection-union test, Berger 1982).
        """
        return max(self._p_value(column, max_loss, test) for column in self.total.T)

    def bound(self, confidence: float, test: Test) -> float:
        """Upper confidence bound on the loss against the best model."""
        return max(self._bound(column, 1 - confidence, test) for column in self.total.T)

    def _p_value(self, total: FloatArray, max_loss: float, test: Test) -> float:
        return test(total - max_loss * self.size, (1 - max_loss) * float(self.size.max()))

    def _bound(self, total: FloatArray, level: float, test: Test) -> float:
        """The smallest rejected loss, by bisection; at most the largest loss of a cluster."""
        low, high = float(total.sum() / self.size.sum()), max(1.0, float((total / self.size).max()))
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            low, high = (low, middle) if self._p_value(total, middle, test) <= level else (middle, high)
        return high


def guaranteed_weight(
    trial: Trial,
    *,
    max_loss: float,
    confidence: float,
    weights: FloatArray | None = None,
    test: Test | None = None,
) -> GuaranteedWeight:
    """Find the cheapest weight at which the policy is at most `max_loss` behind the best single model.

    The policy is argmax_m p - weight * cost. Its weights are tested upwards from 0, where only success
    counts, until one can't be shown to be safe: so an unsafe weight passes with a chance of at most
    1 - confidence, however many are tested (Learn then Test, fixed-sequence testing). Any safe weight may
    then be chosen; this is the cheapest on the calibration prompts.

    Args:
        trial: the calibration part.
        weights: rising weights to test, chosen without the outcomes; None: from the forecasts of `trial`.
        test: None: Gaffke's if outcomes lie in [0, 1], else the t-test.
    """
    test = test or (gaffke_p_value if _bounded(trial.success) else t_p_value)
    path = trial.path()
    cost = trial.cost if np.isfinite(trial.cost).all() else trial.assumed
    cheapest, least = None, np.inf
    for weight in (weights_to_test(trial) if weights is None else weights).tolist():
        choice = path.at(weight)
        if Losses.of(trial, choice).p_value(max_loss, test) > 1 - confidence:
            break
        paid = float(trial.traffic @ picked(cost, choice))
        cheapest, least = (weight, paid) if paid < least else (cheapest, least)
    losses = Losses.of(trial, path.at(cheapest or 0.0))
    return GuaranteedWeight(
        max_loss=max_loss,
        confidence=confidence,
        weight=cheapest,
        bound=losses.bound(confidence, test),
        n=len(trial),
        clusters=len(losses.size),
        method=BOUNDED if test is gaffke_p_value else UNBOUNDED,
        assumptions=_assumptions(len(losses.size) < len(trial), test),
    )


def weights_to_test(trial: Trial, points: int = 160) -> FloatArray:
    """Choose the weights to test from the forecasts alone, each in the middle of a step of the path.

    Learn then Test needs a sequence that does not depend on the outcomes it is tested on.
    """
    path = trial.path()
    curve = curve_of_path(path, trial.probability, trial.assumed, trial.traffic)
    at = np.searchsorted(curve.weight, weight_grid(curve, points))
    following = np.append(curve.weight[1:], curve.weight[-1] * 1.02)
    return np.asarray((curve.weight[at] + following[at]) / 2)


def gaffke_p_value(excess: FloatArray, most: float) -> float:
    """P-value of "the mean of the excess is 0 or more", for independent values that are at most `most`.

    P(sum_i E_i z_i >= 0) with E_i independent exponentials and z the excess and one more value of `most`: the
    Bayesian bootstrap with one more observation, the worst case (Gaffke 2005; Learned-Miller & Thomas 2020).
    For two values it is the exact binomial test. The saddlepoint approximation (Lugannani & Rice 1980) gives
    the tail: for two values it is 0 to 2 % above the exact one.

    Args:
        excess: shape (n,).
        most: above 0.
    """
    from scipy.special import ndtr

    z, count = np.unique(np.append(excess, most), return_counts=True)
    if count @ z >= 0:
        return 1.0
    root = _saddle(z, count)
    signed = np.sqrt(2 * (count @ np.log1p(-root * z)))
    if signed < NEAR_HALF:
        return 0.5
    spread = root * np.sqrt(count @ np.square(z / (1 - root * z)))
    density = np.exp(-np.square(signed) / 2) / np.sqrt(2 * np.pi)
    return float(min(1.0, ndtr(-signed) + density * (1 / spread - 1 / signed)))


def _saddle(z: FloatArray, count: IntArray) -> float:
    """Find t in (0, 1 / max z) where sum count * z / (1 - t z) is 0; it rises from below 0 to infinity."""
    from scipy.optimize import brentq

    pole = 1.0 / float(z[-1])
    # For n values the root is about pole / n away from the pole.
    root = brentq(lambda t: count @ (z / (1 - t * z)), 0.0, pole * (1 - 1e-12), xtol=1e-14 * pole)
    return float(root)


def t_p_value(excess: FloatArray, most: float = np.inf) -> float:
    """P-value of "the mean of the excess is 0 or more", by Student's t; 1 for fewer than two clusters.

    Args:
        excess: shape (n_clusters,), summed over each cluster's prompts: the variance then stays right if the
            prompts of a cluster depend on each other (Liang & Zeger 1986).
    """
    from scipy.special import stdtr

    n = len(excess)
    error = float(excess.std(ddof=1)) / np.sqrt(n) if n > 1 else 0.0
    if not error > 0:
        return 1.0
    return float(stdtr(n - 1, excess.mean() / error))


def _bounded(success: FloatArray) -> bool:
    return bool((success >= 0).all() and (success <= 1).all())


def _assumptions(linked: bool, test: Test) -> tuple[str, ...]:
    units = "sessions" if linked else "prompts"
    of_test = CONJECTURED if test is gaffke_p_value else LARGE_SAMPLE.format(units=units)
    return (SAME_TRAFFIC, LINKED if linked else ALONE, of_test, LEARNED_ONLY)
