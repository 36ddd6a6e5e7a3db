"""The policies compared: the outcome of each on every prompt."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from router.records import FloatArray, IntArray
from training.comparing.estimating.logged import chosen_shares
from training.comparing.estimating.off_policy import log_values, policy_scores
from training.comparing.estimating.support import refusal
from training.comparing.evaluated import Contender, Evaluated, Kind
from training.comparing.policies.baselines import BEST_SINGLE, ORACLE, SHUFFLE, TASK_TYPE
from training.statistics.intervals import path_columns
from training.statistics.policy_curves import (
    PolicyPath,
    best_column,
    cost_matched_shuffle,
    curve_of_path,
    model_shares,
    picked,
    policy_path,
    weight_grid,
)

ROUTER = "router"
LEARNED = "learned policy"
LOGGED = "logged policy"


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedPolicy:
    """What one policy gets on every prompt; NaN where it can't choose.

    Attributes:
        choice: shape (n,), -1 where it can't choose; None if it mixes models.
        mix: shape (n, m); chance of each model, 0 where it can't choose; None if it does not mix models.
        success: shape (n,); outcome, or the policy's score.
        cost: shape (n,); USD a call, as `success`.
        shares: shape (m,); part of the traffic that each model gets.
    """

    name: str
    kind: Kind
    choice: IntArray | None
    mix: FloatArray | None
    success: FloatArray
    cost: FloatArray
    shares: FloatArray

    def chances(self) -> FloatArray:
        """Shape (n, m): chance of each model on each prompt; a row of 0 where it can't choose."""
        if self.choice is not None:
            return chosen_shares(self.choice, len(self.shares))
        return np.asarray(self.mix)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """A policy at each of its weights.

    Attributes:
        weights: shape (n_weights,), 1 / USD, rising.
        path: its choices, among `columns`.
        columns: shape (any,); columns of the models that it knows.
    """

    weights: FloatArray
    path: PolicyPath
    columns: IntArray

    def outcomes(self, evaluated: Evaluated) -> tuple[FloatArray, FloatArray]:
        """Success and cost of every prompt at every weight, both of shape (n, n_weights)."""
        known = self.columns
        return path_columns(self.path, self.weights, evaluated.success[:, known], evaluated.cost[:, known])


def best_single_column(evaluated: Evaluated) -> int:
    """Column of the training log's best model, or of the best one here if the baselines do not name it."""
    named = evaluated.baselines.choices.get(BEST_SINGLE)
    if named is not None and named[0] >= 0:
        return int(named[0])
    mean_cost = np.nan_to_num(evaluated.mean(evaluated.cost), nan=0.0)
    return int(best_column(evaluated.mean(evaluated.success)[None], mean_cost[None])[0])


def policies_on(evaluated: Evaluated) -> list[ComparedPolicy]:
    """The router first, then the others, the baselines, the shuffle, the oracle, and each model alone."""
    named = {
        name: Contender(name=name, kind="bound" if name == ORACLE else "baseline", choice=choice)
        for name, choice in evaluated.baselines.choices.items()
        if (choice >= 0).any()
    }
    bounds = [named.pop(ORACLE)] if ORACLE in named else []
    n = len(evaluated.keys)
    singles = [
        Contender(name=f"always {model}", kind="single model", choice=np.full(n, column))
        for column, model in enumerate(evaluated.models)
    ]
    router = _outcomes(Contender(name=ROUTER, kind="router", choice=evaluated.choice), evaluated)
    before = [_outcomes(one, evaluated) for one in [*evaluated.others, *named.values()]]
    after = [_outcomes(one, evaluated) for one in [*bounds, *singles]]
    return [router, *logged_policy(evaluated), *before, _shuffle(router, evaluated), *after]


def _outcomes(contender: Contender, evaluated: Evaluated) -> ComparedPolicy:
    """A policy's outcome on every prompt, expected over the models if it mixes them."""
    choice, mix, traffic = contender.choice, contender.shares, evaluated.traffic
    if choice is not None:
        success, cost = picked(evaluated.success, choice), picked(evaluated.cost, choice)
        shares = model_shares(choice, len(evaluated.models), traffic)
    else:
        mix = np.asarray(mix)
        able = mix.sum(axis=1) > 0
        success = np.where(able, (mix * evaluated.success).sum(axis=1), np.nan)
        cost = np.where(able, (mix * evaluated.cost).sum(axis=1), np.nan)
        shares = traffic @ mix / max(float(traffic @ able), 1e-12)
    study = evaluated.study
    if study is not None and study.success.grading is not None:
        chances = chosen_shares(choice, len(evaluated.models)) if choice is not None else np.asarray(mix)
        powered = np.nan_to_num(policy_scores(study.logged, study.success, chances))
        success = np.where(np.isnan(success), np.nan, powered)
    return ComparedPolicy(
        name=contender.name,
        kind=contender.kind,
        choice=choice,
        mix=mix,
        success=success,
        cost=cost,
        shares=shares,
    )


def _shuffle(router: ComparedPolicy, evaluated: Evaluated) -> ComparedPolicy:
    success, cost = cost_matched_shuffle(
        evaluated.choice, evaluated.success, evaluated.cost, evaluated.traffic
    )
    mix = np.broadcast_to(router.shares, evaluated.success.shape)
    return ComparedPolicy(
        name=SHUFFLE, kind="control", choice=None, mix=mix, success=success, cost=cost, shares=router.shares
    )


def logged_policy(evaluated: Evaluated) -> list[ComparedPolicy]:
    """The policy that wrote the log, with the outcomes of its own calls; none if every model was called."""
    study = evaluated.study
    if study is None:
        return []
    mix = study.logged.calls / study.logged.traffic[:, None]
    costs_known = np.isfinite(evaluated.cost).all()
    cost = log_values(study.logged, study.cost)
    return [
        ComparedPolicy(
            name=LOGGED,
            kind="logged",
            choice=None,
            mix=mix,
            success=log_values(study.logged, study.success),
            cost=cost if costs_known else np.full_like(cost, np.nan),
            shares=study.logged.traffic @ mix / study.logged.traffic.sum(),
        )
    ]


def sweeps_on(evaluated: Evaluated) -> dict[str, Sweep]:
    """The policies that have chances of success and know the costs, over their weights.

    Off-policy a policy is swept only if the log can speak for it at every weight.
    """
    estimates = {LEARNED: (evaluated.probability, evaluated.expected_cost)}
    for one in evaluated.others:
        if one.probability is not None and one.expected_cost is not None:
            estimates[one.name] = (one.probability, one.expected_cost)
    if TASK_TYPE in evaluated.baselines.choices:
        estimates[TASK_TYPE] = (evaluated.baselines.task_probability, evaluated.baselines.task_cost)
    swept = {
        name: _sweep(probability, expected, evaluated.traffic)
        for name, (probability, expected) in estimates.items()
    }
    return {
        name: sweep for name, sweep in swept.items() if sweep is not None and _supported(sweep, evaluated)
    }


def _supported(sweep: Sweep, evaluated: Evaluated) -> bool:
    """Whether the log can speak for a policy at each of its weights; true if every outcome is known."""
    study, m = evaluated.study, len(evaluated.models)
    if study is None:
        return True
    choices = (sweep.columns[sweep.path.at(weight)] for weight in sweep.weights)
    shares = (chosen_shares(choice, m) for choice in choices)
    return all(
        refusal(study, outcome, one) is None for one in shares for outcome in (study.success, study.cost)
    )


def _sweep(probability: FloatArray, expected_cost: FloatArray, traffic: FloatArray) -> Sweep | None:
    """A policy over its weight, or None if a price of its models is unknown.

    The weights follow from the costs that the policy expects, never from the actual ones.

    Args:
        probability: shape (n, m); NaN in the columns of models that it does not know.
        expected_cost: shape (n, m).
    """
    columns = np.flatnonzero(np.isfinite(probability).all(axis=0))
    probability, expected_cost = probability[:, columns], expected_cost[:, columns]
    if not len(columns) or not np.isfinite(expected_cost).all():
        return None
    path = policy_path(probability, expected_cost)
    weights = weight_grid(curve_of_path(path, probability, expected_cost, traffic))
    return Sweep(weights=weights, path=path, columns=columns)


def same_choices(one: ComparedPolicy, other: ComparedPolicy) -> bool:
    """Whether two policies never differ; one that mixes models differs unless it always takes one model."""
    if one.choice is None or other.choice is None:
        alone = bool((one.shares == other.shares).all() and (one.shares == 1).any())
        return alone and "logged" not in (one.kind, other.kind)
    return bool(np.array_equal(one.choice, other.choice))
