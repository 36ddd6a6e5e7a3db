from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from router.deciding.cascade import Branch, Cascade
from router.forecasting.answer_numbers import number_names
from router.forecasting.grading import Grader
from router.records import Request
from tests.router.deciding.test_cascade import stored
from training.comparing.evaluated import CascadeResult
from training.comparing.measuring.cascading import cascade_on, cascade_sentence
from training.prompts.answers import AnswerTable

N = 200
BROKEN = np.arange(N) % 4 == 0


def judged(
    folder: Path, *, answered: bool = True, study: object = None, timed: bool = True
) -> CascadeResult | None:
    """A router that always takes the cheap model, a quarter of whose answers are broken and wrong."""
    grader = Grader(
        centre=np.zeros(2),
        spread=np.ones(2),
        models=("cheap", "strong"),
        task_types=(),
        weights=np.array([3.0, 0.0, -9.0, 0.0, 0.0]),
        calibration=np.array([0.0, 1.0, 0.0, 0.0, 0.0, 0.0]),
    )
    branch = Branch(grader=grader, follow=0.0, threshold=0.05)
    cascade = Cascade(numbers=("json broken",), branches={"": branch})
    cascade.save(folder)
    version: Any = SimpleNamespace(
        folder=folder,
        manifest={"cascade": stored(cascade)},
        policy=SimpleNamespace(weight=10.0),
        typed=lambda request: request,
    )
    request = Request.of("x", response_format={"type": "json_object"})
    evaluated: Any = SimpleNamespace(
        requests=[request] * N,
        source=["learned"] * N,
        choice=np.zeros(N, dtype=np.int64),
        probability=np.tile([0.75, 0.9], (N, 1)),
        expected_cost=np.tile([0.001, 0.01], (N, 1)),
        success=np.column_stack([~BROKEN, np.ones(N)]).astype(np.float64),
        cost=np.tile([0.001, 0.01], (N, 1)),
        traffic=np.ones(N),
        clusters=np.arange(N),
        models=("cheap", "strong"),
        study=study,
    )
    numbers = np.zeros((2 * N, len(number_names())))
    numbers[:N, number_names().index("json broken")] = BROKEN
    at = np.column_stack([np.arange(N), N + np.arange(N)]) if answered else np.full((N, 2), -1)
    seconds = np.repeat([1.0, 3.0], N) if timed else np.full(2 * N, np.nan)
    return cascade_on(evaluated, version, AnswerTable(at=at, numbers=numbers, seconds=seconds))


def test_both_costs_and_both_waits_count(tmp_path: Path) -> None:
    result = judged(tmp_path)
    assert result is not None
    assert (result.prompts, result.asked) == (N, 0.25)
    assert result.success_change.value == pytest.approx(0.25)
    assert result.cost_change_usd.value == pytest.approx(0.25 * 0.01)
    assert result.latency_change_s.value == pytest.approx(0.25 * 3.0)
    assert result.success_change.low > 0
    assert "it would ask a second model for 25.0 %: success +25.0 points" in cascade_sentence(result)


def test_waits_that_are_not_logged_are_unknown(tmp_path: Path) -> None:
    result = judged(tmp_path, timed=False)
    assert result is not None
    assert "the mean wait longer by an unknown time" in cascade_sentence(result)


@pytest.mark.parametrize("case", [{"answered": False}, {"study": object()}], ids=["no answers", "off-policy"])
def test_without_the_answers_or_the_outcomes_it_can_not_tell(tmp_path: Path, case: dict[str, Any]) -> None:
    result = judged(tmp_path, **case)
    assert result is not None
    assert "can't tell" in cascade_sentence(result)


def test_a_router_without_a_cascade_has_no_result(tmp_path: Path) -> None:
    nothing: Any = None
    version: Any = SimpleNamespace(manifest={}, folder=tmp_path)
    assert cascade_on(nothing, version, nothing) is None
