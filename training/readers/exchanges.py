"""Makes a call of an exchange that a gateway or provider logged: a request body and an answer's body."""

from __future__ import annotations

from collections.abc import Mapping

from router.records import Json
from training.readers.batch_prices import BatchUsage
from training.readers.judgements import provider_outcome
from training.readers.litellm_records import OTHER_CALL
from training.readers.protocol import NO_MODEL, Call, Result, Skipped
from training.readers.providers import without_path
from training.readers.request_shapes import answer_evidence, request_fields, why_no_prompt
from training.readers.stream_chunks import answer_body
from training.readers.token_kinds import token_kinds
from training.readers.values import filled, first_given, first_words, mapping, words

_PROVIDERS: Mapping[str, str] = {
    "azure-openai": "azure", "vertex-ai": "vertex_ai", "google-vertex-ai": "vertex_ai", "google": "gemini",
    "google-ai-studio": "gemini", "aws-bedrock": "bedrock", "together-ai": "together_ai",
    "fireworks-ai": "fireworks_ai", "mistral-ai": "mistral", "perplexity-ai": "perplexity", "grok": "xai",
    "x-ai": "xai", "workers-ai": "cloudflare",
}  # fmt: skip
_OTHERS = ("instances", "texts")
"""Members that only requests for embeddings have."""


def named(provider: Json, model: Json) -> str | None:
    """The model, with LiteLLM's name for its provider in front."""
    name, owner = without_path(model), words(provider)
    if name is None or owner is None:
        return name
    known = _PROVIDERS.get(owner.lower(), owner.lower())
    return name if name.startswith(f"{known}/") else f"{known}/{name}"


def exchange(request: Json, answer: Json, model: str | None, labels: Call, *, status: Json = None) -> Result:
    """The call of a request body and its answer's body, a stream as a list of chunks or as text.

    Args:
        model: None: as the request names it, or else the answer.
        labels: further fields of the call; its amounts come before those of the answer.
        status: of HTTP; None if the log has none.
    """
    body, reply = mapping(request), answer_body(answer)
    failed = _failure(status, reply)
    if isinstance(failed, Skipped):
        return failed
    fields = request_fields(body)
    if not fields:
        return OTHER_CALL if any(name in body for name in _OTHERS) else why_no_prompt(body)
    model = without_path(first_words(model, body.get("model"), reply.get("model")))
    if model is None:
        return NO_MODEL
    outcome = answer_evidence(reply) if failed is None else failed
    return {**fields, "model": model, **tokens_of(reply), **labels, **outcome}


def _failure(status: Json, reply: Mapping[str, Json]) -> Call | Skipped | None:
    """The outcome of a request that failed; None if it was answered."""
    code = whole_number(status)
    error = mapping(reply.get("error"))
    if (code is None or code < 400) and not error:
        return None
    return provider_outcome(code, error)


def whole_number(value: Json) -> int | None:
    """A whole number, also as text; None for anything else."""
    try:
        return None if isinstance(value, bool) or value in (None, "") else int(value)
    except (TypeError, ValueError, OverflowError):
        return None


def tokens_of(reply: Mapping[str, Json]) -> Call:
    """Input and output tokens of an answer in any protocol, with cached and reasoning tokens."""
    usage = mapping(first_given(reply.get("usage"), reply.get("usageMetadata")))
    counts = BatchUsage.of(usage)
    if counts is not None:
        return {"input_tokens": counts.input, "output_tokens": counts.output, **token_kinds(usage)}
    gemini = _sum(usage, "promptTokenCount"), _sum(usage, "candidatesTokenCount", "thoughtsTokenCount")
    fresh, out = (
        _sum(usage, "inputTokens", "inputTokenCount"),
        _sum(usage, "outputTokens", "outputTokenCount"),
    )
    whole, total = _sum(usage, *_CONVERSE), whole_number(usage.get("totalTokens"))
    within = None not in (fresh, out, total) and total == (fresh or 0) + (out or 0)
    inputs = fresh if within or fresh is None else whole
    both = {"input_tokens": first_given(gemini[0], inputs), "output_tokens": first_given(gemini[1], out)}
    return filled(both, zeros=True) | token_kinds(usage)


_CONVERSE = ("inputTokens", "inputTokenCount", "cacheReadInputTokens", "cacheWriteInputTokens")


def _sum(usage: Mapping[str, Json], *names: str) -> int | None:
    counts = [count for name in names if (count := whole_number(usage.get(name))) is not None]
    return sum(counts) if counts else None


def tags_of(metadata: Json) -> Call:
    """Tags `name:value` of an application's metadata; a task and a session have fields of their own."""
    own = {
        name: value
        for name, value in mapping(metadata).items()
        if isinstance(value, str | int | float) and value != ""
    }
    task, session = first_words(own.get("task_type"), own.get("task")), first_words(own.get("session_id"))
    return filled(
        {"tags": [f"{name}:{value}" for name, value in own.items()], "task_type": task, "session_id": session}
    )
