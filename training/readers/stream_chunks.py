"""Puts a streamed answer together, from the list of its chunks or the text of its server-sent events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from router.records import Json
from training.readers.message_shapes import chat_of
from training.readers.values import first_given, mapping, member, unpacked

_Path: TypeAlias = Sequence[str | int]

_TEXTS: Sequence[_Path] = (
    ("delta", "text"), ("contentBlockDelta", "delta", "text"), ("choices", 0, "delta", "content"),
    ("choices", 0, "text"), ("outputs", 0, "text"), ("generation",), ("outputText",), ("completion",),
    ("text",),
)  # fmt: skip
_REASONS: Sequence[_Path] = (
    ("delta", "stop_reason"), ("messageStop", "stopReason"), ("choices", 0, "finish_reason"),
    ("candidates", 0, "finishReason"), ("outputs", 0, "stop_reason"), ("stop_reason",), ("stopReason",),
    ("completionReason",), ("finish_reason",), ("response", "status"),
)  # fmt: skip
_USAGES: Sequence[_Path] = (
    ("message", "usage"), ("usage",), ("metadata", "usage"), ("usageMetadata",), ("response", "usage"),
    ("amazon-bedrock-invocationMetrics",),
)  # fmt: skip


def answer_body(answer: Json) -> Mapping[str, Json]:
    """A body, or one with the text, reason and usage of a stream in any protocol; empty for anything else."""
    value = unpacked(answer)
    if isinstance(value, str):
        value = [unpacked(line[5:].strip()) for line in value.splitlines() if line.startswith("data:")]
    if not isinstance(value, list):
        return mapping(value)
    chunks = [chunk for chunk in value if isinstance(chunk, dict)]
    if not chunks:
        return {}
    usage: dict[str, Json] = {}
    for chunk in chunks:
        usage |= mapping(first_given(*(member(chunk, *path) for path in _USAGES)))
    reasons = [first_given(*(member(chunk, *path) for path in _REASONS)) for chunk in chunks]
    body = {
        "content": "".join(map(_text, chunks)),
        "stop_reason": next((reason for reason in reversed(reasons) if reason is not None), None),
        "usage": usage,
        "model": first_given(
            *(first_given(chunk.get("model"), member(chunk, "message", "model")) for chunk in chunks)
        ),
    }
    return {name: value for name, value in body.items() if value}


def _text(chunk: Mapping[str, Json]) -> str:
    if said := member(chunk, "candidates", 0, "content"):
        contents = [message.get("content") for message in chat_of([said]) if isinstance(message, dict)]
        return "".join(content for content in contents if isinstance(content, str))
    text = first_given(*(member(chunk, *path) for path in _TEXTS))
    delta = chunk.get("delta") if chunk.get("type") == "response.output_text.delta" else None
    return next((one for one in (text, delta) if isinstance(one, str)), "")
