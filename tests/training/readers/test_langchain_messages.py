from __future__ import annotations

import pytest

from router.records import Json
from training.readers.langchain_messages import chat_of, generation_evidence, model_of

CALL = {"name": "f", "args": {"x": 1}, "id": "c", "type": "tool_call"}
CALLED = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}}


def constructed(kind: str, **fields: Json) -> Json:
    return {"lc": 1, "type": "constructor", "id": ["langchain", "schema", "messages", kind], "kwargs": fields}


@pytest.mark.parametrize(
    ("message", "chat"),
    [
        pytest.param({"type": "human", "content": "a"}, {"role": "user", "content": "a"}, id="plain"),
        pytest.param(
            constructed("HumanMessage", content="a"), {"role": "user", "content": "a"}, id="constructor"
        ),
        pytest.param(
            {"type": "system", "data": {"content": "a"}}, {"role": "system", "content": "a"}, id="with data"
        ),
        pytest.param(
            {"type": "AIMessageChunk", "content": "", "tool_calls": [CALL]},
            {"role": "assistant", "content": "", "tool_calls": [CALLED]},
            id="a piece that calls a tool",
        ),
        pytest.param(
            constructed("ToolMessage", content="1", tool_call_id="c", name="f"),
            {"role": "tool", "content": "1", "tool_call_id": "c", "name": "f"},
            id="a tool's result",
        ),
        pytest.param({"role": "user", "content": "a"}, {"role": "user", "content": "a"}, id="of chat"),
        pytest.param({"type": "text", "text": "a"}, {"type": "text", "text": "a"}, id="no message"),
        pytest.param("a", "a", id="a text"),
    ],
)
def test_a_message_of_any_form_is_one_of_chat(message: Json, chat: Json) -> None:
    assert chat_of([message]) == [chat]
    assert chat_of([[message]]) == [chat]


def test_what_is_no_list_stays() -> None:
    assert chat_of("hello") == "hello"


@pytest.mark.parametrize(
    ("generation", "evidence"),
    [
        (
            {"text": "a", "generation_info": {"finish_reason": "length"}},
            {"finish_reason": "length", "answer": "a"},
        ),
        (
            {
                "text": "a",
                "message": {"type": "ai", "content": "a", "response_metadata": {"stop_reason": "end"}},
            },
            {"finish_reason": "end", "answer": {"role": "assistant", "content": "a"}},
        ),
    ],
)
def test_the_first_generation_is_the_answer(generation: Json, evidence: Json) -> None:
    assert generation_evidence({"generations": [[generation]]}) == evidence
    assert generation_evidence({"generations": [generation]}) == evidence


def test_other_outputs_have_none() -> None:
    assert generation_evidence({"choices": []}) == {}


@pytest.mark.parametrize("name", ["model", "model_name", "model_id", "modelId", "deployment_name"])
def test_the_model_is_the_invocations_before_the_runs(name: str) -> None:
    assert model_of({name: "m"}, {"ls_model_name": "n", "ls_provider": "p"}) == ("m", "p")
    assert model_of({}, '{"ls_model_name": "n"}') == ("n", None)
