from __future__ import annotations

import asyncio
import json
import math
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from copy import copy
from datetime import UTC, datetime, timedelta
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from router import Router
from router.call_log.log import CallLog, read_rows
from router.deciding.arguments import straying
from router.errors import (
    ArtifactError,
    CallFailed,
    CallLogError,
    ConfigError,
    NoModelAllowed,
    RequestError,
    RouterClosed,
    RouterError,
    StreamBroken,
)
from router.loading import follow
from router.records import WISH_FIELDS, Decision, Json, Request, Wishes, refuse_near_misses
from router.serving.completion import NAMED_ALIKE, REFUSED
from router.settings.sections import Price
from router.settings.yaml_file import parse_config
from router.version import Version
from tests.router.loading.test_artifact import signed_again
from tests.router.messages import messages
from tests.services.provider import KEY, Provider, answer, rate_limit, server_error, tokens, too_long

KEY_VARIABLE = "POINTSMAN_CLIENT_KEY"
QUESTION = [{"role": "user", "content": "Which bus goes to the station?"}]
SURE = "fallback: {confidence: 0.0}\n"


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    with Provider() as running:
        yield running


class App:
    """A router whose models all live on the local provider, with a log in SQLite."""

    def __init__(self, folder: Path, provider: Provider, log: Path) -> None:
        self.folder = folder
        self.provider = provider
        self.log = log
        self.models = Version.load(folder).models

    def router(self, more: str = "", **options: Any) -> Router:  # noqa: ANN401 - of Router.load
        reach = f"api_base: '{self.provider.api_base}', api_key_env: {KEY_VARIABLE}"
        reached = [f"  {one}: {{{reach}, litellm_model: openai/{name(one)}}}\n" for one in self.models]
        quick = "calls: {retries: 0}\n" if "calls:" not in more else ""
        text = f"models:\n{''.join(reached)}{quick}{more}"
        return Router.load(self.folder, config=parse_config(text), log=self.log, **options)

    def version_choice(self, router: Router, prompt: str) -> str:
        """The model at the trained weight."""
        return router.version.decide(Request.of(prompt)).model

    def rows(self) -> list[dict[str, Json]]:
        return list(read_rows(str(self.log)))


def name(model: str) -> str:
    """What the provider calls a model."""
    return model.rpartition("/")[2]


@pytest.fixture
def app(router_folder: Path, provider: Provider, tmp_path: Path) -> App:
    return App(router_folder, provider, tmp_path / "calls.db")


def whole(router: Router, **arguments: Json) -> tuple[str, Any]:
    response: Any = router.completion(messages=QUESTION, **arguments)
    return response.choices[0].message.content, response


def streamed(router: Router, **arguments: Json) -> tuple[str, Any]:
    stream = router.completion(messages=QUESTION, stream=True, **arguments)
    return "".join(piece.choices[0].delta.content or "" for piece in stream if piece.choices), stream


def whole_async(router: Router, **arguments: Json) -> tuple[str, Any]:
    response: Any = asyncio.run(router.acompletion(messages=QUESTION, **arguments))
    return response.choices[0].message.content, response


def streamed_async(router: Router, **arguments: Json) -> tuple[str, Any]:
    async def read() -> tuple[str, Any]:
        stream = await router.acompletion(messages=QUESTION, stream=True, **arguments)
        pieces = [piece async for piece in stream]
        return "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices), stream

    return asyncio.run(read())


Way = Callable[..., tuple[str, Any]]

every_way = pytest.mark.parametrize(
    "way",
    [
        pytest.param(whole, id="plain"),
        pytest.param(streamed, id="stream"),
        pytest.param(whole_async, id="async"),
        pytest.param(streamed_async, id="async stream"),
    ],
)


@every_way
def test_the_chosen_model_answers_and_the_decision_is_attached(app: App, way: Way) -> None:
    with app.router(SURE) as router:
        chosen = router.route(QUESTION, task_type="support")
        text, reply = way(router, task_type="support")
    assert text == f"answer from {name(chosen.model)}"
    assert (reply.decision.model, reply.decision.answered_by) == (chosen.model, chosen.model)
    assert reply.decision.success_probability == chosen.success_probability


@every_way
def test_one_call_is_one_row_with_its_decision_tokens_and_cost(app: App, way: Way) -> None:
    with app.router(SURE) as router:
        model = router.route(QUESTION).model
        app.provider.script(name(model), answer("Four.", usage=tokens(12, 30, cached=8, reasoning=20)))
        _, reply = way(router, tags=["a"], session_id="s")
    (row,) = app.rows()
    assert row["call_id"] == row["request_id"] == reply.decision.call_id
    assert (row["model"], row["decision_source"], row["propensity"]) == (model, "learned", 1.0)
    assert (row["input_tokens"], row["cached_input_tokens"]) == (12, 8)
    assert (row["output_tokens"], row["reasoning_tokens"]) == (30, 20)
    assert (row["tags"], row["session_id"], row["messages"]) == (["a"], "s", QUESTION)
    assert row["policy_version"] == router.policy_version
    assert row["alternatives"] == pytest.approx(reply.decision.success_probability)
    assert row["baseline_cost_usd"] is not None
    assert (row["success"], row["error"], row["finish_reason"]) == (None, None, "stop")


@every_way
def test_a_failing_model_is_followed_by_the_next_and_both_attempts_are_logged(app: App, way: Way) -> None:
    with app.router(SURE) as router:
        first, second, *_ = router.route(QUESTION).ranking
        app.provider.script(name(first), rate_limit(retry_after=0))
        text, reply = way(router)
    failed, answered = sorted(app.rows(), key=lambda row: row["attempt"])
    assert text == f"answer from {name(second)}"
    assert (reply.decision.model, reply.decision.answered_by) == (first, second)
    assert reply.decision.notes == (f"{first} failed: rate_limit",)
    assert (failed["model"], failed["success"], failed["cost_usd"]) == (first, None, None)
    assert failed["error"] == "rate_limit: RateLimitError"
    assert failed["call_id"] == f"{reply.decision.call_id}-1"
    assert (answered["model"], answered["decision_source"]) == (second, "fallback")
    assert (answered["propensity"], answered["chosen_model"]) == (None, first)
    assert answered["call_id"] == reply.decision.call_id


@every_way
def test_the_configured_chain_comes_before_the_policys_ranking(app: App, way: Way) -> None:
    first, *others = app.router(SURE).route(QUESTION).ranking
    chain = f"calls: {{retries: 0, fallbacks: {{{first}: [{others[-1]}]}}}}\n"
    app.provider.script(name(first), server_error())
    with app.router(SURE + chain) as router:
        text, _ = way(router)
    assert text == f"answer from {name(others[-1])}"


@every_way
def test_when_every_model_fails_one_error_lists_the_attempts(app: App, way: Way) -> None:
    for model in app.models:
        app.provider.script(name(model), server_error())
    with app.router(SURE) as router, pytest.raises(CallFailed, match="after 3 attempt") as error:
        way(router)
    assert KEY not in str(error.value)
    assert len(app.rows()) == 3
    assert not any(row["cost_usd"] for row in app.rows())


@every_way
def test_a_prompt_that_outgrew_the_model_counts_as_its_failure(app: App, way: Way) -> None:
    with app.router(SURE) as router:
        first = router.route(QUESTION).model
        app.provider.script(name(first), too_long())
        way(router)
    failed = min(app.rows(), key=lambda row: row["attempt"])
    assert (failed["success"], failed["outcome_source"]) == (False, "error")


def test_a_stream_that_breaks_after_its_first_piece_fails_clearly(app: App) -> None:
    with app.router(SURE) as router:
        model = router.route(QUESTION).model
        app.provider.script(name(model), answer("one two three four", break_after=2))
        with pytest.raises(StreamBroken, match=f"{model}: the stream broke after its first piece"):
            streamed(router)
    (row,) = app.rows()
    assert row["error"].startswith("broken_stream")


@pytest.mark.parametrize("way", [whole, streamed])
def test_a_local_only_request_reaches_no_other_model_even_when_the_local_one_fails(
    app: App, way: Way
) -> None:
    local = next(model for model in app.models if model.startswith("ollama/"))
    app.provider.script(name(local), server_error())
    only = "".join(f"  {one}: {{local: false}}\n" for one in app.models if one != local)
    router = Router.load(
        app.folder,
        config=parse_config(
            f"models:\n{only}  {local}: {{local: true, litellm_model: openai/{name(local)}, "
            f"api_base: '{app.provider.api_base}', api_key_env: {KEY_VARIABLE}}}\ncalls: {{retries: 1}}"
        ),
    )
    with pytest.raises(CallFailed, match="no model answered"):
        way(router, local_only=True)
    assert {request.model for request in app.provider.requests} == {name(local)}


def test_a_pinned_model_is_called_alone(app: App) -> None:
    pinned = app.models[0]
    app.provider.script(name(pinned), server_error())
    with app.router(SURE) as router, pytest.raises(CallFailed, match="after 1 attempt"):
        router.completion(pinned, QUESTION)
    assert [row["decision_source"] for row in app.rows()] == ["pinned"]


def test_a_pinned_call_has_no_propensity_as_no_policy_chose_it(app: App) -> None:
    with app.router(SURE) as router:
        router.completion(app.models[0], QUESTION)
    (row,) = app.rows()
    assert (row["decision_source"], row["propensity"]) == ("pinned", None)


def test_the_models_named_auto_is_the_routers_choice(app: App) -> None:
    with app.router(SURE) as router:
        assert router.completion("auto", QUESTION).decision.source == "learned"


def test_when_the_limits_leave_nothing_no_provider_is_asked(app: App) -> None:
    with app.router() as router, pytest.raises(NoModelAllowed, match="cost") as error:
        whole(router, max_cost_usd=0.0)
    assert set(error.value.rejected) == set(app.models)
    assert not app.provider.requests


def test_a_model_that_keeps_failing_is_left_alone_for_a_while(app: App) -> None:
    first = app.router(SURE).route(QUESTION).model
    app.provider.script(name(first), server_error())
    with app.router(SURE + "calls: {retries: 0, cool_down: {failures: 2, seconds: 600}}") as router:
        for _ in range(4):
            whole(router)
        decision = router.route(QUESTION)
    assert sum(request.model == name(first) for request in app.provider.requests) == 2
    assert first in decision.rejected
    assert decision.model != first


def priced(router: Router, usd: float) -> Version:
    """The router's version anew, with a price of its own for every model."""
    price = Price(input_usd_per_million=usd, output_usd_per_million=usd)
    models = {
        model: settings.model_copy(update={"price": price})
        for model, settings in router.config.models.items()
    }
    return Version.load(router.version.folder, router.config.model_copy(update={"models": models}))


@every_way
def test_a_version_that_took_over_is_billed_at_its_own_prices(app: App, way: Way) -> None:
    with app.router(SURE) as router:
        for usd in (1.0, 3.0):
            router._use(priced(router, usd))
            way(router)
    first, second = app.rows()
    assert second["cost_usd"] == pytest.approx(3 * first["cost_usd"])


def test_a_call_under_way_is_billed_at_the_prices_that_it_began_with(app: App) -> None:
    with app.router(SURE) as router:
        router._use(priced(router, 1.0))
        whole(router)
        stream = router.completion(messages=QUESTION, stream=True)
        router._use(priced(router, 3.0))
        list(stream)
    before, across = app.rows()
    assert across["cost_usd"] == pytest.approx(before["cost_usd"])


def test_a_model_left_alone_stays_so_when_a_version_takes_over(app: App) -> None:
    with app.router(SURE + "calls: {retries: 0, cool_down: {failures: 1, seconds: 600}}") as router:
        router._use(priced(router, 1.0))
        first = router.route(QUESTION).model
        app.provider.script(name(first), server_error())
        whole(router)
        router._use(priced(router, 1.0))
        assert first in router.route(QUESTION).rejected


def test_our_own_arguments_never_reach_the_provider(app: App) -> None:
    own = ("task_type", "tags", "session_id", "tradeoff", "explore")
    fields: dict[str, Any] = dict(zip(own, ("support", ["a"], "s", 0.4, 0.0), strict=True))
    with app.router(SURE) as router:
        router.completion(None, QUESTION, **fields, allow=list(app.models), deny=[], temperature=0.3)
    (request,) = app.provider.requests
    assert not set(fields) & set(request.body)
    assert request.body["temperature"] == 0.3


@pytest.mark.parametrize(
    "argument", ["api_key", "api_base", "base_url", "fallbacks", "num_retries", "max_retries"]
)
def test_an_argument_that_belongs_to_one_model_is_refused(loaded: Router, argument: str) -> None:
    secret: dict[str, Any] = {argument: "sk-secret"}
    with pytest.raises(RequestError, match=f"'{argument}' can't be set per request") as error:
        loaded.completion(messages=QUESTION, **secret)
    assert "sk-secret" not in str(error.value)


def test_a_completion_without_messages_is_refused(loaded: Router) -> None:
    with pytest.raises(RequestError, match="a completion needs messages"):
        loaded.completion(model="auto")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param({"messages": 5}, "messages must be a text or a list, got int", id="no messages"),
        pytest.param({"messages": QUESTION[0]}, "messages must be .* got dict", id="one message alone"),
        pytest.param(
            {"messages": [{"role": "user", "content": 5}]}, "message 1: content must be text", id="content"
        ),
        pytest.param({"messages": QUESTION, "tools": "search"}, "tools must be a list", id="tools"),
        pytest.param(
            {"messages": QUESTION, "response_format": "json"}, "response_format must be", id="response format"
        ),
    ],
)
def test_a_request_of_the_wrong_form_is_refused_and_no_model_is_blamed(
    app: App, arguments: dict[str, Json], message: str
) -> None:
    with app.router(SURE) as router, pytest.raises(RequestError, match=message):
        router.completion(**arguments)
    assert not app.provider.requests


def test_no_text_of_a_message_is_in_the_error_that_refuses_it(loaded: Router) -> None:
    with pytest.raises(RequestError, match="message 1 is not an object with a 'role'") as error:
        loaded.completion(messages=[{"content": "my secret"}])
    assert "secret" not in str(error.value)


def test_the_message_of_an_answer_can_be_put_back_into_the_conversation(app: App) -> None:
    with app.router(SURE) as router:
        first = router.completion(messages=QUESTION)
        turns = [*QUESTION, first.choices[0].message, {"role": "user", "content": "And back?"}]
        router.completion(messages=turns)
    *_, request = app.provider.requests
    assert [message["role"] for message in request.body["messages"]] == ["user", "assistant", "user"]


def test_a_pydantic_class_is_a_schema_that_the_model_must_be_able_to_follow(app: App) -> None:
    class Bus(BaseModel):
        number: int

    with app.router(SURE) as router:
        router.completion(messages=QUESTION, response_format=Bus)
    (row,) = app.rows()
    assert row["response_format"]["json_schema"]["name"] == "Bus"


def test_feedback_is_joined_to_the_call_whoever_gives_it(app: App) -> None:
    with app.router(SURE) as router:
        ids = [whole(router)[1].decision.call_id for _ in range(2)]
        router.feedback(ids[0], success=True)
    other = CallLog.open(app.log)
    other.feedback(ids[1], score=0.2, source="user")
    other.close()
    feedback = {row["call_id"]: (row["success"], row["score"], row["outcome_source"]) for row in app.rows()}
    assert feedback == {ids[0]: (True, None, "feedback"), ids[1]: (None, 0.2, "user")}


def test_feedback_without_a_log_says_what_to_set(loaded: Router) -> None:
    with pytest.raises(CallLogError, match=r"keeps no call log.*set log\.url"):
        loaded.feedback("some call", success=True)


def test_a_session_stays_where_its_fallback_answered(app: App) -> None:
    with app.router(SURE) as router:
        first, second, *_ = router.route(QUESTION).ranking
        app.provider.script(name(first), server_error())
        whole(router, session_id="s")
        again = router.route(QUESTION, session_id="s")
    assert (again.model, again.source) == (second, "session")


def test_exploration_is_seeded_and_its_chances_are_logged(app: App) -> None:
    explore = SURE + "exploration: {share: 0.5, seed: 7}\n"
    runs = []
    for _ in range(2):
        with app.router(explore) as router:
            runs.append([(one.model, one.propensity) for one in (router.route(QUESTION) for _ in range(40))])
    assert runs[0] == runs[1]
    assert {round(chance, 6) for _, chance in runs[0]} == {0.5, round(0.5 / (len(app.models) - 1), 6)}


def test_in_shadow_mode_the_rules_serve_and_the_policy_is_logged(app: App) -> None:
    learned = app.router(SURE).route(QUESTION)
    served = next(model for model in app.models if model != learned.model)
    with app.router(SURE + f"rules: {{default: {served}}}\n", shadow=True) as router:
        text, reply = whole(router)
    (row,) = app.rows()
    assert text == f"answer from {name(served)}"
    assert (row["model"], row["decision_source"]) == (served, "rule")
    assert (row["shadow_model"], row["shadow_confidence"]) == (learned.model, learned.confidence)
    assert reply.decision.shadow.model == learned.model


def test_hashed_logs_hold_no_text(app: App) -> None:
    with app.router(SURE + "log: {url: unused.db, text: hash}\n") as router:
        whole(router)
    (row,) = app.rows()
    assert (row["messages"], len(row["prompt_key"])) == (None, 32)
    assert b"station" not in b"".join(path.read_bytes() for path in app.log.parent.glob("calls.db*"))


def test_a_key_is_in_no_row_and_in_no_file(app: App) -> None:
    app.provider.script(name(app.models[0]), server_error())
    with app.router(SURE) as router:
        whole(router)
    assert KEY.encode() not in b"".join(path.read_bytes() for path in app.log.parent.glob("calls.db*"))


def test_a_log_that_can_not_be_written_fails_no_call(app: App, tmp_path: Path) -> None:
    app.log = tmp_path / "no" / "such" / "folder" / "calls.db"
    with app.router(SURE) as router:
        assert whole(router)[0].startswith("answer from")


def test_thirty_two_threads_lose_no_row(app: App) -> None:
    with app.router(SURE) as router, ThreadPoolExecutor(32) as pool:
        replies = list(pool.map(lambda _: whole(router)[1], range(160)))
    rows = app.rows()
    assert len(rows) == 160
    assert {row["call_id"] for row in rows} == {reply.decision.call_id for reply in replies}


def test_two_hundred_coroutines_lose_no_row(app: App) -> None:
    async def burst(router: Router) -> list[Any]:
        return await asyncio.gather(*(router.acompletion(messages=QUESTION) for _ in range(200)))

    with app.router(SURE) as router:
        replies = asyncio.run(burst(router))
    assert {row["call_id"] for row in app.rows()} == {reply.decision.call_id for reply in replies}
    assert len(app.rows()) == 200


def test_the_decision_leaves_no_trace_in_the_json_of_the_response(app: App) -> None:
    with app.router(SURE) as router:
        _, reply = whole(router)
    assert "decision" not in json.loads(reply.model_dump_json())


def test_settings_that_only_an_application_may_give_are_not_taken_from_a_folder(
    router_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    foreign = shutil.copytree(router_folder, tmp_path / "foreign")
    signed_again(foreign, config="log: {url: stolen.db}\nbaseline: gpt-5\n")
    router = Router.load(foreign)
    assert router.log is None
    assert router.config.baseline == "gpt-5"
    assert "ignoring log in the router's own settings" in caplog.text


@pytest.mark.parametrize("section", ["calls: {fallbacks: {gpt-9: [gpt-5]}}", "baseline: gpt-9"])
def test_settings_that_name_a_model_the_router_lacks_are_refused(router_folder: Path, section: str) -> None:
    with pytest.raises(ConfigError, match="'gpt-9', which this router does not know"):
        Router.load(router_folder, config=parse_config(section))


TEXTS = st.text(max_size=30)
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
CONTENTS = (
    st.none()
    | TEXTS
    | st.lists(TEXTS.map(lambda text: {"type": "text", "text": text}) | st.just(PICTURE), max_size=3)
)
TOOL_CALL = {"id": "1", "type": "function", "function": {"name": "stock", "arguments": "{}"}}
LEGAL = st.one_of(
    st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "assistant"]), "content": CONTENTS}),
    st.just({"role": "assistant", "content": None, "tool_calls": [TOOL_CALL]}),
    st.fixed_dictionaries({"role": st.just("tool"), "tool_call_id": st.just("1"), "content": TEXTS}),
)


@settings(max_examples=60)
@given(messages=st.lists(LEGAL, min_size=1, max_size=4))
def test_messages_of_every_legal_shape_are_answered(loaded: Router, messages: list[dict[str, Json]]) -> None:
    reply = loaded.completion(messages=messages, mock_response="yes")
    assert reply.choices[0].message.content == "yes"


def test_a_router_folder_needs_no_key_and_no_provider_to_decide(router_folder: Path) -> None:
    assert KEY_VARIABLE not in os.environ
    assert Router.load(router_folder).route("hi").model


def test_a_local_model_is_called_here_whatever_the_environment_says(
    router_folder: Path, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LiteLLM would obey the variable, and send what must stay local there."""
    monkeypatch.setenv("OLLAMA_API_BASE", provider.api_base)
    router = Router.load(router_folder, config=parse_config("calls: {retries: 0, timeout_s: 5}"))
    with pytest.raises(CallFailed):
        router.completion(messages=QUESTION, local_only=True)
    assert not provider.requests
    assert not provider.fetched


def test_a_global_address_of_litellms_is_refused(loaded: Router, monkeypatch: pytest.MonkeyPatch) -> None:
    import litellm

    monkeypatch.setattr(litellm, "api_base", "https://example.com")
    with pytest.raises(ConfigError, match=r"litellm\.api_base is set.*models\.NAME\.api_base"):
        loaded.completion(messages=QUESTION, mock_response="never")


def test_an_own_endpoint_gets_no_key_of_openais(
    router_folder: Path, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-for-everyone")
    reach = f"{{api_base: '{provider.api_base}', litellm_model: openai/own}}"
    router = Router.load(router_folder, config=parse_config(f"models: {{ollama/llama3.1: {reach}}}"))
    router.completion("ollama/llama3.1", QUESTION)
    (request,) = provider.requests
    assert "sk-not-for-everyone" not in json.dumps(dict(request.headers))


def nested(depth: int) -> Json:
    value: Json = "x"
    for _ in range(depth):
        value = [value]
    return value


ENDLESS: list[Json] = []
ENDLESS.append(ENDLESS)
ODD: dict[str, Json] = {
    "long number": 10**400,
    "longer number": 10**5_000,
    "not a number": math.nan,
    "infinite": math.inf,
    "array": np.zeros(3),
    "bytes": b"x",
    "bytes as a key": {b"a": 1},
    "deep": nested(100_000),
    "in itself": ENDLESS,
    "object": object(),
    "surrogate": "\ud800",
    "list of odd values": [10**5_000, b"x", None, np.zeros(2), nested(2_000)],
    "generator": (letter for letter in "ab"),
}
FIELDS = [*"tools response_format task_type tags session_id parameters".split(), *sorted(WISH_FIELDS)]
PARAMETERS = (
    "max_tokens n tool_choice reasoning_effort thinking modalities logprobs functions extra_headers".split()
)


@pytest.mark.parametrize("value", ODD.values(), ids=ODD)
def test_an_odd_argument_leads_to_a_decision_or_a_clear_error(loaded: Router, value: Json) -> None:
    requests: list[dict[str, Json]] = [{"prompt": "hi", name: value} for name in FIELDS]
    requests += [{"prompt": "hi", "parameters": {name: value}} for name in PARAMETERS]
    requests += [{"prompt": "hi", "tools": [value]}, {"prompt": "hi", "tags": [value]}, {"prompt": value}]
    message = {"role": "user", "content": "hi"}
    requests += [{"prompt": [{**message, name: value}]} for name in ("role", "content", "tool_calls", "name")]
    requests += [{"prompt": [{**message, "content": [value]}]}, {"prompt": [value]}]
    for fields in requests:
        with suppress(RequestError, NoModelAllowed):
            assert loaded.route(**fields).model in loaded.models


def test_stream_options_that_are_no_object_are_refused(loaded: Router) -> None:
    with pytest.raises(RequestError, match="stream_options must be an object, got str"):
        loaded.completion(messages=[{"role": "user", "content": "hi"}], stream_options="x")


@pytest.mark.parametrize(
    "slip", ["task_typ", "tasktype", "TaskType", "tag", "session", "max_cost", "trade_off"]
)
def test_a_slip_of_the_pen_for_one_of_our_arguments_is_refused_everywhere(loaded: Router, slip: str) -> None:
    wrong: dict[str, Any] = {slip: "x"}
    calls: list[Callable[[], object]] = [
        lambda: loaded.route("hi", **wrong),
        lambda: loaded.explain("hi", **wrong),
        lambda: loaded.completion(messages=QUESTION, **wrong),
        lambda: asyncio.run(loaded.acompletion(messages=QUESTION, **wrong)),
        lambda: Request.from_json({"prompt": "hi", **wrong}),
    ]
    for call in calls:
        with pytest.raises(RequestError, match=f"'{slip}': did you mean '"):
            call()


def test_messages_are_a_prompt_to_route_and_to_explain(loaded: Router) -> None:
    methods: list[Callable[..., object]] = [loaded.route, loaded.explain]
    for decide in methods:
        with pytest.raises(RequestError, match=r"'messages': did you mean 'prompt'\? It takes messages too"):
            decide(messages=QUESTION)
        with pytest.raises(RequestError, match="a request needs at least one message"):
            decide()


def test_no_argument_of_litellm_and_no_identifier_is_taken_for_a_slip() -> None:
    from litellm import completion
    from litellm.constants import OPENAI_CHAT_COMPLETION_PARAMS

    theirs = set(signature(completion).parameters) | set(OPENAI_CHAT_COMPLETION_PARAMS)
    theirs |= {"models", "prompt_id", "message_id", "extra_body", "cache_control", "trace_id", "user_id"}
    refuse_near_misses(theirs, NAMED_ALIKE)
    Request.from_json({"prompt": "hi", "prompt_id": 1, "message_id": 2, "id": 3, "note": "x"})


def test_route_takes_no_argument_of_litellms(loaded: Router) -> None:
    other: dict[str, Any] = {"temperature": 0.5}
    with pytest.raises(RequestError, match="'temperature'; LiteLLM's own arguments go in parameters"):
        loaded.route("hi", **other)


def test_a_closed_router_refuses_to_decide_and_to_call(app: App) -> None:
    router = app.router(SURE)
    router.completion(messages=QUESTION)
    router.close()
    router.close()
    for call in (lambda: router.route("hi"), lambda: router.completion(messages=QUESTION)):
        with pytest.raises(RouterClosed, match="load it again"):
            call()
    assert len(app.provider.requests) == 1
    assert repr(router).endswith(", closed>")


def test_a_router_closes_at_the_end_of_an_async_block(app: App) -> None:
    async def run() -> Router:
        async with app.router(SURE) as router:
            await router.acompletion(messages=QUESTION)
        return router

    router = asyncio.run(run())
    with pytest.raises(RouterClosed):
        router.route("hi")
    assert len(list(read_rows(app.log))) == 1


def test_a_router_shows_its_version_its_models_and_their_prices(loaded: Router) -> None:
    assert repr(loaded) == f"<Router {loaded.policy_version}: {', '.join(loaded.models)}>"
    page = loaded._repr_html_()
    assert all(f"<td>{model}</td>" in page for model in loaded.models)


def test_settings_may_be_a_mapping(router_folder: Path) -> None:
    router = Router.load(router_folder, config={"limits": {"local_only": True}})
    assert router.config.limits.local_only
    with pytest.raises(ConfigError, match=r"^config: unknown setting 'limts'; known here: "):
        Router.load(router_folder, config={"limts": {}})


def test_a_transport_that_can_not_call_every_model_is_refused_at_the_start(router_folder: Path) -> None:
    from litellm.router import Router as LiteLLMRouter

    first, *rest = Router.load(router_folder).models
    groups = [{"model_name": first, "litellm_params": {"model": f"openai/{first}", "api_key": "none"}}]
    client = LiteLLMRouter(model_list=groups)
    with pytest.raises(ConfigError, match=f"no group for {', '.join(rest)}: add them"):
        Router.load(router_folder, transport=client)
    assert Router.load(router_folder, transport=client, config={"limits": {"deny": rest}}).models
    wildcard = LiteLLMRouter(
        model_list=[{"model_name": "*", "litellm_params": {"model": "openai/*", "api_key": "none"}}]
    )
    assert Router.load(router_folder, transport=wildcard).models
    with pytest.raises(
        ConfigError, match=r"must be a litellm\.Router, or have completion and acompletion, not <class 'str'>"
    ):
        Router.load(router_folder, transport="litellm")


EFFORTS = """
models:
  gpt-5: {{efforts: [low, high], litellm_model: openai/gpt-5, api_base: '{base}', api_key_env: {key}}}
rules: {{default: gpt-5@low}}
calls: {{retries: 0}}
"""


@every_way
@pytest.mark.parametrize(
    ("callers", "model", "sent"),
    [
        ({}, "gpt-5@low", "low"),
        ({"reasoning_effort": "high"}, "gpt-5@high", "high"),
        ({"model": "gpt-5", "reasoning_effort": "minimal"}, "gpt-5@high", "minimal"),
    ],
)
def test_an_action_is_its_model_with_the_parameter_for_its_effort(
    provider: Provider, tmp_path: Path, way: Way, callers: Json, model: str, sent: str
) -> None:
    config = tmp_path / "pointsman.yaml"
    config.write_text(EFFORTS.format(base=provider.api_base, key=KEY_VARIABLE), encoding="utf-8")
    with Router.load(config, log=tmp_path / "calls.db") as router:
        text, reply = way(router, **callers)
    assert (text, reply.decision.model) == ("answer from gpt-5", model)
    assert [request.body["reasoning_effort"] for request in provider.requests] == [sent]
    (row,) = read_rows(str(tmp_path / "calls.db"))
    assert (row["model"], row["chosen_model"], row["effort"]) == (model, model, sent)


PACE = "objective: {kind: budget, usd_per_day: 24.0, processes: 2}\n"


def carried(router: Router) -> float:
    assert router.pacer is not None
    return router.pacer.pace.carried_usd


def since_midnight(day_usd: float) -> float:
    """What a pace has set free since midnight (UTC)."""
    now = datetime.now(UTC)
    return day_usd * (now - now.replace(hour=0, minute=0, second=0, microsecond=0)) / timedelta(days=1)


@every_way
def test_a_pace_counts_what_calls_cost_and_a_restart_goes_on_from_the_log(app: App, way: Way) -> None:
    with app.router(SURE + PACE) as router:
        before = carried(router)
        app.provider.script(name(router.route(QUESTION).model), answer("Four.", usage=tokens(1000, 10)))
        way(router)
        expected = [row["expected_cost_usd"] for row in flushed(router, app)]
        spent = sum(row["cost_usd"] for row in app.rows())
        assert carried(router) == pytest.approx(before - spent - expected[0], abs=2e-3)
    with app.router(SURE + PACE) as router:
        assert carried(router) == pytest.approx(since_midnight(12.0) - spent / 2, abs=0.05)


def flushed(router: Router, app: App) -> list[dict[str, Json]]:
    assert router.log is not None
    router.log.flush()
    return app.rows()


def test_a_pace_starts_without_a_warning_before_the_first_row(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    app.router(SURE + PACE).close()
    assert "starts anew" not in caplog.text


def test_a_pace_starts_anew_with_a_warning_where_the_log_cannot_be_read(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    app.log.write_text("no database, but long enough to be looked at as one " * 20)
    with app.router(SURE + PACE) as router:
        assert carried(router) == pytest.approx(0.0, abs=0.05)
    assert "the pace of the day starts anew" in caplog.text


def test_a_pace_that_is_overrun_takes_cheaper_models(app: App) -> None:
    prompts = [f"Explain theorem {number} of topology, with a proof." for number in range(12)]
    with app.router(SURE + PACE) as free, app.router(SURE + PACE.replace("24.0", "0.000001")) as poor:
        trained = [app.version_choice(free, prompt) for prompt in prompts]
        for prompt in prompts * 10:
            poor.route(prompt)
        costs = [poor.route(prompt).expected_cost_usd for prompt in prompts]
        chosen = [poor.route(prompt).model for prompt in prompts]
    assert sum(c[m] for c, m in zip(costs, chosen, strict=True)) <= sum(
        c[m] for c, m in zip(costs, trained, strict=True)
    )
    cheapest = [min(cost, key=lambda model, of=cost: of[model]) for cost in costs]  # type: ignore[misc]
    assert chosen == cheapest


@pytest.mark.parametrize("nothing", [None, 7, b"models/support"])
def test_what_names_no_router_is_refused_as_such(nothing: Any) -> None:  # noqa: ANN401
    with pytest.raises(ArtifactError, match="give a folder, models:/NAME@ALIAS, or a settings file"):
        Router.load(nothing)


@every_way
def test_the_log_says_which_model_the_provider_states(app: App, way: Way) -> None:
    with app.router() as router:
        way(router)
        (row,) = flushed(router, app)
    assert row["served_model"].endswith(name(row["model"]))


def test_a_folder_whose_network_never_ends_is_refused_in_time(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()
    monkeypatch.setattr(follow, "LOAD_S", 0.1)
    monkeypatch.setattr("router.forecasting.encoder.OnnxEncoder.__init__", lambda *_: over.wait())
    monkeypatch.setattr("router.forecasting.encoder.StaticEncoder.__init__", lambda *_: over.wait())
    with pytest.raises(ArtifactError, match=r"not loaded and tried within 0\.1 s"):
        app.router()
    over.set()


DETOURS = (
    "azure", "client", "context_window_fallback_dict", "custom_llm_provider", "deployment_id", "fallbacks",
    "litellm_credential_name", "model_list", "silent_model", "use_litellm_proxy", "user_config",
)  # fmt: skip


@pytest.mark.parametrize("name", DETOURS)
def test_what_may_send_a_call_past_a_limit_is_refused_per_request(app: App, name: str) -> None:
    assert name in REFUSED
    assert straying({name: "x"}, "deny") == name


@every_way
def test_an_unknown_argument_is_refused_under_a_limit_alone_unless_the_settings_name_it(
    app: App, way: Way
) -> None:
    more = {"extra_body": {"provider": {"order": ["x"]}}, "deny": ["gpt-4o"]}
    with (
        app.router() as router,
        pytest.raises(NoModelAllowed, match=r"'extra_body\.provider' could pass by limit 'deny'"),
    ):
        way(router, **more)
    for limits, callers in (
        ("", {**more, "deny": []}),
        ("limits: {arguments: [extra_body.provider]}", more),
    ):
        with app.router(limits) as router:
            way(router, **callers)


ITEM = st.fixed_dictionaries(
    {
        "prompt": st.sampled_from(
            ["Translate 'bus' to Dutch.", "word " * 900, "", "def f(x): return x", "你好"]
        )
    },
    optional={
        "session_id": st.sampled_from(["a", "b"]),
        "task_type": st.sampled_from(["coding", "unheard of", 7]),
        "tradeoff": st.sampled_from([0.0, 1.0, 2.0]),
        "deny": st.sampled_from([["no such model"], []]),
        "local_only": st.booleans(),
        "parameters": st.sampled_from([{"max_tokens": 5}, {"n": 3}, "none"]),
        "task_typ": st.just("a slip of the pen"),
        "row": st.integers(),
    },
)
ITEMS = st.lists(
    ITEM
    | st.sampled_from(["just a prompt", {"messages": [{"role": "user", "content": "x"}] * 6_000}, {}, 7])
    | messages().map(lambda message: {"messages": [message]}),
    max_size=40,
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ITEMS)
def test_many_are_decided_as_one_after_another(version: Version, items: Json) -> None:
    config = parse_config("exploration: {share: 0.3, seed: 7}")
    together, alone = (Router(copy_with(version, config)) for _ in range(2))
    for item, made in zip(items, together.route_many(items), strict=True):
        assert about(made) == about(alone_by(alone, item))


def alone_by(router: Router, item: Json) -> Decision | RouterError:
    try:
        if isinstance(item, str):
            return router.route(item)
        return router.decide(Request.from_json(item), Wishes.from_json(item))
    except RouterError as error:
        return error


def about(result: Decision | RouterError) -> Json:
    """An error, or a decision, its numbers to four digits: sums over many at once are rounded otherwise."""
    if isinstance(result, RouterError):
        return repr(result)
    return json.loads(json.dumps(result.to_json()), parse_float=lambda text: float(f"{float(text):.4g}"))


def copy_with(version: Version, config: Any) -> Version:  # noqa: ANN401 - settings
    changed = copy(version)
    changed.config = config
    return changed


def test_a_closed_router_decides_on_none_of_many(router_folder: Path) -> None:
    router = Router.load(router_folder)
    router.close()
    with pytest.raises(RouterClosed, match="closed"):
        router.route_many(["hi"])
