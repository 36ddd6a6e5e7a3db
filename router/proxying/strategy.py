"""The router's decisions inside an application's `litellm.Router`, with and without asyncio."""

from __future__ import annotations

import inspect
import uuid
from collections.abc import Callable, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Any, Final

from litellm.types.router import CustomRoutingStrategyBase
from litellm.types.utils import CallTypes

from router.calling.litellm_router import apick, group_names, let_decide, pick
from router.errors import ConfigError
from router.proxying.dispatch import Candidates, Dispatcher, fit_arguments, group_of
from router.proxying.hooks import (
    NAMED_CALLS,
    PROMPT_CALLS,
    REACHING_NO_MODEL,
    Callback,
    Refused,
    all_metadata,
    check,
    metadata_in,
    refuse_limited,
    ticket_of,
)
from router.proxying.ticket import TICKET, CallerRequest, Ticket, unjudged
from router.records import Json

if TYPE_CHECKING:
    from litellm.router import Router as LiteLLMRouter

    from router.serving.client import Router

ALIAS = "smart"
UNPROMPTED: Final = "pointsman_unprompted"
"""Marks the metadata of a call whose messages LiteLLM makes up, to pick a deployment by."""
UNSEEN: Final = frozenset({"amoderation", "moderation"})
"""Calls with a model's name for which LiteLLM asks no strategy."""
_ORIGINAL: Final = "pointsman_original"
NOT_LISTED: Final = frozenset(
    {
        "aadapter_completion", "aadapter_generate_content", "acompact_responses", "acreate_agent",
        "acreate_realtime_client_secret", "acreate_realtime_transcription_session", "arealtime_calls",
        "avector_store_update", "create_agent", "vector_store_update",
    }
)  # fmt: skip
"""Methods of a `litellm.Router` that may send text and that LiteLLM's list of call types omits."""


class Strategy(CustomRoutingStrategyBase):
    """Chooses the model group of a request; LiteLLM's own strategy then picks a deployment of it.

    LiteLLM's cool-downs, orders, tags and fallbacks work as before, but no fallback reaches a group that the
    limits forbid.
    """

    def __init__(self, litellm_router: LiteLLMRouter, router: Router, alias: str = ALIAS) -> None:
        """Prepare the strategy for `attach`, which explains the arguments and the error."""
        self._litellm = litellm_router
        self.dispatcher = Dispatcher(lambda: router)
        self._alias = alias
        groups = set(self._groups())
        if not any(group_of(one, groups) in groups for one in router.models):
            raise ConfigError(
                f"the litellm.Router has the groups {', '.join(self._groups())}, and the router knows "
                f"{', '.join(router.models)}: name the groups like the router's models"
            )

    def get_available_deployment(
        self,
        model: str,
        messages: Json = None,
        input: Json = None,
        specific_deployment: bool | None = False,
        request_kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - one of LiteLLM's deployments
        """Choose the deployment of one attempt of `litellm.Router.completion`.

        Raises:
            Refused: the limits forbid it.
        """
        kwargs = {} if request_kwargs is None else request_kwargs
        request = {"messages": messages, "input": input, "specific_deployment": specific_deployment}
        if _is_unprompted(kwargs, messages):
            ticket = self._judged_by_name(kwargs, model)
            _refuse_redirected(ticket, kwargs, model)
            deployment = pick(self._litellm, model, request, kwargs)
            _served_group(ticket, model, deployment)
            return deployment
        ticket = self._ticket(kwargs, messages)
        if not ticket.decided:
            self.dispatcher.decide_now(ticket, self._candidates(model), messages)
        group = self._group(ticket, model)
        _refuse_redirected(ticket, kwargs, group)
        deployment = pick(self._litellm, group, request, kwargs)
        group = _served_group(ticket, group, deployment)
        changed, notes = fit_arguments(ticket, group, kwargs)
        kwargs.clear()
        kwargs.update(changed)
        ticket.begin(group, notes)
        return deployment

    async def async_get_available_deployment(
        self,
        model: str,
        messages: Json = None,
        input: Json = None,
        specific_deployment: bool | None = False,
        request_kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - one of LiteLLM's deployments
        """Likewise for `litellm.Router.acompletion`; the callback starts the attempt.

        Raises:
            Refused: the limits forbid it.
        """
        kwargs = {} if request_kwargs is None else request_kwargs
        group = model
        if _is_unprompted(kwargs, messages):
            ticket = self._judged_by_name(kwargs, model)
        else:
            ticket = self._ticket(kwargs, messages)
            await self.dispatcher.decide(ticket, self._candidates(model), messages)
            group = self._group(ticket, model)
        _refuse_redirected(ticket, kwargs, group)
        request = {"messages": messages, "input": input, "specific_deployment": specific_deployment}
        deployment = await apick(self._litellm, group, request, kwargs)
        _served_group(ticket, group, deployment)
        return deployment

    def guard(self) -> None:
        """Judge the calls of which this strategy sees no prompt, or nothing at all: images, batches, files.

        Those with a model's name are judged by it. Others are refused under any limit, unless they carry an
        id alone.
        """
        for kind in {one.value for one in CallTypes} | NOT_LISTED | NAMED_CALLS:
            method = getattr(self._litellm, kind, None)
            if callable(method) and kind not in PROMPT_CALLS:
                setattr(self._litellm, kind, self._guarded(kind, getattr(method, _ORIGINAL, method)))

    def _guarded(self, kind: str, method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def judged(*arguments: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - LiteLLM's
            if not any(kind in kinds for kinds in REACHING_NO_MODEL.values()):
                named = inspect.signature(method).bind_partial(*arguments, **kwargs).arguments
                model = kwargs.get("model") or named.get("model")
                self._judge(kind, {**kwargs, "model": model})
            marked = {**(kwargs.get("litellm_metadata") or {}), UNPROMPTED: True}
            return method(*arguments, **{**kwargs, "litellm_metadata": marked})

        setattr(judged, _ORIGINAL, method)
        return judged

    def _judge(self, kind: str, kwargs: dict[str, Any]) -> None:
        """Judge a call before LiteLLM picks a deployment.

        Raises:
            Refused: the limits forbid it.
        """
        model = str(kwargs.get("model"))
        if kind in NAMED_CALLS and (kind not in UNSEEN or model in self._groups()):
            _refuse_redirected(self._judged_by_name(kwargs, model), kwargs, model)
            return
        tagged = _tagged(kwargs, all_metadata(kwargs))
        refuse_limited(self.dispatcher, {**kwargs, "litellm_metadata": tagged}, kind, labelled=True)

    def _groups(self) -> list[str]:
        return group_names(self._litellm)

    def _candidates(self, model: str) -> Candidates:
        return Candidates(groups=self._groups()) if model == self._alias else Candidates(pinned=model)

    def _group(self, ticket: Ticket, model: str) -> str:
        """The model group of an attempt.

        Raises:
            Refused: the limits forbid it.
        """
        completion = ticket.completion
        aliased = completion if model == self._alias else None
        chosen = group_of(aliased.decision.model, self._groups()) if aliased else model
        check(ticket, chosen)
        return chosen

    def _judged_by_name(self, kwargs: dict[str, Any], model: str) -> Ticket:
        """Judge a call without messages by its model's name, as the proxy does; it leaves no row.

        Raises:
            Refused: the limits forbid it.
        """
        ticket = Ticket("", _callers_request(kwargs, all_metadata(kwargs)), prompted=False)
        ticket.client = self._litellm
        self.dispatcher.decide_now(ticket, Candidates(pinned=model))
        check(ticket, model)
        return ticket

    def _ticket(self, kwargs: dict[str, Any], messages: Json) -> Ticket:
        """The request's ticket: a new one for its first attempt, the same for LiteLLM's further attempts.

        The attempt gets its own metadata, since an application may pass the same object with many requests.
        """
        shared = kwargs.setdefault("metadata", {})
        trace = kwargs.get("litellm_trace_id")
        ticket = ticket_of(kwargs)
        if ticket is None and kwargs.get("fallback_depth"):
            raise Refused("this fallback replaces the request's metadata, which held its limits", "")
        if ticket is None or not ticket.belongs_to(trace, messages):
            request = _callers_request(kwargs, shared, messages)
            ticket = Ticket(str(kwargs.get("litellm_call_id") or uuid.uuid4()), request, trace)
            ticket.client = self._litellm
            shared[TICKET] = ticket
        kwargs["metadata"] = {**shared, TICKET: ticket}
        kwargs["litellm_call_id"] = ticket.call_id
        return ticket


def _is_unprompted(kwargs: Mapping[str, Any], messages: Json) -> bool:
    return messages is None or any(UNPROMPTED in one for one in metadata_in(kwargs))


def _refuse_redirected(ticket: Ticket, kwargs: Mapping[str, Any], group: str) -> None:
    """Refuse an attempt at a limited request whose arguments may send it past the decision.

    LiteLLM's fallbacks may bring arguments of their own, which the decision did not see.

    Raises:
        Refused: it is such an attempt.
    """
    assert ticket.completion is not None, "the decision comes before the first attempt"
    version, request, decided = ticket.completion.version, ticket.completion.request, ticket.request
    # An address that the decision did not see is refused, however private.
    moved = {n: "moved" for n in ("api_base", "base_url") if kwargs.get(n) != decided.arguments.get(n)}
    if stray := version.limits.passed_by(request, decided.wishes(), {**unjudged(kwargs), **moved}):
        raise Refused(f"this attempt may not be sent: {stray}", group)


def _served_group(ticket: Ticket, group: str, deployment: Mapping[str, Any]) -> str:
    """The group of the deployment picked, which an alias, a deployment's id or LiteLLM's name may stand for.

    Raises:
        Refused: the limits forbid it.
    """
    served = str(deployment["model_name"])
    if served == group or "*" in served:  # a pattern is no model: the name that matches it was judged
        return group
    check(ticket, served)
    return served


def _callers_request(
    kwargs: dict[str, Any], metadata: dict[str, Json], messages: Json = None
) -> CallerRequest:
    return CallerRequest.of(kwargs, _tagged(kwargs, metadata), messages)


def _tagged(kwargs: Mapping[str, Any], metadata: dict[str, Json]) -> dict[str, Json]:
    """The metadata with the tags, which LiteLLM's Router takes as an argument too."""
    return {**metadata, "tags": kwargs["tags"]} if kwargs.get("tags") else metadata


def attach(litellm_router: LiteLLMRouter, router: Router, alias: str = ALIAS) -> Strategy:
    """Let a router decide for one model name of a `litellm.Router`, and log every call that goes through it.

    The call log knows the tokens and cost of a stream only if its caller asks for them (`stream_options`).

    Args:
        alias: the model name; a request for another name gets that model, within the limits.

    Raises:
        ConfigError: none of LiteLLM's groups has a name that the router knows, or this line of LiteLLM can't
            keep picking the deployment within a group.
    """
    import litellm

    strategy = Strategy(litellm_router, router, alias)
    let_decide(litellm_router, strategy)
    strategy.guard()
    if not any(isinstance(one, Callback) for one in litellm.callbacks):
        litellm.logging_callback_manager.add_litellm_callback(Callback(strategy.dispatcher))
    return strategy
