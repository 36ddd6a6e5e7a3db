from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.records import Json, prompt_key
from router.settings.yaml_file import parse_config
from training.readers.protocol import NO_TEXT, SEVERAL_PROMPTS
from training.reading.files.raw import RawRows
from training.reading.rows.cleaning import CALL_SCHEMA, CleanRows, clean_rows

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
JSON_OBJECT = st.dictionaries(
    TEXT, st.one_of(TEXT, st.integers(-99, 99), st.booleans(), st.none()), max_size=3
)
MESSAGES = st.lists(JSON_OBJECT.map(lambda members: {**members, "role": "user"}), min_size=1, max_size=3)


def cleaned(**columns: Json) -> CleanRows:
    whole = {"prompt": ["hi"], "model": ["small"], **{name: [value] for name, value in columns.items()}}
    rows = RawRows(lines=[1], columns=whole, broken={}, repaired=frozenset(), raw=str)
    return clean_rows(rows)


def value_of(name: str, value: object) -> Json:
    return cleaned(**{name: value}).columns[name][0].as_py()


@settings(deadline=None)
@given(messages=MESSAGES, tools=st.lists(JSON_OBJECT, max_size=2), form=st.one_of(st.none(), JSON_OBJECT))
def test_the_key_is_that_of_the_serving_side(messages: Json, tools: Json, form: Json) -> None:
    rows = cleaned(prompt=None, messages=json.dumps(messages), tools=tools, response_format=form)
    assert rows.keys == [prompt_key(messages, tools, form)]


@settings(deadline=None)
@given(prompt=TEXT)
def test_a_prompt_has_the_key_of_its_one_user_message(prompt: str) -> None:
    assert cleaned(prompt=prompt).keys == [prompt_key([{"role": "user", "content": prompt}])]


@pytest.mark.parametrize(
    "messages",
    [
        pytest.param([{"content": '"\\\x00\x1f\x7f\u2028 ü 👍\n', "role": "user"}], id="odd characters"),
        pytest.param([{"role": "user", "content": "a", "name": "1e16"}], id="a third member"),
        pytest.param([{"role": "user", "content": [{"type": "text", "text": "a"}]}], id="parts"),
        pytest.param([{"role": "tool", "content": None, "n": 1e16}], id="a large number"),
    ],
)
def test_key_and_text_are_those_of_the_standard_encoder(messages: Json) -> None:
    rows = cleaned(messages=messages)
    text = json.dumps(messages, ensure_ascii=False, separators=(",", ":"))
    if not rows.skipped:
        assert (rows.keys, rows.columns["messages"].to_pylist()) == ([prompt_key(messages)], [text])


def test_messages_decide_the_key_where_a_prompt_stands_beside_them() -> None:
    messages = [{"role": "user", "content": "other"}]
    assert cleaned(messages=messages).keys == [prompt_key(messages)]


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        pytest.param("cost_usd", -0.1, "is negative", id="negative cost"),
        pytest.param("cost_usd", float("inf"), "is not finite", id="infinite cost"),
        pytest.param("cost_usd", "cheap", "is not a number", id="cost in words"),
        pytest.param("latency_s", -1, "is negative", id="negative latency"),
        pytest.param("input_tokens", 1.5, "is not a whole number", id="half a token"),
        pytest.param("output_tokens", True, "is not a number", id="true tokens"),
        pytest.param("propensity", 0, "is outside (0, 1]", id="propensity zero"),
        pytest.param("propensity", 1.1, "is outside (0, 1]", id="propensity above one"),
        pytest.param("score", 1.1, "is outside [0, 1]", id="score above one"),
        pytest.param("success", "maybe", "is not true or false", id="success in doubt"),
        pytest.param(
            "time", "noon", "is not a time (ISO 8601, or seconds or milliseconds since 1970)", id="time"
        ),
        pytest.param("prompt", 5, "is not text", id="prompt a number"),
        pytest.param("model", "", "is missing", id="no model"),
        pytest.param("tools", "{", "is broken JSON", id="broken tools"),
        pytest.param("messages", [{}], "is not a list of objects with a role", id="message without a role"),
        pytest.param("tags", [1], "is not a list of texts", id="numbers as tags"),
    ],
)
def test_a_bad_value_turns_its_row_away_with_the_reason(name: str, value: object, reason: str) -> None:
    rows = cleaned(**{name: value})
    assert rows.problems[0][0] == f"{name} {reason}"
    assert rows.keys == [""]


@pytest.mark.parametrize("empty", [None, "", "[]", []])
def test_a_row_needs_a_prompt_or_messages(empty: object) -> None:
    assert "missing or empty" in cleaned(prompt="", messages=empty).problems[0][0]


@pytest.mark.parametrize(
    "name", [name for name in CALL_SCHEMA.names if name not in ("model", "truncated", "tags")]
)
@pytest.mark.parametrize("empty", [None, "", float("nan")])
def test_an_empty_optional_value_is_null(name: str, empty: object) -> None:
    others = {"messages": [{"role": "user", "content": "x"}]} if name == "prompt" else {}
    rows = cleaned(**others, **{name: empty})
    assert not rows.problems
    assert rows.columns[name].null_count == 1


def test_a_missing_truncated_is_false_and_missing_tags_are_none_at_all() -> None:
    rows = cleaned(tags=None)
    assert (rows.columns["truncated"][0].as_py(), rows.columns["tags"][0].as_py()) == (False, [])


def test_a_whole_number_of_tokens_may_come_as_text() -> None:
    assert value_of("input_tokens", "12.0") == 12


def test_native_json_is_stored_as_text() -> None:
    assert value_of("tools", [{"name": "é"}]) == '[{"name":"é"}]'


def test_the_same_broken_text_turns_every_row_away_that_has_it() -> None:
    columns = {"prompt": ["a", "b"], "model": ["m", "m"], "tools": ["{", "{"]}
    rows = clean_rows(RawRows(lines=[1, 2], columns=columns, broken={}, repaired=frozenset(), raw=str))
    assert sorted(rows.problems) == [0, 1]


def test_columns_follow_the_canonical_order_and_types() -> None:
    columns = cleaned().columns
    assert [(name, array.type) for name, array in columns.items()] == [
        (field.name, field.type) for field in CALL_SCHEMA
    ]


def runtime_row(**columns: Json) -> CleanRows:
    """A row as the runtime's log has it, with its prompt's key."""
    return cleaned(prompt_key="ab" * 16, **columns)


def test_a_row_with_only_the_key_of_its_prompt_is_in_order_and_no_call() -> None:
    rows = runtime_row(prompt=None)
    assert (rows.problems, set(rows.without_text), rows.keys) == ({}, {0}, [""])


def test_a_bad_row_without_its_text_is_a_bad_row() -> None:
    rows = runtime_row(prompt=None, score=7)
    assert (rows.problems[0][0], rows.without_text) == ("score is outside [0, 1]", set())


def test_the_key_is_made_from_the_text_where_there_is_one() -> None:
    rows = runtime_row()
    assert (rows.keys, rows.without_text) == ([prompt_key([{"role": "user", "content": "hi"}])], set())


@pytest.mark.parametrize("name", ["cost_usd", "input_tokens", "output_tokens"])
@pytest.mark.parametrize(
    ("value", "error", "expected"),
    [
        pytest.param(0, "timeout: Timeout", None, id="nothing, for no answer"),
        pytest.param(2, "cancelled", 2, id="something, for half an answer"),
        pytest.param(0, None, 0, id="nothing, for an answer"),
    ],
)
def test_a_failed_attempt_is_not_taken_for_a_free_answer(
    name: str, value: int, error: str | None, expected: int | None
) -> None:
    assert runtime_row(error=error, **{name: value}).columns[name][0].as_py() == expected


def test_an_error_column_of_another_log_means_nothing() -> None:
    assert cleaned(error="none", cost_usd=0).columns["cost_usd"][0].as_py() == 0


def test_calls_without_a_column_of_models_are_rejected() -> None:
    rows = RawRows(lines=[1], columns={"prompt": ["hi"]}, broken={}, repaired=frozenset(), raw=str)
    assert clean_rows(rows).problems == {0: ("model is missing", "(nothing)")}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        pytest.param({"messages": [{"role": "user", "content": ""}]}, NO_TEXT.reason, id="empty content"),
        pytest.param({"messages": [{"role": "user"}]}, NO_TEXT.reason, id="no content"),
        pytest.param({"messages": [[9906, 1917]]}, NO_TEXT.reason, id="tokens as messages"),
        pytest.param({"prompt": [1, 2, 3]}, NO_TEXT.reason, id="tokens as a prompt"),
        pytest.param({"prompt": "  "}, NO_TEXT.reason, id="white space"),
        pytest.param({"prompt": ["one", "two"]}, SEVERAL_PROMPTS.reason, id="two prompts"),
    ],
)
def test_a_prompt_without_text_is_set_apart_with_the_reason(fields: dict[str, Json], reason: str) -> None:
    rows = cleaned(**{"prompt": None, **fields})
    assert (rows.problems, dict(rows.skipped)) == ({}, {0: reason})


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user", "content": ["bare", "texts"]}],
        [{"role": "user", "content": {"parts": ["bare", "texts"]}}],
        [{"role": "user", "parts": [{"text": "bare"}, {"text": "texts"}]}],
    ],
)
def test_messages_of_other_protocols_in_a_table_become_chat(messages: Json) -> None:
    text = [{"type": "text", "text": "bare"}, {"type": "text", "text": "texts"}]
    assert cleaned(prompt=None, messages=messages).keys == [prompt_key([{"role": "user", "content": text}])]


def test_a_value_that_a_call_does_not_need_is_left_out_and_counted() -> None:
    raw = RawRows(
        lines=[1, 2],
        columns={"model": ["m", "m"], "prompt": ["a", "b"], "input_tokens": ["many", 3], "score": [2, 2]},
        broken={},
        repaired=frozenset(),
        raw=str,
        spared=frozenset({"input_tokens"}),
    )
    rows = clean_rows(raw)
    assert rows.columns["input_tokens"].to_pylist() == [None, 3]
    assert dict(rows.left_out) == {"input_tokens is not a number": 1}
    assert rows.problems[1] == ("score is outside [0, 1]", "2")


def models_and_efforts(models: list[Json], aliases: Mapping[str, str]) -> list[list[Json]]:
    prompts: list[Json] = ["a"] * len(models)
    raw = RawRows(
        lines=[*range(1, len(models) + 1)],
        columns={"prompt": prompts, "model": models},
        broken={},
        repaired=frozenset(),
        raw=str,
    )
    columns = clean_rows(raw, aliases).columns
    return [columns[name].to_pylist() for name in ("model", "effort")]


def test_an_alias_of_a_model_is_one_of_its_actions_too() -> None:
    assert models_and_efforts(["azure/m@low", None], {"azure/m": "m"}) == [["m", None], ["low", None]]


def test_an_alias_keeps_a_model_whose_own_name_looks_like_an_actions() -> None:
    config = parse_config("{aliases: {m@low: m-low}, models: {m-low: {litellm_model: m@low}}}")
    assert models_and_efforts(["m@low", "m@high"], config.aliases) == [["m-low", "m"], [None, "high"]]
    assert config.of("m-low").litellm_model == "m@low"
