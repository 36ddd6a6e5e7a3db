from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from router.deciding.cascade import Cascade
from router.deciding.policy import Policy
from router.forecasting.answer_numbers import number_names
from router.records import Request
from router.settings.sections import Config
from training.learning.cascade import (
    CHECKED_ELSEWHERE,
    LEAST_PROMPTS,
    LearnedCascade,
    learn_cascade,
    with_cascade,
)
from training.learning.thresholds import Backtest
from training.prompts.answers import AnswerTable

MODELS = ("cheap", "strong")
FORM = {"type": "json_object"}


def learned(
    prompts: int = 600, *, told: bool = True, answered: bool = True, form: object = FORM
) -> LearnedCascade:
    """A cheap model that is wrong on three prompts of ten, which its answers show if `told`."""
    draw = np.random.default_rng(0)
    wrong = draw.random(prompts) < 0.3
    success = np.column_stack([~wrong, draw.random(prompts) < 0.95]).astype(np.float64)
    numbers = draw.normal(size=(2 * prompts, len(number_names())))
    if told:
        numbers[:prompts, number_names().index("json broken")] = wrong * 3.0
    backtest = Backtest(
        rows=np.arange(prompts),
        probability=np.tile([0.7, 0.95], (prompts, 1)),
        expected_cost=np.tile([0.001, 0.01], (prompts, 1)),
        success=success,
        cost=np.tile([0.001, 0.01], (prompts, 1)),
        known=np.ones((prompts, 2), dtype=np.bool_),
    )
    table = SimpleNamespace(
        requests=[Request.of("x", response_format=form, task_type="extraction")] * prompts,
        groups=np.arange(prompts),
        models=MODELS,
    )
    at = np.column_stack([np.arange(prompts), prompts + np.arange(prompts)])
    policy = Policy(weight=30.0, least_confidence=0.0, least_familiarity=-1.0, best_single="strong")
    fitted: Any = SimpleNamespace(backtest=backtest, rows=np.arange(prompts), policy=policy)
    material: Any = SimpleNamespace(table=table, config=Config())
    return learn_cascade(
        fitted,
        material,
        AnswerTable(at=at if answered else at * 0 - 1, numbers=numbers, seconds=numbers[:, 0]),
    )


def test_a_task_type_whose_answers_show_what_is_wrong_pays() -> None:
    found = learned()
    (trial,) = found.trials
    assert trial.pays
    assert 0.2 < trial.asked < 0.4
    assert trial.success > 0.2
    assert trial.cost_usd == pytest.approx(0.01 * trial.asked)
    assert isinstance(found.cascade, Cascade)
    assert found.cascade.numbers == tuple(n for n in number_names() if n not in CHECKED_ELSEWHERE)
    assert found.sentence.startswith("training.cascade: extraction will gain (extraction +")
    entry = found.to_json()
    assert entry is not None
    assert entry["task_types"][0]["models"] == ["cheap", "strong"]


def test_a_task_type_whose_answers_show_nothing_does_not() -> None:
    found = learned(told=False)
    assert (found.cascade, found.to_json()) == (None, None)
    assert "no task type gains for sure" in found.sentence


@pytest.mark.parametrize(
    "case",
    [{"prompts": LEAST_PROMPTS - 1}, {"answered": False}, {"form": None}],
    ids=["few prompts", "no answers", "no form"],
)
def test_without_answers_to_judge_on_it_can_not_tell(case: dict[str, Any]) -> None:
    found = learned(**case)
    assert found.trials == []
    assert "can't tell" in found.sentence


def test_a_router_without_answers_stays_as_it_is() -> None:
    fitted: Any = object()
    nothing: Any = None
    assert with_cascade(fitted, nothing, None) is fitted
