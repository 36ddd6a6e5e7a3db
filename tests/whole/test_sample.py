from __future__ import annotations

import json
import random
from pathlib import Path
from statistics import fmean
from typing import Any

import pyarrow.parquet as pq
import pytest

from data.make_sample import (
    COLUMNS,
    EXPLORATION,
    LOGGING_POLICY,
    SAMPLE,
    make_table,
    propensities,
    write_sample,
)
from data.sample_outcomes import EFFORTS, LOCAL, MINI, MODELS, OLDER, STRONG, Model, success_probability
from data.sample_pen import Pen, read_vocabulary
from data.sample_requests import KINDS, Draft, draw_conversation
from router.deciding.rules import complexity_score, whole_text
from router.effort import action_name, effort_in
from router.models.locality import is_local
from router.records import Request, prompt_key
from router.settings.yaml_file import load_config

DATA = SAMPLE.parent
ROWS: list[dict[str, Any]] = pq.read_table(SAMPLE).to_pylist()
OFFLINE = [row for row in ROWS if row["outcome_source"] in ("evaluation", "replay")]
PRODUCTION = [row for row in ROWS if row["outcome_source"] in ("feedback", "error")]


def request_of(row: dict[str, Any]) -> Request:
    messages, tools, form = (
        row[name] and json.loads(row[name]) for name in ("messages", "tools", "response_format")
    )
    return Request.of(row["prompt"] or messages, tools=tools, response_format=form)


def key_of(row: dict[str, Any]) -> str:
    request = request_of(row)
    return prompt_key(list(request.messages), request.tools, request.response_format)


def success_rate(model: str, **wanted: str) -> float:
    outcomes = [r["success"] for r in OFFLINE if r["model"] == model and wanted.items() <= r.items()]
    return fmean(outcomes)


def mean_cost(model: str) -> float:
    return fmean(row["cost_usd"] for row in OFFLINE if row["model"] == model)


def test_the_file_has_the_canonical_columns() -> None:
    assert pq.read_schema(SAMPLE).equals(COLUMNS)


def test_the_file_is_small() -> None:
    assert SAMPLE.stat().st_size < 1_500_000


def test_the_generator_makes_the_committed_rows_again() -> None:
    assert make_table().equals(pq.read_table(SAMPLE))


def test_two_runs_write_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_sample(tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_another_seed_makes_another_log() -> None:
    assert not make_table(1).equals(make_table(2))


def test_rows_are_in_order_of_time_with_one_identifier_each() -> None:
    assert [row["time"] for row in ROWS] == sorted(row["time"] for row in ROWS)
    assert len({row["call_id"] for row in ROWS}) == len(ROWS)


def test_the_log_spans_six_weeks() -> None:
    assert 38 <= (ROWS[-1]["time"] - ROWS[0]["time"]).days <= 42


def test_production_keeps_to_working_days() -> None:
    weekend = [row for row in PRODUCTION if row["time"].weekday() >= 5]
    assert 0 < len(weekend) < 0.15 * len(PRODUCTION)


def test_a_row_has_either_prompt_or_messages() -> None:
    assert all((row["prompt"] is None) != (row["messages"] is None) for row in ROWS)


def test_every_row_is_a_valid_request() -> None:
    assert all(request_of(row).messages for row in ROWS)


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("score", 0, 1),
        ("cost_usd", 0, 0.1),
        ("input_tokens", 0, 5000),
        ("output_tokens", 0, 10_000),
        ("latency_s", 0, 300),
        ("propensity", 0.01, 1),
    ],
)
def test_known_values_stay_in_range(name: str, low: float, high: float) -> None:
    assert all(low <= row[name] <= high for row in ROWS if row[name] is not None)


def test_cost_is_tokens_times_price() -> None:
    for row in ROWS:
        model = MODELS[row["model"]]
        usd = row["input_tokens"] * model.input_usd + row["output_tokens"] * model.output_usd
        assert row["cost_usd"] == pytest.approx(usd / 1e6, abs=1e-8)


def test_task_type_is_missing_on_some_rows() -> None:
    named = [row["task_type"] for row in ROWS if row["task_type"]]
    assert set(named) == set(KINDS)
    assert 0.8 < len(named) / len(ROWS) < 0.9


def test_offline_part_has_every_model_on_every_prompt_once() -> None:
    tried = sorted((key_of(row), row["model"]) for row in OFFLINE)
    assert tried == sorted((key, model) for key in {key for key, _ in tried} for model in MODELS)
    assert len(tried) == 4 * 850


def test_production_part_is_about_a_quarter_of_the_log() -> None:
    assert len(PRODUCTION) == 1100
    assert len(OFFLINE) + len(PRODUCTION) == len(ROWS)


def test_propensity_is_what_the_logging_policy_gives() -> None:
    for row in PRODUCTION:
        if not row["truncated"]:
            assert row["propensity"] == propensities(whole_text(request_of(row)))[row["model"]]


def test_propensities_are_a_distribution() -> None:
    assert sum(propensities("hello").values()) == pytest.approx(1)
    assert propensities("hello")[LOGGING_POLICY.cheap] == pytest.approx(
        1 - EXPLORATION + EXPLORATION / len(MODELS)
    )


def test_models_were_drawn_about_as_often_as_the_propensities_say() -> None:
    explored = sum(row["propensity"] < 0.5 for row in PRODUCTION)
    assert explored / len(PRODUCTION) == pytest.approx(EXPLORATION * 3 / 4, abs=0.03)


def test_only_production_rows_were_routed() -> None:
    routed = ("propensity", "policy_version", "decision_source")
    assert all(row[name] is None for row in OFFLINE for name in routed)
    assert all(row[name] is not None for row in PRODUCTION for name in routed)


def test_a_quarter_of_the_production_calls_has_no_outcome() -> None:
    silent = [row for row in PRODUCTION if row["success"] is None and row["score"] is None]
    graded = [row for row in PRODUCTION if row["success"] is None and row["score"] is not None]
    assert 0.2 < len(silent) / len(PRODUCTION) < 0.3
    assert 0.04 < len(graded) / len(PRODUCTION) < 0.12


def test_an_error_is_a_failure_without_cost() -> None:
    errors = [row for row in ROWS if row["outcome_source"] == "error"]
    assert 5 < len(errors) < 40
    assert all(row["success"] is False and row["cost_usd"] == 0 for row in errors)


def test_some_texts_are_cut() -> None:
    cut = [row for row in ROWS if row["truncated"]]
    assert 5 < len(cut) < 40
    assert all(len(row["prompt"]) == 400 for row in cut)


def test_some_production_prompts_come_twice() -> None:
    keys = [key_of(row) for row in PRODUCTION]
    assert 20 < len(keys) - len(set(keys)) <= 40


def test_a_later_turn_holds_the_earlier_ones() -> None:
    sessions: dict[str, list[list[Any]]] = {}
    for row in ROWS:
        if row["session_id"] and not row["truncated"]:
            sessions.setdefault(row["session_id"], []).append(list(request_of(row).messages))
    for turns in sessions.values():
        turns.sort(key=len)
        assert all(later[: len(turn)] == turn for turn in turns for later in turns[-1:])


def test_the_cheapest_model_succeeds_often_and_the_strongest_nearly_always() -> None:
    assert 0.55 < success_rate(LOCAL) < 0.7
    assert 0.88 < success_rate(STRONG) < 0.93


def test_the_middle_model_beats_the_strongest_at_extraction_only() -> None:
    better = [
        kind for kind in KINDS if success_rate(MINI, task_type=kind) > success_rate(STRONG, task_type=kind)
    ]
    assert better == ["extraction"]


def test_the_older_model_is_dearer_and_no_better() -> None:
    assert mean_cost(OLDER) > 5 * mean_cost(MINI)
    assert success_rate(OLDER) < success_rate(MINI)


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("model", list(MODELS))
def test_success_falls_with_difficulty(kind: str, model: str) -> None:
    easy, hard = (Draft(kind=kind, messages=(), difficulty=difficulty) for difficulty in (0.5, 3.0))
    assert success_probability(MODELS[model], easy) > success_probability(MODELS[model], hard)


@pytest.mark.parametrize("kind", list(KINDS))
def test_drawn_texts_have_no_open_slot(kind: str) -> None:
    rng, vocabulary = random.Random(3), read_vocabulary()
    drafts = [draft for _ in range(40) for draft in draw_conversation(kind, rng, vocabulary)]
    assert not [draft.text for draft in drafts if "«" in draft.text or "»" in draft.text]
    assert all(20 <= len(draft.text) <= 6000 for draft in drafts)


def test_a_marked_slot_keeps_its_value() -> None:
    first, second = Pen(random.Random(0), read_vocabulary()).fill("«noun#1»/«noun#1»").split("/")
    assert first == second


def test_tools_take_nested_arguments() -> None:
    tools = [
        tool["function"]["parameters"] for row in ROWS if row["tools"] for tool in json.loads(row["tools"])
    ]
    kinds = {one["type"] for parameters in tools for one in parameters["properties"].values()}
    assert kinds == {"string", "number", "integer", "array", "object"}


def test_up_to_six_tools_are_offered() -> None:
    assert {len(json.loads(row["tools"])) for row in ROWS if row["tools"]} == {1, 2, 3, 4, 5, 6}


def test_the_heuristic_meets_every_score_but_the_highest() -> None:
    scores = {complexity_score(whole_text(request_of(row))) for row in ROWS}
    assert {0.0, 0.25, 0.5, 0.75} <= scores


def test_the_settings_name_the_models_at_the_prices_of_the_log() -> None:
    config = load_config(DATA / "pointsman.yaml")
    prices = {name: (one.price.input_usd_per_million, one.price.output_usd_per_million)
              for name, one in config.models.items() if one.price}  # fmt: skip
    assert prices == {name: (model.input_usd, model.output_usd) for name, model in MODELS.items()}
    assert [name for name, one in config.models.items() if is_local(name, one)] == [LOCAL]


def test_the_rule_table_covers_every_task_type() -> None:
    rules = load_config(DATA / "pointsman.yaml").rules
    assert set(rules.task_types) == set(KINDS)
    assert rules.models() <= set(MODELS)


def test_the_example_requests_can_be_read() -> None:
    lines = (DATA / "requests.jsonl").read_text(encoding="utf-8").splitlines()
    requests = [Request.from_json(json.loads(line)) for line in lines]
    assert {request.task_type for request in requests} == {*KINDS, None}
    assert any(request.tools for request in requests)
    assert any(len(request.messages) > 2 for request in requests)


def test_the_readme_says_synthetic() -> None:
    text = (DATA / "README.md").read_text(encoding="utf-8")
    assert "SYNTHETIC" in text
    assert all(name in text for name in COLUMNS.names)


@pytest.mark.parametrize(("name", "model"), {**MODELS, **EFFORTS}.items())
def test_the_readme_states_the_skills_drawn_from(name: str, model: Model) -> None:
    cells = [f"`{name}`", *(f"{value:.1f}" for value in (*model.skill.values(), model.slope, model.foreign))]
    assert f"| {' | '.join(cells)} |" in (DATA / "README.md").read_text(encoding="utf-8")


def test_a_log_with_efforts_has_every_action_on_the_same_prompts() -> None:
    rows = make_table(efforts=True).to_pylist()
    offline = [row for row in rows if row["outcome_source"] in ("evaluation", "replay")]
    tried = sorted((key_of(row), action_name(row["model"], row["effort"])) for row in offline)
    assert tried == sorted((key, name) for key in set(map(key_of, OFFLINE)) for name in EFFORTS)
    assert not [row["model"] for row in rows if effort_in(row["model"])]


def test_propensities_of_efforts_are_a_distribution_too() -> None:
    chances = propensities("hello", EFFORTS)
    assert sum(chances.values()) == pytest.approx(1, abs=1e-5)
    assert chances["gpt-5-mini@low"] == chances["gpt-5-mini@high"] > 0.4
