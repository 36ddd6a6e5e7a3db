"""The parameters and metrics of a comparison that MLflow records beside its report."""

from __future__ import annotations

import math
from functools import partial

from router import __version__
from training.comparing.evaluated import Comparison
from training.statistics.intervals import Interval
from training.tracking.publish import LoggedData, RunRecord


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
    advice, log = comparison.recommendation, comparison.provenance
    tags = {"success": router.success.value, "cost_usd_per_1000": router.cost_usd_per_call.value * 1000}
    return RunRecord(
        params={
            "method": comparison.method,
            "today": comparison.change.today,
            "data_digest": log.data_digest,
            "resamples": comparison.n_resamples,
            "seed": comparison.seed,
        },
        metrics={name: value for name, value in metrics.items() if math.isfinite(value)},
        tags={
            "compared_policy_version": log.router_version,
            "pointsman_version": __version__,
            "recommendation": advice.code,
            **{name: f"{value:.4g}" for name, value in tags.items() if math.isfinite(value)},
        },
        version_tags={"comparison_recommendation": advice.code},
        card=partial(_card, comparison),
        data=LoggedData(name=", ".join(log.calls)[:500], digest=log.data_digest, calls=log.calls_in_log),
    )


def _card(comparison: Comparison, router: str) -> str:
    """What MLflow's page says of a comparison, in Markdown."""
    advice, log = comparison.recommendation, comparison.provenance
    return (
        f"**{advice.sentence}**\n\nNext: `{advice.next}`\n\nThe router {router} on {comparison.prompts:,} "
        f"prompts of {', '.join(log.calls)}; all figures are in `report.html` among the artifacts."
    )


def _ends(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.value, f"{name}.ci_low": interval.low, f"{name}.ci_high": interval.high}


def _name(policy: str) -> str:
    """A policy's name in the characters that MLflow allows in the name of a metric."""
    return "".join(letter if letter.isalnum() or letter in "_-. /" else "_" for letter in policy)
