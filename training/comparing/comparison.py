"""The learned router against every other policy, on the same prompts and the same resamples of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from router.errors import CallLogError
from router.numbers import rate
from router.records import FloatArray
from training.comparing.blocks import ratio
from training.comparing.estimating.support import support_columns
from training.comparing.evaluated import ChangeFromToday, Comparison, Evaluated, PolicyResult, Promise
from training.comparing.measuring.advising import NO_FACTS, SINGLE, LogFacts, router_evidence
from training.comparing.measuring.calibration import calibration
from training.comparing.measuring.columns import (
    PolicyBlock,
    SliceBlock,
    Yardsticks,
    models_columns,
    policy_columns,
    shuffled,
    slice_columns,
    sweep_columns,
)
from training.comparing.measuring.contenders import (
    LEARNED,
    LOGGED,
    ComparedPolicy,
    Sweep,
    best_single_column,
    policies_on,
    sweeps_on,
)
from training.comparing.measuring.examples import examples
from training.comparing.measuring.overlap import off_policy_report, silent_on, silent_outcomes, supports
from training.comparing.measuring.ranking import ranking
from training.comparing.measuring.results import (
    Resampled,
    at_equal,
    cost_gained,
    curve_result,
    equal_quality,
    looks,
    policy_results,
    slice_results,
    supported,
)
from training.comparing.measuring.slices import Slice, slices_of
from training.comparing.policies.baselines import BEST_SINGLE, ORACLE, SHUFFLE, TASK_TYPE
from training.comparing.report.sentences import verdicts
from training.recommending import FEW, recommend
from training.statistics.intervals import (
    Interval,
    Sums,
    cluster_numbers,
    cut_to_range,
    interval,
    resampled_blocks,
)
from training.statistics.resampling import grouped, resampled_parts


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """How intervals are drawn: the number of resamples of the clusters, and their seed."""

    number: int = 2000
    seed: int = 0


USUAL_DRAWS = Draws()


def compare_evaluated(
    evaluated: Evaluated,
    *,
    draws: Draws = USUAL_DRAWS,
    today: str | None = None,
    promise: Promise | None = None,
    show_text: bool = False,
    log: LogFacts = NO_FACTS,
) -> Comparison:
    """Judge the router and every other policy on the same prompts.

    Args:
        draws: the same seed gives the same report.
        today: name of the policy that runs today; None: the logged one, else the best single model.
        promise: passed through to the report.
        show_text: examples may show the start of a prompt.
        log: for the recommendation and the change per month.

    Raises:
        CallLogError: no policy is named `today`.
    """
    costs_known = bool(np.isfinite(evaluated.cost).all())
    if not costs_known:
        evaluated = replace(evaluated, cost=np.full_like(evaluated.cost, np.nan))
    policies, sweeps = policies_on(evaluated), sweeps_on(evaluated) if costs_known else {}
    reference = _reference(policies, today)
    best, slices = best_single_column(evaluated), slices_of(evaluated)
    everything = _resampled(evaluated, policies, sweeps, slices, reference, draws)
    n_clusters = cluster_numbers(evaluated.clusters)[1]
    support = supports(evaluated, policies, everything.support)
    silent = silent_outcomes(evaluated, policies, support)
    best_name = SINGLE + evaluated.models[best]
    sums = supported(everything, silent, best=best_name, ends=_ends_of_cost(evaluated))
    results = policy_results(evaluated, policies, sums, support, n_clusters)
    curves = tuple(curve_result(name, sweep, sums.sweeps[name]) for name, sweep in sweeps.items())
    heard = _heard_slices(evaluated, (policies[0], reference), slices, silent, sums.slices)
    slice_figures = slice_results(slices, heard, evaluated.source, n_clusters)
    learned = sums.sweeps.get(LEARNED)
    equal = at_equal(sums.policies[best_name], learned)
    comparison = Comparison(
        method=evaluated.method,
        recommendation=recommend(router_evidence(evaluated, results, reference.name, sums, silent, log)),
        change=_change(reference.name, results, sums.policies, log.requests_per_month),
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
        equal_quality=equal_quality(learned, sums.sweeps.get(TASK_TYPE)),
        ranking=None
        if evaluated.study
        else ranking(evaluated, best, scores=evaluated.scores, n_resamples=draws.number, seed=draws.seed),
        calibration=calibration(evaluated, silent="success" in silent[policies[0].name]),
        sources={name: count / len(evaluated.source) for name, count in Counter(evaluated.source).items()},
        reference=reference.name,
        slices=slice_figures,
        examples=examples(evaluated, reference.choice, show_text=show_text),
        promise=promise,
        off_policy=off_policy_report(evaluated, policies, support),
        looked_at={
            "policies": looks(one.success_difference for one in results[1:] if one.kind != "bound"),
            "slices": looks(one.success_difference for one in slice_figures),
        },
        text_shown=show_text,
        warnings=(*evaluated.provenance.warnings, *_warnings(evaluated, best, results, n_clusters)),
        n_resamples=draws.number,
        seed=draws.seed,
    )
    return replace(comparison, verdict=verdicts(comparison))


def _ends_of_cost(evaluated: Evaluated) -> tuple[str, str]:
    """The policies that always take the model of least and of highest mean cost."""
    mean_cost = evaluated.mean(evaluated.cost)
    cheapest, dearest = evaluated.models[mean_cost.argmin()], evaluated.models[mean_cost.argmax()]
    return SINGLE + cheapest, SINGLE + dearest


def _heard_slices(
    evaluated: Evaluated,
    pair: tuple[ComparedPolicy, ComparedPolicy],
    slices: Sequence[Slice],
    silent: Mapping[str, set[str]],
    sums: Mapping[tuple[str, str], Sums],
) -> dict[tuple[str, str], Sums]:
    """The sums of each slice, NaN where the log can't speak for the router or the reference on it.

    Args:
        pair: the router and the reference.
    """
    heard = {}
    for one in slices:
        names = {
            f"{prefix}_{outcome}"
            for prefix, policy in zip(("router", "reference"), pair, strict=True)
            for outcome in silent_on(evaluated, policy, one.rows, silent[policy.name])
        }
        heard[one.dimension, one.name] = SliceBlock.silenced(sums[one.dimension, one.name], names)
    return heard


def _reference(policies: Sequence[ComparedPolicy], today: str | None) -> ComparedPolicy:
    """The policy that runs today: the named one, else the logged one, else the best single model."""
    names = {policy.name: policy for policy in policies[1:] if policy.kind != "bound"}
    if today is not None and today not in names:
        raise CallLogError(f"no policy is named {today!r}; --today takes one of: {', '.join(names)}")
    usual = next(name for name in (LOGGED, BEST_SINGLE, *names) if name in names)
    return names[usual if today is None else today]


def _resampled(
    evaluated: Evaluated,
    policies: Sequence[ComparedPolicy],
    sweeps: Mapping[str, Sweep],
    slices: Sequence[Slice],
    reference: ComparedPolicy,
    draws: Draws,
) -> Resampled:
    """The sums behind every interval, from one set of resamples, so that all differences are paired."""
    best, router = best_single_column(evaluated), policies[0]
    bound = next((policy.success for policy in policies if policy.name == ORACLE), None)
    against = Yardsticks(
        router=router,
        success=evaluated.success[:, best],
        cost=evaluated.cost[:, best],
        bound=np.full(len(evaluated.keys), np.nan) if bound is None else bound,
    )
    blocks = _blocks(evaluated, policies, sweeps, against)
    groups = grouped(evaluated.clusters)
    sums = resampled_blocks(blocks, groups, n_resamples=draws.number, seed=draws.seed)
    sums["policy", SHUFFLE] = shuffled(sums["policy", router.name], sums["models", SHUFFLE])
    parts = resampled_parts(
        {(one.dimension, one.name): one.rows for one in slices},
        slice_columns(router, reference) * evaluated.traffic[:, None],
        groups,
        n_resamples=draws.number,
        seed=draws.seed,
    )

    def named(kind: str) -> dict[str, Sums]:
        return {name: block for (of, name), block in sums.items() if of == kind}

    return Resampled(policies=named("policy"), support=named("support"), sweeps=named("sweep"), slices=parts)


def _blocks(
    evaluated: Evaluated, policies: Sequence[ComparedPolicy], sweeps: Mapping[str, Sweep], against: Yardsticks
) -> Iterator[tuple[tuple[str, str], FloatArray]]:
    """Yield every block's columns, times the traffic, by kind and name; one at a time, as they are wide."""
    traffic = evaluated.traffic[:, None]
    for policy in policies:
        if policy.kind == "control":
            yield ("models", policy.name), models_columns(evaluated) * traffic
        else:
            yield ("policy", policy.name), policy_columns(policy, against) * traffic
    mean_cost = evaluated.traffic @ evaluated.cost
    ends = (evaluated.cost[:, mean_cost.argmin()], evaluated.cost[:, mean_cost.argmax()])
    for name, sweep in sweeps.items():
        yield ("sweep", name), sweep_columns(sweep.outcomes(evaluated), against, ends) * traffic
    if evaluated.study is not None:
        for policy in policies:
            yield ("support", policy.name), support_columns(evaluated.study, policy.chances())


def _change(
    today: str, results: Sequence[PolicyResult], policies: Mapping[str, Sums], requests_per_month: float
) -> ChangeFromToday:
    """How much more 1,000 requests would cost, and how many more would fail, with the router than today."""
    sums = policies[today]
    gained = next(one.success_difference.interval for one in results if one.name == today)
    per_month = PolicyBlock.statistic(lambda s: requests_per_month * cost_gained(s))
    return ChangeFromToday(
        today=today,
        usd_per_1000=interval(sums, PolicyBlock.statistic(lambda s: 1000 * cost_gained(s))),
        cost_change=interval(sums, PolicyBlock.statistic(lambda s: ratio(s.router_cost, s.cost) - 1)),
        requests_per_month=requests_per_month,
        usd_per_month=interval(sums, per_month),
        failures_per_1000=cut_to_range(
            Interval(
                value=-1000 * gained.value,
                low=-1000 * gained.high,
                high=-1000 * gained.low,
                above=1 - gained.above,
            ),
            -1000.0,
            1000.0,
        ),
    )


def _warnings(
    evaluated: Evaluated, best: int, results: Sequence[PolicyResult], n_clusters: int
) -> Iterator[str]:
    """What the reader must know before believing the numbers."""
    n, success = len(evaluated.keys), {one.name: one.success.value for one in results}
    mean = np.array([success[SINGLE + model] for model in evaluated.models])
    top = int(np.nanargmax(mean)) if np.isfinite(mean).any() else best
    if n_clusters < FEW:
        yield f"Few prompts ({n}, independent groups: {n_clusters}): no verdict is drawn below {FEW} groups."
    if not np.isfinite(evaluated.cost).all():
        yield "Some costs are unknown, so costs are left out: only success rates are compared."
    if len(evaluated.models) == 1:
        yield f"There is only one model, {evaluated.models[0]}: nothing can be routed."
    if mean[top] > mean[best]:
        yield (
            f"On these prompts {evaluated.models[top]} succeeds more often ({rate(mean[top])}) "
            f"than the training log's best single model, {evaluated.models[best]} ({rate(mean[best])})."
        )
    unable = [name for name, choice in evaluated.baselines.choices.items() if (choice < 0).all()]
    if unable:
        yield f"These baselines could not choose on any prompt: {', '.join(unable)}."
