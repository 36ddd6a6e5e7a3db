"""From prompts with outcomes to a fitted router: estimator, regularisation, calibration, thresholds."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from threadpoolctl import threadpool_limits

from router.deciding.policy import Policy, choose
from router.deciding.rules import rule_choice
from router.errors import TrainingError
from router.forecasting.features import Features, FeatureSpec
from router.forecasting.head import Head, Kind, Lengths, narrow_inputs
from router.models.prices import ModelPrice, PriceTable
from router.records import FloatArray, IntArray, Json
from router.settings.sections import Config
from training.learning.heads import (
    CrossFitted,
    Setting,
    TrainingSample,
    cross_fit,
    fit_head,
    fit_lengths,
    settings_of,
    stored_rows,
    structure_scaling,
)
from training.learning.thresholds import (
    Judged,
    choose_weight,
    cost_at_best,
    decision_value,
    least_confidence,
    least_familiarity,
    promised_weight,
    refuse_unsafe,
)
from training.prompts.split import Split
from training.prompts.table import PromptTable
from training.statistics.policy_curves import brier, expected_calibration_error, picked
from training.statistics.promise import PromisedWeight

logger = logging.getLogger(__name__)
CROSS_FITTED = (
    "the published head, fitted on all calibration prompts, routes no worse than the cross-fitted heads that "
    "the weight was chosen on, each fitted on four fifths of them"
)
FULLY_KNOWN = "prompts on which every model's outcome was logged are like the others"
Advance = Callable[[float], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """All that fitting needs; rows are prompts.

    Attributes:
        table: outcomes of the models that take part.
        label: shape (n_prompts,); column of the cheapest model that succeeded, -1 without one.
        prices: today's, per model.
        logged: per model the price that its calls show, as the manifest holds it.
    """

    table: PromptTable
    spec: FeatureSpec
    features: Features
    label: IntArray
    prices: Mapping[str, ModelPrice]
    logged: Mapping[str, Json]
    config: Config

    def sample(self, rows: IntArray) -> TrainingSample:
        """What heads are fitted on, for some of the prompts."""
        outcome = self.table.success[rows]
        return TrainingSample(
            features=self.features.rows(rows),
            outcome=outcome,
            weight=np.where(np.isfinite(outcome), self.table.weight[rows], 0.0),
            output_tokens=self.table.output_tokens[rows],
            input_tokens=self.table.input_tokens[rows],
            label=self.label[rows],
            groups=self.table.groups[rows],
        )

    def judged(self, rows: IntArray, probability: FloatArray, expected_cost: FloatArray) -> Judged:
        """Forecasts for some of the prompts, beside what happened."""
        success = self.table.success[rows]
        drawn = self.table.drawn[rows][np.isfinite(success).all(axis=1)]
        return Judged.of(
            probability,
            expected_cost,
            success,
            self.table.cost[rows],
            fair=len(np.unique(drawn)) <= 1,  # a replay draws by the value, and so the hard ones
            promised=self.config.objective.max_quality_loss is not None,
        )

    def price_table(self) -> PriceTable:
        """Today's prices in the order of the table's models."""
        return PriceTable.of([self.prices[model] for model in self.table.models])


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One estimator at its best regularisation.

    Attributes:
        searched: decision value (higher is better) per regularisation that was tried.
        validation: metrics on the validation part, which it was not fitted on.
        values: shape (n_validation,); its decision value on each prompt of that part.
    """

    setting: Setting
    searched: Mapping[float, float]
    validation: Mapping[str, float]
    values: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerUp:
    """The estimator that was not published, as a router of its own: a comparison shows what it would do."""

    head: Head
    policy: Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A router's fitted parts, and how they were chosen.

    Attributes:
        candidates: both estimators, or the one that was forced.
        calibration: metrics of the published head on cross-fitted forecasts.
        test: metrics on the untouched test part; empty without one.
        judged: the cross-fitted forecasts that the thresholds were chosen on.
        kept: shape (n,); the policy's success on each of those prompts, by falling confidence.
        promise: what is promised of the policy's success; None where the objective asks for nothing.
        points: shape (n_points,); row in the material of each point of the head's neighbour store.
        runner_up: the estimator that was not published, fitted on the same prompts, if any.
    """

    head: Head
    policy: Policy
    published: Kind
    candidates: Mapping[Kind, Candidate]
    calibration: Mapping[str, float]
    test: Mapping[str, float]
    judged: Judged
    kept: FloatArray
    promise: PromisedWeight | None
    points: IntArray
    runner_up: RunnerUp | None = None


def fit(material: Material, split: Split, advance: Advance = lambda done: None) -> Fitted:
    """Fit both estimators on the training part, choose on validation, and fit the two on both parts.

    The regularisation is chosen by cross-validation inside the training part, on the decision's value.
    Calibration and thresholds rest on cross-fitted forecasts, so every prompt serves, and none judges itself.
    The test part is used once, for the report.

    Args:
        advance: called with 1 after each of the `steps` of the work.

    Raises:
        TrainingError: nothing to learn from, or the objective's promise can't be kept.
    """
    with threadpool_limits(1):  # folds run beside each other: threads of BLAS on top of them only wait
        return _fit(material, split, advance)


def _fit(material: Material, split: Split, advance: Advance) -> Fitted:
    forced = material.config.training.estimator
    kinds: Sequence[Kind] = ("success", "label") if forced == "auto" else (forced,)
    part = _Part.of(material, split.train)
    candidates = {kind: _candidate(material, part, split.validation, kind, advance) for kind in kinds}
    published = _better(candidates)
    order = [published, *(kind for kind in kinds if kind != published)]
    settings = [candidates[kind].setting for kind in order]
    part = _Part.of(material, np.sort(np.concatenate([split.train, split.validation])))
    tried = cross_fit(part.sample, settings, material.config.training.seed)
    advance(1)
    head, judged, policy, kept, promise = _final(material, part, settings[0], tried[0])
    refuse_unsafe(promise)
    advance(1)
    lost = [_final(material, part, *pair) for pair in zip(settings[1:], tried[1:], strict=True)]
    advance(len(lost))
    return Fitted(
        head=head,
        policy=policy,
        published=published,
        candidates=candidates,
        calibration=metrics(judged, policy.weight),
        test=metrics(_held_out(material, head, split.test), policy.weight) if len(split.test) else {},
        judged=judged,
        kept=kept,
        promise=promise,
        points=part.rows[stored_rows(part.sample.outcome)],
        runner_up=RunnerUp(head=lost[0][0], policy=lost[0][2]) if lost else None,
    )


def steps(config: Config) -> int:
    """How often `fit` advances."""
    return 1 + 3 * (2 if config.training.estimator == "auto" else 1)


def metrics(judged: Judged, weight: float) -> dict[str, float]:
    """Figures on forecasts that the heads had not seen; costs in USD a call."""
    choice = choose(judged.probability, judged.expected_cost, weight)
    best = judged.best_single
    probability, outcome = judged.probability[judged.known], judged.success[judged.known]
    return {
        "prompts": float(len(judged)),
        "success": float(picked(judged.success, choice).mean()),
        "cost_usd": float(picked(judged.cost, choice).mean()),
        "best_single_success": float(judged.success[:, best].mean()),
        "best_single_cost_usd": float(judged.cost[:, best].mean()),
        "cost_at_best": cost_at_best(judged),
        "decision_value": float(decision_value(judged).mean()),
        "brier": brier(probability, outcome),
        "calibration_error": expected_calibration_error(probability, outcome),
        "filled_in": judged.filled,
    }


def _candidate(
    material: Material, part: _Part, validation: IntArray, kind: Kind, advance: Advance
) -> Candidate:
    """One estimator: the best of its regularisations by cross-validation, judged on the validation part."""
    settings = settings_of(kind)
    tried = cross_fit(part.sample, settings, material.config.training.seed)
    values = [decision_value(part.judged(material, fitted)) for fitted in tried]
    best = strongest_within_error(values)
    advance(1)
    head = fit_head(part.sample, settings[best], tried[best], part.lengths)
    judged = _held_out(material, head, validation)
    advance(1)
    weight = choose_weight(judged, material.config.objective)
    return Candidate(
        setting=settings[best],
        searched={
            setting.value: float(value.mean()) for setting, value in zip(settings, values, strict=True)
        },
        validation=metrics(judged, weight),
        values=decision_value(judged),
    )


def strongest_within_error(values: Sequence[FloatArray]) -> int:
    """The last of the settings, ordered from weak to strong, that is no worse than the best one by chance.

    The one-standard-error rule (Breiman et al. 1984, section 3.4.3), on paired differences: models differ by
    little, so a weaker penalty has to show that it is worth its noise.

    Args:
        values: decision value on each prompt, shape (n,), per setting.
    """
    best = max(range(len(values)), key=lambda i: float(values[i].mean()))
    within = [best]
    for index in range(best + 1, len(values)):
        behind = values[best] - values[index]
        if behind.mean() <= behind.std() / np.sqrt(len(behind)):
            within.append(index)
    return within[-1]


def _better(candidates: Mapping[Kind, Candidate]) -> Kind:
    """The estimator of higher decision value on validation; within a standard error, of lower Brier score."""
    if len(candidates) == 1:
        return next(iter(candidates))
    success, label = candidates["success"], candidates["label"]
    ahead = success.values - label.values
    error = float(ahead.std() / np.sqrt(len(ahead)))
    if abs(ahead.mean()) > error:
        return "success" if ahead.mean() > 0 else "label"
    return "success" if success.validation["brier"] <= label.validation["brier"] else "label"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """Prompts to fit on.

    Attributes:
        cost: shape (n, n_models); expected USD. Token counts are regularised predictions from many prompts,
            so that using the prompts' own here moves nothing.
    """

    rows: IntArray
    sample: TrainingSample
    lengths: Lengths
    cost: FloatArray

    @staticmethod
    def of(material: Material, rows: IntArray) -> _Part:
        sample = material.sample(rows)
        if not np.isfinite(sample.outcome).any():
            raise TrainingError("no call of the training part has a known outcome: nothing to learn from")
        lengths = fit_lengths(sample)
        narrow = narrow_inputs(sample.features, structure_scaling(sample.features))
        cost = material.price_table().expected_cost(*lengths.expected(sample.features, narrow))
        return _Part(rows=rows, sample=sample, lengths=lengths, cost=cost)

    def judged(self, material: Material, fitted: CrossFitted) -> Judged:
        """Cross-fitted forecasts beside what happened."""
        seed = material.config.training.seed
        probability = fitted.probability(self.sample.outcome, self.sample.weight, self.sample.groups, seed)
        return material.judged(self.rows, probability, self.cost)


def _final(
    material: Material, part: _Part, setting: Setting, fitted: CrossFitted
) -> tuple[Head, Judged, Policy, FloatArray, PromisedWeight | None]:
    """One estimator on a whole part: head, cross-fitted forecasts, what `_policy` makes of them, promise."""
    judged = part.judged(material, fitted)
    promise = _promise(material, part.rows, judged)
    safe = promise.weight if promise else None
    weight = choose_weight(judged, material.config.objective) if safe is None else safe
    policy, kept = _policy(material, part.rows, fitted, judged, weight if judged.cost.any() else 0.0)
    return fit_head(part.sample, setting, fitted, part.lengths), judged, policy, kept, promise


def _held_out(material: Material, head: Head, rows: IntArray) -> Judged:
    """The head's forecasts on prompts that it was not fitted on."""
    outlook = head.predict(material.features.rows(rows))
    cost = material.price_table().expected_cost(outlook.input_tokens, outlook.output_tokens)
    return material.judged(rows, outlook.probability, cost)


def _promise(material: Material, rows: IntArray, judged: Judged) -> PromisedWeight | None:
    """What the objective promises, on cross-fitted forecasts, with what that assumes beside the test."""
    on = rows[judged.rows]
    table = material.table
    found = promised_weight(judged, material.config.objective, table.groups[on], 1.0 / table.drawn[on])
    if found is None:
        return None
    assumptions = (CROSS_FITTED,) if len(judged) == len(rows) else (CROSS_FITTED, FULLY_KNOWN)
    return replace(found, assumptions=(*found.assumptions, *assumptions))


def _policy(
    material: Material, rows: IntArray, fitted: CrossFitted, judged: Judged, weight: float
) -> tuple[Policy, FloatArray]:
    """The other thresholds beside the weight, chosen on cross-fitted forecasts."""
    config, models = material.config, material.table.models
    best = models[judged.best_single]
    requests = [material.table.requests[row] for row in rows[judged.rows]]
    ruled = (rule_choice(request, config.rules, best, models) for request in requests)
    rule = np.array([models.index(found[0] if found else best) for found in ruled], dtype=np.int64)
    confidence, kept = least_confidence(judged, weight, rule, config.fallback)
    policy = Policy(
        weight=weight,
        least_confidence=confidence,
        least_familiarity=least_familiarity(fitted.familiarity, config.fallback.unfamiliar_share),
        best_single=best,
    )
    return policy, kept
