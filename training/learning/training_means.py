"""The means of the training log, which every baseline is fitted on, and their form in a manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from router.records import BoolArray, FloatArray, IntArray, Json


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingStatistics:
    """Means of the training log, and all that a baseline may know; NaN is unknown.

    Attributes:
        models: columns of every array.
        success: shape (m,); mean success.
        cost: shape (m,); mean USD a call.
        task_types: rows of the tables below, sorted; prompts without a task type are in none.
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
        return TrainingStatistics(
            models=tuple(models), task_types=names, **_by_task(names, task_types, success, cost)
        )

    def columns(self, models: Sequence[str]) -> TrainingStatistics:
        """The means of some of the models, in that order."""
        places = [self.models.index(model) for model in models]
        arrays: dict[str, Any] = {name: getattr(self, name)[..., places] for name in _BY_MODEL}
        return replace(self, models=tuple(models), **arrays)

    def with_model(
        self, model: str, task_types: Sequence[str | None], success: FloatArray, cost: FloatArray
    ) -> TrainingStatistics:
        """The means with those of one more model, over prompts of its own.

        Args:
            task_types: of each prompt; one that the training log lacked is in no row.
            success, cost: shape (n,); as in `of`.
        """
        more = _by_task(self.task_types, task_types, success[:, None], cost[:, None])
        arrays: dict[str, Any] = {
            name: np.concatenate([getattr(self, name), more[name]], axis=-1) for name in _BY_MODEL
        }
        return replace(self, models=(*self.models, model), **arrays)


_BY_MODEL = ("success", "cost", "task_success", "task_cost", "task_counts")


def _by_task(
    names: Sequence[str], task_types: Sequence[str | None], success: FloatArray, cost: FloatArray
) -> dict[str, Any]:
    """The arrays of the statistics, by their names, for the task types `names`."""
    rows = rows_of(names, task_types)
    whole, number = np.zeros_like(rows), len(names) + 1
    return {
        "success": _means(success, whole, 1)[0],
        "cost": _means(cost, whole, 1)[0],
        "task_success": _means(success, rows, number)[:-1],
        "task_cost": _means(cost, rows, number)[:-1],
        "task_counts": _group_sums(~np.isnan(success), rows, number)[:-1].astype(np.int64),
    }


def statistics_to_json(statistics: TrainingStatistics) -> dict[str, Json]:
    """Write the means as a manifest holds them; None is unknown."""
    return {
        "success": _plain(statistics.success),
        "cost": _plain(statistics.cost),
        "task_types": list(statistics.task_types),
        "task_success": [_plain(row) for row in statistics.task_success],
        "task_cost": [_plain(row) for row in statistics.task_cost],
        "task_counts": statistics.task_counts.tolist(),
    }


def statistics_of(manifest: Mapping[str, Json]) -> TrainingStatistics:
    """Read the means from a manifest."""
    stored, models = manifest["statistics"], tuple(manifest["models"])
    shape = (len(stored["task_types"]), len(models))
    return TrainingStatistics(
        models=models,
        success=np.array(stored["success"], dtype=np.float64),
        cost=np.array(stored["cost"], dtype=np.float64),
        task_types=tuple(stored["task_types"]),
        task_success=np.array(stored["task_success"], dtype=np.float64).reshape(shape),
        task_cost=np.array(stored["task_cost"], dtype=np.float64).reshape(shape),
        task_counts=np.array(stored["task_counts"], dtype=np.int64).reshape(shape),
    )


def _plain(values: FloatArray) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]


def rows_of(names: Sequence[str], task_types: Sequence[str | None]) -> IntArray:
    """Place of each prompt's task type in `names`; `len(names)` if it is not among them."""
    row: dict[str | None, int] = {name: number for number, name in enumerate(names)}
    return np.array([row.get(name, len(row)) for name in task_types], dtype=np.int64)


def _group_sums(values: FloatArray | BoolArray, groups: IntArray, n_groups: int) -> FloatArray:
    """Shape (n_groups, m): sums of the rows of `values`, shape (n, m), per group."""
    sums = np.zeros((n_groups, values.shape[1]))
    np.add.at(sums, groups, values)
    return sums


def _means(values: FloatArray, groups: IntArray, n_groups: int) -> FloatArray:
    """Shape (n_groups, m): means of the known values per group, NaN if none is known."""
    count = _group_sums(~np.isnan(values), groups, n_groups)
    total = _group_sums(np.nan_to_num(values, nan=0.0), groups, n_groups)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
