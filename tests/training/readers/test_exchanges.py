"""What clouds and gateways log of a call, read whole."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import fsspec
import pytest

from router.records import Json
from tests.services.object_stores import ObjectStore, s3_store
from tests.training.logs import read, write_lines
from tests.training.readers.counting import counted
from tests.training.readers.example_gateways import (
    ASKED,
    CHAT,
    COMPLETION,
    CONVERSE,
    EVENT,
    EXAMPLES,
    MESSAGE,
    PART,
    PORTKEY,
    REPLAY,
    RESPONSE,
    VERTEX,
)
from training.readers.exchanges import exchange, named, tokens_of
from training.readers.protocol import NO_MODEL, NO_PROMPT
from training.readers.stream_chunks import answer_body

SYSTEM = {"role": "system", "content": "Be brief."}
START = {"type": "message_start", "message": MESSAGE}


def calls_of(folder: Path, *rows: Json, **settings: Json) -> list[dict[str, Any]]:
    return counted(read(folder, write_lines(folder / "rows.jsonl", *rows), **settings))


def apart(folder: Path, good: Json, *rows: Json) -> Mapping[str, int]:
    """Why rows are set apart, beside one that is a call."""
    return read(folder, write_lines(folder / "rows.jsonl", good, *rows)).summary.set_apart


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        pytest.param(
            "bedrock",
            {
                "call_id": "b1",
                "model": "bedrock/amazon.nova-lite-v1:0",
                "input_tokens": 4,
                "output_tokens": 38,
                "latency_s": 0.302,
                "tags": ["team:a"],
            },
            id="Bedrock",
        ),
        pytest.param(
            "azure-apim",
            {"call_id": "c1", "model": "gpt-4o", "input_tokens": 12, "output_tokens": 3},
            id="API Management",
        ),
        pytest.param(
            "vertex-ai",
            {
                "call_id": "17",
                "model": "vertex_ai/gemini-2.5-flash",
                "input_tokens": 9,
                "output_tokens": 7,
                "tags": ["team:a"],
            },
            id="Vertex AI",
        ),
        pytest.param(
            "openai-stored",
            {
                "call_id": "resp_1",
                "model": "gpt-4o-mini",
                "input_tokens": 9,
                "output_tokens": 2,
                "truncated": False,
            },
            id="a stored response",
        ),
        pytest.param(
            "anthropic-messages",
            {
                "call_id": "msg_1",
                "model": "gpt-4o-mini",
                "input_tokens": 1100,
                "output_tokens": 50,
                "task_type": "math",
            },
            id="Messages",
        ),
        pytest.param(
            "portkey",
            {
                "call_id": "p1",
                "model": "openai/gpt-4o-mini",
                "cost_usd": 0.00021,
                "latency_s": 1.5,
                "input_tokens": 1000,
                "session_id": "t1",
            },
            id="Portkey",
        ),
        pytest.param(
            "cloudflare",
            {"model": "openai/gpt-4o-mini", "cost_usd": 0.0042, "latency_s": 1.234, "input_tokens": 1000},
            id="Cloudflare",
        ),
        pytest.param(
            "vllm-sr",
            {
                "call_id": "r1",
                "model": "small",
                "cost_usd": 0.002,
                "latency_s": 0.9,
                "success": True,
                "outcome_source": "feedback",
                "propensity": 1.0,
                "policy_version": "v3",
                "session_id": "s",
                "confidence": 0.8,
                "decision_source": "learned",
            },
            id="vLLM's semantic router",
        ),
    ],
)
def test_a_record_is_a_call_with_all_that_was_logged_of_it(
    tmp_path: Path, name: str, fields: Mapping[str, Json]
) -> None:
    [call] = calls_of(tmp_path, EXAMPLES[name][0])
    assert {field: call[field] for field in fields} == {
        field: pytest.approx(value) if isinstance(value, float) else value for field, value in fields.items()
    }
    messages = json.loads(call["messages"])
    assert messages[-1] == ASKED
    assert messages[:-1] in ([], [SYSTEM])
    assert call["time"] is not None or name == "anthropic-messages"


# Bedrock


@pytest.mark.parametrize(
    ("given", "model"),
    [
        pytest.param("anthropic.claude-3-haiku", "bedrock/anthropic.claude-3-haiku", id="a name"),
        pytest.param(
            "arn:aws:bedrock:us-east-1::foundation-model/meta.llama3",
            "bedrock/meta.llama3",
            id="a model's ARN",
        ),
        pytest.param(
            "arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude",
            "bedrock/us.anthropic.claude",
            id="a profile's ARN",
        ),
        pytest.param(
            "arn:aws:bedrock:us-east-1:1:application-inference-profile/x1",
            "bedrock/arn:aws:bedrock:us-east-1:1:application-inference-profile/x1",
            id="a profile of one's own",
        ),
    ],
)
def test_bedrock_s_model_is_named_as_litellm_names_it(tmp_path: Path, given: str, model: str) -> None:
    assert calls_of(tmp_path, {**CONVERSE, "modelId": given})[0]["model"] == model


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        pytest.param(
            {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9, "messages": [ASKED]},
            MESSAGE,
            id="Anthropic",
        ),
        pytest.param(
            {"inputText": "2 + 2?"}, {"results": [{"outputText": "4"}], "inputTextTokenCount": 4}, id="Titan"
        ),
        pytest.param(
            {"prompt": "2 + 2?", "max_gen_len": 9}, {"generation": "4", "stop_reason": "stop"}, id="Llama"
        ),
        pytest.param({"prompt": "2 + 2?"}, {"outputs": [{"text": "4", "stop_reason": "stop"}]}, id="Mistral"),
        pytest.param(
            {"message": "2 + 2?", "chat_history": []}, {"text": "4", "finish_reason": "COMPLETE"}, id="Cohere"
        ),
        pytest.param({"messages": [{"role": "user", "content": [{"text": "2 + 2?"}]}]}, {}, id="Nova"),
        pytest.param({"messages": [ASKED]}, COMPLETION, id="the OpenAI-compatible endpoint"),
        pytest.param(
            {"messages": [ASKED]},
            [
                {"type": "message_start", "message": MESSAGE},
                {"type": "content_block_delta", "delta": {"text": "4"}},
            ],
            id="a stream",
        ),
    ],
)
def test_the_body_of_each_family_is_read(tmp_path: Path, body: Json, answer: Json) -> None:
    row = {
        **CONVERSE,
        "operation": "InvokeModel",
        "input": {"inputBodyJson": body},
        "output": {"outputBodyJson": answer},
    }
    [call] = calls_of(tmp_path, row)
    assert call["prompt"] == "2 + 2?" or json.loads(call["messages"]) == [ASKED]


def test_an_error_of_bedrock_is_the_model_s_where_the_prompt_was_too_long(tmp_path: Path) -> None:
    failed = {**CONVERSE, "requestId": "f", "output": {}}
    rows = [
        {**failed, "requestId": "a", "errorCode": "ThrottlingException"},
        {
            **failed,
            "requestId": "b",
            "errorCode": "ValidationException",
            "errorMessage": "prompt is too long",
        },
    ]
    assert [(call["success"], call["outcome_source"]) for call in calls_of(tmp_path, *rows)] == [
        (None, "error"),
        (False, "error"),
    ]
    callers = [{**failed, "errorCode": code} for code in ("ValidationException", "AccessDeniedException")]
    assert apart(tmp_path, CONVERSE, *callers) == {"error of the caller or the proxy": 2}


def test_embeddings_and_images_of_bedrock_are_no_chat(tmp_path: Path) -> None:
    models = ("amazon.titan-embed-text-v2:0", "stability.sd3-large-v1:0", "cohere.rerank-v3-5:0")
    rows = [{**CONVERSE, "requestId": model, "modelId": model} for model in models]
    assert apart(tmp_path, CONVERSE, *rows) == {"no chat or completion": 3}


def test_a_body_that_stands_elsewhere_is_read_from_s3_only(tmp_path: Path) -> None:
    (tmp_path / "body.json").write_text(json.dumps({"messages": [ASKED]}))
    addresses = (f"file://{tmp_path}/body.json", f"{tmp_path}/body.json", "http://127.0.0.1/x", "memory://x")
    rows = [{**CONVERSE, "requestId": one, "input": {"inputBodyS3Path": one}} for one in addresses]
    assert apart(tmp_path, CONVERSE, *rows) == {"body in S3 can't be read": 4}


def test_the_object_of_a_body_is_no_row_of_its_own(tmp_path: Path) -> None:
    name = "ff4b6c63-5561-4431-93b8-06a817275900_input.json.gz"
    (tmp_path / name).write_bytes(gzip.compress(json.dumps({"messages": [ASKED]}).encode()))
    rows = write_lines(tmp_path / "log.jsonl", CONVERSE)
    summary = read(tmp_path, rows, str(tmp_path / name)).summary
    assert (summary.calls, summary.rejected, sum(summary.set_apart.values())) == (1, 0, 1)


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    """A store that this process finds by the environment."""
    with s3_store() as store:
        for name, value in store.environment.items():
            monkeypatch.setenv(name, value)
        fsspec.get_filesystem_class("s3").clear_instance_cache()
        yield store
        fsspec.get_filesystem_class("s3").clear_instance_cache()


def test_a_log_in_s3_is_read_with_the_bodies_that_its_records_name(tmp_path: Path, s3: ObjectStore) -> None:
    name = "ff4b6c63-5561-4431-93b8-06a817275900"
    asked = gzip.compress(json.dumps({"messages": [ASKED]}).encode())
    body = s3.put(f"AWSLogs/data/{name}_input.json.gz", asked)
    bomb = s3.put("AWSLogs/data/bomb.json.gz", gzip.compress(b" " * (65 << 20)))
    rows = [
        {**CONVERSE, "requestId": one, "input": {"inputBodyS3Path": one}}
        for one in (body, bomb, f"{s3.bucket}/nothing.json")
    ]
    s3.put("AWSLogs/log.json.gz", gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    files = read(
        tmp_path, f"{s3.bucket}/AWSLogs/log.json.gz", f"{s3.bucket}/AWSLogs/data/{name}_input.json.gz"
    )
    [call] = counted(files)
    assert (call["call_id"], json.loads(call["messages"])) == (body, [ASKED])
    assert files.summary.set_apart == {
        "body in S3 can't be read": 2,
        "body of a record: read where its record names it": 1,
    }


# API Management


def test_messages_in_several_rows_are_put_together_by_their_numbers(tmp_path: Path) -> None:
    text = json.dumps([SYSTEM, {"role": "user", "content": "long " * 100}])
    pieces = [text[:100], text[100:250], text[250:]]
    rows = [
        {
            **PART,
            "SequenceNumber": number,
            "RequestMessages": piece,
            "PromptTokens": 12 if number == 2 else None,
        }
        for number, piece in enumerate(pieces)
    ]
    for order in (rows, rows[::-1], [rows[1], rows[0], rows[2], rows[1]]):
        files = read(tmp_path, write_lines(tmp_path / "rows.jsonl", *order))
        [call] = counted(files)
        assert json.loads(call["messages"]) == json.loads(text)
        assert (call["input_tokens"], files.summary.joined) == (12, len(order) - 1)


def test_messages_of_which_a_part_is_missing_are_set_apart(tmp_path: Path) -> None:
    text = json.dumps([ASKED])
    rows = [{**PART, "CorrelationId": "c9", "SequenceNumber": 0, "RequestMessages": text[:10]}]
    assert apart(tmp_path, PART, *rows) == {"a part of the messages is missing": 1}


def test_the_row_of_the_gateway_has_status_and_time(tmp_path: Path) -> None:
    gateway = {"CorrelationId": "c1", "ResponseCode": 429, "IsRequestSuccess": False, "TotalTime": 1500}
    [call] = calls_of(tmp_path, PART, gateway)
    assert (call["success"], call["outcome_source"], call["latency_s"]) == (None, "error", 1.5)


def test_records_of_a_diagnostic_setting_are_read_too(tmp_path: Path) -> None:
    properties = {name[:1].lower() + name[1:]: value for name, value in PART.items()}
    [call] = calls_of(
        tmp_path, {"time": "2026-01-01T00:00:00Z", "category": "GatewayLlmLogs", "properties": properties}
    )
    assert (call["model"], call["input_tokens"]) == ("gpt-4o", 12)


# Vertex AI


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"full_request": json.dumps(VERTEX["full_request"])}, id="as JSON text"),
        pytest.param(
            {"full_request": None, "request_payload": [json.dumps(VERTEX["full_request"])]}, id="payload"
        ),
        pytest.param(
            {
                "full_request": None,
                "request_payload": [
                    json.dumps(VERTEX["full_request"])[:30],
                    json.dumps(VERTEX["full_request"])[30:],
                ],
            },
            id="payload in pieces",
        ),
        pytest.param(
            {"full_request": {"anthropic_version": "v", "messages": [ASKED], "system": "Be brief."}},
            id="Claude",
        ),
        pytest.param({"full_response": [VERTEX["full_response"]]}, id="a stream"),
    ],
)
def test_vertex_s_requests_are_read_in_every_form(tmp_path: Path, fields: Json) -> None:
    [call] = calls_of(tmp_path, {**VERTEX, **fields})
    assert json.loads(call["messages"]) == [SYSTEM, ASKED]
    assert call["output_tokens"] == 7


def test_a_row_of_a_sample_that_says_its_rate_has_a_weight(tmp_path: Path) -> None:
    assert calls_of(tmp_path, {**VERTEX, "sampling_rate": 0.25})[0]["sampling_probability"] == 0.25
    summary = read(
        tmp_path, write_lines(tmp_path / "r.jsonl", VERTEX, {**VERTEX, "sampling_rate": 7})
    ).summary
    assert summary.rejected == 1


# OpenAI's stored objects, and bodies of the Messages protocol


def test_a_stored_completion_is_joined_to_the_page_of_its_messages(tmp_path: Path) -> None:
    page = {"object": "list", "data": [{"id": "chatcmpl-A1-1", **ASKED}, {"id": "chatcmpl-A1-0", **SYSTEM}]}
    files = read(
        tmp_path, write_lines(tmp_path / "rows.jsonl", {"object": "list", "data": [COMPLETION]}, page)
    )
    [call] = counted(files)
    assert [message["content"] for message in json.loads(call["messages"])] == ["Be brief.", "2 + 2?"]
    assert files.summary.joined == 2


def test_a_stored_answer_needs_its_messages(tmp_path: Path) -> None:
    bare = {name: value for name, value in RESPONSE.items() if name != "input"}
    assert apart(tmp_path, RESPONSE, bare, COMPLETION) == {"stored answer without its messages": 2}


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(
            {"response": RESPONSE, "input_items": {"object": "list", "data": [ASKED]}}, id="input items"
        ),
        pytest.param({"completion": COMPLETION, "messages": [ASKED]}, id="messages"),
        pytest.param({"request": CHAT, "response": COMPLETION}, id="a request"),
    ],
)
def test_an_object_beside_its_messages_is_one_call(tmp_path: Path, record: Json) -> None:
    assert json.loads(calls_of(tmp_path, record, format="openai-stored")[0]["messages"])[-1] == ASKED


def test_a_response_that_follows_another_has_only_a_part_of_the_text(tmp_path: Path) -> None:
    assert calls_of(tmp_path, {**RESPONSE, "previous_response_id": "resp_0"})[0]["truncated"]


@pytest.mark.parametrize(
    "record",
    [
        pytest.param({"body": CHAT, "response": MESSAGE}, id="body"),
        pytest.param(
            {"request": {"url": "u", "body": CHAT}, "response": {"status": 200, "body": MESSAGE}}, id="HTTP"
        ),
        pytest.param({"request": json.dumps(CHAT), "response": json.dumps(MESSAGE)}, id="as JSON text"),
        pytest.param(
            {
                "request": CHAT,
                "response": f"event: message_start\ndata: {json.dumps(START)}\n",
            },
            id="server-sent events",
        ),
    ],
)
def test_an_exchange_of_messages_is_read_in_every_form(tmp_path: Path, record: Json) -> None:
    files = read(tmp_path, write_lines(tmp_path / "rows.jsonl", record))
    [call] = counted(files)
    assert (list(files.summary.readers), call["input_tokens"]) == (["anthropic-messages"], 1100)


# Gateways


@pytest.mark.parametrize(("cost", "dollars"), [(0.021, 0.00021), (0.00021, 0.00021), (5.0, None), (0, None)])
def test_portkey_s_cost_is_in_the_unit_that_the_list_price_confirms(
    tmp_path: Path, cost: float, dollars: float | None
) -> None:
    assert calls_of(tmp_path, {**PORTKEY, "cost": cost})[0]["cost_usd"] == pytest.approx(dollars)
    assert calls_of(tmp_path, {**PORTKEY, "ai_model": "no-such-model"})[0]["cost_usd"] is None


@pytest.mark.parametrize("vote", [-1, 1])
def test_feedback_is_a_vote(tmp_path: Path, vote: int) -> None:
    portkey, event = {**PORTKEY, "feedback": [{"value": vote}]}, {**EVENT, "Feedback": vote}
    for row in (portkey, event):
        [call] = calls_of(tmp_path, row)
        assert (call["success"], call["outcome_source"]) == (vote > 0, "feedback")


@pytest.mark.parametrize("body", [{"type": "encrypted", "data": "x"}, {"key": "k", "iv": "i", "data": "x"}])
def test_encrypted_bodies_are_counted(tmp_path: Path, body: Json) -> None:
    assert apart(tmp_path, EVENT, {**EVENT, "RequestBody": body}) == {
        "body is encrypted for the holder of a key": 1
    }
    assert calls_of(tmp_path, {**EVENT, "ResponseBody": body})[0]["model"] == "openai/gpt-4o-mini"


def test_cache_hits_are_no_calls(tmp_path: Path) -> None:
    assert apart(tmp_path, EVENT, {**EVENT, "Cached": True}) == {"cache hit": 1}
    assert apart(tmp_path, REPLAY, {**REPLAY, "id": "x", "from_cache": True}) == {"cache hit": 1}


@pytest.mark.parametrize(
    ("verdict", "success"),
    [
        ("good_fit", True),
        ("overprovisioned", True),
        ("underpowered", False),
        ("failed", False),
        ("of late", None),
    ],
)
def test_a_verdict_says_whether_the_answer_was_good_enough(
    tmp_path: Path, verdict: str, success: Json
) -> None:
    outcome = {"source": "judge", "target": "model", "target_ref": "small", "verdict": verdict}
    other = {**outcome, "target_ref": "big", "verdict": "failed"}
    assert calls_of(tmp_path, {**REPLAY, "outcomes": [outcome, other]})[0]["success"] is success


def test_the_chance_of_a_choice_that_was_drawn_is_unknown(tmp_path: Path) -> None:
    drawn = {"adaptation": {"sampling": {"used": True}}}
    assert calls_of(tmp_path, {**REPLAY, "learning": drawn})[0]["propensity"] is None


def test_a_replay_record_without_its_body_has_its_prompt(tmp_path: Path) -> None:
    row = {
        **REPLAY,
        "request_body": json.dumps(CHAT)[:30],
        "request_body_truncated": True,
        "prompt": "2 + 2?",
    }
    [call] = calls_of(tmp_path, row)
    assert (call["prompt"], call["truncated"]) == ("2 + 2?", True)


# The parts


@pytest.mark.parametrize(
    ("chunks", "answer"),
    [
        pytest.param(
            [{"choices": [{"delta": {"content": "a"}}]}, {"choices": [{"delta": {"content": "b"}}]}],
            "ab",
            id="chat",
        ),
        pytest.param(
            [
                {"contentBlockDelta": {"delta": {"text": "a"}}},
                {"contentBlockDelta": {"delta": {"text": "b"}}},
            ],
            "ab",
            id="Converse",
        ),
        pytest.param([{"outputText": "a"}, {"outputText": "b"}], "ab", id="Titan"),
        pytest.param([{"generation": "a"}, {"generation": "b"}], "ab", id="Llama"),
        pytest.param(
            [{"candidates": [{"content": {"parts": [{"text": text}]}}]} for text in "ab"], "ab", id="Gemini"
        ),
        pytest.param(
            [{"type": "response.output_text.delta", "delta": text} for text in "ab"], "ab", id="Responses"
        ),
        pytest.param('data: {"outputText": "ab"}\n\ndata: [DONE]\n', "ab", id="server-sent events"),
        pytest.param({"content": "ab"}, "ab", id="no stream"),
    ],
)
def test_the_chunks_of_a_stream_are_one_answer(chunks: Json, answer: str) -> None:
    assert answer_body(chunks)["content"] == answer


@pytest.mark.parametrize("answer", [None, 7, "text", [], [1], ["x"], {}])
def test_what_is_no_answer_is_an_empty_one(answer: Json) -> None:
    assert answer_body(answer) == {}


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        pytest.param({"inputTokens": 4, "cacheReadInputTokens": 6, "outputTokens": 2}, (10, 2), id="beside"),
        pytest.param(
            {"inputTokens": 10, "cacheReadInputTokens": 6, "outputTokens": 2, "totalTokens": 12},
            (10, 2),
            id="within",
        ),
        pytest.param(
            {"promptTokenCount": 9, "candidatesTokenCount": 2, "thoughtsTokenCount": 5}, (9, 7), id="Gemini"
        ),
        pytest.param({"input_tokens": 9, "output_tokens": 2}, (9, 2), id="Anthropic"),
        pytest.param({"prompt_tokens": 9, "completion_tokens": 2}, (9, 2), id="chat"),
    ],
)
def test_tokens_are_counted_in_every_protocol(usage: Json, tokens: tuple[int, int]) -> None:
    counts = tokens_of({"usage": usage})
    assert (counts["input_tokens"], counts["output_tokens"]) == tokens


def test_an_exchange_without_prompt_or_model_says_which() -> None:
    assert exchange({}, None, "m", {}) == NO_PROMPT
    assert exchange({"messages": [ASKED]}, None, None, {}) == NO_MODEL


@pytest.mark.parametrize(
    ("provider", "model", "whole"),
    [
        ("OpenAI", "gpt-4o", "openai/gpt-4o"),
        ("vertex-ai", "vertex_ai/g", "vertex_ai/g"),
        (None, "m", "m"),
        ("openai", None, None),
        ("aws-bedrock", "a.b", "bedrock/a.b"),
    ],
)
def test_the_provider_stands_in_front_as_litellm_calls_it(provider: Json, model: Json, whole: Json) -> None:
    assert named(provider, model) == whole
