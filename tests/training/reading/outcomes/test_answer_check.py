from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.records import Json
from tests.services.waiting import PATIENCE_S
from training.readers.litellm_records import CUT_MARK
from training.reading.outcomes.answer_check import keeps_to_schema, whole_answer

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def asked(schema: Json) -> str:
    return json.dumps({"type": "json_schema", "json_schema": {"name": "x", "schema": schema}})


TOOLS = json.dumps([{"type": "function", "function": {"name": "weather", "parameters": CITY}}])
ASKED = asked(CITY)


def check(
    answer: Json,
    form: str | None = ASKED,
    tools: str | None = None,
    max_bytes: int = 10_000,
    timeout_s: float = PATIENCE_S,
) -> bool | None:
    return keeps_to_schema(answer, form, tools, max_bytes=max_bytes, timeout_s=timeout_s)


def called(name: str, arguments: Json) -> Json:
    function = {"name": name, "arguments": arguments}
    return {"role": "assistant", "content": None, "tool_calls": [{"function": function}]}


@pytest.mark.parametrize(
    ("answer", "fits"),
    [
        pytest.param('{"city": "Rome"}', True, id="text"),
        pytest.param({"role": "assistant", "content": '{"city": "Rome"}'}, True, id="chat message"),
        pytest.param('{"role": "assistant", "content": "{}"}', False, id="chat message as text"),
        pytest.param([{"type": "text", "text": '{"city": 1}'}], False, id="Anthropic's parts"),
        pytest.param(
            [{"type": "message", "content": [{"type": "output_text", "text": '{"city": "Rome"}'}]}],
            True,
            id="Responses' output",
        ),
        pytest.param("Rome", False, id="no JSON"),
        pytest.param({"role": "assistant", "content": None}, False, id="a message without a word"),
        pytest.param(None, None, id="no answer in the log"),
        pytest.param(f'{{"city": "Ro{CUT_MARK}99 chars)', None, id="cut by the log"),
    ],
)
def test_an_answer_is_checked_against_the_schema(answer: Json, fits: bool | None) -> None:
    assert check(answer) is fits


@pytest.mark.parametrize(
    ("answer", "fits"),
    [
        pytest.param(called("weather", '{"city": "Rome"}'), True, id="right"),
        pytest.param(called("weather", '{"town": "Rome"}'), False, id="wrong argument"),
        pytest.param(called("weather", '{"city": '), False, id="broken arguments"),
        pytest.param(called("climate", "{}"), False, id="a tool that there is not"),
        pytest.param([{"type": "tool_use", "name": "weather", "input": {"city": 1}}], False, id="Anthropic"),
        pytest.param(
            [{"type": "function_call", "name": "weather", "arguments": "{}"}], False, id="Responses"
        ),
        pytest.param("It is warm.", None, id="no call"),
    ],
)
def test_a_tool_call_is_checked_against_the_tools_signature(answer: Json, fits: bool | None) -> None:
    assert check(answer, form=None, tools=TOOLS) is fits


def test_a_json_object_is_any_object() -> None:
    form = '{"type": "json_object"}'
    assert (check("{}", form), check("[]", form), check("{}", '{"type": "text"}')) == (True, False, None)


def test_a_long_answer_is_not_checked() -> None:
    assert check('{"city": "Rome"}', max_bytes=10) is None


@pytest.mark.parametrize(
    "schema",
    [
        pytest.param({"type": "nonsense"}, id="no schema"),
        pytest.param({"$ref": "https://example.com/schema.json"}, id="elsewhere"),
        pytest.param({"patternProperties": {"^(a+)+$": False}}, id="patterns of names"),
        pytest.param({"$ref": "#"}, id="refers to itself"),
        pytest.param({"dependencies": {"city": 5}}, id="a library's own error"),
        pytest.param({"$schema": ["x"]}, id="a draft of no name"),
    ],
)
def test_a_schema_that_can_t_be_used_says_nothing(schema: Json) -> None:
    assert check('{"city": "Rome"}', asked(schema)) is None


@pytest.mark.parametrize(
    ("pattern", "text", "fits"),
    [
        pytest.param("^[a-z]+$", "rome", True, id="whole"),
        pytest.param("[0-9]", "Rome 1", True, id="anywhere"),
        pytest.param("^[a-z]+$", "Rome", False, id="another"),
        pytest.param(r"^\d+$", "٣", False, id="digits are ASCII's in a schema"),
        pytest.param("^(a+)+$", "a" * 40 + "!", False, id="backtracking would not end"),
        pytest.param(r"^(?=a)(a+)+$", "a" * 40 + "!", True, id="not regular: not looked at"),
        pytest.param(r"^(a+)\1$", "ab", True, id="refers back: not looked at"),
        pytest.param("(((a{100}){100}){100}){100}", "b", True, id="too large: not looked at"),
        pytest.param("(" * 9000, "b", True, id="no pattern: not looked at"),
    ],
)
def test_a_pattern_is_checked_where_linear_time_is_enough(pattern: str, text: str, fits: bool) -> None:
    form = asked({"properties": {"x": {"pattern": pattern}}, "required": ["y"]})
    assert check(json.dumps({"x": text, "y": 1}), form) is fits
    assert check(json.dumps({"x": text}), form) is False


def test_a_pattern_says_nothing_of_what_is_no_text() -> None:
    assert check("3", asked({"pattern": "^a"})) is True


@pytest.mark.parametrize(
    "schema",
    [
        pytest.param({"allOf": [{"pattern": rf"\w{{99}}x{n}"} for n in range(4000)]}, id="thousands"),
        pytest.param({"pattern": "a?" * 30_000 + "a" * 30_000}, id="a long one"),
        pytest.param({"pattern": "[ab]*a[ab]{128}[cd]"}, id="one of very many states"),
    ],
)
def test_patterns_take_a_bounded_time(schema: Json) -> None:
    started = time.monotonic()
    check(json.dumps("ab" * 45_000), asked(schema), max_bytes=200_000, timeout_s=0.2)
    assert time.monotonic() - started < PATIENCE_S


def test_a_check_ends_in_time() -> None:
    schema: Json = {"anyOf": [{"$ref": "#/$defs/x"}, {"$ref": "#/$defs/x"}]}
    schema["$defs"] = {
        "x": {"items": {"anyOf": [{"$ref": "#/$defs/x"}, {"$ref": "#/$defs/x"}], "type": "null"}}
    }
    value: Json = []
    for _ in range(30):
        value = [value]
    started = time.monotonic()
    assert check(json.dumps(value), asked(schema), timeout_s=0.2) is None
    assert time.monotonic() - started < PATIENCE_S  # without a limit it takes hours


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


def chain(links: int, last: Json) -> Json:
    """A schema of definitions that each refer twice to the next one."""
    twice = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(links)}
    return {"$ref": "#/$defs/d0", "$defs": {**twice, f"d{links}": last}}


@pytest.mark.parametrize(
    ("schema", "answer"),
    [
        pytest.param(chain(40, {"type": "array"}), "[]", id="2^40 ways through it"),
        pytest.param({**chain(40, {"type": "object"}), "unevaluatedProperties": False}, "{}", id="and rests"),
        pytest.param(chain(9, {"items": {"$ref": "#/$defs/d0"}}), nested(1000), id="a deep answer"),
        pytest.param({"items": {"$ref": "#"}}, nested(1000), id="a deep answer alone"),
        pytest.param({"allOf": [{"$ref": "#"}]}, "{}", id="itself in allOf"),
        pytest.param({"not": {"$ref": "#"}}, "{}", id="its own contrary"),
        pytest.param({"$dynamicAnchor": "n", "allOf": [{"$dynamicRef": "#n"}]}, "{}", id="itself by anchor"),
        pytest.param({"$ref": "file:///etc/passwd"}, "{}", id="a file"),
        pytest.param({"$id": "http://127.0.0.1:9/x", "$ref": "y"}, "{}", id="beside a page"),
    ],
)
def test_a_hostile_schema_says_nothing_and_in_time(schema: Json, answer: str) -> None:
    started = time.monotonic()
    assert check(answer, asked(schema), timeout_s=0.2) is None
    assert time.monotonic() - started < PATIENCE_S  # without a limit some take hours


def test_a_deep_schema_says_nothing() -> None:
    schema = '{"items":' * 3000 + "{}" + "}" * 3000
    form = f'{{"type": "json_schema", "json_schema": {{"schema": {schema}}}}}'
    assert check(nested(1000), form, max_bytes=100_000) is None


def test_no_depth_of_the_stack_makes_a_schema_that_refers_to_itself_end_the_process() -> None:
    def below(frames: int) -> bool | None:
        return below(frames - 1) if frames else check("1", asked({"if": {"$ref": "#"}}))

    assert {below(frames) for frames in range(30)} == {None}


def test_an_answer_as_deep_as_people_write_them_is_checked() -> None:
    tree = {"type": "object", "properties": {"kids": {"type": "array", "items": {"$ref": "#"}}}}
    value: Json = {"kids": 3}
    for _ in range(20):
        value = {"kids": [value]}
    assert check(json.dumps(value), asked(tree)) is False


def test_distinct_items_are_told_by_their_content() -> None:
    form = asked({"uniqueItems": True})
    assert (check("[[1], [2]]", form), check("[[1], [1]]", form)) == (True, False)


ANY_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=9)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                "type content role text tool_calls function name arguments input schema json_schema $ref "
                "properties items required anyOf enum $schema $id $defs $dynamicRef dependentSchemas".split()
            ),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)


@settings(deadline=None, max_examples=200)
@given(answer=ANY_JSON, form=ANY_JSON, tools=ANY_JSON)
def test_nothing_of_any_form_is_raised(answer: Json, form: Json, tools: Json) -> None:
    for shape in (json.dumps(form), asked(form)):
        assert check(answer, shape, json.dumps(tools)) in (True, False, None)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(
            {"role": "assistant", "content": "Here.", "images": [{"type": "image_url"}]}, id="beside"
        ),
        pytest.param([{"type": "text", "text": "Here."}, {"type": "image"}], id="among the parts"),
        pytest.param({"role": "assistant", "content": "", "audio": {"transcript": "Hi"}}, id="sound"),
        pytest.param(
            [{"type": "image_generation_call"}, {"type": "message", "content": [{"text": "Here."}]}],
            id="Responses' output",
        ),
    ],
)
def test_an_answer_with_an_image_or_a_sound_is_not_whole_without_it(answer: Json) -> None:
    assert whole_answer(answer) is None


def test_a_text_that_speaks_of_an_image_is_a_text() -> None:
    assert whole_answer('{"type": "image", "images": 3}') is not None


def test_a_whole_answer_has_one_form_for_all_protocols() -> None:
    said = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Hi"}]
    assert whole_answer(said) == whole_answer({"role": "assistant", "content": "Hi"}) == '{"text":"Hi"}'
