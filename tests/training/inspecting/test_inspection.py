from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from router.models.prices import listed_price
from router.settings.yaml_file import parse_config
from tests.training.inspecting.logs import inspected, many
from tests.training.logs import call

LISTED = "gpt-4o"


def test_calls_prompts_and_outcomes_are_counted_by_model(tmp_path: Path) -> None:
    rows = [call(success=True), call(success=False), call(prompt="other"), call(model="large", score=1.0)]
    small, large = inspected(tmp_path, *rows).models
    assert (small.name, small.calls, small.prompts, small.known, small.succeeded) == ("small", 3, 2, 2, 1)
    assert (large.calls, large.known, large.success) == (1, 1, 1.0)


def test_the_groups_of_every_table_add_up_to_all_calls(tmp_path: Path) -> None:
    rows = [call(task_type="chat", time="2026-01-02T03:04:05Z"), call(outcome_source="error"), call()]
    found = inspected(tmp_path, *rows)
    for groups in (found.models, found.task_types, found.days, found.sources, found.decisions):
        assert sum(group.calls for group in groups) == found.total.calls == 3


def test_days_are_those_of_utc(tmp_path: Path) -> None:
    found = inspected(tmp_path, call(time="2026-01-02T23:30:00-02:00"))
    assert [day.name for day in found.days] == ["2026-01-03"]


def test_a_success_and_a_failure_of_one_pair_are_a_conflict(tmp_path: Path) -> None:
    rows = [
        call(success=True, outcome_source="feedback"),
        call(success=False, outcome_source="evaluation"),
        call(prompt="b", success=True),
        call(prompt="b", success=True),
    ]
    found = inspected(tmp_path, *rows)
    assert (found.repeats, found.repeated, found.conflicts, found.conflicts_of_sources) == (2, 2, 1, 1)


def test_a_success_that_its_score_denies_is_counted(tmp_path: Path) -> None:
    rows = [call(success=True, score=0.0), call(success=True, score=1.0), call(success=True)]
    assert inspected(tmp_path, *rows).total.contradicting == 1


def test_a_score_is_no_outcome_where_rules_find_them_as_in_training(tmp_path: Path) -> None:
    rows = [call(score=1.0), call(prompt="other", success=True, score=0.0)]
    found = inspected(tmp_path, *rows, config=parse_config("outcomes: {rules: [{error: {}}]}"))
    assert (found.total.known, found.total.contradicting) == (0, 0)


def test_overlap_counts_prompts_that_both_models_were_tried_on(tmp_path: Path) -> None:
    rows = [call(success=True), call(model="large"), call(prompt="alone"), call(prompt="z", model="third")]
    found = inspected(tmp_path, *rows)
    assert found.same["small"] == {"small": 2, "large": 1}
    assert found.both_known["small"].get("large", 0) == 0
    assert found.several_models == 1
    assert "small" not in found.same["third"]


def test_prompts_that_open_alike_are_a_template(tmp_path: Path) -> None:
    rows = [call(prompt=f"Summarise ticket {number}", model="ab"[number % 2]) for number in range(6)]
    found = inspected(tmp_path, *rows)
    assert found.in_templates == 6
    assert found.templates[0].models == {"a": 3, "b": 3}
    assert found.alike["a"]["b"] == 3


def test_texts_are_kept_only_when_asked_for(tmp_path: Path) -> None:
    rows = [call(prompt=f"Summarise ticket {number}") for number in range(6)]
    assert "ticket" not in json.dumps(inspected(tmp_path, *rows).to_json())
    assert inspected(tmp_path, *rows, show_text=True).templates[0].opening == "summarise ticket 0"


def test_costs_are_compared_with_tokens_times_list_price(tmp_path: Path) -> None:
    price = listed_price(LISTED)
    assert price is not None
    right = 1000 * price.per_input_token + 100 * price.per_output_token
    tokens = {"model": LISTED, "input_tokens": 1000, "output_tokens": 100}
    rows = [call(**tokens, cost_usd=right), call(**tokens, cost_usd=right * 1.5), call(model=LISTED)]
    (cost,) = inspected(tmp_path, *rows).costs
    assert (cost.calls, cost.compared, cost.off) == (3, 2, 1)
    assert cost.ratio == pytest.approx(1.25)


def test_a_model_that_is_not_listed_has_no_ratio(tmp_path: Path) -> None:
    (cost,) = inspected(tmp_path, call(cost_usd=1.0, input_tokens=1, output_tokens=1)).costs
    assert not cost.listed
    assert math.isnan(cost.ratio)


def test_languages_are_those_of_the_user_s_text(tmp_path: Path) -> None:
    german = "Wie lange dauert die Lieferung der bestellten Fahrräder nach Hamburg normalerweise?"
    messages = [{"role": "system", "content": "You answer in English."}, {"role": "user", "content": german}]
    assert inspected(tmp_path, {"messages": messages, "model": "m"}).languages == {"de": 1}


def test_however_many_rows_are_bad_the_others_are_counted(tmp_path: Path) -> None:
    found = inspected(tmp_path, b"{bad", b"{bad", call())
    assert (found.reading.rejected, found.total.calls) == (2, 1)


def test_the_inspection_is_plain_json(tmp_path: Path) -> None:
    whole = inspected(tmp_path, *many(10)).to_json()
    assert json.loads(json.dumps(whole, allow_nan=False))["total"]["calls"] == 10
