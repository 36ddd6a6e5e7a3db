from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from training.replaying.selection import informative_sample, stratified_sample, value_of_information


def worth(
    probability: list[float], cost: list[float], *, weight: float = 1.0, untried: list[bool] | None = None
) -> float:
    which = np.array([untried or [True] * len(probability)])
    return float(value_of_information(np.array([probability]), np.array([cost]), weight, which)[0])


def test_the_value_is_the_mean_best_over_every_outcome_less_the_best_mean() -> None:
    generator = np.random.default_rng(0)
    probability, cost = generator.random((20, 4)), generator.random((20, 4)) / 2
    untried = generator.random((20, 4)) < 0.6

    found = value_of_information(probability, cost, 0.7, untried)

    for row in range(20):
        mean_best = 0.0
        for outcome in product((0.0, 1.0), repeat=4):
            chances = np.where(np.array(outcome) == 1, probability[row], 1 - probability[row])
            value = np.where(untried[row], outcome, probability[row]) - 0.7 * cost[row]
            mean_best += chances.prod() * value.max()
        assert found[row] == pytest.approx(mean_best - (probability[row] - 0.7 * cost[row]).max())


def test_a_prompt_whose_models_were_all_tried_is_worth_nothing() -> None:
    assert worth([0.5, 0.6], [0.0, 0.3], untried=[False, False]) == pytest.approx(0.0)


def test_an_outcome_that_is_certain_is_worth_nothing() -> None:
    assert worth([1.0, 1.0], [0.1, 0.3]) == pytest.approx(0.0)
    assert worth([0.0, 1.0], [0.1, 0.3]) == pytest.approx(0.0)


def test_the_less_sure_the_head_is_of_the_cheap_model_the_more_its_outcome_is_worth() -> None:
    strong_tried = [True, False]
    sure, unsure = (worth([p, 0.95], [0.0, 0.5], untried=strong_tried) for p in (0.02, 0.4))
    assert unsure > sure > 0


def test_the_larger_the_saving_the_more_the_cheap_models_outcome_is_worth() -> None:
    small, large = (worth([0.3, 0.9], [0.0, dear], untried=[True, False]) for dear in (0.1, 0.4))
    assert large > small


def test_a_model_that_costs_more_than_a_success_is_worth_teaches_nothing() -> None:
    assert worth([0.5, 0.9], [0.0, 2.0], untried=[False, True]) == pytest.approx(0.0)


def test_an_unknown_cost_counts_as_the_dearest_known_one() -> None:
    assert worth([0.3, 0.9], [float("nan"), 0.2]) == worth([0.3, 0.9], [0.2, 0.2])


def test_the_more_a_prompt_is_worth_the_likelier_it_is_drawn_and_none_is_left_out() -> None:
    value = np.array([0.4, 0.1, 0.0, 0.0, 0.3, 0.0, 0.0, 0.2])
    drawn, chance = np.zeros(8), np.zeros(8)
    for seed in range(4000):
        chosen = informative_sample(value, 3, seed)
        drawn[chosen.rows] += 1
        chance[chosen.rows] = chosen.probability
    assert drawn / 4000 == pytest.approx(chance, abs=0.05)
    assert chance[0] > chance[4] > chance[1] > chance[2] > 0.1


def test_a_larger_informative_sample_begins_with_the_smaller_one() -> None:
    value = np.random.default_rng(0).random(50)
    small, large = (informative_sample(value, most, seed=3) for most in (5, 20))
    assert large.rows[:5].tolist() == small.rows.tolist()


def test_chances_are_at_most_one_and_add_up_to_the_number_drawn() -> None:
    value = np.array([100.0, *[1.0] * 99])
    whole = informative_sample(value, 100, seed=0)
    assert whole.probability == pytest.approx(np.ones(100))
    assert informative_sample(value, 10, seed=0).probability.max() == pytest.approx(1.0)


def test_prompts_without_any_value_are_drawn_alike() -> None:
    assert informative_sample(np.zeros(4), 2, seed=0).probability == pytest.approx([0.5, 0.5])
    assert len(informative_sample(np.zeros(0), 2, seed=0).rows) == 0


def test_a_random_sample_holds_each_task_type_in_proportion() -> None:
    strata = ["code"] * 500 + ["chat"] * 300 + [""] * 200
    drawn = stratified_sample(strata, 100, seed=1)
    assert sorted(set(drawn.rows.tolist())) == sorted(drawn.rows.tolist())
    assert [sum(strata[row] == name for row in drawn.rows) for name in ("code", "chat", "")] == [50, 30, 20]


def test_every_prompt_has_the_chance_that_is_recorded() -> None:
    strata = ["rare"] * 3 + ["usual"] * 17
    drawn = np.zeros(20)
    for seed in range(4000):
        chosen = stratified_sample(strata, 7, seed=seed)
        assert chosen.probability == pytest.approx(np.full(7, 0.35))
        drawn[chosen.rows] += 1
    assert drawn / 4000 == pytest.approx(np.full(20, 0.35), abs=0.04)


def test_a_seed_repeats_its_sample() -> None:
    strata = ["a", "b"] * 50
    first, again, other = (stratified_sample(strata, 10, seed=seed).rows.tolist() for seed in (5, 5, 6))
    assert first == again != other


def test_all_prompts_are_taken_where_fewer_are_there_than_wanted() -> None:
    drawn = stratified_sample(["a"] * 4, 9, seed=0)
    assert sorted(drawn.rows.tolist()) == [0, 1, 2, 3]
    assert drawn.probability.tolist() == [1.0] * 4
