from __future__ import annotations

import json

import numpy as np
import pytest

from tests.training.logs import made_table
from training.prompts.labels import Status, cheapest_success, data_report, dominated_models, rarely_shared

NAN = float("nan")
PRICES = [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("success", "label", "status"),
    [
        pytest.param([1, 1, 1], 0, Status.EXACT, id="the cheapest succeeded"),
        pytest.param([0, 1, NAN], 1, Status.EXACT, id="all cheaper failed"),
        pytest.param([NAN, 1, 0], 1, Status.UPPER_BOUND, id="a cheaper one is unknown"),
        pytest.param([0, 0, NAN], -1, Status.NONE_SUCCEEDED, id="none succeeded"),
        pytest.param([NAN, NAN, NAN], -1, Status.UNOBSERVED, id="nothing known"),
        pytest.param([0.5, 1, 1], 0, Status.EXACT, id="half of the calls is a success"),
        pytest.param([0.4, 1, 1], 1, Status.EXACT, id="less than half is none"),
    ],
)
def test_the_label_is_the_cheapest_success(success: list[float], label: int, status: Status) -> None:
    labels = cheapest_success(made_table([success], [PRICES]))
    assert (labels.label.tolist(), labels.status.tolist()) == ([label], [status])


def test_the_prompts_own_cost_decides_before_the_mean() -> None:
    table = made_table([[1, 1], [1, 1]], [[5.0, 2.0], [1.0, 9.0]])
    assert cheapest_success(table).label.tolist() == [1, 0]


def test_a_model_without_a_cost_on_the_prompt_has_its_mean() -> None:
    table = made_table([[1, 1], [1, 1]], [[NAN, 2.0], [1.0, 3.0]])
    assert cheapest_success(table).label.tolist() == [0, 0]


def test_of_equal_costs_the_more_reliable_model_is_taken() -> None:
    table = made_table([[1, 1], [0, 1]], [[1.0, 1.0], [1.0, 1.0]])
    assert cheapest_success(table).label.tolist() == [1, 1]


def test_without_any_cost_the_most_reliable_success_is_a_bound() -> None:
    labels = cheapest_success(made_table([[1, 1], [0, 1]], [[NAN, NAN], [NAN, NAN]]))
    assert labels.costs == "unknown"
    assert labels.label.tolist() == [1, 1]
    assert labels.status.tolist() == [Status.UPPER_BOUND, Status.EXACT]


def test_a_model_of_unknown_cost_counts_as_dear_but_may_be_cheaper() -> None:
    labels = cheapest_success(made_table([[1, 1], [1, 0]], [[1.0, NAN], [1.0, NAN]]))
    assert labels.costs == "partly"
    assert labels.label.tolist() == [0, 0]
    assert labels.status.tolist() == [Status.UPPER_BOUND, Status.EXACT]


def test_a_dearer_and_worse_model_is_dominated_with_its_difference() -> None:
    dominated = dominated_models(made_table([[1, 0], [1, 1], [1, 0]] * 20, [[1.0, 2.0]] * 60))
    assert list(dominated) == ["b"]
    assert (dominated["b"]["by"], dominated["b"]["prompts"], dominated["b"]["cost_difference_usd"]) == (
        "a",
        60,
        -1.0,
    )
    assert (
        dominated["b"]["success_interval"][0] < dominated["b"]["success_difference"] == pytest.approx(2 / 3)
    )


def test_only_prompts_that_both_answered_count() -> None:
    success = [[1.0, 0.0]] * 40 + [[NAN, 1.0], [0.0, NAN]]
    assert dominated_models(made_table(success, [[1.0, 2.0]] * 42))["b"]["prompts"] == 40


@pytest.mark.parametrize(
    ("success", "cost"),
    [
        pytest.param([[1, 1], [0, 1]] * 40, [[1.0, 2.0]] * 80, id="dearer but better"),
        pytest.param([[1, 1], [0, 0]] * 400, [[1.0, 1.0]] * 800, id="the same"),
        pytest.param([[1, 0]], [[1.0, 2.0]], id="one prompt only"),
        pytest.param([[1, 0], [1, 0]] * 40, [[NAN, NAN]] * 80, id="no costs"),
        pytest.param([[1, 0]] * 29, [[1.0, 2.0]] * 29, id="29 prompts"),
        pytest.param([[1, 1]] * 100, [[1.0, 2.0]] * 100, id="the same success, on too few to show it"),
        pytest.param([[1, 0], [0, 1]] * 40, [[1.0, 2.0]] * 80, id="success may be lower"),
        pytest.param([[1, 0]] * 40, [[1.0, 2.0], [2.0, 1.0]] * 20, id="better, but may be dearer"),
    ],
)
def test_nothing_else_is_called_dominated(success: list[list[float]], cost: list[list[float]]) -> None:
    assert dominated_models(made_table(success, cost)) == {}


def test_prompts_of_one_session_are_one_observation() -> None:
    sessions = [row % 2 for row in range(60)]
    assert dominated_models(made_table([[1, 0]] * 60, [[1.0, 2.0]] * 60, sessions)) == {}


@pytest.mark.parametrize("prompts", [30, 100, 300])
@pytest.mark.parametrize("models", [2, 4, 6])
def test_models_that_are_alike_are_hardly_ever_called_dominated(models: int, prompts: int) -> None:
    rng = np.random.default_rng(prompts + models)
    wrong = 0
    for _ in range(50):
        success = rng.integers(0, 2, (prompts, models)).astype(float).tolist()
        cost = rng.lognormal(size=(prompts, models)).tolist()
        wrong += bool(dominated_models(made_table(success, cost)))
    assert wrong <= 5


def test_pairs_with_too_few_prompts_in_common_are_listed() -> None:
    table = made_table([[1, 1, NAN]] * 40 + [[NAN, 1, 1]] * 10, [[1.0, 2.0, 3.0]] * 50)
    assert rarely_shared(table) == [
        {"models": ["b", "c"], "prompts": 10},
        {"models": ["a", "c"], "prompts": 0},
    ]


def test_linked_prompts_widen_the_interval() -> None:
    outcomes = np.random.default_rng(0).integers(0, 2, 40)
    success = [[1.0, float(outcome)] for outcome in outcomes for _ in range(5)]
    cost = [[1.0, 2.0]] * len(success)
    alone = dominated_models(made_table(success, cost))["b"]["success_interval"]
    linked = dominated_models(made_table(success, cost, [row // 5 for row in range(200)]))["b"][
        "success_interval"
    ]
    assert linked[1] - linked[0] > 1.5 * (alone[1] - alone[0])


def test_the_report_is_plain_json_and_adds_up() -> None:
    table = made_table([[1, 1], [0, NAN], [NAN, NAN]], [[1.0, 2.0], [1.0, NAN], [NAN, NAN]])
    report = json.loads(json.dumps(data_report(table, cheapest_success(table)), allow_nan=False))
    assert sum(report["label_status"].values()) == report["prompts"] == 3
    assert report["task_types"][""] == report["label_status"]
    assert report["models"]["a"]["success_rate"] == 0.5
    assert report["models"]["b"]["labels"] == {"exact": 0, "upper bound": 0}
    assert report["prompts_with_every_outcome"] == 1
