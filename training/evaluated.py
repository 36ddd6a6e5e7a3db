"""The values of a comparison: what goes in, and what comes out."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from router.errors import CallLogError
from router.records import FloatArray, IntArray, Json
from training.baselines import Baselines
from training.intervals import Interval

Outcome = Literal["loss", "undecided", "trade-off", "win"]
Kind = Literal["router", "baseline", "control", "bound", "single model"]

FORMAT = 1
"""Of report.json; grows when a key changes its meaning or goes away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where a comparison comes from.

    Attributes:
        router_version: names the router.
        data_digest: hash of the call log.
        left_out: number of prompts that were left out, per reason.
        objective: what the router was fitted for, in words.
        dominated: models that are no cheaper and no better than another one, and which one.
        warnings: sentences for the reader, printed as they are.
    """

    router_version: str
    data_digest: str
    left_out: Mapping[str, int] = field(default_factory=dict)
    objective: str = ""
    dominated: Mapping[str, str] = field(default_factory=dict)
    warnings: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """Held-out prompts whose outcome is known for every model, and what each policy does on them.

    Attributes:
        models: names of the columns, m of them.
        keys: prompt key of each of the n rows.
        clusters: shape (n,); rows that share a number (a session) are resampled together.
        task_types: of each row.
        success: shape (n, m); in [0, 1], no NaN.
        cost: shape (n, m); USD a call. Unless every entry is known, costs count as unknown.
        probability: shape (n, m); the router's chance of success.
        expected_cost: shape (n, m); USD, what the router expects.
        choice: shape (n,); column of the model that the router chose in the end.
        source: of each row, who chose: "learned", "rule", ...
        confidence: shape (n,); the router's chance that its choice succeeds.
    """

    models: tuple[str, ...]
    keys: Sequence[str]
    clusters: IntArray
    task_types: Sequence[str | None]
    success: FloatArray
    cost: FloatArray
    probability: FloatArray
    expected_cost: FloatArray
    choice: IntArray
    source: Sequence[str]
    confidence: FloatArray
    baselines: Baselines
    provenance: Provenance

    def __post_init__(self) -> None:
        n, m = len(self.keys), len(self.models)
        if n == 0 or m == 0:
            reasons = ", ".join(f"{count} {why}" for why, count in self.provenance.left_out.items())
            raise CallLogError(
                f"no prompt is left to compare on (left out: {reasons or 'none'}); "
                "give calls in which every model of the router answered the same prompts"
            )
        for name in ("success", "cost", "probability", "expected_cost"):
            if getattr(self, name).shape != (n, m):
                raise ValueError(f"{name} has shape {getattr(self, name).shape}, expected {(n, m)}")
        for name in ("clusters", "task_types", "choice", "source", "confidence"):
            if len(getattr(self, name)) != n:
                raise ValueError(f"{name} has {len(getattr(self, name))} rows, expected {n}")
        if not ((self.success >= 0) & (self.success <= 1)).all():
            raise ValueError("success must be known and in [0, 1] on every row: leave the other rows out")
        if not ((self.choice >= 0) & (self.choice < m)).all():
            raise ValueError(f"choice must name a column, 0 to {m - 1}, on every row")


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyResult:
    """One policy on the prompts that it can choose for; differences and ratios are on the same prompts.

    Attributes:
        model: the one that gets every prompt, where it is one.
        aliases: other policies that make the same choices.
        same_as_router: makes the router's choices.
        prompts: number that the policy can choose for.
        cost_relative_to_best_single: its mean cost over the best single model's.
        router_success_difference: the router's mean success less this one's.
        router_cost_ratio: the router's mean cost over this one's.
        router_cost_difference: the router's mean cost less this one's, USD a call.
        learned_cost_at_equal_success: cost at which the swept learned policy reaches this one's success
            rate, over this one's cost; infinity (null in JSON) where it never does.
        shares: part of the prompts that each model gets.
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
    router_success_difference: Interval
    router_cost_ratio: Interval
    router_cost_difference: Interval
    learned_cost_at_equal_success: Interval
    shares: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveResult:
    """A policy swept over its weight on cost.

    Attributes:
        weight: 1 / USD, rising.
        success: mean at each weight.
        cost_usd_per_call: mean at each weight.
        cost_at_best: cost at which the curve reaches the best single model's success rate, as a share of that
            model's cost; infinity (null in JSON) where it never does.
    """

    name: str
    weight: tuple[float, ...]
    success: tuple[float, ...]
    cost_usd_per_call: tuple[float, ...]
    cost_at_best: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceResult:
    """The router against the best single model on the prompts of one task type.

    Attributes:
        task_type: None for the prompts without one.
        rule_share: part of the prompts that the rule table decided.
    """

    task_type: str | None
    prompts: int
    router_success: float
    best_single_success: float
    success_difference: Interval
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
class Verdict:
    """One sentence on the router against one thing; `against` is the baseline's name."""

    outcome: Outcome
    against: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The router against every baseline: the content of report.json.

    Attributes:
        verdict: losses first, then undecided ones, trade-offs, and wins.
        best_single: name of the model that relative costs refer to.
        router: its final choices, rule table included.
        policies: the baselines, the shuffle, the oracle, and each model alone.
        curves: the learned policy and the mean per task type, where costs are known.
        equal_quality: the learned policy's cost over the mean per task type's, each at the best single
            model's success rate; None where one of the curves is missing.
        apgr: average performance gap recovered, with two models only.
        sources: part of the prompts that each source decided.
    """

    verdict: tuple[Verdict, ...]
    provenance: Provenance
    models: tuple[str, ...]
    prompts: int
    clusters: int
    costs_known: bool
    best_single: str
    router: PolicyResult
    policies: tuple[PolicyResult, ...]
    curves: tuple[CurveResult, ...]
    equal_quality: Interval | None
    apgr: Interval | None
    calibration: Calibration
    sources: Mapping[str, float]
    slices: tuple[SliceResult, ...]
    warnings: tuple[str, ...]
    n_resamples: int
    seed: int

    def to_json(self) -> dict[str, Json]:
        """Plain JSON values: the attributes by their names; unknown or infinite numbers are null.

        Numbers keep six digits. `format` names the form.
        """
        content = _plain(dataclasses.asdict(self))
        assert isinstance(content, dict)
        return {"format": FORMAT, **content}


def _plain(value: object) -> Json:
    """A value as JSON holds it."""
    if isinstance(value, Mapping):
        return {str(name): _plain(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, float | np.floating):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value
