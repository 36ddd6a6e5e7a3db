"""The decision: which model serves a request, and why, from what to expect of each model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from router.deciding.policy import TIED, Policy, assumed_cost
from router.deciding.rules import rule_choice
from router.errors import NoModelAllowed
from router.numbers import decimal, dollars, level, rate
from router.records import AS_TRAINED, NO_WISHES, Decision, FloatArray, Request, Source, Wishes
from router.settings.sections import Rules

ONLY_ONE = "the only model that the limits left"
CERTAIN = 0.995
"""From here on a rounded chance would say 100 %, which no log supports."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stay:
    """What it means to stay on a session's model.

    Attributes:
        model: the session's model.
        saved_usd: what its prompt cache saves on this request; a switch would lose it.
        margin: how much likelier to succeed another model must be.
    """

    model: str
    saved_usd: float
    margin: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One request before the decision.

    Attributes:
        models: names, in the order of the arrays.
        probability: shape (n_models,); calibrated chance of success.
        cost: shape (n_models,); expected USD, NaN where unknown.
        familiarity: similarity to the nearest training prompts, in [-1, 1].
        tokens: about how many input tokens the request has.
        weight: success probability that one USD is worth now; None: as trained.
        judged: whether there is text to forecast by, or the router has learned from requests without any.
        wishes: what the caller wants of the decision.
        rejected: reason for each model that may not serve the request.
        stay: what it means to stay on the session's model; None if there is no such model.
        explore: chance of another allowed model, in [0, 1].
        draw: uniform in [0, 1); decides whether to explore, and where.
        serve_rules: shadow mode: the rule table serves, and the policy's choice is only logged.
    """

    request: Request
    models: Sequence[str]
    probability: FloatArray
    cost: FloatArray
    familiarity: float
    tokens: float = 0.0
    weight: float | None = None
    judged: bool = True
    wishes: Wishes = NO_WISHES
    rejected: Mapping[str, str] = field(default_factory=dict)
    stay: Stay | None = None
    explore: float = 0.0
    draw: float = 1.0
    serve_rules: bool = False


def decide(case: Case, policy: Policy, rules: Rules, policy_version: str) -> Decision:
    """Choose the model that serves a request.

    The caller's pin comes first. Else the policy chooses among the models that the limits allow, or the rule
    table does if the policy is in doubt. A session stays on its model unless another one is clearly better.
    At last chance may pick another model, to explore.

    Raises:
        NoModelAllowed: the limits allow no model, or not the pinned one.
    """
    allowed = [index for index, model in enumerate(case.models) if model not in case.rejected]
    if not allowed:
        raise NoModelAllowed(case.rejected)
    order, best = _ordered(case, allowed, policy)
    ranking = tuple(case.models[index] for index in order)
    if case.wishes.model is not None:
        return _pinned(case, case.wishes.model, ranking, policy_version)
    decision = _learned(case, best, ranking, policy_version)
    if decision.source == "learned" and (doubt := _doubt(case, allowed, policy, decision.confidence)):
        decision = _ruled(case, decision, policy, rules, doubt)
    if case.serve_rules:
        return _explored(case, _shadowed(case, decision, policy, rules))
    return _stayed(case, decision, policy) or _explored(case, decision)


def decide_by_rules(case: Case, policy: Policy, rules: Rules, policy_version: str) -> Decision:
    """Choose the model that serves a request when nothing is known of any model's success.

    Like `decide`, but the rule table decides always: it falls back on the models in their order, and chances
    of success are left out.

    Raises:
        NoModelAllowed: the limits allow no model, or not the pinned one.
    """
    allowed = tuple(model for model in case.models if model not in case.rejected)
    if not allowed:
        raise NoModelAllowed(case.rejected)
    if case.wishes.model is not None:
        decision = _pinned(case, case.wishes.model, allowed, policy_version)
        return replace(decision, success_probability={})
    by_order = (allowed[0], "no rule names an allowed model, so the first of the rest")
    model, rule = rule_choice(case.request, rules, policy.best_single, allowed) or by_order
    source: Source = "constraint" if len(allowed) == 1 < len(case.models) else "rule"
    reason = ONLY_ONE if source == "constraint" else f"rules alone: {rule} decides"
    decision = _decision(case, allowed, policy_version, model=model, source=source, reason=reason)
    decision = replace(decision, success_probability={}, ranking=_leading(model, allowed))
    return _stayed(case, decision, policy) or _explored(case, decision)


def _ordered(case: Case, allowed: Sequence[int], policy: Policy) -> tuple[Sequence[int], int]:
    """The allowed models by value, on ties the cheaper first; and which of them `choose` takes.

    Of a handful of models Python's numbers need a fifth of the time of numpy's arrays.
    """
    value, known = _values(case, policy)
    order = sorted(allowed, key=lambda index: (-value[index], known[index]))
    least = value[order[0]] - TIED
    tied = [index for index in order if value[index] >= least]
    return order, min(tied, key=lambda index: (known[index], index)) if len(tied) > 1 else tied[0]


def values_of(case: Case, policy: Policy) -> FloatArray:
    """What the policy maximises, shape (n_models,): success less weighted cost, or less cost alone."""
    return np.array(_values(case, policy)[0])


def _values(case: Case, policy: Policy) -> tuple[list[float], list[float]]:
    """What `values_of` returns, and the cost that `assumed_cost` does."""
    weight, cost = weight_of(case, policy), case.cost.tolist()
    if any(map(math.isnan, cost)):
        cost = assumed_cost(case.cost).tolist()
    if math.isinf(weight):
        return [-usd for usd in cost], cost
    chances = case.probability.tolist()
    return [chance - weight * usd for chance, usd in zip(chances, cost, strict=True)], cost


def weight_of(case: Case, policy: Policy) -> float:
    """Success probability that one USD is worth on a request; infinite where only cost counts.

    The weight of now, or the trained one, times t / (1 - t) at a trade-off of t, so 0.5 leaves it as it is.
    """
    return weight_at(case.wishes.tradeoff, policy.weight if case.weight is None else case.weight)


def weight_at(tradeoff: float, weight: float) -> float:
    """A weight on cost, moved by a caller's trade-off in [0, 1]; infinite at 1."""
    return weight * tradeoff / (1.0 - tradeoff) if tradeoff < 1.0 else math.inf


def _decision(
    case: Case, ranking: tuple[str, ...], policy_version: str, *, model: str, source: Source, reason: str
) -> Decision:
    return Decision(
        model=model,
        source=source,
        confidence=_success_probability(case, model),
        success_probability=dict(zip(case.models, case.probability.tolist(), strict=True)),
        expected_cost_usd=dict(zip(case.models, case.cost.tolist(), strict=True)),
        reason=reason,
        policy_version=policy_version,
        rejected=case.rejected,
        ranking=ranking,
    )


def _pinned(case: Case, model: str, ranking: tuple[str, ...], policy_version: str) -> Decision:
    if model in case.rejected:
        others = {name: "not the pinned model" for name in case.models if name != model}
        raise NoModelAllowed({model: case.rejected[model], **others})
    first = _leading(model, ranking)
    return _decision(case, first, policy_version, model=model, source="pinned", reason="the caller pinned it")


def _learned(case: Case, best: int, ranking: tuple[str, ...], policy_version: str) -> Decision:
    """The policy's decision, or the limits' if they leave one model only."""
    source: Source = "learned"
    chance, cost = float(case.probability[best]), float(case.cost[best])
    shown = rate(chance) if chance < CERTAIN else "over 99 %"
    reason = f"best value: {shown} chance of success at {_dollars(cost)} a call"
    if len(ranking) == 1 < len(case.models):
        source, reason = "constraint", ONLY_ONE
    return _decision(case, ranking, policy_version, model=case.models[best], source=source, reason=reason)


def _doubt(case: Case, allowed: Sequence[int], policy: Policy, confidence: float) -> str | None:
    """Why the policy steps aside for a request, or None if it does not.

    A caller whose trade-off leans to cost accepts less confidence, which is no reason for doubt, and so does
    a budget that is short: then the confidence in the choice at the trained weight counts.

    Args:
        confidence: in the choice at the weight that counts now.
    """
    if not case.judged:
        return "the request has no text, and the router has learned from none like it"
    if weight_of(case, policy) > policy.weight:
        as_trained = replace(case, weight=None, wishes=replace(case.wishes, tradeoff=AS_TRAINED))
        confidence = float(case.probability[_ordered(as_trained, allowed, policy)[1]])
    if confidence < policy.least_confidence:
        return f"confidence {decimal(confidence, 2)} is below {decimal(policy.least_confidence, 2)}"
    if case.familiarity < policy.least_familiarity:
        return f"unlike the training prompts (similarity {decimal(case.familiarity, 2)})"
    return None


def _ruled(case: Case, learned: Decision, policy: Policy, rules: Rules, why: str) -> Decision:
    """The rule table's decision, or the policy's if no rule names an allowed model."""
    choice = rule_choice(case.request, rules, policy.best_single, learned.ranking)
    if choice is None:
        return replace(learned, reason=f"{learned.reason}; {why}, but no rule names an allowed model")
    model, rule = choice
    reason = f"{why}: rule table ({rule}) decides"
    return _moved(case, learned, model, source="rule", reason=reason)


def _shadowed(case: Case, learned: Decision, policy: Policy, rules: Rules) -> Decision:
    """The rule table's decision, with the policy's as its shadow."""
    return replace(_ruled(case, learned, policy, rules, "shadow mode"), shadow=learned)


def _stayed(case: Case, decision: Decision, policy: Policy) -> Decision | None:
    """The decision to stay on the session's model; None if the request moves, or there is no session.

    It moves to a model that is likelier to succeed by the margin and also worth more, where the loss of the
    cache counts as a cost. If the rule table named the model, only the margin counts: the policy, which says
    what a model is worth, is in doubt.
    """
    stay = case.stay
    if stay is None or stay.model not in decision.ranking:
        return None
    here, there = case.models.index(stay.model), case.models.index(decision.model)
    cost = case.cost.copy()
    cost[here] -= min(stay.saved_usd, cost[here])
    value = values_of(replace(case, cost=cost), policy)
    gain = case.probability[there] - case.probability[here]
    if gain >= stay.margin and (decision.source == "rule" or value[there] > value[here]):
        return None
    stayed = _moved(case, decision, stay.model, source="session", reason="the session stays on its model")
    return replace(stayed, expected_cost_usd={**decision.expected_cost_usd, stay.model: float(cost[here])})


def _explored(case: Case, decision: Decision) -> Decision:
    """The decision, or by chance another allowed model; the propensity is the exact chance of the result.

    One draw decides both whether to explore and, uniformly among the others, where.
    """
    others = [model for model in decision.ranking if model != decision.model]
    share = case.explore
    if not others or share <= 0.0:
        return decision
    if case.draw >= share:
        return replace(decision, propensity=1.0 - share)
    model = others[min(int(case.draw / share * len(others)), len(others) - 1)]
    reason = f"exploration ({level(share)} of requests), instead of {decision.model}"
    return _moved(case, decision, model, source="explored", reason=reason, propensity=share / len(others))


def _moved(
    case: Case, decision: Decision, model: str, *, source: Source, reason: str, propensity: float = 1.0
) -> Decision:
    """The decision with another model, which then leads its ranking."""
    return replace(
        decision,
        model=model,
        source=source,
        confidence=_success_probability(case, model),
        propensity=propensity,
        reason=reason,
        ranking=_leading(model, decision.ranking),
    )


def _leading(model: str, ranking: tuple[str, ...]) -> tuple[str, ...]:
    return (model, *(name for name in ranking if name != model))


def _success_probability(case: Case, model: str) -> float:
    return float(case.probability[case.models.index(model)])


def _dollars(cost: float) -> str:
    return "an unknown cost" if math.isnan(cost) else dollars(cost)
