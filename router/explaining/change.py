"""What would send a request to another model: closed forms of the policy's rule."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from router.deciding.decide import Case, values_of, weight_of
from router.deciding.policy import Policy, assumed_cost
from router.records import Decision, FloatArray

NOTHING_USD = 1e-12
"""Costs, and differences of costs, up to this are rounding errors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What would send a request to another model: each figure alone is enough; None if it can't be.

    If the policy decided, the other model is the one of the next highest value. If the rule table did, it is
    the policy's own choice, with what it lacked.

    Attributes:
        model: the other model.
        success_probability: of the other model; above it, that model wins.
        cost_share: of the other model's present cost; below it, that model wins.
        chosen_success_probability: of the chosen model; below it, the other wins.
        chosen_cost_share: of the chosen model's present cost; above it, the other wins.
        tradeoff: the nearest `tradeoff` of the caller's wishes at which the other wins.
        missing_confidence: how far its success probability is below the policy's threshold.
        missing_similarity: how far the nearest training prompts are below the policy's threshold.
    """

    model: str
    success_probability: float | None = None
    cost_share: float | None = None
    chosen_success_probability: float | None = None
    chosen_cost_share: float | None = None
    tradeoff: float | None = None
    missing_confidence: float | None = None
    missing_similarity: float | None = None


def change_of(case: Case, decision: Decision, policy: Policy) -> Change | None:
    """What would send a request to the next model by the policy's rule, success minus weighted cost.

    None if nothing would: the caller pinned the model, or the limits allow no other.
    """
    allowed = [place for place, model in enumerate(case.models) if model not in case.rejected]
    if decision.source not in ("learned", "rule") or len(allowed) < 2:
        return None
    value, weight = values_of(case, policy), weight_of(case, policy)
    ranked = sorted(allowed, key=lambda place: -value[place])
    if decision.source == "rule":
        return _shortfall(case, ranked[0], policy)
    chosen = case.models.index(decision.model)
    other = next(place for place in ranked if place != chosen)
    gap, probability = float(value[chosen] - value[other]), case.probability
    chosen_cost_share, cost_share = _cost_shares(case.cost[[chosen, other]], gap, weight)
    needed = _weight_for(allowed.index(other), probability[allowed], assumed_cost(case.cost)[allowed], weight)
    return Change(
        model=case.models[other],
        success_probability=_possible(probability[other] + gap, weight),
        cost_share=cost_share,
        chosen_success_probability=_possible(probability[chosen] - gap, weight),
        chosen_cost_share=chosen_cost_share,
        tradeoff=None if needed is None or not policy.weight else needed / (policy.weight + needed),
    )


def _shortfall(case: Case, best: int, policy: Policy) -> Change:
    """What the policy's own choice lacked for the policy to decide."""
    confidence = policy.least_confidence - float(case.probability[best])
    similarity = policy.least_familiarity - case.familiarity
    return Change(
        model=case.models[best],
        missing_confidence=confidence if confidence > 0 else None,
        missing_similarity=similarity if similarity > 0 else None,
    )


def _possible(probability: float, weight: float) -> float | None:
    """The needed success probability; None if it is impossible, or if only cost counts."""
    return float(probability) if 0.0 <= probability <= 1.0 and math.isfinite(weight) else None


def _cost_shares(cost: FloatArray, gap: float, weight: float) -> tuple[float | None, float | None]:
    """The shares of their costs at which the chosen and the other model have the same value.

    From p - w s c = p' - w c' follows s = 1 + gap / (w c) for the chosen model, and 1 - gap / (w c') for the
    other; if only cost counts, c' / c and c / c'. A share is None if it is below 0, or a cost is unknown.

    Args:
        cost: of the chosen and of the other model, USD; NaN is unknown.
        gap: the chosen model's value minus the other's.
    """
    if np.isnan(cost).any() or weight == 0.0:
        return None, None
    chosen, other = map(float, cost)
    dearer, cheaper = (other, chosen) if math.isinf(weight) else (chosen + gap / weight, other - gap / weight)
    return (
        dearer / chosen if chosen > NOTHING_USD else None,
        cheaper / other if other > 0.0 and cheaper >= 0.0 else None,
    )


def _weight_for(place: int, probability: FloatArray, cost: FloatArray, weight: float) -> float | None:
    """The cost weight, nearest to `weight`, at which a model has the highest value; None if there is none.

    It beats model j if w (c_j - c) >= p_j - p: a lower bound on w if j is dearer, an upper bound if it is
    cheaper. The trade-off t follows from w, which is the trained weight times t / (1 - t).

    Args:
        place: index of the model.
        probability, cost: shape (n_allowed,).
    """
    dearer, likelier = cost - cost[place], probability - probability[place]
    differs = np.abs(dearer) > NOTHING_USD
    if (likelier[~differs] > 0.0).any():
        return None
    bounds, below = likelier[differs] / dearer[differs], dearer[differs] > 0.0
    least = max(0.0, float(bounds[below].max(initial=0.0)))
    most = float(bounds[~below].min(initial=math.inf))
    nearest = least if weight <= least else most
    return nearest if least <= most and math.isfinite(nearest) else None
