from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from router.calling.parameters import ANY_OTHER
from router.calling.transport import Attempt, Transport, chain_of
from router.errors import CallFailed, ConfigError, RequestError
from router.records import Json
from router.settings.sections import Calls, Config
from tests.router.calling.four_ways import (
    EVERY_WAY,
    KEY_VARIABLE,
    MESSAGES,
    PLAIN,
    STREAMED,
    Way,
    caller,
    config_of,
    key,
    run,
    streamed,
    streamed_async,
    whole,
)
from tests.services.provider import (
    KEY,
    Provider,
    Reply,
    answer,
    bad_request,
    failure,
    odd,
    provider,
    rate_limit,
    refused,
    reset,
    server_error,
    silence,
    tokens,
    too_long,
    tool_call,
    wrong_key,
)
from tests.services.waiting import wait_until_async

__all__ = ["key", "provider"]  # fixtures

pytestmark = pytest.mark.usefixtures("key")

NO_ANSWER = '{"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": %s}'
STREAM = "text/event-stream"
UNREADABLE = [  # in each way: plain and as a stream
    odd(NO_ANSWER % "[]"),
    odd(NO_ANSWER % "null"),
    odd(NO_ANSWER % "[{}]"),
    odd(NO_ANSWER % '[{"message": null}]'),
    odd(NO_ANSWER % '[{"message": {"content": "a"}}], "usage": "many"'),
    odd("{}"),
    odd("null"),
    odd("[]"),
    odd('{"id":'),
    odd(""),
    odd("", status=204),
    odd("<html>", content_type="text/html"),
    odd("<html>", status=502, content_type="text/html"),
    odd('{"error": {"message": "overloaded", "code": 503}}'),
    odd("data: [DONE]\n\n", content_type=STREAM),
    odd("data: {oops\n\n", content_type=STREAM),
    odd("data: [1]\n\n", content_type=STREAM),
    odd('data: {"id": "x", "choices": []}\n\n', content_type=STREAM),
    odd('data: {"id": "x", "choices": null}\n\n', content_type=STREAM),
]
NAN = float("nan")
UNSENDABLE: list[dict[str, Json]] = [
    {"messages": [{"role": "user", "content": "a\ud800"}]},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": "a\ud800"}]}]},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": b"a"}]}]},
    {"messages": [{"role": "us\ud800er", "content": "a"}]},
    {"messages": [{"role": "user", "name": "\ud800", "content": "a"}]},
    {"messages": [{"role": "user", "content": 5}]},
    {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"x": NAN}}}]},
    {"tools": [{b"a": 1}]},
    {"tools": 5},
    {"temperature": NAN},
    {"logit_bias": {"1": float("inf")}},
    {"stop": object()},
    {"extra_headers": {"x": "a\nb"}},
    {"extra_headers": {"x": "\u20ac"}},
    {"extra_headers": {"x": 5}},
    {"extra_body": 5},
    {"metadata": 5},
    {"timeout": -1},
    {"timeout": "soon"},
    {"timeout": NAN},
]

MOVING_ON = [
    pytest.param(failure(404, "No such model", code="model_not_found"), "not_found", id="not found"),
    pytest.param(rate_limit(), "rate_limit", id="rate limit"),
    pytest.param(silence(), "timeout", id="timeout"),
    pytest.param(reset(), "connection", id="connection"),
    pytest.param(server_error(500), "server", id="500"),
    pytest.param(server_error(503), "server", id="503"),
    pytest.param(server_error(529), "server", id="529"),
    pytest.param(failure(503, "Try later", kind="invalid_request_error"), "server", id="503 called invalid"),
    pytest.param(too_long(), "context_window", id="context window"),
]
WRONG = [
    pytest.param(wrong_key(), "authentication", "AuthenticationError", id="authentication"),
    pytest.param(bad_request(), "bad_request", "BadRequestError", id="bad request"),
    pytest.param(refused(), "content_policy", "ContentPolicyViolationError", id="content policy"),
]
LISTED = {"small": {"litellm_model": "openai/gpt-4o-mini"}}
"""The first model under a name that LiteLLM has a price for."""
COUNTED = tokens(1000, 300, cached=800, reasoning=100)


def litellms(name: str) -> Any:  # noqa: ANN401 - a member of LiteLLM
    import litellm

    return getattr(litellm, name)


@pytest.mark.parametrize("way", EVERY_WAY)
def test_the_first_model_answers(provider: Provider, way: Way) -> None:
    provider.script("small", answer("Left or right."))
    bench = caller(config_of(provider))
    assert bench.call(way, "small", "large") == "Left or right."
    assert bench.kinds == [("small", None)]


@pytest.mark.parametrize("way", EVERY_WAY)
@pytest.mark.parametrize(("reply", "kind"), MOVING_ON)
def test_the_next_model_answers_when_one_fails(provider: Provider, way: Way, reply: Reply, kind: str) -> None:
    provider.script("small", reply)
    patience = 0.3 if kind == "timeout" else 60.0
    bench = caller(config_of(provider, models={"small": {"timeout_s": patience}}))
    assert bench.call(way, "small", "large") == "answer from large"
    assert bench.kinds == [("small", kind), ("large", None)]


@pytest.mark.parametrize("way", EVERY_WAY)
@pytest.mark.parametrize("reply", UNREADABLE, ids=lambda reply: f"{reply.status} {reply.raw[-30:]}".strip())
def test_an_answer_with_nothing_in_it_or_that_can_not_be_read_is_a_failure_of_the_model(
    provider: Provider, way: Way, reply: Reply
) -> None:
    provider.script("small", reply)
    bench = caller(config_of(provider, cool_down={"failures": 2}))
    for _ in range(2):
        assert bench.call(way, "small", "large") == "answer from large"
    assert {kind for model, kind in bench.kinds if model == "small"} <= {"empty", "server", "connection"}
    assert [model for model, _ in bench.kinds] == ["small", "large"] * 2
    assert "small" in bench.transport.cooling()


@pytest.mark.parametrize("way", STREAMED)
def test_an_empty_text_that_the_provider_finished_is_an_answer(provider: Provider, way: Way) -> None:
    provider.script("small", answer(""))
    bench = caller(config_of(provider))
    assert bench.call(way, "small", "large") == ""
    assert bench.kinds == [("small", None)]


@pytest.mark.parametrize("way", EVERY_WAY)
@pytest.mark.parametrize("arguments", UNSENDABLE, ids=lambda arguments: "-".join(arguments))
def test_what_can_not_be_sent_is_the_callers_error_and_counts_against_no_model(
    provider: Provider, way: Way, arguments: dict[str, Json]
) -> None:
    bench = caller(config_of(provider, retries=2, cool_down={"failures": 1}))
    with pytest.raises(RequestError):
        bench.call(way, "small", "large", **arguments)
    assert provider.models == []
    assert bench.waits == []
    assert bench.transport.cooling() == {}
    assert {attempt.kind for attempt in bench.attempts} <= {"unsent"}


@pytest.mark.parametrize(
    "after",
    ["Fri, 31 Dec 9999 23:59:59 -2359", "Thu, 01 Jan 0001 00:00:00 +2359", "1e400", "\u00b2", "-", ""],
)
def test_an_odd_wait_leads_to_the_next_model(provider: Provider, after: str) -> None:
    provider.script("small", odd("5", status=429, **{"Retry-After": after}))
    bench = caller(config_of(provider))
    assert bench.call(whole, "small", "large") == "answer from large"


@pytest.mark.parametrize("way", EVERY_WAY)
@pytest.mark.parametrize(("reply", "kind", "error"), WRONG)
def test_a_wrong_request_is_raised_at_once(
    provider: Provider, way: Way, reply: Reply, kind: str, error: str
) -> None:
    provider.script("small", reply)
    bench = caller(config_of(provider))
    with pytest.raises(litellms(error), match=error):
        bench.call(way, "small", "large")
    assert bench.kinds == [("small", kind)]
    assert provider.models == ["small"]


@pytest.mark.parametrize("way", EVERY_WAY)
@pytest.mark.parametrize(("reply", "kind", "error"), WRONG)
def test_a_wrong_request_moves_on_where_the_settings_say_so(
    provider: Provider, way: Way, reply: Reply, kind: str, error: str
) -> None:
    provider.script("small", reply)
    bench = caller(config_of(provider, also_fall_back_on=[kind]))
    assert bench.call(way, "small", "large") == "answer from large"
    assert bench.kinds == [("small", kind), ("large", None)]


@pytest.mark.parametrize("way", EVERY_WAY)
def test_a_model_is_tried_again_before_the_next_one(provider: Provider, way: Way) -> None:
    provider.script("small", server_error())
    bench = caller(config_of(provider, retries=2, backoff_s=0.5))
    assert bench.call(way, "small", "large") == "answer from large"
    assert provider.models == ["small", "small", "small", "large"]
    assert bench.waits == [0.5, 1.0]
    assert [attempt.number for attempt in bench.attempts] == [1, 2, 3, 4]


@pytest.mark.parametrize("way", EVERY_WAY)
def test_a_model_that_recovers_is_not_left(provider: Provider, way: Way) -> None:
    provider.script("small", server_error(), answer("Back again."))
    bench = caller(config_of(provider, models={"small": {"retries": 1}}))
    assert bench.call(way, "small", "large") == "Back again."


@pytest.mark.parametrize("way", EVERY_WAY)
def test_a_retry_after_is_obeyed(provider: Provider, way: Way) -> None:
    provider.script("small", rate_limit(retry_after=7), answer("Here."))
    bench = caller(config_of(provider, retries=1, backoff_s=0.5, max_backoff_s=10.0))
    assert bench.call(way, "small", "large") == "Here."
    assert bench.waits == [7.0]


@pytest.mark.parametrize("way", EVERY_WAY)
def test_a_long_retry_after_means_the_next_model_at_once(provider: Provider, way: Way) -> None:
    provider.script("small", rate_limit(retry_after=11))
    bench = caller(config_of(provider, retries=3, max_backoff_s=10.0))
    assert bench.call(way, "small", "large") == "answer from large"
    assert provider.models == ["small", "large"]
    assert bench.waits == []


@pytest.mark.parametrize("way", EVERY_WAY)
def test_an_overflow_is_not_tried_again_on_the_same_model(provider: Provider, way: Way) -> None:
    provider.script("small", too_long())
    bench = caller(config_of(provider, retries=3))
    assert bench.call(way, "small", "large") == "answer from large"
    assert provider.models == ["small", "large"]


@pytest.mark.parametrize("way", EVERY_WAY)
def test_when_no_model_answers_the_error_lists_every_attempt(provider: Provider, way: Way) -> None:
    provider.script("small", rate_limit())
    provider.script("large", server_error())
    bench = caller(config_of(provider))
    with pytest.raises(CallFailed, match=r"after 2 attempt\(s\)") as caught:
        bench.call(way, "small", "large")
    assert caught.value.failures == (
        ("small", "rate_limit: RateLimitError"),
        ("large", "server: ServiceUnavailableError"),
    )
    assert isinstance(caught.value.__cause__, litellms("ServiceUnavailableError"))


@pytest.mark.parametrize("way", EVERY_WAY)
def test_no_error_of_ours_quotes_the_provider(provider: Provider, way: Way) -> None:
    provider.script("small", failure(500, f"{KEY} may not ask {MESSAGES[0]['content']}"))
    bench = caller(config_of(provider))
    with pytest.raises(CallFailed, match="small") as caught:
        bench.call(way, "small")
    shown = f"{caught.value} {caught.value!r} {bench.attempts}"
    assert KEY not in shown
    assert MESSAGES[0]["content"] not in shown


@pytest.mark.parametrize("way", EVERY_WAY)
def test_litellms_own_retries_stay_off(provider: Provider, way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("litellm.num_retries", 3)
    provider.script("small", server_error())
    bench = caller(config_of(provider))
    assert bench.call(way, "small", "large") == "answer from large"
    assert provider.models == ["small", "large"]


@pytest.mark.parametrize("way", EVERY_WAY)
def test_litellms_own_fallbacks_are_refused(
    provider: Provider, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("litellm.model_fallbacks", ["gpt-4o"])
    with pytest.raises(ConfigError, match=r"litellm\.model_fallbacks is set: .* use calls\.fallbacks"):
        caller(config_of(provider)).call(way, "small")
    assert provider.models == []


@pytest.mark.parametrize("name", ["fallbacks", "context_window_fallback_dict", "model_list"])
def test_an_argument_that_leads_past_the_chain_is_refused(provider: Provider, name: str) -> None:
    with pytest.raises(RequestError, match=f"'{name}' would send the request past the limits"):
        caller(config_of(provider)).call(whole, "small", **{name: ["gpt-4o"]})


def test_a_models_own_parameters_do_not_lead_past_the_chain_either(provider: Provider) -> None:
    own = {"small": {"parameters": {"fallbacks": ["gpt-4o"]}}}
    with pytest.raises(RequestError, match="'fallbacks' would send the request past the limits"):
        caller(config_of(provider, models=own)).call(whole, "small")
    assert provider.models == []


def test_a_chain_without_a_model_is_a_callers_slip(provider: Provider) -> None:
    with pytest.raises(ValueError, match="names at least one model"):
        caller(config_of(provider)).call(whole)


@pytest.mark.parametrize("way", EVERY_WAY)
def test_the_key_is_read_from_the_environment_at_the_call(
    provider: Provider, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = caller(config_of(provider))
    monkeypatch.setenv(KEY_VARIABLE, "sk-rotated")
    bench.call(way, "small")
    assert provider.requests[0].headers["authorization"] == "Bearer sk-rotated"


@pytest.mark.parametrize("way", EVERY_WAY)
def test_a_missing_key_names_the_model_and_the_variable(
    provider: Provider, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(KEY_VARIABLE)
    with pytest.raises(ConfigError, match=rf"models\.small\.api_key_env: .*'{KEY_VARIABLE}' is not set"):
        caller(config_of(provider)).call(way, "small", "large")


@pytest.mark.parametrize("way", EVERY_WAY)
def test_the_callers_arguments_and_the_models_own_reach_the_provider(provider: Provider, way: Way) -> None:
    own = {"parameters": {"top_p": 0.5, "temperature": 1.0, "extra_headers": {"X-Team": "signals"}}}
    bench = caller(config_of(provider, models={"small": own}))
    bench.call(way, "small", temperature=0.1, max_tokens=7, extra_headers={"X-Trace": "abc"})
    request = provider.requests[0]
    assert {name: request.body.get(name) for name in ("top_p", "temperature", "max_tokens")} == {
        "top_p": 0.5,
        "temperature": 0.1,
        "max_tokens": 7,
    }
    assert (request.headers["x-team"], request.headers["x-trace"]) == ("signals", "abc")


@pytest.mark.parametrize("way", EVERY_WAY)
def test_what_a_model_does_not_take_is_left_out_with_a_note(provider: Provider, way: Way) -> None:
    bench = caller(config_of(provider, models={"small": {"litellm_model": "openai/gpt-5-mini"}}))
    bench.call(way, "small", temperature=0.1, logit_bias={"50256": -100})
    assert bench.attempts[0].notes == (
        "small does not take 'temperature' as given: left out",
        "small does not take 'logit_bias' as given: left out",
    )
    assert not {"temperature", "logit_bias"} & provider.requests[0].body.keys()


@pytest.mark.parametrize("way", EVERY_WAY)
def test_each_model_of_a_chain_gets_the_arguments_that_fit_it(provider: Provider, way: Way) -> None:
    mapped = {"map": {"temperature": {ANY_OTHER: 0.9}}, "retries": 1}
    provider.script("small", server_error())
    bench = caller(config_of(provider, models={"small": mapped}))
    bench.call(way, "small", "large", temperature=0.2)
    assert [request.body["temperature"] for request in provider.requests] == [0.9, 0.9, 0.2]
    assert [bool(attempt.notes) for attempt in bench.attempts] == [True, True, False]


@pytest.mark.parametrize("way", EVERY_WAY)
def test_the_callers_own_timeout_comes_before_the_models(provider: Provider, way: Way) -> None:
    provider.script("small", silence())
    bench = caller(config_of(provider))
    assert bench.call(way, "small", "large", timeout=2.0) == "answer from large"  # "large" must be in time


@pytest.mark.parametrize("way", EVERY_WAY)
def test_what_the_caller_passes_in_is_left_as_it_was(provider: Provider, way: Way) -> None:
    metadata = {"tags": ["a"]}
    caller(config_of(provider)).call(way, "small", metadata=metadata)
    assert metadata == {"tags": ["a"]}


@pytest.mark.parametrize("way", EVERY_WAY)
def test_the_answering_attempt_carries_tokens_cost_and_response(provider: Provider, way: Way) -> None:
    provider.script("gpt-4o-mini", answer("Both.", usage=COUNTED))
    bench = caller(config_of(provider, models=LISTED))
    bench.call(way, "small")
    attempt = bench.attempts[0]
    usage = attempt.usage
    assert (usage.input_tokens, usage.output_tokens) == (1000, 300)
    assert (usage.cached_input_tokens, usage.reasoning_tokens) == (800, 100)
    assert attempt.cost_usd == pytest.approx((200 * 0.15 + 800 * 0.075 + 300 * 0.6) / 1e6)
    assert (attempt.answered, attempt.finish_reason) == (True, "stop")
    assert attempt.response.choices[0].message.content == "Both."


@pytest.mark.parametrize("way", EVERY_WAY)
def test_other_settings_bring_their_parameters_and_share_what_failed(provider: Provider, way: Way) -> None:
    provider.script("small", server_error())
    bench = caller(config_of(provider, cool_down={"failures": 1}))
    before = bench.transport
    bench.transport = before.under(config_of(provider, models={"large": {"drop": ["seed"]}}))
    bench.call(way, "small", "large", seed=7)
    assert "seed" not in provider.requests[-1].body
    assert set(before.cooling()) == {"small"}


@pytest.mark.parametrize("way", EVERY_WAY)
def test_a_price_of_the_teams_own_beats_litellms(provider: Provider, way: Way) -> None:
    price = {"input_usd_per_million": 1.0, "output_usd_per_million": 2.0}
    provider.script("gpt-4o-mini", answer("Both.", usage=COUNTED))
    bench = caller(config_of(provider, models={"small": {**LISTED["small"], "price": price}}))
    bench.call(way, "small")
    cached = 800 * 0.5  # half price, as LiteLLM lists it of this model
    assert bench.attempts[0].cost_usd == pytest.approx((200 * 1.0 + cached + 300 * 2.0) / 1e6)


@pytest.mark.parametrize("way", EVERY_WAY)
def test_the_cost_of_a_model_without_a_price_is_unknown(provider: Provider, way: Way) -> None:
    bench = caller(config_of(provider))
    bench.call(way, "small")
    assert bench.attempts[0].cost_usd is None


@pytest.mark.parametrize("way", EVERY_WAY)
def test_it_stays_unknown_when_a_router_of_litellm_has_named_the_model(
    provider: Provider, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(provider)
    named = config.of("small").litellm_model or "small"
    monkeypatch.setattr("litellm.model_cost", dict(litellms("model_cost")))
    deployment = {"model_name": "small", "litellm_params": {"model": named, "api_key": "k"}}
    litellms("Router")(model_list=[deployment])
    bench = caller(config)
    bench.call(way, "small")
    assert bench.attempts[0].cost_usd is None


@pytest.mark.parametrize("way", EVERY_WAY)
def test_tokens_that_the_provider_does_not_count_are_unknown(provider: Provider, way: Way) -> None:
    provider.script("small", answer("Both.", uncounted=True))
    bench = caller(config_of(provider))
    bench.call(way, "small")
    assert bench.attempts[0].usage.input_tokens is None


@pytest.mark.parametrize("way", EVERY_WAY)
def test_a_failed_attempt_carries_its_error_and_no_cost(provider: Provider, way: Way) -> None:
    provider.script("gpt-4o-mini", server_error())
    bench = caller(config_of(provider, models=LISTED))
    bench.call(way, "small", "large")
    failed = bench.attempts[0]
    assert isinstance(failed.error, litellms("ServiceUnavailableError"))
    assert (failed.answered, failed.cost_usd, failed.response) == (False, None, None)


@pytest.mark.parametrize("way", EVERY_WAY)
def test_tool_calls_are_an_answer(provider: Provider, way: Way) -> None:
    provider.script("small", tool_call("set_switch", track=2))
    bench = caller(config_of(provider))
    bench.call(way, "small")
    calls = bench.attempts[0].response.choices[0].message.tool_calls
    assert (calls[0].function.name, calls[0].function.arguments) == ("set_switch", '{"track": 2}')
    assert bench.attempts[0].finish_reason == "tool_calls"


@pytest.mark.parametrize("way", EVERY_WAY)
def test_an_observer_that_fails_costs_nobody_the_answer(
    provider: Provider, way: Way, caplog: pytest.LogCaptureFixture
) -> None:
    def observe(attempt: Attempt) -> None:
        raise OSError(f"the disk is full of {KEY}")

    transport = caller(config_of(provider)).transport
    assert way(transport, ["small"], {"messages": MESSAGES}, observe) == "answer from small"
    assert "the observer of an attempt on small raised OSError" in caplog.text
    assert KEY not in caplog.text


@pytest.mark.parametrize("way", EVERY_WAY)
def test_a_model_that_keeps_failing_is_left_alone(provider: Provider, way: Way) -> None:
    provider.script("small", server_error())
    bench = caller(config_of(provider, cool_down={"failures": 2}))
    for _ in range(4):
        assert bench.call(way, "small", "large") == "answer from large"
    assert provider.models.count("small") == 2
    assert list(bench.transport.cooling()) == ["small"]


@pytest.mark.parametrize("way", EVERY_WAY)
def test_a_cool_down_ends_and_an_answer_clears_it(provider: Provider, way: Way) -> None:
    now = [0.0]
    provider.script("small", server_error(), answer("Back again."))
    rules = {"failures": 1, "seconds": 30.0}
    bench = caller(config_of(provider, cool_down=rules), elapsed=lambda: now[0])
    assert bench.call(way, "small", "large") == "answer from large"
    now[0] = 31.0
    assert bench.transport.cooling() == {}
    assert bench.call(way, "small", "large") == "Back again."


@pytest.mark.parametrize("way", EVERY_WAY)
def test_where_every_model_cools_down_they_are_tried_anyway(provider: Provider, way: Way) -> None:
    provider.script("small", server_error(), answer("Back again."))
    bench = caller(config_of(provider, cool_down={"failures": 1}))
    with pytest.raises(CallFailed, match="small: server"):
        bench.call(way, "small")
    assert bench.call(way, "small") == "Back again."
    assert bench.transport.cooling() == {}


@pytest.mark.parametrize("way", EVERY_WAY)
def test_a_model_that_starts_to_cool_down_is_not_tried_again(provider: Provider, way: Way) -> None:
    provider.script("small", server_error())
    bench = caller(config_of(provider, retries=5, cool_down={"failures": 2}))
    assert bench.call(way, "small", "large") == "answer from large"
    assert provider.models == ["small", "small", "large"]


@pytest.mark.parametrize("way", EVERY_WAY)
def test_a_refused_key_does_not_divert_later_requests(provider: Provider, way: Way) -> None:
    provider.script("small", wrong_key())
    bench = caller(config_of(provider, cool_down={"failures": 1}))
    for _ in range(2):
        with pytest.raises(litellms("AuthenticationError"), match="Incorrect API key"):
            bench.call(way, "small", "large")


def groups(provider: Provider, **settings: Json) -> Json:
    """A litellm.Router over the local provider, a group per model."""
    here = {"api_base": provider.api_base, "api_key": KEY}
    named = [
        {"model_name": name, "litellm_params": {"model": f"openai/{name}", **here}}
        for name in ("small", "large", "elsewhere")
    ]
    return litellms("Router")(model_list=named, **settings)


@pytest.mark.parametrize("way", EVERY_WAY)
def test_a_litellm_router_is_called_by_its_groups(provider: Provider, way: Way) -> None:
    bench = caller(Config(), groups(provider))
    assert bench.call(way, "small") == "answer from small"
    assert bench.attempts[0].usage.output_tokens == 3


@pytest.mark.parametrize("way", EVERY_WAY)
@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(server_error(), id="server"),
        pytest.param(too_long(), id="context window"),
        pytest.param(answer("a b", break_after=0), id="broken stream"),
    ],
)
def test_a_litellm_routers_own_fallbacks_stay_off(provider: Provider, way: Way, reply: Reply) -> None:
    plain_answer = reply.status == 200 and way not in (streamed, streamed_async)
    provider.script("small", reply)
    client = groups(
        provider,
        num_retries=2,
        default_fallbacks=["elsewhere"],
        context_window_fallbacks=[{"small": ["elsewhere"]}],
    )
    bench = caller(Config.model_validate({"calls": {"retries": 0}}), client)
    bench.call(way, "small", "large")
    assert provider.models == (["small"] if plain_answer else ["small", "large"])


@pytest.mark.parametrize("way", EVERY_WAY)
def test_a_litellm_router_whose_group_is_exhausted_is_left_for_the_next_model(
    provider: Provider, way: Way
) -> None:
    provider.script("small", rate_limit())
    bench = caller(Config.model_validate({"calls": {"retries": 0}}), groups(provider))
    for _ in range(3):
        assert bench.call(way, "small", "large") == "answer from large"
    assert {kind for model, kind in bench.kinds if model == "small"} == {"rate_limit"}


@pytest.mark.parametrize("way", EVERY_WAY)
def test_a_litellm_router_is_not_waited_for_longer_than_the_timeout(provider: Provider, way: Way) -> None:
    provider.script("small", silence())
    settings = {"models": {"small": {"timeout_s": 0.3}}, "calls": {"retries": 0}}
    bench = caller(Config.model_validate(settings), groups(provider))
    assert bench.call(way, "small", "large") == "answer from large"
    assert bench.kinds[0] == ("small", "timeout")


def test_anything_that_completes_may_be_the_client() -> None:
    class Echo:
        def completion(self, **arguments: Json) -> Json:
            return litellms("completion")("gpt-4o-mini", arguments["messages"], mock_response="Echo.")

    bench = caller(Config(), Echo())
    assert bench.call(whole, "small") == "Echo."


def test_threads_share_a_transport_and_every_attempt_is_reported_once(provider: Provider) -> None:
    provider.script("small", *[server_error(), *[answer("ok")] * 5] * 16)
    bench = caller(config_of(provider, retries=1, cool_down={"failures": 0}))
    with ThreadPoolExecutor(32) as threads:
        list(threads.map(lambda _: bench.call(whole, "small", "large"), range(80)))
    assert len(bench.attempts) == len(provider.requests)
    assert sum(attempt.answered for attempt in bench.attempts) == 80


def test_coroutines_share_a_transport_and_every_attempt_is_reported_once(provider: Provider) -> None:
    provider.script("small", *[server_error(), *[answer("ok")] * 9] * 24)
    bench = caller(config_of(provider, retries=1, cool_down={"failures": 0}))

    async def one(number: int) -> None:
        arguments = {"messages": MESSAGES, "stream": number % 2 == 0}
        reply = await bench.transport.acompletion(["small", "large"], arguments, bench.observe)
        if number % 2 == 0:
            assert [piece async for piece in reply]

    async def all_at_once() -> None:
        await asyncio.gather(*(one(number) for number in range(200)))

    run(all_at_once())
    assert len(bench.attempts) == len(provider.requests)
    assert sum(attempt.answered for attempt in bench.attempts) == 200


@pytest.mark.parametrize("stream", [False, True])
def test_a_cancelled_task_is_reported_and_stays_cancelled(provider: Provider, stream: bool) -> None:
    provider.script("small", silence())
    bench = caller(config_of(provider))

    async def cancel() -> None:
        arguments = {"messages": MESSAGES, "stream": stream}
        task = asyncio.create_task(bench.transport.acompletion(["small", "large"], arguments, bench.observe))
        await wait_until_async(lambda: provider.requests)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    run(cancel())
    assert bench.kinds == [("small", "cancelled")]


def test_a_task_cancelled_between_two_attempts_reports_the_first_only(provider: Provider) -> None:
    provider.script("small", server_error())
    bench = caller(config_of(provider, retries=1), sleep_async=lambda seconds: asyncio.sleep(3600))

    async def cancel() -> None:
        waiting = bench.transport.acompletion(["small"], {"messages": MESSAGES}, bench.observe)
        task = asyncio.create_task(waiting)
        await wait_until_async(lambda: bench.attempts)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(cancel())
    assert bench.kinds == [("small", "server")]


def test_an_interrupted_call_is_reported(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(**arguments: Json) -> None:
        raise KeyboardInterrupt("ctrl-c")

    monkeypatch.setattr("litellm.completion", interrupt)
    bench = caller(config_of(provider))
    with pytest.raises(KeyboardInterrupt, match="ctrl-c"):
        bench.call(whole, "small", "large")
    assert bench.kinds == [("small", "cancelled")]


@pytest.mark.parametrize("way", PLAIN)
def test_by_default_waits_are_real(provider: Provider, way: Way) -> None:
    provider.script("small", rate_limit(retry_after=0.05), answer("Here."))
    transport = Transport(config_of(provider, retries=1, backoff_s=0.001))
    assert way(transport, ["small"], {"messages": MESSAGES}, lambda attempt: None) == "Here."


def test_the_event_loop_goes_on_while_a_call_waits(provider: Provider) -> None:
    """A blocked loop would never set the event that lets the provider answer."""
    provider.script("small", silence())
    bench = caller(config_of(provider))
    alive = threading.Event()

    async def both() -> None:
        waiting = bench.transport.acompletion(["small"], {"messages": MESSAGES}, bench.observe)
        task = asyncio.create_task(waiting)
        asyncio.get_running_loop().call_later(0.05, alive.set)
        await wait_until_async(alive.is_set)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(both())
    assert alive.is_set()


@pytest.mark.parametrize(
    ("model", "fallbacks", "chain"),
    [
        pytest.param("a", {}, ("a", "b", "c"), id="the ranking"),
        pytest.param("b", {}, ("b", "a", "c"), id="the decision first"),
        pytest.param("a", {"a": ["c"]}, ("a", "c"), id="a chain of its own"),
        pytest.param("b", {"a": ["c"], "*": ["a"]}, ("b", "a"), id="the chain of all others"),
        pytest.param("a", {"a": []}, ("a",), id="an empty chain"),
        pytest.param("a", {"a": ["ruled-out", "c"]}, ("a", "c"), id="only what may serve the request"),
        pytest.param("a", {"a": ["a", "b", "b"]}, ("a", "b"), id="nothing twice"),
    ],
)
def test_the_chain_is_the_configured_one_or_the_ranking(
    model: str, fallbacks: dict[str, list[str]], chain: tuple[str, ...]
) -> None:
    assert chain_of(model, ("a", "b", "c"), Calls(fallbacks=fallbacks)) == chain


def test_a_chain_is_no_longer_than_the_settings_allow() -> None:
    assert chain_of("a", ("a", "b", "c", "d"), Calls(max_models=2)) == ("a", "b")


def test_a_chain_tries_a_model_at_one_effort() -> None:
    assert chain_of("a@low", ("a@low", "a@high", "b", "c@20250514"), Calls()) == ("a@low", "b", "c@20250514")
