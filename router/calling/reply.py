"""Facts in LiteLLM's replies: tokens, cost, finish reason."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol

from router.calling.attempt import Usage
from router.calling.litellm_call import Reply, as_usage, cost_of_tokens
from router.models.model_list import cache_write_share, cached_price_share, listed_entry, stated_number
from router.models.prices import PER_MILLION, ModelPrice, OtherTokens, listed_other
from router.records import Decision, Json
from router.settings.sections import ModelSettings, Price

_CONTENT = (
    "content",
    "tool_calls",
    "function_call",
    "reasoning_content",
    "thinking_blocks",
    "refusal",
    "audio",
    "images",
)
"""Members of a piece that may hold part of the answer, the most common first."""


_FINISHES = {
    "completed": "stop",
    "max_output_tokens": "length",
    "content_filter": "content_filter",
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
}
"""The chat protocol's word for how an answer of the Responses API or of Gemini's ended."""


class Response(Protocol):
    """LiteLLM's `ModelResponse` with the decision beside it.

    Attributes:
        decision: which model answered, why, and its `call_id` for feedback.
        choices, usage: as the provider's chat completion has them.
    """

    decision: Decision
    id: str
    created: int
    model: str | None
    choices: list[Any]
    usage: Any

    def model_dump(self, **options: Any) -> dict[str, Any]:  # noqa: ANN401 - pydantic's
        """The response as plain JSON values, without the decision."""
        ...


def says_something(piece: Reply) -> bool:
    """Whether a piece of a stream holds part of the answer, or its end."""
    return holds_content(piece) or finish_reason_of(piece) is not None


def holds_content(piece: Reply) -> bool:
    """Whether a piece of a stream holds part of the answer."""
    if isinstance(piece, Mapping):
        return any((one.get("content") or {}).get("parts") for one in _candidates(piece))
    for choice in getattr(piece, "choices", None) or ():
        delta = getattr(choice, "delta", None)
        if any(getattr(delta, member, None) for member in _CONTENT) or getattr(choice, "text", None):
            return True
    return False


def finish_reason_of(reply: Reply) -> str | None:
    """Finish reason of the first choice that has one, or of an answer of another protocol, or None."""
    if isinstance(reply, Mapping):
        reasons = (one.get("finishReason") for one in _candidates(reply))
        return next((_FINISHES.get(reason, str(reason).lower()) for reason in reasons if reason), None)
    if (choices := getattr(reply, "choices", None)) is not None:  # every piece of a stream comes by here
        reasons = (getattr(choice, "finish_reason", None) for choice in choices)
        return next((str(reason) for reason in reasons if reason), None)
    cut = getattr(getattr(reply, "incomplete_details", None), "reason", None)
    return _FINISHES.get(str(cut or getattr(reply, "status", None))) if hasattr(reply, "output") else None


def served_in(reply: Reply) -> str | None:
    """The model that a response or a piece of a stream names, or None."""
    if isinstance(reply, Mapping):
        return reply.get("modelVersion")
    model = getattr(reply, "model", None)
    return model if isinstance(model, str) and model else None


def counted_in(reply: Reply) -> Reply:
    """The provider's token counts in a response or piece, as LiteLLM's `Usage`, or None."""
    usage = getattr(reply, "usage", None) or hidden_in(reply).get("usage")
    if isinstance(reply, Mapping) and isinstance(counts := reply.get("usageMetadata"), Mapping):
        usage = _chat_counts(counts)
    if isinstance(usage, Mapping) and "prompt_tokens" in usage:
        usage = as_usage(usage)
    # If the provider counted nothing, LiteLLM says zero or counts the output; every prompt has tokens.
    return usage if getattr(usage, "prompt_tokens", None) else None


def _chat_counts(counts: Mapping[str, Any]) -> dict[str, Json]:
    """Gemini's token counts in the chat protocol's form; thoughts are part of the output there."""
    thoughts = counts.get("thoughtsTokenCount") or 0
    return {
        "prompt_tokens": counts.get("promptTokenCount") or 0,
        "completion_tokens": (counts.get("candidatesTokenCount") or 0) + thoughts,
        "total_tokens": counts.get("totalTokenCount") or 0,
        "prompt_tokens_details": {
            "cached_tokens": counts.get("cachedContentTokenCount"),
            "audio_tokens": _audio_in(counts.get("promptTokensDetails")),
        },
        "completion_tokens_details": {
            "reasoning_tokens": thoughts,
            "audio_tokens": _audio_in(counts.get("candidatesTokensDetails")),
        },
    }


def _audio_in(details: Json) -> Json:
    """Gemini's count of the tokens of audio."""
    kinds = [one for one in details if isinstance(one, Mapping)] if isinstance(details, list) else []
    return next((one.get("tokenCount") for one in kinds if one.get("modality") == "AUDIO"), None)


def gemini_piece(piece: Reply) -> Reply:
    """A piece of a stream in Gemini's protocol as an object, because LiteLLM hands it out as bytes."""
    if not (isinstance(piece, bytes) and piece.startswith(b"data: ") and b'"candidates"' in piece):
        return piece
    try:
        return json.loads(piece[len(b"data: ") :])
    except ValueError:  # several pieces, or part of one
        return piece


def _candidates(reply: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    listed = reply.get("candidates")
    return [one for one in listed if isinstance(one, Mapping)] if isinstance(listed, list) else []


def usage_of(counted: Reply) -> Usage:
    """Token counts in our form."""
    if counted is None:
        return Usage()
    input_details = getattr(counted, "prompt_tokens_details", None)
    output_details = getattr(counted, "completion_tokens_details", None)
    return Usage(
        input_tokens=counted.prompt_tokens,
        output_tokens=counted.completion_tokens,
        cached_input_tokens=getattr(input_details, "cached_tokens", None),
        cache_write_tokens=getattr(input_details, "cache_creation_tokens", None),
        reasoning_tokens=getattr(output_details, "reasoning_tokens", None),
        audio_input_tokens=getattr(input_details, "audio_tokens", None),
        audio_output_tokens=getattr(output_details, "audio_tokens", None),
    )


def own_price(model: str, settings: ModelSettings) -> Price | None:
    """The team's price of a model with those of cache and audio filled in, or None if it has none."""
    price = settings.price
    if price is None:
        return None
    shares = {
        "cached_input_usd_per_million": cached_price_share(settings.litellm_model, model),
        "cache_write_usd_per_million": cache_write_share(settings.litellm_model, model),
    }
    missing = {
        name: price.input_usd_per_million * (1.0 if share is None else share)
        for name, share in shares.items()
        if getattr(price, name) is None
    } | _audio_prices(price, listed_other(settings.litellm_model, model))
    return price.model_copy(update=missing) if missing else price


def _audio_prices(price: Price, listed: OtherTokens) -> dict[str, float]:
    """The prices of audio that the team does not state and the list has apart from those of text."""
    multiples = {
        "audio_input_usd_per_million": (listed.heard, price.input_usd_per_million),
        "audio_output_usd_per_million": (listed.spoken, price.output_usd_per_million),
    }
    return {
        name: multiple * text
        for name, (multiple, text) in multiples.items()
        if getattr(price, name) is None and multiple != 1.0
    }


def cost_at(price: Price, usage: Usage, tier: object = None) -> float | None:
    """USD at the team's price, or None if the tokens are unknown and not free.

    Args:
        tier: the `service_tier` that the provider reports.
    """
    if price.input_usd_per_million == price.output_usd_per_million == 0:
        return 0.0
    if usage.input_tokens is None or usage.output_tokens is None:
        return None
    cached = min(usage.cached_input_tokens or 0, usage.input_tokens)
    written = min(usage.cache_write_tokens or 0, usage.input_tokens - cached)
    plain, from_cache = price.input_usd_per_million, price.cached_input_usd_per_million
    into_cache = price.cache_write_usd_per_million
    heard = min(usage.audio_input_tokens or 0, usage.input_tokens - cached - written)
    of_audio, of_speech = price.audio_input_usd_per_million, price.audio_output_usd_per_million
    cost = (usage.input_tokens - cached - written - heard) * plain
    cost += heard * (plain if of_audio is None else of_audio)
    cost += cached * (plain if from_cache is None else from_cache)
    cost += written * (plain if into_cache is None else into_cache)
    factor = ModelPrice.of_settings(price).factor(usage.input_tokens, tier)
    spoken = min(usage.audio_output_tokens or 0, usage.output_tokens)
    output = (usage.output_tokens - spoken) * price.output_usd_per_million
    output += spoken * (price.output_usd_per_million if of_speech is None else of_speech)
    return (cost * factor.input + output * factor.output) * PER_MILLION


def cost_of_response(response: Reply, counted: Reply, model: str | None = None) -> float | None:
    """USD as LiteLLM noted it with the response, or None if it has no price.

    Args:
        model: what LiteLLM called, if the response does not say it.
    """
    hidden = hidden_in(response)
    named = getattr(response, "model", None) or model
    if "response_cost" in hidden:
        cost = _number(hidden["response_cost"])
    else:
        cost = cost_of_tokens(named, None, counted)
    return _priced(cost, named, hidden.get("litellm_model_name"))


def cost_of_stream(piece: Reply, counted: Reply) -> float | None:
    """USD of a stream, by its last piece and the token counts; None if unknown."""
    cost = _number(getattr(counted, "cost", None))
    if cost is not None:
        return cost
    named, provider = getattr(piece, "model", None), hidden_in(piece).get("custom_llm_provider")
    return _priced(cost_of_tokens(named, provider, counted), named)


def _priced(cost: float | None, *called: str | None) -> float | None:
    """The cost; None for the zero that LiteLLM says of a model without a price once its Router names it."""
    listed = stated_number(listed_entry(*called), "input_cost_per_token") is not None
    return cost if cost or listed else None


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def hidden_in(reply: Reply) -> Mapping[str, Any]:
    """LiteLLM's own notes on a response or piece."""
    hidden = getattr(reply, "_hidden_params", None)
    return hidden if isinstance(hidden, Mapping) else {}
