"""The values of a comparison: its input and its result."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from router.errors import CallLogError
from router.numbers import bounds, rate, relative, signed_points, usd_per_thousand
from router.records import FloatArray, IntArray, Json, Request
from router.text import shortened
from training.comparing.policies.baselines import Baselines
from training.pages.rendering import Showable
from training.recommending import Recommendation
from training.statistics.intervals import UNKNOWN, Interval

if TYPE_CHECKING:
    from training.comparing.estimating.off_policy import Study

Outcome = Literal["loss", "undecided", "trade-off", "win"]
Kind = Literal[
    "router", "other router", "own policy", "baseline", "logged", "control", "bound", "single model"
]
Method = Literal["exact", "off-policy"]

FORMAT = 2
"""Of report.json; grows when a key changes its meaning or is removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where a comparison comes from.

    Attributes:
        router_version: policy version of the router.
        data_digest: hash of the call log.
        left_out: number of prompts that were left out, per reason.
        objective: what the router was fitted for, in words.
        dominated: models that are no cheaper and no better than another one, and which one.
        warnings: sentences for the reader, printed as they are.
        routers: policy version of each compared router, by its source.
        command: command line that repeats the report; empty if there is none.
        versions: of the libraries that the numbers depend on, by name.
        trained: when the router was trained, ISO 8601; empty if its folder does not say.
        calls: the sources of the log, without credentials.
        calls_in_log: number of calls in it; 0 is unknown.
        first_day: of the log, ISO 8601; empty if the calls have no time.
        last_day: as `first_day`.
        synthetic: the log was made up, by the word of the one who compares.
    """

    router_version: str
    data_digest: str
    left_out: Mapping[str, int] = field(default_factory=dict)
    objective: str = ""
    dominated: Mapping[str, str] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    routers: Mapping[str, str] = field(default_factory=dict)
    command: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    trained: str = ""
    calls: Sequence[str] = ()
    calls_in_log: int = 0
    first_day: str = ""
    last_day: str = ""
    synthetic: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A policy to compare, by what it does on every evaluated prompt.

    Attributes:
        choice: shape (n,); column of the model, or -1 where it can't choose; None if it mixes models.
        shares: shape (n, m); chance of each model, each row summing to 1; None if it does not mix models.
        probability: shape (n, m); its chances of success, or None if it has none, so that it can't be swept.
        expected_cost: shape (n, m); USD, as `probability`.
    """

    name: str
    kind: Kind
    choice: IntArray | None = None
    shares: FloatArray | None = None
    probability: FloatArray | None = None
    expected_cost: FloatArray | None = None

    def __post_init__(self) -> None:
        if (self.choice is None) == (self.shares is None):
            raise ValueError(f"policy {self.name!r} needs either a choice per prompt or shares")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """Held-out prompts, what every model did on them, and what each policy chooses on them.

    Attributes:
        models: names of the columns, m of them.
        keys: prompt key of each of the n rows.
        requests: of each row.
        clusters: shape (n,); rows that share a number (a session) are resampled together.
        traffic: shape (n,); calls that each row stands for. In an exact comparison 1, or one over the
            chance to be drawn for a prompt that a replay drew.
        success: shape (n, m); in [0, 1], no NaN. Off-policy: scores, which may lie outside.
        cost: shape (n, m); USD a call, or its scores. Unless every entry is known, costs count as unknown.
        study: the log as off-policy estimates need it, or None if every outcome is known.
        probability: shape (n, m); the router's chance of success.
        expected_cost: shape (n, m); USD, what the router expects.
        choice: shape (n,); column of the router's final choice.
        source: what decided each row: "learned", "rule", ...
        confidence: shape (n,); the router's chance that its choice succeeds.
        others: policies besides the baselines: other routers, the team's own.
        scores: further scores of how hard each prompt is, shape (n,), by name; ranked beside the router's.
    """

    models: tuple[str, ...]
    keys: Sequence[str]
    requests: Sequence[Request]
    clusters: IntArray
    traffic: FloatArray
    success: FloatArray
    cost: FloatArray
    study: Study | None
    probability: FloatArray
    expected_cost: FloatArray
    choice: IntArray
    source: Sequence[str]
    confidence: FloatArray
    baselines: Baselines
    others: Sequence[Contender]
    provenance: Provenance
    scores: Mapping[str, FloatArray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n, m = len(self.keys), len(self.models)
        if n == 0 or m == 0:
            reasons = ", ".join(f"{count:,} {why}" for why, count in self.provenance.left_out.items())
            raise CallLogError(
                f"no prompt is left to compare on (left out: {reasons or 'none'}); "
                "give calls of the router's models that it was not trained on"
            )
        for name in ("success", "cost", "probability", "expected_cost"):
            if getattr(self, name).shape != (n, m):
                raise ValueError(f"{name} has shape {getattr(self, name).shape}, expected {(n, m)}")
        for name in ("requests", "clusters", "traffic", "choice", "source", "confidence"):
            if len(getattr(self, name)) != n:
                raise ValueError(f"{name} has {len(getattr(self, name)):,} rows, expected {n}")
        known = np.isfinite(self.success) if self.study else (self.success >= 0) & (self.success <= 1)
        if not known.all():
            raise ValueError("success must be known and in [0, 1] on every row: leave the other rows out")
        if not ((self.choice >= 0) & (self.choice < m)).all():
            raise ValueError(f"choice must name a column, 0 to {m - 1}, on every row")

    @property
    def method(self) -> Method:
        """Whether outcomes are known, or estimated from what was logged."""
        return "off-policy" if self.study else "exact"

    def mean(self, values: FloatArray) -> FloatArray:
        """Mean over the traffic of values of shape (n, m), per model; NaN if one is NaN."""
        return np.asarray(self.traffic @ values / self.traffic.sum())

    @property
    def task_types(self) -> list[str | None]:
        """Task type of each row."""
        return [request.task_type for request in self.requests]


@dataclass(frozen=True, slots=True, kw_only=True)
class Support:
    """How far a log can speak for a policy (off-policy only).

    Attributes:
        matched_share: part of the calls on which the log took the policy's choice.
        mean_weight: mean importance weight; 1 where the log covers the policy.
        effective_sample_size: (sum of weights)^2 / (sum of squared weights) (Kish 1965).
        largest_weight_share: largest weight over the sum of weights.
        weight_quantiles: of the weights on matched calls, by level ("0.5", "0.9", "0.99", "1").
        refused: why there is no success rate, and so no number at all, or None.
        cost_refused: why there is no cost, or None; `refused` if that is not None.
        estimates: success rate by estimator: "direct method", "IPS", "self-normalised IPS", "doubly robust",
            "switch-DR", and with grades "prediction-powered". Empty if refused; unknown where one gives an
            impossible value.
        cost_estimates: USD a call, as `estimates`.
    """

    matched_share: float
    mean_weight: float
    effective_sample_size: float
    largest_weight_share: float
    weight_quantiles: Mapping[str, float]
    refused: str | None
    cost_refused: str | None
    estimates: Mapping[str, Interval]
    cost_estimates: Mapping[str, Interval]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A paired difference, with its p-value before and after correction for many looks.

    Attributes:
        interval: of the difference or the ratio.
        p_value: two-sided, of no difference.
        p_adjusted: after Holm's correction over all that were tested together (Holm 1979).
        calls_to_settle: further independent prompts at which a test would detect a difference of this size
            at 95 % with 80 % power; None if it is settled, or no number suffices.
    """

    interval: Interval
    p_value: float
    p_adjusted: float
    calls_to_settle: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyResult:
    """One policy on the prompts that it can choose for; differences and ratios are on the same prompts.

    Attributes:
        model: the one that gets every prompt, or None if there are several.
        aliases: other policies that make the same choices.
        same_as_router: makes the router's choices.
        prompts: number that the policy can choose for.
        cost_relative_to_best_single: its mean cost over the best single model's.
        success_difference: the router's mean success less this one's.
        cost_ratio: the router's mean cost over this one's.
        cost_difference: the router's mean cost less this one's, USD a call.
        cost_at_equal_quality: cost at which the swept learned policy reaches this one's success rate, over
            this one's cost; infinity (null in JSON) if it never does.
        quality_at_equal_cost: success of the swept learned policy at this one's cost, less this one's.
        regret: the oracle's success less this one's; unknown off-policy.
        label_agreement: part of the labelled prompts on which the policy takes the cheapest model that
            succeeded; NaN off-policy.
        shares: part of the prompts that each model gets.
        support: off-policy only.
    """

    name: str
    kind: Kind
    model: str | None
    aliases: tuple[str, ...]
    same_as_router: bool
    prompts: int
    success: Interval
    cost_usd_per_call: Interval
    cost_relative_to_best_single: Interval
    success_difference: Difference
    cost_ratio: Difference
    cost_difference: Interval
    cost_at_equal_quality: Interval
    quality_at_equal_cost: Interval
    regret: Interval
    label_agreement: float
    shares: Mapping[str, float]
    support: Support | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CascadeResult:
    """What the router's cascade would change, on the prompts whose answers it checks; both calls count.

    Attributes:
        prompts: number of them with the answer of the router's choice.
        asked: part of them for which a second model is asked; NaN if nothing can be told.
        success_change: mean success with the cascade less without.
        cost_change_usd: the same of the cost, USD a call.
        latency_change_s: the same of the wait, in seconds; over the prompts whose latencies are logged.
    """

    prompts: int
    asked: float = math.nan
    success_change: Interval = UNKNOWN
    cost_change_usd: Interval = UNKNOWN
    latency_change_s: Interval = UNKNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveResult:
    """A policy swept over its weight on cost.

    Attributes:
        weight: 1 / USD, rising.
        success: mean at each weight.
        success_ci_low: lower end of its interval at each weight.
        success_ci_high: upper end.
        cost_usd_per_call: mean at each weight.
        cost_at_best: cost at which the curve reaches the best single model's success rate, as a share of that
            model's cost; infinity (null in JSON) if it never does.
        aiq: average improvement in quality: mean height of the non-decreasing convex hull between the
            cheapest and the dearest single model's cost (Hu et al. 2024, RouterBench, section 3).
    """

    name: str
    weight: tuple[float, ...]
    success: tuple[float, ...]
    success_ci_low: tuple[float, ...]
    success_ci_high: tuple[float, ...]
    cost_usd_per_call: tuple[float, ...]
    cost_at_best: Interval
    aiq: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceResult:
    """The router against the reference policy on a part of the prompts.

    Attributes:
        dimension: "task type", "tag", "language", "length", "tools", "decision source" or "confidence".
        name: of the part.
        prompts: number in it.
        reference_success: mean success of the reference policy.
        success_difference: the router's less the reference's; corrected over all slices.
        cost_ratio: the router's over the reference's.
        rule_share: part of the prompts that the rule table decided.
    """

    dimension: str
    name: str
    prompts: int
    router_success: float
    reference_success: float
    success_difference: Difference
    router_cost_usd_per_call: float
    cost_ratio: Interval
    rule_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Probabilities against outcomes.

    Attributes:
        expected_calibration_error: of the chosen model's confidence.
        brier: of the same.
        all_models_expected_calibration_error: of the probabilities of all models together.
        all_models_brier: of the same.
        bins: per filled bin of confidence its upper edge, its number of prompts, mean confidence and success.
        risk_coverage: coverage, least confidence and failure rate, from few prompts kept to all.
        risk_coverage_area: lower is better.
    """

    expected_calibration_error: float
    brier: float
    all_models_expected_calibration_error: float
    all_models_brier: float
    bins: tuple[Mapping[str, float], ...]
    risk_coverage: tuple[Mapping[str, float], ...]
    risk_coverage_area: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """How the router ranks prompts between the cheapest and the best single model (RouteLLM, section 3).

    Attributes:
        weak: the cheapest model.
        strong: the best single model.
        apgr: average performance gap recovered; random routing gets 0.5.
        cpt_50: least share of calls to the strong model that recovers half of the gap.
        cpt_80: as `cpt_50`, for 80 % of the gap.
        auc: area under the ROC curve of the router's chance that the weak model fails, as a prediction of it.
        auc_by_score: the same for the other scores, by name.
    """

    weak: str
    strong: str
    apgr: Interval
    cpt_50: Interval
    cpt_80: Interval
    auc: Interval
    auc_by_score: Mapping[str, Interval]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeFromToday:
    """What would change per 1,000 requests against what runs today.

    Attributes:
        today: name of the policy that runs today.
        usd_per_1000: the router's cost less today's; negative saves.
        failures_per_1000: the router's failures less today's; negative breaks less.
        cost_change: the router's cost over today's, less 1.
        requests_per_month: at the log's own volume, or as the caller says; NaN is unknown.
        usd_per_month: `usd_per_1000` at that volume.
    """

    today: str
    usd_per_1000: Interval
    failures_per_1000: Interval
    cost_change: Interval = UNKNOWN
    requests_per_month: float = math.nan
    usd_per_month: Interval = UNKNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """The learned policy at the weight whose success loss is bounded, on prompts that did not choose it.

    Attributes:
        max_quality_loss: most that the success rate may lie below the best single model's.
        confidence: of the promise.
        weight: 1 / USD, chosen on the calibration part, or None if no weight is safe.
        calibration_prompts: number in the calibration part.
        bound: upper confidence bound on the loss at that weight, on the calibration part.
        test_prompts: number in the test part.
        loss: the best single model's success less the policy's, on the test part.
        cost_ratio: the policy's cost over the best single model's, on the test part.
        kept: whether the loss on the test part is within the promise, or None if the loss is unknown.
        method: the test and its source.
        assumptions: sentences.
    """

    max_quality_loss: float
    confidence: float
    weight: float | None
    calibration_prompts: int
    bound: float
    test_prompts: int
    loss: Interval
    cost_ratio: Interval
    kept: bool | None
    method: str
    assumptions: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OffPolicy:
    """What the log can say about policies that did not write it.

    Attributes:
        propensities: "logged", or "estimated" from the log if some were missing.
        outcome_model: what the direct method predicts with, in words.
        calls: number of logged calls with a known outcome.
        overlap: per task type ("" for none): calls, effective sample size of the router, smallest propensity
            of the router's choices.
        propensity_calibration_error: of the estimated propensities; NaN if they were logged.
        warnings: sentences.
        success_estimator: name of the one behind every success rate: "doubly robust", or "prediction-powered"
            if the log has grades.
        grade_shares: per model how far its success rate follows the grades, in [0, 1]; empty without.
    """

    propensities: Literal["logged", "estimated"]
    outcome_model: str
    calls: int
    overlap: tuple[Mapping[str, str | float], ...]
    propensity_calibration_error: float
    warnings: tuple[str, ...]
    success_estimator: str = "doubly robust"
    grade_shares: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A prompt on which the router and the reference policy choose different models.

    Attributes:
        text: start of the prompt, or None if it may not be shown.
        router_success: in [0, 1]; NaN if the log did not try the choice.
        reference_success: as `router_success`.
    """

    key: str
    text: str | None
    task_type: str | None
    router_model: str
    reference_model: str
    router_success: float
    reference_success: float
    router_confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One sentence on the router against one policy.

    Attributes:
        against: that policy's name.
        success: "more successful", "less successful", or that neither is shown; empty on other matters.
        cost: "cheaper", "dearer", or that neither is shown; empty on other matters.
    """

    outcome: Outcome
    against: str
    text: str
    success: str = ""
    cost: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Comparison(Showable):
    """The router against every other policy: the content of report.json.

    Attributes:
        method: "exact" where every model's outcome is known on every prompt; else "off-policy".
        recommendation: what to do with the router.
        change: per 1,000 requests against what runs today.
        verdict: losses first, then undecided ones, trade-offs, and wins.
        best_single: name of the model that relative costs refer to.
        router: its final choices, rule table included.
        policies: all others.
        cost_at_equal_quality: cost at which the learned policy reaches the best single model's success rate,
            over that model's cost; infinity (null in JSON) if it never does.
        quality_at_equal_cost: the learned policy's success at the best single model's cost, less its success.
        curves: the learned policy, other routers and the mean per task type; empty if costs are unknown.
        equal_quality: the learned policy's cost over the mean per task type's, each at the best single
            model's success rate; None if one of the curves is missing.
        ranking: None with fewer than two models, or off-policy.
        calibration: off-policy over the logged calls of the chosen model, weighted.
        sources: part of the prompts that each source decided.
        reference: name of the policy that slices and examples compare with.
        text_shown: whether the examples may show prompts.
        looked_at: number of comparisons that Holm's correction covers, by family.
        cascade: what the router's cascade would change; None if it has learned none.
    """

    method: Method
    recommendation: Recommendation
    change: ChangeFromToday
    verdict: tuple[Claim, ...]
    provenance: Provenance
    models: tuple[str, ...]
    prompts: int
    clusters: int
    costs_known: bool
    best_single: str
    router: PolicyResult
    policies: tuple[PolicyResult, ...]
    cost_at_equal_quality: Interval
    quality_at_equal_cost: Interval
    curves: tuple[CurveResult, ...]
    equal_quality: Interval | None
    ranking: Ranking | None
    calibration: Calibration
    sources: Mapping[str, float]
    reference: str
    slices: tuple[SliceResult, ...]
    examples: tuple[Example, ...]
    promise: Promise | None
    off_policy: OffPolicy | None
    looked_at: Mapping[str, int]
    text_shown: bool
    warnings: tuple[str, ...]
    n_resamples: int
    seed: int
    cascade: CascadeResult | None = None

    def in_short(self) -> str:
        """See `Showable`."""
        return f"{self.recommendation.sentence} Next: {self.recommendation.next}"

    def in_rows(self) -> Sequence[Sequence[str]]:
        """One row a policy, the router first; see `Showable`."""
        head = (
            "policy",
            "success",
            "$ per 1,000 calls",
            "router's success less this, points",
            "router's cost",
        )
        return [head, *(_policy_cells(one, one is self.router) for one in (self.router, *self.policies))]

    def to_json(self) -> dict[str, Json]:
        """Plain JSON values: the attributes by their names, and `format`.

        Numbers keep six digits; unknown or infinite ones are null.
        """
        content = _plain(self)
        assert isinstance(content, dict)
        return {"format": FORMAT, **content}


def _policy_cells(policy: PolicyResult, is_router: bool) -> Sequence[str]:
    success, cost = policy.success, policy.cost_usd_per_call
    cells = (
        shortened(policy.name, 60),
        f"{rate(success.value)} {bounds(success, 'rate')}",
        f"{usd_per_thousand(cost.value)} {bounds(cost, 'usd')}",
    )
    if is_router:
        return (*cells, "", "")
    gain, ratio = policy.success_difference.interval, policy.cost_ratio.interval
    return (
        *cells,
        f"{signed_points(gain.value)} {bounds(gain, 'points')}",
        f"{relative(ratio.value)} {bounds(ratio, 'ratio')}",
    )


def _plain(value: object) -> Json:
    """A value as JSON holds it; an interval's ends are named `ci_low` and `ci_high`."""
    if isinstance(value, Interval):
        ends = {"value": value.value, "ci_low": value.low, "ci_high": value.high, "above": value.above}
        return _plain(ends)
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(name): _plain(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, float | np.floating):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value
