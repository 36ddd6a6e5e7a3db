"""What a log allows to say about each of the policies compared."""

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
    """How far the log can speak for each policy; empty where every outcome is known."""
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
    """What the log allows to say, with the warnings of every policy by its name."""
    study = evaluated.study
    if study is None:
        return None
    warnings = log_warnings(study)
    for policy in policies:
        if policy.name in support:
            chances, found = policy.chances(), support[policy.name]
            told = support_warnings(study, chances, found) + cost_warnings(study, chances, found)
            warnings += [f"{policy.name}: {sentence}" for sentence in told]
    return OffPolicy(
        propensities=study.propensities.source,
        outcome_model=OUTCOME_MODEL,
        calls=int(np.where(np.isfinite(study.logged.success), study.logged.calls, 0).sum()),
        overlap=overlap_by_task_type(study, policies[0].chances()),
        propensity_calibration_error=study.propensities.calibration_error,
        warnings=tuple(warnings),
    )
