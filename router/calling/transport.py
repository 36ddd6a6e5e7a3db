"""Calls the models of a chain until one answers."""

from __future__ import annotations

import asyncio
import copy
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from router.calling.attempt import Attempt, ErrorKind, Failed, Usage
from router.calling.call_plan import Plan, Try, Wait, plan_calls
from router.calling.cool_down import CoolDowns
from router.calling.litellm_call import (
    Reply,
    acomplete,
    complete,
    connection_of,
    counts_streams,
    local_models,
    no_detours,
    takes,
    targets_of,
)
from router.calling.litellm_router import Client
from router.calling.parameters import Supported, arguments_for
from router.calling.reply import own_price
from router.calling.running import Observe, Prepared, RunningAttempt, Watch
from router.calling.streams import AsyncStream, Stream
from router.calling.unsendable import why_no_timeout
from router.effort import endpoint_of
from router.errors import RequestError
from router.models.litellm_import import is_imported, litellm_module, warm_up
from router.models.model_list import Target
from router.records import Json
from router.settings.sections import Calls, Config, ModelSettings

__all__ = ["AsyncStream", "Attempt", "Clock", "ErrorKind", "Stream", "Transport", "Usage", "chain_of"]

DETOURS = frozenset(
    {
        "fallbacks",
        "context_window_fallbacks",
        "content_policy_fallbacks",
        "context_window_fallback_dict",
        "model_list",
    }
)
"""LiteLLM arguments that send a request past the limits, to other models."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """Sources of time and of random numbers.

    Attributes:
        unix: seconds since 1970.
        elapsed: seconds that never go back.
        draw: random numbers in [0, 1).
    """

    unix: Callable[[], float] = time.time
    elapsed: Callable[[], float] = time.perf_counter
    sleep: Callable[[float], None] = time.sleep
    sleep_async: Callable[[float], Awaitable[None]] = asyncio.sleep
    draw: Callable[[], float] = random.random


class Transport:
    """Calls models through LiteLLM. Threads and event loops may share one transport.

    `plan_calls` says when to retry a failing model and when to try the next; a model that keeps failing cools
    down (`calls.cool_down`). No request leaves the chain: LiteLLM's own retries and fallbacks are off.
    """

    def __init__(self, config: Config, client: Client = None, *, clock: Clock | None = None) -> None:
        """Call the models of `config`.

        Args:
            client: a `litellm.Router` whose model groups have the models' names, or anything else with
                `completion` and `acompletion`; it knows the addresses and keys. None: LiteLLM itself, with
                the addresses and keys of the settings.
            clock: the system's, except in tests.
        """
        self._config = config
        self._client = client
        self._clock = clock or Clock()
        self._cool_downs = CoolDowns(config.calls, self._clock.elapsed)

    def under(self, config: Config) -> Transport:
        """The same client, clock and cool-downs, with the settings of another version.

        The first settings keep defining a cool-down. Running calls keep their settings.
        """
        if config is self._config:
            return self
        other = copy.copy(self)
        other._config = config
        return other

    def completion(self, chain: Sequence[str], arguments: Mapping[str, Json], observe: Observe) -> Reply:
        """The response of the first model that answers, or with `stream=True` its opened `Stream`.

        Args:
            chain: models to try, in order.
            arguments: LiteLLM's, without the model.
            observe: receives every attempt once, at its end; a stream ends after this call.

        Raises:
            CallFailed: no model answered.
            ConfigError: a key is missing.
            RequestError: an argument would send the request past the chain, or can't be sent at all.
            litellm.exceptions.APIError: the request itself is wrong: authentication, bad request or content
                policy, unless `calls.also_fall_back_on` names it.
        """
        plan = self._plan(chain)
        step = next(plan)
        while True:
            failed = None
            if isinstance(step, Wait):
                self._clock.sleep(step.seconds)
            else:
                reply = self._attempt(self._begin(step, arguments, observe))
                if not isinstance(reply, Failed):
                    return reply
                failed = reply
            step = plan.send(failed)

    async def acompletion(
        self, chain: Sequence[str], arguments: Mapping[str, Json], observe: Observe
    ) -> Reply:
        """Like `completion`, for async code; a stream is an `AsyncStream`.

        If the task is cancelled, the attempt is reported before the cancellation passes on.
        """
        if self._client is None and not is_imported():
            # The import takes seconds, and must not block the event loop.
            await asyncio.to_thread(litellm_module)
        plan = self._plan(chain)
        step = next(plan)
        while True:
            failed = None
            if isinstance(step, Wait):
                await self._clock.sleep_async(step.seconds)
            else:
                reply = await self._attempt_async(self._begin(step, arguments, observe))
                if not isinstance(reply, Failed):
                    return reply
                failed = reply
            step = plan.send(failed)

    def warm_up(self) -> None:
        """Import what a call needs, unless the application brings it: `Router.warm_up` says when."""
        if self._client is None:
            warm_up()

    def local_models(
        self, models: Sequence[str], config: Config, client: Client = None
    ) -> frozenset[str] | None:
        """The models whose calls stay on the team's own machines now; None: as the settings say.

        Args:
            client: a `litellm.Router` that calls them instead of this transport's client.
        """
        return local_models(self._client if client is None else client, models, config)

    def targets(self, models: Sequence[str], client: Client = None) -> Mapping[str, tuple[Target, ...]]:
        """The deployments that serve each model now, if a `litellm.Router` calls them."""
        return targets_of(self._client if client is None else client, models)

    def cooling(self) -> dict[str, str]:
        """The reason for each cool-down of now."""
        return self._cool_downs.reasons()

    def cooled_s(self) -> dict[str, float]:
        """Seconds in cool-down so far, by model."""
        return self._cool_downs.cooled_s()

    def _plan(self, chain: Sequence[str]) -> Plan:
        models = self._cool_downs.available(chain)
        return plan_calls(models, self._config.calls, self._retries, self._clock.draw)

    def _retries(self, model: str) -> int:
        """Further attempts on a model: none while it cools down."""
        if endpoint_of(model) in self._cool_downs.reasons():
            return 0
        own = self._config.of(model).retries
        return self._config.calls.retries if own is None else own

    def _attempt(self, running: RunningAttempt) -> Reply:
        """The response, an open stream, or a `Failed`."""
        try:
            reply = complete(self._client, running.call.arguments)
            if isinstance(reply, Failed):
                return running.failed(reply)
            if running.call.stream:
                return Stream.open(reply, running)
        except BaseException as error:
            running.cancelled(error)
            raise
        running.answered(reply)
        return reply

    async def _attempt_async(self, running: RunningAttempt) -> Reply:
        try:
            reply = await acomplete(self._client, running.call.arguments, running.call.timeout_s)
            if isinstance(reply, Failed):
                return running.failed(reply)
            if running.call.stream:
                return await AsyncStream.open(reply, running)
        except BaseException as error:
            running.cancelled(error)
            raise
        running.answered(reply)
        return reply

    def _begin(self, step: Try, arguments: Mapping[str, Json], observe: Observe) -> RunningAttempt:
        watch = Watch(
            observe=observe,
            cool_downs=self._cool_downs,
            unix=self._clock.unix,
            elapsed=self._clock.elapsed,
        )
        return RunningAttempt(step, self._prepared(step.model, arguments), watch)

    def _prepared(self, model: str, arguments: Mapping[str, Json]) -> Prepared:
        """Prepare the call of one model.

        Raises:
            ConfigError: its key is missing.
            RequestError: an argument leads past the chain.
        """
        settings = self._config.of(model)
        fitting, notes = arguments_for(model, arguments, self._config, self._supported(model, settings))
        _refuse_detours(fitting)
        timeout = fitting.get("timeout") or settings.timeout_s or self._config.calls.timeout_s
        if (problem := why_no_timeout(timeout)) is not None:
            raise RequestError(problem)
        stream = bool(fitting.get("stream"))
        wants_usage = bool((fitting.get("stream_options") or {}).get("include_usage"))
        if stream and "stream_options" not in fitting and self._may_ask_for_counts(model, settings):
            fitting["stream_options"] = {"include_usage": True}
        connection = connection_of(model, settings) if self._client is None else {"model": endpoint_of(model)}
        return Prepared(
            arguments={**_own_copies(fitting), "timeout": timeout, **connection, **no_detours(self._client)},
            notes=notes,
            timeout_s=float(timeout) if isinstance(timeout, int | float) else None,
            price=own_price(model, settings),
            stream=stream,
            wants_usage=wants_usage,
        )

    def _may_ask_for_counts(self, model: str, settings: ModelSettings) -> bool:
        called = endpoint_of(model) if self._client else settings.litellm_model or model
        return "stream_options" not in settings.drop and counts_streams(
            self._client, called, settings.api_base
        )

    def _supported(self, model: str, settings: ModelSettings) -> Supported | None:
        """What LiteLLM knows about a model; it knows nothing about a client's own groups."""
        if self._client is not None:
            return None
        return partial(takes, settings.litellm_model or model, settings.api_base)


def _refuse_detours(arguments: Mapping[str, Json]) -> None:
    """Keep the request inside its chain, against the caller's arguments and the model's own parameters.

    Raises:
        RequestError: names the argument.
    """
    for name in sorted(DETOURS & arguments.keys()):
        raise RequestError(
            f"{name!r} would send the request past the limits, to other models: use calls.fallbacks"
        )


def _own_copies(arguments: Mapping[str, Json]) -> dict[str, Json]:
    """The arguments with copies of the metadata, which LiteLLM would change for every later attempt."""
    copies = {
        name: dict(arguments[name])
        for name in ("metadata", "litellm_metadata")
        if isinstance(arguments.get(name), Mapping)
    }
    return {**arguments, **copies}


def chain_of(model: str, ranking: Sequence[str], calls: Calls) -> tuple[str, ...]:
    """The models to try for a request, in order: the chosen one, then the configured chain or the ranking.

    A model is tried at one effort: what keeps one of its actions from answering does so to all.

    Args:
        ranking: the models that may serve the request, the best first; configured models must be among them.
    """
    configured = calls.fallbacks.get(model, calls.fallbacks.get("*"))
    further = ranking if configured is None else [name for name in configured if name in ranking]
    chain: dict[str, str] = {}
    for name in (model, *further):
        chain.setdefault(endpoint_of(name), name)
    return tuple(chain.values())[: calls.max_models]
