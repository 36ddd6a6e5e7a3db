"""What a provider's error means: its kind, by LiteLLM's classes, and how long to wait before a retry."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from router.calling.attempt import ErrorKind, Failed
from router.calling.unsendable import why_unsendable
from router.errors import RequestError
from router.models.litellm_import import litellm_module
from router.records import Json

DEPTH = 12
"""How many causes of an error to inspect: LiteLLM's class, the SDK's, httpx's, httpcore's, the socket's."""


def failure_of(error: Exception, arguments: Mapping[str, Json] | None = None) -> Failed:
    """Classify an error; one that can't be read is a provider's, too.

    Args:
        arguments: of the call. If they hold what can't be sent, the failure is a `RequestError`.
    """
    try:
        return _failure_of(error, arguments)
    except Exception:  # noqa: BLE001 - a provider's odd header or body must not cost the request its fallback
        return Failed(kind="server", error=error)


def _failure_of(error: Exception, arguments: Mapping[str, Json] | None) -> Failed:
    # LiteLLM wraps the error that breaks a stream in a class of its own.
    original = getattr(error, "original_exception", None)
    if isinstance(original, Exception):
        error = original
    kind = kind_of(error)
    if arguments is not None and kind in ("unsent", "connection", "server") and not _was_answered(error):
        why = why_unsendable(arguments)
        if why is not None:
            return Failed(kind="unsent", error=_request_error(why, error))
    return Failed(kind=kind, error=_in_litellms_class(error), retry_after_s=retry_after_s(error))


def kind_of(error: BaseException) -> ErrorKind:
    """The kind of an error, whether LiteLLM, an SDK or a socket raised it.

    The status overrides the class: LiteLLM calls a 503 a bad request if its text looks like one. An error
    in which no provider and no network had a part (a `TypeError`, also in LiteLLM's class) is `unsent`.
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
    404: "not_found",
    408: "timeout",
    429: "rate_limit",
}


def _kind_of_outage(error: BaseException) -> ErrorKind:
    """Timeout, lost connection, provider fault or none of them, by the first cause that is not LiteLLM's."""
    import httpx

    foreign = _foreign_causes(error)
    if any(isinstance(cause, httpx.LocalProtocolError) for cause in foreign):
        return "unsent"
    if foreign and all(map(_is_local, foreign)):
        return "unsent"
    kinds = (_kind_of_cause(cause) for cause in [*foreign, error])
    return next((kind for kind in kinds if kind is not None), "server" if foreign else "unsent")


def _kind_of_cause(cause: BaseException) -> ErrorKind | None:
    import httpx
    import openai

    if isinstance(cause, openai.APITimeoutError | httpx.TimeoutException | TimeoutError):
        return "timeout"
    if isinstance(cause, openai.APIConnectionError | httpx.TransportError | ConnectionError):
        return "connection"
    return "server" if isinstance(cause, openai.APIError | httpx.HTTPStatusError) else None


def _is_local(cause: BaseException) -> bool:
    """Whether an error is of our own process: Python's, but not of an answer that can't be read."""
    # LiteLLM raises a bare Exception for an answer of an odd form, from the error that it met there.
    unreadable = type(cause) is Exception or isinstance(cause, json.JSONDecodeError | OSError)
    return type(cause).__module__ in ("builtins", "json.decoder") and not unreadable


def _was_answered(error: BaseException) -> bool:
    """Whether a provider's status shows that the request arrived."""
    import httpx
    import openai

    return any(
        isinstance(one, openai.APIStatusError | httpx.HTTPStatusError) for one in _foreign_causes(error)
    )


def _foreign_causes(error: BaseException) -> list[BaseException]:
    """The error and its causes without LiteLLM's own, outermost first."""
    return [cause for cause in _causes(error) if not type(cause).__module__.startswith("litellm.")]


def _request_error(why: str, error: Exception) -> RequestError:
    refused = RequestError(f"the request can't be sent: {why}")
    refused.__cause__ = error
    return refused


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
        return max((then.astimezone(UTC) - now).total_seconds(), 0.0)
    except (ValueError, OverflowError, TypeError):
        return None


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
