"""What is compared: the outcome of every policy on every prompt."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from router.records import FloatArray, IntArray
from training.comparing.baselines import BEST_SINGLE, ORACLE, SHUFFLE, TASK_TYPE
from training.comparing.evaluated import Evaluated, Kind
from training.evaluation import (
    best_column,
    cost_matched_shuffle,
    curve_of_path,
    model_shares,
    picked,
    policy_path,
    weight_grid,
)
from training.intervals import path_columns

ROUTER = "router"
LEARNED = "learned policy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What one policy gets on every prompt; NaN where it can't choose. `choice` is None for the shuffle."""

    name: str
    kind: Kind
    choice: IntArray | None
    success: FloatArray
    cost: FloatArray
    shares: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """A policy at each of its weights; `success` and `cost` have shape (n, n_weights)."""

    weights: FloatArray
    success: FloatArray
    cost: FloatArray


def best_single_column(evaluated: Evaluated) -> int:
    """Column of the training log's best model, or of the best one here where the baselines do not name it."""
    named = evaluated.baselines.choices.get(BEST_SINGLE)
    if named is not None and named[0] >= 0:
        return int(named[0])
    mean_cost = np.nan_to_num(evaluated.cost.mean(axis=0), nan=0.0)
    return int(best_column(evaluated.success.mean(axis=0)[None], mean_cost[None])[0])


def policies_on(evaluated: Evaluated) -> list[Policy]:
    """The router first, then baselines, the shuffle, the oracle, and each model alone."""
    success, cost, n = evaluated.success, evaluated.cost, len(evaluated.keys)

    def chosen(name: str, kind: Kind, choice: IntArray) -> Policy:
        return Policy(
            name=name,
            kind=kind,
            choice=choice,
            success=picked(success, choice),
            cost=picked(cost, choice),
            shares=model_shares(choice, len(evaluated.models)),
        )

    router = chosen(ROUTER, "router", evaluated.choice)
    shuffled = cost_matched_shuffle(evaluated.choice, success, cost)
    shuffle = Policy(
        name=SHUFFLE, kind="control", choice=None, success=shuffled[0], cost=shuffled[1], shares=router.shares
    )
    named = {name: choice for name, choice in evaluated.baselines.choices.items() if (choice >= 0).any()}
    bound = [chosen(ORACLE, "bound", named.pop(ORACLE))] if ORACLE in named else []
    baselines = [chosen(name, "baseline", choice) for name, choice in named.items()]
    singles = [
        chosen(f"always {model}", "single model", np.full(n, column))
        for column, model in enumerate(evaluated.models)
    ]
    return [router, *baselines, shuffle, *bound, *singles]


def sweeps_on(evaluated: Evaluated) -> dict[str, Sweep]:
    """The learned policy and the mean per task type over their weights, where they know the costs."""
    estimates = {LEARNED: (evaluated.probability, evaluated.expected_cost)}
    if TASK_TYPE in evaluated.baselines.choices:
        estimates[TASK_TYPE] = (evaluated.baselines.task_probability, evaluated.baselines.task_cost)
    sweeps = {}
    for name, (probability, expected_cost) in estimates.items():
        if np.isfinite(probability).all() and np.isfinite(expected_cost).all():
            path = policy_path(probability, expected_cost)
            weights = weight_grid(curve_of_path(path, evaluated.success, evaluated.cost))
            success, cost = path_columns(path, weights, evaluated.success, evaluated.cost)
            sweeps[name] = Sweep(weights=weights, success=success, cost=cost)
    return sweeps


def same_choices(one: Policy, other: Policy) -> bool:
    """Whether two policies never differ; the shuffle differs from all but a policy of one model."""
    if one.choice is None or other.choice is None:
        return bool((one.shares == other.shares).all() and (one.shares == 1).any())
    return bool(np.array_equal(one.choice, other.choice))
