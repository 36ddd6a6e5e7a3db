"""A real LiteLLM proxy with our plugin, called with the `openai` client; only the provider is ours."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletion
from typer.testing import CliRunner

import router.cli.proxy  # noqa: F401 - adds the command
from router.call_log.log import CallLog, read_rows
from router.cli.console import app
from router.errors import CallLogError
from router.records import Decision, Json, Request
from router.settings.yaml_file import load_config
from router.version import Version
from tests.conftest import DATA
from tests.services.provider import (
    KEY,
    Provider,
    Reply,
    answer,
    bad_request,
    rate_limit,
    server_error,
    silence,
    wrong_key,
)
from tests.services.proxy import Proxy, running_proxy
from tests.services.waiting import wait_until

LOCAL = "ollama/llama3.1"
CALLED = {"gpt-4.1-mini": "mini", "gpt-4o": "four", "gpt-5": "five", LOCAL: "llama"}
"""The router's models, and what they are called at the provider of the tests."""
SETTINGS = """
models:
  gpt-4.1-mini: {{litellm_model: openai/mini, api_base: "{base}", api_key_env: TEAM_KEY, local: false}}
  gpt-4o:
    litellm_model: openai/four
    api_base: "{base}"
    api_key_env: TEAM_KEY
    local: false
    parameters: {{extra_headers: {{x-team: our-secret-header}}}}
    drop: [seed]
    map: {{tool_choice: {{required: auto}}}}
  gpt-5:
    litellm_model: openai/five
    api_base: "{base}"
    api_key_env: TEAM_KEY
    local: false
    price: {{input_usd_per_million: 1000.0, output_usd_per_million: 10000.0}}
  ollama/llama3.1: {{litellm_model: openai/llama, api_base: "{base}", api_key_env: TEAM_KEY, local: true}}
rules: {{default: gpt-5, task_types: {{support: gpt-4.1-mini}}}}
fallback: {{confidence: 0.9}}
limits: {{local_only_tags: [private]}}
calls: {{retries: 0, cool_down: {{failures: 0}}}}
log: {{url: "{log}"}}
"""
HI = "hi"
SYSTEM_ONLY = [{"role": "system", "content": "Say something."}]
HOUSEKEEPING = "Write the title in the predominant language of the session: hi"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What the proxy was started with.

    Attributes:
        version: the router, as the proxy decides with it.
        log: address of its call log.
    """

    proxy: Proxy
    version: Version
    settings: Path
    log: Path
    client: openai.OpenAI

    def decision(self, prompt: str, **fields: Json) -> Decision:
        return self.version.decide(Request.of(prompt, **fields))

    def rows(self, call_id: str, number: int = 1) -> list[dict[str, Json]]:
        """The rows of one request, in order, once there are so many."""

        def written() -> list[dict[str, Json]]:
            found = [row for row in all_rows(self.log) if row["request_id"] == call_id]
            return found if len(found) >= number else []

        return sorted(wait_until(written), key=lambda row: int(row["attempt"]))


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with Provider() as running:
        yield running


@pytest.fixture(scope="module")
def setup(
    provider: Provider, router_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Setup]:
    """The proxy that all of these tests share: starting one takes a while."""
    folder = tmp_path_factory.mktemp("proxy")
    settings, log = folder / "pointsman.yaml", folder / "calls.db"
    settings.write_text(SETTINGS.format(base=provider.api_base, log=log), encoding="utf-8")
    config = written_config(router_folder, settings)
    environment = {"TEAM_KEY": KEY, "GRACEFUL_SHUTDOWN_TIMEOUT": "2"}
    with running_proxy(config, folder, environment) as proxy:
        version = Version.load(router_folder, load_config(settings))
        yield Setup(proxy=proxy, version=version, settings=settings, log=log, client=client_of(proxy))


@pytest.fixture(autouse=True)
def fresh_provider(provider: Provider) -> Iterator[None]:
    """Each test begins with a provider that answers everything."""
    yield
    for name in CALLED.values():
        provider.script(name)


def client_of(proxy: Proxy) -> openai.OpenAI:
    return openai.OpenAI(base_url=proxy.address, api_key=proxy.key, max_retries=0, timeout=120)


def written_config(router_folder: Path, settings: Path) -> Path:
    """A proxy's configuration, by our command."""
    config = settings.with_name("proxy.yaml")
    options = ["--router", str(router_folder), "--config", str(settings), "--out", str(config)]
    done = CliRunner().invoke(app, ["litellm-config", *options], catch_exceptions=False)
    assert done.exit_code == 0
    return config


def all_rows(log: Path) -> list[dict[str, Json]]:
    """What the log holds; the proxy makes the file and then the tables with its first row."""
    try:
        return list(read_rows(log))
    except CallLogError as error:
        if not re.search("no such call log|holds no call log", str(error)):
            raise
        return []


def metadata(**wishes: Json) -> dict[str, Json]:
    """Arguments of the client's that carry wishes for the decision."""
    return {"extra_body": {"metadata": {"pointsman": wishes}}}


def ask(setup: Setup, prompt: Json, model: str = "smart", **arguments: Json) -> tuple[Mapping[str, str], str]:
    """Headers and text of the answer."""
    messages: Any = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    raw = setup.client.chat.completions.with_raw_response.create(model=model, messages=messages, **arguments)
    whole = raw.parse()
    assert isinstance(whole, ChatCompletion)
    return raw.headers, str(whole.choices[0].message.content)


def refused(setup: Setup, prompt: Json, model: str = "smart", **arguments: Json) -> str:
    """The message of a request that is answered with status 400."""
    with pytest.raises(openai.BadRequestError, match="may") as error:
        ask(setup, prompt, model, **arguments)
    return str(error.value)


def new_requests(provider: Provider, begin: int) -> list[str]:
    """Names that the provider was called by since it had `begin` requests."""
    return provider.models[begin:]


async def by_coroutine(setup: Setup, prompt: str, stream: bool) -> tuple[str, str]:
    """Call id and text of an answer, by the async client."""
    client = openai.AsyncOpenAI(
        base_url=setup.proxy.address, api_key=setup.proxy.key, max_retries=0, timeout=120
    )
    async with client:
        return await one_answer(client, prompt, stream)


async def one_answer(client: openai.AsyncOpenAI, prompt: str, stream: bool) -> tuple[str, str]:
    messages: Any = [{"role": "user", "content": prompt}]
    create = client.chat.completions.with_raw_response.create
    raw = await create(model="smart", messages=messages, stream=stream)
    whole: Any = raw.parse()
    if not stream:
        return raw.headers["x-litellm-call-id"], str(whole.choices[0].message.content)
    pieces = [piece.choices[0].delta.content or "" async for piece in whole]
    return raw.headers["x-litellm-call-id"], "".join(pieces)


def by_thread(setup: Setup, prompt: str, stream: bool) -> tuple[str, str]:
    """Likewise, by the plain client."""
    messages: Any = [{"role": "user", "content": prompt}]
    create = setup.client.chat.completions.with_raw_response.create
    raw = create(model="smart", messages=messages, stream=stream)
    whole: Any = raw.parse()
    if not stream:
        return raw.headers["x-litellm-call-id"], str(whole.choices[0].message.content)
    return raw.headers["x-litellm-call-id"], "".join(p.choices[0].delta.content or "" for p in whole)


def by_event_loop(setup: Setup, prompt: str, stream: bool) -> tuple[str, str]:
    return asyncio.run(by_coroutine(setup, prompt, stream))


def doubtful(setup: Setup) -> tuple[str, str]:
    """A prompt of the sample, and its task type, on which the policy steps aside for another model's rule."""
    for line in (DATA / "requests.jsonl").read_text(encoding="utf-8").splitlines():
        request = json.loads(line)
        if "prompt" in request and request.get("task_type") == "support":
            decision = setup.decision(request["prompt"], task_type="support")
            if decision.source == "rule" and not decision.rejected:
                return request["prompt"], "support"
    raise AssertionError("the policy is sure of every prompt of the sample")


@pytest.mark.parametrize("stream", [pytest.param(False, id="whole"), pytest.param(True, id="stream")])
@pytest.mark.parametrize("way", [by_thread, by_event_loop])
def test_the_model_of_our_decision_answers_and_one_row_says_so(
    setup: Setup, way: Callable[[Setup, str, bool], tuple[str, str]], stream: bool
) -> None:
    expected = setup.decision(HI)
    call_id, text = way(setup, HI, stream)
    assert text == f"answer from {CALLED[expected.model]}"
    (row,) = setup.rows(call_id)
    assert row["call_id"] == call_id
    assert (row["model"], row["decision_source"]) == (expected.model, "learned")
    assert row["confidence"] == pytest.approx(expected.confidence, abs=0.01)
    assert (row["propensity"], row["policy_version"]) == (1.0, expected.policy_version)
    assert (row["stream"], row["input_tokens"], row["output_tokens"]) == (stream, 10, 3)
    assert (row["first_token_s"] is not None) == stream
    assert row["messages"] == [{"role": "user", "content": HI}]


def test_litellm_says_that_the_plugin_decided(setup: Setup) -> None:
    headers, _ = ask(setup, HI)
    assert headers["x-litellm-complexity-router-cause"] == "classifier_plugin"
    assert headers["x-litellm-complexity-router-tier"] == setup.decision(HI).model


def test_what_the_metadata_says_of_a_request_is_logged(setup: Setup) -> None:
    said = {"task_type": "chat", "tags": ["web", "pilot"], "session_id": "of-the-metadata"}
    headers, _ = ask(setup, HI, extra_body={"metadata": said})
    (row,) = setup.rows(headers["x-litellm-call-id"])
    assert (row["task_type"], sorted(row["tags"])) == ("chat", ["pilot", "web"])
    assert row["session_id"] == "of-the-metadata"


def test_a_session_stays_on_its_model(setup: Setup) -> None:
    said = {"session_id": "of-two-turns", "pointsman": {"allow": ["gpt-4o", "gpt-5"]}}
    first, _ = ask(setup, HI, extra_body={"metadata": said})
    headers, _ = ask(setup, "hi again", extra_body={"metadata": {"session_id": "of-two-turns"}})
    (begin,) = setup.rows(first["x-litellm-call-id"])
    (row,) = setup.rows(headers["x-litellm-call-id"])
    assert (row["model"], row["decision_source"]) == (begin["model"], "session")


def test_a_low_confidence_request_is_left_to_litellms_fallback(setup: Setup) -> None:
    prompt, task = doubtful(setup)
    headers, _ = ask(setup, prompt, extra_body={"metadata": {"task_type": task}})
    assert headers["x-litellm-complexity-router-cause"] == "classifier_fallback"
    (row,) = setup.rows(headers["x-litellm-call-id"])
    assert (row["model"], row["decision_source"], row["propensity"]) == ("gpt-5", "rule", 1.0)


def test_where_the_fallback_might_break_a_limit_the_rule_table_decides(setup: Setup) -> None:
    prompt, task = doubtful(setup)
    said = {"task_type": task, "pointsman": {"deny": ["gpt-5"]}}
    headers, _ = ask(setup, prompt, extra_body={"metadata": said})
    assert headers["x-litellm-complexity-router-cause"] == "classifier_plugin"
    (row,) = setup.rows(headers["x-litellm-call-id"])
    assert (row["model"], row["decision_source"]) == ("gpt-4.1-mini", "rule")


def test_exploration_is_logged_with_its_propensity(setup: Setup) -> None:
    headers, _ = ask(setup, HI, **metadata(explore=1.0))
    (row,) = setup.rows(headers["x-litellm-call-id"])
    assert row["decision_source"] == "explored"
    assert row["model"] != setup.decision(HI).model
    assert row["propensity"] == pytest.approx(1 / 3)


def test_while_exploring_a_low_confidence_request_is_not_left_to_litellm(setup: Setup) -> None:
    prompt, task = doubtful(setup)
    said = {"task_type": task, "pointsman": {"explore": 1e-9}}
    headers, _ = ask(setup, prompt, extra_body={"metadata": said})
    (row,) = setup.rows(headers["x-litellm-call-id"])
    assert (row["model"], row["decision_source"]) == ("gpt-4.1-mini", "rule")
    assert row["propensity"] == 1.0 - 1e-9


def test_a_model_called_by_its_name_is_logged_as_pinned(setup: Setup) -> None:
    headers, text = ask(setup, HI, model="gpt-5")
    (row,) = setup.rows(headers["x-litellm-call-id"])
    assert text == "answer from five"
    assert (row["model"], row["decision_source"], row["propensity"]) == ("gpt-5", "pinned", None)
    assert row["confidence"] == pytest.approx(setup.decision(HI).success_probability["gpt-5"], abs=0.01)


def test_the_teams_own_price_is_what_a_call_costs(setup: Setup) -> None:
    headers, _ = ask(setup, HI, model="gpt-5")
    (row,) = setup.rows(headers["x-litellm-call-id"])
    assert row["cost_usd"] == pytest.approx(10 * 1e-3 + 3 * 1e-2)
    assert row["baseline_cost_usd"] == row["cost_usd"]


def test_a_failing_model_is_followed_by_another_and_both_attempts_are_logged(
    setup: Setup, provider: Provider
) -> None:
    chosen = setup.decision(HI).model
    provider.script(CALLED[chosen], rate_limit())
    headers, text = ask(setup, HI)
    call_id = headers["x-litellm-call-id"]
    failed, answered = setup.rows(call_id, 2)
    assert (failed["call_id"], failed["model"], failed["attempt"]) == (f"{call_id}-1", chosen, 1)
    assert failed["error"] == "rate_limit: RateLimitError"
    assert (failed["success"], failed["cost_usd"]) == (None, None)
    assert (answered["call_id"], answered["attempt"], answered["chosen_model"]) == (call_id, 2, chosen)
    assert (answered["decision_source"], answered["propensity"]) == ("fallback", None)
    assert text == f"answer from {CALLED[answered['model']]}"


def test_every_failed_attempt_of_a_request_leaves_a_row(setup: Setup, provider: Provider) -> None:
    for name in CALLED.values():
        provider.script(name, server_error())
    with pytest.raises(openai.InternalServerError, match="overloaded") as error:
        ask(setup, HI)
    call_id = error.value.response.headers["x-litellm-call-id"]
    rows = setup.rows(call_id, 3)
    assert [row["call_id"] for row in rows] == [f"{call_id}-{number}" for number in (1, 2, 3)]
    assert len({row["model"] for row in rows}) == 3  # calls.max_models


@pytest.mark.parametrize(
    ("reply", "raised"),
    [
        pytest.param(wrong_key(), openai.AuthenticationError, id="wrong key"),
        pytest.param(bad_request(), openai.BadRequestError, id="bad request"),
    ],
)
def test_a_request_that_is_itself_wrong_is_not_tried_elsewhere(
    setup: Setup, provider: Provider, reply: Reply, raised: type[openai.APIStatusError]
) -> None:
    begin = len(provider.requests)
    provider.script(CALLED[setup.decision(HI).model], reply)
    with pytest.raises(raised, match=r"Incorrect API key|Invalid value"):
        ask(setup, HI)
    assert len(new_requests(provider, begin)) == 1


def test_a_private_request_goes_to_a_local_model(setup: Setup, provider: Provider) -> None:
    begin = len(provider.requests)
    headers, _ = ask(setup, HI, extra_body={"metadata": {"tags": ["private"]}})
    (row,) = setup.rows(headers["x-litellm-call-id"])
    assert (row["model"], row["decision_source"]) == (LOCAL, "constraint")
    assert new_requests(provider, begin) == ["llama"]


@pytest.mark.parametrize(
    "messages",
    [
        pytest.param(HI, id="a plain one"),
        pytest.param(SYSTEM_ONLY, id="without a user's message"),
        pytest.param(HOUSEKEEPING, id="that LiteLLM takes for housekeeping"),
        pytest.param("LITELLM ESCALATE hi", id="with LiteLLM's word for a stronger model"),
    ],
)
@pytest.mark.parametrize("fails", [pytest.param(False, id="answered"), pytest.param(True, id="failing")])
def test_a_private_request_never_leaves_the_teams_machines(
    setup: Setup, provider: Provider, messages: Json, fails: bool
) -> None:
    begin = len(provider.requests)
    private: Any = {"extra_body": {"metadata": {"tags": ["private"]}}}
    if fails:
        provider.script("llama", server_error())
        with pytest.raises(openai.APIStatusError, match=r"overloaded|not local"):
            ask(setup, messages, **private)
    else:
        ask(setup, messages, **private)
    assert set(new_requests(provider, begin)) == {"llama"}


def test_a_private_request_can_t_be_sent_out_by_a_models_name(setup: Setup, provider: Provider) -> None:
    begin = len(provider.requests)
    private: Any = {"extra_body": {"metadata": {"tags": ["private"]}}}
    assert "gpt-5: not local" in refused(setup, HI, model="gpt-5", **private)
    assert new_requests(provider, begin) in ([], ["llama"])


@pytest.mark.parametrize("model", ["smart", LOCAL])
@pytest.mark.parametrize("stream", [False, True])
def test_what_clients_usually_pass_and_the_proxy_adds_goes_through_under_a_limit(
    setup: Setup, model: str, stream: bool
) -> None:
    reply: Any = setup.client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": HI}],
        stream=stream,
        service_tier="auto",
        user="u",
        store=True,
        seed=1,
        safety_identifier="s",
        extra_headers={"traceparent": "00-1-2-01", "tracestate": "a=b", "x-litellm-timeout": "60"},
        extra_body={
            "metadata": {"tags": ["private"], "spend_logs_metadata": {"team": "a"}, "generation_name": "g"},
            "litellm_session_id": "s",
            "litellm_trace_id": "t",
            "cache": {"no-cache": True},
            "num_retries": 0,
        },
    )
    pieces = [piece.choices[0].delta.content for piece in reply if piece.choices] if stream else None
    text = "".join(filter(None, pieces)) if pieces is not None else reply.choices[0].message.content
    assert text == "answer from llama"


def test_nor_by_a_deployments_id(setup: Setup, provider: Provider) -> None:
    headers, _ = ask(setup, HI, model="gpt-5")
    begin = len(provider.requests)
    forged = {"litellm_metadata": {"deployment_model_name": LOCAL, "model_group": LOCAL}}
    body: Any = {"metadata": {"pointsman": {"local_only": True}}, **forged}
    assert "not local" in refused(setup, HI, model=headers["x-litellm-model-id"], extra_body=body)
    assert new_requests(provider, begin) == []


TAGGED: Json = {"metadata": {"tags": ["Private "]}, "litellm_metadata": {"tags": ["Private "]}}
OUTSIDE: Mapping[str, Json] = {
    "/v1/completions": {"model": "gpt-4o", "prompt": HI},
    "/v1/embeddings": {"model": "gpt-4o", "input": HI},
    "/v1/images/generations": {"model": "gpt-4o", "prompt": HI},
    "/v1/moderations": {"model": "gpt-4o", "input": HI},
    "/v1/audio/speech": {"model": "gpt-4o", "input": HI, "voice": "alloy"},
    "/v1/rerank": {"model": "gpt-4o", "query": HI, "documents": [HI]},
    "/v1beta/models/gpt-4o:generateContent": {"contents": [{"role": "user", "parts": [{"text": HI}]}]},
    "/v1beta/models/gpt-4o:streamGenerateContent": {"contents": [{"role": "user", "parts": [{"text": HI}]}]},
    "/v1/messages": {"model": "gpt-4o", "max_tokens": 9, "messages": [{"role": "user", "content": HI}]},
    "/v1/responses": {"model": "gpt-4o", "input": HI},
    "/v1/responses/compact": {"model": "gpt-4o", "input": HI},
    "/v1/ocr": {
        "model": "gpt-4o",
        "document": {"type": "document_url", "document_url": "http://127.0.0.1:9"},
    },
    "/v1/videos": {"model": "gpt-4o", "prompt": HI},
    "/v1/batches": {"input_file_id": "file-1", "endpoint": "/v1/completions", "completion_window": "24h"},
}
"""Bodies for routes that reach a model which is not local."""


def post(setup: Setup, path: str, body: Json) -> httpx.Response:
    headers = {"Authorization": f"Bearer {setup.proxy.key}"}
    return httpx.post(f"{setup.proxy.address[:-3]}{path}", json=body, headers=headers, timeout=120)


@pytest.mark.parametrize("path", OUTSIDE)
def test_a_private_request_leaves_by_no_other_route(setup: Setup, provider: Provider, path: str) -> None:
    begin = len(provider.requests)
    answer = post(setup, path, {**OUTSIDE[path], **TAGGED})
    assert set(new_requests(provider, begin)) <= {"llama"}  # LiteLLM may fall back to the local model
    if path == "/v1/batches":  # without prisma, LiteLLM's handler of errors there makes 500 of every error
        assert answer.status_code in (400, 500), answer.text
    elif not new_requests(provider, begin):
        assert answer.status_code == 400, answer.text
        assert re.search("not local|local_only", answer.text), answer.text


@pytest.mark.parametrize("path", ["/v1/completions", "/v1beta/models/gpt-4o:generateContent"])
def test_an_unlimited_request_by_another_route_is_answered_and_leaves_one_row(
    setup: Setup, provider: Provider, path: str
) -> None:
    answer = post(setup, path, OUTSIDE[path])
    assert answer.status_code == 200, answer.text
    (row,) = setup.rows(answer.headers["x-litellm-call-id"])
    assert (row["model"], row["error"]) == ("gpt-4o", None)
    assert row["messages"] == [{"role": "user", "content": HI}]


def test_a_request_that_no_model_may_serve_is_refused_with_every_reason(
    setup: Setup, provider: Provider
) -> None:
    begin = len(provider.requests)
    message = refused(setup, HI, **metadata(deny=[*CALLED][:3], max_cost_usd=0.0))
    for model in [*CALLED][:3]:
        assert f"{model}: denied" in message
    assert f"{LOCAL}: " in message
    assert new_requests(provider, begin) == []


def test_a_misspelt_wish_is_refused(setup: Setup, provider: Provider) -> None:
    begin = len(provider.requests)
    with pytest.raises(openai.BadRequestError, match="unknown wish, 'localonly'; known: allow, deny"):
        ask(setup, HI, **metadata(localonly=True))
    assert new_requests(provider, begin) == []


def test_the_settings_parameters_reach_the_provider_and_are_noted(setup: Setup, provider: Provider) -> None:
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    headers, _ = ask(setup, HI, model="gpt-4o", seed=7, tools=[tool], tool_choice="required", temperature=0.3)
    sent = provider.requests[-1]
    assert (sent.body["tool_choice"], sent.body["temperature"]) == ("auto", 0.3)
    assert "seed" not in sent.body
    assert sent.headers["x-team"] == "our-secret-header"
    (row,) = setup.rows(headers["x-litellm-call-id"])
    assert row["tools"] == [tool]
    assert [note for note in row["notes"] if "seed" in note or "tool_choice" in note] == row["notes"]


def test_a_stream_shows_token_counts_to_those_who_ask(setup: Setup) -> None:
    messages: Any = [{"role": "user", "content": HI}]
    options: Any = {"include_usage": True}
    create = setup.client.chat.completions.create
    asked = list(create(model="smart", messages=messages, stream=True, stream_options=options))
    plain = list(create(model="smart", messages=messages, stream=True))
    assert [piece.usage.total_tokens for piece in asked if piece.usage] == [13]
    assert not any(piece.usage for piece in plain)


def test_a_stream_that_breaks_after_its_first_piece_fails_and_is_not_tried_elsewhere(
    setup: Setup, provider: Provider
) -> None:
    for name in CALLED.values():
        provider.script(name, answer("one two three four", break_after=2, gated=True))
    begin = len(provider.requests)
    call_id, words = opened_stream(setup)
    assert [next(words), next(words)] == ["one", " two"]
    provider.release()
    with pytest.raises((openai.APIError, httpx.HTTPError), match=r"\w"):
        next(words)
    assert len(new_requests(provider, begin)) == 1
    (row,) = setup.rows(call_id)
    assert str(row["error"]).startswith("broken_stream")


def opened_stream(setup: Setup) -> tuple[str, Iterator[str]]:
    """Call id and words of a stream, as they come."""
    messages: Any = [{"role": "user", "content": HI}]
    raw = setup.client.chat.completions.with_raw_response.create(
        model="smart", messages=messages, stream=True
    )
    words = (piece.choices[0].delta.content for piece in raw.parse())
    return raw.headers["x-litellm-call-id"], (word for word in words if word)


def test_a_stream_that_its_caller_leaves_is_logged_as_cancelled(setup: Setup, provider: Provider) -> None:
    for name in CALLED.values():
        provider.script(name, answer("word " * 600, piece_delay_s=0.1))
    messages: Any = [{"role": "user", "content": HI}]
    create = setup.client.chat.completions.with_raw_response.create
    raw = create(model="smart", messages=messages, stream=True)
    stream = raw.parse()
    next(iter(stream))
    stream.close()
    (row,) = setup.rows(raw.headers["x-litellm-call-id"])
    assert str(row["error"]).startswith("cancelled")


def test_two_hundred_requests_at_once_leave_a_row_each(setup: Setup) -> None:
    async def all_at_once() -> list[tuple[str, str]]:
        limits = httpx.Limits(max_connections=200)
        transport = httpx.AsyncClient(limits=limits, timeout=180)
        client = openai.AsyncOpenAI(
            base_url=setup.proxy.address, api_key=setup.proxy.key, max_retries=0, http_client=transport
        )
        async with client:
            jobs = [one_answer(client, f"hi, number {n}", bool(n % 2)) for n in range(200)]
            return await asyncio.gather(*jobs)

    answers = asyncio.run(all_at_once())
    ids = {call_id for call_id, _ in answers}
    assert len(ids) == 200

    def counted() -> Counter[str]:
        found = Counter(str(row["request_id"]) for row in all_rows(setup.log))
        return found if ids <= found.keys() else Counter()

    assert {wait_until(counted)[call_id] for call_id in ids} == {1}


def test_feedback_by_the_id_that_the_client_sees_joins_the_row(setup: Setup) -> None:
    headers, _ = ask(setup, HI)
    call_id = headers["x-litellm-call-id"]
    setup.rows(call_id)
    log = CallLog.open(setup.log)
    log.feedback(call_id, success=True, score=0.75, source="reviewer")
    log.close()
    (row,) = setup.rows(call_id)
    assert (row["success"], row["score"], row["outcome_source"]) == (True, 0.75, "reviewer")


def test_litellms_own_calls_leave_no_row(setup: Setup, provider: Provider) -> None:
    begin = len(provider.requests)
    headers = {"Authorization": f"Bearer {setup.proxy.key}"}
    before = {row["call_id"] for row in all_rows(setup.log)}
    httpx.get(f"{setup.proxy.address[:-3]}/health", headers=headers, timeout=60).raise_for_status()
    last, _ = ask(setup, HI)
    setup.rows(last["x-litellm-call-id"])
    assert len(new_requests(provider, begin)) > 1
    after = {row["call_id"] for row in all_rows(setup.log)}
    assert after - before == {last["x-litellm-call-id"]}


def test_no_key_is_in_the_log_nor_in_what_the_proxy_prints(setup: Setup) -> None:
    files = [
        *setup.log.parent.glob("calls.db*"),
        setup.proxy.output,
        setup.settings.with_name("proxy.yaml"),
    ]
    whole = b"".join(path.read_bytes() for path in files)
    assert b"answer from" not in whole or len(whole) > 1000
    for secret in (KEY, setup.proxy.key, "our-secret-header"):
        assert secret.encode() not in whole


def test_a_proxy_that_is_stopped_has_written_every_row(setup: Setup, provider: Provider) -> None:
    """The last one of this file, as it stops the proxy that all of them share."""
    ids = {ask(setup, f"hi {number}")[0]["x-litellm-call-id"] for number in range(5)}
    begin = len(provider.requests)
    for name in CALLED.values():
        provider.script(name, silence())
    with ThreadPoolExecutor(1) as threads:
        cut_off = threads.submit(ask, setup, "hi")
        wait_until(lambda: len(provider.requests) > begin)
        setup.proxy.stop()
        assert isinstance(cut_off.exception(), openai.APIError)
    assert setup.proxy.process.returncode == -signal.SIGTERM
    assert [row["error"] for row in all_rows(setup.log)][-1].startswith("cancelled")
    assert ids <= {row["call_id"] for row in all_rows(setup.log)}
