"""A router judged on logged calls that it was not fitted on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from router.errors import CallLogError
from router.records import IntArray, Json
from router.rules import whole_text
from router.version import Version
from training.comparing.baselines import TrainingStatistics, baselines_on
from training.comparing.comparison import compare
from training.comparing.evaluated import Comparison, Evaluated, Provenance
from training.comparing.report import write_report
from training.outcomes import PromptTable
from training.preparation import Reading, Reporter, calls_of, encodings_of, table_of

SEEN = "seen in training"
PARTIAL = "without the outcome of every model"


def compare_on_log(
    sources: Sequence[str], router: Version, out: Path, reading: Reading, reporter: Reporter
) -> Comparison:
    """Judge a router on calls that it was not fitted on, and write `report.html` and `report.json`.

    Raises:
        CallLogError: the calls can't be read, or hold no fresh prompt that every model answered.
    """
    with calls_of(sources, reading, reporter) as files:
        digest = files.summary.digest
        table = table_of(files, reading.config, reporter).columns(router.models)
    rows, left_out = comparable_rows(table, router)
    if not len(rows):
        why = ", ".join(f"{count} {reason}" for reason, count in left_out.items())
        raise CallLogError(
            f"no prompt to judge the router on: {len(table)} prompts, {why}; give calls that it was not "
            f"trained on, with the outcome of each of its models ({', '.join(router.models)})"
        )
    provenance = Provenance(
        router_version=router.policy_version,
        data_digest=digest,
        left_out=left_out,
        objective=_objective(router),
        dominated={name: found["by"] for name, found in router.manifest["data"]["dominated"].items()},
        warnings=_warnings(table, rows),
    )
    evaluated = _evaluated(table.rows(rows), router, provenance, reading, reporter)
    comparison = compare(evaluated)
    write_report(comparison, out)
    return comparison


def comparable_rows(table: PromptTable, router: Version) -> tuple[IntArray, dict[str, int]]:
    """Prompts on which a router can be judged exactly, and the number of the others by reason."""
    seen = router.training_keys()
    fresh = np.array([int(key[:16], 16) not in seen for key in table.keys], dtype=bool)
    known = np.isfinite(table.success).all(axis=1)
    reasons = {SEEN: int((~fresh).sum()), PARTIAL: int((fresh & ~known).sum())}
    return np.flatnonzero(fresh & known), {why: count for why, count in reasons.items() if count}


def statistics_to_json(statistics: TrainingStatistics) -> dict[str, Json]:
    """The training log's means as the manifest holds them; None is unknown."""
    return {
        "success": _plain(statistics.success),
        "cost": _plain(statistics.cost),
        "task_types": list(statistics.task_types),
        "task_success": [_plain(row) for row in statistics.task_success],
        "task_cost": [_plain(row) for row in statistics.task_cost],
        "task_counts": statistics.task_counts.tolist(),
    }


def statistics_of(manifest: Mapping[str, Json]) -> TrainingStatistics:
    """The training log's means out of a manifest."""
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


def _evaluated(
    table: PromptTable, router: Version, provenance: Provenance, reading: Reading, reporter: Reporter
) -> Evaluated:
    """What the router and every baseline do on prompts whose outcomes are all known."""
    encodings, _ = encodings_of(table, router.encoder, reading.cache, reporter)
    forecast = router.forecast(table.requests, encodings)
    decisions = router.decisions(table.requests, forecast)
    column = {model: index for index, model in enumerate(router.models)}
    task_types = [request.task_type for request in table.requests]
    return Evaluated(
        models=router.models,
        keys=table.keys,
        clusters=table.groups,
        task_types=task_types,
        success=table.success,
        cost=table.cost,
        probability=forecast.probability,
        expected_cost=forecast.cost,
        choice=np.array([column[decision.model] for decision in decisions], dtype=np.int64),
        source=[decision.source for decision in decisions],
        confidence=np.array([decision.confidence for decision in decisions], dtype=np.float64),
        baselines=baselines_on(
            statistics_of(router.manifest),
            texts=[whole_text(request) for request in table.requests],
            task_types=task_types,
            success=table.success,
            cost=table.cost,
            heuristic=router.config.rules.heuristic,
        ),
        provenance=provenance,
    )


def _objective(router: Version) -> str:
    """The router's objective in words."""
    objective = router.config.objective
    if objective.kind == "budget":
        return f"best success within ${objective.usd_per_call:g} a call"
    if objective.kind == "quality":
        return f"cheapest at a success rate of at least {objective.quality:.0%}"
    return "cheapest at no less than the best single model's success rate"


def _warnings(table: PromptTable, rows: IntArray) -> list[str]:
    truncated = table.truncated_calls
    sentences = [
        f"{truncated} calls were logged with a text cut short: their prompts are judged on what is left"
    ]
    return sentences if truncated else []


def _plain(values: np.ndarray) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]
