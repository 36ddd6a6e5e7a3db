"""LiteLLM's hooks: the classifier behind an alias, and the callback that guards and logs every call."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterable, Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from litellm.exceptions import BadRequestError, ServiceUnavailableError
from litellm.integrations.custom_logger import CustomLogger

from router.calling.reply import hidden_in
from router.errors import ConfigError, NoModelAllowed, RequestError
from router.proxying.dispatch import Choice, Dispatcher, fitted, objection
from router.proxying.ending import outlive_sigterm
from router.proxying.outcome import CALLER_LEFT, answered, failed, outcome_of_event
from router.proxying.ticket import TICKET, Order, Ticket
from router.records import Json

if TYPE_CHECKING:
    from litellm.types.router import RoutingContext

    from router.serving.client import Router

ROUTER_VARIABLE = "POINTSMAN_ROUTER"
CONFIG_VARIABLE = "POINTSMAN_CONFIG"
OF_CHAT = frozenset({"acompletion", "completion"})
"""Kinds of call whose arguments are those of a chat completion."""
GUARDED = OF_CHAT | {"anthropic_messages", "aresponses", "responses"}
"""Kinds of call that a model is chosen for; embeddings, images and the like pass."""


class Classifier:
    """Names the tier of a request, for LiteLLM's `classifier_plugin`: tiers are named like their models."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    async def classify(self, context: RoutingContext) -> str | None:
        """The model chosen, or None: then LiteLLM's own fallback decides.

        It decides where confidence is low, as long as every model that it may choose may serve the request
        and no exploration needs the exact propensity; otherwise the rule table decides here. It also decides
        where no model may serve the request, and the callback then refuses whatever it has chosen.
        """
        ticket = ticket_of({"metadata": context.metadata}) or Ticket("", Order.of({}, context.metadata))
        groups = tuple(context.candidate_models)
        messages = context.structured_messages or context.raw_messages
        await self._dispatcher.settle(ticket, Choice(groups=groups), messages)
        if ticket.call is None:
            return None
        decision = ticket.call.decision
        safe = set(groups) <= set(decision.ranking)
        ticket.declined = decision.source == "rule" and decision.propensity == 1.0 and safe
        return None if ticket.declined else decision.model


class Callback(CustomLogger):
    """Refuses what the limits forbid, and writes a row of the call log for every attempt.

    Every request of the proxy gets a ticket before it is routed; LiteLLM's own calls, such as its health
    checks, have none and are left alone.
    """

    def __init__(self, dispatcher: Dispatcher) -> None:
        super().__init__()
        self._dispatcher = dispatcher

    async def async_pre_call_hook(
        self,
        user_api_key_dict: object,
        cache: object,
        data: dict[str, Any],
        call_type: str,
    ) -> None:
        """Give a request of the proxy its ticket."""
        if call_type not in GUARDED:
            return
        outlive_sigterm()
        await self._dispatcher.ready()
        metadata = data.setdefault(metadata_name(call_type), {})
        said = {**(data.get("metadata") or {}), **metadata}
        order = Order.of(data, said, request_messages(data))
        ticket = metadata[TICKET] = Ticket(str(data.get("litellm_call_id") or ""), order)
        options = data.get("stream_options") or {}
        if data.get("stream") and call_type in OF_CHAT and not options.get("include_usage"):
            ticket.hides_usage = True
            data["stream_options"] = {**options, "include_usage": True}

    async def async_filter_deployments(
        self,
        model: str,
        healthy_deployments: list[dict[str, Any]],
        messages: Json = None,
        request_kwargs: dict[str, Any] | None = None,
        parent_otel_span: object = None,
    ) -> list[dict[str, Any]]:
        """Refuse a model group that may not serve the request, before LiteLLM picks a deployment of it."""
        kwargs = request_kwargs or {}
        if ticket := ticket_of(kwargs):
            named = any(one.get("model_group") == model for one in metadata_in(kwargs))
            await self._check(ticket, Choice(pinned=model) if named else Choice(), messages, model)
        return healthy_deployments

    async def async_pre_call_deployment_hook(
        self, kwargs: dict[str, Any], call_type: object
    ) -> dict[str, Any] | None:
        """Refuse once more, as a caller may name a deployment by its id; then the attempt starts.

        Returns:
            The arguments, those of the caller's changed that the model does not take as they are.
        """
        ticket = ticket_of(kwargs)
        if ticket is None:
            return None
        kind = str(getattr(call_type, "value", call_type))
        metadata = kwargs.get(metadata_name(kind)) or {}
        group = str(metadata.get("deployment_model_name") or metadata.get("model_group"))
        await self._check(ticket, Choice(pinned=group), kwargs.get("messages"), group)
        changed, notes = fitted(ticket, group, kwargs) if kind in OF_CHAT else (None, ())
        ticket.begin(group, notes)
        return changed

    async def async_post_call_failure_deployment_hook(
        self,
        request_data: Mapping[str, object],
        exception: Exception,
        call_type: object,
        fallback_depth: int | None = None,
    ) -> None:
        """An attempt failed. LiteLLM's failure event below tells only of a request's first failure."""
        if ticket := ticket_of(request_data):
            ticket.end(failed(exception, stream=bool(request_data.get("stream"))))

    async def async_post_call_streaming_iterator_hook(
        self, user_api_key_dict: object, response: AsyncIterable[Any], request_data: dict[str, Any]
    ) -> AsyncGenerator[Any, None]:
        """The pieces of a stream, without the token counts that only we asked for."""
        ticket = ticket_of(request_data)
        if ticket is None:
            async for piece in response:
                yield piece
            return
        try:
            async for piece in response:
                if ticket.reading.hands_out(piece, hide_counts=ticket.hides_usage):
                    yield piece
        except Exception as error:
            ticket.end(failed(error, stream=True, spoken=ticket.spoken))
            raise
        except BaseException:
            ticket.end(CALLER_LEFT)
            raise
        if ticket.reading.ended:
            ticket.end(ticket.reading.outcome())

    async def async_post_call_success_hook(
        self, data: dict[str, Any], user_api_key_dict: object, response: object
    ) -> None:
        """A request of the proxy was answered in one piece; LiteLLM's success event may come much later."""
        if ticket := ticket_of(data):
            ticket.end(answered(response, cached=bool(hidden_in(response).get("cache_hit"))))

    async def async_log_success_event(
        self, kwargs: Mapping[str, Any], response_obj: object, start_time: object, end_time: object
    ) -> None:
        """An attempt answered; of a stream, at its end."""
        self.log_success_event(kwargs, response_obj, start_time, end_time)

    async def async_log_failure_event(
        self, kwargs: Mapping[str, Any], response_obj: object, start_time: object, end_time: object
    ) -> None:
        """An attempt failed; of a stream, perhaps in the middle."""
        self.log_failure_event(kwargs, response_obj, start_time, end_time)

    def log_success_event(
        self, kwargs: Mapping[str, Any], response_obj: object, start_time: object, end_time: object
    ) -> None:
        """An attempt of a `litellm.Router` without asyncio answered."""
        if ticket := ticket_of(kwargs.get("litellm_params") or {}):
            ticket.end(outcome_of_event(kwargs, response_obj, end_time))

    def log_failure_event(
        self, kwargs: Mapping[str, Any], response_obj: object, start_time: object, end_time: object
    ) -> None:
        """An attempt of a `litellm.Router` without asyncio failed."""
        error, ticket = kwargs.get("exception"), ticket_of(kwargs.get("litellm_params") or {})
        if ticket is not None and isinstance(error, Exception):
            stream = bool(kwargs.get("stream"))
            spoken = stream and kwargs.get("completion_start_time") is not None
            ticket.end_by_event(failed(error, stream=stream, spoken=spoken, ended=end_time))

    async def async_post_call_failure_hook(
        self,
        request_data: dict[str, Any],
        original_exception: Exception,
        user_api_key_dict: object,
        traceback_str: str | None = None,
    ) -> None:
        """A request of the proxy failed in the end, and perhaps an attempt of which LiteLLM said nothing."""
        if ticket := ticket_of(request_data):
            ticket.end(failed(original_exception, stream=bool(request_data.get("stream"))))

    async def _check(self, ticket: Ticket, choice: Choice, messages: Json, group: str) -> None:
        """Refuse a request that may not go to a group.

        Args:
            choice: among what to decide, where LiteLLM did not ask its classifier.

        Raises:
            Refused, Unprepared: it may not.
        """
        await self._dispatcher.settle(ticket, choice, messages)
        check(ticket, group)


class Refused(BadRequestError):
    """The limits forbid it: the caller gets status 400 and the reasons."""

    def __init__(self, why: str, group: str) -> None:
        super().__init__(message=why, model=group, llm_provider="pointsman")


class Unprepared(ServiceUnavailableError):
    """There is no router, so nothing can be checked, and what can't be checked is refused: status 503."""

    def __init__(self, why: str, group: str) -> None:
        super().__init__(message=why, model=group, llm_provider="pointsman")


def check(ticket: Ticket, group: str) -> None:
    """Refuse a decided request that may not go to a model group.

    Raises:
        Refused, Unprepared: it may not.
    """
    refusal = ticket.refusal
    if isinstance(refusal, NoModelAllowed | RequestError):
        raise Refused(str(refusal), group)
    if refusal is not None:
        raise Unprepared(f"the router can't be loaded: {refusal}", group)
    if why := objection(ticket, group):
        raise Refused(f"{group} may not serve this request ({why})", group)


def metadata_name(call_type: str) -> str:
    """Which argument LiteLLM keeps its metadata in; the other one is the caller's alone."""
    return "metadata" if call_type in OF_CHAT else "litellm_metadata"


def metadata_in(arguments: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The metadata of a call, LiteLLM's and the caller's."""
    for name in ("metadata", "litellm_metadata"):
        if isinstance(found := arguments.get(name), Mapping):
            yield found


def ticket_of(arguments: Mapping[str, Any]) -> Ticket | None:
    """The ticket in the arguments of a call; None for one that is no request of ours."""
    found = (metadata.get(TICKET) for metadata in metadata_in(arguments))
    return next((one for one in found if isinstance(one, Ticket)), None)


def request_messages(data: Mapping[str, Any]) -> Json:
    """The messages of a request, those of the Responses API in the form of chat."""
    given = data.get("messages") or data.get("input")
    if isinstance(given, str):
        given = [{"role": "user", "content": given}]
    spoken = [one for one in given or () if isinstance(one, Mapping) and isinstance(one.get("role"), str)]
    system = data.get("system") or data.get("instructions")
    return [{"role": "system", "content": system}, *spoken] if system else spoken


def load_by_environment() -> Router:
    """The router that the environment names: LiteLLM gives a plugin no arguments.

    Raises:
        RouterError: it names none, or that can't be loaded.
    """
    from router.serving.client import Router

    where = os.environ.get(ROUTER_VARIABLE)
    if not where:
        raise ConfigError(
            f"{ROUTER_VARIABLE} is not set: it names the router's folder or its models:/ address; "
            "`pointsman litellm-config` writes it into the proxy's configuration"
        )
    return Router.load(where, config=os.environ.get(CONFIG_VARIABLE) or None)


@cache
def of_this_process() -> Dispatcher:
    """The dispatcher of the proxy's process; LiteLLM may execute `litellm_plugin` more than once."""
    return Dispatcher(load_by_environment)
