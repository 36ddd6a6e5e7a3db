from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace

import pytest

from router.calling import litellm_call
from router.calling.attempt import Failed
from router.calling.litellm_call import (
    aclose,
    acomplete,
    anext_piece,
    close,
    complete,
    connection_of,
    cost_of_tokens,
    join_pieces,
    next_piece,
    no_detours,
    one_request_a_call,
    takes,
    targets_of,
)
from router.deciding.limits import LimitCheck
from router.errors import ConfigError, MissingExtra
from router.models.litellm_import import litellm_module
from router.models.model_list import Target
from router.models.prices import ModelPrice, dearest_price
from router.records import NO_WISHES, Json, Request
from router.settings.sections import Config, ModelSettings
from tests.conftest import LITELLMS_OWN_PRICES
from tests.router.calling.four_ways import run
from tests.services.provider import KEY, Provider, provider, reset

__all__ = ["provider"]

litellm = litellm_module()
VARIABLE = "POINTSMAN_TEST_PROVIDER_KEY"
CLOSED_PORT = "http://127.0.0.1:9"


class Refusing:
    """A client and a stream, neither of which works."""

    def completion(self, **arguments: Json) -> Json:
        raise ConnectionResetError("gone")

    async def acompletion(self, **arguments: Json) -> Json:
        raise ConnectionResetError("gone")

    def __next__(self) -> Json:
        raise ConnectionResetError("gone")

    async def __anext__(self) -> Json:
        raise ConnectionResetError("gone")

    def close(self) -> None:
        raise ConnectionResetError("gone")

    async def aclose(self) -> None:
        raise ConnectionResetError("gone")


def sent_by_litellm_alone() -> int:
    """The requests of such a call without us: 1.110 no longer sends one again that may have arrived."""
    from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler

    return 2 if hasattr(AsyncHTTPHandler, "single_connection_post_request") else 1


async def requests_for(provider: Provider, model: str) -> int:
    """How many requests reach the provider in a call whose first connection breaks."""
    provider.script(model, reset(), reset())
    arguments = {
        "model": f"hosted_vllm/{model}",
        "api_base": provider.api_base,
        "api_key": KEY,
        "messages": [{"role": "user", "content": "Hi"}],
        **no_detours(None),
    }
    assert isinstance(await acomplete(None, arguments, 30.0), Failed)
    return len(provider.requests_of(model))


def test_one_request_a_call_is_for_the_callers_own_calls_alone(provider: Provider) -> None:
    async def both() -> tuple[int, int]:
        begun = asyncio.Event()

        async def once() -> int:
            with one_request_a_call():
                begun.set()
                await others
                return await requests_for(provider, "once")

        async def of_the_application() -> int:
            await begun.wait()
            return await requests_for(provider, "others")

        others = asyncio.create_task(of_the_application())
        return await once(), await others

    assert run(both()) == (1, sent_by_litellm_alone())


def test_one_request_a_call_ends_with_its_block(provider: Provider) -> None:
    async def after() -> int:
        with one_request_a_call(), one_request_a_call():
            pass
        return await requests_for(provider, "after")

    assert run(after()) == sent_by_litellm_alone()


def test_a_litellm_that_sends_again_in_an_unknown_place_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(litellm_call, "SECOND_REQUESTS", ("elsewhere",))
    litellm_call._make_second_requests_optional.cache_clear()
    with pytest.raises(ConfigError, match="AsyncHTTPHandler has none of elsewhere"), one_request_a_call():
        pass


def test_errors_come_back_as_values() -> None:
    broken = Refusing()
    for outcome in (
        complete(broken, {}),
        next_piece(broken),
        run(acomplete(broken, {}, None)),
        run(anext_piece(broken, None)),
    ):
        assert isinstance(outcome, Failed)
        assert outcome.kind == "connection"


@pytest.mark.parametrize(
    ("model", "arguments", "hint"),
    [
        pytest.param("gpt-5", {}, "OPENAI_API_KEY is not set", id="openai, a server's fault to LiteLLM"),
        pytest.param("anthropic/claude-sonnet-4-5", {}, "ANTHROPIC_API_KEY is not set", id="authentication"),
        pytest.param("gemini/gemini-2.5-pro", {}, "GOOGLE_API_KEY or GEMINI_API_KEY is not set", id="either"),
        pytest.param("ollama/none", {"api_base": CLOSED_PORT}, "", id="a provider without keys"),
        pytest.param("openai/own", {"api_base": CLOSED_PORT, "api_key": "k"}, "", id="a key of the call"),
    ],
)
def test_a_failure_names_the_key_that_is_not_set(
    model: str, arguments: Json, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI", "ANTHROPIC", "GOOGLE", "GEMINI"):
        monkeypatch.delenv(f"{name}_API_KEY", raising=False)
    call = {"model": model, "messages": [{"role": "user", "content": "hi"}], **no_detours(None), **arguments}
    for failed in (complete(None, call), run(acomplete(None, call, 30))):
        assert isinstance(failed, Failed)
        assert failed.hint == hint
        assert failed.summary.endswith(hint)


def test_a_stream_that_cannot_be_closed_is_left_as_it_is() -> None:
    close(Refusing())
    run(aclose(Refusing()))


def test_a_stream_ends_with_none() -> None:
    def pieces() -> Iterator[str]:
        yield "piece"

    async def pieces_async() -> AsyncIterator[str]:
        yield "piece"

    async def read() -> list[Json]:
        stream = pieces_async()
        return [await anext_piece(stream, None), await anext_piece(stream, None)]

    stream = pieces()
    assert [next_piece(stream), next_piece(stream)] == ["piece", None]
    assert run(read()) == ["piece", None]


def test_a_program_that_exits_is_not_held_up() -> None:
    class Exiting(Refusing):
        def completion(self, **arguments: Json) -> Json:
            raise SystemExit("bye")

    with pytest.raises(SystemExit, match="bye"):
        complete(Exiting(), {})


def test_a_model_is_reached_by_its_own_name_and_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "sk-1")
    own = ModelSettings(litellm_model="openai/x", api_base="http://127.0.0.1:1/v1", api_key_env=VARIABLE)
    assert connection_of("m", own) == {
        "model": "openai/x",
        "api_base": "http://127.0.0.1:1/v1",
        "api_key": "sk-1",
    }


def test_a_model_without_settings_is_left_to_litellm() -> None:
    assert connection_of("gpt-4o", ModelSettings()) == {"model": "gpt-4o"}


@pytest.mark.parametrize("value", [None, ""])
def test_a_key_that_is_not_set_is_named(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if value is None:
        monkeypatch.delenv(VARIABLE, raising=False)
    else:
        monkeypatch.setenv(VARIABLE, value)
    with pytest.raises(ConfigError, match=rf"models\.m\.api_key_env: .*'{VARIABLE}' is not set"):
        connection_of("m", ModelSettings(api_key_env=VARIABLE))


def test_litellm_tries_nothing_on_its_own() -> None:
    arguments = no_detours(None)
    assert (arguments["num_retries"], arguments["max_retries"]) == (0, 0)
    assert isinstance(arguments["retry_policy"], litellm.RetryPolicy)


def test_a_litellm_router_tries_nothing_on_its_own() -> None:
    assert no_detours(litellm.Router(model_list=[])) == {"num_retries": 0, "disable_fallbacks": True}


def test_any_other_client_is_told_not_to_try_again() -> None:
    assert no_detours(Refusing()) == {"num_retries": 0, "max_retries": 0}


def grouped(*deployments: Json, **info: Json) -> Mapping[str, tuple[Target, ...]]:
    """The targets of a group of a real `litellm.Router`; `info` is of its first deployment."""
    listed = [
        {
            "model_name": "gpt-4o",
            "litellm_params": {"api_key": KEY, **one},
            "model_info": info if not place else {},
        }
        for place, one in enumerate(deployments)
    ]
    return targets_of(litellm.Router(model_list=listed), ["gpt-4o", "elsewhere"])


MINI, LARGE = {"model": "openai/gpt-4o-mini"}, {"model": "openai/gpt-4o"}
CLAUDE, OLD = {"model": "anthropic/claude-sonnet-4-5"}, {"model": "openai/gpt-3.5-turbo"}
UNLISTED = {"model": "azure/our-deployment", "api_base": "https://llm.example.com"}
PICTURE = [
    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.com/a"}}]}
]


@pytest.mark.parametrize(
    ("targets", "prompt", "reason"),
    [
        pytest.param(grouped(LARGE), "word " * 20_000, None, id="fits the only deployment"),
        pytest.param(grouped(LARGE, OLD), "word " * 20_000, "don't fit its 16,385", id="smallest window"),
        pytest.param(grouped(LARGE, max_input_tokens=500), "word " * 900, "don't fit its 500", id="stated"),
        pytest.param(grouped(LARGE, MINI), PICTURE, None, id="all take images"),
        pytest.param(grouped(LARGE, OLD), PICTURE, "takes no images", id="one takes none"),
        pytest.param(
            grouped(LARGE, supports_vision=False), PICTURE, "takes no images", id="stated to take none"
        ),
        pytest.param(grouped(UNLISTED), PICTURE, None, id="an unlisted one is what the group says"),
        pytest.param(
            grouped(UNLISTED, base_model="gpt-3.5-turbo"), PICTURE, "takes no images", id="its base"
        ),
        pytest.param({}, PICTURE, None, id="no group"),
    ],
)
def test_limits_hold_for_every_deployment_behind_a_group(
    targets: Mapping[str, tuple[Target, ...]], prompt: Json, reason: str | None
) -> None:
    limits = LimitCheck(["gpt-4o"], Config())
    request = Request.of(prompt)
    found = limits.rule_out(request, NO_WISHES, 0.0, {}, targets=targets).get("gpt-4o")
    assert found is reason if reason is None else reason in str(found)


LISTED = ModelPrice(per_input_token=2.5e-6, per_output_token=1e-5, per_call=0.0, source="litellm")


@pytest.mark.parametrize(
    ("price", "targets", "per_input"),
    [
        pytest.param(LISTED, grouped(LARGE, MINI), 2.5e-6, id="the dearest"),
        pytest.param(LISTED, grouped(MINI, CLAUDE), 3e-6, id="dearer than the group's name says"),
        pytest.param(ModelPrice.unknown(), grouped(MINI), 1.5e-7, id="known where the name is not"),
        pytest.param(LISTED, grouped(LARGE, input_cost_per_token=1e-3), 1e-3, id="stated"),
        pytest.param(replace(LISTED, source="config"), grouped(CLAUDE), 2.5e-6, id="the team's own"),
        pytest.param(replace(LISTED, source="log"), grouped(MINI, MINI), 2.5e-6, id="the log's, all alike"),
        pytest.param(replace(LISTED, source="log"), grouped(MINI, CLAUDE), 3e-6, id="not the log's, else"),
        pytest.param(LISTED, {}, 2.5e-6, id="no group"),
    ],
)
def test_a_cap_compares_the_dearest_deployment(
    price: ModelPrice, targets: Mapping[str, tuple[Target, ...]], per_input: float
) -> None:
    assert dearest_price(price, targets.get("gpt-4o", ())).per_input_token == pytest.approx(per_input)


@pytest.mark.parametrize(
    ("model", "name", "value", "sent"),
    [
        pytest.param("gpt-4o", "temperature", 0.2, True, id="taken"),
        pytest.param("claude-sonnet-4-5", "logit_bias", {}, False, id="not taken"),
        pytest.param("openai/gpt-5-mini", "temperature", 0.2, False, id="this value not taken"),
        pytest.param("openai/gpt-5-mini", "temperature", 1, True, id="this value taken"),
        pytest.param("openai/my-own", "seed", 1, True, id="own endpoint"),
        pytest.param("no-such-model", "logit_bias", {}, True, id="unknown model"),
        pytest.param("claude-sonnet-4-5", "top_k", 5, True, id="no chat parameter"),
        pytest.param("claude-sonnet-4-5", "metadata", {}, True, id="litellm's own"),
        pytest.param("ollama_chat/llama3", "max_tokens", 5, True, id="local"),
    ],
)
def test_litellm_knows_what_a_model_takes(model: str, name: str, value: Json, sent: bool) -> None:
    assert takes(model, None, name, value) is sent


def test_tokens_cost_what_litellm_says() -> None:
    counted = litellm.Usage(prompt_tokens=1000, completion_tokens=100, total_tokens=1100)
    assert cost_of_tokens("gpt-4o-mini", "openai", counted) == pytest.approx((1000 * 0.15 + 100 * 0.6) / 1e6)


@pytest.mark.parametrize(("model", "counted"), [("no-such-model", litellm.Usage(1, 1, 2)), ("gpt-4o", None)])
def test_what_litellm_cannot_price_costs_an_unknown_amount(model: str, counted: Json) -> None:
    assert cost_of_tokens(model, None, counted) is None


def test_a_local_model_of_litellms_list_is_free() -> None:
    counted = litellm.Usage(prompt_tokens=1000, completion_tokens=100, total_tokens=1100)
    assert cost_of_tokens("llama3", "ollama", counted) == 0.0


@pytest.mark.parametrize("pieces", [[], ["not a piece"]])
def test_pieces_that_make_no_response_make_none(pieces: list[Json]) -> None:
    assert join_pieces(pieces) is None


def test_importing_litellm_asks_the_network_nothing() -> None:
    code = (
        "import socket\n"
        "def refuse(*where): raise AssertionError(where)\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "from router.models.litellm_import import litellm_module\n"
        "litellm = litellm_module()\n"
        "print(litellm.suppress_debug_info, litellm.disable_hf_tokenizer_download)\n"
        "print('gpt-4o' in litellm.model_cost)"
    )
    plain = {name: value for name, value in os.environ.items() if name != LITELLMS_OWN_PRICES}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=plain
    )
    assert result.stdout.split() == ["True", "True", "True"]


def test_what_openais_client_looks_for_is_imported_before_the_first_calls() -> None:
    pytest.importorskip("httpx2")
    code = (
        "import sys\n"
        "from router.models.litellm_import import litellm_module\n"
        "litellm_module()\n"
        "print('httpx2' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "True"


def test_without_litellm_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "litellm", None)
    litellm_module.cache_clear()
    with pytest.raises(MissingExtra, match=r"pip install 'pointsman\[litellm\]'"):
        litellm_module()
