"""What a provider's error means: its kind, by LiteLLM's classes, and how long to wait before a retry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from router.calling.attempt import ErrorKind, Failed
from router.models.litellm_import import litellm_module

DEPTH = 12
"""How many causes of an error to inspect: LiteLLM's class, the SDK's, httpx's, httpcore's, the socket's."""


def failure_of(error: Exception) -> Failed:
    """Classify an error."""
    # LiteLLM wraps the error that breaks a stream in a class of its own.
    original = getattr(error, "original_exception", None)
    if isinstance(original, Exception):
        error = original
    return Failed(kind=kind_of(error), error=_in_litellms_class(error), retry_after_s=retry_after_s(error))


def kind_of(error: BaseException) -> ErrorKind:
    """The kind of an error, whether LiteLLM, an SDK or a socket raised it.

    The status overrides the class: LiteLLM calls a 503 a bad request if its text looks like one. An error
    that is not a provider's (a `TypeError`) counts as a bad request, since another model would not help.
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
    if hasattr(error, "cooldown_time"):  # all deployments of a litellm.Router are cooling down
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
    """Timeout, lost connection or provider fault, by the first cause that is not LiteLLM's."""
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
    """Seconds from now that the provider asks to wait, or None.

    Args:
        now: the time to subtract from a header that holds a date.
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
    """The response's headers, whose lookup ignores case."""
    response = getattr(error, "response", None)
    headers = getattr(error, "litellm_response_headers", None) or getattr(response, "headers", None)
    return headers if isinstance(headers, Mapping) else {}


def _number(text: object) -> float | None:
    """A finite number that is not negative, or None."""
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
    """The error and its causes, outermost first."""
    current: BaseException | None = error
    for _ in range(DEPTH):
        if current is None:
            return
        yield current
        current = current.__cause__ or current.__context__


def _in_litellms_class(error: Exception) -> Exception:
    """The error; our own timeout becomes the class that callers of LiteLLM catch."""
    if type(error) is not TimeoutError:
        return error
    late: Exception = litellm_module().Timeout(
        message="nothing came within the timeout", model="", llm_provider=""
    )
    late.__cause__ = error
    return late
