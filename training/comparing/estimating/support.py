"""How far a log can speak for a policy, and when it can't."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from router.records import FloatArray
from training.comparing.estimating.off_policy import (
    DIRECT,
    N_COLUMNS,
    Measured,
    Study,
    Taken,
    chosen_traffic,
    estimates,
    policy_columns,
    taken,
)
from training.comparing.evaluated import Support
from training.statistics.intervals import Interval, Sums

LEAST_SAMPLE = 30.0
"""Effective sample size below which no number is given."""
SMALL_SAMPLE = 100.0
"""Effective sample size below which the interval is called rough."""
LEAST_WEIGHT = 0.95
"""Of a mean weight: surely below it, a part of the traffic is not covered."""
WEIGHT_SLACK = 0.02
"""Mean weights surely further from 1 than this are pointed out."""
LEAST_PROPENSITY = 0.01
"""Estimated propensities below this are no support: their relative error is unknown."""
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
        hits: the calls that took the policy's choice.
        clusters: shape (c,); sum over each cluster's calls.
        mean: per call of the traffic; 1 where the log covers the policy.
        error: standard error of `mean`, by clusters.
    """

    hits: Taken
    clusters: FloatArray
    mean: float
    error: float

    @staticmethod
    def of(study: Study, outcome: Measured, shares: FloatArray) -> Weights:
        """The weights of a policy that chooses on some prompt; `shares` as `policy_columns` takes them."""
        hits = taken(study.logged, outcome, shares)
        size = np.bincount(study.logged.clusters, chosen_traffic(study.logged, shares))
        own = study.logged.clusters[hits.rows]
        clusters = np.bincount(own, hits.weight, minlength=len(size)).astype(np.float64)
        mean = clusters.sum() / size.sum()
        error = np.sqrt(((clusters - mean * size) ** 2).sum()) / size.sum()
        return Weights(hits=hits, clusters=clusters, mean=float(mean), error=float(error))

    @property
    def effective_size(self) -> float:
        """(sum)^2 / sum of squares (Kish 1965, Survey Sampling); 0 without weights.

        Over clusters: calls of one session, or one that stands in the log twice, are no more evidence.
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


def support_block(study: Study, shares: FloatArray) -> FloatArray:
    """Columns to resample for `support_of`, shape (n, 12): `policy_columns` of success, then of cost."""
    outcomes = (study.success, study.cost)
    return np.concatenate([policy_columns(study.logged, outcome, shares) for outcome in outcomes], axis=1)


def support_of(study: Study, shares: FloatArray, sums: Sums) -> Support:
    """What the log can say about a policy: its estimates, or why there are none.

    Args:
        shares: shape (n, m); as `policy_columns` takes them.
        sums: of `policy_block`, of the same policy.
    """
    calls = chosen_traffic(study.logged, shares).sum()
    if not calls:
        return _nothing("the policy chooses on no prompt of the log")
    weights = Weights.of(study, study.success, shares)
    refused = _refusal(study, study.success, shares, weights)
    no_cost = refused or refusal(study, study.cost, shares)
    return Support(
        matched_share=float((study.logged.calls * shares).sum() / calls),
        mean_weight=weights.mean,
        effective_sample_size=weights.effective_size,
        largest_weight_share=weights.largest_share,
        weight_quantiles=weights.quantiles(),
        refused=refused,
        estimates={} if refused else _told(estimates(_part(sums, 0))),
        cost_estimates={} if no_cost else _told(estimates(_part(sums, 1))),
    )


def _nothing(refused: str) -> Support:
    unknown = float("nan")
    return Support(
        matched_share=unknown,
        mean_weight=unknown,
        effective_sample_size=0.0,
        largest_weight_share=unknown,
        weight_quantiles={},
        refused=refused,
        estimates={},
        cost_estimates={},
    )


def _told(found: Mapping[str, Interval]) -> dict[str, Interval]:
    """The estimates as a report gives them: the direct method without bounds.

    A bootstrap of predictions does not see the error of the model that made them: its intervals covered the
    truth in 6 to 49 % of the draws of `benchmarks.coverage`.
    """
    point = replace(found[DIRECT], low=math.nan, high=math.nan, above=math.nan)
    return {**found, DIRECT: point}


def refusal(study: Study, outcome: Measured, shares: FloatArray) -> str | None:
    """Why a policy's outcome can't be told from this log; None where it can.

    Args:
        shares: shape (n, m); some row is not all 0.
    """
    return _refusal(study, outcome, shares, Weights.of(study, outcome, shares))


def _refusal(study: Study, outcome: Measured, shares: FloatArray, weights: Weights) -> str | None:
    return (
        _unseen(study, outcome, shares)
        or _unlikely(unsupported_share(study, shares))
        or _too_few(weights)
        or _uncovered(weights)
    )


def _unseen(study: Study, outcome: Measured, shares: FloatArray) -> str | None:
    traffic = chosen_traffic(study.logged, shares)
    part = shares.T @ traffic / traffic.sum()
    unseen = [model for model in outcome.unseen if part[model] > 0]
    if not unseen:
        return None
    names = ", ".join(study.logged.models[model] for model in unseen)
    return (
        f"the log holds no known outcome of {names}, which the policy takes on {part[unseen].sum():.1%} of "
        "the calls"
    )


def _too_few(weights: Weights) -> str | None:
    if weights.effective_size >= LEAST_SAMPLE:
        return None
    return (
        f"the log took the policy's choices too seldom: an effective sample of {weights.effective_size:.0f}, "
        f"where at least {LEAST_SAMPLE:.0f} are needed"
    )


def _uncovered(weights: Weights) -> str | None:
    """A part of the traffic on which the log never takes the policy's choice makes the mean weight < 1."""
    if weights.highest_mean >= LEAST_WEIGHT:
        return None
    return (
        f"on about {1 - weights.mean:.0%} of the calls the log never takes the policy's choice: the mean "
        f"weight is {weights.mean:.2f}, at most {weights.highest_mean:.2f}, and should be 1"
    )


def _unlikely(part: float) -> str | None:
    if not part > MOST_UNSUPPORTED:
        return None
    return (
        f"on {part:.0%} of the calls the log takes the policy's choice with an estimated chance under "
        f"{LEAST_PROPENSITY:.0%}; log propensities, or let the logging policy explore"
    )


def unsupported_share(study: Study, shares: FloatArray) -> float:
    """Part of the policy's calls with an estimated propensity below the floor; NaN where they were logged.

    A logged propensity is exact, however small: there the effective sample size says whether it suffices.
    """
    if study.propensities.source == "logged":
        return float("nan")
    traffic = chosen_traffic(study.logged, shares)
    low = np.where(study.propensities.values < LEAST_PROPENSITY, shares, 0.0).sum(axis=1)
    return float(low @ traffic / traffic.sum())


def support_warnings(study: Study, shares: FloatArray, support: Support) -> list[str]:
    """Why the interval of a success rate is not to be believed; sentences without the policy's name."""
    if support.refused:
        return []
    found = [
        *_weight_warnings(study, shares),
        *_propensity_warnings(study, shares),
        _variance_warning(study, study.success, shares, "success rate"),
        _rare_outcomes(study, shares),
    ]
    return [sentence for holds, sentence in found if holds]


def cost_warnings(study: Study, shares: FloatArray, support: Support) -> list[str]:
    """As `support_warnings`, of the costs alone: a few dear calls may make up most of what is spent."""
    if not support.cost_estimates:
        return []
    holds, sentence = _variance_warning(study, study.cost, shares, "cost")
    return [sentence] if holds else []


def _weight_warnings(study: Study, shares: FloatArray) -> list[tuple[bool, str]]:
    weights = Weights.of(study, study.success, shares)
    off = weights.highest_mean < 1 - WEIGHT_SLACK or weights.lowest_mean > 1 + WEIGHT_SLACK
    return [
        (
            weights.effective_size < SMALL_SAMPLE,
            f"the effective sample is {weights.effective_size:.0f}: the interval is rough",
        ),
        (
            weights.largest_share > LARGE_SHARE,
            f"one session or prompt carries {weights.largest_share:.0%} of all weight: the interval may be "
            "too narrow",
        ),
        (
            off,
            f"the mean weight is {weights.mean:.2f} and should be 1: a part of the traffic is not covered, "
            f"or the {study.propensities.source} propensities are wrong",
        ),
    ]


def _propensity_warnings(study: Study, shares: FloatArray) -> list[tuple[bool, str]]:
    low, error = unsupported_share(study, shares), study.propensities.calibration_error
    return [
        (
            low > SOME_UNSUPPORTED,
            f"{low:.1%} of the policy's calls have an estimated propensity under {LEAST_PROPENSITY:.0%}",
        ),
        (
            error > CALIBRATED,
            f"the estimated propensities are off by {error:.3f}: the estimate leans on the outcome model",
        ),
    ]


def _variance_warning(study: Study, outcome: Measured, shares: FloatArray, name: str) -> tuple[bool, str]:
    share = variance_share(study, outcome, shares)
    return (
        share > LARGE_VARIANCE,
        f"{share:.0%} of the variance of the {name} comes from one session or prompt: its interval may be "
        "too narrow",
    )


def _rare_outcomes(study: Study, shares: FloatArray) -> tuple[bool, str]:
    hits = taken(study.logged, study.success, shares)
    calls = study.logged.calls[hits.rows, hits.models]
    good = float(calls @ study.success.observed[hits.rows, hits.models])
    bad = float(calls.sum()) - good
    return (
        min(good, bad) < RARE_OUTCOMES,
        f"the log shows {good:.0f} successes and {bad:.0f} failures of the policy's choices: with fewer than "
        f"{RARE_OUTCOMES} of either the interval may be too narrow",
    )


def variance_share(study: Study, outcome: Measured, shares: FloatArray) -> float:
    """Largest part of the doubly robust estimate's variance that comes from one cluster; 0 without variance.

    A sum that hangs on single terms is not normal, and the percentile bootstrap sees too little of its tail.
    """
    traffic = chosen_traffic(study.logged, shares)
    scores = traffic * np.where(shares > 0, shares * outcome.scores, 0.0).sum(axis=1)
    size, score = (np.bincount(study.logged.clusters, column) for column in (traffic, scores))
    influence = (score - size * score.sum() / size.sum()) ** 2
    return float(influence.max() / influence.sum()) if influence.sum() > 0 else 0.0


def log_warnings(study: Study) -> list[str]:
    """What limits every estimate from this log."""
    logged = study.logged
    known = np.where(np.isfinite(logged.success), logged.calls, 0).sum()
    unknown = 1 - known / max(logged.calls.sum(), 1)
    elsewhere = logged.elsewhere.sum() / logged.traffic.sum()
    found = [
        (
            study.propensities.source == "estimated",
            "some calls were logged without propensity, so all propensities are estimated: what follows "
            "holds if the logging policy looked at nothing but the covariates",
        ),
        (
            unknown > MOST_UNKNOWN,
            f"{unknown:.0%} of the calls have no known outcome: they count as missing at random, per model",
        ),
        (elsewhere > 0, f"{elsewhere:.1%} of the calls went to models that no policy here can choose"),
    ]
    return [sentence for holds, sentence in found if holds]


def overlap_by_task_type(study: Study, shares: FloatArray) -> tuple[Mapping[str, str | float], ...]:
    """Per task type, "" where there is none: calls, effective sample size, least propensity of the choices.

    Logged propensities are known on the calls that took the policy's choice only; NaN where there are none.
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


def _part(sums: Sums, number: int) -> Sums:
    """The columns of one outcome."""
    place = slice(number * N_COLUMNS, (number + 1) * N_COLUMNS)
    return Sums(total=sums.total[place], draws=sums.draws[:, place])
