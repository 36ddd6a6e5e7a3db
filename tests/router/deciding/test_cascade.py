from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from router.deciding.cascade import (
    CASCADE_FILE,
    Branch,
    Cascade,
    advantages,
    is_checked,
    moved,
    second_model,
)
from router.errors import DamagedArtifact
from router.forecasting.answer_numbers import Answer, answer_numbers
from router.forecasting.grading import Grader
from router.loading.artifact import load_arrays, save_arrays
from router.records import Decision, FloatArray, Json, Request

MODELS = ("cheap", "strong", "other")
NUMBERS = ("json broken", "no text")
TOOLS = [{"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}]


def grader(models: Sequence[str] = MODELS, broken: float = -4.0) -> Grader:
    """An answer in broken JSON is most likely wrong, any other as likely good as forecast."""
    weights = np.concatenate([[0.0, 1.0, broken, 0.0], np.zeros(len(models))])
    return Grader(
        centre=np.zeros(3),
        spread=np.ones(3),
        models=tuple(models),
        task_types=(),
        weights=weights,
        calibration=np.concatenate([[0.0, 1.0], np.zeros(2 * len(models))]),
    )


def branch(**fields: float) -> Branch:
    return Branch(**{"grader": grader(), "follow": 0.5, "threshold": 0.05, **fields})  # type: ignore[arg-type]


def stored(cascade: Cascade) -> dict[str, Json]:
    return {
        "numbers": list(cascade.numbers),
        "task_types": [
            {
                "task_type": name,
                "models": list(one.grader.models),
                "follow": one.follow,
                "threshold": one.threshold,
            }
            for name, one in cascade.branches.items()
        ],
    }


def decision(
    chances: Sequence[float] = (0.7, 0.9, 0.8), costs: Sequence[float] = (0.001, 0.01, 0.02)
) -> Decision:
    return Decision(
        model="cheap",
        source="learned",
        confidence=chances[0],
        success_probability=dict(zip(MODELS, chances, strict=True)),
        expected_cost_usd=dict(zip(MODELS, costs, strict=True)),
        reason="",
        policy_version="1",
        ranking=MODELS,
    )


def row(text: str) -> FloatArray:
    cascade = Cascade(numbers=NUMBERS, branches={})
    return cascade.row(answer_numbers(Request.of("x"), Answer(text=text, calls=())))


def test_a_cascade_reads_as_it_was_written(tmp_path: Path) -> None:
    cascade = Cascade(numbers=NUMBERS, branches={"": branch(), "extract": branch(threshold=0.2)})
    cascade.save(tmp_path)
    read = Cascade.load(tmp_path, stored(cascade))
    assert read is not None
    assert list(read.branches) == ["", "extract"]
    given = read.branches["extract"]
    assert (given.follow, given.threshold) == (0.5, 0.2)
    assert given.grade("cheap", 0.7, row("{")) == branch().grade("cheap", 0.7, row("{"))


def test_a_cascade_with_numbers_that_this_code_lacks_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cascade = Cascade(numbers=("json broken", "of tomorrow"), branches={"": branch()})
    cascade.save(tmp_path)
    with caplog.at_level(logging.WARNING):
        assert Cascade.load(tmp_path, stored(cascade)) is None
    assert "no cascade: it needs the number 'of tomorrow'" in caplog.text


@pytest.mark.parametrize(
    "wrong", [np.zeros(7), np.full(4 + len(MODELS), np.nan)], ids=["shape", "no numbers"]
)
def test_a_grader_of_wrong_arrays_is_damaged(tmp_path: Path, wrong: FloatArray) -> None:
    cascade = Cascade(numbers=NUMBERS, branches={"": branch()})
    cascade.save(tmp_path)
    arrays = dict(load_arrays(tmp_path / CASCADE_FILE))
    save_arrays(tmp_path / CASCADE_FILE, {**arrays, "0.weights": wrong if len(wrong) != 7 else wrong[:5]})
    with pytest.raises(DamagedArtifact, match="the cascade's weights are no 7 numbers"):
        Cascade.load(tmp_path, stored(cascade))


@pytest.mark.parametrize(
    ("fields", "checked"),
    [
        pytest.param({}, False, id="a text"),
        pytest.param({"tools": TOOLS}, True, id="tools"),
        pytest.param({"response_format": {"type": "json_object"}}, True, id="JSON"),
        pytest.param({"response_format": {"type": "text"}}, False, id="text asked for"),
        pytest.param({"tools": TOOLS, "parameters": {"stream": True}}, False, id="a stream"),
        pytest.param({"tools": TOOLS, "parameters": {"stream": False}}, True, id="no stream"),
    ],
)
def test_answers_with_tools_or_in_a_json_form_are_checked(fields: Mapping[str, Json], checked: bool) -> None:
    assert is_checked(Request.of("x", **fields)) is checked


def test_a_branch_is_that_of_the_task_type() -> None:
    cascade = Cascade(numbers=NUMBERS, branches={"extract": branch()})
    assert cascade.branch(Request.of("x", tools=TOOLS, task_type="extract")) is not None
    assert cascade.branch(Request.of("x", tools=TOOLS)) is None
    assert cascade.branch(Request.of("x", task_type="extract")) is None


def test_other_chances_follow_the_surprise_as_far_as_told() -> None:
    chance, grade, forecast = np.array([[0.9, 0.5]]), np.array([0.2]), np.array([0.7])
    assert moved(chance, grade, forecast, 0.0) == pytest.approx(chance)
    assert (moved(chance, grade, forecast, 0.5) < chance).all()
    assert moved(np.array([[0.7]]), grade, forecast, 1.0) == pytest.approx(0.2)


def test_an_advantage_is_the_gain_less_the_cost() -> None:
    worth = advantages(
        np.array([[0.9, 0.5]]), np.array([[0.1, 0.0]]), np.array([0.4]), np.array([0.4]), follow=1.0
    )
    assert worth == pytest.approx(np.array([[0.4, 0.1]]))


def test_a_good_answer_is_kept_and_a_bad_one_followed_by_the_model_worth_most() -> None:
    good = branch().grade("cheap", 0.7, row('{"a": 1}'))
    bad = branch().grade("cheap", 0.7, row('{"a": '))
    assert good == pytest.approx(0.7)
    assert bad < 0.1
    assert second_model(branch(), decision((0.7, 0.72, 0.71)), good, MODELS[1:], weight=0.0) is None
    second = second_model(branch(), decision(), bad, MODELS[1:], weight=10.0)
    assert second is not None
    assert second.model == "strong"
    assert second.advantage > 0.05


@pytest.mark.parametrize(
    ("candidates", "weight"),
    [pytest.param((), 0.0, id="no model left"), pytest.param(MODELS[1:], math.inf, id="only cost counts"),
     pytest.param(MODELS[1:], 1000.0, id="too dear")],
)  # fmt: skip
def test_a_bad_answer_is_kept_where_no_other_is_worth_its_cost(
    candidates: Sequence[str], weight: float
) -> None:
    assert second_model(branch(), decision(), 0.05, candidates, weight) is None


def test_a_model_of_unknown_cost_counts_as_the_dearest() -> None:
    unknown = replace(decision(), expected_cost_usd={"cheap": 0.001, "strong": math.nan, "other": 0.02})
    second = second_model(branch(), unknown, 0.05, MODELS[1:], weight=1.0)
    assert second is not None
    assert second.model == "strong"
