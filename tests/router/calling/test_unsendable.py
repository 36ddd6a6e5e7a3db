from __future__ import annotations

import math
import re
from typing import Any

import pytest

from router.calling.unsendable import why_no_timeout, why_unsendable


def user(content: object, **more: object) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content, **more}]}


def nested(depth: int, inside: object) -> object:
    for _ in range(depth):
        inside = [inside]
    return inside


def arguments_of(text: str) -> dict[str, Any]:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": text}}
    return {"messages": [{"role": "assistant", "tool_calls": [call]}]}


@pytest.mark.parametrize(
    ("arguments", "where"),
    [
        pytest.param(
            user("ab\ud800"), r"messages\[0\]\.content has half of a surrogate pair at character 3", id="text"
        ),
        pytest.param(
            user([{"type": "text", "text": b"a"}]), r"content\[0\]\.text is of type bytes", id="bytes"
        ),
        pytest.param(user("a", role="us\udfff"), r"\.role has half", id="role"),
        pytest.param({"temperature": math.nan}, "temperature is nan", id="nan"),
        pytest.param({"logit_bias": {"1": math.inf}}, r"logit_bias\.1 is inf", id="inf"),
        pytest.param({"stop": object()}, "stop is of type object", id="object"),
        pytest.param({"tools": [{b"name": "f"}]}, r"a key of tools\[0\] is of type bytes", id="key"),
        pytest.param({"tools": [{"\ud800": "f"}]}, r"a key of tools\[0\] has half", id="key text"),
        pytest.param({"stop": {"a", "b"}}, "stop is of type set", id="set"),
        pytest.param({"stop": nested(100_000, math.nan)}, "is nan", id="deep"),
        pytest.param({"extra_headers": {"x": "a\r\nb"}}, "the value of 'x'", id="line end"),
        pytest.param({"extra_headers": {"x": "\u20ac"}}, "the value of 'x'", id="not ASCII"),
        pytest.param({"extra_headers": {"x": 5}}, "texts only, got int", id="number"),
        pytest.param({"extra_headers": 5}, "must be an object of texts", id="no object"),
        pytest.param(arguments_of("{oops"), "the arguments of a tool call are no JSON", id="call"),
    ],
)
def test_names_the_first_value_that_can_not_be_sent(arguments: dict[str, Any], where: str) -> None:
    why = why_unsendable(arguments)
    assert why is not None
    assert re.search(where, why), why
    assert len(why) < 400


@pytest.mark.parametrize(
    "arguments",
    [
        user("\u00e4\U0001f600"),
        user(
            [
                {"type": "text", "text": "a"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}},
            ]
        ),
        arguments_of('{"a": 1}'),
        arguments_of(""),
        {"temperature": 0.5, "n": 2, "stream": True, "stop": None, "tools": ()},
        {"extra_headers": {"x-tenant": "a\tb"}},
        {"response_format": dict, "metadata": {"a": object()}, "timeout": object()},
    ],
)
def test_what_can_be_sent_has_no_reason(arguments: dict[str, Any]) -> None:
    assert why_unsendable(arguments) is None


@pytest.mark.parametrize("timeout", [-1, 0, math.nan, math.inf, "abc", b"1", True, [1], {"read": 1}])
def test_a_timeout_is_a_positive_number(timeout: object) -> None:
    assert why_no_timeout(timeout) is not None


@pytest.mark.parametrize("timeout", [None, 1, 0.5, object()])
def test_no_timeout_a_number_and_the_librarys_own_pass(timeout: object) -> None:
    assert why_no_timeout(timeout) is None
