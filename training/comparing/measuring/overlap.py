"""What the log can say about each policy."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from router.records import BoolArray
from training.comparing.estimating.off_policy import DOUBLY_ROBUST, POWERED, Study
from training.comparing.estimating.support import (
    LEAST_SAMPLE,
    cost_warnings,
    log_warnings,
    overlap_by_task_type,
    refusal,
    support_of,
    support_warnings,
)
from training.comparing.evaluated import Evaluated, OffPolicy, Support
from training.comparing.measuring.contenders import ComparedPolicy
from training.statistics.intervals import Sums
from training.statistics.policy_curves import ROUNDING

OUTCOME_MODEL = (
    "ridge regression per model on the router's forecasts, the prompt's structure and its task type, "
    "cross-fitted by session or prompt"
)


def supports(
    evaluated: Evaluated, policies: Sequence[ComparedPolicy], sums: Mapping[str, Sums]
) -> dict[str, Support]:
    """How far the log can speak for each policy; empty if every outcome is known."""
    if evaluated.study is None:
        return {}
    return {
        policy.name: support_of(evaluated.study, policy.chances(), sums[policy.name])
        for policy in policies
        if policy.kind not in ("bound", "logged")
    }


def silent_outcomes(
    evaluated: Evaluated, policies: Sequence[ComparedPolicy], support: Mapping[str, Support]
) -> dict[str, set[str]]:
    """Which of "success" and "cost" the log can't tell of each policy; none if every outcome is known."""
    silent: dict[str, set[str]] = {policy.name: set() for policy in policies}
    if evaluated.study is None:
        return silent
    for policy in policies:
        own = support.get(policy.name)
        if own is not None:
            silent[policy.name] |= {"success"} if own.refused else set()
            silent[policy.name] |= {"cost"} if own.cost_refused else set()
        else:
            silent[policy.name] |= _silent_log(
                evaluated.study, policy, np.ones(len(evaluated.keys), dtype=bool)
            )
    return silent


def silent_on(
    evaluated: Evaluated, policy: ComparedPolicy, rows: BoolArray, whole: Collection[str]
) -> set[str]:
    """As `silent_outcomes`, of one policy on a part of the prompts.

    Args:
        whole: what the log can't tell of the policy on all prompts.
    """
    study = evaluated.study
    if study is None or policy.kind == "logged":
        return set(whole) | (set() if study is None else _silent_log(study, policy, rows))
    shares = np.where(rows[:, None], policy.chances(), 0.0)
    if not shares.any():
        return {"success", "cost"}
    outcomes = {"success": study.success, "cost": study.cost}
    return set(whole) | {name for name, one in outcomes.items() if refusal(study, one, shares)}


def _silent_log(study: Study, policy: ComparedPolicy, rows: BoolArray) -> set[str]:
    """Of the policy that wrote the log: outcomes known of too few independent prompts, or impossible."""
    silent = set()
    for name, one, values, most in (
        ("success", study.success, policy.success, 1.0),
        ("cost", study.cost, policy.cost, np.inf),
    ):
        known = np.isfinite(one.observed).any(axis=1) & rows
        able = np.isfinite(values) & rows
        mean = float(np.average(values[able], weights=study.logged.traffic[able])) if able.any() else np.nan
        if (
            len(np.unique(study.logged.clusters[known])) < LEAST_SAMPLE
            or not -ROUNDING <= mean <= most + ROUNDING
        ):
            silent.add(name)
    return silent


def off_policy_report(
    evaluated: Evaluated, policies: Sequence[ComparedPolicy], support: Mapping[str, Support]
) -> OffPolicy | None:
    """What the log can say, with the warnings under the policies' names; None if outcomes are known."""
    study = evaluated.study
    if study is None:
        return None
    of_policies: dict[str, list[str]] = {}
    for policy in policies:
        if policy.name in support:
            chances, own = policy.chances(), support[policy.name]
            sentences = support_warnings(study, chances, own) + cost_warnings(study, chances, own)
            for sentence in sentences:
                of_policies.setdefault(sentence, []).append(policy.name)
    warnings = [
        *log_warnings(study),
        *(f"{', '.join(names)}: {sentence}" for sentence, names in of_policies.items()),
    ]
    grading = study.success.grading
    return OffPolicy(
        propensities=study.propensities.source,
        outcome_model=OUTCOME_MODEL,
        calls=int(np.where(np.isfinite(study.logged.success), study.logged.calls, 0).sum()),
        overlap=overlap_by_task_type(study, policies[0].chances()),
        propensity_calibration_error=study.propensities.calibration_error,
        warnings=tuple(warnings),
        success_estimator=DOUBLY_ROBUST if grading is None else POWERED,
        grade_shares={}
        if grading is None
        else dict(zip(study.logged.models, map(float, grading.share), strict=True)),
    )
