"""The results of a routing policy on prompts with a known outcome for every model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from router.records import FloatArray, IntArray

NO_CHOICE = -1

ROUNDING = 1e-9
"""Success rates closer than this are equal: sums of the same rows differ by less in another order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyPath:
    """The choices of argmax_m p - weight * cost for every weight from 0 to infinity.

    Attributes:
        start: shape (n_prompts, n_models); weight, in 1 / USD, from which a step of the row holds. The first
            is 0, they rise along the row, and infinity marks an unused step.
        model: shape (n_prompts, n_models); the model of each step.
    """

    start: FloatArray
    model: IntArray

    def at(self, weight: float) -> IntArray:
        """Shape (n_prompts,): the model of each prompt at one weight, the cheaper one on ties."""
        step = np.count_nonzero(self.start <= weight, axis=1) - 1
        chosen: IntArray = self.model[np.arange(len(self.start)), step]
        return chosen


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Mean outcome of a policy as its weight on cost grows.

    Attributes:
        weight: shape (n_points,); in 1 / USD, rising from 0. A point holds up to the next weight.
        success: shape (n_points,); mean over prompts, in [0, 1].
        cost: shape (n_points,); mean USD a call.
    """

    weight: FloatArray
    success: FloatArray
    cost: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """Predicted against observed success in bins of equal width; empty bins are NaN.

    Attributes:
        edges: shape (n_bins + 1,); a bin holds (lower, upper], the first one also 0.
        count: shape (n_bins,); rows.
        size: shape (n_bins,); their weight.
        predicted: shape (n_bins,); mean probability in the bin.
        observed: shape (n_bins,); mean outcome in the bin.
    """

    edges: FloatArray
    count: IntArray
    size: FloatArray
    predicted: FloatArray
    observed: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskCoverage:
    """Failure rate among the prompts that the policy keeps, as its least confidence falls.

    Attributes:
        threshold: shape (n_points,); least confidence, falling. Equal confidences stay together.
        coverage: shape (n_points,); share of prompts kept, rising to 1.
        risk: shape (n_points,); failure rate among the kept prompts.
        area: area under risk over coverage; lower is better.
    """

    threshold: FloatArray
    coverage: FloatArray
    risk: FloatArray
    area: float


def picked(values: FloatArray, choice: IntArray) -> FloatArray:
    """Shape (n,): the entry of each row of `values` in the column `choice`; NaN if that is -1."""
    taken = values[np.arange(len(choice)), np.maximum(choice, 0)]
    return np.where(choice >= 0, taken, np.nan)


def best_column(value: FloatArray, cost: FloatArray) -> IntArray:
    """Shape (n,): column of each row's highest value, the cheaper one on ties, then the first.

    Args:
        value: shape (n, m).
        cost: shape (n, m), finite.
    """
    tied = value == value.max(axis=1, keepdims=True)
    column: IntArray = np.argmin(np.where(tied, cost, np.inf), axis=1)
    return column


def policy_path(probability: FloatArray, expected_cost: FloatArray) -> PolicyPath:
    """Follow argmax_m p - weight * cost from weight 0 to infinity, exactly.

    Per prompt this is the upper envelope of m lines in the weight: after the current model comes the cheaper
    model whose line it meets first, at (p - p') / (cost - cost').

    Args:
        probability: shape (n, m), chance of success.
        expected_cost: shape (n, m), USD.

    Raises:
        ValueError: the shapes differ, or an entry is not finite.
    """
    if probability.shape != expected_cost.shape or probability.ndim != 2:
        raise ValueError(f"need two (n, m) matrices, got {probability.shape} and {expected_cost.shape}")
    if not (np.isfinite(probability).all() and np.isfinite(expected_cost).all()):
        raise ValueError("probability and expected_cost must be finite: leave out rows with unknown cost")
    start = np.full(probability.shape, np.inf)
    model = np.zeros(probability.shape, dtype=np.int64)
    weight, current = np.zeros(len(probability)), best_column(probability, expected_cost)
    for step in range(probability.shape[1]):
        start[:, step], model[:, step] = weight, current
        if np.isinf(weight).all():  # no prompt changes its model again
            model[:, step:] = current[:, None]
            break
        met, following = _next_step(probability, expected_cost, current)
        weight, current = np.maximum(weight, met), following
    return PolicyPath(start=start, model=model)


def _next_step(
    probability: FloatArray, expected_cost: FloatArray, current: IntArray
) -> tuple[FloatArray, IntArray]:
    """Weight at which each prompt leaves its current model (infinity: never), and the next model."""
    saved = picked(expected_cost, current)[:, None] - expected_cost
    lost = picked(probability, current)[:, None] - probability
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        met = np.where(saved > 0, lost / saved, np.inf)
    weight = met.min(axis=1)
    following = best_column(-met, expected_cost)
    return weight, np.where(np.isfinite(weight), following, current)


def curve_of_path(
    path: PolicyPath, success: FloatArray, cost: FloatArray, share: FloatArray | None = None
) -> Curve:
    """Mean outcomes along a path; a point for every weight at which some prompt changes its model.

    Args:
        success: shape (n, m), outcome of each model.
        cost: shape (n, m), USD.
        share: shape (n,), weight of each row in the means; None: equal weights.
    """
    share = np.full(len(success), 1 / len(success)) if share is None else share / share.sum()
    rows = np.arange(len(success))[:, None]
    gained = np.diff(success[rows, path.model], axis=1) * share[:, None]
    spent = np.diff(cost[rows, path.model], axis=1) * share[:, None]
    changes = np.isfinite(path.start[:, 1:])
    order = np.argsort(path.start[:, 1:][changes], kind="stable")
    weight = np.concatenate([[0.0], path.start[:, 1:][changes][order]])
    last = np.append(weight[1:] != weight[:-1], True)
    first = path.model[:, 0]
    success_at = np.cumsum(np.append(share @ picked(success, first), gained[changes][order]))
    cost_at = np.cumsum(np.append(share @ picked(cost, first), spent[changes][order]))
    return Curve(weight=weight[last], success=success_at[last], cost=cost_at[last])


def cost_quality_curve(
    probability: FloatArray, expected_cost: FloatArray, success: FloatArray, cost: FloatArray
) -> Curve:
    """Mean outcomes of the policy argmax_m p - weight * cost, over its weight from 0 to infinity.

    The policy sees only `probability` and `expected_cost`; `success` and `cost` are its results. All have
    shape (n, m).

    Raises:
        ValueError: as `policy_path`.
    """
    return curve_of_path(policy_path(probability, expected_cost), success, cost)


def cost_at_quality(curve: Curve, quality: float) -> float:
    """Least mean cost on the curve at a mean success of at least `quality`; NaN if there is none."""
    reached = curve.success >= quality - ROUNDING
    return float(curve.cost[reached].min()) if reached.any() else float("nan")


def weight_grid(curve: Curve, points: int = 160) -> FloatArray:
    """At most `points` weights of the curve, rising, about equally far apart in the log of mean cost."""
    floor = np.minimum.accumulate(curve.cost)
    height = -np.log(floor + 1e-3 * floor[0] + np.finfo(float).tiny)
    index = np.searchsorted(height, np.linspace(height[0], height[-1], points))
    last = len(height) - 1
    weights: FloatArray = curve.weight[np.unique(np.append(np.minimum(index, last), [0, last]))]
    return weights


def apgr(gap: FloatArray, weak: FloatArray, strong: FloatArray) -> float:
    """Average performance gap recovered (Ong et al. 2024, arXiv 2406.18665, section 3.2); random is 0.5.

    The mean over x in [0, 1] of (success with the share x of widest gap sent to strong - weak's) /
    (strong's - weak's). With g_i = strong_i - weak_i, that is sum_i g_i * (n - rank_i + 1/2) / n over
    sum_i g_i. Prompts of equal gap share their mean rank.

    Args:
        gap: shape (n,), p_strong - p_weak.
        weak: shape (n,), outcome of the weak model.
        strong: shape (n,), outcome of the strong model.

    Returns:
        NaN where strong succeeds no more often than weak: there is no gap to recover.
    """
    gain = strong - weak
    if gain.sum() <= 0:
        return float("nan")
    _, tie, size = np.unique(-gap, return_inverse=True, return_counts=True)
    rank = (np.cumsum(size) - (size - 1) / 2)[tie]
    return float(gain @ ((len(gap) - rank + 0.5) / len(gap)) / gain.sum())


def reliability(
    p: FloatArray, y: FloatArray, bins: int = 15, weight: FloatArray | None = None
) -> Reliability:
    """Mean probability and mean outcome per bin of probability; both inputs of shape (n,), in [0, 1].

    Args:
        weight: shape (n,), importance of each row in the means; None: equal.
    """
    weight = np.ones_like(p) if weight is None else weight
    edges = np.linspace(0, 1, bins + 1)
    index = np.digitize(p, edges[1:-1], right=True)
    size: FloatArray = np.bincount(index, weights=weight, minlength=bins).astype(np.float64)
    with np.errstate(invalid="ignore"):
        predicted = np.bincount(index, weights=weight * p, minlength=bins) / size
        observed = np.bincount(index, weights=weight * y, minlength=bins) / size
    count = np.bincount(index, minlength=bins)
    return Reliability(edges=edges, count=count, size=size, predicted=predicted, observed=observed)


def expected_calibration_error(
    p: FloatArray, y: FloatArray, bins: int = 15, weight: FloatArray | None = None
) -> float:
    """Mean gap between probability and outcome over bins, weighted by size (Guo et al. 2017, equation 3)."""
    table = reliability(p, y, bins, weight)
    filled = table.size > 0
    gap = np.abs(table.predicted - table.observed)[filled]
    return float(gap @ table.size[filled] / table.size.sum()) if filled.any() else float("nan")


def brier(p: FloatArray, y: FloatArray, weight: FloatArray | None = None) -> float:
    """Mean squared difference between probability and outcome (Brier 1950); 0 is perfect, 0.25 is a coin."""
    return float(np.average((p - y) ** 2, weights=weight)) if len(p) else float("nan")


def risk_coverage(
    confidence: FloatArray, correct: FloatArray, weight: FloatArray | None = None
) -> RiskCoverage:
    """Failure rate over coverage (El-Yaniv & Wiener 2010; area as in Geifman & El-Yaniv 2017).

    Args:
        confidence: shape (n,).
        correct: shape (n,), outcome in [0, 1].
        weight: shape (n,), importance of each row; None: equal.
    """
    order = np.argsort(-confidence, kind="stable")
    threshold = confidence[order]
    last = np.append(threshold[1:] != threshold[:-1], True)[: len(order)]
    size = np.ones(len(order)) if weight is None else weight[order]
    kept = np.cumsum(size)[last]
    coverage = kept / size.sum()
    risk = np.cumsum(size * (1 - correct[order]))[last] / kept
    area = float(np.diff(coverage, prepend=0) @ risk) if len(order) else float("nan")
    return RiskCoverage(threshold=threshold[last], coverage=coverage, risk=risk, area=area)


def model_shares(choice: IntArray, n_models: int, traffic: FloatArray | None = None) -> FloatArray:
    """Shape (n_models,): share of the choices that each model has; rows of -1 (no choice) don't count.

    Args:
        traffic: shape (n,), number of calls that each row stands for; None: one each.
    """
    able = choice >= 0
    count = np.bincount(choice[able], None if traffic is None else traffic[able], minlength=n_models)
    shares: FloatArray = count / max(count.sum(), 1)
    return shares


def cost_matched_shuffle(
    choice: IntArray, success: FloatArray, cost: FloatArray, traffic: FloatArray | None = None
) -> tuple[FloatArray, FloatArray]:
    """Expected outcome per prompt when the choices are permuted at random over the prompts.

    Every model keeps its share of the prompts: only the router's mix of models remains, and the difference to
    the router is what it knows about single prompts. The mean over all permutations is exact: a prompt gets
    each model with a chance equal to the model's share.

    Args:
        choice: shape (n,), columns of the matrices.
        success: shape (n, m).
        cost: shape (n, m), USD.
        traffic: shape (n,), number of calls that each row stands for; None: one each.

    Returns:
        Expected success and expected cost, both of shape (n,).
    """
    share = model_shares(choice, success.shape[1], traffic)
    used = share > 0
    return success[:, used] @ share[used], cost[:, used] @ share[used]
