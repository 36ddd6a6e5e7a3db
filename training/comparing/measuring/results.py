"""The figures of each policy, curve and slice, from sums over the same resamples."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from router.records import BoolArray, FloatArray, IntArray
from training.comparing.blocks import paired_interval, ratio
from training.comparing.evaluated import (
    CurveResult,
    Difference,
    Evaluated,
    PolicyResult,
    SliceResult,
    Support,
)
from training.comparing.measuring.columns import PolicyBlock, SliceBlock, SweepBlock
from training.comparing.measuring.contenders import LEARNED, ComparedPolicy, Sweep, same_choices
from training.comparing.measuring.differences import Look, differences
from training.comparing.measuring.slices import Slice
from training.comparing.policies.baselines import SUCCEEDED
from training.statistics.hull import aiq
from training.statistics.intervals import (
    LEVEL,
    UNKNOWN,
    Interval,
    Sums,
    cut_to_range,
    interval,
    relative_cost_at_best,
    success_within,
    with_room,
)
from training.statistics.policy_curves import picked


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterDifferences:
    """The router's differences from one policy, corrected for the number of policies."""

    success: Difference
    cost: Difference

    def guarded(self, groups: int) -> RouterDifferences:
        """The same with room for a difference of success rates where no group of prompts shows any."""
        wide = with_room(self.success.interval, groups)
        return replace(self, success=replace(self.success, interval=wide))


NOT_TESTED = Difference(interval=UNKNOWN, p_value=math.nan, p_adjusted=math.nan, calls_to_settle=None)
NOT_COMPARED = RouterDifferences(success=NOT_TESTED, cost=NOT_TESTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resampled:
    """Sums of every policy, sweep and slice over the same resamples; `support` off-policy only."""

    policies: Mapping[str, Sums]
    support: Mapping[str, Sums]
    sweeps: Mapping[str, Sums]
    slices: Mapping[tuple[str, str], Sums]


def supported(
    sums: Resampled, silent: Mapping[str, Collection[str]], *, best: str, ends: tuple[str, str]
) -> Resampled:
    """The sums of which the log can speak; what it can't tell is NaN in every one of them.

    Args:
        silent: "success" and "cost" of each policy where the log can't tell them.
        best: name of the best single model's policy.
        ends: names of the policies of the cheapest and the dearest model.
    """
    router = next(iter(silent))

    def marked(name: str, prefix: str = "") -> set[str]:
        return {f"{prefix}{outcome}" for outcome in silent[name]}

    best_cost = {"best_cost"} & marked(best, "best_")
    return replace(
        sums,
        policies={
            name: PolicyBlock.silenced(one, marked(name) | marked(router, "router_") | best_cost)
            for name, one in sums.policies.items()
        },
        sweeps={
            name: SweepBlock.silenced(
                one,
                marked(best, "best_")
                | ({"cheapest_cost"} if "cost" in silent[ends[0]] else set())
                | ({"dearest_cost"} if "cost" in silent[ends[1]] else set()),
            )
            for name, one in sums.sweeps.items()
        },
    )


def policy_results(
    evaluated: Evaluated,
    policies: Sequence[ComparedPolicy],
    sums: Resampled,
    support: Mapping[str, Support],
    n_clusters: int,
) -> tuple[PolicyResult, ...]:
    """Every policy's numbers, the router's first; differences corrected for the number of policies."""
    reported = sums.policies
    compared = _compared(policies, reported, n_clusters)
    return tuple(
        _policy_result(
            policy,
            policies,
            evaluated,
            reported[policy.name],
            sums.sweeps.get(LEARNED),
            (compared.get(policy.name, NOT_COMPARED), support.get(policy.name)),
        )
        for policy in policies
    )


def _compared(
    policies: Sequence[ComparedPolicy], sums: Mapping[str, Sums], n_clusters: int
) -> dict[str, RouterDifferences]:
    """The router's differences from every policy that has numbers, corrected within its family."""
    alike = _alike(policies)
    compared: dict[str, RouterDifferences] = {}
    able = {policy.name: int(np.isfinite(policy.success).sum()) for policy in policies}
    for family in _families(policies, alike, sums):
        success = {
            name: Look(sums=sums[name], statistic=PolicyBlock.statistic(success_gained), prompts=able[name])
            for name in family
        }
        cost = {
            name: replace(
                look,
                statistic=PolicyBlock.statistic(lambda s: ratio(s.router_cost, s.cost)),
                reference=1.0,
                test=PolicyBlock.statistic(cost_gained),
            )
            for name, look in success.items()
        }
        gained, paid = differences(success, n_clusters), differences(cost, n_clusters)
        found = {name: RouterDifferences(success=gained[name], cost=paid[name]) for name in family}
        like_router = alike[policies[0].name]
        compared |= {
            name: one if name == like_router else one.guarded(n_clusters) for name, one in found.items()
        }
    return {name: compared[first] for name, first in alike.items() if first in compared}


def _alike(policies: Sequence[ComparedPolicy]) -> dict[str, str]:
    """Per policy the name of the first one that makes the same choices."""
    return {
        policy.name: next(other.name for other in policies if other is policy or same_choices(other, policy))
        for policy in policies
    }


def _families(
    policies: Sequence[ComparedPolicy], alike: Mapping[str, str], reported: Collection[str]
) -> tuple[list[str], list[str], list[str]]:
    """Names of the policies that are tested together; those that make the same choices count once.

    Three families: the policies that the router is compared with, the oracle, which nothing can beat, and
    the router itself.
    """
    router, bounds = policies[0].name, {policy.name for policy in policies if policy.kind == "bound"}
    names = [name for name in dict.fromkeys(alike.values()) if name in reported]
    return (
        [name for name in names if name != router and name not in bounds],
        [name for name in names if name in bounds],
        [name for name in names if name == router],
    )


def success_gained(sums: PolicyBlock) -> FloatArray:
    """The router's mean success less the policy's."""
    return (sums.router_success - sums.success) / sums.prompts


def cost_gained(sums: PolicyBlock) -> FloatArray:
    """The router's mean cost less the policy's."""
    return (sums.router_cost - sums.cost) / sums.prompts


def _policy_result(
    policy: ComparedPolicy,
    policies: Sequence[ComparedPolicy],
    evaluated: Evaluated,
    sums: Sums,
    sweep: Sums | None,
    verdict: tuple[RouterDifferences, Support | None],
) -> PolicyResult:
    """One policy's numbers from its own sums and those of the learned policy's sweep.

    Args:
        sums: of a `PolicyBlock`.
        sweep: of a `SweepBlock`, or None if there is none.
    """
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
        success=cut_to_range(_interval(sums, lambda s: s.success / s.prompts), 0.0, 1.0),
        cost_usd_per_call=cut_to_range(_interval(sums, lambda s: s.cost / s.prompts), 0.0, math.inf),
        cost_relative_to_best_single=_interval(sums, lambda s: ratio(s.cost, s.best_cost), reference=1.0),
        success_difference=compared.success,
        cost_ratio=compared.cost,
        cost_difference=_interval(sums, cost_gained),
        cost_at_equal_quality=equal[0],
        quality_at_equal_cost=equal[1],
        regret=_interval(sums, lambda s: (s.bound - s.success) / s.prompts),
        label_agreement=_label_agreement(policy, evaluated),
        shares={model: float(share) for model, share in zip(evaluated.models, policy.shares, strict=True)},
        support=support,
    )


def _interval(
    sums: Sums, statistic: Callable[[PolicyBlock], FloatArray], *, reference: float = 0.0
) -> Interval:
    """A statistic of a policy's sums with its interval."""
    return interval(sums, PolicyBlock.statistic(statistic), reference=reference)


def _label_agreement(policy: ComparedPolicy, evaluated: Evaluated) -> float:
    if policy.choice is None or evaluated.study or not np.isfinite(evaluated.cost).all():
        return float("nan")
    return label_agreement(policy.choice, evaluated.success, evaluated.cost)


def at_equal(policy: Sums, sweep: Sums | None) -> tuple[Interval, Interval]:
    """The learned policy's relative cost at a policy's success, and its gain in success at the policy's cost.

    Args:
        policy: sums of a `PolicyBlock`.
        sweep: of a `SweepBlock`, or None if there is none or the policy can't choose on every prompt.
    """
    if sweep is None:
        return UNKNOWN, UNKNOWN

    def relative_cost(policy_sums: FloatArray, sweep_sums: FloatArray) -> FloatArray:
        own, curve = PolicyBlock.of(policy_sums), SweepBlock.of(sweep_sums)
        return relative_cost_at_best(curve.success, curve.cost, own.success, own.cost)

    def gain(policy_sums: FloatArray, sweep_sums: FloatArray) -> FloatArray:
        own, curve = PolicyBlock.of(policy_sums), SweepBlock.of(sweep_sums)
        return (success_within(curve.success, curve.cost, own.cost) - own.success) / own.prompts

    return paired_interval(policy, sweep, relative_cost, reference=1.0), paired_interval(policy, sweep, gain)


def curve_result(name: str, sweep: Sweep, sums: Sums) -> CurveResult:
    """A curve with its band, from the sums of a `SweepBlock`."""
    total, draws = SweepBlock.of(sums.total), SweepBlock.of(sums.draws)
    tail, means = (1 - LEVEL) / 2, draws.success / draws.prompts[:, None]
    unknown = np.full((2, len(sweep.weights)), np.nan)
    low, high = np.quantile(means, [tail, 1 - tail], axis=0) if len(means) else unknown
    return CurveResult(
        name=name,
        weight=tuple(sweep.weights.tolist()),
        success=tuple((total.success / total.prompts).tolist()),
        success_ci_low=tuple(np.clip(low, 0.0, 1.0).tolist()),
        success_ci_high=tuple(np.clip(high, 0.0, 1.0).tolist()),
        cost_usd_per_call=tuple((total.cost / total.prompts).tolist()),
        cost_at_best=interval(sums, SweepBlock.statistic(SweepBlock.relative_cost_at_best), reference=1.0),
        aiq=cut_to_range(interval(sums, SweepBlock.statistic(_aiq)), 0.0, 1.0),
    )


def _aiq(sums: SweepBlock) -> FloatArray:
    """`aiq` of the means."""
    prompts = sums.prompts
    success, cost = sums.success / prompts[..., None], sums.cost / prompts[..., None]
    return aiq(success, cost, sums.cheapest_cost / prompts, sums.dearest_cost / prompts)


def equal_quality(learned: Sums | None, table: Sums | None) -> Interval | None:
    """Cost at the best single model's success, the learned policy's over the table's; infinite if never."""
    if learned is None or table is None:
        return None
    at_best = SweepBlock.statistic(SweepBlock.relative_cost_at_best)
    return paired_interval(
        learned, table, lambda one, other: ratio(at_best(one), at_best(other)), reference=1.0
    )


def slice_results(
    slices: Sequence[Slice], sums: Mapping[tuple[str, str], Sums], source: Sequence[str], n_clusters: int
) -> tuple[SliceResult, ...]:
    """The router against the reference on every slice, corrected for the number of them."""
    corrected = differences(
        {
            (one.dimension, one.name): Look(
                sums=sums[one.dimension, one.name],
                statistic=SliceBlock.statistic(
                    lambda s: (s.router_success - s.reference_success) / s.prompts
                ),
                clusters=one.clusters,
                prompts=int(one.rows.sum()),
            )
            for one in slices
        },
        n_clusters,
    )
    by_rule = np.array([who == "rule" for who in source])
    return tuple(
        _slice_result(one, sums[one.dimension, one.name], corrected[one.dimension, one.name], by_rule)
        for one in slices
    )


def _slice_result(one: Slice, sums: Sums, difference: Difference, by_rule: BoolArray) -> SliceResult:
    total = SliceBlock.of(sums.total)
    prompts = total.prompts or math.nan
    return SliceResult(
        dimension=one.dimension,
        name=one.name,
        prompts=int(one.rows.sum()),
        router_success=float(total.router_success / prompts),
        reference_success=float(total.reference_success / prompts),
        success_difference=difference,
        router_cost_usd_per_call=float(total.router_cost / prompts),
        cost_ratio=interval(
            sums, SliceBlock.statistic(lambda s: ratio(s.router_cost, s.reference_cost)), reference=1.0
        ),
        rule_share=float(by_rule[one.rows].mean()) if one.rows.any() else float("nan"),
    )


def looks(results: Iterable[Difference]) -> int:
    """How many differences were tested; policies that make the same choices share one."""
    return len({id(one) for one in results if not math.isnan(one.p_value)})


def label_agreement(choice: IntArray, success: FloatArray, cost: FloatArray) -> float:
    """Part of the labelled prompts on which a policy takes the cheapest model that succeeded.

    A prompt is labelled if some model succeeded. Models of equal cost are equally right. Prompts on which the
    policy can't choose are left out.

    Args:
        choice: shape (n,), columns, or -1.
        success: shape (n, m).
        cost: shape (n, m), USD, finite.

    Returns:
        NaN if no prompt is left.
    """
    succeeded: BoolArray = success >= SUCCEEDED
    reach = np.where(succeeded, cost, np.inf)
    labelled = succeeded.any(axis=1) & (choice >= 0)
    agrees = picked(reach, choice) <= reach.min(axis=1)
    return float(agrees[labelled].mean()) if labelled.any() else float("nan")
