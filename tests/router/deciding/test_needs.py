from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from router.deciding.needs import NEEDS, PARTS, is_given, needs_of
from router.records import Json, Request
from tests.router.messages import json_values, requests

PICTURE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}


class Answer(BaseModel):
    number: int


def asking(*parts: Json, **fields: Json) -> Request:
    return Request(messages=[{"role": "user", "content": list(parts)}], **fields)


def plain(**parameters: Json) -> Request:
    return Request.of("hi", parameters=parameters)


def test_words_need_nothing() -> None:
    assert needs_of(Request.of("hi", task_type="chat", tags=["a"])) == ()


@pytest.mark.parametrize(
    ("request_", "needs"),
    [
        pytest.param(Request.of("hi", tools=[{"type": "function"}]), ("tools",), id="tools given"),
        pytest.param(Request.of("hi", tools=[]), (), id="no tools given"),
        pytest.param(plain(tool_choice="auto"), ("tools",), id="a choice of tools"),
        pytest.param(plain(tool_choice="none"), (), id="the choice of none"),
        pytest.param(plain(functions=[{"name": "f"}]), ("tools",), id="functions, their old name"),
        pytest.param(plain(functions=[]), (), id="no functions"),
        pytest.param(
            Request(messages=[{"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}]),
            ("tools",),
            id="a call of a tool",
        ),
        pytest.param(
            Request(messages=[{"role": "assistant", "content": "", "tool_calls": []}]), (), id="no call"
        ),
        pytest.param(
            Request(messages=[{"role": "assistant", "function_call": {"name": "f"}}]), ("tools",), id="old"
        ),
        pytest.param(Request(messages=[{"role": "tool", "content": "4"}]), ("tools",), id="a tool's answer"),
        pytest.param(asking({"type": "tool_result", "content": "4"}), ("tools",), id="likewise, as a part"),
    ],
)
def test_tools_are_needed_where_they_are_given_or_were_called(
    request_: Request, needs: tuple[str, ...]
) -> None:
    assert needs_of(request_) == needs


@pytest.mark.parametrize(
    ("part", "needs"),
    [
        pytest.param(PICTURE, ("vision",), id="an image's address"),
        pytest.param(
            {"type": "image_url", "image_url": "data:image/png;base64,AA"}, ("vision",), id="inline"
        ),
        pytest.param({"type": "input_image", "image_url": "x"}, ("vision",), id="of the Responses API"),
        pytest.param({"type": "image", "source": {"type": "base64"}}, ("vision",), id="Anthropic's form"),
        pytest.param({"type": "file", "file": {"file_id": "f"}}, ("pdf_input",), id="a file"),
        pytest.param({"type": "input_audio", "input_audio": {"format": "wav"}}, ("audio_input",), id="audio"),
        pytest.param({"type": "video_url", "video_url": {"url": "x"}}, ("video_input",), id="video"),
        pytest.param(
            {"type": "image_url", "image_url": {"url": "data:application/pdf;base64,AA"}},
            ("pdf_input",),
            id="a document where an image goes",
        ),
        pytest.param(
            {"type": "file", "file": {"file_data": "DATA:image/png;base64,AA"}},
            ("vision",),
            id="an image file",
        ),
        pytest.param({"type": "file", "file": {"format": "audio/mp3"}}, ("audio_input",), id="an audio file"),
        pytest.param({"type": "file", "file": {"file_data": "data:text/plain,hi"}}, (), id="a text file"),
        pytest.param(
            {"type": "document", "source": {"type": "base64", "media_type": "application/pdf"}},
            ("pdf_input",),
            id="Anthropic's document",
        ),
        pytest.param(
            {"type": "document", "source": {"type": "text", "data": "hi"}}, (), id="a text document"
        ),
        pytest.param(
            {"type": "tool_result", "content": [{"type": "text", "text": "see"}, PICTURE]},
            ("tools", "vision"),
            id="an image in a tool's answer",
        ),
        pytest.param(
            {"type": "document", "source": {"type": "content", "content": [PICTURE]}},
            ("vision",),
            id="an image in a document",
        ),
        pytest.param({"type": "text", "text": "image_url"}, (), id="text"),
        pytest.param({"type": "something new"}, (), id="a part of no known type"),
        pytest.param({"type": ["image"]}, (), id="a type that is no text"),
        pytest.param("image_url", (), id="a bare text"),
        pytest.param(None, (), id="null"),
    ],
)
def test_a_part_needs_what_its_data_is(part: Json, needs: tuple[str, ...]) -> None:
    assert needs_of(asking({"type": "text", "text": "what is this?"}, part)) == needs


def test_a_part_that_stands_alone_counts_too() -> None:
    assert needs_of(Request(messages=[{"role": "user", "content": PICTURE}])) == ("vision",)


@pytest.mark.parametrize(
    ("form", "needs"),
    [
        pytest.param({"type": "json_schema", "json_schema": {}}, ("json_schema",), id="a schema"),
        pytest.param(Answer, ("json_schema",), id="a class"),
        pytest.param(
            {"type": "json_object", "response_schema": {"type": "object"}},
            ("json_schema",),
            id="Google's form",
        ),
        pytest.param({"type": "json_object"}, (), id="any JSON"),
        pytest.param({"type": "text"}, (), id="text"),
        pytest.param(None, (), id="none"),
        pytest.param("json", (), id="no form at all"),
    ],
)
def test_a_schema_is_needed_where_one_is_given(form: Json, needs: tuple[str, ...]) -> None:
    assert needs_of(Request(messages=[{"role": "user"}], response_format=form)) == needs


@pytest.mark.parametrize(
    ("parameters", "needs"),
    [
        pytest.param({"reasoning_effort": "low"}, ("reasoning_effort",), id="reasoning"),
        pytest.param({"reasoning_effort": "none"}, (), id="no reasoning"),
        pytest.param({"reasoning_effort": None}, (), id="reasoning left open"),
        pytest.param({"thinking": {"type": "enabled", "budget_tokens": 9}}, ("thinking",), id="thinking"),
        pytest.param({"thinking": {"type": "disabled"}}, (), id="no thinking"),
        pytest.param({"logprobs": True}, ("logprobs",), id="log probabilities"),
        pytest.param({"logprobs": False}, (), id="none of them"),
        pytest.param({"top_logprobs": 5}, ("logprobs",), id="the likeliest"),
        pytest.param({"n": 2}, ("n",), id="two answers"),
        pytest.param({"n": 1}, (), id="one answer"),
        pytest.param({"n": "many"}, (), id="no number"),
        pytest.param({"modalities": ["text", "audio"]}, ("audio",), id="speech"),
        pytest.param({"modalities": ["text"]}, (), id="no speech"),
        pytest.param({"web_search_options": {}}, ("web_search_options",), id="a search"),
        pytest.param(
            {"temperature": 0.5, "max_tokens": 9, "top_p": 1, "stop": ["x"], "seed": 1}, (), id="hue"
        ),
    ],
)
def test_a_parameter_is_needed_where_the_answer_would_be_another_thing(
    parameters: Mapping[str, Json], needs: tuple[str, ...]
) -> None:
    assert needs_of(plain(**parameters)) == needs


def test_needs_come_in_the_tables_order_and_once() -> None:
    both = asking(PICTURE, PICTURE, {"type": "tool_use"}, tools=[{}], parameters={"n": 3})
    assert needs_of(both) == ("tools", "vision", "n")


def test_every_type_of_part_has_a_need_of_the_table() -> None:
    assert set(PARTS.values()) <= set(NEEDS)


@pytest.mark.parametrize("value", [None, False, 0, 0.0, "", [], {}, ()])
def test_what_asks_for_nothing_is_not_given(value: Json) -> None:
    assert not is_given(value)


@pytest.mark.parametrize("value", [True, 1, "auto", ["x"], {"a": 1}])
def test_what_asks_for_something_is_given(value: Json) -> None:
    assert is_given(value)


def test_parts_nested_a_thousand_deep_are_read() -> None:
    part: Json = PICTURE
    for _ in range(1_000):
        part = {"type": "tool_result", "content": [part]}
    assert needs_of(asking(part)) == ("tools", "vision")


@given(requests())
def test_no_legal_request_stops_the_reading(request_: Request) -> None:
    assert set(needs_of(request_)) <= set(NEEDS)


@given(st.dictionaries(st.sampled_from([*NEEDS, "functions", "tool_choice", "modalities"]), json_values()))
def test_no_parameters_value_stops_the_reading(parameters: dict[str, Json]) -> None:
    assert set(needs_of(plain(**parameters))) <= set(NEEDS)
