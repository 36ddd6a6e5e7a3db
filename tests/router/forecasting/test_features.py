from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.forecasting import features as features_module
from router.forecasting import words
from router.forecasting.encoder import Encoding
from router.forecasting.features import (
    LINE_START,
    STRUCTURE,
    Features,
    FeatureSpec,
    _code_marks,
    embedded_text,
    featurize,
)
from router.forecasting.words import ASCII_WORD, CODE_WORD, NEGATION, NUMBER, SENTENCE, WORD
from router.records import Json, Request

SPEC = FeatureSpec(task_types=("chat", "coding"), tags=("eu",), gram_dimensions=64)
VECTOR = np.full(4, 0.5, dtype=np.float32)
TEXT = st.text(st.characters(), max_size=60)
PART = st.one_of(
    st.fixed_dictionaries({"type": st.just("text"), "text": TEXT}),
    st.fixed_dictionaries({"type": st.just("image_url"), "image_url": st.fixed_dictionaries({"url": TEXT})}),
    st.fixed_dictionaries({"type": st.sampled_from(["input_audio", "file"]), "data": TEXT}),
)
TOOL_CALL = st.fixed_dictionaries(
    {"id": TEXT, "type": st.just("function"), "function": st.fixed_dictionaries({"arguments": TEXT})}
)
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "tool"])},
    optional={
        "content": st.none() | TEXT | st.lists(PART, max_size=3),
        "tool_calls": st.lists(TOOL_CALL, max_size=2),
        "name": TEXT,
    },
)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=10,
)
SCHEMA = st.recursive(
    st.fixed_dictionaries({"type": st.sampled_from(["string", "integer"])}, optional={"enum": ANY_JSON}),
    lambda inner: st.fixed_dictionaries(
        {"type": st.just("object"), "properties": st.dictionaries(TEXT, inner, max_size=3)},
        optional={"required": st.lists(TEXT, max_size=3), "anyOf": st.lists(inner, max_size=2)},
    ),
    max_leaves=8,
)
TOOL = st.fixed_dictionaries(
    {"type": st.just("function"), "function": st.fixed_dictionaries({"name": TEXT, "parameters": SCHEMA})}
)
REQUESTS = st.builds(
    Request,
    messages=st.lists(MESSAGE, min_size=1, max_size=4),
    tools=st.none() | st.lists(TOOL, max_size=3) | ANY_JSON,
    response_format=st.none() | ANY_JSON,
    task_type=st.none() | st.sampled_from(["chat", "coding", "unheard of", ""]),
    tags=st.lists(st.sampled_from(["eu", "us"]), max_size=3),
)


def features_of(*requests: Request) -> Features:
    return featurize(requests, [Encoding(VECTOR, 5)] * len(requests), SPEC)


def structure(prompt: str = "", **request: Any) -> dict[str, float]:  # noqa: ANN401 - any JSON
    row = features_of(Request.of(prompt, **request)).structure[0]
    return dict(zip(STRUCTURE, row.tolist(), strict=True))


@given(st.lists(REQUESTS, min_size=1, max_size=3))
def test_every_legal_request_has_finite_features_of_the_stated_shapes(requests: list[Request]) -> None:
    features, n = features_of(*requests), len(requests)
    shapes = {field.name: getattr(features, field.name).shape for field in fields(Features)}
    assert shapes == {
        "embedding": (n, 4), "structure": (n, len(STRUCTURE)), "grams": (n, 64), "labels": (n, 3),
        "task_type": (n,), "tokens": (n,),
    }  # fmt: skip
    assert all(np.isfinite(getattr(features, name)).all() for name in shapes)


@given(st.lists(REQUESTS, min_size=2, max_size=3))
def test_a_request_has_the_same_features_alone_and_among_others(requests: list[Request]) -> None:
    together, alone = features_of(*requests).rows(slice(1, 2)), features_of(requests[1])
    for field in fields(Features):
        np.testing.assert_array_equal(getattr(together, field.name), getattr(alone, field.name))


@given(st.lists(REQUESTS | TEXT.map(lambda text: Request.of(text * 9)), min_size=1, max_size=3))
def test_a_short_text_has_the_features_that_arrays_give_it(requests: list[Request]) -> None:
    short = features_of(*requests)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(words, "SHORT", -1)
        patch.setattr(features_module, "SHORT", -1)
        by_arrays = features_of(*requests)
    for field in fields(Features):
        assert getattr(short, field.name).tobytes() == getattr(by_arrays, field.name).tobytes(), field.name


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("word " * 200_000, id="words"),
        pytest.param("\n" * 1_000_000, id="newlines"),
        pytest.param(" " * 1_000_000, id="spaces"),
        pytest.param("{ " * 500_000, id="braces"),
        pytest.param("a." * 500_000, id="dots"),
        pytest.param("9" * 1_000_000, id="digits"),
    ],
)
def test_a_million_characters_take_no_longer_than_a_moment(text: str) -> None:
    begin = time.process_time()
    features_of(Request.of(text))
    assert time.process_time() - begin < 1


def test_tools_nested_beyond_reason_are_counted_as_far_as_they_make_sense() -> None:
    deep_list: Json = []
    deep_object: Json = {}
    for _ in range(400):
        deep_list, deep_object = [deep_list], {"properties": deep_object}
    assert structure(tools=deep_list)["tool_depth"] == 0
    assert structure(tools=[deep_object])["tool_depth"] == 32


@pytest.mark.parametrize(
    ("prompt", "name", "value"),
    [
        pytest.param("a b c", "words", np.log1p(3), id="words"),
        pytest.param("a\nb", "lines", np.log1p(1), id="lines"),
        pytest.param("why? how?", "questions", np.log1p(2), id="questions"),
        pytest.param("7, 1234.5", "numbers", np.log1p(2), id="numbers"),
        pytest.param("7, 1234.5", "longest_number", np.log1p(6), id="longest number"),
        pytest.param("AAaa", "upper_case", 5.0, id="half upper case"),
        pytest.param("aü", "non_ascii", 5.0, id="half beyond ASCII"),
        pytest.param("- a\n\n  * b\n3. c", "list_items", np.log1p(3), id="list items"),
        pytest.param("A. x\n\n (b) y", "options", np.log1p(2), id="options"),
        pytest.param("not without", "negations", np.log1p(2), id="negations"),
        pytest.param("```\nreturn\n```", "code", np.log1p(3), id="code"),
    ],
)
def test_structure_counts_what_its_name_says(prompt: str, name: str, value: float) -> None:
    assert structure(prompt)[name] == pytest.approx(value, rel=1e-5)


def test_the_structure_of_tools_is_their_number_size_and_shape() -> None:
    schema = {"type": "object", "properties": {"order": {}, "sum": {}}, "required": ["order"]}
    tool = {"function": {"name": "refund", "description": "Refund an order", "parameters": schema}}
    found = structure("Refund my order", tools=[tool])
    expected = [np.log1p(1), np.log1p(2), np.log1p(1), 1.0]
    names = ["tools", "tool_properties", "tool_required", "tool_overlap"]
    assert [found[name] for name in names] == pytest.approx(expected, rel=1e-5)


def test_labels_mark_the_task_type_and_the_tags_that_training_saw() -> None:
    features = features_of(
        Request.of("", task_type="coding", tags=["eu", "us"]), Request.of("", task_type="x"), Request.of("")
    )
    assert features.labels.tolist() == [[0, 1, 1], [0, 0, 0], [0, 0, 0]]
    assert features.task_type.tolist() == [1, -1, -1]


CODE = r"(?m)\b(?:def \w+\(|class \w+|function\b|return\b|SELECT\b)|```|[{};]\s*$|=>|#include"
PLAIN_FORMS: dict[str, Callable[[str], int]] = {
    CODE: lambda text: _code_marks(text, len(CODE_WORD.findall(text))),
    r"(?m)^[^\S\n]*\(?[A-Za-z][.):]\s": lambda text: sum(map(bool, LINE_START.findall(f"\n{text}"))),
    r"(?m)^[^\S\n]*(?:[-*•]|\d+[.)])\s": lambda text: LINE_START.findall(f"\n{text}").count(""),
    r"\d+(?:[.,]\d+)?": lambda text: len(NUMBER.findall(text)),
    r"\b(?:not|except|never|without)\b|n't\b": lambda text: len(NEGATION.findall(text)),
    r"[.!?](?:\s|$)|[\u3002\uff01\uff1f]": lambda text: len(SENTENCE.findall(text)),
}
PIECES = st.sampled_from(
    "def f(|class A|function|return|SELECT|a|_|```|{|}|;| |\n|=>|#include|1|,|.|!|?|。|not|except".split("|")
    + "never|don't|without|٣|é|\t|(|)|:|- |• ".split("|")
)


@given(st.lists(PIECES, max_size=12).map("".join))
def test_a_fast_pattern_counts_what_its_plain_form_does(text: str) -> None:
    for plain, fast in PLAIN_FORMS.items():
        assert fast(text) == len(re.findall(plain, text)), plain
    if text.isascii():
        assert ASCII_WORD.findall(text.lower()) == WORD.findall(text.lower())


def test_grams_do_not_tell_one_number_from_another_of_its_length() -> None:
    one, other, longer = features_of(*map(Request.of, ("pay 123", "pay 456", "pay 7890"))).grams
    assert np.array_equal(one, other)
    assert not np.array_equal(one, longer)


def test_grams_tell_the_system_text_from_the_prompt() -> None:
    said, told = ([{"role": role, "content": "refund"}] for role in ("user", "system"))
    one, other = features_of(Request.of(said), Request.of(told)).grams
    assert not np.array_equal(one, other)


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        pytest.param([("system", "s"), ("user", "a")], "a", id="system text is left out"),
        pytest.param([("user", "a"), ("assistant", "b"), ("user", "c")], "c\n\nb\n\na", id="newest first"),
        pytest.param([("user", "a"), ("assistant", "b")], "a\n\nb", id="the last user turn leads"),
        pytest.param([("assistant", "a"), ("tool", "b")], "b\n\na", id="without a user turn"),
        pytest.param([("system", "s")], "", id="only system text"),
        pytest.param([("user", ""), ("user", None)], "", id="nothing said"),
    ],
)
def test_the_embedded_text_begins_with_the_last_user_turn(
    messages: list[tuple[str, str | None]], text: str
) -> None:
    request = Request(messages=[{"role": role, "content": content} for role, content in messages])
    assert embedded_text(request) == text


def test_tokens_count_the_system_text_and_the_tools() -> None:
    system = [{"role": "system", "content": "x" * 40}, {"role": "user", "content": "a"}]
    assert features_of(Request.of(system)).tokens.tolist() == [15.0]
    assert features_of(Request.of("a", tools=["xxxx"])).tokens.tolist() == [7.0]


SYSTEM, USER, ANSWER = ({"role": role, "content": "x"} for role in ("system", "user", "assistant"))


@pytest.mark.parametrize(
    ("messages", "later"),
    [
        pytest.param([USER], False, id="a question"),
        pytest.param([SYSTEM, USER], False, id="with system text"),
        pytest.param([SYSTEM, USER, ANSWER], False, id="with the beginning of its answer"),
        pytest.param([USER, ANSWER, USER], True, id="a second turn"),
        pytest.param([SYSTEM, USER, ANSWER, USER], True, id="a second turn with system text"),
        pytest.param([USER, ANSWER] * 500, True, id="the thousandth"),
    ],
)
def test_a_request_goes_on_with_a_conversation_from_the_second_turn_on(
    messages: list[Json], later: bool
) -> None:
    assert features_of(Request.of(messages)).later.tolist() == [later]
