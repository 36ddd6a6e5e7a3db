from __future__ import annotations

import json

import litellm
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.deciding.needs import PARTS
from router.forecasting.request_tokens import (
    MEDIA,
    MEDIA_TOKENS,
    MOST_NODES,
    billed_output,
    billed_tokens,
    contents_of,
    request_contents,
    tokens_of_one,
)
from router.records import Json, Request, turn_texts
from tests.router.messages import requests

LONG = "word " * 10_000
"""About 10,000 tokens."""


def billed(request: Request, encoded: float = 5.0, counted: float | None = None) -> float:
    said = list(turn_texts(request.messages))
    return billed_tokens(request, said, encoded, encoded if counted is None else counted)


def saying(content: Json, **members: Json) -> Request:
    return Request.of([{"role": "user", "content": content, **members}])


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(saying([LONG]), id="a part that is plain text"),
        pytest.param(saying([{"type": "tool_result", "content": LONG}]), id="a tool's result"),
        pytest.param(saying([{"type": "tool_result", "content": [{"text": LONG}]}]), id="its parts"),
        pytest.param(saying([{"type": "document", "source": {"type": "text", "data": LONG}}]), id="document"),
        pytest.param(saying({"text": LONG}), id="one part without a list"),
        pytest.param(saying(None, tool_calls=[{"function": {"arguments": LONG}}]), id="tool call"),
        pytest.param(saying(None, function_call={"name": "f", "arguments": LONG}), id="function call"),
        pytest.param(saying("hi", reasoning_content=LONG), id="reasoning"),
        pytest.param(Request.of("hi", response_format={"schema": {"d": LONG}}), id="response format"),
        pytest.param(Request.of("hi", response_format={LONG: 1}), id="a member's name"),
        pytest.param(Request.of("hi", parameters={"functions": [{"description": LONG}]}), id="functions"),
        pytest.param(Request.of("hi", parameters={"extra_body": {"x": LONG}}), id="an unknown argument"),
        pytest.param(saying("x" * 50_000), id="text that the encoder takes for one word"),
        pytest.param(saying([{"type": "weird", "payload": LONG}]), id="an unknown part"),
    ],
)
def test_what_the_encoder_does_not_read_is_counted(request_: Request) -> None:
    assert 9_000 < billed(request_) < 15_000


TOOL = {"name": "find", "parameters": {"type": "object", "properties": {"id": {"type": "string"}}}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "find", "arguments": '{"id": "A-77"}'}}


def _shapes() -> dict[str, tuple[Request, Json]]:
    """For each way in which an agent's text is sent: a request, and what a provider bills of it."""
    rows = [{"id": f"A-{row}77", "state": "on its way", "qty": row, "price": 19.95} for row in range(40)]
    text = "The carrier says it was left with a neighbour, but nobody knows about it; what should I do? " * 50
    written, tools, function = json.dumps(rows), [TOOL] * 40, {"name": "find", "arguments": json.dumps(rows)}
    result = [{"type": "tool_result", "content": [{"type": "text", "text": text}]}]
    use = [{"type": "tool_use", "id": "1", "name": "find", "input": rows}]
    document = [{"type": "document", "source": {"type": "text", "data": text}}]
    schema = {"type": "json_schema", "json_schema": tools}
    system = [{"role": "system", "content": text}, {"role": "user", "content": "hi"}]
    return {
        "text": (saying(text), text),
        "text in parts": (saying([{"type": "text", "text": text}]), text),
        "system text": (Request.of(system), text),
        "a tool call": (saying(None, tool_calls=[{**CALL, "function": function}]), written),
        "a function call": (saying(None, function_call=function), written),
        "a tool's result": (Request.of([{"role": "tool", "tool_call_id": "1", "content": written}]), written),
        "a result in parts": (saying(result), text),
        "a call in parts": (saying(use), rows),
        "a document": (saying(document), text),
        "tools": (Request.of("hi", tools=tools), tools),
        "functions": (Request.of("hi", parameters={"functions": tools}), tools),
        "a schema": (Request.of("hi", response_format=schema), tools),
    }


@pytest.mark.parametrize("shape", _shapes())
def test_the_count_is_the_tokenizers_within_15_percent(shape: str) -> None:
    request, billed = _shapes()[shape]
    text = billed if isinstance(billed, str) else json.dumps(billed)
    exact = litellm.token_counter(model="", text=text)
    assert request_contents(request).tokens == pytest.approx(exact, rel=0.15)


@pytest.mark.parametrize(
    ("called", "factor"),
    [("gpt-4o", 1.0), ("anthropic/claude-opus-4-7", 1.2), ("bedrock/eu.anthropic.Claude-3-haiku", 1.2)],
)
def test_claude_counts_more_tokens_than_others(called: str, factor: float) -> None:
    assert tokens_of_one(called) == factor


@pytest.mark.parametrize("content", ["Where is my order?", [{"type": "text", "text": "Where is my order?"}]])
def test_plain_chat_is_counted_by_the_encoder_alone(content: Json) -> None:
    turns = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": content}]
    assert billed(Request.of(turns, parameters={"temperature": 1, "stop": ["x"]}), 7.0, 9.0) == 9.0


@pytest.mark.parametrize("kind", sorted(kind for kind, need in PARTS.items() if need != "tools"))
def test_every_part_that_is_no_text_has_its_tokens(kind: str) -> None:
    assert kind in MEDIA
    assert billed(saying([{"type": kind, "data": "A" * 100_000}])) == 5.0 + MEDIA_TOKENS


def test_what_has_no_known_count_is_named() -> None:
    assert request_contents(saying([{"type": "weird", "id": "1"}])).uncounted == "a part of type 'weird'"
    assert request_contents(saying([{"type": "text", "text": "hi"}])).uncounted is None
    assert contents_of([[1] * (2 * MOST_NODES)]).uncounted == f"more than {MOST_NODES:,} values"


@pytest.mark.parametrize(
    ("parameters", "tokens"),
    [
        pytest.param({}, 200, id="nothing"),
        pytest.param({"n": 128}, 25_600, id="many answers"),
        pytest.param({"extra_body": {"n": 3}}, 600, id="many by a detour"),
        pytest.param({"max_tokens": 50}, 50, id="a bound"),
        pytest.param({"max_completion_tokens": 50, "n": 2}, 100, id="bound and number"),
        pytest.param({"max_tokens": 10**400}, 200, id="no bound"),
        pytest.param({"thinking": {"budget_tokens": 4_000}}, 4_000, id="reasoning"),
        pytest.param({"thinking": {"budget_tokens": 4_000}, "max_tokens": 900}, 900, id="bounded reasoning"),
        pytest.param({"n": True, "max_tokens": "x", "thinking": "y"}, 200, id="nonsense"),
    ],
)
def test_the_answers_are_counted_as_requested(parameters: dict[str, Json], tokens: float) -> None:
    assert billed_output(np.array([200.0]), parameters).tolist() == [tokens]


def test_nesting_without_end_is_counted() -> None:
    deep: Json = "x"
    for _ in range(50_000):
        deep = {"content": [deep]}
    assert billed(saying([deep])) > 5.0


@given(requests(), st.floats(0, 1e6))
def test_no_legal_request_costs_less_than_the_encoder_counts(request_: Request, encoded: float) -> None:
    assert billed(request_, encoded) >= encoded


@pytest.mark.parametrize("kind", [["text"], {"a": 1}, 7, None])
def test_a_part_whose_type_is_no_text_is_counted(kind: Json) -> None:
    request = Request.of([{"role": "user", "content": [{"type": kind, "text": LONG}]}])
    assert billed(request, 1.0, 1.0) > 0
