from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from router.records import Request
from router.settings.sections import HeuristicModels, Rules
from training.comparing.policies.baselines import (
    BEST_SINGLE,
    HEURISTIC,
    ORACLE,
    TASK_TYPE,
    TrainingStatistics,
    all_cheap,
    all_strong,
    baselines_on,
    best_single,
    default_heuristic_models,
    keyword_heuristic,
    mean_per_task_type,
    oracle,
    random_shares,
    rule_table,
    task_estimates,
)

NAN = float("nan")
HARD = "```\nimplement this" + "\n" * 12 + "x" * 2000
MIDDLE = "```\nimplement this"
MODELS = ("small", "medium", "large", "huge")


def statistics(
    success: list[float], cost: list[float], models: tuple[str, ...] = MODELS
) -> TrainingStatistics:
    m = len(models)
    return TrainingStatistics(
        models=models,
        success=np.array(success),
        cost=np.array(cost),
        task_types=(),
        task_success=np.empty((0, m)),
        task_cost=np.empty((0, m)),
        task_counts=np.empty((0, m), dtype=np.int64),
    )


FOUR = statistics([0.5, 0.6, 0.9, 0.7], [1.0, 2.0, 5.0, 9.0])


def by_task() -> TrainingStatistics:
    """The small model is a little better than the large one on easy prompts, and fails on hard ones."""
    success = np.array([[1.0, 0.9]] * 400 + [[0.0, 1.0]] * 400)
    cost = np.tile([1.0, 10.0], (800, 1))
    return TrainingStatistics.of(("small", "large"), ["easy"] * 400 + ["hard"] * 400, success, cost)


def test_single_model_baselines_send_everything_to_one_model() -> None:
    assert all_cheap(FOUR, 2).tolist() == [0, 0]
    assert all_strong(FOUR, 2).tolist() == [3, 3]
    assert best_single(FOUR, 2).tolist() == [2, 2]


def test_the_cheaper_of_two_equally_good_models_is_the_best_single() -> None:
    assert best_single(statistics([0.5, 0.9, 0.9, 0.1], [1.0, 4.0, 3.0, 9.0]), 1).tolist() == [2]


def test_a_model_that_was_never_observed_is_not_the_best() -> None:
    assert best_single(statistics([NAN, 0.2, 0.1, NAN], [1.0, 4.0, 3.0, 9.0]), 1).tolist() == [1]


def test_without_costs_there_is_no_cheapest_and_no_dearest_model() -> None:
    unknown = statistics([0.5, 0.6, 0.9, 0.7], [NAN] * 4)
    assert all_cheap(unknown, 1).tolist() == all_strong(unknown, 1).tolist() == [-1]
    assert keyword_heuristic(unknown, ["hi"]).tolist() == [-1]


def test_mean_per_task_type_pays_for_the_large_model_only_where_it_helps() -> None:
    assert mean_per_task_type(by_task(), ["easy", "hard", "easy"]).tolist() == [0, 1, 0]


def test_a_task_type_s_mean_is_shrunk_towards_the_model_s() -> None:
    probability, cost = task_estimates(by_task(), ["hard"])
    assert probability[0] == pytest.approx([10 * 0.5 / 410, (400 + 10 * 0.95) / 410])
    assert cost[0] == pytest.approx([1, 10])


@pytest.mark.parametrize("task", [pytest.param(None, id="none"), pytest.param("new", id="unknown")])
def test_prompts_of_no_known_task_type_get_the_models_overall_means(task: str | None) -> None:
    assert task_estimates(by_task(), [task])[0] == pytest.approx(np.array([[0.5, 0.95]]))


@pytest.mark.parametrize(
    ("text", "model"),
    [
        pytest.param("hi", "small", id="low score"),
        pytest.param(MIDDLE, "medium", id="middle score"),
        pytest.param(HARD, "large", id="high score"),
    ],
)
def test_the_heuristic_uses_the_cheapest_a_middle_and_the_best_model(text: str, model: str) -> None:
    assert keyword_heuristic(FOUR, [text]).tolist() == [MODELS.index(model)]


def test_with_two_models_the_middle_one_is_the_cheap_one() -> None:
    two = statistics([0.5, 0.6], [1.0, 2.0], ("small", "large"))
    assert default_heuristic_models(two) == HeuristicModels(strong="large", middle="small", cheap="small")


def test_the_heuristic_can_t_choose_a_model_that_is_not_evaluated() -> None:
    named = HeuristicModels(strong="absent", middle="small", cheap="huge")
    assert keyword_heuristic(FOUR, [HARD, "hi"], named).tolist() == [-1, 3]


def test_the_rule_table_chooses_by_task_type_then_by_default() -> None:
    requests = [Request.of("hi", task_type="code"), Request.of("hi")]
    rules = Rules(task_types={"code": "huge"}, default="medium")
    found = rule_table(requests, rules, "large", MODELS)
    assert found is not None
    assert found.tolist() == [3, 1]


def test_the_best_single_model_stands_in_for_a_default() -> None:
    found = rule_table([Request.of("hi")], Rules(task_types={"code": "huge"}), "large", MODELS)
    assert found is not None
    assert found.tolist() == [2]


def test_a_rule_that_names_no_evaluated_model_gives_way_to_the_next() -> None:
    request = Request.of("hi", task_type="code")
    found = rule_table([request], Rules(task_types={"code": "absent"}, default="small"), "large", MODELS)
    assert found is not None
    assert found.tolist() == [0]


def test_where_no_rule_names_an_evaluated_model_there_is_no_choice() -> None:
    found = rule_table([Request.of("hi")], Rules(default="absent"), "absent", MODELS)
    assert found is not None
    assert found.tolist() == [-1]


def test_a_team_without_rules_has_no_rule_table() -> None:
    assert rule_table([Request.of("hi")], Rules(), "large", MODELS) is None


def test_at_random_every_model_has_the_same_share() -> None:
    assert random_shares(2, 4).tolist() == [[0.25] * 4] * 2


def test_the_oracle_takes_the_cheapest_success_else_the_cheapest_model() -> None:
    success = np.array([[0.0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 1, 1]])
    cost = np.array([[1.0, 2, 3, 4], [1, 2, 3, 4], [1, 2, 5, 4]])
    assert oracle(FOUR, success, cost).tolist() == [1, 0, 3]


def test_the_oracle_falls_back_on_training_costs() -> None:
    assert oracle(FOUR, np.array([[0.0, 0, 1, 1]]), np.full((1, 4), NAN)).tolist() == [2]


def test_only_the_oracle_looks_at_the_evaluated_outcomes() -> None:
    rng = np.random.default_rng(0)
    texts, tasks, cost = ["hi", HARD, MIDDLE], ["easy", "hard", None], rng.random((3, 2))
    one, other = (
        baselines_on(by_task(), texts=texts, task_types=tasks, success=outcome, cost=cost).choices
        for outcome in (np.zeros((3, 2)), np.ones((3, 2)))
    )
    assert [name for name in one if not (one[name] == other[name]).all()] == [ORACLE]


def test_a_log_without_task_types_has_no_mean_per_task_type() -> None:
    found = baselines_on(FOUR, texts=["hi"], task_types=[None], success=np.ones((1, 4)), cost=np.ones((1, 4)))
    assert TASK_TYPE not in found.choices
    assert {BEST_SINGLE, HEURISTIC} <= set(found.choices)


def test_without_any_cost_the_table_expects_none() -> None:
    unknown = replace(by_task(), cost=np.full(2, NAN), task_cost=np.full((2, 2), NAN))
    outcome = np.ones((1, 2))
    found = baselines_on(unknown, texts=["hi"], task_types=["hard"], success=outcome, cost=outcome)
    assert np.isnan(found.task_cost).all()
    assert found.choices[TASK_TYPE].tolist() == [1]
