from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from router.deciding.decide import Case, decide, values_of, weight_of
from router.deciding.policy import Policy
from router.explaining.change import Change, change_of
from router.records import Decision, Json, Request, Wishes
from router.settings.sections import Rules

POLICY = Policy(weight=100.0, least_confidence=0.0, least_familiarity=-1.0, best_single="strong")
FIGURES = [field.name for field in fields(Change) if field.name != "model"]
NEARLY = 1e-6


def case(**changed: Json) -> Case:
    """A request on which the middle model is worth most: 0.6 - 0.2, 0.8 - 0.3 and 0.9 - 0.6."""
    figures = {
        "request": Request.of("hi"),
        "models": ("cheap", "middle", "strong"),
        "probability": np.array([0.6, 0.8, 0.9]),
        "cost": np.array([0.002, 0.003, 0.006]),
        "familiarity": 0.9,
    }
    return Case(**{**figures, **changed})


def decided(of: Case, policy: Policy = POLICY, rules: Rules | None = None) -> Decision:
    return decide(of, policy, rules or Rules(), "v1")


def change(of: Case, policy: Policy = POLICY, rules: Rules | None = None) -> Change:
    found = change_of(of, decided(of, policy, rules), policy)
    assert found is not None
    return found


def test_the_next_model_is_that_of_the_next_highest_value() -> None:
    assert change(case()).model == "cheap"
    assert change(case(rejected={"cheap": "denied"})).model == "strong"


def test_each_figure_closes_the_gap_between_the_two_values() -> None:
    found = change(case())
    assert found.success_probability == pytest.approx(0.7)
    assert found.cost_share == pytest.approx(0.5)
    assert found.chosen_success_probability == pytest.approx(0.7)
    assert found.chosen_cost_share == pytest.approx(4 / 3)
    assert found.tradeoff == pytest.approx(2 / 3)  # twice the weight: 0.6 - 0.4 and 0.8 - 0.6
    assert (found.missing_confidence, found.missing_similarity) == (None, None)


@pytest.mark.parametrize(
    ("changed", "figure"),
    [
        pytest.param(
            {"probability": np.array([0.35, 0.8, 0.9]), "cost": np.array([0.0, 0.003, 0.006])},
            "cost_share",
            id="a free model can't be cheaper",
        ),
        pytest.param(
            {"cost": np.array([math.nan, 0.003, 0.006]), "rejected": {"strong": "denied"}},
            "cost_share",
            id="an unknown cost has no share",
        ),
        pytest.param(
            {"probability": np.array([0.1, 0.9, 0.3]), "cost": np.array([0.002, math.nan, 0.006])},
            "chosen_cost_share",
            id="the chosen model's neither",
        ),
        pytest.param(
            {"cost": np.array([0.002, 0.003, 0.0])}, "chosen_cost_share", id="no share of nothing is more"
        ),
        pytest.param(
            {"probability": np.array([0.2, 0.95, 0.1]), "cost": np.array([0.006, 0.001, 0.1])},
            "success_probability",
            id="no chance is above 1",
        ),
        pytest.param(
            {"probability": np.array([0.5, 0.8, 0.1]), "cost": np.array([0.002, 0.001, 0.1])},
            "tradeoff",
            id="worse and dearer: no trade-off helps",
        ),
    ],
)
def test_what_can_not_help_is_none(changed: dict[str, Json], figure: str) -> None:
    found = change(case(**changed))
    assert getattr(found, figure) is None


def test_where_only_cost_counts_only_cost_changes_anything() -> None:
    of = case(wishes=Wishes(tradeoff=1.0))
    found = change(of)
    assert found.model == "middle"
    assert found.cost_share == pytest.approx(2 / 3)
    assert found.chosen_cost_share == pytest.approx(3 / 2)
    assert (found.success_probability, found.chosen_success_probability) == (None, None)
    assert decided(replace(of, wishes=Wishes(tradeoff=found.tradeoff or 0.0))).model in ("cheap", "middle")


def test_where_cost_does_not_count_no_cost_changes_anything() -> None:
    found = change(case(wishes=Wishes(tradeoff=0.0)))
    assert found.model == "middle"
    assert (found.cost_share, found.chosen_cost_share) == (None, None)


def test_a_policy_without_a_weight_has_no_trade_off() -> None:
    assert change(case(), replace(POLICY, weight=0.0)).tradeoff is None


@pytest.mark.parametrize(
    ("policy", "confidence", "similarity"),
    [
        pytest.param(replace(POLICY, least_confidence=0.85), 0.05, None, id="not sure enough"),
        pytest.param(
            replace(POLICY, least_familiarity=0.97), None, 0.07, id="too unlike the training prompts"
        ),
        pytest.param(
            replace(POLICY, least_confidence=0.85, least_familiarity=0.97), 0.05, 0.07, id="neither"
        ),
    ],
)
def test_where_the_rules_decided_it_is_told_what_the_policy_lacked(
    policy: Policy, confidence: float | None, similarity: float | None
) -> None:
    found = change(case(), policy, Rules(default="strong"))
    assert found.model == "middle"
    assert found.missing_confidence == (None if confidence is None else pytest.approx(confidence))
    assert found.missing_similarity == (None if similarity is None else pytest.approx(similarity))
    assert (found.success_probability, found.tradeoff) == (None, None)


@pytest.mark.parametrize(
    "of",
    [
        pytest.param(case(wishes=Wishes(model="strong")), id="pinned"),
        pytest.param(case(rejected={"cheap": "denied", "middle": "denied"}), id="the only one left"),
        pytest.param(
            Case(
                request=Request.of("hi"),
                models=("one",),
                probability=np.array([0.5]),
                cost=np.array([0.1]),
                familiarity=1.0,
            ),
            id="the only one there is",
        ),
    ],
)
def test_without_another_model_there_is_no_change(of: Case) -> None:
    assert change_of(of, decided(of), POLICY) is None


def test_the_values_are_those_the_policy_maximises() -> None:
    assert values_of(case(), POLICY) == pytest.approx([0.4, 0.5, 0.3])
    assert values_of(case(wishes=Wishes(tradeoff=1.0)), POLICY) == pytest.approx([-0.002, -0.003, -0.006])


@pytest.mark.parametrize(("tradeoff", "weight"), [(0.0, 0.0), (0.5, 100.0), (0.8, 400.0), (1.0, math.inf)])
def test_the_weight_grows_with_the_trade_off(tradeoff: float, weight: float) -> None:
    assert weight_of(case(wishes=Wishes(tradeoff=tradeoff)), POLICY) == pytest.approx(weight)


def of_models(figures: Sequence[tuple[float, float]], tradeoff: float) -> Case:
    """A request on which each model has these chances and costs."""
    return case(
        models=tuple(f"m{number}" for number in range(len(figures))),
        probability=np.array([probability for probability, _ in figures]),
        cost=np.array([cost for _, cost in figures]),
        wishes=Wishes(tradeoff=tradeoff),
    )


def with_figure(of: Case, model: str, figure: str, value: float) -> Case:
    """The case with another chance, or another share of its cost, for one model."""
    place, probability, cost = of.models.index(model), of.probability.copy(), of.cost.copy()
    if figure.endswith("cost_share"):
        cost[place] *= value
    else:
        probability[place] = value
    return replace(of, probability=probability, cost=cost)


models = st.lists(st.tuples(st.floats(0.01, 0.99), st.floats(1e-5, 0.05)), min_size=2, max_size=5)
weights = st.floats(1.0, 200.0)
tradeoffs = st.sampled_from([0.1, 0.5, 0.9])


@given(models, weights, tradeoffs)
@pytest.mark.parametrize(
    ("figure", "rises"),
    [
        ("success_probability", True),
        ("cost_share", False),
        ("chosen_success_probability", False),
        ("chosen_cost_share", True),
    ],
)
def test_on_either_side_of_a_figure_the_policy_decides_as_it_says(
    figure: str, rises: bool, figures: list[tuple[float, float]], weight: float, tradeoff: float
) -> None:
    policy, of = replace(POLICY, weight=weight, best_single="m0"), of_models(figures, tradeoff)
    assume(np.diff(np.sort(values_of(of, policy))).min() > 1e-3)
    found, chosen = change(of, policy), decided(of, policy).model
    value = getattr(found, figure)
    assume(value is not None and value > NEARLY)
    model = chosen if figure.startswith("chosen_") else found.model
    step = NEARLY if rises else -NEARLY
    assert decided(with_figure(of, model, figure, value + step), policy).model == found.model
    assert decided(with_figure(of, model, figure, value - step), policy).model != found.model


@given(models, weights, tradeoffs)
def test_at_the_trade_off_the_other_model_is_worth_most_and_before_it_is_not(
    figures: list[tuple[float, float]], weight: float, tradeoff: float
) -> None:
    policy, of = replace(POLICY, weight=weight, best_single="m0"), of_models(figures, tradeoff)
    assume(np.diff(np.sort(values_of(of, policy))).min() > 1e-3)
    found = change(of, policy)
    assume(found.tradeoff is not None)
    there = replace(of, wishes=Wishes(tradeoff=found.tradeoff or 0.0))
    value = values_of(there, policy)
    assert value[of.models.index(found.model)] >= value.max() - 1e-9
    for share in (0.1, 0.5, 0.9, 0.999):
        between = Wishes(tradeoff=tradeoff + share * ((found.tradeoff or 0.0) - tradeoff))
        assert decided(replace(of, wishes=between), policy).model != found.model


@given(models, weights, tradeoffs)
def test_without_a_trade_off_the_other_model_is_worth_most_at_none(
    figures: list[tuple[float, float]], weight: float, tradeoff: float
) -> None:
    policy, of = replace(POLICY, weight=weight, best_single="m0"), of_models(figures, tradeoff)
    found = change(of, policy)
    assume(found.tradeoff is None)
    everywhere = (replace(of, wishes=Wishes(tradeoff=share)) for share in np.linspace(0.0, 0.99, 34).tolist())
    place = of.models.index(found.model)
    others = [
        np.delete(values_of(one, policy), place).max() - values_of(one, policy)[place] for one in everywhere
    ]
    assert min(others) >= -1e-9


@given(
    st.lists(st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 1.0) | st.just(math.nan)), min_size=2, max_size=4),
    st.sampled_from([0.0, 0.3, 0.5, 1.0]),
)
def test_every_figure_is_a_number_or_none(figures: list[tuple[float, float]], tradeoff: float) -> None:
    found = change(of_models(figures, tradeoff), replace(POLICY, best_single="m0"))
    values = [value for name in FIGURES if (value := getattr(found, name)) is not None]
    assert all(math.isfinite(value) and value >= 0.0 for value in values)
