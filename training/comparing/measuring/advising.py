"""What a comparison shows of its router, as the rule of the recommendation takes it."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields

import numpy as np

from router.records import FloatArray
from training.comparing.evaluated import Evaluated, PolicyResult
from training.comparing.measuring.columns import PolicyBlock
from training.comparing.measuring.results import Resampled
from training.recommending import ChangeAgainst, RouterEvidence
from training.statistics.hull import gain_over_mix, mix_at
from training.statistics.intervals import UNKNOWN, cut_to_range, interval, joined

SINGLE = "always "
"""Before a model's name: the policy that sends everything to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFacts:
    """What a comparison says of its log besides the outcomes.

    Attributes:
        replayable: prompts on which some model was not tried.
        calls: the log, as it is given to a command.
        router: the router, as it is given to a command.
        known: prompts with a known outcome of each model, of those that training did not see.
        requests_per_month: volume at which the change is given per month; NaN is unknown.
    """

    replayable: int = 0
    calls: tuple[str, ...] = ("CALLS",)
    router: str = "ROUTER"
    known: tuple[int, ...] = ()
    requests_per_month: float = math.nan


NO_FACTS = LogFacts()


def router_evidence(
    evaluated: Evaluated,
    results: tuple[PolicyResult, ...],
    today: str,
    sums: Resampled,
    silent: Mapping[str, Collection[str]],
    log: LogFacts = NO_FACTS,
) -> RouterEvidence:
    """The router against what runs today, and against the best mix of single models that the log speaks for.

    Args:
        silent: "success" and "cost" of each policy where the log can't tell them.
    """
    router, reference = results[0], next(one for one in results if one.name == today)
    heard = [model for model in evaluated.models if not silent[SINGLE + model]]
    gain, mix = UNKNOWN, tuple(heard[:1])
    if heard and not silent[router.name] and np.isfinite(evaluated.cost).all():
        whole = joined(sums.policies[router.name], *(sums.policies[SINGLE + model] for model in heard))
        gain = cut_to_range(interval(whole, _gain), -1.0, 1.0)
        at, cost, success = _means(whole.total[None])
        mix = tuple(heard[place] for place in mix_at(float(at[0][0]), cost[0], success[0]))
    replayed = np.nansum(evaluated.mean(evaluated.expected_cost))
    tried = 1 / len(evaluated.models) if evaluated.study else 0.0
    return RouterEvidence(
        today=ChangeAgainst(
            against=_name(reference),
            success=reference.success_difference.interval,
            cost=reference.cost_difference,
            usd_per_call=reference.cost_usd_per_call.value,
        ),
        mix_gain=gain,
        mix=mix,
        one_model=router.model,
        prompts=len(evaluated.keys),
        groups=len(np.unique(evaluated.clusters)),
        refused=_refused(router, reference),
        replayable=log.replayable,
        usd_per_prompt=float(replayed * (1 - tried)) or math.nan,
        calls=log.calls,
        router=log.router,
        known=log.known,
    )


def _name(policy: PolicyResult) -> str:
    named = policy.model and policy.kind == "baseline"
    return f"{policy.name} ({policy.model})" if named else policy.name


def _refused(router: PolicyResult, reference: PolicyResult) -> str | None:
    for one in (router, reference):
        if one.support is not None and one.support.refused:
            return one.support.refused if one is router else f"of {one.name}, {one.support.refused}"
    costs_known = math.isfinite(router.cost_usd_per_call.value) or math.isfinite(
        reference.cost_usd_per_call.value
    )
    if router.support is not None and router.support.cost_refused and costs_known:
        return f"of the cost, {router.support.cost_refused}"
    return None


def _gain(sums: FloatArray) -> FloatArray:
    at, cost, success = _means(sums)
    return gain_over_mix(at, cost, success)


def _means(sums: FloatArray) -> tuple[tuple[FloatArray, FloatArray], FloatArray, FloatArray]:
    """Cost and success of the router, then of each single model, from their blocks side by side."""
    width = len(fields(PolicyBlock))
    blocks = [PolicyBlock.of(sums[..., at : at + width]) for at in range(0, sums.shape[-1], width)]
    cost = np.stack([one.cost / one.prompts for one in blocks], axis=-1)
    success = np.stack([one.success / one.prompts for one in blocks], axis=-1)
    return (cost[..., 0], success[..., 0]), cost[..., 1:], success[..., 1:]
