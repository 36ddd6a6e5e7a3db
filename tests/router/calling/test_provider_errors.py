from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import httpx
import openai
import pytest

from router.calling.attempt import ErrorKind
from router.calling.provider_errors import failure_of, kind_of, retry_after_s
from router.models.litellm_import import litellm_module

litellm = litellm_module()
REQUEST = httpx.Request("POST", "http://127.0.0.1/v1/chat/completions")
WHO = {"model": "m", "llm_provider": "openai"}
NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


def response(status: int, **headers: str) -> httpx.Response:
    return httpx.Response(status, headers=headers, request=REQUEST)


def litellms(name: str, **more: Any) -> Exception:  # noqa: ANN401 - arguments of LiteLLM's class
    error: Exception = getattr(litellm.exceptions, name)(message="no", **WHO, **more)
    return error


def raised_from(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


def with_status(error: Exception, status: int) -> Exception:
    error.status_code = status  # type: ignore[attr-defined]
    return error


BY_CLASS = [
    (litellms("ContextWindowExceededError"), "context_window"),
    (litellms("ContentPolicyViolationError"), "content_policy"),
    (litellms("RateLimitError"), "rate_limit"),
    (litellms("Timeout"), "timeout"),
    (litellms("AuthenticationError"), "authentication"),
    (litellms("PermissionDeniedError", response=response(403)), "authentication"),
    (litellms("BadRequestError"), "bad_request"),
    (litellms("NotFoundError"), "not_found"),
    (litellms("UnsupportedParamsError"), "bad_request"),
    (litellms("UnprocessableEntityError", response=response(422)), "bad_request"),
    (litellms("InternalServerError"), "server"),
    (litellms("ServiceUnavailableError"), "server"),
    (litellms("BadGatewayError"), "server"),
    (litellms("APIError", status_code=529), "server"),
    (litellms("APIConnectionError"), "connection"),
]


@pytest.mark.parametrize(
    ("error", "kind"), [pytest.param(error, kind, id=type(error).__name__) for error, kind in BY_CLASS]
)
def test_litellms_classes_have_a_kind(error: Exception, kind: ErrorKind) -> None:
    assert kind_of(error) == kind


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (openai.APITimeoutError(REQUEST), "timeout"),
        (openai.APIConnectionError(request=REQUEST), "connection"),
        (openai.RateLimitError("no", response=response(429), body=None), "rate_limit"),
        (openai.InternalServerError("no", response=response(500), body=None), "server"),
        (openai.APIError("no", REQUEST, body=None), "server"),
        (httpx.ReadTimeout("no", request=REQUEST), "timeout"),
        (httpx.ConnectError("no", request=REQUEST), "connection"),
        (ConnectionResetError("no"), "connection"),
        (TimeoutError("no"), "timeout"),
    ],
)
def test_errors_below_litellm_have_a_kind(error: Exception, kind: ErrorKind) -> None:
    assert kind_of(error) == kind


@pytest.mark.parametrize("error", [TypeError("no"), ValueError("no"), KeyError("no")])
def test_an_error_without_provider_or_network_was_never_sent(error: Exception) -> None:
    assert kind_of(error) == "unsent"
    assert kind_of(raised_from(litellms("InternalServerError"), error)) == "unsent"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *((status, "authentication") for status in (401, 402, 403)),
        *((status, "bad_request") for status in (409, 422)),
        (404, "not_found"),
        *((status, "server") for status in (500, 503, 529)),
        (408, "timeout"),
        (429, "rate_limit"),
    ],
)
def test_the_status_beats_the_class(status: int, kind: ErrorKind) -> None:
    assert kind_of(with_status(litellms("BadRequestError"), status)) == kind


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        (openai.APITimeoutError(REQUEST), "timeout"),
        (httpx.ReadTimeout("no", request=REQUEST), "timeout"),
        (openai.APIConnectionError(request=REQUEST), "connection"),
        (httpx.ReadError("no", request=REQUEST), "connection"),
        (openai.InternalServerError("no", response=response(500), body=None), "server"),
    ],
)
def test_the_cause_tells_what_an_outage_is(cause: Exception, kind: ErrorKind) -> None:
    assert kind_of(raised_from(litellms("InternalServerError"), cause)) == kind


def test_an_error_that_the_caller_was_handling_is_no_cause() -> None:
    provider = openai.InternalServerError("no", response=response(500), body=None)
    provider.__context__ = TimeoutError("the caller's own")
    assert kind_of(raised_from(litellms("InternalServerError"), provider)) == "server"


def test_a_broken_stream_is_what_broke_it() -> None:
    original = raised_from(litellms("APIConnectionError"), httpx.ReadTimeout("no", request=REQUEST))
    failed = failure_of(litellms("MidStreamFallbackError", original_exception=original))
    assert failed.error is original
    assert failed.kind == "timeout"


def test_our_own_timeout_is_raised_as_litellms() -> None:
    failed = failure_of(TimeoutError())
    assert failed.kind == "timeout"
    assert isinstance(failed.error, litellm.Timeout)
    assert isinstance(failed.error, openai.APITimeoutError)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        pytest.param({}, None, id="none"),
        pytest.param({"Retry-After": "2"}, 2.0, id="seconds"),
        pytest.param({"Retry-After": "0.25"}, 0.25, id="fraction"),
        pytest.param({"Retry-After": "0"}, 0.0, id="at once"),
        pytest.param({"retry-after-ms": "1500", "Retry-After": "9"}, 1.5, id="milliseconds"),
        pytest.param({"Retry-After": "Sun, 01 Mar 2026 12:00:30 GMT"}, 30.0, id="date"),
        pytest.param({"Retry-After": "Sun, 01 Mar 2026 11:00:00 GMT"}, 0.0, id="date gone by"),
        pytest.param({"Retry-After": "soon"}, None, id="words"),
        pytest.param({"Retry-After": "-3"}, None, id="negative"),
        pytest.param({"Retry-After": "nan"}, None, id="no number"),
        pytest.param({"Retry-After": "inf"}, None, id="never"),
    ],
)
def test_a_retry_after_is_read_from_the_response(headers: dict[str, str], seconds: float | None) -> None:
    error = litellms("RateLimitError", response=response(429, **headers))
    assert retry_after_s(error, NOW) == seconds


def test_a_retry_after_is_read_from_the_headers_that_litellm_keeps() -> None:
    error = litellms("RateLimitError")
    error.litellm_response_headers = httpx.Headers({"Retry-After": "4"})  # type: ignore[attr-defined]
    assert retry_after_s(error) == 4.0


def test_an_error_without_a_response_names_no_time() -> None:
    assert retry_after_s(ValueError("no")) is None


def test_a_litellm_router_without_a_deployment_is_a_rate_limit_with_its_cool_down() -> None:
    from litellm.types.router import RouterRateLimitError

    error = RouterRateLimitError(model="m", cooldown_time=5.0, enable_pre_call_checks=False, cooldown_list=[])
    failed = failure_of(error)
    assert (failed.kind, failed.retry_after_s) == ("rate_limit", 5.0)
