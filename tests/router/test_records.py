from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import RequestError
from router.records import (
    LONGEST_LABEL,
    LOOKED,
    MOST_MESSAGES,
    MOST_TAGS,
    Decision,
    Json,
    Request,
    Wishes,
    has_text,
    message_texts,
    prompt_key,
)

TOOL = {"type": "function", "function": {"name": "refund", "parameters": {"a": 1, "b": 2}}}
QUESTION = [{"role": "user", "content": "Is it open?"}]
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def decision(**fields: Json) -> Decision:
    values: dict[str, Any] = {
        "model": "small",
        "source": "learned",
        "confidence": 0.5,
        "success_probability": {"small": 0.5},
        "expected_cost_usd": {"small": 0.01},
        "reason": "best value",
        "policy_version": "abc",
    }
    return Decision(**{**values, **fields})


def reversed_members(value: Json) -> Json:
    """The same JSON value, the members of every object in the opposite order."""
    if isinstance(value, dict):
        return {name: reversed_members(value[name]) for name in reversed(value)}
    return [reversed_members(inner) for inner in value] if isinstance(value, list) else value


def test_a_prompt_and_its_one_user_message_are_the_same_request() -> None:
    assert Request.of("Is it open?") == Request(messages=({"role": "user", "content": "Is it open?"},))


@given(st.text())
def test_a_prompt_and_its_one_user_message_have_the_same_key(text: str) -> None:
    by_message = Request.from_json({"messages": [{"role": "user", "content": text}]})
    assert prompt_key(Request.of(text).messages) == prompt_key(by_message.messages)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(prompt_key(QUESTION, [TOOL]), id="with a tool"),
        pytest.param(prompt_key(QUESTION, None, {"type": "json_object"}), id="with a response format"),
        pytest.param(prompt_key([{"role": "system", "content": "Hi"}, *QUESTION]), id="with system text"),
        pytest.param(prompt_key([{"role": "assistant", "content": "Is it open?"}]), id="by another role"),
        pytest.param(prompt_key([*QUESTION, *QUESTION]), id="asked twice"),
    ],
)
def test_the_same_question_in_another_request_has_another_key(other: str) -> None:
    assert other != prompt_key(QUESTION)


def test_the_order_of_tools_makes_another_key() -> None:
    assert prompt_key(QUESTION, [TOOL, {}]) != prompt_key(QUESTION, [{}, TOOL])


def test_no_tools_and_an_empty_list_of_tools_have_the_same_key() -> None:
    assert prompt_key(QUESTION, []) == prompt_key(QUESTION, None)


@given(JSON_VALUES)
def test_the_order_of_members_does_not_change_the_key(value: Json) -> None:
    assert prompt_key([value], value) == prompt_key([reversed_members(value)], reversed_members(value))


@given(st.text(st.characters(), max_size=20))
def test_a_key_is_32_hexadecimal_digits_of_any_text(text: str) -> None:
    key = prompt_key([{"role": "user", "content": text + "\ud800"}])
    assert len(key) == 32
    assert set(key) <= set("0123456789abcdef")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        pytest.param([], "is a JSON object, got list", id="a list"),
        pytest.param(None, "is a JSON object, got NoneType", id="null"),
        pytest.param({}, "either 'prompt' or 'messages'; this one has neither", id="neither"),
        pytest.param({"prompt": "a", "messages": QUESTION}, "this one has both", id="both"),
        pytest.param({"prompt": 5}, "prompt must be a text, got int", id="number as prompt"),
        pytest.param({"prompt": QUESTION}, "got list; messages go in 'messages'", id="messages as prompt"),
        pytest.param({"messages": "a"}, "got str; a text goes in 'prompt'", id="text as messages"),
        pytest.param({"messages": {"role": "user"}}, "must be a list, got dict", id="one bare message"),
        pytest.param({"messages": []}, "at least one message", id="no message"),
        pytest.param({"messages": ["a"]}, "message 1 is not an object with a 'role'", id="bare text"),
        pytest.param({"messages": [{"role": 3}]}, "message 1 .*'role'", id="number as role"),
        pytest.param({"messages": [*QUESTION, {}]}, "message 2 ", id="message without role"),
        pytest.param({"prompt": "a", "task_type": 3}, "task_type must be text, got 3", id="task type"),
        pytest.param({"prompt": "a", "tags": "x"}, "tags must be a list of texts, got 'x'", id="tag text"),
        pytest.param({"prompt": "a", "tags": 5}, "tags must be a list of texts, got 5", id="tag number"),
        pytest.param({"prompt": "a", "tags": [1]}, r"tags must be a list of texts, got \[1\]", id="in tags"),
        pytest.param({"prompt": "a", "tags": {"x": 1}}, "tags must be a list of texts", id="tag object"),
    ],
)
def test_a_request_of_the_wrong_form_is_refused_with_what_was_found(value: Json, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        Request.from_json(value)


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        pytest.param({"model": ""}, "model must be a name, got ''", id="a model without a name"),
        pytest.param({"deny": None}, "deny must be a list of model names, got None", id="no list"),
        pytest.param({"tradeoff": None}, "tradeoff must be a number from 0 to 1, got None", id="no number"),
    ],
)
def test_a_wish_of_the_wrong_form_is_refused_with_what_was_found(wish: Json, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        Wishes(**wish)


def test_a_prompt_that_is_neither_text_nor_messages_is_refused() -> None:
    with pytest.raises(RequestError, match="a text or a list of messages, got int"):
        Request.of(5)  # type: ignore[arg-type]


def test_other_members_of_a_line_and_null_fields_are_left_alone() -> None:
    line = {"id": 7, "prompt": "a", "messages": None, "tools": None, "task_type": None, "tags": None}
    assert Request.from_json(line) == Request.of("a")


def test_the_empty_prompt_is_a_request() -> None:
    assert Request.of("").messages[0]["content"] == ""


@pytest.mark.parametrize(
    ("content", "text"),
    [
        pytest.param("a", "a", id="text"),
        pytest.param([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "a\nb", id="parts"),
        pytest.param([{"type": "image_url", "image_url": {"url": "x"}}], "", id="an image"),
        pytest.param(["a", {"type": "text", "text": "b"}], "a\nb", id="a bare text among parts"),
        pytest.param([{"type": "text", "text": 5}, 6, None], "", id="parts of the wrong form"),
    ],
)
def test_the_text_of_a_message_is_that_of_its_text_parts(content: Json, text: str) -> None:
    assert list(message_texts([{"role": "user", "content": content}])) == [("user", text)]


@pytest.mark.parametrize("message", [{"role": "assistant"}, {"role": "assistant", "content": None}])
def test_a_message_without_content_has_no_text(message: dict[str, Json]) -> None:
    assert list(message_texts([message])) == []


@pytest.mark.parametrize("chance", [0.0, 1.5, -1.0, math.nan])
def test_a_propensity_that_is_no_chance_is_refused(chance: float) -> None:
    with pytest.raises(ValueError, match=rf"propensity must be in \(0, 1\], got {chance}"):
        decision(propensity=chance)


@pytest.mark.parametrize("confidence", [1.01, -0.01, math.nan])
def test_a_confidence_that_is_no_probability_is_refused(confidence: float) -> None:
    with pytest.raises(ValueError, match=rf"confidence must be in \[0, 1\], got {confidence}"):
        decision(confidence=confidence)


def test_a_decision_is_written_with_the_documented_fields_first_and_in_order() -> None:
    documented = "model source confidence success_probability expected_cost_usd reason policy_version".split()
    assert list(decision().to_json())[:7] == documented


def test_an_unknown_cost_is_written_as_null() -> None:
    costs = {"small": math.nan, "large": 0.0123456789}
    assert decision(expected_cost_usd=costs).to_json()["expected_cost_usd"] == {
        "small": None,
        "large": 0.0123457,
    }


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        pytest.param({"tags": ["a"] * (MOST_TAGS + 1)}, "a request of 1,001 tags: send", id="tags"),
        pytest.param({"tags": ["a" * (LONGEST_LABEL + 1)]}, "a tag has 10,001 characters", id="a tag"),
        pytest.param({"task_type": "a" * (LONGEST_LABEL + 1)}, "task_type has 10,001 char", id="a task type"),
        pytest.param({"session_id": "a" * (LONGEST_LABEL + 1)}, "session_id has 10,001", id="a session"),
    ],
)
def test_more_names_or_longer_ones_than_anybody_needs_are_refused(fields: Json, message: str) -> None:
    usual = {"tags": ["a" * LONGEST_LABEL] * MOST_TAGS, "session_id": "a" * LONGEST_LABEL}
    Request.of("hi", **usual)
    with pytest.raises(RequestError, match=message):
        Request.of("hi", **{**usual, **fields})


def test_too_many_messages_are_refused_before_they_are_read() -> None:
    unread: Json = object()
    with pytest.raises(RequestError, match="a request of 5,001 messages: send at most 5,000"):
        Request.of([unread] * (MOST_MESSAGES + 1))


@pytest.mark.parametrize(
    ("text", "has"),
    [
        pytest.param("\n" * 3 * LOOKED, False, id="white space"),
        pytest.param("\n" * 3 * LOOKED + "hi", True, id="at the end"),
        pytest.param("hi" + "\n" * 3 * LOOKED, True, id="at the start"),
        pytest.param("\n" * LOOKED + "hi" + "\n" * LOOKED, False, id="in the middle of a huge one"),
        pytest.param(" hi ", True, id="short"),
    ],
)
def test_text_is_sought_at_both_ends_of_a_huge_one(text: str, has: bool) -> None:
    assert has_text(Request.of(text)) is has
