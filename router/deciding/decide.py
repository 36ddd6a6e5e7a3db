"""The decision: from what is expected of each model on a request to the one that serves it, and why."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from router.deciding.policy import Policy, assumed_cost, choose
from router.deciding.rules import rule_choice
from router.errors import NoModelAllowed
from router.records import AS_TRAINED, NO_WISHES, BoolArray, Decision, FloatArray, Request, Wishes
from router.settings.sections import Rules

ONLY_ONE = "the only model that the limits left"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stay:
    """What staying on a session's model means.

    Attributes:
        model: the one it is on.
        saved_usd: what its prompt cache saves on this request, and a switch would lose.
        margin: by how much likelier another model must be to succeed.
    """

    model: str
    saved_usd: float
    margin: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One request before the decision.

    Attributes:
        request: the request itself.
        wishes: what the caller asks of the decision.
        models: names, in the order of the arrays.
        probability: shape (n_models,); calibrated chance of success.
        cost: shape (n_models,); expected USD, NaN where unknown.
        familiarity: similarity to the nearest training prompts, in [-1, 1].
        tokens: the request's input tokens, about.
        rejected: reason for each model that may not serve the request.
        stay: where the request's session is, if it is anywhere.
        explore: chance of another allowed model, in [0, 1].
        draw: uniform in [0, 1); decides about exploration.
        serve_rules: shadow mode: the rule table serves, the policy is only asked.
    """

    request: Request
    models: Sequence[str]
    probability: FloatArray
    cost: FloatArray
    familiarity: float
    tokens: float = 0.0
    wishes: Wishes = NO_WISHES
    rejected: Mapping[str, str] = field(default_factory=dict)
    stay: Stay | None = None
    explore: float = 0.0
    draw: float = 1.0
    serve_rules: bool = False


def decide(case: Case, policy: Policy, rules: Rules, policy_version: str) -> Decision:
    """The model that serves a request, and why.

    In order: the caller's pin; the policy, or the rule table where it is in doubt, among the models that the
    limits left; the session, which stays where it is unless another model is clearly better; exploration.

    Raises:
        NoModelAllowed: the limits left no model, or not the pinned one.
    """
    allowed = np.array([model not in case.rejected for model in case.models])
    if not allowed.any():
        raise NoModelAllowed(case.rejected)
    if case.wishes.model is not None:
        return _pinned(case, allowed, policy, policy_version)
    decision = _policys(case, allowed, policy, rules, policy_version)
    if case.serve_rules:
        decision = _shadowed(case, decision, policy, rules)
    else:
        stayed = _stayed(case, decision, policy)
        if stayed is not None:
            return stayed
    return _explored(case, decision)


def ranked(case: Case, allowed: BoolArray, policy: Policy) -> tuple[str, ...]:
    """The allowed models by value, the best first; on ties the cheaper."""
    value, known = values_of(case, policy), assumed_cost(case.cost)
    order = np.lexsort((known, -value))
    return tuple(case.models[index] for index in order if allowed[index])


def values_of(case: Case, policy: Policy) -> FloatArray:
    """What the policy maximises, shape (n_models,): success less weighted cost, or less cost alone."""
    weight, known = weight_of(case, policy), assumed_cost(case.cost)
    return np.asarray(case.probability - weight * known if math.isfinite(weight) else -known)


def weight_of(case: Case, policy: Policy) -> float:
    """Success probability that one USD is worth on a request; infinite where only cost counts.

    The trained weight times t / (1 - t) at a trade-off of t, so 0.5 leaves it as it is.
    """
    share = case.wishes.tradeoff
    return policy.weight * share / (1.0 - share) if share < 1.0 else math.inf


def _made(case: Case, allowed: BoolArray, policy: Policy, policy_version: str, **fields: object) -> Decision:
    """A decision with what is the same whoever decides."""
    return Decision(
        success_probability=dict(zip(case.models, case.probability.tolist(), strict=True)),
        expected_cost_usd=dict(zip(case.models, case.cost.tolist(), strict=True)),
        policy_version=policy_version,
        rejected=case.rejected,
        ranking=ranked(case, allowed, policy),
        **fields,  # type: ignore[arg-type] # the callers below give model, source, confidence and reason
    )


def _pinned(case: Case, allowed: BoolArray, policy: Policy, policy_version: str) -> Decision:
    model = case.wishes.model
    assert model is not None
    if model in case.rejected:
        others = {name: "not the pinned model" for name in case.models if name != model}
        raise NoModelAllowed({model: case.rejected[model], **others})
    made = _made(
        case, allowed, policy, policy_version,
        model=model, source="pinned", confidence=_likely(case, model), reason="the caller pinned it",
    )  # fmt: skip
    return _served(made, model)


def _policys(case: Case, allowed: BoolArray, policy: Policy, rules: Rules, policy_version: str) -> Decision:
    """The policy's decision, or the rule table's where the policy is in doubt."""
    index = _value_choice(case, allowed, policy)
    confidence = float(case.probability[index])
    learned = _made(
        case, allowed, policy, policy_version,
        model=case.models[index],
        source="learned",
        confidence=confidence,
        reason=f"best value: {confidence:.0%} chance of success at {_dollars(case.cost[index])} a call",
    )  # fmt: skip
    if np.count_nonzero(allowed) == 1 and len(case.models) > 1:
        return replace(learned, source="constraint", reason=ONLY_ONE)
    doubt = _doubt(policy, _confidence_as_trained(case, allowed, policy, confidence), case.familiarity)
    return learned if doubt is None else _ruled(case, learned, policy, rules, doubt)


def _confidence_as_trained(case: Case, allowed: BoolArray, policy: Policy, confidence: float) -> float:
    """The confidence that doubt is judged by: a caller who leans to cost asks for less, and that is no doubt.

    Args:
        confidence: in the choice at the caller's trade-off; one that leans to success only raises it.
    """
    if case.wishes.tradeoff <= AS_TRAINED:
        return confidence
    trained = replace(case, wishes=replace(case.wishes, tradeoff=AS_TRAINED))
    return float(case.probability[_value_choice(trained, allowed, policy)])


def _value_choice(case: Case, allowed: BoolArray, policy: Policy) -> int:
    value, known = values_of(case, policy), assumed_cost(case.cost)
    return int(choose(value[None], known[None], 0.0, allowed)[0])


def _doubt(policy: Policy, confidence: float, familiarity: float) -> str | None:
    """Why the policy steps aside for a request, or None when it does not."""
    if confidence < policy.least_confidence:
        return f"confidence {confidence:.2f} is below {policy.least_confidence:.2f}"
    if familiarity < policy.least_familiarity:
        return f"unlike the training prompts (similarity {familiarity:.2f})"
    return None


def _ruled(case: Case, learned: Decision, policy: Policy, rules: Rules, why: str) -> Decision:
    """The rule table's decision, with what the policy thought of it."""
    found = rule_choice(case.request, rules, policy.best_single, learned.ranking)
    if found is None:
        return replace(learned, reason=f"{learned.reason}; {why}, but no rule names an allowed model")
    model, rule = found
    return _served(
        replace(
            learned,
            source="rule",
            confidence=_likely(case, model),
            reason=f"{why}: rule table ({rule}) decides",
        ),
        model,
    )


def _shadowed(case: Case, learned: Decision, policy: Policy, rules: Rules) -> Decision:
    """The rule table's decision, with the policy's as its shadow."""
    return replace(_ruled(case, learned, policy, rules, "shadow mode"), shadow=learned)


def _stayed(case: Case, decision: Decision, policy: Policy) -> Decision | None:
    """The session's model, if the request stays on it; None where it moves, or there is no session.

    It moves to a model that is likelier to succeed by the margin and worth more, the cache that is lost by
    moving counted as a cost. Where the rule table names the model, only the margin counts: what a model is
    worth is the policy's word, and the policy is in doubt.
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
    stayed = replace(
        decision,
        source="session",
        confidence=float(case.probability[here]),
        expected_cost_usd={**decision.expected_cost_usd, stay.model: float(cost[here])},
        reason="the session stays on its model",
    )
    return _served(stayed, stay.model)


def _explored(case: Case, decision: Decision) -> Decision:
    """The decision, or by chance another allowed model; with the exact chance of what came out.

    One draw decides both whether to explore and, uniformly among the others, where.
    """
    others = [model for model in decision.ranking if model != decision.model]
    share = case.explore
    if not others or share <= 0.0:
        return decision
    if case.draw >= share:
        return replace(decision, propensity=1.0 - share)
    model = others[min(int(case.draw / share * len(others)), len(others) - 1)]
    explored = replace(
        decision,
        source="explored",
        confidence=_likely(case, model),
        propensity=share / len(others),
        reason=f"exploration ({share:.0%} of requests), instead of {decision.model}",
    )
    return _served(explored, model)


def _served(decision: Decision, model: str) -> Decision:
    """The decision for a model, which then leads its ranking."""
    rest = tuple(name for name in decision.ranking if name != model)
    return replace(decision, model=model, ranking=(model, *rest))


def _likely(case: Case, model: str) -> float:
    return float(case.probability[case.models.index(model)])


def _dollars(cost: float) -> str:
    return "an unknown cost" if math.isnan(cost) else f"${cost:.2g}"
