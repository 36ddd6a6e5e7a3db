"""The policy's numbers, chosen on forecasts for prompts that the forecasting heads had not seen."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from router.deciding.policy import assumed_cost, choose
from router.errors import TrainingError
from router.numbers import rate, significant
from router.records import BoolArray, FloatArray, IntArray
from router.settings.sections import Fallback, Objective
from training.statistics.policy_curves import Curve, cost_quality_curve, picked, risk_coverage
from training.statistics.quality_guarantee import GuaranteedWeight, Trial, guaranteed_weight

STAKES = np.geomspace(0.01, 0.3, 8)
"""What one call of the best single model costs, in success: the range in which cost and quality compete."""
LEAST_FULL = 200
"""Fewest prompts with every model's outcome known that are enough without the other prompts."""
MANY_FULL = 2000
"""From so many on they are enough however many other prompts there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backtest:
    """Forecasts for unseen prompts beside the outcomes; shape (n, n_models) each, and no NaN.

    Attributes:
        rows: shape (n,); row numbers of the prompts in the arrays given to `of`.
        probability: calibrated chance of success, from heads that had not seen the prompt.
        expected_cost: USD.
        success: outcome in [0, 1].
        cost: USD that was paid.
        known: whether the outcome was logged; if not, `success` holds the probability (the direct method of
            off-policy evaluation, Dudik, Langford & Li 2011, section 2.1).
    """

    rows: IntArray
    probability: FloatArray
    expected_cost: FloatArray
    success: FloatArray
    cost: FloatArray
    known: BoolArray

    @staticmethod
    def of(
        probability: FloatArray,
        expected_cost: FloatArray,
        success: FloatArray,
        cost: FloatArray,
        *,
        fair: bool = True,
        guaranteed: bool = False,
    ) -> Backtest:
        """Keep the prompts with every outcome known if they are enough, else fill in forecasts in the gaps.

        They are enough if there are `LEAST_FULL` and they are half of all prompts or `MANY_FULL`. Fewer
        measure more noisily than all prompts with forecasts in the gaps (`benchmarks.partial_log`).

        Args:
            fair: whether those prompts are like the others; if not, they are never enough by themselves.
            guaranteed: whether a guarantee rests on them; then `LEAST_FULL` of them are enough.
        """
        known = np.isfinite(success)
        full, partial = known.all(axis=1), known.any(axis=1)
        count = int(full.sum())
        enough = guaranteed or (fair and (2 * count >= partial.sum() or count >= MANY_FULL))
        rows = full if count >= LEAST_FULL and enough else partial
        expected = assumed_cost(expected_cost[rows])
        return Backtest(
            rows=np.flatnonzero(rows),
            probability=probability[rows],
            expected_cost=expected,
            success=np.where(known[rows], success[rows], probability[rows]),
            cost=np.where(np.isfinite(cost[rows]), cost[rows], expected),
            known=known[rows],
        )

    def __len__(self) -> int:
        return len(self.success)

    def at(self, index: IntArray) -> Backtest:
        """The prompts at `index`, in that order."""
        return Backtest(**{field.name: getattr(self, field.name)[index] for field in fields(self)})

    @property
    def filled(self) -> float:
        """Share of the outcomes that were not logged."""
        return float(1.0 - self.known.mean())

    @property
    def best_single(self) -> int:
        """Column of the model with the highest mean success, the cheaper one on ties."""
        cost = self.cost.mean(axis=0)
        return int(np.lexsort((cost, -self.success.mean(axis=0)))[0])

    def choice(self, weight: float) -> IntArray:
        """Shape (n,): column of the model that the policy chooses at a weight on cost."""
        return choose(self.probability, self.expected_cost, weight)

    def curve(self) -> Curve:
        """The policy swept over its weight on cost."""
        return cost_quality_curve(self.probability, self.expected_cost, self.success, self.cost)


def decision_value(backtest: Backtest, paid: float | None = None) -> FloatArray:
    """Value of the forecasts for the decision on each prompt, shape (n,); higher is better.

    It is the success of the chosen model less its cost, averaged over `STAKES`. It ranks forecasts as cost at
    equal quality does, but as a mean over prompts it is far less noisy, and has a standard error. Without
    costs it is the negative squared error of the forecasts.

    Args:
        paid: USD a call that a stake is a multiple of; None: that of the best single model.
    """
    paid = backtest.cost[:, backtest.best_single].mean() if paid is None else paid
    if not paid > 0:
        error = np.where(backtest.known, np.square(backtest.probability - backtest.success), 0.0)
        return np.asarray(-error.mean(axis=1))
    values = []
    for stake in STAKES:
        choice = backtest.choice(stake / paid)
        values.append(picked(backtest.success, choice) - stake / paid * picked(backtest.cost, choice))
    return np.asarray(np.mean(values, axis=0))


def cost_at_best(backtest: Backtest) -> float:
    """Least cost on the curve at the best single model's success rate, relative to its cost; NaN if never."""
    best = backtest.best_single
    curve, paid = backtest.curve(), backtest.cost[:, best].mean()
    reached = curve.cost[curve.success >= backtest.success[:, best].mean() - 1e-12]
    return float(reached.min() / paid) if len(reached) and paid > 0 else float("nan")


def choose_weight(backtest: Backtest, objective: Objective) -> float:
    """Choose the weight on cost, in 1/USD, that meets the objective at least cost or with most success.

    A success rate counts less `objective.caution` standard errors of its difference from the target. If the
    target is out of reach, choose the weight that comes closest: the one with the highest success rate or,
    for a budget, with the least cost. A pace alone has no target: it starts from the weight at which the
    best single model's success rate costs least.
    """
    curve = backtest.curve()
    if objective.usd_per_call is not None:
        within = curve.cost <= objective.usd_per_call
        index = int(np.argmax(np.where(within, curve.success, -1.0))) if within.any() else len(curve.cost) - 1
    else:
        best = backtest.success[:, backtest.best_single]
        aim = best if objective.quality is None else np.full(len(backtest), objective.quality)
        shown = curve.success
        if objective.caution:
            shown = shown - objective.caution * _standard_error(backtest, curve, aim)
        enough = shown >= aim.mean() - 1e-12
        cheapest, closest = np.argmin(np.where(enough, curve.cost, np.inf)), shown.argmax()
        index = int(cheapest if enough.any() else closest)
    return weight_inside(curve, index)


def _standard_error(backtest: Backtest, curve: Curve, aim: FloatArray) -> FloatArray:
    """Standard error of the mean difference in success from `aim`, shape (n,), at each point of the curve.

    An outcome that was filled in varies less than a real one, so that it is too small on a partial log.
    """
    square = np.square(backtest.success - aim[:, None])
    squares = cost_quality_curve(backtest.probability, backtest.expected_cost, square, backtest.cost)
    variance = squares.success - np.square(curve.success - aim.mean())
    return np.asarray(np.sqrt(np.maximum(variance, 0.0) / len(backtest)))


def guarantee_of(
    backtest: Backtest, objective: Objective, groups: IntArray, traffic: FloatArray
) -> GuaranteedWeight | None:
    """Find the weight that keeps the loss within the objective's bound; None if the objective has no bound.

    Args:
        groups: shape (n,); prompts of a session share a number.
        traffic: shape (n,); number of prompts that each row stands for.

    Raises:
        TrainingError: outcomes are unknown. If forecasts filled them in, the forecasts would test themselves.
    """
    most = objective.max_quality_loss
    if most is None:
        return None
    if backtest.filled > 0:
        raise TrainingError(
            f"objective.max_quality_loss: no loss can be guaranteed while {rate(backtest.filled)} of the "
            f"outcomes are unknown; log every model's outcome on {LEAST_FULL:,} prompts or more, or omit it"
        )
    trial = Trial(
        probability=backtest.probability,
        expected_cost=backtest.expected_cost,
        success=backtest.success,
        cost=backtest.cost,
        clusters=groups,
        traffic=traffic,
    )
    return guaranteed_weight(trial, max_loss=most, confidence=objective.confidence)


def refuse_unsafe(guarantee: GuaranteedWeight | None) -> None:
    """Raise if no weight keeps the objective's guarantee.

    Raises:
        TrainingError: even weight 0 can't be shown to be safe.
    """
    if guarantee is not None and guarantee.weight is None:
        raise TrainingError(
            f"objective.max_quality_loss: {guarantee.n:,} prompts can't show at a confidence of "
            f"{guarantee.confidence:g} that routing loses at most {guarantee.max_loss:g} of success against "
            f"the best single model, at any weight on cost (at weight 0: at most "
            f"{significant(guarantee.bound, 3)}); log more prompts with every model's outcome, "
            "or raise max_quality_loss"
        )


def weight_inside(curve: Curve, index: int) -> float:
    """A weight in the middle of the step that starts at `index`: at its edges rounding would tip choices."""
    weights = curve.weight
    start = float(weights[index])
    return (start + float(weights[index + 1])) / 2 if index + 1 < len(weights) else start * 1.01


def least_confidence(backtest: Backtest, weight: float, rule: IntArray, fallback: Fallback) -> float:
    """Choose the confidence below which the rule table decides.

    The settings fix it, or bound the failures of the prompts that the policy keeps (`max_risk`). Otherwise
    the policy hands over as many prompts as gains the most value.

    Args:
        rule: shape (n,); the rule table's column for each prompt.
    """
    if not isinstance(fallback.confidence, str):
        return fallback.confidence
    if fallback.max_risk is not None:
        return _threshold_within_risk(backtest, weight, fallback.max_risk)
    return _most_valuable_threshold(backtest, weight, rule)


def _threshold_within_risk(backtest: Backtest, weight: float, max_risk: float) -> float:
    """The lowest threshold at which at most `max_risk` of the prompts above it fail; 1 if none is so low."""
    choice = backtest.choice(weight)
    curve = risk_coverage(picked(backtest.probability, choice), picked(backtest.success, choice))
    allowed = np.flatnonzero(curve.risk <= max_risk)
    return float(curve.threshold[allowed[-1]]) if len(allowed) else 1.0


def _most_valuable_threshold(backtest: Backtest, weight: float, rule: IntArray) -> float:
    """The threshold whose handover to the rules gains the most value (success less weight times cost).

    The policy hands over only if the rules succeed more often on those prompts and the gain is above one
    standard error; else the threshold is 0.
    """
    choice = backtest.choice(weight)
    confidence = picked(backtest.probability, choice)
    # Among equal confidences the order is that of `success_by_confidence`, reversed.
    upwards = np.argsort(-confidence, kind="stable")[::-1]
    rising = confidence[upwards]
    better = (picked(backtest.success, rule) - picked(backtest.success, choice))[upwards]
    dearer = (picked(backtest.cost, rule) - picked(backtest.cost, choice))[upwards]
    gain = better - weight * dearer
    usable = np.append(rising[1:] != rising[:-1], True) & (np.cumsum(better) > 0)
    total = np.where(usable, np.cumsum(gain), -np.inf)
    most = int(np.argmax(total))
    error = float(np.sqrt(np.square(gain[: most + 1]).sum()))
    if total[most] <= error:
        return 0.0
    return float(rising[most + 1]) if most + 1 < len(rising) else 1.0


def success_by_confidence(backtest: Backtest, weight: float) -> FloatArray:
    """The policy's own success on each prompt, ordered by falling confidence, shape (n,)."""
    choice = backtest.choice(weight)
    order = np.argsort(-picked(backtest.probability, choice), kind="stable")
    return picked(backtest.success, choice)[order]


def least_familiarity(familiarity: FloatArray, unfamiliar_share: float) -> float:
    """The familiarity that all but `unfamiliar_share` of the training prompts reach."""
    return float(np.quantile(familiarity, unfamiliar_share)) if unfamiliar_share > 0 else -1.0
