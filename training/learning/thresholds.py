"""The policy's numbers, chosen on forecasts for prompts that the forecasting heads had not seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from router.deciding.policy import assumed_cost, choose
from router.errors import TrainingError
from router.records import BoolArray, FloatArray, IntArray
from router.settings.sections import Fallback, Objective
from training.statistics.policy_curves import Curve, cost_quality_curve, picked, risk_coverage
from training.statistics.promise import PromisedWeight, Trial, promised

STAKES = np.geomspace(0.01, 0.3, 8)
"""Success that one call of the best single model is worth: where cost and quality are in the balance."""
LEAST_FULL = 200
"""With fewer prompts on which every model's outcome is known, nothing is judged on them alone."""
MANY_FULL = 2000
"""With so many, the other prompts are not needed, however many there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Forecasts beside what happened; shape (n, n_models) each, and no NaN.

    Attributes:
        rows: shape (n,); places of the prompts among those handed in.
        probability: calibrated chance of success, from heads that had not seen the prompt.
        expected_cost: USD.
        success: outcome in [0, 1].
        cost: USD that was paid.
        known: where the outcome was logged; elsewhere `success` holds the probability instead (the direct
            method of off-policy evaluation, Dudik, Langford & Li 2011, section 2.1).
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
        promised: bool = False,
    ) -> Judged:
        """Judge on the prompts where every outcome is known if they are enough, else fill in the others.

        They are enough from `LEAST_FULL` on, where they are half of all prompts or `MANY_FULL`. Fewer are
        a noisier judge than all prompts with forecasts in the gaps (`benchmarks.partial_log`).

        Args:
            fair: whether those prompts are like the others; else they are never enough by themselves.
            promised: a promise rests on them alone: `LEAST_FULL` of them are enough.
        """
        known = np.isfinite(success)
        full, some = known.all(axis=1), known.any(axis=1)
        count = int(full.sum())
        enough = promised or (fair and (2 * count >= some.sum() or count >= MANY_FULL))
        rows = full if count >= LEAST_FULL and enough else some
        expected = assumed_cost(expected_cost[rows])
        return Judged(
            rows=np.flatnonzero(rows),
            probability=probability[rows],
            expected_cost=expected,
            success=np.where(known[rows], success[rows], probability[rows]),
            cost=np.where(np.isfinite(cost[rows]), cost[rows], expected),
            known=known[rows],
        )

    def __len__(self) -> int:
        return len(self.success)

    @property
    def filled(self) -> float:
        """Share of the outcomes that were not logged."""
        return float(1.0 - self.known.mean())

    @property
    def best_single(self) -> int:
        """Column of the model with the highest mean success, the cheaper one on ties."""
        cost = self.cost.mean(axis=0)
        return int(np.lexsort((cost, -self.success.mean(axis=0)))[0])

    def curve(self) -> Curve:
        """The policy swept over its weight on cost."""
        return cost_quality_curve(self.probability, self.expected_cost, self.success, self.cost)


def decision_value(judged: Judged) -> FloatArray:
    """What the forecasts are worth to the decision on each prompt, shape (n,); higher is better.

    Success less the cost of the model chosen, one best single model's cost being worth `STAKES` of success,
    averaged over the stakes. It ranks forecasts as cost at equal quality does, but as a mean over prompts it
    is far less noisy, and has a standard error. Without costs: the negative squared error of the forecasts.
    """
    paid = judged.cost[:, judged.best_single].mean()
    if not paid > 0:
        error = np.where(judged.known, np.square(judged.probability - judged.success), 0.0)
        return np.asarray(-error.mean(axis=1))
    values = []
    for stake in STAKES:
        choice = choose(judged.probability, judged.expected_cost, stake / paid)
        values.append(picked(judged.success, choice) - stake / paid * picked(judged.cost, choice))
    return np.asarray(np.mean(values, axis=0))


def cost_at_best(judged: Judged) -> float:
    """Least cost on the curve at the best single model's success rate, relative to its cost; NaN if never."""
    best = judged.best_single
    curve, paid = judged.curve(), judged.cost[:, best].mean()
    reached = curve.cost[curve.success >= judged.success[:, best].mean() - 1e-12]
    return float(reached.min() / paid) if len(reached) and paid > 0 else float("nan")


def choose_weight(judged: Judged, objective: Objective) -> float:
    """Weight on cost, in 1/USD, that meets the objective at the least cost or with the most success.

    Where a target is out of reach, the weight with the highest success rate (or, for a budget, the least
    cost) comes closest to it.
    """
    curve = judged.curve()
    if objective.kind == "budget":
        within = curve.cost <= float(objective.usd_per_call or 0.0)
        index = int(np.argmax(np.where(within, curve.success, -1.0))) if within.any() else len(curve.cost) - 1
    else:
        best = judged.success[:, judged.best_single].mean()
        target = best if objective.quality is None else objective.quality
        enough = curve.success >= target - 1e-12
        index = (
            int(np.argmin(np.where(enough, curve.cost, np.inf)))
            if enough.any()
            else int(curve.success.argmax())
        )
    return weight_inside(curve, index)


def promised_weight(
    judged: Judged, objective: Objective, groups: IntArray, traffic: FloatArray
) -> PromisedWeight | None:
    """The weight that keeps the objective's promise, and what is known of it; None where none is asked for.

    Args:
        groups: shape (n,); prompts of a session share a number.
        traffic: shape (n,); prompts that each one stands for.

    Raises:
        TrainingError: outcomes are unknown. Filled in with the forecasts, they would vouch for themselves.
    """
    most = objective.max_quality_loss
    if most is None:
        return None
    if judged.filled > 0:
        raise TrainingError(
            f"objective.max_quality_loss: nothing can be promised where {judged.filled:.0%} of the outcomes "
            f"are unknown; log every model's outcome on {LEAST_FULL} prompts or more, or leave it out"
        )
    trial = Trial(
        probability=judged.probability,
        expected_cost=judged.expected_cost,
        success=judged.success,
        cost=judged.cost,
        clusters=groups,
        traffic=traffic,
    )
    return promised(trial, max_loss=most, confidence=objective.confidence)


def refuse_unsafe(promise: PromisedWeight | None) -> None:
    """No router where what the objective promises can't be shown at any weight.

    Raises:
        TrainingError: it can't.
    """
    if promise is not None and promise.weight is None:
        raise TrainingError(
            f"objective.max_quality_loss: {promise.n} prompts can't show at a confidence of "
            f"{promise.confidence:g} that routing loses at most {promise.max_loss:g} of success against the "
            f"best single model, whatever the weight on cost (at weight 0: at most {promise.bound:.3g}); "
            "log more prompts with every model's outcome, or promise less"
        )


def weight_inside(curve: Curve, index: int) -> float:
    """A weight within the step that starts at `index`, away from its edges, where rounding tips choices."""
    weights = curve.weight
    start = float(weights[index])
    return (start + float(weights[index + 1])) / 2 if index + 1 < len(weights) else start * 1.01


def least_confidence(
    judged: Judged, weight: float, rule: IntArray, fallback: Fallback
) -> tuple[float, FloatArray]:
    """The confidence below which the rule table decides, from the risk-coverage curve.

    With `max_risk`, the lowest threshold at which the prompts that the policy keeps fail no more often than
    that. Otherwise the threshold that gains the most value (success less weight times cost) by handing over
    the less confident prompts, where the rules succeed more often on them and the gain is more than one
    standard error; else 0: a policy that does better than the rules everywhere never steps aside.

    Args:
        rule: shape (n,); the rule table's column for each prompt.

    Returns:
        The threshold, and the policy's own success on each prompt ordered by falling confidence, shape (n,).
    """
    choice = choose(judged.probability, judged.expected_cost, weight)
    confidence = picked(judged.probability, choice)
    order = np.argsort(-confidence, kind="stable")
    kept = picked(judged.success, choice)[order]
    if not isinstance(fallback.confidence, str):
        return fallback.confidence, kept
    if fallback.max_risk is not None:
        curve = risk_coverage(confidence, picked(judged.success, choice))
        allowed = np.flatnonzero(curve.risk <= fallback.max_risk)
        return (float(curve.threshold[allowed[-1]]) if len(allowed) else 1.0), kept
    rising, upwards = confidence[order][::-1], order[::-1]
    better = picked(judged.success, rule)[upwards] - picked(judged.success, choice)[upwards]
    dearer = picked(judged.cost, rule)[upwards] - picked(judged.cost, choice)[upwards]
    gain = better - weight * dearer
    usable = np.append(rising[1:] != rising[:-1], True) & (np.cumsum(better) > 0)
    total = np.where(usable, np.cumsum(gain), -np.inf)
    most = int(np.argmax(total))
    error = float(np.sqrt(np.square(gain[: most + 1]).sum()))
    if total[most] <= error:
        return 0.0, kept
    return (float(rising[most + 1]) if most + 1 < len(rising) else 1.0), kept


def least_familiarity(familiarity: FloatArray, unfamiliar_share: float) -> float:
    """The similarity to the nearest prompts that all but `unfamiliar_share` of the training prompts have."""
    return float(np.quantile(familiarity, unfamiliar_share)) if unfamiliar_share > 0 else -1.0
