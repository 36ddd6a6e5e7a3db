"""The plain policies that a learned router has to beat, fitted on the training log's means only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from router.records import BoolArray, FloatArray, IntArray
from router.rules import heuristic_model
from router.settings import HeuristicModels
from training.evaluation import best_column, cost_at_quality, curve_of_path, policy_path

ALL_CHEAP = "all-cheap"
ALL_STRONG = "all-strong"
BEST_SINGLE = "best single"
TASK_TYPE = "mean per task type"
HEURISTIC = "keyword heuristic"
SHUFFLE = "cost-matched shuffle"
ORACLE = "oracle"

NO_CHOICE = -1
SHRINKAGE = 10.0
"""Calls at the model's overall mean that a task type's own mean is mixed with."""
SUCCEEDED = 0.5
"""Share of a prompt's repeated calls from which the oracle counts a model as one that succeeds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingStatistics:
    """Means of the training log: all that a baseline may know. NaN is unknown.

    Attributes:
        models: columns of every array.
        success: shape (m,); mean success.
        cost: shape (m,); mean USD a call.
        task_types: rows of the tables below, sorted; prompts without a task type are in none of them.
        task_success: shape (t, m).
        task_cost: shape (t, m); USD a call.
        task_counts: shape (t, m); prompts whose outcome is known.
    """

    models: tuple[str, ...]
    success: FloatArray
    cost: FloatArray
    task_types: tuple[str, ...]
    task_success: FloatArray
    task_cost: FloatArray
    task_counts: IntArray

    def __post_init__(self) -> None:
        m, t = len(self.models), len(self.task_types)
        shapes = [self.success.shape, self.cost.shape, self.task_success.shape, self.task_counts.shape]
        if shapes != [(m,), (m,), (t, m), (t, m)]:
            raise ValueError(f"{m} models and {t} task types do not fit arrays of shapes {shapes}")
        if np.isnan(self.success).all():
            raise ValueError("no model has a known outcome: baselines need at least one")

    @staticmethod
    def of(
        models: Sequence[str], task_types: Sequence[str | None], success: FloatArray, cost: FloatArray
    ) -> TrainingStatistics:
        """Means over the prompts of a training log.

        Args:
            task_types: of each prompt.
            success: shape (n, m), NaN is unknown.
            cost: shape (n, m), USD a call, NaN is unknown.
        """
        names = tuple(sorted({name for name in task_types if name is not None}))
        rows = _rows_of(names, task_types)
        whole = np.zeros_like(rows)
        return TrainingStatistics(
            models=tuple(models),
            success=_means(success, whole, 1)[0],
            cost=_means(cost, whole, 1)[0],
            task_types=names,
            task_success=_means(success, rows, len(names) + 1)[:-1],
            task_cost=_means(cost, rows, len(names) + 1)[:-1],
            task_counts=_group_sums(~np.isnan(success), rows, len(names) + 1)[:-1].astype(np.int64),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Baselines:
    """What every baseline does on the evaluated prompts.

    Attributes:
        choices: per baseline, shape (n,): model index, or -1 where it can't choose. More may be added, for
            instance the policy that wrote the log.
        task_probability: shape (n, m); success that the means per task type expect.
        task_cost: shape (n, m); USD that they expect, NaN where no cost is known.
    """

    choices: Mapping[str, IntArray]
    task_probability: FloatArray
    task_cost: FloatArray


def _rows_of(names: Sequence[str], task_types: Sequence[str | None]) -> IntArray:
    """Place of each prompt's task type in `names`; their number where it is in none of them."""
    row: dict[str | None, int] = {name: number for number, name in enumerate(names)}
    return np.array([row.get(name, len(row)) for name in task_types], dtype=np.int64)


def _group_sums(values: FloatArray | BoolArray, groups: IntArray, n_groups: int) -> FloatArray:
    """Shape (n_groups, m): sums of the rows of `values`, shape (n, m), per group."""
    sums = np.zeros((n_groups, values.shape[1]))
    np.add.at(sums, groups, values)
    return sums


def _means(values: FloatArray, groups: IntArray, n_groups: int) -> FloatArray:
    """Shape (n_groups, m): means of the known values per group, NaN where none is known."""
    count = _group_sums(~np.isnan(values), groups, n_groups)
    total = _group_sums(np.nan_to_num(values, nan=0.0), groups, n_groups)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def cheapest_model(statistics: TrainingStatistics) -> int:
    """Column of the model of least mean cost; -1 where no cost is known."""
    known = np.isfinite(statistics.cost)
    return int(np.argmin(np.where(known, statistics.cost, np.inf))) if known.any() else NO_CHOICE


def dearest_model(statistics: TrainingStatistics) -> int:
    """Column of the model of highest mean cost; -1 where no cost is known."""
    known = np.isfinite(statistics.cost)
    return int(np.argmax(np.where(known, statistics.cost, -np.inf))) if known.any() else NO_CHOICE


def best_model(statistics: TrainingStatistics) -> int:
    """Column of the model of highest mean success, the cheaper one on ties."""
    success = np.where(np.isnan(statistics.success), -np.inf, statistics.success)
    return int(best_column(success[None], _known_costs(statistics.cost)[None])[0])


def _known_costs(cost: FloatArray) -> FloatArray:
    """Costs with the unknown ones as dear as the dearest known one, or all 0 where none is known."""
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

    A task type's mean is shrunk towards the model's own: (sum + k * mean) / (count + k) with k = `SHRINKAGE`.
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
    rows = _rows_of(statistics.task_types, task_types)
    return success[rows], cost[rows]


def mean_per_task_type(statistics: TrainingStatistics, task_types: Sequence[str | None]) -> IntArray:
    """Per task type argmax_m mean success - weight * mean cost.

    The weight is the one at which the training means promise the best single model's success at least cost,
    so it is fixed before any evaluated prompt is seen.
    """
    success, cost = task_table(statistics)
    share = np.append(statistics.task_counts.sum(axis=1), 0.0)
    share[-1] = 1.0 if share.sum() == 0 else 0.0
    path = policy_path(success, cost)
    curve = curve_of_path(path, success, cost, share)
    target = float(share @ success[:, best_model(statistics)] / share.sum())
    least = cost_at_quality(curve, target)
    weight = curve.weight[np.flatnonzero(curve.cost <= least)[0]] if np.isfinite(least) else 0.0
    return path.at(float(weight))[_rows_of(statistics.task_types, task_types)]


def default_heuristic_models(statistics: TrainingStatistics) -> HeuristicModels | None:
    """Models for the keyword heuristic where the settings name none; None where no cost is known.

    Strong is the best single model, cheap the cheapest, middle the one of middle cost among the others, or
    the cheapest where there is no other.
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
    """The model that the keyword complexity score gives each text, -1 where it is not an evaluated one.

    Args:
        texts: whole text of each prompt.
        models: the team's own; None: `default_heuristic_models`.
    """
    named = models or default_heuristic_models(statistics)
    if named is None:
        return np.full(len(texts), NO_CHOICE, dtype=np.int64)
    column = {name: number for number, name in enumerate(statistics.models)}
    chosen = [column.get(heuristic_model(text, named), NO_CHOICE) for text in texts]
    return np.array(chosen, dtype=np.int64)


def oracle(statistics: TrainingStatistics, success: FloatArray, cost: FloatArray) -> IntArray:
    """The cheapest model that succeeded on each prompt, else the cheapest model: a bound, not a policy.

    Args:
        success: shape (n, m), of the evaluated prompts.
        cost: shape (n, m), USD; where one is unknown the training mean stands in.
    """
    paid = np.where(np.isfinite(cost), cost, _known_costs(statistics.cost))
    succeeded = success >= SUCCEEDED
    usual = max(cheapest_model(statistics), 0)
    cheapest = np.argmin(np.where(succeeded, paid, np.inf), axis=1)
    return np.where(succeeded.any(axis=1), cheapest, usual)


def dominated_models(statistics: TrainingStatistics) -> dict[str, str]:
    """Models that another one beats, no dearer and no worse and better in one of the two, and by which."""
    success, cost = statistics.success, statistics.cost
    dominated = {}
    for column, name in enumerate(statistics.models):
        no_worse = (success >= success[column]) & (cost <= cost[column])
        better = no_worse & ((success > success[column]) | (cost < cost[column]))
        if better.any():
            dominated[name] = statistics.models[int(np.argmax(np.where(better, success, -np.inf)))]
    return dominated


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
