"""Decisions on LiteLLM's requests: one per request, outside the event loop."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Self

from router.calling.litellm_call import local_models, takes, targets_of
from router.calling.parameters import arguments_for
from router.deciding.limits import NOT_LOCAL, LimitCheck
from router.effort import effort_of, endpoint_of, parameters_in
from router.errors import RouterError
from router.forking import ForkSafe
from router.proxying.ticket import PARAMETERS, Ticket
from router.records import Decision, Json, Request
from router.serving.completion import Completion
from router.settings.sections import Calls

if TYPE_CHECKING:
    from router.serving.client import Router
    from router.version import Version

logger = logging.getLogger(__name__)

THREADS = 2
"""More would only wait for each other and for the event loop: most of a decision holds Python's lock."""
LOAD_AGAIN_S = 10.0
"""Wait before the next try to load a router that failed to load."""
NOT_SERVED = "LiteLLM's model_list has no group of that name"
SENT = PARAMETERS - {"api_base", "base_url"} | {"tools", "response_format", "extra_headers"}
"""Arguments that go to the model."""
PLACEHOLDER: Json = ({"role": "user", "content": ""},)
"""Stands for the messages of a call that has none, such as an embedding: a `Request` needs one."""
WRONG_REQUEST = frozenset({"authentication", "bad_request", "content_policy"})
"""Failures of the request itself: no other model is tried unless the settings say so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """The models that a decision may choose from.

    Attributes:
        groups: LiteLLM's model groups; None: LiteLLM serves all of the router's models.
        pinned: the group that the caller named; None if it named the router's alias.
    """

    groups: Collection[str] | None = None
    pinned: str | None = None


class Dispatcher:
    """The router behind LiteLLM's hooks, loaded at its first use; threads and coroutines may share it."""

    def __init__(self, load: Callable[[], Router]) -> None:
        """Serve the router that `load` returns; `load` may be slow, and may raise a RouterError."""
        self._load = load
        self._router: Router | None = None
        self._failure: tuple[float, RouterError] | None = None
        self._lock = ForkSafe(threading.Lock)
        self._threads = ForkSafe(partial(ThreadPoolExecutor, THREADS, thread_name_prefix="pointsman"))

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        """The dispatcher itself: LiteLLM copies its configuration with the plugin in it."""
        return self

    def router(self) -> Router:
        """The router; loads it if needed.

        Raises:
            RouterError: it can't be loaded. The error is raised again until it is time for another try.
        """
        with self._lock.part:
            if self._router is None:
                self._router = self._loaded()
            return self._router

    async def ready(self) -> None:
        """Load the router if needed; the decision reports a failure."""
        if self._router is None:
            await asyncio.get_running_loop().run_in_executor(self._threads.part, self._try_router)

    async def decide(self, ticket: Ticket, candidates: Candidates, messages: Json = None) -> None:
        """Decide on a request once: later callers wait for the same decision.

        The decision survives the time limit that LiteLLM sets its classifier.
        """
        if ticket.deciding is None:
            loop = asyncio.get_running_loop()
            decide = partial(copy_context().run, self.decide_now, ticket, candidates, messages)
            ticket.deciding = loop.run_in_executor(self._threads.part, decide)
        await asyncio.shield(ticket.deciding)

    def decide_now(self, ticket: Ticket, candidates: Candidates, messages: Json = None) -> None:
        """Decide on a request in this thread, and put the decision or the refusal into its ticket."""
        try:
            ticket.completion = start_completion(self.router(), ticket, candidates, messages)
        except RouterError as error:
            ticket.refusal = error

    def _try_router(self) -> None:
        try:
            self.router()
        except RouterError as error:
            logger.error("the router can't be loaded, so every request for a model is refused: %s", error)

    def _loaded(self) -> Router:
        if self._failure is not None and time.monotonic() - self._failure[0] < LOAD_AGAIN_S:
            raise self._failure[1]
        try:
            return self._load()
        except RouterError as error:
            self._failure = (time.monotonic(), error)
            raise


def start_completion(router: Router, ticket: Ticket, candidates: Candidates, messages: Json) -> Completion:
    """Decide on a request; its attempts are logged with the completion returned.

    Raises:
        RequestError: the request has the wrong form.
        NoModelAllowed: the limits left no model.
    """
    version = router.version
    request = ticket.request.to_request(messages if ticket.prompted else PLACEHOLDER)
    decision = _decision(router, version, ticket, candidates, request)
    completion = router.completion_of(version, request, decision, {})
    return replace(completion, request_id=ticket.call_id, prompted=ticket.prompted)


def group_of(model: str, groups: Collection[str]) -> str:
    """LiteLLM's group for one of the router's models: of its name, or of an action's model."""
    return model if model in groups else endpoint_of(model)


def objection(ticket: Ticket, group: str) -> str | None:
    """Why a model group may not serve a decided request, or None.

    Check this before every attempt: LiteLLM's fallbacks know nothing about a request's limits.
    """
    completion = ticket.completion
    assert completion is not None, "the decision comes before the first attempt"
    decision, config = completion.decision, completion.version.config
    action = completion.action_of(group)
    if why := _why_stop(ticket, action, config.calls):
        return why
    request, wishes = completion.request, ticket.request.wishes()
    local = local_models(ticket.client, (group,), config)
    if action in decision.ranking:
        moved = local is not None and group not in local
        return NOT_LOCAL if moved and completion.version.limits.must_stay(request, wishes) else None
    if action in decision.rejected:
        return decision.rejected[action]
    targets, check = targets_of(ticket.client, (group,)), LimitCheck((group,), config)
    return check.rule_out(request, wishes, tokens=0.0, cost={}, local=local, targets=targets).get(group)


def fit_arguments(
    ticket: Ticket, group: str, arguments: Mapping[str, Json]
) -> tuple[dict[str, Json], tuple[str, ...]]:
    """LiteLLM's arguments as one of the router's models takes them, and a note for each changed one.

    The model's `parameters`, `map` and `drop` come from the settings, and are not in the proxy's
    configuration, because headers may be secrets.
    """
    assert ticket.completion is not None, "the decision comes before the first attempt"
    version = ticket.completion.version
    group = ticket.completion.action_of(group)
    if group not in version.models:
        return dict(arguments), ()
    settings = version.config.of(group)
    callers = {name: arguments[name] for name in SENT & arguments.keys()}
    supported = partial(takes, settings.litellm_model or group, settings.api_base)
    fitting, notes = arguments_for(group, callers, version.config, supported)
    rest = {name: value for name, value in arguments.items() if name not in callers}
    return {**rest, **fitting}, notes


def with_effort(
    ticket: Ticket, group: str, kind: str, arguments: Mapping[str, Json]
) -> dict[str, Json] | None:
    """The arguments of responses or messages with the effort of the model that was chosen; None: unchanged.

    LiteLLM applies no other parameter of a model to these protocols, but an effort is part of the choice.
    """
    assert ticket.completion is not None, "the decision comes before the first attempt"
    completion = ticket.completion
    own = completion.version.config.of(completion.action_of(group)).parameters
    if (effort := effort_of(own)) is None or effort_of(completion.request.parameters) is not None:
        return None
    return {**arguments, **stated} if (stated := parameters_in(kind, effort)) else None


def _why_stop(ticket: Ticket, group: str, calls: Calls) -> str | None:
    """Why a request gets no further attempt on a group, or None."""
    model, kind = ticket.failure or (group, None)
    if ticket.answer_begun:
        return f"{model} had begun to answer"
    if model != group and kind in WRONG_REQUEST - frozenset(calls.also_fall_back_on):
        return f"{model} rejected the request itself"
    if group not in ticket.tried and len(ticket.tried) >= calls.max_models:
        return f"{len(ticket.tried)} models were tried, the limit of calls.max_models"
    return None


def _decision(
    router: Router, version: Version, ticket: Ticket, candidates: Candidates, request: Request
) -> Decision:
    """The decision of one version, which may no longer be in force when the request ends."""
    pinned, wishes = candidates.pinned, ticket.request.wishes()
    if not ticket.prompted:
        return _pinned_unknown(version, pinned or "")
    if pinned is not None and pinned not in {*version.models, *map(endpoint_of, version.models)}:
        return _pinned_unknown(version, pinned)
    groups = candidates.groups
    missing = () if groups is None else (one for one in version.models if group_of(one, groups) not in groups)
    unserved = dict.fromkeys(missing, NOT_SERVED)
    return router.decide_by(version, request, replace(wishes, model=pinned), unserved, ticket.client)


def _pinned_unknown(version: Version, group: str) -> Decision:
    """The decision for a model group that the caller named and the router was not trained on."""
    return Decision(
        model=group,
        source="pinned",
        confidence=0.0,
        success_probability={},
        expected_cost_usd={},
        reason="the caller named it, and the router does not know it",
        policy_version=version.policy_version,
    )
