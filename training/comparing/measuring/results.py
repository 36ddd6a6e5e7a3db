"""What each policy, curve and slice comes to, from sums over the same resamples."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from router.records import BoolArray, FloatArray
from training.comparing.evaluated import (
    CurveResult,
    Difference,
    Evaluated,
    PolicyResult,
    SliceResult,
    Support,
)
from training.comparing.measuring.agreement import label_agreement
from training.comparing.measuring.contenders import LEARNED, ComparedPolicy, Sweep, same_choices
from training.comparing.measuring.differences import Look, differences
from training.comparing.measuring.slices import Slice
from training.statistics.hull import aiq
from training.statistics.intervals import (
    LEVEL,
    UNKNOWN,
    Interval,
    Statistic,
    Sums,
    interval,
    joined,
    mean_difference,
    mean_ratio,
    mean_value,
    relative_cost_at_best,
    success_within,
)

ENDS = 5
"""Columns of a sweep's block after its points, as `sweep_block` has them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What the router's differences from one policy come to, corrected for the number of policies."""

    success: Difference
    cost: Difference


NOT_TESTED = Difference(interval=UNKNOWN, p_value=math.nan, p_adjusted=math.nan, calls_to_settle=None)
NOT_COMPARED = Compared(success=NOT_TESTED, cost=NOT_TESTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resampled:
    """Sums of every policy, sweep and slice over the same resamples; `support` off-policy only."""

    policies: Mapping[str, Sums]
    support: Mapping[str, Sums]
    sweeps: Mapping[str, Sums]
    slices: Mapping[tuple[str, str], Sums]


def policy_results(
    evaluated: Evaluated,
    policies: Sequence[ComparedPolicy],
    sums: Resampled,
    support: Mapping[str, Support],
    n_clusters: int,
) -> tuple[PolicyResult, ...]:
    """Every policy's numbers, the router's first; differences corrected for the number of policies."""
    told = {
        name: one for name, one in sums.policies.items() if not (name in support and support[name].refused)
    }
    found = _compared(policies, told, n_clusters)
    return tuple(
        _policy_result(
            policy,
            policies,
            evaluated,
            told.get(policy.name),
            sums.sweeps.get(LEARNED),
            (found.get(policy.name, NOT_COMPARED), support.get(policy.name)),
        )
        for policy in policies
    )


def _compared(
    policies: Sequence[ComparedPolicy], sums: Mapping[str, Sums], n_clusters: int
) -> dict[str, Compared]:
    """The router's differences from every policy that has numbers, corrected within its family."""
    alike = _alike(policies)
    found: dict[str, Compared] = {}
    able = {policy.name: int(np.isfinite(policy.success).sum()) for policy in policies}
    for family in _families(policies, alike, sums):
        success = {
            name: Look(sums=sums[name], statistic=success_gained, prompts=able[name]) for name in family
        }
        cost = {
            name: replace(success[name], statistic=_cost_ratio, reference=1.0, test=cost_gained)
            for name in family
        }
        gained, paid = differences(success, n_clusters), differences(cost, n_clusters)
        found |= {name: Compared(success=gained[name], cost=paid[name]) for name in family}
    return {name: found[one] for name, one in alike.items() if one in found}


def _alike(policies: Sequence[ComparedPolicy]) -> dict[str, str]:
    """Per policy the name of the first one that makes the same choices."""
    return {
        policy.name: next(other.name for other in policies if other is policy or same_choices(other, policy))
        for policy in policies
    }


def _families(
    policies: Sequence[ComparedPolicy], alike: Mapping[str, str], told: Collection[str]
) -> tuple[list[str], list[str], list[str]]:
    """Names of what is looked at together, policies of the same choices once.

    The policies that the router is compared with; the oracle, which nothing can beat; the router itself.
    """
    router, bounds = policies[0].name, {policy.name for policy in policies if policy.kind == "bound"}
    names = [name for name in dict.fromkeys(alike.values()) if name in told]
    return (
        [name for name in names if name != router and name not in bounds],
        [name for name in names if name in bounds],
        [name for name in names if name == router],
    )


def success_gained(sums: FloatArray) -> FloatArray:
    """The router's mean success less the policy's, from sums of `policy_block`."""
    return mean_difference(sums[..., [2, 1, 0]])


def cost_gained(sums: FloatArray) -> FloatArray:
    """The router's mean cost less the policy's, from sums of `policy_block`."""
    return mean_difference(sums[..., [4, 3, 0]])


def _cost_ratio(sums: FloatArray) -> FloatArray:
    """The router's mean cost over the policy's, from sums of `policy_block`."""
    return mean_ratio(sums[..., [4, 3]])


def _policy_result(
    policy: ComparedPolicy,
    policies: Sequence[ComparedPolicy],
    evaluated: Evaluated,
    sums: Sums | None,
    sweep: Sums | None,
    verdict: tuple[Compared, Support | None],
) -> PolicyResult:
    """One policy's numbers from the sums of its own block and of the learned policy's sweep."""
    compared, support = verdict
    used = np.flatnonzero(policy.shares)
    same = [other for other in policies if other is not policy and same_choices(other, policy)]
    able = int((~np.isnan(policy.success)).sum())
    equal = at_equal(sums, sweep if able == len(policy.success) else None)
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
        cost_difference=_interval(sums, cost_gained),
        cost_at_equal_quality=equal[0],
        quality_at_equal_cost=equal[1],
        regret=_interval(sums, lambda s: mean_difference(s[..., [6, 1, 0]])),
        label_agreement=_label_agreement(policy, evaluated),
        shares={model: float(share) for model, share in zip(evaluated.models, policy.shares, strict=True)},
        support=support,
    )


def _interval(sums: Sums | None, statistic: Statistic, *, reference: float = 0.0) -> Interval:
    return UNKNOWN if sums is None else interval(sums, statistic, reference=reference)


def _label_agreement(policy: ComparedPolicy, evaluated: Evaluated) -> float:
    if policy.choice is None or evaluated.study or not np.isfinite(evaluated.cost).all():
        return float("nan")
    return label_agreement(policy.choice, evaluated.success, evaluated.cost)


def at_equal(policy: Sums | None, sweep: Sums | None) -> tuple[Interval, Interval]:
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


def curve_result(name: str, sweep: Sweep, sums: Sums) -> CurveResult:
    """A curve with its band, from the sums of `sweep_block`."""
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
        aiq=interval(sums, lambda s: _aiq(s, n_points)),
    )


def _aiq(sums: FloatArray, n_points: int) -> FloatArray:
    """`aiq` of the means, from sums of `sweep_block`."""
    means = sums / sums[..., [-1]]
    cheapest, dearest = means[..., 2 * n_points + 2], means[..., 2 * n_points + 3]
    return aiq(means[..., :n_points], means[..., n_points : 2 * n_points], cheapest, dearest)


def equal_quality(learned: Sums | None, table: Sums | None) -> Interval | None:
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


def slice_results(
    slices: Sequence[Slice], sums: Mapping[tuple[str, str], Sums], source: Sequence[str], n_clusters: int
) -> tuple[SliceResult, ...]:
    """The router against the reference on every slice, corrected for the number of them."""
    found = differences(
        {
            (one.dimension, one.name): Look(
                sums=sums[one.dimension, one.name],
                statistic=lambda s: mean_difference(s[..., [1, 2, 0]]),
                clusters=one.clusters,
                prompts=int(one.rows.sum()),
            )
            for one in slices
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


def looks(found: Iterable[Difference]) -> int:
    """How many differences were tested; one that policies of the same choices share counts once."""
    return len({id(one) for one in found if not math.isnan(one.p_value)})
