"""The seam to LiteLLM: returns its replies and pieces unchanged, and its errors as values."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from functools import cache, lru_cache, wraps
from typing import Any, TypeAlias

from router.calling.attempt import Failed
from router.calling.litellm_router import Client, deployments_of, has_groups
from router.calling.provider_errors import failure_of
from router.effort import endpoint_of
from router.errors import ConfigError
from router.errors.masking import shown_value
from router.models.litellm_import import litellm_module
from router.models.locality import ANY_SERVER, address_of, is_local_group
from router.models.model_list import Target, provider_of
from router.records import Json
from router.settings.sections import Config, ModelSettings

NO_KEY = "no-key"
"""LiteLLM requires a key; an endpoint without authentication ignores it."""
KINDS_WITHOUT_KEY = frozenset({"authentication", "connection", "server", "unsent"})
"""What a missing key looks like, by provider."""
GRACE_S = 1.0
"""Lets LiteLLM's own timeout fire first, which notifies its callbacks; ours covers the waits it misses."""

SECOND_REQUESTS = ("single_connection_request", "single_connection_post_request")
"""Where LiteLLM's lines send a request again whose connection broke: 1.110, and before."""
Reply: TypeAlias = Any
"""LiteLLM's response, stream, or piece of a stream: classes that change with its versions."""
_one_request: ContextVar[bool] = ContextVar("_one_request", default=False)


def connection_of(model: str, settings: ModelSettings) -> dict[str, Json]:
    """The arguments that address a model. Reads the key from the environment and keeps no copy.

    Raises:
        ConfigError: the variable that holds the key is not set.
    """
    called = settings.litellm_model or model
    connection: dict[str, Json] = {"model": called}
    if address := address_of(called, settings):
        connection["api_base"] = address
    if settings.api_key_env is not None:
        # Only keys come from the environment; everything else comes from the settings.
        key = os.environ.get(settings.api_key_env)
        if not key:
            raise ConfigError(
                f"models.{model}.api_key_env: the environment variable {shown_value(settings.api_key_env)!r} "
                "is not set; set it where the program starts"
            )
        connection["api_key"] = key
    elif gets_no_key(called, settings):
        connection["api_key"] = NO_KEY
    return connection


def gets_no_key(called: str, settings: ModelSettings) -> bool:
    """Whether a model is the team's own endpoint, to which LiteLLM would send OpenAI's key by default."""
    own = settings.api_base is not None and settings.api_key_env is None
    return own and provider_of(called) in ANY_SERVER


def check_client(client: Client, models: Iterable[str]) -> None:
    """Refuse a client that can't call a model: the first request for it would be the first to tell.

    Raises:
        ConfigError: it has no `completion` and `acompletion`, or is a `litellm.Router` that lacks one
            of these groups.
    """
    if client is None:
        return
    if not all(callable(getattr(client, name, None)) for name in ("completion", "acompletion")):
        raise ConfigError(
            f"transport must be a litellm.Router, or have completion and acompletion, not {type(client)!r}"
        )
    if has_groups(client):
        missing = [model for model in map(endpoint_of, models) if not deployments_of(client, model)]
        if missing:
            raise ConfigError(
                f"this litellm.Router has no group for {', '.join(missing)}: add them to its model_list, or "
                "list them in limits.deny"
            )


def no_detours(client: Client) -> dict[str, Json]:
    """The arguments that stop LiteLLM's own retries and fallbacks: the chain is a privacy boundary.

    Raises:
        ConfigError: a global setting of LiteLLM redirects every call, and no argument undoes it.
    """
    if has_groups(client):
        return {"num_retries": 0, "disable_fallbacks": True}
    if client is not None:
        return {"num_retries": 0, "max_retries": 0}
    litellm = litellm_module()
    if litellm.model_fallbacks:
        raise ConfigError(
            "litellm.model_fallbacks is set: LiteLLM would send requests to models that the limits ruled "
            "out; set it to None, and use calls.fallbacks"
        )
    if litellm.api_base:
        raise ConfigError(
            "litellm.api_base is set: LiteLLM would send the requests of local models there too; set it to "
            "None, and use models.NAME.api_base"
        )
    # The policy is there because `num_retries=0` does not stop the retries of litellm.num_retries.
    return {"num_retries": 0, "max_retries": 0, "retry_policy": _no_retries()}


@contextmanager
def one_request_a_call() -> Iterator[None]:
    """Send the request of each call in this block once, including calls in tasks that the block starts.

    If a connection breaks, even after the request went out, LiteLLM's transport sends it again, whatever the
    number of retries; a provider may bill both. No argument or setting turns that off, and only some
    providers accept a client that does.

    Raises:
        ConfigError: this LiteLLM's way to send again is unknown.
    """
    _make_second_requests_optional()
    before = _one_request.set(True)
    try:
        yield
    finally:
        _one_request.reset(before)


@cache
def _make_second_requests_optional() -> None:
    """Make LiteLLM check the context before a second request; outside the block nothing changes."""
    litellm_module()
    from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler

    name = next((one for one in SECOND_REQUESTS if hasattr(AsyncHTTPHandler, one)), None)
    if name is None:
        raise ConfigError(
            f"LiteLLM's AsyncHTTPHandler has none of {', '.join(SECOND_REQUESTS)}, so a broken connection "
            "could send and bill a request twice; install a LiteLLM that pointsman[litellm] allows"
        )
    send_again = getattr(AsyncHTTPHandler, name)

    @wraps(send_again)
    async def unless_one(*arguments: Reply, **named: Reply) -> Reply:
        if not _one_request.get():
            return await send_again(*arguments, **named)
        broken = sys.exc_info()[1]
        assert broken is not None, "there is a second request only after an error"
        raise broken

    setattr(AsyncHTTPHandler, name, unless_one)


@cache
def _no_retries() -> Reply:
    return litellm_module().RetryPolicy()


def complete(client: Client, arguments: Mapping[str, Json]) -> Reply:
    """Call a model: LiteLLM's response or stream, or a `Failed`."""
    target = litellm_module() if client is None else client
    try:
        return _checked(target.completion(**arguments))
    except Exception as error:  # noqa: BLE001 - any error of a provider or its SDK decides what to try next
        return _failed(client, error, arguments)


async def acomplete(client: Client, arguments: Mapping[str, Json], timeout_s: float | None) -> Reply:
    """Like `complete`, by `acompletion`; also gives up on a response that trickles in."""
    target = litellm_module() if client is None else client
    try:
        async with asyncio.timeout(_backstop(timeout_s)):
            return _checked(await target.acompletion(**arguments))
    except Exception as error:  # noqa: BLE001 - as above
        return _failed(client, error, arguments)


def _failed(client: Client, error: Exception, arguments: Mapping[str, Json]) -> Failed:
    """The failure of a call, with the key that LiteLLM would need if it was given none.

    LiteLLM says so in the provider's text only, and calls a missing key of OpenAI a server's fault.
    """
    failed = failure_of(error, arguments)
    if client is not None or "api_key" in arguments or failed.kind not in KINDS_WITHOUT_KEY:
        return failed
    return replace(failed, hint=_without_key(str(arguments.get("model"))))


def _without_key(model: str) -> str:
    litellm = litellm_module()
    try:
        missing = [] if litellm.api_key else litellm.validate_environment(model=model)["missing_keys"]
    except Exception:  # noqa: BLE001 - a hint must not cost the request its fallback
        return ""
    keys = " or ".join(name for name in missing if name.endswith("_API_KEY"))
    return f"{keys} is not set" if keys else ""


def next_piece(stream: Reply) -> Reply:
    """Read the next piece of a stream: None at its end, a `Failed` if it broke or lacks a finish reason."""
    sent = _is_sent(stream)
    try:
        piece = next(stream, None)
    except Exception as error:  # noqa: BLE001 - as above
        return _broken(error, sent=sent or _is_sent(stream))
    return _end_of(stream) if piece is None else piece


async def anext_piece(stream: Reply, timeout_s: float | None) -> Reply:
    """Like `next_piece`; keep-alive bytes that form no piece do not extend the timeout."""
    sent = _is_sent(stream)
    try:
        async with asyncio.timeout(_backstop(timeout_s)):
            piece = await anext(stream, None)
    except Exception as error:  # noqa: BLE001 - as above
        return _broken(error, sent=sent or _is_sent(stream))
    return _end_of(stream) if piece is None else piece


def close(stream: Reply) -> None:
    """Hang up, so that the provider can stop an answer that nobody reads."""
    # LiteLLM's wrapper can close itself only in async code; the source behind it can be closed.
    source = getattr(stream, "completion_stream", None) or stream
    try:
        if hasattr(source, "close"):
            source.close()
    except Exception:  # noqa: BLE001 - nobody reads the stream any more, however its connection ends
        pass


async def aclose(stream: Reply) -> None:
    """Like `close`, for an async stream."""
    try:
        if hasattr(stream, "aclose"):
            await stream.aclose()
    except Exception:  # noqa: BLE001 - as above
        pass


def join_pieces(pieces: Sequence[Reply]) -> Reply:
    """Join a stream's received pieces into one response, or None if they form none."""
    try:
        return litellm_module().stream_chunk_builder(list(pieces)) if pieces else None
    except Exception:  # noqa: BLE001 - pieces of a broken stream need not fit together
        return None


def as_usage(counts: Mapping[str, Json]) -> Reply:
    """LiteLLM's `Usage` of token counts in the chat protocol's form."""
    return litellm_module().Usage(**counts)


def cost_of_tokens(model: str | None, provider: str | None, counted: Reply) -> float | None:
    """USD for token counts by LiteLLM's list, or None if it has no price.

    Args:
        counted: LiteLLM's `Usage`, or None.
    """
    if model is None or counted is None:
        return None
    litellm = litellm_module()
    try:
        whole = litellm.ModelResponse(model=model, usage=counted)
        return float(litellm.completion_cost(whole, model=model, custom_llm_provider=provider))
    except Exception:  # noqa: BLE001 - LiteLLM raises a plain Exception for a model without a price
        return None


def local_models(client: Client, models: Iterable[str], config: Config) -> frozenset[str] | None:
    """The models whose calls through a client stay on the team's own machines now.

    None without a client: the settings say where calls go. Of a client that can't be inspected, only the
    setting `local: true` tells.
    """
    if client is None:
        return None
    if not has_groups(client):
        return frozenset(model for model in models if config.of(model).local)
    litellm = litellm_module()
    if litellm.api_base or litellm.model_fallbacks:
        return frozenset()
    return frozenset(
        model
        for model in models
        if is_local_group(deployments_of(client, endpoint_of(model)), config.of(model))
    )


def targets_of(client: Client, models: Iterable[str]) -> Mapping[str, tuple[Target, ...]]:
    """The deployments behind each model of a `litellm.Router`; empty for any other client."""
    if not has_groups(client):
        return {}
    groups = {model: deployments_of(client, endpoint_of(model)) for model in models}
    return {model: tuple(Target.of(one, model) for one in group) for model, group in groups.items() if group}


def takes(litellm_model: str, api_base: str | None, name: str, value: Json) -> bool:
    """Whether a model takes this value of a chat parameter; True if LiteLLM does not know."""
    known = _known_parameters(litellm_model, api_base)
    if known is None or name not in _chat_parameters():
        return True
    provider, bare, names = known
    if name not in names:
        return False
    if name not in _VALUE_MATTERS or not isinstance(value, str | int | float):
        return True
    return _takes_value(provider, bare, name, value)


def counts_streams(client: Client, model: str, api_base: str | None) -> bool:
    """Whether a model accepts a request for a stream's token counts: some providers refuse it."""
    deployments = deployments_of(client, model) if has_groups(client) else ()
    addresses = [
        (params["model"], params.get("api_base")) for params in (one["litellm_params"] for one in deployments)
    ]
    known = [_known_parameters(*address) for address in addresses or [(model, api_base)]]
    return all(one is None or "stream_options" in one[2] for one in known)


_VALUE_MATTERS = frozenset(
    {"temperature", "top_p", "n", "tool_choice", "reasoning_effort", "verbosity", "parallel_tool_calls"}
)
"""Parameters of which some models take only some values; the others have too many values to check each."""

_NO_PARAMETERS = frozenset(
    "model messages custom_llm_provider api_version max_retries extra_headers drop_params metadata user "
    "stream stream_options allowed_openai_params additional_drop_params".split()
)
"""Entries of LiteLLM's list of chat parameters that are its own, or that every model gets."""


@cache
def _chat_parameters() -> frozenset[str]:
    litellm_module()
    from litellm.constants import DEFAULT_CHAT_COMPLETION_PARAM_VALUES

    return frozenset(DEFAULT_CHAT_COMPLETION_PARAM_VALUES) - _NO_PARAMETERS


@lru_cache(maxsize=1024)
def _known_parameters(litellm_model: str, api_base: str | None) -> tuple[str, str, frozenset[str]] | None:
    """Provider, the model's name there, and the parameters it takes, or None if LiteLLM does not know."""
    litellm = litellm_module()
    try:
        bare, provider, _, _ = litellm.get_llm_provider(model=litellm_model, api_base=api_base)
        names = litellm.get_supported_openai_params(model=bare, custom_llm_provider=provider)
    except Exception:  # noqa: BLE001 - LiteLLM raises many kinds of error for an unknown model
        return None
    return None if names is None else (provider, bare, frozenset(names))


@lru_cache(maxsize=4096, typed=True)
def _takes_value(provider: str, bare: str, name: str, value: str | float) -> bool:
    """Ask the part of LiteLLM that would reject the value."""
    litellm = litellm_module()
    try:
        litellm.get_optional_params(model=bare, custom_llm_provider=provider, **{name: value})
    except litellm.UnsupportedParamsError:
        return False
    except Exception:  # noqa: BLE001 - anything else says nothing about the value
        return True
    return True


def _checked(reply: Reply) -> Reply:
    """A reply that may hold an answer, or a `Failed`."""
    if hasattr(reply, "completion_stream"):
        # LiteLLM would count the tokens of a stream's messages, and fetch their images to do so.
        reply.messages = None
    elif not getattr(reply, "choices", True):
        return _empty("the response holds no choices")
    return reply


def _end_of(stream: Reply) -> Failed | None:
    """The end of a stream. LiteLLM makes up a finish reason for one that ends without, even at once."""
    unfinished = getattr(stream, "received_finish_reason", "unknown") is None
    return _empty("the stream ended without a finish reason") if unfinished else None


def _is_sent(stream: Reply) -> bool:
    """Whether LiteLLM has the provider's stream; 1.110 drops it as soon as it breaks."""
    return getattr(stream, "completion_stream", stream) is not None


def _broken(error: Exception, *, sent: bool) -> Failed:
    """A stream's failure; that of a sent request is not its caller's."""
    failed = failure_of(error)
    return replace(failed, kind="server") if sent and failed.kind == "unsent" else failed


def _empty(why: str) -> Failed:
    error = litellm_module().InternalServerError(message=why, model="", llm_provider="")
    return Failed(kind="empty", error=error)


def _backstop(timeout_s: float | None) -> float | None:
    return None if timeout_s is None else timeout_s + GRACE_S
