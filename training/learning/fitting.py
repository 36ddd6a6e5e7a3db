"""From prompts with outcomes to a fitted router: estimator, regularisation, calibration, thresholds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

from router.deciding.policy import Policy
from router.deciding.rules import rule_choice
from router.errors import TrainingError
from router.forecasting.head import Head, Kind, Lengths, narrow_inputs
from router.numbers import decimal
from router.records import FloatArray, IntArray
from router.settings.sections import Config
from training.learning.heads import (
    CrossFitted,
    Setting,
    TrainingSample,
    cross_fit,
    fit_heads,
    fit_lengths,
    settings_of,
    stored_rows,
    structure_scaling,
)
from training.learning.material import Material
from training.learning.thresholds import (
    Backtest,
    choose_weight,
    cost_at_best,
    decision_value,
    guarantee_of,
    least_confidence,
    least_familiarity,
    refuse_unsafe,
    success_by_confidence,
)
from training.progress import Advance
from training.prompts.split import Split
from training.statistics.blocks import blocks, evenly
from training.statistics.policy_curves import brier, expected_calibration_error, picked
from training.statistics.quality_guarantee import GuaranteedWeight

if TYPE_CHECKING:
    from training.learning.cascade import LearnedCascade

CROSS_FITTED = (
    "the published head, fitted on all calibration prompts, routes no worse than the cross-fitted heads that "
    "the weight was chosen on, each fitted on four fifths of them"
)
FULLY_KNOWN = "prompts on which every model's outcome was logged are like the others"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One estimator at its best regularisation.

    Attributes:
        searched: decision value (higher is better) of each regularisation.
        validation: metrics on the validation part, which it was not fitted on.
        values: shape (n_validation,); its decision value on each prompt of that part.
    """

    setting: Setting
    searched: Mapping[float, float]
    validation: Mapping[str, float]
    values: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A router's fitted parts, and how they were chosen.

    Attributes:
        why: the reason why the published estimator is that one, as a clause.
        candidates: both estimators, or the one that the settings force.
        calibration: metrics of the published head on cross-fitted forecasts.
        test: metrics on the untouched test part; empty without one.
        backtest: the cross-fitted forecasts that the thresholds were chosen on.
        rows: shape (n,); row in the material of each prompt of the backtest.
        kept: shape (n,); the policy's success on each of those prompts, by falling confidence.
        guarantee: bound on the policy's loss of success, or None if the objective requires none.
        points: shape (n_points,); row in the material of each point of the head's neighbour store.
        runner_up: the estimator that was not published, fitted on the same prompts, if any.
        cascade: the task types for which a second model pays; None: nobody asked.
    """

    head: Head
    policy: Policy
    published: Kind
    why: str
    candidates: Mapping[Kind, Candidate]
    calibration: Mapping[str, float]
    test: Mapping[str, float]
    backtest: Backtest
    rows: IntArray
    kept: FloatArray
    guarantee: GuaranteedWeight | None
    points: IntArray
    runner_up: FinalFit | None = None
    cascade: LearnedCascade | None = None


def fit(material: Material, split: Split, advance: Advance = lambda done: None) -> Fitted:
    """Fit both estimators on the training part, choose on validation, and fit both again on the two parts.

    Cross-validation inside the training part chooses the regularisation, by the value of the decisions.
    Calibration and thresholds rest on cross-fitted forecasts: every prompt serves, and no forecast has seen
    its prompt. The test part is used once, for the report.

    The heads are fitted on every prompt, whose memory does not grow with them; the choices rest on at most
    `AT_ONCE` prompts.

    Args:
        advance: called with 1 after each of the `steps` of the work.

    Raises:
        TrainingError: there is nothing to learn from, or the objective's guarantee can't be kept.
    """
    with threadpool_limits(1):  # the folds already run in parallel: BLAS threads on top only wait
        return _fit(material, split, advance)


def _fit(material: Material, split: Split, advance: Advance) -> Fitted:
    forced = material.config.training.estimator
    kinds: Sequence[Kind] = ("success", "label") if forced == "auto" else (forced,)
    part = _Part.of(material, split.train[evenly(len(split.train))])
    candidates = _candidates(material, part, split.validation, kinds, advance)
    published, why = _better(candidates)
    settings = [candidates[kind].setting for kind in sorted(kinds, key=lambda kind: kind != published)]
    part = _Part.of(material, np.sort(np.concatenate([split.train, split.validation])))
    cross_fitted = cross_fit(part.sample, settings, material.config.training.seed)
    advance(1)
    heads = fit_heads(part.sample, settings, cross_fitted, part.lengths)
    advance(1)
    fits = (FinalFit.of(material, part, *one) for one in zip(heads, cross_fitted, strict=True))
    final = next(fits)
    refuse_unsafe(final.guarantee)
    advance(1)
    runner_up = next(fits, None)
    advance(len(settings) - 1)
    test = _held_out(material, final.head, split.test) if len(split.test) else None
    return Fitted(
        head=final.head,
        policy=final.policy,
        published=published,
        why=why,
        candidates=candidates,
        calibration=metrics(final.backtest, final.policy.weight),
        test={} if test is None else metrics(test, final.policy.weight),
        backtest=final.backtest,
        rows=final.rows,
        kept=success_by_confidence(final.backtest, final.policy.weight),
        guarantee=final.guarantee,
        points=part.rows[stored_rows(part.sample.outcome)],
        runner_up=runner_up,
    )


def steps(config: Config) -> int:
    """Number of times that `fit` advances."""
    return 4 + 2 * (2 if config.training.estimator == "auto" else 1)


def metrics(backtest: Backtest, weight: float) -> dict[str, float]:
    """Figures of the policy on forecasts for unseen prompts; costs in USD a call."""
    choice = backtest.choice(weight)
    best = backtest.best_single
    probability, outcome = backtest.probability[backtest.known], backtest.success[backtest.known]
    return {
        "prompts": float(len(backtest)),
        "success": float(picked(backtest.success, choice).mean()),
        "cost_usd": float(picked(backtest.cost, choice).mean()),
        "best_single_success": float(backtest.success[:, best].mean()),
        "best_single_cost_usd": float(backtest.cost[:, best].mean()),
        "cost_at_best": cost_at_best(backtest),
        "decision_value": float(decision_value(backtest).mean()),
        "brier": brier(probability, outcome),
        "calibration_error": expected_calibration_error(probability, outcome),
        "filled_in": backtest.filled,
    }


def _candidates(
    material: Material, part: _Part, validation: IntArray, kinds: Sequence[Kind], advance: Advance
) -> dict[Kind, Candidate]:
    """Choose each estimator's regularisation by cross-validation, and measure it on the validation part."""
    settings = [setting for kind in kinds for setting in settings_of(kind)]
    cross_fitted = cross_fit(part.sample, settings, material.config.training.seed)
    advance(1)
    searched, best = {}, []
    for kind in kinds:
        own = [number for number, setting in enumerate(settings) if setting.kind == kind]
        values = [decision_value(part.backtest(material, cross_fitted[number])) for number in own]
        best.append(own[strongest_within_error(values)])
        searched[kind] = {
            settings[number].value: float(value.mean()) for number, value in zip(own, values, strict=True)
        }
        advance(1)
    chosen = [settings[number] for number in best]
    heads = fit_heads(part.sample, chosen, [cross_fitted[number] for number in best], part.lengths)
    backtests = [_held_out(material, head, validation) for head in heads]
    advance(1)
    return {
        setting.kind: Candidate(
            setting=setting,
            searched=searched[setting.kind],
            validation=metrics(backtest, choose_weight(backtest, material.config.objective)),
            values=decision_value(backtest),
        )
        for setting, backtest in zip(chosen, backtests, strict=True)
    }


def strongest_within_error(values: Sequence[FloatArray]) -> int:
    """Index of the strongest setting that is at most one standard error worse than the best.

    The one-standard-error rule (Breiman et al. 1984, section 3.4.3), on paired differences: models differ
    little, so a weaker penalty must show that it is worth its noise.

    Args:
        values: decision value on each prompt, shape (n,), per setting, from weak to strong.
    """
    best = max(range(len(values)), key=lambda i: float(values[i].mean()))
    within = [best]
    for index in range(best + 1, len(values)):
        behind = values[best] - values[index]
        if behind.mean() <= behind.std() / np.sqrt(len(behind)):
            within.append(index)
    return within[-1]


def _better(candidates: Mapping[Kind, Candidate]) -> tuple[Kind, str]:
    """The estimator of higher decision value on validation, in one error of lower Brier score, and why."""
    if len(candidates) == 1:
        return next(iter(candidates)), "the settings name it"
    success, label = candidates["success"], candidates["label"]
    ahead = success.values - label.values
    error = float(ahead.std() / np.sqrt(len(ahead)))
    better: Kind
    if abs(ahead.mean()) > error:
        better = "success" if ahead.mean() > 0 else "label"
        shown = f"{decimal(abs(ahead.mean()), 4)}, standard error {decimal(error, 4)}"
        return better, f"its decisions are worth more on the validation part (by {shown})"
    better = "success" if success.validation["brier"] <= label.validation["brier"] else "label"
    return better, (
        "both estimators' decisions are worth the same on the validation part within one standard error "
        f"({decimal(error, 4)}), and its forecasts are at least as accurate (Brier score)"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """Prompts to fit on.

    Attributes:
        cost: shape (n, n_models); expected USD. The token counts behind it are regularised predictions from
            many prompts, so that a prompt's own counts hardly move its forecast.
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
        lengths = fit_lengths(sample, material.config.rules.answer_tokens)
        scaling, prices = structure_scaling(sample.features), material.price_table()
        parts = (sample.features.rows(some) for some in blocks(len(sample)))
        cost = [
            prices.expected_cost(
                *lengths.expected(one, narrow_inputs(one, scaling)),
                later=one.later if prices.knows_cache else None,
            )
            for one in parts
        ]
        return _Part(rows=rows, sample=sample, lengths=lengths, cost=np.concatenate(cost))

    def backtest(self, material: Material, cross_fitted: CrossFitted) -> Backtest:
        """Set the cross-fitted forecasts beside the outcomes."""
        seed = material.config.training.seed
        sample = self.sample
        probability = cross_fitted.probability(sample.outcome, sample.weight, sample.groups, seed)
        return material.backtest(self.rows[cross_fitted.rows], probability, self.cost[cross_fitted.rows])


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalFit:
    """One estimator fitted on a whole part, with its policy and the forecasts that chose it.

    Attributes:
        rows: shape (n,); row in the material of each prompt of the backtest.
    """

    head: Head
    backtest: Backtest
    rows: IntArray
    policy: Policy
    guarantee: GuaranteedWeight | None

    @staticmethod
    def of(material: Material, part: _Part, head: Head, cross_fitted: CrossFitted) -> FinalFit:
        """Choose the head's weight and thresholds on the cross-fitted forecasts."""
        backtest, rows = part.backtest(material, cross_fitted), part.rows[cross_fitted.rows]
        guarantee = _guarantee(material, rows, backtest)
        weight = guarantee.weight if guarantee else None
        if weight is None:
            weight = choose_weight(backtest, material.config.objective)
        if not backtest.cost.any():
            weight = 0.0
        return FinalFit(
            head=head,
            backtest=backtest,
            rows=rows[backtest.rows],
            policy=_policy(material, rows, cross_fitted, backtest, weight),
            guarantee=guarantee,
        )


def _held_out(material: Material, head: Head, rows: IntArray) -> Backtest:
    """Set the head's forecasts beside the outcomes of prompts that it was not fitted on."""
    features = material.features.rows(rows)
    outlook = head.predict(features)
    prices = material.price_table()
    later = features.later if prices.knows_cache else None
    cost = prices.expected_cost(outlook.input_tokens, outlook.output_tokens, later=later)
    return material.backtest(rows, outlook.probability, cost)


def _guarantee(material: Material, rows: IntArray, backtest: Backtest) -> GuaranteedWeight | None:
    """The guarantee that the objective requires, on cross-fitted forecasts, with all of its assumptions."""
    on = rows[backtest.rows]
    table = material.table
    guarantee = guarantee_of(backtest, material.config.objective, table.groups[on], 1.0 / table.drawn[on])
    if guarantee is None:
        return None
    assumptions = (CROSS_FITTED,) if len(backtest) == len(rows) else (CROSS_FITTED, FULLY_KNOWN)
    return replace(guarantee, assumptions=(*guarantee.assumptions, *assumptions))


def _policy(
    material: Material, rows: IntArray, cross_fitted: CrossFitted, backtest: Backtest, weight: float
) -> Policy:
    """Choose the thresholds that go with a weight, on cross-fitted forecasts."""
    config, models = material.config, material.table.models
    best = models[backtest.best_single]
    requests = [material.table.requests[row] for row in rows[backtest.rows]]
    matches = (rule_choice(request, config.rules, best, models) for request in requests)
    rule = np.array([models.index(match[0] if match else best) for match in matches], dtype=np.int64)
    return Policy(
        weight=weight,
        least_confidence=least_confidence(backtest, weight, rule, config.fallback),
        least_familiarity=least_familiarity(cross_fitted.familiarity, config.fallback.unfamiliar_share),
        best_single=best,
    )
