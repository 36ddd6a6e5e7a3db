"""The learned router against every baseline, on the same prompts and the same resamples of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from router.records import BoolArray, FloatArray
from training.comparing.baselines import SHUFFLE, TASK_TYPE
from training.comparing.columns import policy_block, shuffle_block, shuffled, slice_block, sweep_block
from training.comparing.contenders import (
    LEARNED,
    Policy,
    Sweep,
    best_single_column,
    policies_on,
    same_choices,
    sweeps_on,
)
from training.comparing.evaluated import (
    Calibration,
    Comparison,
    CurveResult,
    Evaluated,
    PolicyResult,
    SliceResult,
)
from training.comparing.verdicts import FEW, verdicts
from training.evaluation import (
    brier,
    expected_calibration_error,
    picked,
    reliability,
    risk_coverage,
)
from training.intervals import (
    UNKNOWN,
    Interval,
    Sums,
    apgr_interval,
    cluster_numbers,
    interval,
    joined,
    mean_difference,
    mean_ratio,
    mean_value,
    relative_cost_at_best,
    resampled_blocks,
)

MOST_SLICES = 40
OTHER_SLICES = "(other task types)"
RISK_POINTS = 100


def compare(evaluated: Evaluated, *, n_resamples: int = 2000, seed: int = 0) -> Comparison:
    """Judge the router and every baseline on the same prompts.

    Args:
        n_resamples: of the clusters, for the intervals.
        seed: the same seed gives the same report.
    """
    costs_known = bool(np.isfinite(evaluated.cost).all())
    if not costs_known:
        evaluated = replace(evaluated, cost=np.full_like(evaluated.cost, np.nan))
    best = best_single_column(evaluated)
    policies, sweeps = policies_on(evaluated), sweeps_on(evaluated) if costs_known else {}
    results, curves, equal, slices = _judged(evaluated, policies, sweeps, best, (n_resamples, seed))
    n_clusters = cluster_numbers(evaluated.clusters)[1]
    comparison = Comparison(
        verdict=(),
        provenance=evaluated.provenance,
        models=evaluated.models,
        prompts=len(evaluated.keys),
        clusters=n_clusters,
        costs_known=costs_known,
        best_single=evaluated.models[best],
        router=results[0],
        policies=results[1:],
        curves=curves,
        equal_quality=equal,
        apgr=_apgr(evaluated, best, n_resamples, seed),
        calibration=_calibration(evaluated),
        sources={name: count / len(evaluated.source) for name, count in Counter(evaluated.source).items()},
        slices=slices,
        warnings=(*evaluated.provenance.warnings, *_warnings(evaluated, best, n_clusters)),
        n_resamples=n_resamples,
        seed=seed,
    )
    return replace(comparison, verdict=verdicts(comparison))


def _judged(
    evaluated: Evaluated,
    policies: Sequence[Policy],
    sweeps: Mapping[str, Sweep],
    best: int,
    draws: tuple[int, int],
) -> tuple[tuple[PolicyResult, ...], tuple[CurveResult, ...], Interval | None, tuple[SliceResult, ...]]:
    """Everything with an interval, from one set of resamples (number and seed): paired throughout."""
    router, reference = policies[0], (evaluated.success[:, best], evaluated.cost[:, best])
    groups = _slice_rows(evaluated.task_types)
    blocks: dict[tuple[str, str | None], FloatArray] = {
        ("policy", policy.name): policy_block(policy, router, reference) for policy in policies
    }
    blocks["policy", SHUFFLE] = shuffle_block(evaluated, router, reference)
    blocks |= {("sweep", name): sweep_block(sweep, reference) for name, sweep in sweeps.items()}
    blocks |= {("slice", name): slice_block(rows, router, reference) for name, rows in groups.items()}
    sums = resampled_blocks(blocks, evaluated.clusters, n_resamples=draws[0], seed=draws[1])
    sums["policy", SHUFFLE] = shuffled(sums["policy", SHUFFLE])
    results = tuple(
        _policy_result(
            policy, policies, (sums["policy", policy.name], sums.get(("sweep", LEARNED))), evaluated.models
        )
        for policy in policies
    )
    curves = tuple(
        _curve_result(name, sweep, sums["sweep", name], len(evaluated.keys)) for name, sweep in sweeps.items()
    )
    slices = tuple(
        _slice_result(name, rows, sums["slice", name], evaluated.source) for name, rows in groups.items()
    )
    equal = None
    if len(sweeps) == 2:
        equal = _equal_quality(sums["sweep", LEARNED], sums["sweep", TASK_TYPE])
    return results, curves, equal, slices


def _slice_rows(task_types: Sequence[str | None]) -> dict[str | None, BoolArray]:
    """Rows of each task type, the most frequent first; rare ones together. Empty without any task type."""
    count = Counter(task_types)
    if set(count) == {None}:
        return {}
    names = [name for name, _ in count.most_common(MOST_SLICES)]
    rows: dict[str | None, BoolArray] = {
        name: np.array([task == name for task in task_types], dtype=bool) for name in names
    }
    rest = ~np.any(list(rows.values()), axis=0)
    return rows | ({OTHER_SLICES: rest} if rest.any() else {})


def _policy_result(
    policy: Policy, policies: Sequence[Policy], both: tuple[Sums, Sums | None], models: tuple[str, ...]
) -> PolicyResult:
    """One policy's numbers from the sums of its own block and of the learned policy's sweep."""
    sums, sweep = both
    used = np.flatnonzero(policy.shares)
    same = [other for other in policies if other is not policy and same_choices(other, policy)]
    return PolicyResult(
        name=policy.name,
        kind=policy.kind,
        model=models[used[0]] if len(used) == 1 else None,
        aliases=tuple(other.name for other in same if other.kind == "baseline"),
        same_as_router=any(other.kind == "router" for other in same),
        prompts=int(sums.total[0]),
        success=interval(sums, lambda s: mean_value(s[..., [1, 0]])),
        cost_usd_per_call=interval(sums, lambda s: mean_value(s[..., [3, 0]])),
        cost_relative_to_best_single=interval(sums, lambda s: mean_ratio(s[..., [3, 5]]), reference=1.0),
        router_success_difference=interval(sums, lambda s: mean_difference(s[..., [2, 1, 0]])),
        router_cost_ratio=interval(sums, lambda s: mean_ratio(s[..., [4, 3]]), reference=1.0),
        router_cost_difference=interval(sums, lambda s: mean_difference(s[..., [4, 3, 0]])),
        learned_cost_at_equal_success=_swept_to(sums, sweep, len(policy.success)),
        shares={model: float(share) for model, share in zip(models, policy.shares, strict=True)},
    )


def _swept_to(policy: Sums, sweep: Sums | None, n: int) -> Interval:
    """Cost at which the learned policy's sweep reaches a policy's success, over that policy's cost."""
    if sweep is None or policy.total[0] < n:
        return UNKNOWN
    width = len(sweep.total) - 2
    columns = [*range(width), width + 1, width + 3]
    both = joined(Sums(total=sweep.total[:-2], draws=sweep.draws[:, :-2]), policy)
    return interval(both, lambda s: relative_cost_at_best(s[..., columns], width // 2), reference=1.0)


def _curve_result(name: str, sweep: Sweep, sums: Sums, n: int) -> CurveResult:
    n_weights = len(sweep.weights)
    means = sums.total / n
    return CurveResult(
        name=name,
        weight=tuple(sweep.weights.tolist()),
        success=tuple(means[:n_weights].tolist()),
        cost_usd_per_call=tuple(means[n_weights : 2 * n_weights].tolist()),
        cost_at_best=interval(sums, lambda s: relative_cost_at_best(s, n_weights), reference=1.0),
    )


def _equal_quality(learned: Sums, table: Sums) -> Interval:
    """Cost at the best single model's success, the learned policy's over the table's; infinite: never."""
    cut = len(learned.total)

    def ratio(sums: FloatArray) -> FloatArray:
        ours, theirs = sums[..., :cut], sums[..., cut:]
        ours = relative_cost_at_best(ours, (ours.shape[-1] - 2) // 2)
        theirs = relative_cost_at_best(theirs, (theirs.shape[-1] - 2) // 2)
        return np.where(theirs > 0, ours / np.where(theirs > 0, theirs, 1), np.nan)

    return interval(joined(learned, table), ratio, reference=1.0)


def _slice_result(name: str | None, rows: BoolArray, sums: Sums, source: Sequence[str]) -> SliceResult:
    prompts, router, best, cost, _ = sums.total
    return SliceResult(
        task_type=name,
        prompts=int(prompts),
        router_success=float(router / prompts),
        best_single_success=float(best / prompts),
        success_difference=interval(sums, lambda s: mean_difference(s[..., [1, 2, 0]])),
        router_cost_usd_per_call=float(cost / prompts),
        cost_ratio=interval(sums, lambda s: mean_ratio(s[..., [3, 4]]), reference=1.0),
        rule_share=float(
            np.mean([who == "rule" for who, inside in zip(source, rows, strict=True) if inside])
        ),
    )


def _apgr(evaluated: Evaluated, best: int, n_resamples: int, seed: int) -> Interval | None:
    """With two models: how well the difference of the router's probabilities ranks the prompts."""
    if len(evaluated.models) != 2:
        return None
    gap = evaluated.probability[:, best] - evaluated.probability[:, 1 - best]
    if not np.isfinite(gap).all():
        return UNKNOWN
    weak, strong = evaluated.success[:, 1 - best], evaluated.success[:, best]
    return apgr_interval(gap, weak, strong, evaluated.clusters, n_resamples=n_resamples, seed=seed)


def _calibration(evaluated: Evaluated) -> Calibration:
    confidence, outcome = evaluated.confidence, picked(evaluated.success, evaluated.choice)
    known = np.isfinite(evaluated.probability)
    every, of_every = evaluated.probability[known], evaluated.success[known]
    table, risk = reliability(confidence, outcome), risk_coverage(confidence, outcome)
    point = np.unique(np.linspace(0, len(risk.risk) - 1, RISK_POINTS).astype(int))
    return Calibration(
        expected_calibration_error=expected_calibration_error(confidence, outcome),
        brier=brier(confidence, outcome),
        all_models_expected_calibration_error=expected_calibration_error(every, of_every),
        all_models_brier=brier(every, of_every),
        bins=tuple(
            {
                "upper_edge": float(table.edges[number + 1]),
                "prompts": int(table.count[number]),
                "confidence": float(table.predicted[number]),
                "success": float(table.observed[number]),
            }
            for number in np.flatnonzero(table.count)
        ),
        risk_coverage=tuple(
            {
                "coverage": float(risk.coverage[number]),
                "threshold": float(risk.threshold[number]),
                "risk": float(risk.risk[number]),
            }
            for number in point
        ),
        risk_coverage_area=risk.area,
    )


def _warnings(evaluated: Evaluated, best: int, n_clusters: int) -> list[str]:
    """What the reader must know before believing the numbers."""
    n, mean = len(evaluated.keys), evaluated.success.mean(axis=0)
    found = []
    if n_clusters < FEW:
        found.append(
            f"Few prompts ({n}, independent groups: {n_clusters}): no verdict is drawn below {FEW} groups."
        )
    if not np.isfinite(evaluated.cost).all():
        found.append("Some costs are unknown, so costs are left out: only success rates are compared.")
    if len(evaluated.models) == 1:
        found.append(f"There is only one model, {evaluated.models[0]}: nothing can be routed.")
    if mean.max() > mean[best]:
        found.append(
            f"On these prompts {evaluated.models[int(mean.argmax())]} succeeds more often ({mean.max():.1%}) "
            f"than the training log's best single model, {evaluated.models[best]} ({mean[best]:.1%})."
        )
    unable = [name for name, choice in evaluated.baselines.choices.items() if (choice < 0).all()]
    if unable:
        found.append(f"These baselines could not choose on any prompt: {', '.join(unable)}.")
    return found
