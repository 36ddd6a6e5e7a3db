"""The plain policies that a learned router must beat, fitted only on the training log's means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from router.deciding.rules import heuristic_model, rule_choice
from router.records import FloatArray, IntArray, Request
from router.settings.sections import HeuristicModels, Rules
from training.learning.training_means import TrainingStatistics as TrainingStatistics
from training.learning.training_means import rows_of
from training.statistics.policy_curves import (
    NO_CHOICE,
    best_column,
    cost_at_quality,
    curve_of_path,
    policy_path,
)

ALL_CHEAP = "all-cheap"
ALL_STRONG = "all-strong"
BEST_SINGLE = "best single"
TASK_TYPE = "mean per task type"
HEURISTIC = "keyword heuristic"
RULES = "rule table"
RANDOM = "random"
SHUFFLE = "cost-matched shuffle"
ORACLE = "oracle"
NAMES = frozenset({ALL_CHEAP, ALL_STRONG, BEST_SINGLE, TASK_TYPE, HEURISTIC, RULES, RANDOM, SHUFFLE, ORACLE})
"""Reserved names: of the policies here and of the shuffle."""

SHRINKAGE = 10.0
"""Number of calls at the model's overall mean that is mixed into a task type's own mean."""
SUCCEEDED = 0.5
"""A model succeeds on a prompt if at least this share of its calls did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Baselines:
    """What every baseline does on the evaluated prompts.

    Attributes:
        choices: per baseline, shape (n,): column of the model, or -1 where it can't choose.
        task_probability: shape (n, m); success that the means per task type expect.
        task_cost: shape (n, m); USD that they expect, NaN if no cost is known.
    """

    choices: Mapping[str, IntArray]
    task_probability: FloatArray
    task_cost: FloatArray


def cheapest_model(statistics: TrainingStatistics) -> int:
    """Column of the model of least mean cost; -1 if no cost is known."""
    known = np.isfinite(statistics.cost)
    return int(np.argmin(np.where(known, statistics.cost, np.inf))) if known.any() else NO_CHOICE


def dearest_model(statistics: TrainingStatistics) -> int:
    """Column of the model of highest mean cost; -1 if no cost is known."""
    known = np.isfinite(statistics.cost)
    return int(np.argmax(np.where(known, statistics.cost, -np.inf))) if known.any() else NO_CHOICE


def best_model(statistics: TrainingStatistics) -> int:
    """Column of the model of highest mean success, the cheaper one on ties."""
    success = np.where(np.isnan(statistics.success), -np.inf, statistics.success)
    return int(best_column(success[None], _known_costs(statistics.cost)[None])[0])


def _known_costs(cost: FloatArray) -> FloatArray:
    """Costs with the unknown ones as dear as the dearest known one; all 0 if none is known."""
    known = np.isfinite(cost)
    return np.where(known, cost, cost[known].max() if known.any() else 0.0)


def all_cheap(statistics: TrainingStatistics, n_prompts: int) -> IntArray:
    """Every prompt to the model of least mean cost."""
    return np.full(n_prompts, cheapest_model(statistics), dtype=np.int64)


def all_strong(statistics: TrainingStatistics, n_prompts: int) -> IntArray:
    """Every prompt to the model of highest mean cost."""
    return np.full(n_prompts, dearest_model(statistics), dtype=np.int64)


def best_single(statistics: TrainingStatistics, n_prompts: int) -> IntArray:
    """Every prompt to the model of highest mean success."""
    return np.full(n_prompts, best_model(statistics), dtype=np.int64)


def task_table(statistics: TrainingStatistics) -> tuple[FloatArray, FloatArray]:
    """Expected success and cost per task type, shape (t + 1, m); the last row is for all other prompts.

    A task type's mean is shrunk to the model's own: (sum + k * mean) / (count + k) with k = `SHRINKAGE`.
    """
    success = np.nan_to_num(statistics.success, nan=0.0)
    cost = _known_costs(statistics.cost)
    counts = statistics.task_counts
    tables = [
        (counts * np.where(np.isnan(table), mean, table) + SHRINKAGE * mean) / (counts + SHRINKAGE)
        for table, mean in ((statistics.task_success, success), (statistics.task_cost, cost))
    ]
    return np.vstack([tables[0], success]), np.vstack([tables[1], cost])


def task_estimates(
    statistics: TrainingStatistics, task_types: Sequence[str | None]
) -> tuple[FloatArray, FloatArray]:
    """Success and cost that the means per task type expect of each prompt, both of shape (n, m)."""
    success, cost = task_table(statistics)
    rows = rows_of(statistics.task_types, task_types)
    return success[rows], cost[rows]


def mean_per_task_type(statistics: TrainingStatistics, task_types: Sequence[str | None]) -> IntArray:
    """Per task type argmax_m mean success - weight * mean cost.

    At the weight, the training means promise the best single model's success at least cost. So no evaluated
    prompt influences it.
    """
    success, cost = task_table(statistics)
    share = np.append(statistics.task_counts.sum(axis=1), 0.0)
    share[-1] = 1.0 if share.sum() == 0 else 0.0
    path = policy_path(success, cost)
    curve = curve_of_path(path, success, cost, share)
    target = float(share @ success[:, best_model(statistics)] / share.sum())
    least = cost_at_quality(curve, target)
    weight = curve.weight[np.flatnonzero(curve.cost <= least)[0]] if np.isfinite(least) else 0.0
    return path.at(float(weight))[rows_of(statistics.task_types, task_types)]


def default_heuristic_models(statistics: TrainingStatistics) -> HeuristicModels | None:
    """Models for the keyword heuristic if the settings name none; None if no cost is known.

    Strong is the best single model, cheap the cheapest, middle the one of middle cost among the others, or
    the cheapest if there is no other.
    """
    cheap, strong = cheapest_model(statistics), best_model(statistics)
    if cheap == NO_CHOICE:
        return None
    order = np.argsort(_known_costs(statistics.cost), kind="stable")
    others = [int(column) for column in order if column not in (cheap, strong)]
    middle = others[(len(others) - 1) // 2] if others else cheap
    names = statistics.models
    return HeuristicModels(strong=names[strong], middle=names[middle], cheap=names[cheap])


def keyword_heuristic(
    statistics: TrainingStatistics, texts: Sequence[str], models: HeuristicModels | None = None
) -> IntArray:
    """Column of the model that the keyword complexity score gives each text; -1 if it is not evaluated.

    Args:
        texts: whole text of each prompt.
        models: from the settings; None: `default_heuristic_models`.
    """
    named = models or default_heuristic_models(statistics)
    if named is None:
        return np.full(len(texts), NO_CHOICE, dtype=np.int64)
    column = {name: number for number, name in enumerate(statistics.models)}
    chosen = [column.get(heuristic_model(text, named), NO_CHOICE) for text in texts]
    return np.array(chosen, dtype=np.int64)


def rule_table(
    requests: Sequence[Request], rules: Rules, default: str, models: Sequence[str]
) -> IntArray | None:
    """Column of the model that the team's own rules give each request, or None if there are no rules.

    As in serving, a rule whose model is not evaluated gives way to the next one; -1 if no rule names an
    evaluated model.

    Args:
        default: model to use if the rules have no default of their own.
        models: names of the columns.
    """
    if not rules.models():
        return None
    column = {name: number for number, name in enumerate(models)}
    choices = (rule_choice(request, rules, default, models) for request in requests)
    return np.array([column[choice[0]] if choice else NO_CHOICE for choice in choices], dtype=np.int64)


def random_shares(n_prompts: int, n_models: int) -> FloatArray:
    """Every model with the same chance on every prompt, shape (n_prompts, n_models)."""
    return np.full((n_prompts, n_models), 1.0 / n_models)


def oracle(statistics: TrainingStatistics, success: FloatArray, cost: FloatArray) -> IntArray:
    """The cheapest model that succeeded on each prompt, else the cheapest model: a bound, not a policy.

    Args:
        success: shape (n, m), of the evaluated prompts.
        cost: shape (n, m), USD; the training mean stands in for an unknown one.
    """
    paid = np.where(np.isfinite(cost), cost, _known_costs(statistics.cost))
    succeeded = success >= SUCCEEDED
    usual = max(cheapest_model(statistics), 0)
    cheapest = np.argmin(np.where(succeeded, paid, np.inf), axis=1)
    return np.where(succeeded.any(axis=1), cheapest, usual)


def baselines_on(
    statistics: TrainingStatistics,
    *,
    texts: Sequence[str],
    task_types: Sequence[str | None],
    success: FloatArray,
    cost: FloatArray,
    heuristic: HeuristicModels | None = None,
) -> Baselines:
    """Every baseline's choices on the evaluated prompts; only the oracle looks at `success` and `cost`.

    Args:
        statistics: of the training log, never of the evaluated prompts.
        texts: whole text of each evaluated prompt.
        success: shape (n, m).
        cost: shape (n, m), USD.
        heuristic: models of the keyword heuristic, from the settings.
    """
    n = len(texts)
    choices = {
        BEST_SINGLE: best_single(statistics, n),
        ALL_CHEAP: all_cheap(statistics, n),
        ALL_STRONG: all_strong(statistics, n),
        TASK_TYPE: mean_per_task_type(statistics, task_types),
        HEURISTIC: keyword_heuristic(statistics, texts, heuristic),
        ORACLE: oracle(statistics, success, cost),
    }
    if not statistics.task_types:
        del choices[TASK_TYPE]
    probability, expected = task_estimates(statistics, task_types)
    if not np.isfinite(statistics.cost).any():
        expected = np.full_like(expected, np.nan)
    return Baselines(choices=choices, task_probability=probability, task_cost=expected)
