"""What a policy that did not write the log would have got on its traffic: off-policy estimates.

The doubly robust estimate is a mean of scores, one per prompt and model; every comparison that works on full
outcome matrices therefore works on them too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from router.errors import CallLogError
from router.records import FloatArray, IntArray
from training.comparing.blocks import Block, ratio
from training.comparing.estimating.logged import Logged, known_share
from training.comparing.estimating.outcome_model import FOLDS, expected_cost, expected_success
from training.comparing.estimating.propensities import Propensities, propensities_of
from training.prompts.split import folds
from training.statistics.intervals import Interval, Sums, interval

DIRECT = "direct method"
IPS = "IPS"
SNIPS = "self-normalised IPS"
DOUBLY_ROBUST = "doubly robust"
SWITCH = "switch-DR"
N_THRESHOLDS = 21


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredOutcome:
    """One outcome of the logged calls, with all that the estimators need of it.

    Attributes:
        observed: shape (n, m); mean over the calls, NaN is unknown.
        mean: shape (n, m); what an outcome model that has not seen the prompt expects.
        weight: shape (n, m); as `observation_weights` gives them.
    """

    observed: FloatArray
    mean: FloatArray
    weight: FloatArray

    @property
    def residual(self) -> FloatArray:
        """Shape (n, m): observed less expected; 0 where nothing was observed."""
        return np.where(np.isfinite(self.observed), self.observed - self.mean, 0.0)

    @property
    def unseen(self) -> IntArray:
        """Columns of the models without a single known outcome."""
        return np.flatnonzero(~np.isfinite(self.observed).any(axis=0)).astype(np.int64)

    @property
    def scores(self) -> FloatArray:
        """Unbiased estimate of what each model gets on each prompt, shape (n, m).

        Expected outcome, plus the mean over the prompt's calls of the residual over the propensity (Dudik,
        Langford & Li 2011, Doubly Robust Policy Evaluation and Learning, eq. 2). Single scores lie far
        outside the outcome's range; a policy's value is the mean by traffic of the scores that it takes.
        NaN in the column of a model without a known outcome.
        """
        scores = self.mean + self.weight * self.residual
        scores[:, self.unseen] = np.nan
        return scores


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A log with all that the estimates of any policy need."""

    logged: Logged
    propensities: Propensities
    success: ScoredOutcome
    cost: ScoredOutcome


def study_of(logged: Logged, covariates: FloatArray, *, seed: int = 0) -> Study:
    """Fit what the estimates need, each model on other clusters than those it predicts.

    Args:
        covariates: shape (n, p); what success and costs may depend on, and the logging policy's choice if
            its propensities were not logged.
        seed: of the folds.

    Raises:
        ValueError: a covariate is not finite.
        CallLogError: fewer than two clusters.
    """
    n_clusters = len(np.unique(logged.clusters))
    if covariates.shape[0] != len(logged.traffic) or not np.isfinite(covariates).all():
        raise ValueError(f"covariates of shape {covariates.shape} must be finite, one row a prompt")
    if n_clusters < 2:
        raise CallLogError(f"{n_clusters} session or prompt can't be judged off-policy; give a longer log")
    fold = folds(logged.clusters, min(FOLDS, n_clusters), seed)
    propensities = propensities_of(logged, covariates, fold, seed=seed)
    success = expected_success(logged.success, logged.calls, covariates, fold)
    cost = expected_cost(logged.cost, logged.calls, covariates, fold)
    return Study(
        logged=logged,
        propensities=propensities,
        success=scored_outcome(logged, logged.success, success, propensities.values),
        cost=scored_outcome(logged, logged.cost, cost, propensities.values),
    )


def scored_outcome(
    logged: Logged, outcome: FloatArray, mean: FloatArray, propensity: FloatArray
) -> ScoredOutcome:
    """An outcome with its expected values and the weights of its observations, all of shape (n, m)."""
    return ScoredOutcome(observed=outcome, mean=mean, weight=observation_weights(logged, outcome, propensity))


def observation_weights(logged: Logged, outcome: FloatArray, propensity: FloatArray) -> FloatArray:
    """Part of the prompt's calls over the chance to see the outcome, shape (n, m); 0 if it is unknown.

    That chance is the propensity times the part of the model's calls whose outcome is known: an unknown
    outcome counts as missing at random among the model's calls.
    """
    known = np.isfinite(outcome) & logged.called
    chance = propensity * known_share(logged.calls, outcome)
    part = logged.calls / logged.traffic[:, None]
    return np.where(known, part / np.where(known, chance, 1.0), 0.0)


def log_values(logged: Logged, outcome: ScoredOutcome) -> FloatArray:
    """What the log's own choices got on each prompt, shape (n,); the mean by traffic is the log's mean.

    Expected outcomes stand in for unknown ones, by the rule of `observation_weights`, so that the logging
    policy can be compared with another on the same prompts. NaN if the log called a model without any known
    outcome. Calls to models that are not in `models` count as 0, so leave their prompts out.
    """
    part = logged.calls / logged.traffic[:, None]
    share = np.maximum(known_share(logged.calls, outcome.observed), 1e-300)
    values = np.where(part > 0, part * (outcome.mean + outcome.residual / share), 0.0)
    values[:, outcome.unseen] = np.where(part[:, outcome.unseen] > 0, np.nan, 0.0)
    return np.asarray(values.sum(axis=1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Matches:
    """The logged calls that took what a policy would, k entries (prompt, model).

    Attributes:
        rows: shape (k,).
        models: shape (k,).
        importance: shape (k,); the policy's share over the chance to see the outcome, of each call.
        weight: shape (k,); importance, summed over the calls of the entry.
    """

    rows: IntArray
    models: IntArray
    importance: FloatArray
    weight: FloatArray


def matched_calls(logged: Logged, outcome: ScoredOutcome, shares: FloatArray) -> Matches:
    """The calls with a known outcome that took the policy's choice; `shares` as for `estimate_columns`."""
    weights = shares * outcome.weight
    rows, models = np.nonzero(weights)
    weight = weights[rows, models] * logged.traffic[rows]
    return Matches(rows=rows, models=models, importance=weight / logged.calls[rows, models], weight=weight)


def chosen_traffic(logged: Logged, shares: FloatArray) -> FloatArray:
    """Shape (n,): calls of the prompts that the policy can choose for, 0 of the others."""
    return np.where(shares.any(axis=1), logged.traffic, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimateBlock(Block):
    """One policy and outcome on each prompt, as the estimators need it, times the prompt's traffic.

    Attributes:
        traffic: calls of the prompt.
        direct: direct method.
        weighted: observed outcomes by importance, for IPS (Horvitz & Thompson 1952).
        weight: importance weight, which the self-normalised IPS divides by (Swaminathan & Joachims 2015).
        robust: doubly robust.
        switched: switch-DR.
    """

    traffic: FloatArray
    direct: FloatArray
    weighted: FloatArray
    weight: FloatArray
    robust: FloatArray
    switched: FloatArray


def estimate_columns(logged: Logged, outcome: ScoredOutcome, shares: FloatArray) -> FloatArray:
    """Columns of the `EstimateBlock` of one policy and outcome, shape (n, 6).

    Args:
        shares: shape (n, m); part of each prompt's calls that the policy gives each model. Rows add up to 1,
            or to 0 if the policy can't choose: those prompts are left out.
    """
    traffic = chosen_traffic(logged, shares)
    hits, n = matched_calls(logged, outcome, shares), len(traffic)
    direct = traffic * np.where(shares > 0, shares * outcome.mean, 0.0).sum(axis=1)
    residual = hits.weight * (outcome.observed - outcome.mean)[hits.rows, hits.models]
    kept = hits.importance <= _switch(hits, residual, logged.clusters, (direct, traffic), outcome)
    weighted = hits.weight * outcome.observed[hits.rows, hits.models]

    def by_prompt(values: FloatArray, rows: IntArray = hits.rows) -> FloatArray:
        return np.bincount(rows, values, minlength=n).astype(np.float64)

    return EstimateBlock(
        traffic=traffic,
        direct=direct,
        weighted=by_prompt(weighted),
        weight=by_prompt(hits.weight),
        robust=direct + by_prompt(residual),
        switched=direct + by_prompt(residual[kept], hits.rows[kept]),
    ).stacked()


def estimates(sums: Sums) -> dict[str, Interval]:
    """Every estimator's value with its interval, by name, from the sums of `estimate_columns`."""
    return {name: interval(sums, statistic) for name, statistic in _STATISTICS.items()}


_STATISTICS = {
    DIRECT: EstimateBlock.statistic(lambda s: ratio(s.direct, s.traffic)),
    IPS: EstimateBlock.statistic(lambda s: ratio(s.weighted, s.traffic)),
    SNIPS: EstimateBlock.statistic(lambda s: ratio(s.weighted, s.weight)),
    DOUBLY_ROBUST: EstimateBlock.statistic(lambda s: ratio(s.robust, s.traffic)),
    SWITCH: EstimateBlock.statistic(lambda s: ratio(s.switched, s.traffic)),
}


def _switch(
    hits: Matches,
    residual: FloatArray,
    clusters: IntArray,
    columns: tuple[FloatArray, FloatArray],
    outcome: ScoredOutcome,
) -> float:
    """Importance weight above which switch-DR trusts the outcome model instead of the log.

    It minimises the estimated variance plus the squared bound of the bias, among 21 weights spaced
    exponentially from the least to the largest, which keeps all (Wang, Agarwal & Dudik 2017, Optimal and
    Adaptive Off-policy Evaluation in Contextual Bandits, section 4, with `R_max` the largest observed
    outcome). How often the policy's choices have a larger weight is itself estimated from the log, since
    logged propensities are known only for the models that were called.

    Args:
        residual: shape (k,), of the hits, weighted.
        columns: direct method and traffic.
    """
    if not len(hits.rows):
        return float("inf")
    base, size = (np.bincount(clusters, column) for column in columns)
    own, highest, calls = clusters[hits.rows], float(np.nanmax(outcome.observed)), size.sum()
    best, least = float("inf"), float("inf")
    for threshold in _thresholds(hits.importance):
        kept = hits.importance <= threshold
        sums = base + np.bincount(own[kept], residual[kept], minlength=len(base))
        variance = ((sums - size * sums.sum() / calls) ** 2).sum() / calls**2
        bias = highest * hits.weight[~kept].sum() / calls
        if variance + bias**2 < least:
            best, least = threshold, variance + bias**2
    return best


def _thresholds(importance: FloatArray) -> Iterator[float]:
    """Infinity (no threshold) comes first, so that it wins ties."""
    yield float("inf")
    low, high = float(importance.min()), float(importance.max())
    if high > low * (1 + 1e-9):
        yield from np.geomspace(low, high, N_THRESHOLDS)[:-1].tolist()
