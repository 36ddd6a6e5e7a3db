"""How often a policy chooses as one that knows the outcomes would have."""

from __future__ import annotations

import numpy as np

from router.records import BoolArray, FloatArray, IntArray
from training.comparing.policies.baselines import SUCCEEDED
from training.statistics.policy_curves import picked


def label_agreement(choice: IntArray, success: FloatArray, cost: FloatArray) -> float:
    """Part of the labelled prompts on which a policy takes the cheapest model that succeeded.

    A prompt is labelled if some model succeeded. Models of equal cost are equally right. Prompts on which the
    policy can't choose are left out.

    Args:
        choice: shape (n,), columns, or -1.
        success: shape (n, m).
        cost: shape (n, m), USD, finite.

    Returns:
        NaN if no prompt is left.
    """
    succeeded: BoolArray = success >= SUCCEEDED
    reach = np.where(succeeded, cost, np.inf)
    labelled = succeeded.any(axis=1) & (choice >= 0)
    agrees = picked(reach, choice) <= reach.min(axis=1)
    return float(agrees[labelled].mean()) if labelled.any() else float("nan")
