from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from router.deciding.decide import Case, Stay, decide
from router.deciding.policy import Policy, assumed_cost, choose
from router.errors import NoModelAllowed
from router.records import Decision, Json, Request, Wishes
from router.settings.sections import Rules

MODELS = ("cheap", "middle", "strong")
POLICY = Policy(weight=100.0, least_confidence=0.0, least_familiarity=-1.0, best_single="strong")
DOUBTFUL = Policy(weight=100.0, least_confidence=0.99, least_familiarity=-1.0, best_single="strong")
"""Steps aside on every case below."""


def case(**fields: Json) -> Case:
    """A request on which the middle model is worth most: 0.6 - 0.1, 0.8 - 0.2 and 0.9 - 0.5."""
    figures = {
        "request": Request.of("hi"),
        "models": MODELS,
        "probability": np.array([0.6, 0.8, 0.9]),
        "cost": np.array([0.001, 0.002, 0.005]),
        "familiarity": 1.0,
    }
    return Case(**{**figures, **fields})


def decided(of: Case, policy: Policy = POLICY, rules: Rules | None = None) -> Decision:
    return decide(of, policy, rules or Rules(), "v1")


def test_the_policy_takes_the_model_worth_most_and_ranks_the_others_behind_it() -> None:
    decision = decided(case())
    assert (decision.model, decision.source, decision.propensity) == ("middle", "learned", 1.0)
    assert decision.ranking == ("middle", "cheap", "strong")


@pytest.mark.parametrize(
    ("chance", "words"), [(0.994, "99.4 % chance"), (0.996, "over 99 % chance"), (1.0, "over 99 % chance")]
)
def test_no_chance_is_called_certain(chance: float, words: str) -> None:
    probability = np.full(len(MODELS), chance)
    assert decided(case(probability=probability)).reason.startswith(f"best value: {words} of success")


def test_a_ruled_out_model_is_neither_chosen_nor_ranked() -> None:
    decision = decided(case(rejected={"middle": "denied"}))
    assert (decision.model, decision.ranking) == ("cheap", ("cheap", "strong"))
    assert decision.rejected == {"middle": "denied"}


def test_where_the_limits_leave_one_model_they_decided() -> None:
    decision = decided(case(rejected={"middle": "denied", "cheap": "no tools"}))
    assert (decision.model, decision.source) == ("strong", "constraint")


def test_where_the_limits_leave_no_model_every_reason_is_told() -> None:
    rejected = {model: f"{model} is too small" for model in MODELS}
    with pytest.raises(NoModelAllowed, match=r"cheap: cheap is too small; middle: .*; strong: ") as error:
        decided(case(rejected=rejected))
    assert error.value.rejected == rejected


def test_in_doubt_the_rule_table_decides() -> None:
    decision = decided(case(), DOUBTFUL, Rules(default="cheap"))
    assert (decision.model, decision.source, decision.confidence) == ("cheap", "rule", 0.6)
    assert decision.ranking == ("cheap", "middle", "strong")


def test_the_rule_table_chooses_only_among_what_the_limits_left() -> None:
    decision = decided(case(rejected={"cheap": "denied"}), DOUBTFUL, Rules(default="cheap"))
    assert (decision.model, decision.source) == ("middle", "learned")
    assert "no rule names an allowed model" in decision.reason


@pytest.mark.parametrize(
    ("tradeoff", "model"),
    [
        pytest.param(0.0, "strong", id="success only"),
        pytest.param(0.5, "middle", id="as trained"),
        pytest.param(0.9, "cheap", id="mostly cost"),
        pytest.param(1.0, "cheap", id="cost only"),
    ],
)
def test_the_trade_off_of_a_request_moves_the_choice(tradeoff: float, model: str) -> None:
    assert decided(case(wishes=Wishes(tradeoff=tradeoff))).model == model


def test_a_caller_who_leans_to_cost_is_not_sent_to_the_rule_table_for_it() -> None:
    sure_of_the_middle = replace(POLICY, least_confidence=0.7)
    decision = decided(case(wishes=Wishes(tradeoff=1.0)), sure_of_the_middle, Rules(default="strong"))
    assert (decision.model, decision.source, decision.confidence) == ("cheap", "learned", 0.6)


def test_a_caller_who_leans_to_success_is_sure_where_the_policy_is_not() -> None:
    sure_of_the_strong = replace(POLICY, least_confidence=0.85)
    decision = decided(case(wishes=Wishes(tradeoff=0.0)), sure_of_the_strong, Rules(default="cheap"))
    assert (decision.model, decision.source) == ("strong", "learned")


def test_the_cheapest_wins_at_cost_only_even_where_the_weight_is_zero() -> None:
    free = Policy(weight=0.0, least_confidence=0.0, least_familiarity=-1.0, best_single="strong")
    assert decided(case(wishes=Wishes(tradeoff=1.0)), free).model == "cheap"


def test_a_pin_is_obeyed_whatever_the_policy_thinks() -> None:
    decision = decided(case(wishes=Wishes(model="strong")), DOUBTFUL, Rules(default="cheap"))
    assert (decision.model, decision.source, decision.confidence) == ("strong", "pinned", 0.9)
    assert decision.ranking[0] == "strong"


def test_a_pinned_model_that_the_limits_rule_out_is_refused_with_the_reason() -> None:
    pinned = case(wishes=Wishes(model="strong"), rejected={"strong": "lacks vision"})
    with pytest.raises(NoModelAllowed, match="strong: lacks vision; cheap: not the pinned model"):
        decided(pinned)


def test_a_pin_is_never_explored_away() -> None:
    pinned = case(wishes=Wishes(model="strong"), explore=1.0, draw=0.0)
    assert decided(pinned).model == "strong"


def staying(model: str, *, saved: float = 0.0, margin: float = 0.15) -> Stay:
    return Stay(model=model, saved_usd=saved, margin=margin)


def test_a_session_stays_on_its_model() -> None:
    decision = decided(case(stay=staying("cheap", margin=0.25)))
    assert (decision.model, decision.source, decision.propensity) == ("cheap", "session", 1.0)
    assert decision.ranking == ("cheap", "middle", "strong")


def test_a_session_moves_to_a_clearly_likelier_model() -> None:
    assert decided(case(stay=staying("cheap", margin=0.15))).source == "learned"


def test_a_session_never_moves_down_to_save_money() -> None:
    assert decided(case(stay=staying("strong"))).model == "strong"


def test_a_session_leaves_a_model_that_its_request_outgrew() -> None:
    outgrown = case(stay=staying("cheap"), rejected={"cheap": "context window"})
    assert decided(outgrown).model == "middle"


def test_the_prompt_cache_that_a_switch_loses_counts_as_its_cost() -> None:
    """Middle is worth 0.59; cheap 0.5, and 0.6 where its whole cost is saved."""
    likely = np.array([0.6, 0.79, 0.9])
    assert decided(case(probability=likely, stay=staying("cheap"))).model == "middle"
    cached = decided(case(probability=likely, stay=staying("cheap", saved=0.001)))
    assert (cached.model, cached.expected_cost_usd["cheap"]) == ("cheap", 0.0)


def test_a_session_that_steps_aside_stays_too() -> None:
    decision = decided(case(stay=staying("middle")), DOUBTFUL, Rules(default="strong"))
    assert (decision.model, decision.source) == ("middle", "session")


def test_a_session_follows_the_rule_table_to_a_clearly_likelier_model() -> None:
    decision = decided(case(stay=staying("cheap")), DOUBTFUL, Rules(default="strong"))
    assert (decision.model, decision.source) == ("strong", "rule")


def test_a_session_is_not_explored() -> None:
    decision = decided(case(stay=staying("middle"), explore=1.0, draw=0.0))
    assert (decision.model, decision.propensity) == ("middle", 1.0)


def test_exploration_takes_each_other_allowed_model_with_the_stated_chance() -> None:
    draws = (np.arange(1000) + 0.5) / 1000
    made = [decided(case(explore=0.4, draw=float(draw))) for draw in draws]
    assert Counter(one.model for one in made) == {"middle": 600, "cheap": 200, "strong": 200}
    chances = {(one.model, one.source, round(one.propensity, 9)) for one in made}
    assert chances == {
        ("middle", "learned", 0.6),
        ("cheap", "explored", 0.2),
        ("strong", "explored", 0.2),
    }


def test_exploration_never_passes_the_limits() -> None:
    limited = case(explore=1.0, draw=0.999, rejected={"strong": "too dear"})
    assert decided(limited).model == "cheap"


def test_where_one_model_is_left_there_is_nothing_to_explore() -> None:
    decision = decided(case(explore=1.0, draw=0.0, rejected={"strong": "no", "cheap": "no"}))
    assert (decision.model, decision.propensity) == ("middle", 1.0)


def test_the_rule_tables_choice_is_explored_too() -> None:
    explored = decided(case(explore=0.5, draw=0.1), DOUBTFUL, Rules(default="cheap"))
    assert (explored.source, explored.model, explored.propensity) == ("explored", "middle", 0.25)
    assert explored.reason == "exploration (50 % of requests), instead of cheap"


def test_in_shadow_mode_the_rules_serve_and_the_policy_is_only_heard() -> None:
    decision = decided(case(serve_rules=True), rules=Rules(default="cheap"))
    assert (decision.model, decision.source) == ("cheap", "rule")
    assert decision.shadow is not None
    assert (decision.shadow.model, decision.shadow.source) == ("middle", "learned")


def test_in_shadow_mode_without_rules_the_best_single_model_serves() -> None:
    assert decided(case(serve_rules=True)).model == "strong"


figures = st.lists(st.floats(0.01, 0.99), min_size=3, max_size=3).map(np.array)
cases = st.builds(
    case,
    probability=figures,
    cost=figures,
    rejected=st.sets(st.sampled_from(MODELS), max_size=2).map(lambda models: dict.fromkeys(models, "no")),
    stay=st.none() | st.sampled_from(MODELS).map(staying),
    explore=st.floats(0, 1),
    draw=st.floats(0, 1, exclude_max=True),
    wishes=st.builds(Wishes, tradeoff=st.floats(0, 1)),
)


@given(of=cases, policy=st.sampled_from([POLICY, DOUBTFUL]))
def test_whatever_happens_the_model_is_allowed_and_leads_the_allowed_ones(of: Case, policy: Policy) -> None:
    made = decided(of, policy, Rules(default="cheap"))
    assert made.ranking[0] == made.model
    assert sorted(made.ranking) == sorted(set(MODELS) - set(of.rejected))
    assert made.confidence == made.success_probability[made.model]
    assert 0 < made.propensity <= 1


NUMBERS = st.sampled_from([0.0, 0.001, 0.002, 0.5])


@given(
    st.lists(st.tuples(NUMBERS, NUMBERS | st.just(np.nan), st.booleans()), min_size=1, max_size=6),
    st.sampled_from([0.0, 0.5, 100.0]),
)
def test_one_request_is_decided_as_choose_does_on_arrays(
    models: list[tuple[float, float, bool]], weight: float
) -> None:
    probability, cost, allowed = map(np.array, zip(*models, strict=True))
    names = tuple(f"m{index}" for index in range(len(models)))
    rejected = {name: "denied" for name, may in zip(names, allowed, strict=True) if not may}
    assume(allowed.any())
    of = case(models=names, probability=probability, cost=cost, rejected=rejected)
    decision = decided(of, replace(POLICY, weight=weight))
    assert decision.model == names[choose(probability[None], cost[None], weight, allowed)[0]]
    value, known = probability - weight * assumed_cost(cost), assumed_cost(cost)
    order = [names[index] for index in np.lexsort((known, -value)) if allowed[index]]
    assert decision.ranking == tuple(order)


@pytest.mark.parametrize(
    ("weight", "tradeoff", "model"),
    [
        pytest.param(None, 0.5, "middle", id="as trained"),
        pytest.param(1.0, 0.5, "strong", id="money is left"),
        pytest.param(1000.0, 0.5, "cheap", id="money is short"),
        pytest.param(1000.0, 0.0, "strong", id="the caller looks at success only"),
        pytest.param(1.0, 1.0, "cheap", id="the caller wants the cheapest"),
    ],
)
def test_the_weight_of_now_takes_the_place_of_the_trained_one(
    weight: float | None, tradeoff: float, model: str
) -> None:
    assert decided(case(weight=weight, wishes=Wishes(tradeoff=tradeoff))).model == model


def test_money_that_is_short_is_no_reason_to_step_aside() -> None:
    confident = replace(POLICY, least_confidence=0.7)
    decision = decided(case(weight=1000.0), confident, Rules(default="strong"))
    assert (decision.model, decision.source) == ("cheap", "learned")
    decision = decided(case(weight=1000.0), replace(POLICY, least_confidence=0.85), Rules(default="strong"))
    assert (decision.model, decision.source) == ("strong", "rule")
