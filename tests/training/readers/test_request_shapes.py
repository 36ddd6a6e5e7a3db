"""Requests of every protocol become the same chat, and what is no chat stays what it is."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.records import Json
from training.readers.message_shapes import chat_of, holds_prompt, is_chat
from training.readers.request_shapes import answer_evidence, request_fields

ASKED = {"role": "user", "content": "Bus?"}
SYSTEM = {"role": "system", "content": "Be brief."}
GEMINI = [{"role": "user", "parts": [{"text": "Bus?"}]}]
SCHEMA = {"type": "object", "properties": {}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": SCHEMA}}


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"messages": [ASKED]}, id="chat"),
        pytest.param({"messages": json.dumps([ASKED])}, id="chat as JSON text"),
        pytest.param({"messages": ASKED}, id="one message in the place of a list"),
        pytest.param({"messages": "Bus?"}, id="a text in the place of messages"),
        pytest.param({"messages": {"messages": [ASKED]}}, id="a body in the place of messages"),
        pytest.param({"messages": [[ASKED]]}, id="a list of one list"),
        pytest.param({"messages": [["human", "Bus?"]]}, id="pairs of role and text"),
        pytest.param({"messages": [{"role": "user", "content": ["Bus?"]}]}, id="a bare text in a list"),
        pytest.param({"messages": [{"role": "user", "content": [["Bus?"]]}]}, id="a nested list"),
        pytest.param({"messages": [{"role": "user", "content": {"text": "Bus?"}}]}, id="one part"),
        pytest.param({"messages": [{"role": "user", "content": {"parts": ["Bus?"]}}]}, id="parts within"),
        pytest.param({"messages": [{"role": "User", "content": [{"text": "Bus?"}]}]}, id="Bedrock"),
        pytest.param({"messages": [{"type": "human", "content": "Bus?"}]}, id="LangChain"),
        pytest.param({"messages": [{"type": "human", "data": {"content": "Bus?"}}]}, id="LangChain's dict"),
        pytest.param(
            {
                "messages": [
                    {
                        "lc": 1,
                        "type": "constructor",
                        "id": ["langchain", "schema", "messages", "HumanMessage"],
                        "kwargs": {"content": "Bus?"},
                    }
                ]
            },
            id="LangChain's dump",
        ),
        pytest.param({"input": "Bus?"}, id="Responses: a text"),
        pytest.param({"input": [ASKED]}, id="Responses: messages"),
        pytest.param(
            {
                "input": [
                    {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Bus?"}]}
                ]
            },
            id="Responses: items",
        ),
        pytest.param({"input": [{"type": "input_text", "text": "Bus?"}]}, id="Responses: a part alone"),
        pytest.param({"contents": GEMINI}, id="Gemini"),
        pytest.param({"contents": "Bus?"}, id="Gemini: a text"),
        pytest.param({"contents": {"parts": [{"text": "Bus?"}]}}, id="Gemini: one content without a role"),
        pytest.param({"messages": GEMINI}, id="Gemini's contents among messages"),
        pytest.param({"messages": json.dumps(json.dumps({"contents": GEMINI}))}, id="text within text"),
        pytest.param({"messages": json.dumps({"contents": GEMINI})}, id="Gemini's body as JSON text"),
        pytest.param({"prompt": json.dumps({"contents": GEMINI})}, id="Gemini's body as a prompt"),
        pytest.param({"message": "Bus?", "chat_history": []}, id="Cohere"),
        pytest.param({"inputText": "Bus?"}, id="Titan"),
    ],
)
def test_a_question_is_the_same_in_every_protocol(body: Json) -> None:
    [message] = request_fields(body)["messages"]
    parts = message["content"]
    text = parts if isinstance(parts, str) else "".join(part["text"] for part in parts)
    assert (message["role"], text) == ("user", "Bus?")


@pytest.mark.parametrize(
    "system",
    [
        pytest.param({"system": "Be brief."}, id="Anthropic"),
        pytest.param({"system": [{"text": "Be brief."}]}, id="Bedrock"),
        pytest.param({"instructions": "Be brief."}, id="Responses"),
        pytest.param({"systemInstruction": {"parts": [{"text": "Be brief."}]}}, id="Gemini"),
        pytest.param({"system_instruction": "Be brief."}, id="Gemini in snake case"),
        pytest.param({"config": {"system_instruction": "Be brief."}}, id="Gemini's SDK"),
    ],
)
def test_a_system_message_beside_the_messages_is_their_first(system: Json) -> None:
    assert request_fields({"messages": [ASKED], **system})["messages"] == [SYSTEM, ASKED]
    assert request_fields({"messages": [SYSTEM, ASKED], **system})["messages"] == [SYSTEM, ASKED]


@pytest.mark.parametrize(
    "tools",
    [
        pytest.param({"tools": [TOOL]}, id="chat"),
        pytest.param({"functions": [{"name": "f", "parameters": SCHEMA}]}, id="legacy functions"),
        pytest.param({"tools": [{"type": "function", "name": "f", "parameters": SCHEMA}]}, id="Responses"),
        pytest.param({"tools": [{"name": "f", "input_schema": SCHEMA}]}, id="Anthropic"),
        pytest.param(
            {"tools": [{"functionDeclarations": [{"name": "f", "parameters": SCHEMA}]}]}, id="Gemini"
        ),
        pytest.param(
            {"toolConfig": {"tools": [{"toolSpec": {"name": "f", "inputSchema": {"json": SCHEMA}}}]}},
            id="Bedrock",
        ),
    ],
)
def test_a_tool_is_the_same_in_every_protocol(tools: Json) -> None:
    assert request_fields({"messages": [ASKED], **tools})["tools"] == [TOOL]


@pytest.mark.parametrize(
    "form",
    [
        pytest.param({"response_format": {"type": "json_object"}}, id="chat"),
        pytest.param({"text": {"format": {"type": "json_object"}}}, id="Responses"),
        pytest.param({"generationConfig": {"responseMimeType": "application/json"}}, id="Gemini"),
    ],
)
def test_a_response_format_is_the_same_in_every_protocol(form: Json) -> None:
    assert request_fields({"messages": [ASKED], **form})["response_format"] == {"type": "json_object"}


@pytest.mark.parametrize(
    "text",
    ["42", "null", "true", "[5, 3, 9, 1]", '{"order": 17}', '["a", "b"]', '[{"role": "admin"}]', "{", "[]"],
)
@pytest.mark.parametrize("name", ["messages", "input", "prompt", "contents"])
def test_a_text_that_opens_to_no_messages_stays_the_prompt(name: str, text: str) -> None:
    fields = request_fields({name: text})
    assert fields in ({"prompt": text}, {"messages": [{"role": "user", "content": text}]})


@pytest.mark.parametrize("text", ['{"order": 17}', "[5, 3]", "42", json.dumps([ASKED])])
def test_the_content_of_a_message_is_never_opened(text: str) -> None:
    assert request_fields({"messages": [{"role": "user", "content": text}]})["messages"][0]["content"] == text


@pytest.mark.parametrize(
    "kind",
    [
        "web_search_call",
        "file_search_call",
        "computer_call",
        "code_interpreter_call",
        "image_generation_call",
        "mcp_call",
        "mcp_list_tools",
        "mcp_approval_request",
        "local_shell_call",
        "item_reference",
        "compaction",
        "reasoning",
        "of next year",
    ],
)
def test_an_item_of_any_kind_is_a_turn_of_the_assistant(kind: str) -> None:
    later = {"role": "user", "content": "And on Sunday?"}
    messages = request_fields({"input": [ASKED, {"type": kind, "id": "i"}, later]})["messages"]
    assert messages == [ASKED, {"role": "assistant", "content": None}, later]


@pytest.mark.parametrize(
    ("call", "result"),
    [
        pytest.param(
            {"type": "function_call", "call_id": "f", "name": "f", "arguments": {"a": 1}},
            {"type": "function_call_output", "call_id": "f", "output": {"b": 2}},
            id="Responses",
        ),
        pytest.param(
            {"role": "model", "parts": [{"functionCall": {"id": "f", "name": "f", "args": {"a": 1}}}]},
            {"role": "user", "parts": [{"functionResponse": {"id": "f", "response": {"b": 2}}}]},
            id="Gemini",
        ),
        pytest.param(
            {
                "role": "assistant",
                "content": [{"toolUse": {"toolUseId": "f", "name": "f", "input": {"a": 1}}}],
            },
            {"role": "user", "content": [{"toolResult": {"toolUseId": "f", "content": {"b": 2}}}]},
            id="Bedrock",
        ),
        pytest.param(
            {
                "role": "assistant",
                "content": [{"type": "tool-call", "toolCallId": "f", "toolName": "f", "args": {"a": 1}}],
            },
            {"role": "tool", "content": [{"type": "tool-result", "toolCallId": "f", "result": {"b": 2}}]},
            id="the AI SDK",
        ),
        pytest.param(
            {"type": "ai", "content": "", "tool_calls": [{"id": "f", "name": "f", "args": {"a": 1}}]},
            {"type": "tool", "content": '{"b":2}', "tool_call_id": "f"},
            id="LangChain",
        ),
    ],
)
def test_a_call_of_a_tool_and_its_result_are_the_same_in_every_protocol(call: Json, result: Json) -> None:
    asked, answered = chat_of([call, result])
    assert asked["role"] == "assistant"
    assert asked["tool_calls"] == [
        {"id": "f", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    ]
    assert {name: answered[name] for name in ("role", "tool_call_id", "content")} == {
        "role": "tool",
        "tool_call_id": "f",
        "content": '{"b":2}',
    }


@pytest.mark.parametrize(
    ("messages", "held"),
    [
        pytest.param([ASKED], True, id="text"),
        pytest.param(
            [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}], True, id="image"
        ),
        pytest.param([{"role": "assistant", "content": None, "tool_calls": [{}]}], True, id="tool call"),
        pytest.param([{"role": "user", "content": ""}], False, id="no text"),
        pytest.param([{"role": "user", "content": " \n"}], False, id="white space"),
        pytest.param([{"role": "user", "content": [{"type": "text", "text": None}]}], False, id="null text"),
        pytest.param([{"role": "user"}], False, id="no content"),
        pytest.param([], False, id="no message"),
        pytest.param("text", True, id="a text"),
        pytest.param("", False, id="an empty text"),
    ],
)
def test_a_prompt_has_a_text_an_image_or_a_call(messages: Json, held: bool) -> None:
    assert holds_prompt(messages) is held


@pytest.mark.parametrize("tokens", [[1, 2], [[1, 2]], [[1, 2], [3]]])
@pytest.mark.parametrize("name", ["messages", "input", "prompt"])
def test_token_numbers_are_no_prompt(name: str, tokens: Json) -> None:
    fields = request_fields({name: tokens})
    assert not holds_prompt(fields.get("messages") or fields.get("prompt"))


PART = st.fixed_dictionaries({"type": st.sampled_from(["text", "thinking"]), "text": st.text(max_size=5)})
CONTENT = st.none() | st.text(max_size=5) | st.lists(PART)
MESSAGE = st.fixed_dictionaries({"role": st.sampled_from(["user", "tool"]), "content": CONTENT})


@given(
    messages=st.lists(
        st.builds(
            lambda role, content: {"role": role, "content": content},
            st.sampled_from(["user", "tool"]),
            CONTENT,
        )
    )
)
def test_a_chat_stays_as_it_is(messages: Json) -> None:
    assert is_chat(messages)
    assert chat_of(messages) == messages


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        pytest.param({"choices": [{"message": "A", "finish_reason": "stop"}]}, "stop", id="chat"),
        pytest.param({"choices": [{"text": "A", "finish_reason": "stop"}]}, "stop", id="text completion"),
        pytest.param({"content": "A", "stop_reason": "end_turn"}, "end_turn", id="Anthropic"),
        pytest.param({"output": "A", "status": "completed"}, "completed", id="Responses"),
        pytest.param({"results": [{"outputText": "A", "completionReason": "FINISH"}]}, "FINISH", id="Titan"),
        pytest.param({"generation": "A", "stop_reason": "stop"}, "stop", id="Llama"),
        pytest.param({"outputs": [{"text": "A", "stop_reason": "stop"}]}, "stop", id="Mistral"),
        pytest.param({"text": "A", "finish_reason": "COMPLETE"}, "COMPLETE", id="Cohere"),
    ],
)
def test_reason_and_answer_are_found_in_every_protocol(body: Json, reason: str) -> None:
    assert answer_evidence(body) == {"finish_reason": reason, "answer": "A"}


@pytest.mark.parametrize(
    "body",
    [
        {"candidates": [{"content": {"role": "model", "parts": [{"text": "A"}]}, "finishReason": "STOP"}]},
        {"output": {"message": {"role": "assistant", "content": [{"text": "A"}]}}, "stopReason": "STOP"},
    ],
    ids=["Gemini", "Bedrock"],
)
def test_an_answer_in_parts_is_a_chat_message(body: Json) -> None:
    assert answer_evidence(body) == {"finish_reason": "STOP", "answer": {"role": "assistant", "content": "A"}}


@pytest.mark.parametrize(
    "output", [{"status": "ok", "result": 4}, {"role": "assistant", "content": "4"}, {}, None, "4"]
)
def test_an_output_of_an_application_is_no_response_body(output: Json) -> None:
    assert answer_evidence(output) == {}
