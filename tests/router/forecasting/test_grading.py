from __future__ import annotations

import numpy as np
import pytest

from router.forecasting.grading import FARTHEST, Answers, Grader

GRADER = Grader(
    centre=np.array([1.0]),
    spread=np.array([2.0]),
    models=("a", "b"),
    task_types=("t",),
    weights=np.array([0.5, 1.0, 0.0, -1.0, 2.0]),
    calibration=np.array([0.0, 1.0, 0.0, 0.0, 0.0, 0.0]),
)


def log_odds_of(number: float, model: str | None = None, task_type: str | None = None) -> float:
    answers = Answers(numbers=np.array([[number]]), models=[model], task_types=[task_type])
    chance = GRADER(answers)[0]
    return float(np.log(chance / (1 - chance)))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param((1.0,), 0.5, id="the mean number"),
        pytest.param((3.0,), 1.5, id="a spread above it"),
        pytest.param((1e9,), 0.5 + FARTHEST, id="far above it"),
        pytest.param((1.0, "b"), -0.5, id="a model's level"),
        pytest.param((1.0, "c", "t"), 2.5, id="an unknown model, a task type's level"),
    ],
)
def test_a_grade_weighs_the_numbers_the_model_and_the_task_type(given: tuple[float], expected: float) -> None:
    assert log_odds_of(*given) == pytest.approx(expected)


def test_rows_of_answers_keep_their_names() -> None:
    answers = Answers(numbers=np.arange(3.0)[:, None], models=["a", "b", "c"], task_types=[None, "t", "u"])
    some = answers.rows(np.array([2, 0]))
    assert (some.numbers[:, 0].tolist(), some.models, some.task_types) == (
        [2.0, 0.0],
        ["c", "a"],
        ["u", None],
    )
