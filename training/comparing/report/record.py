"""The parameters and metrics of a comparison that MLflow records beside its report."""

from __future__ import annotations

import math

from router import __version__
from training.comparing.evaluated import Comparison
from training.statistics.intervals import Interval
from training.tracking.publish import RunRecord


def comparison_record(comparison: Comparison) -> RunRecord:
    """The MLflow run of a comparison.

    The tag `compared_policy_version` names the router, because `policy_version` marks training runs.
    """
    router = comparison.router
    intervals = {
        "success": router.success,
        "cost_usd_per_call": router.cost_usd_per_call,
        "usd_per_1000_change": comparison.change.usd_per_1000,
        "failures_per_1000_change": comparison.change.failures_per_1000,
        "cost_at_equal_quality": comparison.cost_at_equal_quality,
        "quality_at_equal_cost": comparison.quality_at_equal_cost,
        **{f"aiq.{_name(curve.name)}": curve.aiq for curve in comparison.curves},
        **{f"success.{_name(policy.name)}": policy.success for policy in comparison.policies},
        **{
            f"cost_usd_per_call.{_name(policy.name)}": policy.cost_usd_per_call
            for policy in comparison.policies
        },
    }
    figures = {
        "expected_calibration_error": comparison.calibration.expected_calibration_error,
        "brier": comparison.calibration.brier,
        "prompts": float(comparison.prompts),
        "losses": float(sum(claim.outcome == "loss" for claim in comparison.verdict)),
    }
    metrics = {f"compare.{name}": value for name, value in figures.items()}
    for name, interval in intervals.items():
        metrics |= {f"compare.{key}": value for key, value in _ends(name, interval).items()}
    return RunRecord(
        params={
            "method": comparison.method,
            "today": comparison.change.today,
            "data_digest": comparison.provenance.data_digest,
            "resamples": comparison.n_resamples,
            "seed": comparison.seed,
        },
        metrics={name: value for name, value in metrics.items() if math.isfinite(value)},
        tags={
            "compared_policy_version": comparison.provenance.router_version,
            "pointsman_version": __version__,
        },
    )


def _ends(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.value, f"{name}.ci_low": interval.low, f"{name}.ci_high": interval.high}


def _name(policy: str) -> str:
    """A policy's name in the characters that MLflow allows in the name of a metric."""
    return "".join(letter if letter.isalnum() or letter in "_-. /" else "_" for letter in policy)
