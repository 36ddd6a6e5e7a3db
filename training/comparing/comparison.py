"""The learned router against every other policy, on the same prompts and the same resamples of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from router.errors import CallLogError
from router.records import BoolArray, FloatArray
from training.comparing.baselines import BEST_SINGLE, ORACLE, SHUFFLE, TASK_TYPE
from training.comparing.calibration import calibration
from training.comparing.columns import (
    Yardsticks,
    policy_block,
    shuffle_block,
    shuffled,
    slice_block,
    sweep_block,
)
from training.comparing.contenders import (
    LEARNED,
    LOGGED,
    Policy,
    Sweep,
    best_single_column,
    policies_on,
    same_choices,
    sweeps_on,
)
from training.comparing.differences import Look, differences
from training.comparing.evaluated import (
    Change,
    Comparison,
    CurveResult,
    Difference,
    Evaluated,
    OffPolicy,
    PolicyResult,
    Promise,
    SliceResult,
    Support,
)
from training.comparing.examples import examples
from training.comparing.hull import average_quality
from training.comparing.ranking import ranking
from training.comparing.regret import label_agreement
from training.comparing.slices import Slice, slices_of
from training.comparing.support import log_warnings, overlap_by_task_type, support_of, support_warnings
from training.comparing.support import policy_block as support_block
from training.comparing.verdicts import FEW, verdicts
from training.intervals import (
    LEVEL,
    UNKNOWN,
    Interval,
    Statistic,
    Sums,
    cluster_numbers,
    interval,
    joined,
    mean_difference,
    mean_ratio,
    mean_value,
    relative_cost_at_best,
    resampled_blocks,
    success_within,
)

ENDS = 5
"""Columns of a sweep's block after its points, as `sweep_block` has them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """How intervals are drawn: the number of resamples of the clusters, and their seed."""

    number: int = 2000
    seed: int = 0


OUTCOME_MODEL = (
    "ridge regression per model on the router's forecasts, the prompt's structure and its task type, "
    "cross-fitted by session or prompt"
)
USUAL_DRAWS = Draws()
NO_DIFFERENCE = Difference(
    interval=UNKNOWN, p_value=float("nan"), p_adjusted=float("nan"), calls_to_settle=None
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What the router's differences from one policy come to, corrected for the number of policies."""

    success: Difference
    cost: Difference
    support: Support | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resampled:
    """Sums of every policy, sweep and slice over the same resamples; `support` off-policy only."""

    policies: Mapping[str, Sums]
    support: Mapping[str, Sums]
    sweeps: Mapping[str, Sums]
    slices: Mapping[tuple[str, str], Sums]


def compare(
    evaluated: Evaluated,
    *,
    draws: Draws = USUAL_DRAWS,
    today: str | None = None,
    promise: Promise | None = None,
    show_text: bool = False,
) -> Comparison:
    """Judge the router and every other policy on the same prompts.

    Args:
        draws: the same seed gives the same report.
        today: name of the policy that runs today; None: the logged one, else the best single model.
        promise: made and kept elsewhere; passed through.
        show_text: examples may show the start of a prompt.

    Raises:
        CallLogError: no policy is named `today`.
    """
    costs_known = bool(np.isfinite(evaluated.cost).all())
    if not costs_known:
        evaluated = replace(evaluated, cost=np.full_like(evaluated.cost, np.nan))
    policies, sweeps = policies_on(evaluated), sweeps_on(evaluated) if costs_known else {}
    reference = _reference(policies, today)
    best, slices = best_single_column(evaluated), slices_of(evaluated)
    sums = _resampled(evaluated, policies, sweeps, slices, reference, draws)
    n_clusters = cluster_numbers(evaluated.clusters)[1]
    support = _supports(evaluated, policies, sums)
    results = _policy_results(evaluated, policies, sums, support, n_clusters)
    curves = tuple(_curve_result(name, sweep, sums.sweeps[name]) for name, sweep in sweeps.items())
    found = _slice_results(slices, sums.slices, evaluated.source, n_clusters)
    learned, at_best = sums.sweeps.get(LEARNED), _named(policies, f"always {evaluated.models[best]}")
    equal = _at_equal(sums.policies[at_best.name], learned)
    comparison = Comparison(
        method=evaluated.method,
        change=_change(reference.name, sums.policies[reference.name]),
        verdict=(),
        provenance=evaluated.provenance,
        models=evaluated.models,
        prompts=len(evaluated.keys),
        clusters=n_clusters,
        costs_known=costs_known,
        best_single=evaluated.models[best],
        router=results[0],
        policies=results[1:],
        cost_at_equal_quality=equal[0],
        quality_at_equal_cost=equal[1],
        curves=curves,
        equal_quality=_equal_quality(learned, sums.sweeps.get(TASK_TYPE)),
        ranking=ranking(evaluated, best, draws) if evaluated.study is None else None,
        calibration=calibration(evaluated),
        sources={name: count / len(evaluated.source) for name, count in Counter(evaluated.source).items()},
        reference=reference.name,
        slices=found,
        examples=examples(evaluated, reference.choice, show_text=show_text),
        promise=promise,
        off_policy=_off_policy(evaluated, policies, support),
        looked_at={"policies": len(results) - 1, "slices": len(found)},
        warnings=(*evaluated.provenance.warnings, *_warnings(evaluated, best, n_clusters)),
        n_resamples=draws.number,
        seed=draws.seed,
    )
    return replace(comparison, verdict=verdicts(comparison))


def _named(policies: Sequence[Policy], name: str) -> Policy:
    return next(policy for policy in policies if policy.name == name)


def _reference(policies: Sequence[Policy], today: str | None) -> Policy:
    """The policy that runs today: the one named, else the logged one, else the best single model."""
    names = {policy.name: policy for policy in policies[1:] if policy.kind != "bound"}
    if today is not None and today not in names:
        raise CallLogError(f"no policy is named {today!r}; --today takes one of: {', '.join(names)}")
    usual = next(name for name in (LOGGED, BEST_SINGLE, *names) if name in names)
    return names[usual if today is None else today]


def _resampled(
    evaluated: Evaluated,
    policies: Sequence[Policy],
    sweeps: Mapping[str, Sweep],
    slices: Sequence[Slice],
    reference: Policy,
    draws: Draws,
) -> Resampled:
    """Everything with an interval, from one set of resamples: paired throughout."""
    best, router = best_single_column(evaluated), policies[0]
    bound = next((policy.success for policy in policies if policy.name == ORACLE), None)
    against = Yardsticks(
        router=router,
        success=evaluated.success[:, best],
        cost=evaluated.cost[:, best],
        bound=np.full(len(evaluated.keys), np.nan) if bound is None else bound,
    )
    mean_cost = evaluated.traffic @ evaluated.cost
    ends = (evaluated.cost[:, mean_cost.argmin()], evaluated.cost[:, mean_cost.argmax()])
    blocks: dict[tuple[str, ...], FloatArray] = {
        ("policy", policy.name): policy_block(policy, against) for policy in policies
    }
    blocks["policy", SHUFFLE] = shuffle_block(evaluated, against)
    blocks |= {("sweep", name): sweep_block(sweep, against, ends) for name, sweep in sweeps.items()}
    blocks |= {("slice", one.dimension, one.name): slice_block(one.rows, router, reference) for one in slices}
    blocks = {name: block * evaluated.traffic[:, None] for name, block in blocks.items()}
    if evaluated.study is not None:
        blocks |= {
            ("support", policy.name): support_block(evaluated.study, policy.chances()) for policy in policies
        }
    sums = resampled_blocks(blocks, evaluated.clusters, n_resamples=draws.number, seed=draws.seed)
    sums["policy", SHUFFLE] = shuffled(sums["policy", SHUFFLE])
    return Resampled(
        policies={name[1]: block for name, block in sums.items() if name[0] == "policy"},
        support={name[1]: block for name, block in sums.items() if name[0] == "support"},
        sweeps={name[1]: block for name, block in sums.items() if name[0] == "sweep"},
        slices={(name[1], name[2]): block for name, block in sums.items() if name[0] == "slice"},
    )


def _policy_results(
    evaluated: Evaluated,
    policies: Sequence[Policy],
    sums: Resampled,
    support: Mapping[str, Support],
    n_clusters: int,
) -> tuple[PolicyResult, ...]:
    """Every policy's numbers, the router's first; differences corrected for the number of policies."""
    support = (
        {policy.name: evaluated.logged.support(policy) for policy in policies} if evaluated.logged else {}
    )
    told = {
        policy.name: sums.policies[policy.name]
        for policy in policies
        if not (policy.name in support and support[policy.name].refused)
    }
    looks = {name: one for name, one in told.items() if name != policies[0].name}
    success = differences(
        {name: Look(sums=one, statistic=_success_gained) for name, one in looks.items()}, n_clusters
    )
    cost = differences(
        {name: Look(sums=one, statistic=_cost_ratio, reference=1.0) for name, one in looks.items()},
        n_clusters,
    )
    return tuple(
        _policy_result(
            policy,
            policies,
            evaluated,
            told.get(policy.name),
            sums.sweeps.get(LEARNED),
            Compared(
                success=success.get(policy.name, NO_DIFFERENCE),
                cost=cost.get(policy.name, NO_DIFFERENCE),
                support=support.get(policy.name),
            ),
        )
        for policy in policies
    )


def _supports(evaluated: Evaluated, policies: Sequence[Policy], sums: Resampled) -> dict[str, Support]:
    """How far the log can speak for each policy; empty where every outcome is known."""
    if evaluated.study is None:
        return {}
    return {
        policy.name: support_of(evaluated.study, policy.chances(), sums.support[policy.name])
        for policy in policies
        if policy.kind not in ("bound", "logged")
    }


def _off_policy(
    evaluated: Evaluated, policies: Sequence[Policy], support: Mapping[str, Support]
) -> OffPolicy | None:
    """What the log allows to say, with the warnings of every policy by its name."""
    study = evaluated.study
    if study is None:
        return None
    warnings = log_warnings(study)
    for policy in policies:
        if policy.name in support:
            told = support_warnings(study, policy.chances(), support[policy.name])
            warnings += [f"{policy.name}: {sentence}" for sentence in told]
    return OffPolicy(
        propensities=study.propensities.source,
        outcome_model=OUTCOME_MODEL,
        calls=int(np.where(np.isfinite(study.logged.success), study.logged.calls, 0).sum()),
        overlap=overlap_by_task_type(study, policies[0].chances()),
        propensity_calibration_error=study.propensities.calibration_error,
        warnings=tuple(warnings),
    )


def _success_gained(sums: FloatArray) -> FloatArray:
    """The router's mean success less the policy's, from sums of `policy_block`."""
    return mean_difference(sums[..., [2, 1, 0]])


def _cost_ratio(sums: FloatArray) -> FloatArray:
    """The router's mean cost over the policy's, from sums of `policy_block`."""
    return mean_ratio(sums[..., [4, 3]])


def _policy_result(
    policy: Policy,
    policies: Sequence[Policy],
    evaluated: Evaluated,
    sums: Sums | None,
    sweep: Sums | None,
    compared: Compared,
) -> PolicyResult:
    """One policy's numbers from the sums of its own block and of the learned policy's sweep."""
    used = np.flatnonzero(policy.shares)
    same = [other for other in policies if other is not policy and same_choices(other, policy)]
    able = int((~np.isnan(policy.success)).sum())
    equal = _at_equal(sums, sweep if able == len(policy.success) else None)
    return PolicyResult(
        name=policy.name,
        kind=policy.kind,
        model=evaluated.models[used[0]] if len(used) == 1 else None,
        aliases=tuple(other.name for other in same if other.kind == "baseline"),
        same_as_router=any(other.kind == "router" for other in same),
        prompts=able,
        success=_interval(sums, lambda s: mean_value(s[..., [1, 0]])),
        cost_usd_per_call=_interval(sums, lambda s: mean_value(s[..., [3, 0]])),
        cost_relative_to_best_single=_interval(sums, lambda s: mean_ratio(s[..., [3, 5]]), reference=1.0),
        success_difference=compared.success,
        cost_ratio=compared.cost,
        cost_difference=_interval(sums, lambda s: mean_difference(s[..., [4, 3, 0]])),
        cost_at_equal_quality=equal[0],
        quality_at_equal_cost=equal[1],
        regret=_interval(sums, lambda s: mean_difference(s[..., [6, 1, 0]])),
        label_agreement=_label_agreement(policy, evaluated),
        shares={model: float(share) for model, share in zip(evaluated.models, policy.shares, strict=True)},
        support=compared.support,
    )


def _interval(sums: Sums | None, statistic: Statistic, *, reference: float = 0.0) -> Interval:
    return UNKNOWN if sums is None else interval(sums, statistic, reference=reference)


def _label_agreement(policy: Policy, evaluated: Evaluated) -> float:
    if policy.choice is None or evaluated.logged or not np.isfinite(evaluated.cost).all():
        return float("nan")
    return label_agreement(policy.choice, evaluated.success, evaluated.cost)


def _at_equal(policy: Sums | None, sweep: Sums | None) -> tuple[Interval, Interval]:
    """The learned policy's relative cost at a policy's success, and its gain in success at the policy's cost.

    Args:
        policy: sums of `policy_block`.
        sweep: of `sweep_block`; None where there is none, or the policy can't choose on every prompt.
    """
    if policy is None or sweep is None:
        return UNKNOWN, UNKNOWN
    n_points = (len(sweep.total) - ENDS) // 2
    both = joined(sweep, policy)
    of_policy = len(sweep.total)
    points, success, cost = np.arange(2 * n_points), of_policy + 1, of_policy + 3
    columns = [*points, success, cost]
    relative = interval(both, lambda s: relative_cost_at_best(s[..., columns], n_points), reference=1.0)

    def gained(sums: FloatArray) -> FloatArray:
        best = success_within(sums[..., :n_points], sums[..., n_points : 2 * n_points], sums[..., cost])
        difference: FloatArray = (best - sums[..., success]) / sums[..., of_policy]
        return difference

    return relative, interval(both, gained)


def _change(today: str, sums: Sums) -> Change:
    """What 1,000 requests would cost and fail more with the router than today."""
    return Change(
        today=today,
        usd_per_1000=interval(sums, lambda s: 1000 * mean_difference(s[..., [4, 3, 0]])),
        failures_per_1000=interval(sums, lambda s: 1000 * mean_difference(s[..., [1, 2, 0]])),
    )


def _curve_result(name: str, sweep: Sweep, sums: Sums) -> CurveResult:
    n_points = len(sweep.weights)
    means, drawn = sums.total / sums.total[-1], sums.draws[:, :n_points] / sums.draws[:, [-1]]
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail], axis=0) if len(drawn) else np.full((2, n_points), np.nan)
    return CurveResult(
        name=name,
        weight=tuple(sweep.weights.tolist()),
        success=tuple(means[:n_points].tolist()),
        success_ci_low=tuple(low.tolist()),
        success_ci_high=tuple(high.tolist()),
        cost_usd_per_call=tuple(means[n_points : 2 * n_points].tolist()),
        cost_at_best=interval(
            sums, lambda s: relative_cost_at_best(s[..., : 2 * n_points + 2], n_points), reference=1.0
        ),
        aiq=interval(sums, lambda s: average_quality(_hull_columns(s, n_points), n_points)),
    )


def _hull_columns(sums: FloatArray, n_points: int) -> FloatArray:
    """Sums of `sweep_block` as `average_quality` takes them."""
    last = 2 * n_points
    return np.concatenate([sums[..., :last], sums[..., last + 2 :]], axis=-1)


def _equal_quality(learned: Sums | None, table: Sums | None) -> Interval | None:
    """Cost at the best single model's success, the learned policy's over the table's; infinite: never."""
    if learned is None or table is None:
        return None
    cut = len(learned.total)

    def at_best(sums: FloatArray) -> FloatArray:
        n_points = (sums.shape[-1] - ENDS) // 2
        return relative_cost_at_best(sums[..., : 2 * n_points + 2], n_points)

    def ratio(sums: FloatArray) -> FloatArray:
        ours, theirs = at_best(sums[..., :cut]), at_best(sums[..., cut:])
        return np.where(theirs > 0, ours / np.where(theirs > 0, theirs, 1), np.nan)

    return interval(joined(learned, table), ratio, reference=1.0)


def _slice_results(
    slices: Sequence[Slice], sums: Mapping[tuple[str, str], Sums], source: Sequence[str], n_clusters: int
) -> tuple[SliceResult, ...]:
    """The router against the reference on every slice, corrected for the number of them."""
    found = differences(
        {
            name: Look(sums=one, statistic=lambda s: mean_difference(s[..., [1, 2, 0]]))
            for name, one in sums.items()
        },
        n_clusters,
    )
    by_rule = np.array([who == "rule" for who in source])
    return tuple(
        _slice_result(one, sums[one.dimension, one.name], found[one.dimension, one.name], by_rule)
        for one in slices
    )


def _slice_result(one: Slice, sums: Sums, difference: Difference, by_rule: BoolArray) -> SliceResult:
    prompts, router, reference, cost, _ = sums.total
    return SliceResult(
        dimension=one.dimension,
        name=one.name,
        prompts=int(one.rows.sum()),
        router_success=float(router / prompts) if prompts else float("nan"),
        reference_success=float(reference / prompts) if prompts else float("nan"),
        success_difference=difference,
        router_cost_usd_per_call=float(cost / prompts) if prompts else float("nan"),
        cost_ratio=interval(sums, lambda s: mean_ratio(s[..., [3, 4]]), reference=1.0),
        rule_share=float(by_rule[one.rows].mean()) if one.rows.any() else float("nan"),
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
