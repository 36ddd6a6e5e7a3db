"""Whose fault a provider's error is: the model's, the caller's, or nobody's."""

from __future__ import annotations

from router.records import Json
from training.readers.litellm_records import NOT_THE_MODELS
from training.readers.protocol import Call, Skipped
from training.readers.values import first_words, mapping, words

_TOO_LONG = ("maximum context length", "prompt is too long", "context window", "context limit")
_MODELS = frozenset(
    "context_length_exceeded content_policy_violation content_filter invalid_prompt "
    "model_context_window_exceeded string_above_max_length".split()
)
_CALLERS = frozenset(
    "invalid_request_error authentication_error permission_error not_found_error request_too_large "
    "billing_error insufficient_quota invalid_api_key model_not_found".split()
)


def provider_outcome(status: Json, error: Json) -> Call | Skipped:
    """The outcome of a failed call, by the HTTP status and the error in its body, if known.

    The same rules hold for LiteLLM's errors. The model fails if it can't process this prompt. A wrong key or
    request says nothing about the model, so the call is skipped. Rate limits, timeouts and 5xx leave the
    outcome unknown.
    """
    details = mapping(error)
    details = mapping(details.get("error")) or details
    code, kind = words(details.get("code")), words(details.get("type"))
    name = first_words(code, kind) or _status_name(status)
    message = (words(details.get("message")) or "").lower()
    if {code, kind} & _MODELS or any(phrase in message for phrase in _TOO_LONG):
        return {"success": False, "outcome_source": "error", "error": name}
    if {code, kind} & _CALLERS or _is_callers(status):
        return NOT_THE_MODELS
    return {"success": None, "outcome_source": "error", "error": name}


def _status_name(status: Json) -> str:
    known = isinstance(status, int | float) and not isinstance(status, bool)
    return f"status {status:g}" if known else "error"


def _is_callers(status: Json) -> bool:
    known = isinstance(status, int | float) and not isinstance(status, bool)
    return known and 400 <= status < 500 and status not in (408, 409, 425, 429, 499)
