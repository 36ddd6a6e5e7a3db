from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import httpx
import pytest
from litellm.exceptions import APIConnectionError, RateLimitError
from litellm.proxy.route_llm_request import RouteType
from litellm.types.router import RoutingContext
from litellm.types.utils import (
    CallTypes,
    CallTypesLiteral,
    Delta,
    ModelResponse,
    ModelResponseStream,
    StreamingChoices,
    Usage,
)
from starlette.applications import Starlette

from router.errors import ArtifactError, ConfigError, ForeignArtifact
from router.proxying.dispatch import Dispatcher
from router.proxying.hooks import (
    CONFIG_VARIABLE,
    EXPECT_VARIABLE,
    FEEDBACK_PATH,
    FEEDBACK_VARIABLE,
    NAMED_CALLS,
    PROMPT_CALLS,
    REACHING_NO_MODEL,
    ROUTER_VARIABLE,
    Callback,
    Classifier,
    Refused,
    Unprepared,
    check,
    load_by_environment,
    metadata_name,
    of_this_process,
    request_messages,
    serve_feedback,
    ticket_of,
)
from router.proxying.ticket import TICKET, Ticket
from router.records import Json
from router.rules_version import RulesVersion
from router.serving.client import Router
from router.settings.sections import Config, Fallback, Rules
from router.version import Version
from tests.router.proxying.test_dispatch import LOCAL, router_with
from tests.router.proxying.test_ticket import Kept

HI: Json = [{"role": "user", "content": "hi"}]
GROUPS = ["gpt-4.1-mini", "gpt-4o", "gpt-5", LOCAL]
COUNTS = Usage(prompt_tokens=10, completion_tokens=2, total_tokens=12, cost=0.5)


def limited() -> RateLimitError:
    return RateLimitError(message="slow down", llm_provider="openai", model="gpt-4o")


@pytest.fixture
def log() -> Kept:
    return Kept()


@pytest.fixture
def dispatcher(version: Version, log: Kept) -> Dispatcher:
    router = router_with(version, Config.model_validate({"models": {LOCAL: {"local": True}}}))
    router.log = log  # type: ignore[assignment] # keeps its rows
    return Dispatcher(lambda: router)


@pytest.fixture
def sceptic(version: Version) -> Dispatcher:
    """Of a router that is never sure, with another rule than LiteLLM's fallback."""
    rules = Rules(default="gpt-4o")
    router = router_with(version, Config(rules=rules, fallback=Fallback(confidence=1.0)))
    router._version.policy = replace(version.policy, least_confidence=1.0)
    return Dispatcher(lambda: router)


@pytest.fixture
def callback(dispatcher: Dispatcher) -> Callback:
    return Callback(dispatcher)


def request(**metadata: Json) -> dict[str, Any]:
    """What the proxy hands to the first hook."""
    return {"model": "smart", "messages": HI, "litellm_call_id": "the-call", "metadata": metadata}


def entered(callback: Callback, data: dict[str, Any], call_type: str = "acompletion") -> dict[str, Any]:
    asyncio.run(callback.async_pre_call_hook(None, None, data, call_type))
    return data


def classified(dispatcher: Dispatcher, data: dict[str, Any], groups: list[str] | None = None) -> str | None:
    context = RoutingContext(
        raw_messages=data["messages"],
        structured_messages=data["messages"],
        candidate_models=groups or GROUPS,
        metadata=data["metadata"],
    )
    return asyncio.run(Classifier(dispatcher).classify(context))


def attempted(callback: Callback, data: dict[str, Any], group: str) -> dict[str, Any]:
    """The arguments of one attempt, after the hooks before it."""
    data["metadata"].setdefault("model_group", "smart")
    asyncio.run(callback.async_filter_deployments(group, [], data["messages"], data))
    kwargs = {**data, "metadata": {**data["metadata"], "deployment_model_name": group}}
    changed = asyncio.run(callback.async_pre_call_deployment_hook(kwargs, "acompletion"))
    return kwargs if changed is None else changed


def ticket(data: dict[str, Any]) -> Ticket:
    result = ticket_of(data)
    assert result is not None
    return result


def test_the_classifier_names_the_tier_of_our_decision(dispatcher: Dispatcher, loaded: Router) -> None:
    assert classified(dispatcher, request()) == loaded.route("hi").model


def test_it_chooses_among_litellms_tiers(dispatcher: Dispatcher) -> None:
    assert classified(dispatcher, request(), ["gpt-5"]) == "gpt-5"


def test_it_declines_where_confidence_is_low(sceptic: Dispatcher) -> None:
    assert classified(sceptic, request()) is None


@pytest.mark.parametrize(
    "wishes",
    [
        pytest.param({"deny": ["gpt-5"]}, id="a tier may not serve the request"),
        pytest.param({"explore": 1e-9}, id="exploring"),
    ],
)
def test_it_lets_our_rule_table_decide_where_declining_is_not_safe(sceptic: Dispatcher, wishes: Json) -> None:
    assert classified(sceptic, request(pointsman=wishes)) == "gpt-4o"


def test_it_declines_what_no_model_may_serve_and_the_callback_refuses(
    dispatcher: Dispatcher, callback: Callback
) -> None:
    data = entered(callback, request(pointsman={"deny": GROUPS}))
    assert classified(dispatcher, data) is None
    for group in GROUPS:
        with pytest.raises(Refused, match=r"gpt-5: denied; ollama/llama3\.1: denied"):
            attempted(callback, data, group)


def test_it_sees_the_tools_that_the_callback_saw(dispatcher: Dispatcher, callback: Callback) -> None:
    data = entered(callback, {**request(), "tools": [{"type": "function", "function": {"name": "f"}}]})
    classified(dispatcher, data)
    call = ticket(data).completion
    assert call is not None
    assert call.request.tools == data["tools"]


def test_a_request_that_litellm_routes_on_its_own_is_decided_on_all_the_same(callback: Callback) -> None:
    data = entered(callback, request(pointsman={"local_only": True}))
    with pytest.raises(Refused, match="gpt-5 may not serve this request"):
        attempted(callback, data, "gpt-5")
    attempted(callback, data, LOCAL)
    call = ticket(data).completion
    assert call is not None
    assert call.decision.source == "constraint"


def test_a_model_called_by_its_name_is_pinned(callback: Callback) -> None:
    data = entered(callback, request())
    data["metadata"]["model_group"] = "gpt-5"
    attempted(callback, data, "gpt-5")
    call = ticket(data).completion
    assert call is not None
    assert call.decision.source == "pinned"


EVERY_KIND = sorted({*get_args(RouteType), *get_args(CallTypesLiteral), *(kind.value for kind in CallTypes)})
JUDGED = PROMPT_CALLS | NAMED_CALLS
HARMLESS = frozenset[str]().union(*REACHING_NO_MODEL.values())
IDS_ALONE = re.compile(
    r"a?(video_|file_|vector_store_)?(file_)?(list|get|retrieve|delete|cancel|content|status)(_|$)"
)
WISHED: list[dict[str, Json]] = [
    {"local_only": True},
    {"deny": ["gpt-4o"]},
    {"allow": ["gpt-5"]},
    {"max_cost_usd": 1.0},
]


@pytest.mark.parametrize("call_type", [kind for kind in EVERY_KIND if kind not in JUDGED | HARMLESS])
def test_a_kind_of_call_that_no_hook_judges_is_refused_under_any_limit_and_passes_without(
    callback: Callback, call_type: str
) -> None:
    for wishes in WISHED:
        with pytest.raises(Refused, match=f"under the limit '{next(iter(wishes))}'.*{call_type}"):
            entered(callback, request(pointsman=wishes), call_type)
    data = entered(callback, request(), call_type)
    assert ticket_of(data) is None


@pytest.mark.parametrize("call_type", sorted(HARMLESS))
def test_a_kind_of_call_that_carries_an_id_alone_passes_under_any_limit(
    callback: Callback, call_type: str
) -> None:
    assert call_type in EVERY_KIND, "LiteLLM has renamed it"
    assert IDS_ALONE.match(call_type), "its name does not say that it only lists, shows, deletes or stops"
    assert call_type not in JUDGED
    for wishes in WISHED:
        assert ticket_of(entered(callback, request(pointsman=wishes), call_type)) is None


@pytest.mark.parametrize("call_type", ["acreate_batch", "avector_store_search", "a_kind_of_next_year", ""])
def test_a_kind_of_call_that_may_carry_text_or_is_unknown_is_no_exception(
    callback: Callback, call_type: str
) -> None:
    with pytest.raises(Refused, match="under the limit 'local_only'"):
        entered(callback, request(pointsman={"local_only": True}), call_type)


@pytest.mark.parametrize("call_type", sorted(JUDGED))
def test_every_judged_kind_of_call_gets_a_ticket_and_its_attempts_obey_the_limits(
    callback: Callback, call_type: str
) -> None:
    assert call_type in EVERY_KIND, "LiteLLM has renamed it"
    data = entered(callback, {**request(pointsman={"local_only": True}), "model": "gpt-5"}, call_type)
    name = metadata_name(call_type)
    data[name]["model_group"] = "gpt-5"
    with pytest.raises(Refused, match="not local"):
        asyncio.run(callback.async_pre_call_deployment_hook(data, call_type))


def test_a_misspelt_wish_is_refused_of_an_unjudged_call_too(callback: Callback) -> None:
    with pytest.raises(Refused, match="unknown wish, 'localonly'"):
        entered(callback, request(pointsman={"localonly": True}), "acreate_batch")


@pytest.mark.parametrize("call_type", ["acompletion", "aembedding", "aresponses"])
@pytest.mark.parametrize(
    ("name", "value", "passes"),
    [
        ("fallbacks", ["gpt-4o"], True),
        ("fallbacks", [{"gpt-5": ["gpt-4o"]}], True),
        ("fallbacks", [{"model": "gpt-4o"}], False),
        ("fallbacks", [{"model": "gpt-4o", "metadata": {}}], False),
        ("fallbacks", [{"gpt-5": [{"model": "gpt-4o", "api_base": "http://elsewhere.example"}]}], False),
        ("fallbacks", [[["gpt-4o"]]], False),
        ("context_window_fallbacks", [{"gpt-5": ["gpt-4o"]}], True),
        ("content_policy_fallbacks", [{"model": "gpt-4o", "metadata": {}}], False),
        ("context_window_fallback_dict", {"gpt-5": "gpt-4o"}, False),
        ("use_litellm_proxy", True, False),
        ("azure", False, True),
        ("user_config", {"model_list": []}, False),
    ],
    ids=str,
)
def test_an_argument_that_may_pass_by_the_hooks_is_refused_under_a_limit_alone(
    callback: Callback, call_type: str, name: str, value: Json, passes: bool
) -> None:
    assert ticket_of(entered(callback, {**request(), name: value}, call_type)) is not None
    limited = {**request(pointsman={"local_only": True}), name: value}
    refused = pytest.raises(Refused, match=f"'local_only', which its argument '{name}' could pass by")
    with nullcontext() if passes else refused:
        entered(callback, limited, call_type)


def test_and_of_a_call_that_is_judged_by_its_models_name(callback: Callback) -> None:
    data = entered(callback, {**request(pointsman={"localonly": True}), "model": LOCAL}, "aembedding")
    data["metadata"]["model_group"] = LOCAL
    with pytest.raises(Refused, match="unknown wish, 'localonly'"):
        asyncio.run(callback.async_pre_call_deployment_hook(data, "aembedding"))


@pytest.mark.parametrize(
    ("limits", "data", "allowed"),
    [
        pytest.param({"local_only": True}, {}, False, id="all are to stay"),
        pytest.param({"deny": ["gpt-4o"]}, {}, False, id="a model is denied"),
        pytest.param({"max_cost_usd": 1.0}, {}, False, id="a cap"),
        pytest.param({"local_only_tags": ["private"]}, {}, False, id="tags that LiteLLM does not show"),
        pytest.param(
            {"local_only_tags": ["private"]}, {"proxy_server_request": {}}, True, id="tags that it shows"
        ),
        pytest.param(
            {"local_only_tags": ["private"]},
            {"proxy_server_request": {}, "litellm_metadata": {"tags": ["Private "]}},
            False,
            id="the tag",
        ),
    ],
)
def test_of_an_unjudged_call_the_settings_limits_count(
    version: Version, limits: Json, data: dict[str, Any], allowed: bool
) -> None:
    router = router_with(version, Config.model_validate({"limits": limits}))
    callback = Callback(Dispatcher(lambda: router))
    with nullcontext() if allowed else pytest.raises(Refused, match="under the limit"):
        entered(callback, data, "pass_through_endpoint")


def test_a_call_without_a_prompt_leaves_a_row_without_messages(callback: Callback, log: Kept) -> None:
    data = entered(callback, {"model": "vectors", "input": "hi", "litellm_call_id": "the-call"}, "aembedding")
    data["metadata"]["model_group"] = "vectors"
    asyncio.run(callback.async_pre_call_deployment_hook(data, "aembedding"))
    callback.log_success_event({"litellm_params": data}, None, None, None)
    (row,) = log.rows
    assert (row.call_id, row.model, row.messages, row.propensity) == ("the-call", "vectors", None, None)


def test_a_call_without_a_ticket_leaves_no_row(callback: Callback, log: Kept) -> None:
    event = {"litellm_params": {"metadata": {}}, "exception": limited()}
    callback.log_success_event(event, ModelResponse(), None, None)
    callback.log_failure_event(event, None, None, None)
    assert log.rows == []


def test_a_caller_can_t_forge_a_ticket(callback: Callback) -> None:
    assert ticket_of({"metadata": {TICKET: "forged"}}) is None
    assert isinstance(entered(callback, request(pointsman_ticket="x"))["metadata"][TICKET], Ticket)


def test_a_caller_can_t_forge_where_an_attempt_goes(callback: Callback) -> None:
    data = entered(callback, request(pointsman={"local_only": True}))
    forged = {**data, "litellm_metadata": {"deployment_model_name": LOCAL}}
    forged["metadata"]["deployment_model_name"] = "gpt-5"
    with pytest.raises(Refused, match=r"gpt-5 may not serve|gpt-5: not local"):
        asyncio.run(callback.async_pre_call_deployment_hook(forged, "acompletion"))


def test_of_the_responses_api_the_callers_metadata_counts_too(
    dispatcher: Dispatcher, callback: Callback
) -> None:
    data = {"input": "hi", "metadata": {"task_type": "chat"}, "litellm_metadata": {"tags": ["web"]}}
    request = ticket(entered(callback, data, "aresponses")).request.to_request(None)
    assert (request.task_type, request.tags, request.messages) == ("chat", ["web"], tuple(HI))


def test_an_answer_in_one_piece_is_logged_before_the_caller_has_it(callback: Callback, log: Kept) -> None:
    data = entered(callback, request())
    attempted(callback, data, "gpt-5")
    whole = ModelResponse(model="gpt-5", usage=COUNTS)
    asyncio.run(callback.async_post_call_success_hook(data, None, whole))
    callback.log_success_event({"litellm_params": {"metadata": data["metadata"]}}, whole, None, None)
    assert [(row.call_id, row.model) for row in log.rows] == [("the-call", "gpt-5")]


def test_each_failed_attempt_is_logged_once(callback: Callback, log: Kept) -> None:
    data = entered(callback, request())
    for group in ("gpt-5", "gpt-4o"):
        kwargs = attempted(callback, data, group)
        asyncio.run(callback.async_post_call_failure_deployment_hook(kwargs, limited(), None))
        callback.log_failure_event({"litellm_params": kwargs, "exception": limited()}, None, None, None)
    asyncio.run(callback.async_post_call_failure_hook(data, limited(), None))
    assert [(row.call_id, row.model) for row in log.rows] == [
        ("the-call-1", "gpt-5"),
        ("the-call-2", "gpt-4o"),
    ]


def test_a_failure_that_only_the_end_of_the_request_tells_is_logged(callback: Callback, log: Kept) -> None:
    data = entered(callback, request())
    attempted(callback, data, "gpt-5")
    asyncio.run(callback.async_post_call_failure_hook(data, limited(), None))
    assert log.column("error") == ["rate_limit: RateLimitError"]


def test_a_refusal_is_no_attempt(callback: Callback, log: Kept) -> None:
    data = entered(callback, request(pointsman={"deny": GROUPS}))
    with pytest.raises(Refused, match="denied"):
        attempted(callback, data, "gpt-5")
    callback.log_failure_event({"litellm_params": data, "exception": limited()}, None, None, None)
    asyncio.run(callback.async_post_call_failure_hook(data, limited(), None))
    assert log.rows == []


def piece(text: str | None = None, end: str | None = None, usage: Usage | None = None) -> ModelResponseStream:
    choice = StreamingChoices(delta=Delta(content=text), finish_reason=end)
    piece = ModelResponseStream(choices=[choice])
    if usage is not None:
        piece.usage = usage
    return piece


async def pieces_of(*pieces: ModelResponseStream | Exception) -> AsyncIterator[ModelResponseStream]:
    for one in pieces:
        if isinstance(one, Exception):
            raise one
        yield one


async def read(callback: Callback, data: dict[str, Any], *pieces: Any, most: int = 9) -> list[Any]:  # noqa: ANN401 - pieces
    """The pieces that the caller gets, until he has had enough."""
    stream = callback.async_post_call_streaming_iterator_hook(None, pieces_of(*pieces), data)
    result: list[Any] = []
    async for one in stream:
        result.append(one)
        if len(result) == most:
            break
    await stream.aclose()
    return result


def streaming(callback: Callback, **arguments: Json) -> dict[str, Any]:
    data = entered(callback, {**request(), "stream": True, **arguments})
    attempted(callback, data, "gpt-5")
    return data


WHOLE = (piece(""), piece("one"), piece(end="stop"), piece(usage=COUNTS))


def test_token_counts_that_only_we_asked_for_are_logged_and_not_handed_out(
    callback: Callback, log: Kept
) -> None:
    data = streaming(callback)
    assert data["stream_options"] == {"include_usage": True}
    assert asyncio.run(read(callback, data, *WHOLE)) == [*WHOLE[:3]]
    (row,) = log.rows
    assert (row.input_tokens, row.output_tokens, row.cost_usd) == (10, 2, 0.5)
    assert (row.stream, row.finish_reason) == (True, "stop")
    assert row.first_token_s is not None


def test_token_counts_that_the_caller_asked_for_are_handed_out(callback: Callback) -> None:
    data = streaming(callback, stream_options={"include_usage": True})
    assert asyncio.run(read(callback, data, *WHOLE)) == [*WHOLE]


def test_a_stream_of_nobodys_passes(callback: Callback) -> None:
    assert asyncio.run(read(callback, {"metadata": {}}, *WHOLE)) == [*WHOLE]


@pytest.mark.parametrize(
    ("before", "error"),
    [
        pytest.param((piece(""),), "connection: APIConnectionError", id="before the first word"),
        pytest.param((piece("one"),), "broken_stream: APIConnectionError", id="after it"),
    ],
)
def test_a_stream_that_breaks_is_logged(
    callback: Callback, log: Kept, before: tuple[Any, ...], error: str
) -> None:
    data = streaming(callback)
    lost = APIConnectionError(message="lost", llm_provider="openai", model="gpt-5")
    with pytest.raises(APIConnectionError, match="lost"):
        asyncio.run(read(callback, data, *before, lost))
    assert log.column("error") == [error]


def test_a_stream_that_its_caller_leaves_is_logged(callback: Callback, log: Kept) -> None:
    data = streaming(callback)
    asyncio.run(read(callback, data, *WHOLE, most=2))
    assert log.column("error") == ["cancelled"]


def test_without_a_router_everything_is_refused(log: Kept) -> None:
    def load() -> Router:
        raise ArtifactError("no such folder")

    callback = Callback(Dispatcher(load))
    data = entered(callback, request())
    with pytest.raises(Unprepared, match=r"the router can't be loaded: no such folder") as error:
        attempted(callback, data, "gpt-5")
    assert error.value.status_code == 503


def test_a_refusal_has_status_400_and_names_the_reason() -> None:
    refused = Refused("gpt-5 may not serve this request (not local)", "gpt-5")
    assert refused.status_code == 400
    assert "gpt-5 may not serve this request (not local)" in str(refused)


def test_a_check_passes_what_may_be_served(dispatcher: Dispatcher, callback: Callback) -> None:
    data = entered(callback, request())
    classified(dispatcher, data)
    for group in GROUPS:
        check(ticket(data), group)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param({"messages": HI}, HI, id="chat"),
        pytest.param({"input": "hi"}, HI, id="Responses, a text"),
        pytest.param({"input": [*HI, {"type": "reasoning"}]}, HI, id="Responses, items"),
        pytest.param(
            {"messages": HI, "system": "Be kind."},
            [{"role": "system", "content": "Be kind."}, *HI],
            id="Anthropic's",
        ),
        pytest.param(
            {"input": [{"type": "function_call_output", "call_id": "c", "output": "4"}]},
            [{"role": "tool", "content": '{"call_id": "c", "output": "4"}'}],
            id="Responses, a tool's result",
        ),
        pytest.param({"messages": HI, "prompt": "hi"}, HI * 2, id="texts in several places"),
        pytest.param({"prompt": "hi"}, HI, id="a text completion"),
        pytest.param({"prompt": ["hi"]}, HI, id="text completions"),
        pytest.param(
            {"contents": [{"parts": [{"text": "hi"}]}], "systemInstruction": {"parts": {"text": "Be kind."}}},
            [{"role": "system", "content": "Be kind."}, *HI],
            id="Gemini's",
        ),
        pytest.param(
            {"contents": {"role": "model", "parts": [{"inlineData": 1}]}},
            [{"role": "assistant", "content": '{"inlineData": 1}'}],
            id="Gemini's, no text",
        ),
        pytest.param({}, [], id="none"),
    ],
)
def test_messages_of_every_protocol_are_those_of_a_chat(data: dict[str, Json], expected: Json) -> None:
    assert request_messages(data) == expected


def test_the_environment_names_the_router_and_the_settings(
    router_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / "pointsman.yaml"
    settings.write_text("limits: {local_only: true}\n", encoding="utf-8")
    monkeypatch.setenv(ROUTER_VARIABLE, str(router_folder))
    monkeypatch.setenv(CONFIG_VARIABLE, str(settings))
    router = load_by_environment()
    assert router.config.limits.local_only
    router.close()


@pytest.mark.parametrize("expected", ["", "sha256:0", None], ids=["a lost pin", "another", "this one"])
def test_the_environment_may_pin_the_routers_digest(
    router_folder: Path, version: Version, monkeypatch: pytest.MonkeyPatch, expected: str | None
) -> None:
    monkeypatch.setenv(ROUTER_VARIABLE, str(router_folder))
    monkeypatch.delenv(CONFIG_VARIABLE, raising=False)
    monkeypatch.setenv(EXPECT_VARIABLE, version.digest if expected is None else expected)
    refused = pytest.raises(ForeignArtifact, match="another router than expected")
    with nullcontext() if expected is None else refused:
        load_by_environment().close()


def test_an_environment_that_names_no_router_says_how_to_name_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ROUTER_VARIABLE, raising=False)
    with pytest.raises(ConfigError, match=r"POINTSMAN_ROUTER is not set: .*litellm-config"):
        load_by_environment()


def test_a_process_has_one_dispatcher() -> None:
    assert of_this_process() is of_this_process()


def test_it_declines_nothing_that_rules_alone_decide() -> None:
    models: Json = {"gpt-5": {}, "gpt-4o": {}}
    rules = RulesVersion(Config.model_validate({"models": models, "rules": {"default": "gpt-4o"}}))
    dispatcher = Dispatcher(lambda: Router(rules))
    assert classified(dispatcher, request(), list(models)) == "gpt-4o"


LONG_KEY = "a-key-for-feedback-0123"


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Starlette:
    """Stands for the application of LiteLLM's proxy; `tests.whole.test_examples` has the real one."""
    application = Starlette()
    monkeypatch.setitem(sys.modules, "litellm.proxy.proxy_server", SimpleNamespace(app=application))
    return application


def paths(proxy: Starlette) -> list[str]:
    return [getattr(route, "path", "") for route in proxy.routes]


@pytest.mark.parametrize("key", [None, ""])
def test_without_a_key_there_is_no_route_for_feedback(
    proxy: Starlette, monkeypatch: pytest.MonkeyPatch, dispatcher: Dispatcher, key: str | None
) -> None:
    monkeypatch.delenv(FEEDBACK_VARIABLE, raising=False)
    if key is not None:
        monkeypatch.setenv(FEEDBACK_VARIABLE, key)
    serve_feedback(dispatcher)
    assert paths(proxy) == []


def test_a_short_key_for_feedback_is_refused(
    proxy: Starlette, monkeypatch: pytest.MonkeyPatch, dispatcher: Dispatcher
) -> None:
    monkeypatch.setenv(FEEDBACK_VARIABLE, "short")
    with pytest.raises(ConfigError, match="has 5 characters"):
        serve_feedback(dispatcher)
    assert paths(proxy) == []


def test_the_route_for_feedback_is_added_once_and_needs_a_log(
    proxy: Starlette, monkeypatch: pytest.MonkeyPatch, dispatcher: Dispatcher
) -> None:
    monkeypatch.setenv(FEEDBACK_VARIABLE, LONG_KEY)
    for _ in range(2):
        serve_feedback(dispatcher)
    assert paths(proxy) == [FEEDBACK_PATH]

    async def give() -> httpx.Response:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app=proxy), base_url="http://proxy"
        ) as client:
            headers = {"Authorization": f"Bearer {LONG_KEY}"}
            return await client.post(FEEDBACK_PATH, json={"call_id": "a", "success": True}, headers=headers)

    assert asyncio.run(give()).status_code == 503


def test_outside_a_proxy_there_is_nothing_to_add_a_route_to(
    monkeypatch: pytest.MonkeyPatch, dispatcher: Dispatcher
) -> None:
    monkeypatch.setenv(FEEDBACK_VARIABLE, LONG_KEY)
    monkeypatch.delitem(sys.modules, "litellm.proxy.proxy_server", raising=False)
    serve_feedback(dispatcher)
