"""What the log can say about each policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from training.comparing.estimating.support import (
    cost_warnings,
    log_warnings,
    overlap_by_task_type,
    support_of,
    support_warnings,
)
from training.comparing.evaluated import Evaluated, OffPolicy, Support
from training.comparing.measuring.contenders import ComparedPolicy
from training.statistics.intervals import Sums

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


def off_policy_report(
    evaluated: Evaluated, policies: Sequence[ComparedPolicy], support: Mapping[str, Support]
) -> OffPolicy | None:
    """What the log can say, with the warnings of every policy under its name; None if outcomes are known."""
    study = evaluated.study
    if study is None:
        return None
    warnings = list(log_warnings(study))
    for policy in policies:
        if policy.name in support:
            chances, own = policy.chances(), support[policy.name]
            sentences = support_warnings(study, chances, own) + cost_warnings(study, chances, own)
            warnings += [f"{policy.name}: {sentence}" for sentence in sentences]
    return OffPolicy(
        propensities=study.propensities.source,
        outcome_model=OUTCOME_MODEL,
        calls=int(np.where(np.isfinite(study.logged.success), study.logged.calls, 0).sum()),
        overlap=overlap_by_task_type(study, policies[0].chances()),
        propensity_calibration_error=study.propensities.calibration_error,
        warnings=tuple(warnings),
    )
