"""What would have to be different for a request to go to another model: closed forms of the policy's rule."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from router.deciding.decide import Case, values_of, weight_of
from router.deciding.policy import Policy, assumed_cost
from router.records import Decision, FloatArray

NOTHING_USD = 1e-12
"""Costs, and differences of costs, that are no larger are rounding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What would give a request to another model; each of the figures does it alone, one that is None can't.

    Where the policy decided, that is the model of the next highest value. Where the rule table did, it is the
    policy's own choice, with what it lacked.

    Attributes:
        model: the other model.
        success_probability: the other's, above which it wins.
        cost_share: the other's cost, as a share of what it is, below which it wins.
        chosen_success_probability: the chosen model's, below which the other wins.
        chosen_cost_share: the chosen model's cost, as a share of what it is, above which the other wins.
        tradeoff: the nearest `tradeoff` of the request's wishes at which the other wins.
        missing_confidence: by how much its success probability is below the policy's threshold.
        missing_similarity: by how much the nearest training prompts are less alike than the policy asks for.
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
    """What would give a request to the next model by the policy's rule, success less weighted cost.

    None where nothing would: the caller pinned the model, or the limits left no other.
    """
    allowed = [place for place, model in enumerate(case.models) if model not in case.rejected]
    if decision.source not in ("learned", "rule") or len(allowed) < 2:
        return None
    value, weight = values_of(case, policy), weight_of(case, policy)
    ranked = sorted(allowed, key=lambda place: -value[place])
    if decision.source == "rule":
        return _lacking(case, ranked[0], policy)
    chosen = case.models.index(decision.model)
    other = next(place for place in ranked if place != chosen)
    gap, probability = float(value[chosen] - value[other]), case.probability
    chosen_cost_share, cost_share = _cost_shares(case.cost[[chosen, other]], gap, weight)
    wanted = _weight_for(allowed.index(other), probability[allowed], assumed_cost(case.cost)[allowed], weight)
    return Change(
        model=case.models[other],
        success_probability=_possible(probability[other] + gap, weight),
        cost_share=cost_share,
        chosen_success_probability=_possible(probability[chosen] - gap, weight),
        chosen_cost_share=chosen_cost_share,
        tradeoff=None if wanted is None or not policy.weight else wanted / (policy.weight + wanted),
    )


def _lacking(case: Case, best: int, policy: Policy) -> Change:
    """What the policy's own choice lacked for the policy to decide."""
    confidence = policy.least_confidence - float(case.probability[best])
    similarity = policy.least_familiarity - case.familiarity
    return Change(
        model=case.models[best],
        missing_confidence=confidence if confidence > 0 else None,
        missing_similarity=similarity if similarity > 0 else None,
    )


def _possible(probability: float, weight: float) -> float | None:
    """What a success probability would have to be; None where it can't be, or where only cost counts."""
    return float(probability) if 0.0 <= probability <= 1.0 and math.isfinite(weight) else None


def _cost_shares(cost: FloatArray, gap: float, weight: float) -> tuple[float | None, float | None]:
    """The shares of their costs at which the values of the chosen and of the other model meet.

    From p - w s c = p' - w c' follows s = 1 + gap / (w c) for the chosen and 1 - gap / (w c') for the other;
    where only cost counts, c' / c and c / c'. There is none below 0, and none without a price.

    Args:
        cost: of the chosen and of the other model, USD; NaN is unknown.
        gap: by how much the chosen model's value is higher.
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
    """The weight of the cost, nearest to `weight`, at which a model has the highest value; None without one.

    It beats model j where w (c_j - c) >= p_j - p: a bound on w from below where j is dearer, from above where
    it is cheaper. The trained weight times t / (1 - t) is w, which gives the trade-off t.

    Args:
        place: of the model.
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
