"""What a policy that did not write the log would have got on its traffic: off-policy estimates.

The doubly robust estimate is a mean of scores, one per prompt and model; every comparison that works on full
outcome matrices therefore works on them too. Where a log has grades of its answers, the scores are
prediction-powered: a grade stands in for each unknown outcome, and the known ones correct it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from router.errors import CallLogError
from router.records import FloatArray, IntArray
from training.comparing.blocks import Block, ratio
from training.comparing.estimating.logged import Logged, known_share
from training.comparing.estimating.outcome_model import FOLDS, expected_cost, expected_success
from training.comparing.estimating.propensities import Propensities, propensities_of
from training.prompts.split import APART, folds
from training.statistics.intervals import Interval, Sums, interval

DIRECT = "direct method"
IPS = "IPS"
SNIPS = "self-normalised IPS"
DOUBLY_ROBUST = "doubly robust"
SWITCH = "switch-DR"
POWERED = "prediction-powered"
N_THRESHOLDS = 21


@dataclass(frozen=True, slots=True, kw_only=True)
class Grading:
    """What the grades of answers tell of an outcome.

    Attributes:
        lean: shape (n, m); grade less expected outcome; 0 without a grade.
        reach: shape (n, m); part of the prompt's calls over the chance of the model; 0 without a call.
        share: shape (m,); in [0, 1]; how far the estimate of each model alone follows the grades.
    """

    lean: FloatArray
    reach: FloatArray
    share: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredOutcome:
    """One outcome of the logged calls, with all that the estimators need of it.

    Attributes:
        observed: shape (n, m); mean over the calls, NaN is unknown.
        mean: shape (n, m); what an outcome model that has not seen the prompt expects.
        weight: shape (n, m); as `observation_weights` gives them.
        grading: None if the log has no grades of this outcome.
    """

    observed: FloatArray
    mean: FloatArray
    weight: FloatArray
    grading: Grading | None = None

    @property
    def residual(self) -> FloatArray:
        """Shape (n, m): observed less expected; 0 where nothing was observed."""
        return np.where(np.isfinite(self.observed), self.observed - self.mean, 0.0)

    @property
    def unseen(self) -> IntArray:
        """Columns of the models without a single known outcome."""
        return np.flatnonzero(~np.isfinite(self.observed).any(axis=0)).astype(np.int64)

    @property
    def robust(self) -> FloatArray:
        """Doubly robust estimate of what each model gets on each prompt, shape (n, m).

        Expected outcome, plus the mean over the prompt's calls of the residual over the propensity (Dudik,
        Langford & Li 2011, Doubly Robust Policy Evaluation and Learning, eq. 2). Single scores lie far
        outside the outcome's range; a policy's value is the mean by traffic of the scores that it takes.
        NaN in the column of a model without a known outcome.
        """
        scores = self.mean + self.weight * self.residual
        scores[:, self.unseen] = np.nan
        return scores

    @property
    def scores(self) -> FloatArray:
        """`robust`, less each model's share of the control: unbiased as well."""
        return self.robust if self.grading is None else self.robust - self.grading.share * self.control

    @property
    def control(self) -> FloatArray:
        """What the grades tell of the chance error of `robust`, shape (n, m); 0 without grades.

        Less a share of it, and with h the expected outcome moved by that share to the grade, the score is
        augmented twice: by h less the expected outcome on every call of the model, and by the outcome less h
        on those where it is known (Robins, Rotnitzky & Zhao 1994; Angelopoulos et al. 2023,
        Prediction-powered inference). Its mean is 0 whatever the grades are, if outcomes are missing at
        random among a model's calls.
        """
        if self.grading is None:
            return np.zeros_like(self.mean)
        return np.asarray((self.weight - self.grading.reach) * self.grading.lean)


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
        raise CallLogError(f"{n_clusters} session or prompt can't be judged off-policy; {APART}")
    fold = folds(logged.clusters, min(FOLDS, n_clusters), seed)
    propensities = propensities_of(logged, covariates, fold, seed=seed)
    success = expected_success(logged.success, logged.calls, covariates, fold)
    cost = expected_cost(logged.cost, logged.calls, covariates, fold)
    return Study(
        logged=logged,
        propensities=propensities,
        success=graded_outcome(
            logged,
            scored_outcome(logged, logged.success, success, propensities.values),
            propensities.values,
        ),
        cost=scored_outcome(logged, logged.cost, cost, propensities.values),
    )


def scored_outcome(
    logged: Logged, outcome: FloatArray, mean: FloatArray, propensity: FloatArray
) -> ScoredOutcome:
    """An outcome with its expected values and the weights of its observations, all of shape (n, m)."""
    return ScoredOutcome(observed=outcome, mean=mean, weight=observation_weights(logged, outcome, propensity))


def graded_outcome(logged: Logged, outcome: ScoredOutcome, propensity: FloatArray) -> ScoredOutcome:
    """The outcome with the log's grades of it; each model's share is tuned for the policy of it alone."""
    if logged.graded is None:
        return outcome
    graded = np.isfinite(logged.graded) & logged.called
    part = logged.calls / logged.traffic[:, None]
    reach = np.where(logged.called, part / np.where(logged.called, propensity, 1.0), 0.0)
    lean = np.where(graded, logged.graded - outcome.mean, 0.0)
    none = Grading(lean=lean, reach=reach, share=np.zeros(lean.shape[1]))
    control = replace(outcome, grading=none).control
    share = [
        tuned_share(logged, values, own)
        for values, own in zip(np.nan_to_num(outcome.robust).T, control.T, strict=True)
    ]
    return replace(outcome, grading=replace(none, share=np.array(share)))


def tuned_share(logged: Logged, values: FloatArray, control: FloatArray) -> float:
    """The share of the control that gives the mean of values less the control the least variance, in [0, 1].

    The slope of the values on the control, over sums by cluster (Angelopoulos, Duchi & Zrnic 2023, PPI++,
    section 6), cut: grades that tell nothing, or the opposite, get no share.

    Args:
        values: shape (n,); 0, like the control, where the policy can't choose.
    """
    size = np.bincount(logged.clusters, logged.traffic)

    def centred(column: FloatArray) -> FloatArray:
        sums = np.bincount(logged.clusters, logged.traffic * column)
        return np.asarray(sums - size * (sums.sum() / size.sum()))

    spread, own = centred(control), centred(values)
    varies = float(spread @ spread)
    return float(np.clip(spread @ own / varies, 0.0, 1.0)) if varies > 0 else 0.0


def policy_scores(logged: Logged, outcome: ScoredOutcome, shares: FloatArray) -> FloatArray:
    """What a policy gets on each prompt, shape (n,); its mean by traffic is the best estimate of its value.

    Doubly robust, less the share of the control that suits this policy best; NaN where it takes a model
    without a known outcome.

    Args:
        shares: shape (n, m); as for `estimate_columns`.
    """
    values = np.where(shares > 0, shares * outcome.robust, 0.0).sum(axis=1)
    if outcome.grading is None:
        return np.asarray(values)
    control = (shares * outcome.control).sum(axis=1)
    return np.asarray(values - tuned_share(logged, np.nan_to_num(values), control) * control)


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

    Expected outcomes, and grades, stand in for unknown ones, by the rule of `observation_weights`, so that
    the logging policy can be compared with another on the same prompts. NaN if the log called a model without
    any known outcome. Calls to models that are not in `models` count as 0, so leave their prompts out.
    """
    part = logged.calls / logged.traffic[:, None]
    share = np.maximum(known_share(logged.calls, outcome.observed), 1e-300)
    values = np.where(part > 0, part * (outcome.mean + outcome.residual / share), 0.0)
    values[:, outcome.unseen] = np.where(part[:, outcome.unseen] > 0, np.nan, 0.0)
    total = values.sum(axis=1)
    if outcome.grading is not None:
        missed = np.where(part > 0, part * (np.isfinite(outcome.observed) / share - 1.0), 0.0)
        control = (missed * outcome.grading.lean).sum(axis=1)
        total = total - tuned_share(logged, np.nan_to_num(total), control) * control
    return np.asarray(total)


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
        powered: prediction-powered; as `robust` without grades.
    """

    traffic: FloatArray
    direct: FloatArray
    weighted: FloatArray
    weight: FloatArray
    robust: FloatArray
    switched: FloatArray
    powered: FloatArray


def estimate_columns(logged: Logged, outcome: ScoredOutcome, shares: FloatArray) -> FloatArray:
    """Columns of the `EstimateBlock` of one policy and outcome, shape (n, 7).

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
        powered=traffic * policy_scores(logged, outcome, shares),
    ).stacked()


def estimates(sums: Sums, *, graded: bool = False) -> dict[str, Interval]:
    """Every estimator's value with its interval, by name, from the sums of `estimate_columns`.

    Args:
        graded: whether the log has grades; else nothing is prediction-powered.
    """
    return {
        name: interval(sums, statistic)
        for name, statistic in _STATISTICS.items()
        if graded or name != POWERED
    }


_STATISTICS = {
    DIRECT: EstimateBlock.statistic(lambda s: ratio(s.direct, s.traffic)),
    IPS: EstimateBlock.statistic(lambda s: ratio(s.weighted, s.traffic)),
    SNIPS: EstimateBlock.statistic(lambda s: ratio(s.weighted, s.weight)),
    DOUBLY_ROBUST: EstimateBlock.statistic(lambda s: ratio(s.robust, s.traffic)),
    SWITCH: EstimateBlock.statistic(lambda s: ratio(s.switched, s.traffic)),
    POWERED: EstimateBlock.statistic(lambda s: ratio(s.powered, s.traffic)),
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
