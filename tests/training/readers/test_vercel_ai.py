"""Spans of Vercel's AI SDK, by the names of its page on telemetry."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from router.records import Json
from tests.training.logs import read, write_lines
from tests.training.readers.counting import counted
from tests.training.readers.example_otel import VERCEL, attributes, request
from training.readers.vercel_ai import from_vercel_ai

PROMPT = json.dumps([{"role": "user", "content": [{"type": "text", "text": "hello"}]}])


def span(operation: str, **named: Json) -> dict[str, Json]:
    told = {"ai__operationId": operation, "ai__model__id": "m", "ai__prompt__messages": PROMPT, **named}
    return {"traceId": "a", "spanId": operation, "attributes": attributes(**told)}


def calls(folder: Path, *spans: Json) -> tuple[list[dict[str, Any]], dict[str, int]]:
    files = read(folder, write_lines(folder / "spans.jsonl", request(*spans)))
    return counted(files), dict(files.summary.set_apart)


def test_the_call_to_the_provider_is_read_with_its_tools(tmp_path: Path) -> None:
    ((call,), _) = calls(tmp_path, VERCEL)
    function = {"name": "bus", "arguments": "{}"}
    assert json.loads(call["messages"]) == [
        {"role": "system", "content": "Answer briefly."},
        {"role": "user", "content": [{"type": "text", "text": "Which bus?"}]},
        {"role": "assistant", "content": None,
         "tool_calls": [{"id": "c1", "type": "function", "function": function}]},
        {"role": "tool", "tool_call_id": "c1", "content": "line 4"},
    ]  # fmt: skip
    assert (call["model"], call["input_tokens"], call["output_tokens"]) == ("openai/gpt-4o-mini", 31, 5)


@pytest.mark.parametrize(
    "outer", ["ai.generateText", "ai.streamText", "ai.generateObject", "ai.streamObject"]
)
def test_only_the_inner_span_is_a_call(tmp_path: Path, outer: str) -> None:
    inner = f"{outer}.do{'Stream' if 'stream' in outer else 'Generate'}"
    found, apart = calls(tmp_path, span(outer), span(inner))
    assert (len(found), apart) == (1, {"span around another model call": 1})


@pytest.mark.parametrize("other", ["ai.toolCall", "ai.embed", "ai.embed.doEmbed", "ai.embedMany.doEmbed"])
def test_other_operations_are_set_apart(tmp_path: Path, other: str) -> None:
    found, apart = calls(tmp_path, VERCEL, span(other))
    assert (len(found), apart) == (1, {"no chat or completion": 1})


@pytest.mark.parametrize(
    "named",
    [
        {"ai.usage.promptTokens": 3, "ai.usage.completionTokens": 2, "ai.finishReason": "length",
         "ai.result.text": "cut"},
        {"ai.usage.inputTokens": 3, "ai.usage.outputTokens": 2, "ai.response.finishReason": "length",
         "ai.response.text": "cut"},
    ],
    ids=["version 3", "version 5"],
)  # fmt: skip
def test_every_version_has_the_same_names(named: dict[str, Json]) -> None:
    found = from_vercel_ai(
        {"operation.name": "ai.generateText.doGenerate shop", "ai.prompt.messages": PROMPT, **named}
    )
    assert isinstance(found, dict)
    assert (found["gen_ai.usage.input_tokens"], found["gen_ai.usage.output_tokens"]) == (3, 2)
    assert found["gen_ai.response.finish_reason"] == "length"
    assert found["gen_ai.output.messages"] == [{"role": "assistant", "content": "cut"}]
    assert found["gen_ai.input.messages"] == json.loads(PROMPT)
