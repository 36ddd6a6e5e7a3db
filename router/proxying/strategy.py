"""Our decisions inside a `litellm.Router` of the application's own, with and without asyncio."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from litellm.types.router import CustomRoutingStrategyBase

from router.errors import ConfigError
from router.proxying.dispatch import Choice, Dispatcher, fitted
from router.proxying.hooks import Callback, check, ticket_of
from router.proxying.ticket import TICKET, Order, Ticket
from router.records import Json

if TYPE_CHECKING:
    from litellm.router import Router as LiteLLMRouter

    from router.serving.client import Router

ALIAS = "smart"


class Strategy(CustomRoutingStrategyBase):
    """Chooses the model group of a request; LiteLLM's own strategy then picks a deployment of it.

    So LiteLLM's cool-downs, orders, tags and fallbacks go on as before. A group that the limits forbid is
    refused wherever LiteLLM would send a request to it.

    Attributes:
        dispatcher: decides.
    """

    def __init__(self, litellm_router: LiteLLMRouter, router: Router, alias: str = ALIAS) -> None:
        """Prepare the strategy; `attach` puts it to use.

        Args:
            alias: the model name that stands for our decision; others go where they say.

        Raises:
            ConfigError: none of LiteLLM's groups has a name that the router knows.
        """
        self._litellm = litellm_router
        self.dispatcher = Dispatcher(lambda: router)
        self._alias = alias
        if not set(self._groups()) & set(router.models):
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
        """The deployment for one attempt, as `litellm.Router.completion` asks for it.

        Raises:
            Refused: the limits forbid it.
        """
        kwargs = {} if request_kwargs is None else request_kwargs
        find = type(self._litellm).get_available_deployment
        if messages is None:
            return find(self._litellm, model, messages, input, specific_deployment, kwargs)
        ticket = self._ticket(kwargs, messages)
        if not ticket.decided:
            self.dispatcher.settle_now(ticket, self._choice(model), messages)
        group = self._group(ticket, model)
        found = find(self._litellm, group, messages, input, specific_deployment, kwargs)
        changed, notes = fitted(ticket, group, kwargs)
        kwargs.clear()
        kwargs.update(changed)
        ticket.begin(group, notes)
        return found

    async def async_get_available_deployment(
        self,
        model: str,
        messages: Json = None,
        input: Json = None,
        specific_deployment: bool | None = False,
        request_kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - one of LiteLLM's deployments
        """The same for `litellm.Router.acompletion`; the callback notes that the attempt starts.

        Raises:
            Refused: the limits forbid it.
        """
        kwargs = {} if request_kwargs is None else request_kwargs
        group = model
        if messages is not None:
            ticket = self._ticket(kwargs, messages)
            await self.dispatcher.settle(ticket, self._choice(model), messages)
            group = self._group(ticket, model)
        find = type(self._litellm).async_get_available_deployment
        return await find(self._litellm, group, kwargs, messages, input, specific_deployment)

    def _groups(self) -> list[str]:
        return [str(deployment["model_name"]) for deployment in self._litellm.model_list]

    def _choice(self, model: str) -> Choice:
        return Choice(groups=self._groups()) if model == self._alias else Choice(pinned=model)

    def _group(self, ticket: Ticket, model: str) -> str:
        """The model group of an attempt.

        Raises:
            Refused: the limits forbid it.
        """
        chosen = ticket.call.decision.model if ticket.call and model == self._alias else model
        check(ticket, chosen)
        return chosen

    def _ticket(self, kwargs: dict[str, Any], messages: Json) -> Ticket:
        """The request's ticket; a further attempt of LiteLLM's finds the first one's.

        An application may give the same metadata object with many requests, so the attempt gets its own.
        """
        shared = kwargs.setdefault("metadata", {})
        trace = kwargs.get("litellm_trace_id")
        ticket = ticket_of(kwargs)
        if ticket is None or not ticket.belongs_to(trace, messages):
            said = {**shared, "tags": kwargs["tags"]} if kwargs.get("tags") else shared
            order = Order.of(kwargs, said, messages)
            ticket = Ticket(str(kwargs.get("litellm_call_id") or uuid.uuid4()), order, trace)
            shared[TICKET] = ticket
        kwargs["metadata"] = {**shared, TICKET: ticket}
        kwargs["litellm_call_id"] = ticket.call_id
        return ticket


def attach(litellm_router: LiteLLMRouter, router: Router, alias: str = ALIAS) -> Strategy:
    """Let a router decide for one model name of a `litellm.Router`, and log every call that goes through it.

    The call log knows a stream's tokens and cost where its caller asks for them (`stream_options`).

    Args:
        alias: the model name; others go where they say, within the limits.

    Raises:
        ConfigError: none of LiteLLM's groups has a name that the router knows.
    """
    import litellm

    strategy = Strategy(litellm_router, router, alias)
    litellm_router.set_custom_routing_strategy(strategy)
    if not any(isinstance(one, Callback) for one in litellm.callbacks):
        litellm.logging_callback_manager.add_litellm_callback(Callback(strategy.dispatcher))
    return strategy
