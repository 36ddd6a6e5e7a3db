"""Cached, written and reasoning tokens: by every protocol's names, in every reader's records."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.records import Json
from tests.training.logs import call, read, read_rows, write_lines
from tests.training.readers.counting import counted
from tests.training.readers.example_gateways import COMPLETION
from tests.training.readers.example_otel import OPENINFERENCE, SPAN, VERCEL, attributes, request
from tests.training.readers.examples import COMPANIONS, EXAMPLES
from training.readers.known import known_readers
from training.readers.token_kinds import TOKEN_KINDS, token_kinds

READ, WRITTEN, THOUGHT = TOKEN_KINDS
CHAT = {
    "prompt_tokens": 9, "completion_tokens": 8,
    "prompt_tokens_details": {"cached_tokens": 5, "cache_write_tokens": 3},
    "completion_tokens_details": {"reasoning_tokens": 2},
}  # fmt: skip
ANTHROPIC = {
    "input_tokens": 1, "output_tokens": 8, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 3,
    "cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 0},
}  # fmt: skip
LANGCHAIN = {
    "input_tokens": 9, "output_tokens": 8, "total_tokens": 17,
    "input_token_details": {"cache_read": 5, "cache_creation": 3}, "output_token_details": {"reasoning": 2},
}  # fmt: skip
ALL = {READ: 5, WRITTEN: 3, THOUGHT: 2}
CACHE = {READ: 5, WRITTEN: 3}


@pytest.mark.parametrize(
    ("usage", "kinds"),
    [
        pytest.param(CHAT, ALL, id="Chat Completions"),
        pytest.param(
            {"input_tokens_details": {"cached_tokens": 5}, "output_tokens_details": {"reasoning_tokens": 2}},
            {READ: 5, THOUGHT: 2},
            id="Responses",
        ),
        pytest.param(ANTHROPIC, CACHE, id="Messages"),
        pytest.param({**CHAT, "cache_read_input_tokens": 0}, ALL, id="LiteLLM's own zero"),
        pytest.param(
            {"promptTokenCount": 9, "cachedContentTokenCount": 5, "thoughtsTokenCount": 2},
            {READ: 5, THOUGHT: 2},
            id="Gemini",
        ),
        pytest.param({"cacheReadInputTokens": 5, "cacheWriteInputTokens": 3}, CACHE, id="Converse"),
        pytest.param({"prompt_cache_hit_tokens": 5, "prompt_cache_miss_tokens": 4}, {READ: 5}, id="DeepSeek"),
        pytest.param(LANGCHAIN, ALL, id="LangChain"),
        pytest.param(
            {"input_cache_read": 5, "input_cache_creation_5m": 1, "input_cache_creation_1h": 2}, CACHE,
            id="Langfuse, by lifetime",
        ),
        pytest.param(
            {"gen_ai.usage.cache_read.input_tokens": 5, "gen_ai.usage.cache_creation.input_tokens": 3}, CACHE,
            id="GenAI",
        ),
        pytest.param(
            {"ai.usage.cachedInputTokens": "5", "ai.usage.reasoningTokens": 2.0}, {READ: 5, THOUGHT: 2},
            id="AI SDK, as text",
        ),
        pytest.param({"prompt_tokens_details": json.dumps({"cached_tokens": 0})}, {READ: 0}, id="none read"),
        pytest.param({"prompt_tokens": 9, "prompt_tokens_details": None}, {}, id="not counted"),
        pytest.param({"cached_tokens": True, "reasoning_tokens": -1, "cache_read": 0.5}, {}, id="no counts"),
        pytest.param({"cache_read_input_token_cost": 5, "cached_usd": 1, "cacheDiscount": 1}, {}, id="money"),
    ],
)  # fmt: skip
def test_each_protocol_names_them_in_its_own_way(usage: Mapping[str, Json], kinds: Mapping[str, int]) -> None:
    assert token_kinds(usage) == kinds


NAMES = st.sampled_from(
    ["cached_tokens", "cache_write", "prompt_tokens_details", "usage_details", "reasoning"]
) | st.text(max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(["1"]),
    lambda inner: st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(NAMES, VALUES, max_size=5))
def test_whatever_a_usage_holds_only_whole_counts_come_of_it(usage: Mapping[str, Json]) -> None:
    assert all(name in TOKEN_KINDS and type(n) is int and n >= 0 for name, n in token_kinds(usage).items())


def put(record: Json, path: str, value: Json) -> Json:
    """The record with a value at a path; texts of JSON on the way stay texts."""
    step, _, rest = path.partition("/")
    packed = isinstance(record, str)
    found: Json = json.loads(record) if packed else copy.copy(record)
    at: Json = int(step) if isinstance(found, list) else step
    found[at] = (
        put(found[at] if isinstance(found, list) else found.get(step, {}), rest, value) if rest else value
    )
    return json.dumps(found) if packed else found


BODY = {**COMPLETION, "usage": CHAT}
SPANS = {
    "GenAI": (SPAN, {
        "gen_ai__usage__cache_read__input_tokens": 5, "gen_ai__usage__cache_write__input_tokens": 3,
        "gen_ai__usage__reasoning__output_tokens": 2,
    }),
    "OpenInference": (OPENINFERENCE, {
        "llm__token_count__prompt_details__cache_read": 5, "llm__token_count__prompt_details__cache_write": 3,
        "llm__token_count__completion_details__reasoning": 2,
    }),
    "AI SDK": (VERCEL, {
        "ai__usage__inputTokenDetails__cacheReadTokens": 5, "ai__usage__reasoningTokens": 2,
        "ai__usage__inputTokenDetails__cacheWriteTokens": 3,
    }),
}  # fmt: skip
AT: Mapping[str, tuple[str, Json, Mapping[str, int]]] = {
    "anthropic-batch": ("result/message/usage", ANTHROPIC, CACHE),
    "anthropic-messages": ("response/usage", ANTHROPIC, CACHE),
    "bedrock": (
        "input", {**EXAMPLES["bedrock"][0]["input"], "cacheReadInputTokenCount": 5,
                  "cacheWriteInputTokenCount": 3}, CACHE,
    ),
    "braintrust": (
        "metrics", {"prompt_tokens": 9, "prompt_cached_tokens": 5, "prompt_cache_creation_tokens": 3,
                    "completion_reasoning_tokens": 2}, ALL,
    ),
    "cloudflare": ("ResponseBody", BODY, ALL),
    "helicone": ("response_body/usage", CHAT, ALL),
    "langfuse": (
        "usage_details", {"input": 1, "cache_read_input_tokens": 5, "input_cache_creation": 3, "output": 6,
                          "output_reasoning_tokens": 2}, ALL,
    ),
    "langfuse-api": ("data/0/usageDetails", {"input": 1, "input_cached_tokens": 5, "output": 3}, {READ: 5}),
    "langsmith": ("outputs/generations/0/0/message", {"kwargs": {"usage_metadata": LANGCHAIN}}, ALL),
    "litellm-callback": ("metadata/usage_object", CHAT, ALL),
    "litellm-spend": ("metadata", json.dumps({"status": "success", "usage_object": CHAT}), ALL),
    "mlflow": (
        "data/spans/1/attributes/mlflow.chat.tokenUsage",
        json.dumps({"input_tokens": 9, "output_tokens": 3, "cache_read_input_tokens": 5,
                    "cache_creation_input_tokens": 3}), CACHE,
    ),
    "openai-batch": ("response/body", BODY, ALL),
    "openai-stored": (
        "usage", {"input_tokens": 9, "output_tokens": 8, "input_tokens_details": {"cached_tokens": 5},
                  "output_tokens_details": {"reasoning_tokens": 2}}, {READ: 5, THOUGHT: 2},
    ),
    "opik": (
        "usage", {"prompt_tokens": 9, "original_usage.prompt_tokens_details.cached_tokens": 5,
                  "original_usage.completion_tokens_details.reasoning_tokens": 2}, {READ: 5, THOUGHT: 2},
    ),
    "portkey": ("response", json.dumps(BODY), ALL),
    "vertex-ai": (
        "full_response/usageMetadata",
        {"promptTokenCount": 9, "cachedContentTokenCount": 5, "candidatesTokenCount": 2,
         "thoughtsTokenCount": 2}, {READ: 5, THOUGHT: 2},
    ),
    "vllm-sr": ("response_body", json.dumps(BODY), ALL),
    "weave": ("summary/usage/gpt-4o", CHAT, ALL),
}  # fmt: skip
NOT_COUNTED = {"azure-apim", "litellm-shadow", "otel-genai"}
"""Logs without such counts, and one whose conventions have a test of their own."""


def test_every_reader_is_in_the_table() -> None:
    assert AT.keys() | NOT_COUNTED == set(known_readers())


def kinds_of(folder: Path, *records: Json) -> list[Mapping[str, int]]:
    """The counts of each call in a log."""
    calls = counted(read(folder, write_lines(folder / "log.jsonl", *records)))
    return [{name: one[name] for name in TOKEN_KINDS if one[name] is not None} for one in calls]


@pytest.mark.parametrize("name", sorted(AT))
def test_every_reader_fills_the_columns(name: str, tmp_path: Path) -> None:
    path, value, kinds = AT[name]
    record = put(EXAMPLES[name][0], path, value)
    assert kinds in kinds_of(tmp_path, record, *COMPANIONS.get(name, ()))


@pytest.mark.parametrize("name", sorted(SPANS))
def test_every_convention_of_spans_fills_the_columns(name: str, tmp_path: Path) -> None:
    span, counts = SPANS[name]
    known = [one for one in span["attributes"] if one["key"].replace(".", "__") not in counts]
    record = request({**span, "attributes": [*known, *attributes(**counts)]})
    assert kinds_of(tmp_path, record) == [ALL]


COUNTED = {"anthropic-batch", "anthropic-messages", "bedrock", "langfuse", "langfuse-api", "vertex-ai"}
"""Logs whose plain examples have counts of their own."""


@pytest.mark.parametrize("name", sorted(AT.keys() - COUNTED))
def test_what_a_log_does_not_count_is_null_and_not_zero(name: str, tmp_path: Path) -> None:
    assert not any(kinds_of(tmp_path, EXAMPLES[name][0], *COMPANIONS.get(name, ())))


def test_a_log_without_the_columns_reads_as_ever_and_a_bad_count_rejects_no_call(tmp_path: Path) -> None:
    calls = counted(read_rows(tmp_path, call(), call(prompt="3", **{READ: 4, WRITTEN: 0, THOUGHT: "many"})))
    found = sorted(calls, key=lambda one: one["prompt"])
    assert [tuple(one[name] for name in TOKEN_KINDS) for one in found] == [(None,) * 3, (4, 0, None)]
