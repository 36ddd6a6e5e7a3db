"""Why a request goes to a model: what to expect of each, for which reasons, and what would change it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

import numpy as np

from router.deciding.decide import Case, values_of
from router.errors import NoModelAllowed
from router.explaining.attribution import attribute
from router.explaining.change import Change, change_of
from router.explaining.nearest import Neighbour, nearest_prompts
from router.forecasting.features import Features
from router.forecasting.head import narrow_inputs, sigmoid
from router.forecasting.training_prompts import TrainingPrompts
from router.records import NO_WISHES, Decision, FloatArray, Json, Request, Wishes
from router.version import Circumstances, Version

NEIGHBOURS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Prospect:
    """What to expect of one model on the request.

    Attributes:
        success_probability: in [0, 1]; NaN by rules alone.
        expected_cost_usd: None if the price is unknown.
        value: what the policy maximises: success minus weighted cost; NaN by rules alone.
        rejected: why it may not serve the request; None if it may.
    """

    model: str
    success_probability: float
    expected_cost_usd: float | None
    value: float
    rejected: str | None

    def to_json(self) -> dict[str, Json]:
        """Plain JSON values; null for what is not known."""
        return {n: None if isinstance(v, float) and math.isnan(v) else v for n, v in asdict(self).items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The reasons for a model's success probability.

    Attributes:
        model: the chosen model, or without a choice the one of highest value.
        reference: its success probability if nothing is known of the request.
        success_probability: on the request.
        log_odds: what each group of features adds to the log odds of the reference; with those, they sum to
            the log odds of the prediction.
    """

    model: str
    reference: float
    success_probability: float
    log_odds: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Following:
    """When a second model is asked after the chosen one's answer.

    Attributes:
        models: those that may be, in the policy's order.
        threshold: what one must be worth more than the answer at hand, in success, its cost included.
    """

    models: tuple[str, ...]
    threshold: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why a request goes where it goes.

    Attributes:
        decision: None if the limits allow no model.
        prospects: models that may serve the request, by falling value; then the others.
        evidence: None by rules alone, which have none.
        similarity: mean similarity of the nearest training prompts, in [-1, 1]; None by rules alone.
        neighbours: the nearest training prompts; None if the router's folder does not hold their keys.
        cascade: what may follow the answer; None: it is served whatever it says.
        change: None if nothing leads to another model: the caller pinned it, the limits allow no other, or
            rules alone decide.
    """

    decision: Decision | None
    prospects: tuple[Prospect, ...]
    evidence: Evidence | None
    similarity: float | None
    neighbours: tuple[Neighbour, ...] | None
    change: Change | None
    cascade: Following | None = None

    def to_json(self) -> dict[str, Json]:
        """The explanation as plain JSON values."""
        return {
            "decision": self.decision.to_json() if self.decision else None,
            "models": [prospect.to_json() for prospect in self.prospects],
            "evidence": asdict(self.evidence) if self.evidence else None,
            "similarity": self.similarity,
            "neighbours": None if self.neighbours is None else [asdict(one) for one in self.neighbours],
            "change": asdict(self.change) if self.change else None,
            "cascade": asdict(self.cascade) if self.cascade else None,
        }


def explain(version: Version, request: Request, wishes: Wishes = NO_WISHES) -> Explanation:
    """Explain the decision on a request that belongs to no session; no model is called.

    Raises:
        RequestError: the wishes name a model that the router does not know.
        DamagedArtifact: the router's folder changed after it was loaded.
    """
    case = version.case(request, wishes, Circumstances())
    try:
        decision = version.settle(case)
    except NoModelAllowed:
        decision = None
    if not version.learned:
        return _by_rules(case, decision)
    prospects = _prospects(case, values_of(case, version.policy))
    model = decision.model if decision else prospects[0].model
    features = version.features([request], [version.encode(request)])
    attribution, column = attribute(version.head, features), version.models.index(model)
    return Explanation(
        decision=decision,
        prospects=prospects,
        evidence=Evidence(
            model=model,
            reference=float(sigmoid(attribution.reference)[column]),
            success_probability=float(sigmoid(attribution.prediction)[column]),
            log_odds={group: float(weights[column]) for group, weights in attribution.weights.items()},
        ),
        similarity=case.familiarity,
        neighbours=_neighbours(version, features),
        change=change_of(case, decision, version.policy) if decision else None,
        cascade=_following(version, request, decision) if decision else None,
    )


def _following(version: Version, request: Request, decision: Decision) -> Following | None:
    branch = version.branch(request, decision)
    if branch is None or len(decision.ranking) < 2:
        return None
    return Following(models=decision.ranking[1:], threshold=branch.threshold)


def _by_rules(case: Case, decision: Decision | None) -> Explanation:
    """Why rules alone send a request where it goes: the rule's name and the limits are all there is."""
    case = replace(case, probability=np.full(len(case.models), np.nan))
    return Explanation(
        decision=decision,
        prospects=_prospects(case, case.probability),
        evidence=None,
        similarity=None,
        neighbours=None,
        change=None,
    )


def _neighbours(version: Version, features: Features) -> tuple[Neighbour, ...] | None:
    """The nearest training prompts of one request; None if the router's folder does not hold their keys."""
    prompts = TrainingPrompts.load(version.folder, version.manifest["files"])
    if prompts is None:
        return None
    narrow = narrow_inputs(features, version.head.scaling)
    return nearest_prompts(version.head.store, narrow, prompts, version.models, NEIGHBOURS)


def _prospects(case: Case, value: FloatArray) -> tuple[Prospect, ...]:
    """The models that may serve the request, by falling value and then in their order; then the others."""
    prospects = [
        Prospect(
            model=model,
            success_probability=float(case.probability[place]),
            expected_cost_usd=None if math.isnan(case.cost[place]) else float(case.cost[place]),
            value=float(value[place]),
            rejected=case.rejected.get(model),
        )
        for place, model in enumerate(case.models)
    ]
    falling = zip((-value).tolist(), prospects, strict=True)
    order = sorted(falling, key=lambda pair: (pair[1].rejected is not None, pair[0]))
    return tuple(prospect for _, prospect in order)
