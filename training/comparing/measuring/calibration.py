"""The router's probabilities against what happened."""

from __future__ import annotations

import numpy as np

from router.records import FloatArray
from training.comparing.evaluated import Calibration, Evaluated
from training.statistics.policy_curves import (
    brier,
    expected_calibration_error,
    picked,
    reliability,
    risk_coverage,
)

RISK_POINTS = 100


def calibration(evaluated: Evaluated, *, silent: bool = False) -> Calibration:
    """Calibration of the choice's confidence, and of every model's probability, on the known outcomes.

    Off-policy, the choice's outcome is known if the log took it too; such calls count with the inverse of
    their propensity, so that they stand for the others.

    Args:
        silent: the log can't speak for the router's choices, so the choice's figures are unknown.
    """
    probability, outcome, weight = (part[: 0 if silent else None] for part in _of_choice(evaluated))
    success = evaluated.success if evaluated.study is None else evaluated.study.logged.success
    known = np.isfinite(evaluated.probability) & np.isfinite(success)
    every_probability, every_success = evaluated.probability[known], success[known]
    table = reliability(probability, outcome, weight=weight)
    risk = risk_coverage(probability, outcome, weight)
    point = np.unique(np.linspace(0, max(len(risk.risk) - 1, 0), RISK_POINTS).astype(int))[: len(risk.risk)]
    return Calibration(
        expected_calibration_error=expected_calibration_error(probability, outcome, weight=weight),
        brier=brier(probability, outcome, weight),
        all_models_expected_calibration_error=expected_calibration_error(every_probability, every_success),
        all_models_brier=brier(every_probability, every_success),
        bins=tuple(
            {
                "upper_edge": float(table.edges[number + 1]),
                "prompts": int(table.count[number]),
                "confidence": float(table.predicted[number]),
                "success": float(table.observed[number]),
            }
            for number in np.flatnonzero(table.count)
        ),
        risk_coverage=tuple(
            {
                "coverage": float(risk.coverage[number]),
                "threshold": float(risk.threshold[number]),
                "risk": float(risk.risk[number]),
            }
            for number in point
        ),
        risk_coverage_area=risk.area,
    )


def _of_choice(evaluated: Evaluated) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Confidence, outcome and importance of the prompts on which the choice's outcome is known."""
    study = evaluated.study
    if study is None:
        outcome = picked(evaluated.success, evaluated.choice)
        return evaluated.confidence, outcome, np.ones(len(outcome))
    outcome = picked(study.success.observed, evaluated.choice)
    weight = picked(study.success.weight, evaluated.choice) * evaluated.traffic
    known = np.isfinite(outcome) & (weight > 0)
    return evaluated.confidence[known], outcome[known], weight[known]
