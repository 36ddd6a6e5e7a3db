"""Decisions on the requests that LiteLLM brings: once per request, and away from the event loop."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Self

from router.calling.litellm_call import takes
from router.calling.parameters import arguments_for
from router.deciding.limits import LimitCheck
from router.errors import NoModelAllowed, RouterError
from router.proxying.ticket import PARAMETERS, Ticket
from router.records import Decision, Json, Request, Wishes
from router.serving.completion import Call
from router.settings.sections import Calls

if TYPE_CHECKING:
    from router.serving.client import Router
    from router.version import Version

logger = logging.getLogger(__name__)

THREADS = 2
"""More would only wait for each other and for the event loop: most of a decision holds Python's lock."""
LOAD_AGAIN_S = 10.0
"""How long a router that could not be loaded is left alone."""
NOT_SERVED = "LiteLLM's model_list has no group of that name"
SENT = PARAMETERS - {"api_base", "base_url"} | {"tools", "response_format", "extra_headers"}
"""Arguments that a model gets."""
WRONG_REQUEST = frozenset({"authentication", "bad_request", "content_policy"})
"""Failures of the request itself: another model is not asked unless the settings say so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Among what the decision is made.

    Attributes:
        groups: LiteLLM's model groups; None: all of the router's models are served.
        pinned: the group that the caller named; None: an alias of the router's.
    """

    groups: Collection[str] | None = None
    pinned: str | None = None


class Dispatcher:
    """The router behind LiteLLM's hooks, loaded at its first use; threads and coroutines may share it."""

    def __init__(self, load: Callable[[], Router]) -> None:
        """Serve a router.

        Args:
            load: makes it; takes its time, and raises RouterError where it can't.
        """
        self._load = load
        self._router: Router | None = None
        self._failure: tuple[float, RouterError] | None = None
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="pointsman")

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        """Itself: LiteLLM copies its configuration, and the plugin in it."""
        return self

    def router(self) -> Router:
        """The router, loaded if need be.

        Raises:
            RouterError: it can't be loaded; for a while the same is raised again, then it is tried again.
        """
        with self._lock:
            if self._router is None:
                self._router = self._loaded()
            return self._router

    async def ready(self) -> None:
        """Load the router, if it is not; a failure is told by the decision."""
        if self._router is None:
            await asyncio.get_running_loop().run_in_executor(self._threads, self._try_router)

    async def settle(self, ticket: Ticket, choice: Choice, messages: Json = None) -> None:
        """Have a request decided on, once: who comes later waits for the same decision.

        LiteLLM gives its classifier a time limit; the decision outlives it.
        """
        if ticket.deciding is None:
            loop = asyncio.get_running_loop()
            ticket.deciding = loop.run_in_executor(self._threads, self.settle_now, ticket, choice, messages)
        await asyncio.shield(ticket.deciding)

    def settle_now(self, ticket: Ticket, choice: Choice, messages: Json = None) -> None:
        """Decide on a request in this thread; the ticket holds the decision, or why there is none."""
        try:
            ticket.call = begun(self.router(), ticket, choice, messages)
        except RouterError as error:
            ticket.refusal = error

    def _try_router(self) -> None:
        try:
            self.router()
        except RouterError as error:
            logger.error("no router, so every request for a model is refused: %s", error)

    def _loaded(self) -> Router:
        if self._failure is not None and time.monotonic() - self._failure[0] < LOAD_AGAIN_S:
            raise self._failure[1]
        try:
            return self._load()
        except RouterError as error:
            self._failure = (time.monotonic(), error)
            raise


def begun(router: Router, ticket: Ticket, choice: Choice, messages: Json) -> Call:
    """The decision on a request, with what its attempts are logged with.

    Raises:
        RequestError: the request has the wrong form.
        NoModelAllowed: the limits left no model.
    """
    request, version = ticket.order.request(messages), router.version
    decision = _decision(router, version, ticket.order.wishes(), choice, request)
    return replace(router.call_of(version, request, decision, {}), request_id=ticket.call_id)


def objection(ticket: Ticket, group: str) -> str | None:
    """Why a model group may not serve a request that was decided on, or None: before every attempt.

    LiteLLM's fallbacks know nothing of a request's limits.
    """
    call = ticket.call
    assert call is not None, "a request is decided on before its first attempt"
    decision, config = call.decision, call.version.config
    if why := _at_its_end(ticket, group, config.calls):
        return why
    if group in decision.ranking:
        return None
    if group in decision.rejected:
        return decision.rejected[group]
    limits = LimitCheck((group,), config)
    return limits.rule_out(call.request, ticket.order.wishes(), tokens=0.0, cost={}).get(group)


def fitted(
    ticket: Ticket, group: str, arguments: Mapping[str, Json]
) -> tuple[dict[str, Json], tuple[str, ...]]:
    """LiteLLM's arguments as one of the router's models takes them; a note for each that it gets otherwise.

    The model's `parameters`, `map` and `drop` stay in the settings: the proxy's configuration holds none, as
    headers may be secrets.
    """
    assert ticket.call is not None, "a request is decided on before its first attempt"
    config = ticket.call.version.config
    if group not in ticket.call.version.models:
        return dict(arguments), ()
    settings = config.of(group)
    given = {name: arguments[name] for name in SENT & arguments.keys()}
    supported = partial(takes, settings.litellm_model or group, settings.api_base)
    fitting, notes = arguments_for(group, given, config, supported)
    rest = {name: value for name, value in arguments.items() if name not in given}
    return {**rest, **fitting}, notes


def _at_its_end(ticket: Ticket, group: str, calls: Calls) -> str | None:
    """Why a request is not tried further, or None."""
    model, kind = ticket.failure or (group, None)
    if ticket.spoken:
        return f"{model} had begun to answer"
    if model != group and kind in WRONG_REQUEST - frozenset(calls.also_fall_back_on):
        return f"{model} found the request itself wrong"
    if group not in ticket.tried and len(ticket.tried) >= calls.max_models:
        return f"{len(ticket.tried)} models were tried, as many as calls.max_models says"
    return None


def _decision(router: Router, version: Version, wishes: Wishes, choice: Choice, request: Request) -> Decision:
    """The decision of one version, which may no longer be the one in force when the request ends."""
    if choice.pinned is not None and choice.pinned not in version.models:
        return _unknown(version, choice.pinned)
    missing = set() if choice.groups is None else set(version.models) - set(choice.groups)
    asked = replace(wishes, model=choice.pinned, deny=[*wishes.deny, *missing])
    try:
        decision = router.decide_by(version, request, asked)
    except NoModelAllowed as error:
        raise NoModelAllowed(_named(error.rejected, missing)) from None
    return replace(decision, rejected=_named(decision.rejected, missing))


def _named(rejected: Mapping[str, str], missing: Collection[str]) -> dict[str, str]:
    """The reasons, with the right one for the models that LiteLLM does not serve."""
    return {model: NOT_SERVED if model in missing else why for model, why in rejected.items()}


def _unknown(version: Version, group: str) -> Decision:
    """A model group that the router was not trained on, called by its name."""
    return Decision(
        model=group,
        source="pinned",
        confidence=0.0,
        success_probability={},
        expected_cost_usd={},
        reason="the caller named it, and the router does not know it",
        policy_version=version.policy_version,
    )
