from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from training.replay import most_informative, stratified_sample, value_of_information


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


def test_the_most_informative_come_first_and_the_worthless_not_at_all() -> None:
    chosen = most_informative(np.array([0.1, 0.0, 0.3, 0.1]), 10)
    assert chosen.rows.tolist() == [2, 0, 3]
    assert chosen.probability is None
    assert most_informative(np.array([0.1, 0.0, 0.3, 0.1]), 1).rows.tolist() == [2]


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
        assert chosen.probability == pytest.approx(0.35)
        drawn[chosen.rows] += 1
    assert drawn / 4000 == pytest.approx(np.full(20, 0.35), abs=0.04)


def test_a_seed_repeats_its_sample() -> None:
    strata = ["a", "b"] * 50
    first, again, other = (stratified_sample(strata, 10, seed=seed).rows.tolist() for seed in (5, 5, 6))
    assert first == again != other


def test_all_prompts_are_taken_where_fewer_are_there_than_wanted() -> None:
    drawn = stratified_sample(["a"] * 4, 9, seed=0)
    assert sorted(drawn.rows.tolist()) == [0, 1, 2, 3]
    assert drawn.probability == 1.0
