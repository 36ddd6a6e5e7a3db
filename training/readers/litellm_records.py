"""Converts what LiteLLM's spend logs and callback payloads have in common."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeAlias

from router.models.model_list import listed_entry
from router.records import Json
from training.readers.protocol import NO_MODEL, SEVERAL_PROMPTS, Call, Record, Rejected, Result, Skipped
from training.readers.request_shapes import answer_evidence, opened, request_fields, texts_in, why_no_prompt
from training.readers.token_kinds import token_kinds
from training.readers.values import (
    filled,
    first_given,
    first_words,
    is_zero,
    listed,
    mapping,
    member,
    seconds_between,
    truth,
    words,
)
from training.readers.zero_costs import TOKEN_PRICES, is_free

_Object: TypeAlias = Mapping[str, Json]

INTERNAL = Skipped("internal call")
SILENT = Skipped("shadow call of a silent experiment: never served")
CACHED = Skipped("cache hit")
REDACTED = Skipped("redacted")
NOT_THE_MODELS = Skipped("error of the caller or the proxy")
OTHER_CALL = Skipped("no chat or completion")
ONLY_GROUP = Rejected("model is missing (model_group may be an alias): export the column 'model', too")
NOT_REACHED = Skipped("failed before a model was chosen")

CUT_MARK = "(litellm_truncated skipped "
_REDACTED_TEXT = "redacted-by-litellm"
_AGENT_TAG = "User-Agent:"
NO_CHAT = re.compile(
    r"(?i)(?<![a-z])a?(embed|rerank|image|speech|audio|video|transcri|moderation|ocr\b|retriev|search|vector|"
    r"realtime|mcp|memory|batch|files?(\b|_)|fine_?tun|guardrail|count_tokens|health|code_interpreter|"
    r"(create|get|list|add|delete|run)_(assistant|thread|container|sandbox|skill|code)|"
    r"(get|list|add|send|cancel|delete)_(message|response|input_item|interaction)|"
    r"execute_?tool|(invoke|create|run)_?(agent|workflow))|^(tool|agent|workflow|task|chain|a?ingest|aquery)$"
)
"""Names of operations that are neither chat nor completion. Any other one with a prompt is a call:
everybody may make up names."""
_CALLERS = frozenset(
    "AuthenticationError PermissionDeniedError BudgetExceededError ProxyModelNotFoundError NotFoundError "
    "BadRequestError UnprocessableEntityError HTTPException ProxyException RejectedRequestError "
    "BlockedPiiEntityError GuardrailRaisedException InvalidRequestError CancelledError ClientDisconnect "
    "ImageFetchError 401 403 404 422 "
    "LiteLLMUnknownProvider ModelNotFoundException KeyError TypeError ValueError AttributeError".split()
)
"""Classes and statuses of errors that any model would have met, or that came before any was called."""
_MODELS = frozenset(
    "ContextWindowExceededError ContentPolicyViolationError JSONSchemaValidationError "
    "APIResponseValidationError UnsupportedParamsError".split()
)
"""Errors that mean that the model can't process this prompt. After any other (rate limits, timeouts, 5xx) the
call is kept and its outcome is unknown, as in the runtime's own log."""


def call_of(record: Record, body: _Object, metadata: _Object, answer: Json) -> Result:
    """The call in a record; spend logs and payloads keep body and metadata in different places.

    Args:
        body: the request, with messages, tools and response format.
        answer: the response, or what the log keeps of it.
    """
    if (skipped := _skipped(record, metadata)) is not None:
        return skipped
    failed = has_failed(record, metadata)
    error = _error(record, metadata) if failed else {}
    if failed and _not_the_models(error):
        return NOT_THE_MODELS
    fields = _passed_through(record, request_fields(body))
    texts = texts_in(fields.get("messages") or fields.get("prompt"))
    if any(text == _REDACTED_TEXT for text in texts):
        return REDACTED
    several = "text_completion" in str(record.get("call_type")) and _are_several(body.get("messages"))
    if several or not fields:
        return SEVERAL_PROMPTS if several else why_no_prompt(body)
    model = model_of(record, metadata)
    if model is None:
        return _without_model(record, failed=failed)
    fields |= {"model": model, "truncated": any(CUT_MARK in text for text in texts)}
    fields |= _labels(record, metadata)
    fields |= _amounts(record, metadata, model, failed=failed)
    fields |= _outcome(error, metadata) if failed else {**answer_evidence(answer), **_own_outcome(metadata)}
    return fields


def has_failed(record: Record, metadata: _Object) -> bool:
    """Whether a request ended in an error: rows before May 2025 say so in `metadata` only, or nowhere."""
    stated = [(words(where.get("status")) or "").lower() for where in (record, metadata)]
    return "failure" in stated or (stated == ["", ""] and bool(_error(record, metadata).get("error_class")))


def _passed_through(record: Record, fields: Call) -> Call:
    """The request of a pass-through endpoint, whose one message holds the provider's body as text."""
    messages = fields.get("messages")
    if not isinstance(messages, list) or len(messages) != 1 or "pass" not in str(record.get("call_type")):
        return fields
    body = opened(member(messages, 0, "content"))
    return request_fields(body) if isinstance(body, dict) else fields


def _are_several(messages: Json) -> bool:
    """Whether the one message that LiteLLM makes of a text completion holds several prompts."""
    prompts = listed(member(messages, 0, "content"))
    return len(prompts) > 1 and all(isinstance(prompt, str | list) for prompt in prompts)


def _skipped(record: Record, metadata: _Object) -> Skipped | None:
    if metadata.get("internal_call_origin"):
        return INTERNAL
    if truth(metadata.get("is_silent_experiment")):
        return SILENT
    if truth(record.get("cache_hit")):
        return CACHED
    return OTHER_CALL if NO_CHAT.search(words(record.get("call_type")) or "") else None


def model_of(record: Record, metadata: _Object) -> str | None:
    """The model that answered, with the provider as its prefix; never the alias of a router."""
    model = words(record.get("model"))
    routed = words(member(metadata.get("routing_decision"), "routed_model"))
    if model is None or (routed is not None and model == words(record.get("model_group"))):
        return routed or model
    provider = words(record.get("custom_llm_provider"))
    known = provider is None or model.startswith(f"{provider}/")
    return model if known else f"{provider}/{model}"


def _without_model(record: Record, *, failed: bool) -> Skipped | Rejected:
    if failed and "model" in record:
        return NOT_REACHED
    return NO_MODEL if words(record.get("model_group")) is None else ONLY_GROUP


def _labels(record: Record, metadata: _Object) -> Call:
    own = mapping(metadata.get("spend_logs_metadata"))
    tags = [tag for tag in listed(record.get("request_tags")) if isinstance(tag, str)]
    tags = [tag for tag in tags if not tag.startswith(_AGENT_TAG)]
    named = next(
        (tag.partition(":")[2].strip() for tag in tags if tag.startswith(("task_type:", "task:"))), ""
    )
    return filled(
        {
            "call_id": _call_id(record),
            "session_id": first_words(record.get("session_id"), record.get("trace_id")),
            "time": record.get("startTime"),
            "tags": tags,
            "task_type": first_words(own.get("task_type"), own.get("task"), named),
        }
    )


def _call_id(record: Record) -> str | None:
    """The id of the row, with the time of a failed attempt: all attempts of a request share one id."""
    named = first_words(record.get("request_id"), record.get("id"))
    payload = named is not None and "request_id" not in record
    attempt = payload and has_failed(record, mapping(record.get("metadata")))
    return f"{named}@{record.get('startTime')}" if attempt else named


def _amounts(record: Record, metadata: _Object, model: str, *, failed: bool) -> Call:
    """Cost, tokens and latency, without the zeros of a failed call and a cost that is no price paid.

    LiteLLM may write a cost before it knows that of the whole answer (`cost_finalized` is then false), and
    writes a cost of zero where it knows no price.
    """
    cost = first_given(record.get("response_cost"), record.get("spend"))
    final = first_given(record.get("cost_finalized"), metadata.get("cost_finalized"))
    if final is not None and not truth(final):
        cost = None
    amounts: Call = {
        "cost_usd": cost,
        "input_tokens": record.get("prompt_tokens"),
        "output_tokens": record.get("completion_tokens"),
        **token_kinds(
            mapping(metadata.get("usage_object")) or mapping(member(record.get("response"), "usage"))
        ),
        "latency_s": _latency(record),
    }
    if failed:
        amounts = {name: value for name, value in amounts.items() if not is_zero(value)}
    elif is_zero(cost) and not _is_free(record, metadata, model):
        del amounts["cost_usd"]
    return filled(amounts, zeros=True)


def _is_free(record: Record, metadata: _Object, model: str) -> bool:
    """Whether the row's own price map, or else LiteLLM's list, says that the model costs nothing."""
    about = mapping(first_given(record.get("model_map_information"), metadata.get("model_map_information")))
    unlisted = "model_map_value" in about and about["model_map_value"] is None
    if unlisted or record.get("response_cost_failure_debug_info"):
        return False
    own = mapping(about.get("model_map_value"))
    return is_free(own if own.keys() & set(TOKEN_PRICES) else listed_entry(model))


def _latency(record: Record) -> Json:
    milliseconds = record.get("request_duration_ms")
    try:
        if milliseconds not in (None, ""):
            return float(milliseconds) / 1000
    except (TypeError, ValueError, OverflowError):
        return None
    return seconds_between(record.get("startTime"), record.get("endTime"))


def _error(record: Record, metadata: _Object) -> _Object:
    return mapping(first_given(record.get("error_information"), metadata.get("error_information")))


def _not_the_models(error: _Object) -> bool:
    category = words(error.get("error_rate_limit_category"))
    by_proxy = category is not None and category.startswith("litellm")
    return by_proxy or is_callers(_error_name(error))


def is_callers(error_class: Json) -> bool:
    """Whether any model would have met an error of this class or status, or the proxy called none."""
    return isinstance(error_class, str) and error_class.rpartition(".")[2] in _CALLERS


def _error_name(error: _Object) -> str | None:
    """The class of an error, else its status."""
    code = error.get("error_code")
    return first_words(error.get("error_class"), str(code) if type(code) is int else code)


def _outcome(error: _Object, metadata: _Object) -> Call:
    name = _error_name(error) or "error"
    outcome = {**_own_outcome(metadata), "error": name}
    return outcome if "success" in outcome else {**outcome, **blame(name)}


def blame(error: str) -> Call:
    """The outcome of a call that ended in an error of this class: failure or unknown."""
    return {"success": False if error in _MODELS else None, "outcome_source": "error"}


def _own_outcome(metadata: _Object) -> Call:
    """The outcome that the application wrote into `spend_logs_metadata`."""
    own = mapping(metadata.get("spend_logs_metadata"))
    outcome = {name: own[name] for name in ("success", "score") if own.get(name) is not None}
    if outcome:
        outcome["outcome_source"] = words(own.get("outcome_source")) or "feedback"
    return outcome
