"""The label of each prompt (the cheapest model that succeeded), and how certain the log makes it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

import numpy as np

from router.records import BoolArray, FloatArray, IntArray, Json
from training.prompts.table import PromptTable

_SUCCEEDED = 0.5
_NORMAL_95 = 1.959964
INTERVAL = "95 %, normal approximation, clustered by session group"
LEAST_IN_COMMON = 30
"""Two models are compared on at least this many prompts in common, of as many sessions."""
MOST_LOSS = 0.01
"""Success rates count as equal if one is lower by at most this much."""


class Status(IntEnum):
    """How certain a prompt's label is."""

    UNOBSERVED = 0
    """No outcome of any model is known."""
    NONE_SUCCEEDED = 1
    """Every model whose outcome is known failed."""
    UPPER_BOUND = 2
    """The label succeeded, but the outcome of a model that is or may be cheaper is unknown."""
    EXACT = 3
    """The label succeeded, and every model that is or may be cheaper failed."""

    @property
    def words(self) -> str:
        """The status as reports write it."""
        return self.name.lower().replace("_", " ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """The label of each row of a prompt table.

    Attributes:
        models: the columns that `label` counts in.
        label: shape (n_prompts,); index of the cheapest model that succeeded, -1 if none did.
        status: shape (n_prompts,); a `Status` each.
        costs: "known": every model has a cost; "partly": a model without one counts as the dearest, though it
            may be cheaper, so that labels above it are bounds; "unknown": no model has one, and the label is
            the succeeding model with the best success rate in the log.
    """

    models: tuple[str, ...]
    label: IntArray
    status: IntArray
    costs: Literal["known", "partly", "unknown"]


def cheapest_success(table: PromptTable) -> Labels:
    """Label each prompt with the cheapest model whose calls succeeded at least half the time.

    A model's cost on a prompt is the mean of its calls of that prompt, else of all its calls. If costs are
    equal, the model with the better success rate in the log wins, then the first by name.
    """
    cost, has_cost = _costs(table)
    known = ~np.isnan(table.success)
    failed = table.success < _SUCCEEDED
    succeeded = known & ~failed
    label = _cheapest(cost, succeeded, _mean(table.success, table.calls))
    rows = np.arange(len(table))
    may_be_cheaper = (cost < cost[rows, label][:, None]) | ~has_cost | ~has_cost[label][:, None]
    may_be_cheaper[rows, label] = False
    status = np.where((may_be_cheaper & ~failed).any(axis=1), Status.UPPER_BOUND, Status.EXACT)
    status = np.where(succeeded.any(axis=1), status, Status.NONE_SUCCEEDED)
    status = np.where(known.any(axis=1), status, Status.UNOBSERVED)
    return Labels(
        models=table.models,
        label=np.where(succeeded.any(axis=1), label, -1).astype(np.int64),
        status=status.astype(np.int64),
        costs="known" if has_cost.all() else "partly" if has_cost.any() else "unknown",
    )


def data_report(table: PromptTable, labels: Labels) -> dict[str, Json]:
    """Summarise the log in plain JSON values; None is unknown."""
    known = ~np.isnan(table.success)
    _, group_sizes = np.unique(table.groups, return_counts=True)
    return {
        "prompts": len(table),
        "prompts_in_log": table.prompts_in_log,
        "calls": int(table.calls.sum()),
        "truncated_calls": table.truncated_calls,
        "session_groups": len(group_sizes),
        "largest_group": int(group_sizes.max(initial=0)),
        "prompts_with_every_outcome": int(known.all(axis=1).sum()),
        "costs": labels.costs,
        "label_status": _count_status(labels.status),
        "models": {model: _model_report(table, labels, column) for column, model in enumerate(table.models)},
        "task_types": _task_types(table, labels),
        "dominated": dominated_models(table),
        "rarely_shared": rarely_shared(table),
        "interval": INTERVAL,
    }


def dominated_models(table: PromptTable) -> dict[str, Json]:
    """Find the models that another one is shown to beat, on prompts with both outcomes and both costs.

    Shown means by the 95 % intervals of the paired differences: it succeeds more often and is not dearer, or
    is cheaper and loses at most `MOST_LOSS` of success. If several models beat one, the entry names the one
    that is ahead by the most success.
    """
    dominated: dict[str, Json] = {}
    shared = _shared(table)
    for column, model in enumerate(table.models):
        rivals = (
            int(other) for other in np.flatnonzero(shared[column] >= LEAST_IN_COMMON) if other != column
        )
        pairs = [pair for other in rivals if (pair := _compare(table, column, other)) is not None]
        if pairs:
            best = max(pairs, key=lambda pair: (pair["success_difference"], -pair["cost_difference_usd"]))
            dominated[model] = best
    return dominated


def rarely_shared(table: PromptTable) -> list[dict[str, Json]]:
    """Pairs of models with too few prompts in common to compare them, those with the most first."""
    shared = _shared(table)
    pairs = [
        {"models": [table.models[first], table.models[second]], "prompts": int(shared[first, second])}
        for first, second in zip(*np.triu_indices(len(table.models), 1), strict=True)
        if shared[first, second] < LEAST_IN_COMMON
    ]
    return sorted(pairs, key=lambda pair: -pair["prompts"])


def _shared(table: PromptTable) -> FloatArray:
    """Number of prompts on which both models of each pair have an outcome and a cost, shape (m, m)."""
    seen = (~np.isnan(table.success) & ~np.isnan(table.cost)).astype(np.float32)
    return np.asarray(seen.T @ seen, dtype=np.float64)


def _compare(table: PromptTable, column: int, other: int) -> dict[str, Json] | None:
    """How `other` beats the model at `column`; None if that is not shown."""
    pair = [column, other]
    both = ~(np.isnan(table.success[:, pair]) | np.isnan(table.cost[:, pair])).any(axis=1)
    groups = table.groups[both]
    if len(np.unique(groups)) < LEAST_IN_COMMON:
        return None
    success = np.subtract(*table.success[both][:, pair[::-1]].T)
    cost = np.subtract(*table.cost[both][:, pair[::-1]].T)
    success_interval = _interval(success, groups, unseen=1.0)
    cost_interval = _interval(cost, groups)
    better = success_interval[0] > 0 and cost_interval[1] <= 0
    cheaper = success_interval[0] >= -MOST_LOSS and cost_interval[1] < 0
    if not better and not cheaper:
        return None
    return {
        "by": table.models[other],
        "prompts": int(both.sum()),
        "success_difference": float(success.mean()),
        "success_interval": success_interval,
        "cost_difference_usd": float(cost.mean()),
        "cost_interval_usd": cost_interval,
    }


def _interval(differences: FloatArray, groups: IntArray, unseen: float = 0.0) -> list[float]:
    """95 % interval of the mean difference; rows of one group count as one observation.

    Args:
        unseen: size of a difference; half an observation of it with each sign widens the interval, because
            models that agreed on every prompt so far may differ on the next (Agresti & Min 2005).
    """
    _, index = np.unique(groups, return_inverse=True)
    sums = np.bincount(index, differences - differences.mean())
    n_groups = len(sums)
    squares = np.square(sums).sum() + unseen**2
    error = np.sqrt(n_groups / (n_groups - 1) * squares) / len(differences)
    mean = differences.mean()
    return [float(mean - _NORMAL_95 * error), float(mean + _NORMAL_95 * error)]


def _costs(table: PromptTable) -> tuple[FloatArray, BoolArray]:
    """Cost of each model on each prompt, and which models have costs; the others count as dearer than all."""
    means = _mean(table.cost, table.calls)
    has_cost = ~np.isnan(means)
    cost = np.where(np.isnan(table.cost), means, table.cost)
    dearest = np.nanmax(cost) if has_cost.any() and len(cost) else 0.0
    return np.where(np.isnan(cost), dearest + 1, cost), has_cost


def _cheapest(cost: FloatArray, succeeded: BoolArray, rates: FloatArray) -> IntArray:
    """Column of the cheapest model that succeeded, by row; if costs are equal, the best success rate wins."""
    best_first = np.argsort(-np.nan_to_num(rates), kind="stable")
    reach = np.where(succeeded, cost, np.inf)[:, best_first]
    column: IntArray = best_first[reach.argmin(axis=1)].astype(np.int64)
    return column


def _mean(values: FloatArray, calls: IntArray) -> FloatArray:
    """Mean per call of each column over the known values; NaN if there are none."""
    weight = np.where(np.isnan(values), 0, calls).sum(axis=0)
    total = (np.nan_to_num(values) * calls).sum(axis=0)
    mean: FloatArray = np.divide(total, weight, out=np.full(values.shape[1], np.nan), where=weight > 0)
    return mean


def _count_status(status: IntArray) -> dict[str, int]:
    counts = Counter(status.tolist())
    return {kind.words: counts[kind] for kind in reversed(Status)}


def _task_types(table: PromptTable, labels: Labels) -> dict[str, Mapping[str, int]]:
    types = np.array([request.task_type or "" for request in table.requests], dtype=object)
    return {str(name): _count_status(labels.status[types == name]) for name in sorted(set(types))}


def _model_report(table: PromptTable, labels: Labels, column: int) -> dict[str, Json]:
    def mean(values: FloatArray) -> float | None:
        result = _mean(values[:, [column]], table.calls[:, [column]])[0]
        return None if np.isnan(result) else float(result)

    known = ~np.isnan(table.success[:, column])
    labelled = labels.label == column
    return {
        "calls": int(table.calls[:, column].sum()),
        "prompts": int((table.calls[:, column] > 0).sum()),
        "known_outcomes": int(known.sum()),
        "success_rate": mean(table.success),
        "mean_cost_usd": mean(table.cost),
        "mean_input_tokens": mean(table.input_tokens),
        "mean_output_tokens": mean(table.output_tokens),
        "labels": {
            "exact": _count(labelled, labels, Status.EXACT),
            "upper bound": _count(labelled, labels, Status.UPPER_BOUND),
        },
    }


def _count(rows: BoolArray, labels: Labels, status: Status) -> int:
    return int((rows & (labels.status == status)).sum())
