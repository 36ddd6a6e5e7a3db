from __future__ import annotations

import pytest

from router.errors import RequestError
from router.forecasting.features import embedded_text, featurize
from router.forecasting.read_part import (
    MOST_PARTS,
    READ_PARTS,
    READ_TOGETHER,
    READ_VALUES,
    check_size,
    ends,
    fitting_texts,
    read_part,
    tool_shape,
    tool_wordings,
)
from router.records import Json, Request
from router.version import Version

HOSTILE: dict[str, list[Json]] = {
    "nested": [{"a": None}],
    "long number": [10**5_000],
    "bytes as a key": [{b"a": 1}],
    "object": [{"a": object()}],
    "wide": [{"enum": [[1] * 3 * READ_VALUES]}],
    "wording of no text": [{"name": {"a": 1}, "description": 10**5_000}],
}
for _ in range(100_000):
    HOSTILE["nested"] = [{"properties": HOSTILE["nested"]}]
itself: list[Json] = []
itself.append(itself)
HOSTILE["itself"] = itself


def user(text: Json) -> dict[str, Json]:
    return {"role": "user", "content": text}


def test_a_usual_request_is_read_whole() -> None:
    request = Request.of([user("a"), user([{"type": "text", "text": "b"}])] * 100)
    assert read_part(request) is request
    assert fitting_texts(texts := ["a" * 1_000] * 19, READ_TOGETHER) is texts


def test_of_very_many_messages_head_tail_and_last_user_turn_are_read() -> None:
    messages = [{"role": "assistant", "content": str(number)} for number in range(5 * READ_PARTS)]
    messages[READ_PARTS] = user("the question")
    part = read_part(Request.of(messages))
    assert len(part.messages) == READ_PARTS + 1
    assert (part.messages[0], part.messages[-1]) == (messages[0], messages[-1])
    assert embedded_text(Request.of(messages)).startswith("the question")


def test_of_very_many_parts_as_few_are_read() -> None:
    text = {"type": "text", "text": "x"}
    part = read_part(Request.of([user([text] * READ_PARTS)] * 10))
    assert sum(len(message["content"]) for message in part.messages) <= 2 * READ_PARTS


def test_ends_and_texts_keep_head_and_tail_within_their_room() -> None:
    assert list(ends(range(10), 4)) == [0, 1, 8, 9]
    kept = fitting_texts([str(number) * 100 for number in range(10)], 500)
    assert kept[0] == "0" * 100
    assert kept[-1] == "9" * 100
    assert sum(map(len, kept)) <= 500
    assert sum(map(len, fitting_texts(["x" * 10_000_000], 500))) <= 500


@pytest.mark.parametrize("tools", HOSTILE.values(), ids=HOSTILE)
def test_tools_of_any_form_have_a_bounded_shape(tools: Json) -> None:
    shape = tool_shape(tools)
    assert shape.properties <= READ_VALUES
    assert shape.depth <= 32
    assert sum(map(len, tool_wordings(tools))) <= READ_TOGETHER


@pytest.mark.parametrize("tools", HOSTILE.values(), ids=HOSTILE)
def test_tools_of_any_form_have_features(version: Version, tools: Json) -> None:
    request = Request.of("hi", tools=tools)
    assert len(featurize([request], [version.encode(request)], version.spec)) == 1


def test_the_tokens_of_messages_that_are_not_read_count(version: Version) -> None:
    request = Request.of([user("some words ")] * 5 * READ_PARTS)
    assert version.features([request], [version.encode(request)]).tokens[0] > READ_PARTS


def test_more_messages_than_any_provider_takes_are_refused() -> None:
    check_size(Request.of([user(["x"])] * (MOST_PARTS // 2)))
    with pytest.raises(RequestError, match="at most 5,000"):
        Request.of([user("x")] * (MOST_PARTS + 1))
    with pytest.raises(RequestError, match="shorten it"):
        check_size(Request.of([user(["x"] * MOST_PARTS)]))
