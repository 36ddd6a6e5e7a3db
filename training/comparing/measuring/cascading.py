"""What the router would do with its cascade, on prompts with the answers that it needs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from router.deciding.cascade import Branch, Cascade, advantages, graded_inputs, is_checked
from router.deciding.policy import assumed_cost
from router.forecasting.answer_numbers import number_names
from router.forecasting.grading import Answers
from router.numbers import bounds, decimal, rate, signed_points, usd_per_thousand
from router.records import BoolArray, FloatArray, IntArray
from router.version import Version
from training.comparing.evaluated import CascadeResult, Evaluated
from training.prompts.answers import AnswerTable
from training.statistics.intervals import UNKNOWN, interval, mean_difference, resampled_sums

_LEAST = 30
"""Prompts below which nothing is said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What became of the prompts whose answer may be followed, shape (n,) each.

    Attributes:
        rows: of the evaluated prompts.
        second: column of the second model.
        asked: whether it is asked.
    """

    rows: IntArray
    second: IntArray
    asked: BoolArray


def cascade_on(evaluated: Evaluated, version: Version, answers: AnswerTable) -> CascadeResult | None:
    """The router without and with its cascade, on the same prompts; None if it has learned none.

    Args:
        answers: to the evaluated prompts, in their order, with a column for each of their models.
    """
    stored = version.manifest.get("cascade")
    cascade = None if stored is None else Cascade.load(version.folder, stored)
    if cascade is None:
        return None
    found = _asked(evaluated, version, cascade, answers)
    if evaluated.study is not None or len(found.rows) < _LEAST:
        return CascadeResult(prompts=len(found.rows))
    rows, every = found.rows, np.arange(len(found.rows))
    first, traffic = evaluated.choice[rows], evaluated.traffic[rows]
    latency = answers.latency(rows)

    def pair(values: FloatArray, *, added: bool) -> FloatArray:
        """A quantity with the cascade and without it, weighted by the traffic; the last column counts."""
        alone, other = values[every, first], values[every, found.second]
        both = np.where(found.asked, other + (alone if added else 0.0), alone)
        return np.column_stack([both * traffic, alone * traffic, traffic])

    columns = {
        "success": pair(evaluated.success[rows], added=False),
        "cost": pair(evaluated.cost[rows], added=True),
        "latency": pair(latency, added=True),
    }
    change = {}
    for name, block in columns.items():
        known = np.isfinite(block).all(axis=1)
        change[name] = (
            interval(resampled_sums(block[known], evaluated.clusters[rows][known]), mean_difference)
            if known.all() or (name == "latency" and known.sum() >= _LEAST)
            else UNKNOWN
        )
    return CascadeResult(
        prompts=len(rows),
        asked=float(traffic[found.asked].sum() / traffic.sum()),
        success_change=change["success"],
        cost_change_usd=change["cost"],
        latency_change_s=change["latency"],
    )


def cascade_sentence(result: CascadeResult) -> str:
    """The result for people."""
    if not np.isfinite(result.success_change.value):
        return (
            "cascade: can't tell what it is worth here: the log lacks, on enough prompts, the answer of the "
            "router's choice and every model's outcome"
        )
    seconds = result.latency_change_s
    slower = f"{decimal(seconds.value)} s" if np.isfinite(seconds.value) else "an unknown time"
    success, cost = result.success_change, result.cost_change_usd
    return (
        f"cascade: on the {result.prompts:,} prompts whose answers it checks, it would ask a second model "
        f"for {rate(result.asked)}: success {signed_points(success.value)} points "
        f"{bounds(success, 'points')}, cost {usd_per_thousand(cost.value)} more per 1,000 "
        f"{bounds(cost, 'usd')}, and the mean wait longer by {slower}"
    )


def _asked(evaluated: Evaluated, version: Version, cascade: Cascade, answers: AnswerTable) -> _Asked:
    by_branch: dict[str, list[int]] = {}
    for row, request in enumerate(evaluated.requests):
        if evaluated.source[row] != "learned" or not is_checked(request):
            continue
        task_type = version.typed(request).task_type or ""
        if task_type in cascade.branches and answers.at[row, evaluated.choice[row]] >= 0:
            by_branch.setdefault(task_type, []).append(row)
    order = [number_names().index(name) for name in cascade.numbers]
    parts = [
        _of_branch(evaluated, version, cascade.branches[name], answers, np.array(rows), order)
        for name, rows in by_branch.items()
    ]
    if not parts:
        nothing = np.zeros(0, dtype=np.int64)
        return _Asked(rows=nothing, second=nothing, asked=nothing.astype(np.bool_))
    return _Asked(
        rows=np.concatenate([part.rows for part in parts]),
        second=np.concatenate([part.second for part in parts]),
        asked=np.concatenate([part.asked for part in parts]),
    )


def _of_branch(
    evaluated: Evaluated,
    version: Version,
    branch: Branch,
    answers: AnswerTable,
    rows: IntArray,
    order: list[int],
) -> _Asked:
    every, first = np.arange(len(rows)), evaluated.choice[rows]
    forecast = evaluated.probability[rows, first]
    numbers = answers.numbers[answers.at[rows, first]][:, order]
    names = [evaluated.models[column] for column in first]
    given = Answers(numbers=graded_inputs(forecast, numbers), models=names, task_types=[None] * len(rows))
    weighed = version.policy.weight * assumed_cost(evaluated.expected_cost[rows])
    worth = advantages(evaluated.probability[rows], weighed, branch.grader(given), forecast, branch.follow)
    worth[every, first] = -np.inf
    worth[~np.isfinite(worth)] = -np.inf
    second = worth.argmax(axis=1)
    return _Asked(rows=rows, second=second, asked=worth[every, second] > branch.threshold)
