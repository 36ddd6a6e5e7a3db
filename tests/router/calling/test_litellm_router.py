from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from litellm.router import Router as LiteLLMRouter
from litellm.types.router import CustomRoutingStrategyBase

from router.calling.litellm_router import apick, deployments_of, group_names, has_groups, let_decide, pick
from router.errors import ConfigError
from router.records import Json

HI: Json = [{"role": "user", "content": "hi"}]


class AlwaysB(CustomRoutingStrategyBase):
    """Sends every request to group b, and lets LiteLLM pick a deployment there."""

    def __init__(self, client: Any) -> None:  # noqa: ANN401
        self.client = client

    def get_available_deployment(self, model: str, *given: Json, **named: Json) -> Json:
        return pick(self.client, "b", *self.split(named))

    async def async_get_available_deployment(self, model: str, *given: Json, **named: Json) -> Json:
        return await apick(self.client, "b", *self.split(named))

    @staticmethod
    def split(named: dict[str, Json]) -> tuple[dict[str, Json], dict[str, Json]]:
        kwargs: dict[str, Json] = named.pop("request_kwargs", None) or {}
        return named, kwargs


def deployment(group: str, answer: str = "", **params: Json) -> dict[str, Json]:
    named = {"model": f"openai/{group}", "api_key": "none", "mock_response": answer, **params}
    return {"model_name": group, "litellm_params": named}


@pytest.fixture
def client() -> Any:  # noqa: ANN401
    groups = [deployment("a", "a"), deployment("b", "late", order=2), deployment("b", "early", order=1)]
    return LiteLLMRouter(model_list=groups, model_group_alias={"alias": "a"}, num_retries=0)


def now(client: Any) -> Json:  # noqa: ANN401
    return client.completion(model="any", messages=HI)


def in_a_loop(client: Any) -> Json:  # noqa: ANN401
    return asyncio.run(client.acompletion(model="any", messages=HI))


@pytest.mark.parametrize("call", [now, in_a_loop])
def test_litellm_picks_within_the_group_of_the_strategy(client: Any, call: Callable[[Any], Any]) -> None:  # noqa: ANN401
    let_decide(client, AlwaysB(client))
    assert {call(client).choices[0].message.content for _ in range(3)} == {"early"}


def test_the_groups_of_a_router_are_those_it_serves_now(client: Any) -> None:  # noqa: ANN401
    assert has_groups(client)
    assert group_names(client) == ["a", "b", "b"]
    assert [len(deployments_of(client, name)) for name in ("a", "b", "alias", "none")] == [1, 2, 1, 0]
    client.set_model_list([deployment("c")])
    assert (group_names(client), len(deployments_of(client, "a"))) == (["c"], 0)


@pytest.mark.parametrize("other", [None, object(), SimpleNamespace(registry=list)])
def test_any_other_client_has_no_groups(other: object) -> None:
    assert not has_groups(other)


def test_a_router_that_keeps_the_strategy_elsewhere_is_refused() -> None:
    unknown = SimpleNamespace(register_plugin=lambda strategy: None)
    with pytest.raises(ConfigError, match="keeps a strategy where it is not looked for"):
        let_decide(unknown, object())
