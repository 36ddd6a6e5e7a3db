"""The model groups of a `litellm.Router`: asks what it has, not its version, as LiteLLM's lines differ."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from router.errors import ConfigError
from router.records import Json

Client: TypeAlias = Any
"""A `litellm.Router`, or another client with `completion` and `acompletion`."""
Deployment: TypeAlias = Any
"""One of LiteLLM's deployments: a mapping whose class changes with its versions."""


def has_groups(client: Client) -> bool:
    """Whether a client lists its model groups, as a `litellm.Router` does."""
    return _registry(client) is not None or hasattr(client, "get_model_list")


def deployments_of(client: Client, group: str) -> Sequence[Mapping[str, Json]]:
    """The deployments that serve a model group now, by its name, an alias or a pattern."""
    registry = _registry(client)
    return (client.get_model_list(group) if registry is None else registry.deployments(group)) or ()


def group_names(client: Client) -> list[str]:
    """The group of each deployment, in the order of the configuration."""
    registry = _registry(client)
    return [str(one["model_name"]) for one in (client.model_list if registry is None else registry.all())]


def let_decide(client: Client, strategy: Any) -> None:  # noqa: ANN401 - importing LiteLLM's class takes seconds
    """Let a strategy choose the deployment of every request of a `litellm.Router`.

    Raises:
        ConfigError: the strategy could not hand the choice within a group back to this LiteLLM.
    """
    register = getattr(client, "register_plugin", None) or client.set_custom_routing_strategy
    register(strategy)
    if not any(vars(vars(client).get("_core", client)).get(name) for name in _PLUGGED):
        raise ConfigError(
            f"{type(client)!r} keeps a strategy where it is not looked for, so it would ask the strategy "
            "again for a deployment within a group; install a LiteLLM that pointsman[litellm] allows"
        )


def pick(client: Client, group: str, request: Mapping[str, Json], kwargs: dict[str, Any]) -> Deployment:
    """Let LiteLLM's own strategy pick a deployment of a group, as if no other were set.

    Args:
        request: `messages`, `input` and `specific_deployment`, as LiteLLM gave them.
        kwargs: the request's other arguments, which LiteLLM may change.
    """
    own = _own_choice(client)
    return type(own).get_available_deployment(own, group, **request, request_kwargs=kwargs)


async def apick(
    client: Client, group: str, request: Mapping[str, Json], kwargs: dict[str, Any]
) -> Deployment:
    """Like `pick`, for `acompletion`."""
    own = _own_choice(client)
    if own is not client:
        return await own.select(group, kwargs, **request)
    return await type(own).async_get_available_deployment(own, group, request_kwargs=kwargs, **request)


_PLUGGED = ("_custom_strategy", "get_available_deployment", "_core_async_get_available_deployment")
"""Where LiteLLM's lines keep a registered strategy, which from 1.109 on is asked in picks of its own, too."""


def _own_choice(client: Client) -> Client:
    """What picks without the registered strategy: a copy of the core over the same state, for one pick."""
    core = vars(client).get("_core")
    if core is None:
        return client
    own = copy.copy(core)
    for name in _PLUGGED:
        vars(own).pop(name, None)
    vars(own)[_PLUGGED[0]] = None
    return own


def _registry(client: Client) -> Any:  # noqa: ANN401 - a class of LiteLLM, from 1.110
    """A `litellm.Router`'s list of deployments, or None where the client itself has it."""
    registry = getattr(client, "registry", None)
    made = registry() if callable(registry) else None
    return made if hasattr(made, "deployments") else None
