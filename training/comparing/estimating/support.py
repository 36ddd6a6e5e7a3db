"""How far a log can speak for a policy, and when it can't."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from router.numbers import decimal, level, rate, usd_per_thousand
from router.records import FloatArray
from training.comparing.estimating.off_policy import (
    DIRECT,
    Matches,
    ScoredOutcome,
    Study,
    chosen_traffic,
    estimate_columns,
    estimates,
    matched_calls,
    policy_scores,
)
from training.comparing.evaluated import Support
from training.statistics.intervals import Interval, Sums, cut_to_range
from training.statistics.policy_curves import ROUNDING

LEAST_SAMPLE = 30.0
"""Effective sample size below which no number is given."""
SMALL_SAMPLE = 100.0
"""Effective sample size below which the interval is called rough."""
LEAST_WEIGHT = 0.95
"""The log does not cover a part of the traffic if the mean weight is surely below this."""
WEIGHT_SLACK = 0.02
"""A mean weight surely further than this from 1 gets a warning."""
LEAST_PROPENSITY = 0.01
"""Estimated propensities below this count as no support: their relative error is unknown."""
MOST_UNSUPPORTED = 0.05
SOME_UNSUPPORTED = 0.01
LARGE_SHARE = 0.05
"""Of all weight, in one cluster."""
LARGE_VARIANCE = 0.1
"""Of the variance of an estimate, from one cluster."""
RARE_OUTCOMES = 10
CALIBRATED = 0.03
MOST_UNKNOWN = 0.2
NORMAL_99 = 2.326
QUANTILES = (0.5, 0.9, 0.99, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Importance weights of one policy and outcome.

    Attributes:
        hits: calls that took the policy's choice.
        clusters: shape (c,); sum over each cluster's calls.
        mean: per call of the traffic; 1 where the log covers the policy.
        error: standard error of `mean`, by clusters.
    """

    hits: Matches
    clusters: FloatArray
    mean: float
    error: float

    @staticmethod
    def of(study: Study, outcome: ScoredOutcome, shares: FloatArray) -> Weights:
        """The weights of a policy that chooses on some prompt; `shares` as `estimate_columns` takes them."""
        hits = matched_calls(study.logged, outcome, shares)
        size = np.bincount(study.logged.clusters, chosen_traffic(study.logged, shares))
        own = study.logged.clusters[hits.rows]
        clusters = np.bincount(own, hits.weight, minlength=len(size)).astype(np.float64)
        mean = clusters.sum() / size.sum()
        error = np.sqrt(((clusters - mean * size) ** 2).sum()) / size.sum()
        return Weights(hits=hits, clusters=clusters, mean=float(mean), error=float(error))

    @property
    def effective_size(self) -> float:
        """(sum)^2 / sum of squares (Kish 1965, Survey Sampling); 0 without weights.

        Over clusters: more calls of one session, or a call logged twice, are no more evidence.
        """
        return float(self.clusters.sum() ** 2 / np.maximum((self.clusters**2).sum(), 1e-300))

    @property
    def largest_share(self) -> float:
        """Largest cluster's part of all weight; NaN without weights."""
        total = self.clusters.sum()
        return float(self.clusters.max() / total) if total > 0 else float("nan")

    @property
    def highest_mean(self) -> float:
        """Upper 99 % bound of the mean weight."""
        return self.mean + NORMAL_99 * self.error

    @property
    def lowest_mean(self) -> float:
        """Lower 99 % bound of the mean weight."""
        return self.mean - NORMAL_99 * self.error

    def quantiles(self) -> dict[str, float]:
        """Of the weights over the matched calls, by level."""
        if not len(self.hits.rows):
            return {}
        order = np.argsort(self.hits.importance)
        importance, calls = self.hits.importance[order], (self.hits.weight / self.hits.importance)[order]
        reached = np.cumsum(calls) / calls.sum()
        places = np.minimum(np.searchsorted(reached, np.array(QUANTILES) - 1e-12), len(order) - 1)
        return {f"{level:g}": float(importance[at]) for level, at in zip(QUANTILES, places, strict=True)}


def support_columns(study: Study, shares: FloatArray) -> FloatArray:
    """Columns to resample for `support_of`, shape (n, 14): `estimate_columns` of success, then of cost."""
    outcomes = (study.success, study.cost)
    return np.concatenate([estimate_columns(study.logged, outcome, shares) for outcome in outcomes], axis=1)


def support_of(study: Study, shares: FloatArray, sums: Sums) -> Support:
    """What the log can say about a policy: its estimates, or why there are none.

    Args:
        shares: shape (n, m); as `estimate_columns` takes them.
        sums: of the `support_columns` of the same policy.
    """
    calls = chosen_traffic(study.logged, shares).sum()
    if not calls:
        return _no_support("the policy chooses on no prompt of the log")
    weights = Weights.of(study, study.success, shares)
    success, cost = (
        estimates(Sums(total=total, draws=draws), graded=outcome.grading is not None)
        for outcome, total, draws in zip(
            (study.success, study.cost),
            np.split(sums.total, 2),
            np.split(sums.draws, 2, axis=1),
            strict=True,
        )
    )
    refused = _refusal(study, study.success, shares, weights)
    no_cost = refused or refusal(study, study.cost, shares)
    return Support(
        matched_share=float((study.logged.calls * shares).sum() / calls),
        mean_weight=weights.mean,
        effective_sample_size=weights.effective_size,
        largest_weight_share=weights.largest_share,
        weight_quantiles=weights.quantiles(),
        refused=refused,
        cost_refused=no_cost,
        estimates={} if refused else _reported(success, 1.0),
        cost_estimates={} if no_cost else _reported(cost, math.inf),
    )


def _no_support(refused: str) -> Support:
    unknown = float("nan")
    return Support(
        matched_share=unknown,
        mean_weight=unknown,
        effective_sample_size=0.0,
        largest_weight_share=unknown,
        weight_quantiles={},
        refused=refused,
        cost_refused=refused,
        estimates={},
        cost_estimates={},
    )


def _reported(by_estimator: Mapping[str, Interval], most: float) -> dict[str, Interval]:
    """The estimates as a report gives them: what is possible, the direct method without bounds.

    A bootstrap of predictions does not see the error of the model that made them: its intervals covered the
    truth in 6 to 49 % of the draws of `benchmarks.coverage`.
    """
    point = replace(by_estimator[DIRECT], low=math.nan, high=math.nan, above=math.nan)
    possible = {**by_estimator, DIRECT: point}
    return {name: cut_to_range(estimate, 0.0, most) for name, estimate in possible.items()}


def refusal(study: Study, outcome: ScoredOutcome, shares: FloatArray) -> str | None:
    """Why this log can't say what a policy's outcome is, or None if it can.

    Args:
        shares: shape (n, m); some row is not all 0.
    """
    return _refusal(study, outcome, shares, Weights.of(study, outcome, shares))


def _refusal(study: Study, outcome: ScoredOutcome, shares: FloatArray, weights: Weights) -> str | None:
    return (
        _unseen(study, outcome, shares)
        or _unlikely(unsupported_share(study, shares))
        or _too_few(weights)
        or _uncovered(weights)
        or _impossible(study, outcome, shares)
    )


def _impossible(study: Study, outcome: ScoredOutcome, shares: FloatArray) -> str | None:
    """Single scores leave the outcome's range; where their mean does too, a few decide it."""
    traffic = chosen_traffic(study.logged, shares)
    value = float(traffic @ policy_scores(study.logged, outcome, shares) / traffic.sum())
    is_rate = outcome is study.success
    if -ROUNDING <= value <= (1 + ROUNDING if is_rate else math.inf):
        return None
    text = f"a success rate of {rate(value)}" if is_rate else f"{usd_per_thousand(value)} per 1,000 requests"
    return f"its estimate is impossible, {text}: too few calls decide it"


def _unseen(study: Study, outcome: ScoredOutcome, shares: FloatArray) -> str | None:
    traffic = chosen_traffic(study.logged, shares)
    part = shares.T @ traffic / traffic.sum()
    unseen = [model for model in outcome.unseen if part[model] > 0]
    if not unseen:
        return None
    names = ", ".join(study.logged.models[model] for model in unseen)
    return (
        f"the log holds no known outcome of {names}, which the policy takes on {rate(part[unseen].sum())} of "
        "the calls"
    )


def _too_few(weights: Weights) -> str | None:
    if weights.effective_size >= LEAST_SAMPLE:
        return None
    return (
        f"the log took the policy's choices too seldom: an effective sample of "
        f"{decimal(weights.effective_size, 0)}, where at least {decimal(LEAST_SAMPLE, 0)} are needed"
    )


def _uncovered(weights: Weights) -> str | None:
    """The mean weight falls below 1 if the log never takes the policy's choice on a part of the traffic."""
    if weights.highest_mean >= LEAST_WEIGHT:
        return None
    return (
        f"on about {rate(1 - weights.mean)} of the calls the log never takes the policy's choice: the mean "
        f"weight is {decimal(weights.mean, 2)}, at most {decimal(weights.highest_mean, 2)}, and should be 1"
    )


def _unlikely(share: float) -> str | None:
    if not share > MOST_UNSUPPORTED:
        return None
    return (
        f"on {rate(share)} of the calls the log takes the policy's choice with an estimated chance under "
        f"{level(LEAST_PROPENSITY)}; log propensities, or let the logging policy explore"
    )


def unsupported_share(study: Study, shares: FloatArray) -> float:
    """Part of the policy's calls with an estimated propensity below the floor; NaN if they were logged.

    A logged propensity is exact, however small, so the effective sample size says whether it suffices.
    """
    if study.propensities.source == "logged":
        return float("nan")
    traffic = chosen_traffic(study.logged, shares)
    low = np.where(study.propensities.values < LEAST_PROPENSITY, shares, 0.0).sum(axis=1)
    return float(low @ traffic / traffic.sum())


def support_warnings(study: Study, shares: FloatArray, support: Support) -> list[str]:
    """Why the interval of a success rate may mislead; sentences without the policy's name."""
    if support.refused:
        return []
    return [
        *_weight_warnings(study, shares),
        *_propensity_warnings(study, shares),
        *_variance_warnings(study, study.success, shares, "success rate"),
        *_rare_outcome_warnings(study, shares),
    ]


def cost_warnings(study: Study, shares: FloatArray, support: Support) -> list[str]:
    """As `support_warnings`, of the costs alone: a few dear calls may make up most of the spending."""
    return list(_variance_warnings(study, study.cost, shares, "cost")) if support.cost_estimates else []


def _weight_warnings(study: Study, shares: FloatArray) -> Iterator[str]:
    weights = Weights.of(study, study.success, shares)
    if weights.effective_size < SMALL_SAMPLE:
        yield f"the effective sample is {decimal(weights.effective_size, 0)}: the interval is rough"
    if weights.largest_share > LARGE_SHARE:
        yield (
            f"one session or prompt carries {rate(weights.largest_share)} of all weight: the interval may be "
            "too narrow"
        )
    if weights.highest_mean < 1 - WEIGHT_SLACK or weights.lowest_mean > 1 + WEIGHT_SLACK:
        yield (
            f"the mean weight is {decimal(weights.mean, 2)} and should be 1: the log does not cover a part "
            f"of the traffic, or the {study.propensities.source} propensities are wrong"
        )


def _propensity_warnings(study: Study, shares: FloatArray) -> Iterator[str]:
    low, error = unsupported_share(study, shares), study.propensities.calibration_error
    if low > SOME_UNSUPPORTED:
        yield f"{rate(low)} of its calls have an estimated propensity under {level(LEAST_PROPENSITY)}"
    if error > CALIBRATED:
        yield f"the estimated propensities are off by {decimal(error)}: it leans on the outcome model"


def _variance_warnings(study: Study, outcome: ScoredOutcome, shares: FloatArray, name: str) -> Iterator[str]:
    share = variance_share(study, outcome, shares)
    if share > LARGE_VARIANCE:
        yield (
            f"{rate(share)} of the variance of the {name} comes from one session or prompt: its interval may "
            "be too narrow"
        )


def _rare_outcome_warnings(study: Study, shares: FloatArray) -> Iterator[str]:
    hits = matched_calls(study.logged, study.success, shares)
    calls = study.logged.calls[hits.rows, hits.models]
    good = float(calls @ study.success.observed[hits.rows, hits.models])
    bad = float(calls.sum()) - good
    if min(good, bad) < RARE_OUTCOMES:
        yield (
            f"the log shows {decimal(good, 0)} successes and {decimal(bad, 0)} failures of the policy's "
            f"choices: with fewer than {RARE_OUTCOMES} of either the interval may be too narrow"
        )


def variance_share(study: Study, outcome: ScoredOutcome, shares: FloatArray) -> float:
    """Largest part of the estimate's variance that comes from one cluster; 0 without variance.

    A sum that depends on a few terms is not normal, and the percentile bootstrap sees too little of its tail.
    """
    traffic = chosen_traffic(study.logged, shares)
    scores = traffic * policy_scores(study.logged, outcome, shares)
    size, score = (np.bincount(study.logged.clusters, column) for column in (traffic, scores))
    influence = (score - size * score.sum() / size.sum()) ** 2
    return float(influence.max() / influence.sum()) if influence.sum() > 0 else 0.0


def log_warnings(study: Study) -> Iterator[str]:
    """What limits every estimate from this log."""
    logged = study.logged
    known = np.where(np.isfinite(logged.success), logged.calls, 0).sum()
    unknown = 1 - known / max(logged.calls.sum(), 1)
    elsewhere = logged.elsewhere.sum() / logged.traffic.sum()
    graded = study.success.grading is not None
    if study.propensities.source == "estimated":
        yield (
            "some calls were logged without a propensity, so all propensities are estimated: the estimates "
            "hold only if what chose the models looked at nothing but what the router sees of a prompt"
        )
    if unknown > MOST_UNKNOWN:
        yield (
            f"{rate(unknown)} of the calls have no known outcome: they count as missing at random, per model"
            + ("; grades of their answers stand in, corrected by the known outcomes" if graded else "")
        )
    if elsewhere > 0:
        yield f"{rate(elsewhere)} of the calls went to models that no policy here can choose"


def overlap_by_task_type(study: Study, shares: FloatArray) -> tuple[Mapping[str, str | float], ...]:
    """Per task type ("" for none): calls, effective sample size, least propensity of the choices.

    Logged propensities are known only on the calls that took the policy's choice; NaN without any.
    """
    task_types = np.array([name or "" for name in study.logged.task_types], dtype=object)
    values = np.where(shares > 0, study.propensities.values, np.nan)
    rows: list[Mapping[str, str | float]] = []
    for name in sorted(set(task_types.tolist())):
        own = (task_types == name) & shares.any(axis=1)
        if not own.any():
            continue
        known = values[own][np.isfinite(values[own])]
        weights = Weights.of(study, study.success, np.where(own[:, None], shares, 0.0))
        rows.append(
            {
                "task_type": name,
                "calls": float(study.logged.traffic[own].sum()),
                "effective_sample_size": weights.effective_size,
                "least_propensity": float(known.min()) if len(known) else float("nan"),
            }
        )
    return tuple(rows)
