from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from router.records import Json
from router.settings.sections import Config, Training
from router.settings.yaml_file import parse_config
from tests.training.inspecting.logs import inspected, many
from training.inspecting.gaps import (
    LEAST_CONSTANT,
    LEAST_OUTCOMES,
    LogReport,
    missing_for_a_router,
    readiness_of,
)
from training.recommending import LEAST_JUDGED

WHOLE: dict[str, Any] = {
    "task_type": "chat", "propensity": 0.5, "session_id": "s", "cost_usd": 0.1, "input_tokens": 1,
    "output_tokens": 1,
}  # fmt: skip


def whole_log() -> list[dict[str, Any]]:
    """A log that lacks nothing."""
    rows = [row for model in ("small", "large") for row in many(600, **WHOLE, model=model)]
    return [row | {"time": f"2026-01-{1 + place % 20:02}T00:00:00Z"} for place, row in enumerate(rows)]


def test_a_log_that_lacks_nothing_has_no_sentence(tmp_path: Path) -> None:
    assert missing_for_a_router(inspected(tmp_path, *whole_log())) == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        pytest.param({"model": "small"}, "Only one model", id="one model"),
        pytest.param({"success": None}, "None of the 1,200 calls has an outcome", id="no outcomes"),
        pytest.param({"success": True}, "Outcomes that never differ", id="successes only"),
        pytest.param({"task_type": None}, "have no task type", id="no task types"),
        pytest.param({"session_id": None}, "No call names its session", id="no sessions"),
        pytest.param({"time": None}, "No call has a time", id="no times"),
        pytest.param({"time": "2026-01-01T00:00:00Z"}, "of 1 day only", id="one day"),
        pytest.param({"time": "2999-01-01T00:00:00Z"}, "can't be right: 2999-01-01 (1,200", id="future"),
        pytest.param({"time": "1970-01-01T00:00:09Z"}, "can't be right: 1970-01-01 (1,200", id="epoch"),
        pytest.param({"truncated": True}, "100.0 % of the calls have a text that was cut", id="cut texts"),
        pytest.param({"cost_usd": None}, "No cost is logged for", id="no costs"),
        pytest.param({"score": 0.0}, "contradicts their score", id="success against score"),
    ],
)
def test_what_is_missing_is_said(tmp_path: Path, change: dict[str, Any], sentence: str) -> None:
    rows = [row | change for row in whole_log()]
    missing = missing_for_a_router(inspected(tmp_path, *rows), ["my calls.db", "b.jsonl"])
    assert any(sentence in one for one in missing)
    for one in missing:
        assert re.search(r"`pointsman (inspect|import|replay) 'my calls\.db' b\.jsonl( [^`]+)?`$", one)


def test_models_with_few_outcomes_are_named_with_their_number(tmp_path: Path) -> None:
    rows = [*whole_log(), *many(3, **WHOLE, model="rare")]
    (sentence,) = (one for one in missing_for_a_router(inspected(tmp_path, *rows)) if "rare" in one)
    assert sentence.startswith(f"Fewer than {LEAST_OUTCOMES} known outcomes: rare (3)")


def test_models_without_a_prompt_in_common_are_named(tmp_path: Path) -> None:
    rows = [{"prompt": f"{model} {word}", "model": model} for model in ("x", "y") for word in ("one", "two")]
    found = missing_for_a_router(inspected(tmp_path, *rows))
    assert any("x and y" in one and "no prompt in common" in one for one in found)
    assert any("No call has a `propensity`" in one for one in found)


def test_a_cost_off_the_list_price_is_named(tmp_path: Path) -> None:
    rows = many(5, model="gpt-4o", cost_usd=1.0, input_tokens=1000, output_tokens=100)
    assert any(
        "don't match" in one and "gpt-4o" in one for one in missing_for_a_router(inspected(tmp_path, *rows))
    )


PRICE = {"price": {"input_usd_per_million": 1.0, "output_usd_per_million": 1.0}}


@pytest.mark.parametrize(
    ("model", "costs", "settings", "sentence"),
    [
        pytest.param("ours", [None], {}, "for ours, and LiteLLM lists no price: give one", id="unpriced"),
        pytest.param("ours", [None], {"ours": PRICE}, None, id="priced by the settings"),
        pytest.param(
            "gpt-4o", [None], {}, "for gpt-4o: LiteLLM's list price counts", id="priced by the list"
        ),
        pytest.param("gpt-4o", [0.0035, None], {}, "leave out: gpt-4o (50.0 %)", id="half of them unknown"),
        pytest.param("gpt-4o", [0.0035] * 9 + [None], {}, None, id="few of them unknown"),
        pytest.param(
            "gpt-4o", [0.0035, 0.007], {}, "list price: gpt-4o (1.50 times)", id="a price that moved"
        ),
    ],
)
def test_unpriced_models_unknown_costs_and_prices_that_moved_are_said(
    tmp_path: Path,
    model: str,
    costs: list[float | None],
    settings: dict[str, Json],
    sentence: str | None,
) -> None:
    fields = {**WHOLE, "model": model, "input_tokens": 1000, "output_tokens": 100}
    rows = [row for usd in costs for row in many(10, **{**fields, "cost_usd": usd})]
    rows = [row | {"prompt": f"number {place}"} for place, row in enumerate(rows)]
    config = Config.model_validate({"models": settings})
    found = [
        one
        for one in missing_for_a_router(inspected(tmp_path, *rows, config=config))
        if "cost" in one.lower()
    ]
    assert len(found) == (sentence is not None)
    assert all(sentence in one for one in found if sentence)


@pytest.mark.parametrize(
    ("times", "words"),
    [
        (100, "They look like cents: `cost_usd` is in dollars"),
        (1e6, "look like millionths of a dollar"),
        (7, "Discounts"),
    ],
)
def test_costs_in_another_unit_are_named_with_it(tmp_path: Path, times: float, words: str) -> None:
    listed = (1000 * 2.5 + 100 * 10) / 1e6
    rows = many(5, model="gpt-4o", cost_usd=listed * times, input_tokens=1000, output_tokens=100)
    (sentence,) = (one for one in missing_for_a_router(inspected(tmp_path, *rows)) if "don't match" in one)
    assert words in sentence


def test_a_log_too_small_for_a_router_is_sent_to_rules_and_not_to_a_replay(tmp_path: Path) -> None:
    rows = [row for model in ("small", "large") for row in many(10, **WHOLE, model=model)]
    report = LogReport.of(inspected(tmp_path, *rows), Training(), ["calls.db"])
    assert report.missing[0].startswith("Too few outcomes to train: `pointsman init large small` makes")
    assert not any("replay" in one for one in [*report.missing, report.readiness.sentence])


def test_a_few_equal_outcomes_are_no_gap(tmp_path: Path) -> None:
    few = missing_for_a_router(inspected(tmp_path, *many(LEAST_CONSTANT - 1, success=True)))
    many_equal = missing_for_a_router(inspected(tmp_path, *many(LEAST_CONSTANT, success=True)))
    assert [any("never differ" in one for one in found) for found in (few, many_equal)] == [False, True]


def test_rows_that_teach_nothing_are_named_by_reason(tmp_path: Path) -> None:
    found = missing_for_a_router(inspected(tmp_path, b"{bad", *many(2)))
    assert any("33.3 % of the rows can't be read" in one for one in found)


def test_rows_set_apart_are_named_by_reason(tmp_path: Path) -> None:
    found = inspected(tmp_path, *many(2))
    reading = replace(found.reading, rows=4, set_apart={"redacted": 2})
    sentences = missing_for_a_router(replace(found, reading=reading))
    assert any("50.0 % of the rows are nothing to learn from: redacted (2)" in one for one in sentences)


def test_rules_that_disagree_are_named(tmp_path: Path) -> None:
    config = parse_config("outcomes: {rules: [{feedback: {}}, {evaluation: {min_score: 0.7}}]}")
    found = inspected(tmp_path, *many(4, score=1.0), config=config)
    (sentence,) = (one for one in missing_for_a_router(found) if "outcome rules" in one)
    assert sentence.startswith("On 2 calls two outcome rules disagree: 1. feedback over 2. ev")
    assert not any("contradicts their score" in one for one in missing_for_a_router(found))


def test_a_command_on_many_files_names_none_and_no_password(tmp_path: Path) -> None:
    found = inspected(tmp_path, *many(6))
    assert all("CALLS" in one for one in missing_for_a_router(found, ["x.db"] * 9))
    assert "secret" not in str(missing_for_a_router(found, ["postgresql://ann:secret@db/calls"]))


@pytest.mark.parametrize(
    ("outcomes", "can_train", "can_judge"),
    [(10, False, False), (60, True, False), (600, True, True)],
)
def test_a_log_can_train_before_it_can_judge(
    tmp_path: Path, outcomes: int, can_train: bool, can_judge: bool
) -> None:
    rows = [row for model in ("small", "large") for row in many(outcomes, **WHOLE, model=model)]
    ready = readiness_of(inspected(tmp_path, *rows), Training(test_share=0.4))
    assert (ready.can_train, ready.can_judge) == (can_train, can_judge)
    assert ready.outcomes_missing == max(2 * LEAST_JUDGED - 0.8 * outcomes // 10 * 10, 0)
    assert ready.sentence.startswith(f"Can train a router: {'yes' if can_train else 'no'}")


@pytest.mark.parametrize("success", [True, False])
def test_outcomes_that_are_all_alike_are_said_first(tmp_path: Path, success: bool) -> None:
    rows = [row for model in ("small", "large") for row in many(60, **WHOLE, model=model, success=success)]
    report = LogReport.of(inspected(tmp_path, *rows), Training())
    assert report.readiness.sentence.startswith("Can train a router: yes, on 2 models, but all outcomes are")


@pytest.mark.parametrize(("prompts", "offered"), [(150, False), (600, True)])
def test_a_replay_to_judge_is_offered_where_training_leaves_out_enough_prompts(
    tmp_path: Path, prompts: int, offered: bool
) -> None:
    rows = many(prompts, **WHOLE, model="small") + many(60, **WHOLE, model="large")
    sentence = readiness_of(inspected(tmp_path, *rows), Training(test_share=0.4)).sentence
    assert ("or a replay of 200 prompts" in sentence) is offered


def test_rows_that_can_not_be_read_come_first_with_the_reason(tmp_path: Path) -> None:
    found = inspected(tmp_path, *many(20, score=7.0), *many(20))
    assert re.match(r"50\.0 % of the rows can't be read: .*\(20\); ", missing_for_a_router(found)[0])


def test_a_name_of_any_length_leaves_the_command_on_the_screen(tmp_path: Path) -> None:
    for sentence in missing_for_a_router(inspected(tmp_path, *many(9, model="x" * 3000))):
        assert len(sentence.partition("`")[0]) < 500
