"""What a provider's error means: its kind, by LiteLLM's classes, and how long it asks to be left alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from router.calling.attempt import ErrorKind, Failed
from router.models.litellm_import import litellm_module

DEPTH = 12
"""Causes looked at below an error: LiteLLM's class, the SDK's, httpx's, httpcore's and the socket's."""


def failure_of(error: Exception) -> Failed:
    """An error as what went wrong."""
    # LiteLLM wraps what breaks a stream in a class of its own.
    original = getattr(error, "original_exception", None)
    told = original if isinstance(original, Exception) else error
    return Failed(kind=kind_of(told), error=_in_litellms_class(told), retry_after_s=retry_after_s(told))


def kind_of(error: BaseException) -> ErrorKind:
    """The kind of an error, whatever raised it: LiteLLM, an SDK or a socket.

    The status beats the class: LiteLLM calls a 503 a bad request where its text looks like one. What is no
    error of a provider's (a `TypeError`) is a bad request: another model would not help.
    """
    import openai

    litellm = litellm_module()
    status = _status_of(error)
    by_class: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], ErrorKind], ...] = (
        (litellm.ContextWindowExceededError, "context_window"),
        (litellm.ContentPolicyViolationError, "content_policy"),
        (openai.RateLimitError, "rate_limit"),
        ((openai.APITimeoutError, TimeoutError), "timeout"),
        ((openai.AuthenticationError, openai.PermissionDeniedError), "authentication"),
    )
    for classes, kind in by_class:
        if isinstance(error, classes):
            return kind
    if status is not None and status < 500:
        return _BY_STATUS.get(status, "bad_request")
    if hasattr(error, "cooldown_time"):  # a litellm.Router, all of whose deployments are cooling down
        return "rate_limit"
    return _kind_of_outage(error)


_BY_STATUS: Mapping[int, ErrorKind] = {
    401: "authentication",
    402: "authentication",
    403: "authentication",
    408: "timeout",
    429: "rate_limit",
}


def _kind_of_outage(error: BaseException) -> ErrorKind:
    """Timeout, lost connection or trouble at the provider's: the first cause below LiteLLM's own tells."""
    import httpx
    import openai

    for cause in _causes(error):
        if type(cause).__module__.startswith("litellm."):
            continue
        if isinstance(cause, openai.APITimeoutError | httpx.TimeoutException | TimeoutError):
            return "timeout"
        if isinstance(cause, openai.APIConnectionError | httpx.TransportError | ConnectionError):
            return "connection"
        if isinstance(cause, openai.APIError | httpx.HTTPStatusError):
            return "server"
    if isinstance(error, openai.APIConnectionError):
        return "connection"
    return "server" if isinstance(error, openai.APIError) else "bad_request"


def retry_after_s(error: BaseException, now: datetime | None = None) -> float | None:
    """Seconds that the provider asks to be left alone, from now; None where it does not say.

    Args:
        now: for a header that holds a date.
    """
    wait = getattr(error, "cooldown_time", None)
    if isinstance(wait, int | float):
        return max(float(wait), 0.0)
    headers = _headers_of(error)
    if (milliseconds := _number(headers.get("retry-after-ms"))) is not None:
        return milliseconds / 1000
    text = headers.get("retry-after")
    if (seconds := _number(text)) is not None or not isinstance(text, str):
        return seconds
    return _seconds_until(text, now or datetime.now(UTC))


def _headers_of(error: BaseException) -> Mapping[str, Any]:
    """The response's headers; looking a name up does not mind its case."""
    response = getattr(error, "response", None)
    found = getattr(error, "litellm_response_headers", None) or getattr(response, "headers", None)
    return found if isinstance(found, Mapping) else {}


def _number(text: object) -> float | None:
    """A number of seconds or milliseconds that makes sense, or None."""
    try:
        value = float(str(text))
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None


def _seconds_until(date: str, now: datetime) -> float | None:
    try:
        then = parsedate_to_datetime(date)
    except ValueError:
        return None
    return max((then.astimezone(UTC) - now).total_seconds(), 0.0)


def _status_of(error: BaseException) -> int | None:
    status = getattr(error, "status_code", None)
    return status if isinstance(status, int) else None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, and what it was raised from."""
    current: BaseException | None = error
    for _ in range(DEPTH):
        if current is None:
            return
        yield current
        current = current.__cause__ or current.__context__


def _in_litellms_class(error: Exception) -> Exception:
    """Our own timeout in the class that callers of LiteLLM catch."""
    if type(error) is not TimeoutError:
        return error
    late: Exception = litellm_module().Timeout(
        message="nothing came within the timeout", model="", llm_provider=""
    )
    late.__cause__ = error
    return late
