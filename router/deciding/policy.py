"""The choice among models: success against cost, and when to step aside."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from router.records import BoolArray, FloatArray, IntArray, Json

TIED = 1e-12
"""Values that differ by no more are equal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The thresholds that training chose on the calibration part.

    Attributes:
        weight: success probability that one USD is worth; 0 ignores cost.
        least_confidence: in [0, 1]; below it the rule table decides.
        least_familiarity: likewise for the similarity to the nearest training prompts, in [-1, 1].
        best_single: the model with the highest mean success; used if the rule table has no default.
    """

    weight: float
    least_confidence: float
    least_familiarity: float
    best_single: str

    def to_json(self) -> dict[str, Json]:
        """Plain JSON values, as the manifest holds them."""
        return asdict(self)


def choose(
    probability: FloatArray, cost: FloatArray, weight: float, allowed: BoolArray | None = None
) -> IntArray:
    """Column of the model with the highest `probability - weight * cost` in each row; on ties the cheaper.

    A model of unknown cost counts as the dearest known one, so it is never chosen for being cheap. If no cost
    is known, the success probability alone decides.

    Args:
        probability: shape (n, n_models).
        cost: shape (n, n_models), USD; NaN is unknown.
        allowed: shape (n_models,) or (n, n_models); at least one model in every row.
    """
    known = assumed_cost(cost)
    value = probability - weight * known
    if allowed is not None:
        value = np.where(allowed, value, -np.inf)
    best = value.max(axis=-1, keepdims=True)
    tied = value >= best - TIED
    return np.asarray(np.where(tied, known, np.inf).argmin(axis=-1))


def assumed_cost(cost: FloatArray) -> FloatArray:
    """The cost with each unknown entry replaced by its row's dearest known one, 0 if none is known."""
    unknown = np.isnan(cost)
    if not unknown.any():
        return cost
    dearest = np.where(unknown, 0.0, cost).max(axis=-1, keepdims=True)
    return np.where(unknown, dearest, cost)
