"""Comparisons to test with: two models, one of them dear, and routers of known worth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from router.records import FloatArray, IntArray, Request
from training.comparing.evaluated import Contender, Evaluated, Provenance
from training.comparing.policies.baselines import TrainingStatistics, baselines_on
from training.statistics.policy_curves import picked

MODELS = ("small", "large")
COST = (0.001, 0.01)


def outcomes(n: int) -> tuple[FloatArray, list[str | None]]:
    """Success of shape (n, 2) and task types: small fails every second prompt, large every tenth."""
    row = np.arange(n)
    success = np.stack([row % 2 == 0, row % 10 != 0], axis=1).astype(float)
    return success, ["odd" if number % 4 == 1 else "even" for number in row]


def knowing(n: int = 400) -> IntArray:
    """A router that sends a prompt to large exactly where only large succeeds."""
    success, _ = outcomes(n)
    return np.asarray(success[:, 1] > success[:, 0], dtype=np.int64)


def evaluated(
    choice: IntArray,
    *,
    models: Sequence[str] = MODELS,
    task_types: Sequence[str | None] | None = None,
    others: Sequence[Contender] = (),
    known_costs: bool = True,
    warnings: Sequence[str] = (),
) -> Evaluated:
    """A router's choices on the prompts of `outcomes`; it believes in the model that it chooses."""
    n, m = len(choice), len(models)
    success, tasks = outcomes(n)
    success, tasks = success[:, :m], list(task_types or tasks)
    cost = np.tile(COST[:m], (n, 1))
    probability = np.where(np.arange(m) == choice[:, None], 0.9, 0.4)
    statistics = TrainingStatistics.of(models, tasks, success, cost)
    judged = cost if known_costs else np.full_like(cost, np.nan)
    return Evaluated(
        models=tuple(models),
        keys=[f"{row:032x}" for row in range(n)],
        requests=[Request.of(f"Question {row}?", task_type=task) for row, task in enumerate(tasks)],
        clusters=np.arange(n),
        traffic=np.ones(n),
        success=success,
        cost=judged,
        study=None,
        probability=probability,
        expected_cost=cost,
        choice=choice,
        source=["rule" if row % 4 == 0 else "learned" for row in range(n)],
        confidence=picked(probability, choice),
        baselines=baselines_on(statistics, texts=["hi"] * n, task_types=tasks, success=success, cost=judged),
        others=others,
        provenance=Provenance(
            router_version="v1",
            data_digest="d1",
            left_out={"seen in training": 12},
            warnings=warnings,
        ),
    )
