from __future__ import annotations

import pytest

from router.deciding.rules import complexity_score, heuristic_model, rule_choice, whole_text
from router.records import Request
from router.settings.sections import HeuristicModels, Rules

MODELS = HeuristicModels(strong="strong", middle="middle", cheap="cheap")
LONG = "x" * 2001
LINES = "\n" * 11


@pytest.mark.parametrize(
    ("text", "score"),
    [
        pytest.param("", 0.0, id="empty"),
        pytest.param("x" * 2000, 0.0, id="2000 characters"),
        pytest.param(LONG, 0.25, id="2001 characters"),
        pytest.param("\n" * 10, 0.0, id="10 newlines"),
        pytest.param(LINES, 0.25, id="11 newlines"),
        pytest.param("``", 0.0, id="two backticks"),
        pytest.param("```", 0.25, id="a code fence"),
        pytest.param("implement", 0.25, id="implement"),
        pytest.param("please refactor it", 0.25, id="refactor"),
        pytest.param("ANALYZE", 0.25, id="capitals"),
        pytest.param("Reimplemented", 0.25, id="inside a word"),
        pytest.param("analyse", 0.0, id="British spelling"),
        pytest.param("implement, refactor, analyze", 0.25, id="all keywords count once"),
        pytest.param("``` implement", 0.5, id="two checks"),
        pytest.param(f"``` implement{LINES}", 0.75, id="three checks"),
        pytest.param(f"``` implement{LINES}{LONG}", 1.0, id="four checks"),
    ],
)
def test_the_score_is_the_share_of_the_four_checks_that_hold(text: str, score: float) -> None:
    assert complexity_score(text) == score


@pytest.mark.parametrize(
    ("text", "model"),
    [
        pytest.param("", "cheap", id="0"),
        pytest.param("```", "cheap", id="0.25"),
        pytest.param("``` implement", "middle", id="0.5"),
        pytest.param(f"``` implement{LINES}", "strong", id="0.75"),
        pytest.param(f"``` implement{LINES}{LONG}", "strong", id="1"),
    ],
)
def test_the_strong_model_from_075_the_middle_one_from_04_else_the_cheap_one(text: str, model: str) -> None:
    assert heuristic_model(text, MODELS) == model


def test_the_heuristic_reads_the_text_of_all_messages() -> None:
    messages = [{"role": "system", "content": "a"}, {"role": "user", "content": "b"}]
    assert whole_text(Request.of(messages)) == "a\nb"


RULES = Rules(default="default", task_types={"support": "helper"})
WITH_SCORE = Rules(default="default", task_types={"support": "helper"}, heuristic=MODELS)
ALL = ("helper", "default", "best", "strong", "middle", "cheap")


@pytest.mark.parametrize(
    ("rules", "task_type", "allowed", "choice"),
    [
        pytest.param(RULES, "support", ALL, ("helper", "task type 'support'"), id="the task type's model"),
        pytest.param(RULES, "other", ALL, ("default", "default"), id="a task type the table lacks"),
        pytest.param(RULES, None, ALL, ("default", "default"), id="no task type"),
        pytest.param(Rules(), None, ALL, ("best", "default"), id="no table at all"),
        pytest.param(WITH_SCORE, "support", ALL, ("helper", "task type 'support'"), id="type before score"),
        pytest.param(WITH_SCORE, None, ALL, ("cheap", "complexity score"), id="score before default"),
        pytest.param(WITH_SCORE, "support", ("default",), ("default", "default"), id="the one still allowed"),
        pytest.param(RULES, "support", ("other",), None, id="no named model is allowed"),
        pytest.param(RULES, "support", (), None, id="nothing is allowed"),
    ],
)
def test_the_first_rule_whose_model_is_allowed_decides(
    rules: Rules, task_type: str | None, allowed: tuple[str, ...], choice: tuple[str, str] | None
) -> None:
    assert rule_choice(Request.of("hi", task_type=task_type), rules, "best", allowed) == choice
