from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import litellm
import openai
import pytest
from litellm.router import Router as LiteLLMRouter
from litellm.types.utils import CallTypes

from router.call_log.log import read_rows
from router.errors import CallLogError, ConfigError
from router.litellm_plugin import attach
from router.proxying.hooks import PROMPT_CALLS, REACHING_NO_MODEL, Callback, Refused
from router.records import Json
from router.serving.client import Router
from router.settings.yaml_file import parse_config
from tests.services.provider import KEY, Provider, answer, odd, rate_limit, server_error
from tests.services.waiting import wait_until, wait_until_async

LOCAL = "ollama/llama3.1"
CALLED = {"gpt-4.1-mini": "mini", "gpt-5": "five", LOCAL: "llama"}
"""LiteLLM's groups, and what their models are called at the provider; the router also knows gpt-4o."""
SETTINGS = """
models:
  gpt-4.1-mini: {litellm_model: openai/mini, local: false, drop: [seed]}
  gpt-4o: {local: false}
  gpt-5: {litellm_model: openai/five, local: false}
  ollama/llama3.1: {local: true}
rules: {default: gpt-5}
"""
HI: Json = [{"role": "user", "content": "hi"}]


class App:
    """An application with a `litellm.Router` of its own, and our decisions in it."""

    def __init__(self, provider: Provider, router_folder: Path, folder: Path, settings: str) -> None:
        self.log = folder / "calls.db"
        config = parse_config(SETTINGS + settings)
        self.router = Router.load(router_folder, config=config, log=self.log)
        self.deployments = [
            {"model_name": group, "litellm_params": self.called(provider, name)}
            for group, name in CALLED.items()
        ]
        chains = [{"smart": [*CALLED]}, *({name: [*CALLED]} for name in CALLED)]
        self.litellm: Any = LiteLLMRouter(model_list=self.deployments, fallbacks=chains, num_retries=0)
        attach(self.litellm, self.router)

    @staticmethod
    def called(provider: Provider, name: str) -> dict[str, str]:
        return {"model": f"openai/{name}", "api_base": provider.api_base, "api_key": KEY}

    def rows(self, number: int = 1) -> list[dict[str, Json]]:
        """So many rows; LiteLLM tells of a success in a thread or a task of its own."""

        def enough() -> list[dict[str, Json]]:
            gc.collect()
            result = self.written()
            return result if len(result) >= number else []

        return wait_until(enough)

    def answers(self) -> int:
        """How many rows tell of an answer."""
        return sum(row["error"] is None for row in self.written())

    def written(self) -> list[dict[str, Json]]:
        assert self.router.log is not None
        self.router.log.flush()
        try:
            return list(read_rows(self.log))
        except CallLogError:  # the log is made with its first row
            return []


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as running:
        yield running


@pytest.fixture
def make_app(
    provider: Provider, router_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], App]]:
    monkeypatch.setattr(litellm, "callbacks", [])
    apps: list[App] = []

    def make(settings: str) -> App:
        apps.append(App(provider, router_folder, tmp_path, settings))
        return apps[-1]

    yield make
    for app in apps:
        app.router.close()


@pytest.fixture
def app(make_app: Callable[[str], App]) -> App:
    return make_app("")


def plain(app: App, **arguments: Json) -> str:
    reply = app.litellm.completion(messages=HI, **arguments)
    return str(reply.choices[0].message.content)


def streamed(app: App, **arguments: Json) -> str:
    pieces = app.litellm.completion(messages=HI, stream=True, **arguments)
    return "".join(piece.choices[0].delta.content or "" for piece in pieces)


async def success_told(app: App, before: int) -> None:
    """LiteLLM tells of a success in a task, which ends with its event loop, done or not."""
    await wait_until_async(lambda: app.answers() > before)


def in_a_loop(app: App, **arguments: Json) -> str:
    async def call() -> str:
        before = app.answers()
        reply = await app.litellm.acompletion(messages=HI, **arguments)
        await success_told(app, before)
        return str(reply.choices[0].message.content)

    return asyncio.run(call())


def streamed_in_a_loop(app: App, **arguments: Json) -> str:
    async def call() -> str:
        before = app.answers()
        pieces = await app.litellm.acompletion(messages=HI, stream=True, **arguments)
        text = "".join([piece.choices[0].delta.content or "" async for piece in pieces])
        await success_told(app, before)
        return text

    return asyncio.run(call())


WAYS = [plain, streamed, in_a_loop, streamed_in_a_loop]
every_way = pytest.mark.parametrize("call", WAYS)
Way = Callable[..., str]


@every_way
def test_the_decisions_group_answers_the_alias(app: App, call: Way) -> None:
    expected = app.router.route("hi", deny=["gpt-4o"])
    assert call(app, model="smart") == f"answer from {CALLED[expected.model]}"
    (row,) = app.rows()
    assert (row["model"], row["decision_source"]) == (expected.model, expected.source)
    assert (row["propensity"], row["policy_version"]) == (1.0, app.router.policy_version)
    assert row["stream"] == (call in (streamed, streamed_in_a_loop))


@every_way
def test_another_name_goes_where_it_says_and_is_logged_as_pinned(app: App, call: Way) -> None:
    assert call(app, model="gpt-5") == "answer from five"
    (row,) = app.rows()
    assert (row["model"], row["decision_source"], row["propensity"]) == ("gpt-5", "pinned", None)


@every_way
def test_a_failing_group_is_followed_by_another_and_both_are_logged(
    app: App, provider: Provider, call: Way
) -> None:
    provider.script("llama", rate_limit())
    provider.script("mini", rate_limit())
    assert call(app, model="smart") == "answer from five"
    rows = app.rows(len(provider.models))
    *failed, answered = sorted(rows, key=lambda row: int(row["attempt"]))
    assert {row["error"] for row in failed} == {"rate_limit: RateLimitError"}
    assert (answered["call_id"], answered["decision_source"]) == (answered["request_id"], "fallback")
    assert {row["request_id"] for row in rows} == {answered["request_id"]}


@every_way
def test_a_private_request_stays_at_home_even_when_its_model_fails(
    app: App, provider: Provider, call: Way
) -> None:
    provider.script("llama", server_error())
    with pytest.raises((openai.APIStatusError, Refused), match=r"overloaded|not local"):
        call(app, model="smart", metadata={"pointsman": {"local_only": True}})
    assert set(provider.models) == {"llama"}


@every_way
def test_a_private_request_can_t_be_sent_out_by_a_groups_name(
    app: App, provider: Provider, call: Way
) -> None:
    with pytest.raises(Refused, match="gpt-5: not local"):
        call(app, model="gpt-5", metadata={"pointsman": {"local_only": True}})
    assert provider.models == []


@every_way
def test_a_deployment_elsewhere_ends_a_groups_being_local(app: App, provider: Provider, call: Way) -> None:
    private: Json = {"pointsman": {"local_only": True}}
    call(app, model="smart", metadata=private)
    away = {"model": "openai/llama", "api_base": "https://llm.example.com/v1", "api_key": KEY}
    app.litellm.set_model_list([*app.deployments, {"model_name": LOCAL, "litellm_params": away}])
    for model in ("smart", LOCAL):
        with pytest.raises(Refused, match="not local"):
            call(app, model=model, metadata={"pointsman": {"local_only": True}})
    assert provider.models == ["llama"]


@every_way
def test_a_dearer_deployment_counts_for_a_cap(app: App, provider: Provider, call: Way) -> None:
    cap: Json = {"pointsman": {"max_cost_usd": 0.05}}
    call(app, model="gpt-5", metadata={**cap})
    dear = {**app.called(provider, "five"), "input_cost_per_token": 1.0, "output_cost_per_token": 1.0}
    app.litellm.set_model_list([*app.litellm.model_list, {"model_name": "gpt-5", "litellm_params": dear}])
    with pytest.raises(Refused, match="over the cap"):
        call(app, model="gpt-5", metadata={**cap})
    assert provider.models == ["five"]


def test_a_model_without_a_group_is_ruled_out_and_named(app: App) -> None:
    with pytest.raises(Refused, match=r"gpt-4o: LiteLLM's model_list has no group of that name"):
        plain(app, model="smart", metadata={"pointsman": {"allow": ["gpt-4o"]}})


def test_the_groups_must_be_named_like_the_routers_models(app: App) -> None:
    other = LiteLLMRouter(model_list=[{"model_name": "a", "litellm_params": {"model": "openai/a"}}])
    with pytest.raises(ConfigError, match=r"has the groups a, and the router knows gpt-4\.1-mini"):
        attach(other, app.router)


def test_a_low_confidence_request_goes_by_our_rule_table(make_app: Callable[[str], App]) -> None:
    app = make_app("fallback: {confidence: 1.0}")
    assert plain(app, model="smart") == "answer from five"
    (row,) = app.rows()
    assert (row["model"], row["decision_source"]) == ("gpt-5", "rule")


def test_exploration_is_logged_with_its_propensity(make_app: Callable[[str], App]) -> None:
    app = make_app("exploration: {share: 1.0, seed: 0}")
    plain(app, model="smart")
    (row,) = app.rows()
    assert (row["decision_source"], row["propensity"]) == ("explored", 0.5)


def test_the_caller_sees_the_id_for_feedback(app: App) -> None:
    reply = app.litellm.completion(model="smart", messages=HI)
    call_id = reply._hidden_params["litellm_call_id"]
    app.rows()
    app.router.feedback(call_id, success=True)
    (row,) = app.rows()
    assert (row["call_id"], row["success"]) == (call_id, True)


def test_litellm_still_picks_the_deployment_within_the_group(app: App, provider: Provider) -> None:
    deployments = [
        {"model_name": "gpt-5", "litellm_params": {**app.called(provider, name), "order": order}}
        for order, name in ((2, "late"), (1, "early"), (3, "latest"))
    ]
    ordered: Any = LiteLLMRouter(model_list=deployments, num_retries=0)
    attach(ordered, app.router)
    replies = [ordered.completion(model="smart", messages=HI) for _ in range(4)]
    assert {reply.choices[0].message.content for reply in replies} == {"answer from early"}


def test_what_the_settings_drop_does_not_reach_the_model(app: App, provider: Provider) -> None:
    plain(app, model="gpt-4.1-mini", seed=3, temperature=0.5)
    assert "seed" not in provider.requests[-1].body
    assert provider.requests[-1].body["temperature"] == 0.5
    assert app.rows()[0]["notes"] == ["gpt-4.1-mini does not get 'seed': left out, as configured"]


def picked(app: App, model: str, **kwargs: Json) -> str:
    result = app.litellm.get_available_deployment(model=model, input="to embed", request_kwargs=kwargs)
    return str(result["model_name"])


def picked_in_a_loop(app: App, model: str, **kwargs: Json) -> str:
    pick = app.litellm.async_get_available_deployment
    result = asyncio.run(pick(model=model, input="to embed", request_kwargs=kwargs))
    return str(result["model_name"])


both_picks = pytest.mark.parametrize("pick", [picked, picked_in_a_loop])


@both_picks
def test_a_call_without_messages_is_litellms_alone(app: App, pick: Way) -> None:
    assert pick(app, "gpt-5") == "gpt-5"


@both_picks
@pytest.mark.parametrize(
    ("settings", "kwargs"),
    [
        pytest.param("", {"metadata": {"pointsman": {"local_only": True}}}, id="local_only"),
        pytest.param("", {"litellm_metadata": {"pointsman": {"deny": ["gpt-5"]}}}, id="deny"),
        pytest.param("", {"metadata": {"pointsman": {"allow": ["gpt-4o"]}}}, id="allow"),
        pytest.param("", {"metadata": {"pointsman": {"max_cost_usd": 9.0}}}, id="a cost nobody knows"),
        pytest.param("", {"metadata": {"pointsman": {"localonly": True}}}, id="a misspelt wish"),
        pytest.param("limits: {local_only_tags: [patients]}", {"tags": ["Patients"]}, id="a tag"),
        pytest.param("limits: {local_only: true}", {}, id="the settings"),
    ],
)
def test_a_call_without_messages_obeys_the_limits_by_its_models_name(
    make_app: Callable[[str], App], pick: Way, settings: str, kwargs: Json
) -> None:
    with pytest.raises(Refused, match=r"gpt-5 may not serve this request|unknown wish"):
        pick(make_app(settings), "gpt-5", **kwargs)


@pytest.mark.parametrize("call", [plain, in_a_loop])
@pytest.mark.parametrize(
    "redirection",
    [
        pytest.param({"api_base": "BASE"}, id="an address"),
        pytest.param({"metadata": {}}, id="metadata without the limits"),
        pytest.param({"custom_llm_provider": "azure"}, id="a provider"),
        pytest.param({"litellm_credential_name": "other"}, id="credentials"),
    ],
)
def test_a_fallback_with_arguments_of_its_own_can_t_lose_a_limit(
    app: App, provider: Provider, call: Way, redirection: Json
) -> None:
    provider.script("llama", server_error())
    own = {name: provider.api_base if value == "BASE" else value for name, value in redirection.items()}
    with pytest.raises(Exception, match=r"llama|Refused|server"):
        call(
            app,
            model=LOCAL,
            metadata={"pointsman": {"local_only": True}},
            fallbacks=[{"model": name, **own} for name in CALLED],
        )
    # From LiteLLM 1.110 on, the plugin sees `fallbacks`, and refuses before the first attempt.
    first = [] if hasattr(app.litellm, "registry") else ["llama"]
    assert [one.model for one in provider.requests] == first


def test_an_argument_that_redirects_a_call_is_refused_under_a_limit_alone(app: App) -> None:
    with pytest.raises(Refused, match="limit 'deny', which its argument 'use_litellm_proxy' could"):
        plain(app, model="gpt-5", use_litellm_proxy=True, metadata={"pointsman": {"deny": ["gpt-4o"]}})
    assert plain(app, model="gpt-5", custom_llm_provider="openai") == "answer from five"


NAMES_OF_FIVE = ["the-id-of-five", "openai/five", "nickname"]


@pytest.mark.parametrize("name", NAMES_OF_FIVE)
@pytest.mark.parametrize("call", [*WAYS, picked, picked_in_a_loop])
@pytest.mark.parametrize("wishes", [{"deny": ["gpt-5"]}, {"local_only": True}], ids=str)
def test_a_group_is_judged_by_its_own_name_however_a_call_names_it(
    app: App, provider: Provider, wishes: Json, call: Way, name: str
) -> None:
    for one in app.deployments:
        one["model_info"] = {"id": "the-id-of-five"} if one["model_name"] == "gpt-5" else {}
    app.litellm = LiteLLMRouter(
        model_list=app.deployments, num_retries=0, model_group_alias={"nickname": "gpt-5"}
    )
    attach(app.litellm, app.router)
    with pytest.raises(Refused, match="may not serve this request"):
        call(app, model=name, metadata={"pointsman": wishes})
    assert not provider.requests


@both_picks
def test_a_call_without_messages_may_go_to_a_local_model_under_a_limit(app: App, pick: Way) -> None:
    assert pick(app, LOCAL, metadata={"pointsman": {"local_only": True}}) == LOCAL


EVERY_METHOD = sorted(
    {one.value for one in CallTypes}
    | {name for name, value in vars(LiteLLMRouter(model_list=[])).items() if callable(value)}
)
"""What a `litellm.Router` calls models and providers by."""
ID_ALONE = frozenset[str]().union(*REACHING_NO_MODEL.values())
NO_CALL = {"cached_deployment_model_info"}
"""An attribute that only looks like a call."""


@pytest.mark.parametrize(
    "wishes", [{"local_only": True}, {"deny": ["gpt-5"]}, {"max_cost_usd": 9.0}], ids=str
)
def test_every_call_that_shows_the_strategy_no_prompt_is_judged_by_name_or_refused(
    app: App, provider: Provider, wishes: Json
) -> None:
    left = [
        kind
        for kind in EVERY_METHOD
        if {kind, f"a{kind}"}.isdisjoint(PROMPT_CALLS | ID_ALONE | NO_CALL)
        and callable(getattr(app.litellm, kind, None))
    ]
    assert {"aimage_generation", "acreate_batch", "amoderation", "acreate_file", "embedding"} <= {*left}
    for kind in left:
        with pytest.raises(Refused, match="may not"):
            getattr(app.litellm, kind)(model="gpt-5", litellm_metadata={"pointsman": wishes})
    assert not provider.requests


@pytest.mark.parametrize("kind", ["amoderation", "aimage_generation", "acreate_batch"])
def test_a_deployments_id_leads_no_unseen_call_past_a_limit(app: App, provider: Provider, kind: str) -> None:
    for one in app.deployments:
        one["model_info"] = {"id": "the-id-of-five"} if one["model_name"] == "gpt-5" else {}
    app.litellm = LiteLLMRouter(model_list=app.deployments, num_retries=0)
    attach(app.litellm, app.router)

    async def call() -> None:
        arguments = {"model": "the-id-of-five", "input": "hi", "prompt": "hi"}
        await getattr(app.litellm, kind)(**arguments, metadata={"pointsman": {"deny": ["gpt-5"]}})

    with pytest.raises(Refused, match="may not"):
        asyncio.run(call())
    assert not provider.requests


IMAGE = '{"created": 1, "data": [{"url": "http://127.0.0.1/x.png"}]}'
BATCH = (
    '{"id": "b", "object": "batch", "endpoint": "/v1/chat/completions", "input_file_id": "f", "status":'
    ' "validating", "completion_window": "24h", "created_at": 1}'
)


@pytest.mark.parametrize(
    ("kind", "body", "arguments"),
    [
        ("aimage_generation", IMAGE, {"prompt": "a cat"}),
        (
            "acreate_batch",
            BATCH,
            {
                "completion_window": "24h",
                "endpoint": "/v1/chat/completions",
                "input_file_id": "f",
                "metadata": {"team": "a"},
            },
        ),
    ],
)
def test_a_call_whose_message_litellm_makes_up_passes_without_a_limit_and_leaves_no_row(
    app: App, provider: Provider, kind: str, body: str, arguments: Json
) -> None:
    for name in ("five", "?"):
        provider.script(name, odd(body))
    asyncio.run(getattr(app.litellm, kind)(model="gpt-5", **arguments))
    assert len(provider.requests) == 1
    assert app.written() == []


def test_attaching_again_judges_by_the_new_router_alone(
    make_app: Callable[[str], App], provider: Provider
) -> None:
    strict, free = make_app("limits: {local_only: true}"), make_app("")
    attach(strict.litellm, free.router)
    provider.script("five", odd(IMAGE))
    asyncio.run(strict.litellm.aimage_generation(model="gpt-5", prompt="a cat"))
    assert len(provider.requests) == 1


def test_one_metadata_object_may_serve_many_requests_at_once(app: App) -> None:
    shared = {"task_type": "chat"}

    def ask(number: int) -> str:
        messages = [{"role": "user", "content": f"hi {number}"}]
        reply = app.litellm.completion(model="smart", messages=messages, metadata=shared)
        return str(reply._hidden_params["litellm_call_id"])

    with ThreadPoolExecutor(8) as threads:
        ids = list(threads.map(ask, range(40)))
    rows = {row["call_id"]: row for row in app.rows(40)}
    assert len(rows) == 40
    texts = [rows[call_id]["messages"][0]["content"] for call_id in ids]
    assert texts == [f"hi {number}" for number in range(40)]


def test_a_stream_that_nobody_reads_to_the_end_is_logged_as_cancelled(app: App, provider: Provider) -> None:
    for name in CALLED.values():
        provider.script(name, answer("one two three four five", silent_after=1))
    stream = app.litellm.completion(model="smart", messages=HI, stream=True)
    next(iter(stream))
    del stream
    assert [row["error"] for row in app.rows()] == ["cancelled"]


def test_the_callback_is_added_once(make_app: Callable[[str], App]) -> None:
    make_app("")
    make_app("")
    assert len([one for one in litellm.callbacks if isinstance(one, Callback)]) == 1
