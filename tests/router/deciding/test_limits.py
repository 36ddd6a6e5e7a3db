from __future__ import annotations

import math
import re
import socket
from collections.abc import Mapping
from typing import Never

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from router.deciding.limits import DENIED, NOT_ALLOWED, NOT_LOCAL, LimitCheck, Stray, facts_of
from router.records import NO_WISHES, Json, Request, Wishes
from router.settings.yaml_file import parse_config
from tests.router.messages import requests

MODELS = ("gpt-4o", "gpt-3.5-turbo", "ollama/llama3.1", "house-model")
CHEAP = dict.fromkeys(MODELS, 0.001)
PICTURE = {"type": "image_url", "image_url": {"url": "http://192.0.2.1/a.png"}}
SOUND = {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}
DOCUMENT = {"type": "file", "file": {"file_data": "data:application/pdf;base64,AA"}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}


class Answer(BaseModel):
    number: int


def ruled_out(
    request: Request | str = "hi",
    wishes: Wishes = NO_WISHES,
    *,
    config: str = "",
    tokens: float = 2.0,
    cost: Mapping[str, float] = CHEAP,
) -> dict[str, str]:
    request = Request.of(request) if isinstance(request, str) else request
    return LimitCheck(MODELS, parse_config(config)).rule_out(request, wishes, tokens, cost)


def showing(*parts: Json) -> Request:
    return Request.of([{"role": "user", "content": list(parts)}])


def asking(**parameters: Json) -> Request:
    return Request.of("hi", parameters=parameters)


def test_a_plain_request_may_go_to_every_model() -> None:
    assert ruled_out() == {}


@pytest.mark.parametrize(
    ("wishes", "config"),
    [
        pytest.param(Wishes(deny=["gpt-4o"]), "", id="by the request"),
        pytest.param(NO_WISHES, "limits: {deny: [gpt-4o]}", id="by the settings"),
        pytest.param(
            Wishes(deny=["azure/ours"]),
            "models: {gpt-4o: {litellm_model: azure/ours}}",
            id="by its other name",
        ),
        pytest.param(
            Wishes(deny=["gpt-4o"]),
            "models: {gpt-4o: {litellm_model: azure/ours}}",
            id="by its name in the log",
        ),
        pytest.param(
            NO_WISHES,
            "{limits: {deny: [azure/ours]}, models: {gpt-4o: {litellm_model: azure/ours}}}",
            id="by its other name in the settings",
        ),
    ],
)
def test_a_denied_model_is_ruled_out(wishes: Wishes, config: str) -> None:
    assert ruled_out(wishes=wishes, config=config) == {"gpt-4o": DENIED}


def test_only_the_allowed_models_are_left() -> None:
    rest = {model: NOT_ALLOWED for model in MODELS if model != "gpt-4o"}
    assert ruled_out(wishes=Wishes(allow={"gpt-4o"})) == rest


def test_an_empty_list_of_allowed_models_leaves_none() -> None:
    assert set(ruled_out(wishes=Wishes(allow=()))) == set(MODELS)


def test_a_request_can_not_allow_what_the_settings_deny() -> None:
    found = ruled_out(wishes=Wishes(allow=["gpt-4o"]), config="limits: {deny: [gpt-4o]}")
    assert found["gpt-4o"] == DENIED


@pytest.mark.parametrize(
    ("request_", "wishes", "config"),
    [
        pytest.param(Request.of("hi"), Wishes(local_only=True), "", id="the request says so"),
        pytest.param(
            Request.of("hi"), NO_WISHES, "limits: {local_only: true}", id="the settings say so of all"
        ),
        pytest.param(
            Request.of("hi", task_type="medical"),
            NO_WISHES,
            "limits: {local_only_task_types: [medical]}",
            id="task type",
        ),
        pytest.param(
            Request.of("hi", tags=["web", "private"]),
            NO_WISHES,
            "limits: {local_only_tags: [private]}",
            id="tag",
        ),
        pytest.param(
            Request.of("hi", tags=[" pRIVATE"]),
            NO_WISHES,
            'limits: {local_only_tags: ["Private "]}',
            id="tag of another case and space",
        ),
        pytest.param(
            Request.of("hi", task_type="Medical "),
            NO_WISHES,
            "limits: {local_only_task_types: [medical]}",
            id="task type of another case and space",
        ),
    ],
)
def test_a_request_that_must_stay_goes_to_local_models_only(
    request_: Request, wishes: Wishes, config: str
) -> None:
    found = ruled_out(request_, wishes, config=config)
    assert found == {model: NOT_LOCAL for model in MODELS if model != "ollama/llama3.1"}


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        pytest.param("sante\u0301", "sant\xe9", id="decomposed, as some file systems do"),
        pytest.param("sant\xe9", "sante\u0301", id="composed"),
        pytest.param("\uff50\uff41\uff54\uff49\uff45\uff4e\uff54\uff53", "patients", id="full width"),
        pytest.param("pa\u200btients\ufeff", "patients", id="zero width"),
        pytest.param("pa\xadtients", "patients", id="soft hyphen"),
        pytest.param("patients\x00", "Patients", id="a NUL"),
        pytest.param("patients\u2028\xa0", "patients", id="other spaces around it"),
        pytest.param("\ud800patients", "patients", id="half a character"),
        pytest.param("STRASSE", "stra\xdfe", id="two letters for one"),
    ],
)
@pytest.mark.parametrize("kind", ["tags", "task_types"])
def test_a_mark_is_compared_as_people_see_it(kind: str, written: str, meant: str) -> None:
    fields: Json = {"tags": [written]} if kind == "tags" else {"task_type": written}
    found = ruled_out(Request.of("hi", **fields), config=f"limits: {{local_only_{kind}: [{meant}]}}")
    assert found == {model: NOT_LOCAL for model in MODELS if model != "ollama/llama3.1"}


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(Request.of("hi"), id="no mark"),
        pytest.param(Request.of("hi", task_type="chat", tags=["web"]), id="another mark"),
    ],
)
def test_a_request_without_the_mark_may_go_anywhere(request_: Request) -> None:
    config = "limits: {local_only_task_types: [medical], local_only_tags: [private]}"
    assert ruled_out(request_, config=config) == {}


def test_a_models_own_parameters_must_keep_it_at_home_unless_the_settings_say_local() -> None:
    wishes = Wishes(local_only=True)
    for own, left in (
        ("parameters: {num_ctx: 8192}", True),
        ("parameters: {custom_llm_provider: openai}", False),
        ("parameters: {custom_llm_provider: openai}, local: true", True),
    ):
        found = ruled_out(asking(), wishes, config=f"models: {{ollama/llama3.1: {{{own}}}}}")
        assert ("ollama/llama3.1" not in found) is left, own


@pytest.mark.parametrize(
    ("parameters", "left"),
    [
        pytest.param({}, True, id="none of its own"),
        pytest.param({"api_base": "http://10.0.0.7:11434"}, True, id="another machine of the team's"),
        pytest.param({"api_base": None}, True, id="null"),
        pytest.param({"api_base": "https://ollama.example.com"}, False, id="a public one"),
        pytest.param({"base_url": "https://ollama.example.com"}, False, id="by its other name"),
        pytest.param({"api_base": 5}, False, id="no address at all"),
        pytest.param({"custom_llm_provider": "openai"}, False, id="another provider"),
        pytest.param({"fallbacks": ["gpt-4o"]}, False, id="other models after it"),
        pytest.param({"fallbacks": []}, True, id="no other models after it"),
    ],
)
def test_the_calls_own_arguments_must_keep_it_at_home_too(parameters: dict[str, Json], left: bool) -> None:
    found = ruled_out(asking(**parameters), Wishes(local_only=True))
    assert ("ollama/llama3.1" not in found) is left


@pytest.mark.parametrize(
    ("request_", "reasons"),
    [
        pytest.param(Request.of("hi", tools=[TOOL]), {}, id="tools: all that are known have them"),
        pytest.param(showing(PICTURE), {"gpt-3.5-turbo": "takes no images"}, id="an image"),
        pytest.param(showing(DOCUMENT), {"gpt-3.5-turbo": "takes no documents"}, id="a document"),
        pytest.param(
            showing(SOUND), {"gpt-4o": "takes no audio", "gpt-3.5-turbo": "takes no audio"}, id="audio"
        ),
        pytest.param(
            Request.of("hi", response_format=SCHEMA), {"gpt-3.5-turbo": "takes no JSON schema"}, id="a schema"
        ),
        pytest.param(
            Request.of("hi", response_format=Answer), {"gpt-3.5-turbo": "takes no JSON schema"}, id="a class"
        ),
        pytest.param(
            asking(reasoning_effort="low"),
            {"gpt-4o": "takes no reasoning_effort", "gpt-3.5-turbo": "takes no reasoning_effort"},
            id="reasoning",
        ),
        pytest.param(
            asking(temperature=0.2, max_tokens=5, top_p=0.5, stop=["x"], seed=1),
            {},
            id="what is merely dropped",
        ),
    ],
)
def test_what_litellms_list_says_a_model_lacks_rules_it_out(
    request_: Request, reasons: dict[str, str]
) -> None:
    assert ruled_out(request_) == reasons


def test_of_a_model_that_is_not_listed_nothing_is_known() -> None:
    facts = facts_of(["house-model"], parse_config(""))["house-model"]
    assert (facts.takes, facts.window) == ({}, None)


@pytest.mark.parametrize(
    ("model", "need", "takes"),
    [
        pytest.param("gpt-4o", "vision", True, id="stated"),
        pytest.param("gpt-3.5-turbo", "vision", False, id="a company's model: silence means no"),
        pytest.param("azure/gpt-4o", "pdf_input", None, id="documents: silence means nothing"),
        pytest.param("gpt-3.5-turbo", "pdf_input", False, id="documents without vision: silence means no"),
        pytest.param("gpt-4o", "web_search_options", None, id="search: silence means nothing"),
        pytest.param("ollama/llama3.1", "vision", None, id="a program's model: silence means nothing"),
        pytest.param("hosted_vllm/gpt-3.5-turbo", "vision", None, id="an own server, whatever the name"),
        pytest.param("claude-haiku-4-5", "logprobs", False, id="its provider has none"),
        pytest.param("claude-haiku-4-5", "n", False, id="its provider gives one answer"),
        pytest.param("gpt-4o", "logprobs", None, id="its provider may have them"),
        pytest.param("house-model", "vision", None, id="not listed"),
    ],
)
def test_an_ability_is_known_unknown_or_missing(model: str, need: str, takes: bool | None) -> None:
    assert facts_of([model], parse_config(""))[model].takes.get(need) is takes


@pytest.mark.parametrize(
    ("capabilities", "request_", "left"),
    [
        pytest.param("vision: false", showing(PICTURE), False, id="no images after all"),
        pytest.param("tools: false", Request.of("hi", tools=[TOOL]), False, id="no tools after all"),
        pytest.param(
            "json_schema: false", Request.of("hi", response_format=SCHEMA), False, id="no schema after all"
        ),
        pytest.param("parameters: {audio_input: true}", showing(SOUND), True, id="audio after all"),
        pytest.param("parameters: {pdf_input: false}", showing(DOCUMENT), False, id="no documents after all"),
        pytest.param(
            "parameters: {reasoning_effort: true}",
            asking(reasoning_effort="low"),
            True,
            id="a parameter after all",
        ),
        pytest.param(
            "parameters: {logprobs: false}", asking(logprobs=True), False, id="no log probabilities"
        ),
        pytest.param("parameters: {logprobs: false}", asking(logprobs=False), True, id="none asked for"),
        pytest.param("parameters: {logit_bias: false}", asking(logit_bias={"1": 2}), False, id="another one"),
        pytest.param(
            "parameters: {logit_bias: false}", asking(), True, id="another one that is not asked for"
        ),
        pytest.param(
            "parameters: {temperature: false}", asking(temperature=1), True, id="one that is dropped"
        ),
    ],
)
def test_the_settings_come_before_the_list(capabilities: str, request_: Request, left: bool) -> None:
    found = ruled_out(request_, config=f"models: {{gpt-4o: {{capabilities: {{{capabilities}}}}}}}")
    assert ("gpt-4o" not in found) is left


@pytest.mark.parametrize(
    "handled", ["drop: [reasoning_effort]", "map: {reasoning_effort: {'*': {thinking: true}}}"]
)
def test_a_parameter_that_the_settings_drop_or_map_rules_nothing_out(handled: str) -> None:
    found = ruled_out(asking(reasoning_effort="low"), config=f"models: {{gpt-4o: {{{handled}}}}}")
    assert "gpt-4o" not in found


def test_a_model_is_looked_up_by_the_name_that_litellm_is_called_with() -> None:
    found = ruled_out(showing(PICTURE), config="models: {house-model: {litellm_model: openai/gpt-3.5-turbo}}")
    assert found["house-model"] == "takes no images"


@pytest.mark.parametrize(
    ("words", "window", "left"),
    [
        pytest.param(700, 1_000, True, id="fits"),
        pytest.param(1_300, 1_000, False, id="does not fit"),
        pytest.param(300_000, 200_000, False, id="much too long"),
        pytest.param(100, 1_000_000, True, id="far below"),
    ],
)
def test_a_request_that_does_not_fit_the_window_is_ruled_out(words: int, window: int, left: bool) -> None:
    config = f"models: {{house-model: {{capabilities: {{context_tokens: {window}}}}}}}"
    found = ruled_out("word " * words, config=config, tokens=float(words))
    assert ("house-model" not in found) is left


def test_the_reason_of_a_long_request_tells_its_tokens() -> None:
    config = "models: {house-model: {capabilities: {context_tokens: 1000}}}"
    told = ruled_out("word " * 1_300, config=config)["house-model"]
    assert re.fullmatch(r"about 1,30\d tokens don't fit its 1,000", told)


def test_the_lists_window_counts_where_the_settings_have_none() -> None:
    found = ruled_out("word " * 12_000, tokens=12_000.0)
    assert set(found) == {"ollama/llama3.1"}


@pytest.mark.parametrize(
    ("model", "shared"),
    [
        pytest.param("hosted_vllm/qwen", True, id="vLLM refuses what does not fit with its answer"),
        pytest.param("ollama/llama3.1", False, id="Ollama cuts the answer"),
        pytest.param("mistral/mistral-large-latest", True, id="the list has one number for both"),
        pytest.param("gpt-5", False, id="the list has two"),
        pytest.param("house-model", False, id="unknown"),
    ],
)
def test_a_window_is_shared_with_the_answer_where_that_is_known(model: str, shared: bool) -> None:
    assert facts_of([model], parse_config(""))[model].shared is shared


def test_claudes_tokens_are_counted_for_its_window() -> None:
    config = parse_config(
        "models: {claude: {capabilities: {context_tokens: 1000}}, m: {capabilities: {context_tokens: 1000}}}"
    )
    found = LimitCheck(["claude", "m"], config).rule_out(Request.of("word " * 900), NO_WISHES, 900.0, {})
    assert set(found) == {"claude"}


@pytest.mark.parametrize(
    ("part", "left"),
    [
        pytest.param({"type": "text", "text": "hi"}, True, id="no mark"),
        pytest.param({"type": "text", "text": "hi", "cache_control": {"type": "5m"}}, False, id="mark"),
    ],
)
def test_a_cap_counts_what_the_provider_asks_for_writing_its_cache(part: Json, left: bool) -> None:
    limits = LimitCheck(["claude-sonnet-4-5"], parse_config("limits: {max_cost_usd: 0.01}"))
    found = limits.rule_out(showing(part), NO_WISHES, 5.0, {"claude-sonnet-4-5": 0.009})
    assert (found == {}) is left


def test_the_answer_asked_for_counts_where_the_window_is_shared() -> None:
    config = parse_config("models: {hosted_vllm/q: {capabilities: {context_tokens: 2000}}}")
    limits = LimitCheck(["hosted_vllm/q"], config)
    request = Request.of("word " * 900, parameters={"max_tokens": 1_500})
    told = limits.rule_out(request, NO_WISHES, 900.0, {})["hosted_vllm/q"]
    assert re.fullmatch(r"about 90\d tokens and an answer of 1,500 don't fit its 2,000", told)


@pytest.mark.parametrize(
    ("wish", "setting", "left"),
    [
        pytest.param(None, None, True, id="no cap"),
        pytest.param(0.01, None, True, id="below the request's"),
        pytest.param(0.001, None, True, id="exactly at the cap"),
        pytest.param(0.0005, None, False, id="over the request's"),
        pytest.param(None, 0.0005, False, id="over the settings'"),
        pytest.param(0.01, 0.0005, False, id="a request can't lift the settings' cap"),
        pytest.param(0.0005, 0.01, False, id="a request can lower it"),
        pytest.param(0.0, None, False, id="nothing may be spent"),
    ],
)
def test_a_model_that_costs_more_than_the_cap_is_ruled_out(
    wish: float | None, setting: float | None, left: bool
) -> None:
    config = f"limits: {{max_cost_usd: {setting}}}" if setting is not None else ""
    assert (ruled_out(wishes=Wishes(max_cost_usd=wish), config=config) == {}) is left


def test_a_cap_refuses_a_model_that_bills_searches_whatever_the_request() -> None:
    models = ["perplexity/sonar", "gpt-4o-search-preview", "gpt-4o", "ours"]
    check = LimitCheck(models, parse_config("models: {ours: {litellm_model: openai/gpt-5-search-api}}"))
    cost = dict.fromkeys(models, 0.001)
    found = check.rule_out(Request.of("Who won?"), Wishes(max_cost_usd=0.01), 10.0, cost)
    assert set(found) == set(models) - {"gpt-4o"}
    assert found["ours"].startswith(
        "costs an unknown amount, as nobody can count its searches before the call"
    )
    assert check.rule_out(Request.of("Who won?"), Wishes(), 10.0, cost) == {}


@pytest.mark.parametrize(
    ("cost", "reason"),
    [
        pytest.param({"gpt-4o": 0.02}, "expected to cost $0.020, over the cap of $0.010", id="over"),
        pytest.param({"gpt-4o": math.nan}, "costs an unknown amount, and the cap is $0.010", id="unknown"),
        pytest.param({}, "costs an unknown amount, and the cap is $0.010", id="missing"),
    ],
)
def test_the_reason_tells_cost_and_cap(cost: dict[str, float], reason: str) -> None:
    assert ruled_out(wishes=Wishes(max_cost_usd=0.01), cost=cost)["gpt-4o"] == reason


def test_without_a_cap_an_unknown_cost_rules_nothing_out() -> None:
    assert ruled_out(cost=dict.fromkeys(MODELS, math.nan)) == {}


def test_a_free_model_is_left_when_nothing_may_be_spent() -> None:
    found = ruled_out(wishes=Wishes(max_cost_usd=0.0), cost={**CHEAP, "ollama/llama3.1": 0.0})
    assert "ollama/llama3.1" not in found


def test_the_first_reason_is_told() -> None:
    found = ruled_out(showing(PICTURE), Wishes(deny=["gpt-3.5-turbo"], local_only=True, max_cost_usd=0.0))
    assert found["gpt-3.5-turbo"] == DENIED
    assert found["gpt-4o"] == NOT_LOCAL


def test_a_whole_conversation_is_looked_at() -> None:
    turns: list[Json] = [
        {"role": "system", "content": ""},
        {"role": "user", "content": [{"type": "text", "text": "what is this?"}, PICTURE]},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "function": {"name": "f"}}]},
        {"role": "tool", "tool_call_id": "1", "content": "a tree"},
    ]
    config = "models: {house-model: {capabilities: {tools: false}}}"
    assert ruled_out(Request.of(turns), config=config) == {
        "gpt-3.5-turbo": "takes no images",
        "house-model": "takes no tools",
    }


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> Never:
        raise AssertionError("something asked the network")

    monkeypatch.setattr(socket, "getaddrinfo", refused)
    monkeypatch.setattr(socket.socket, "connect", refused)


@pytest.mark.usefixtures("no_network")
def test_an_images_address_is_never_asked() -> None:
    near = showing(*[PICTURE] * 5, {"type": "text", "text": "word " * 1_500})
    assert "ollama/llama3.1" in ruled_out(near, tokens=1_500.0)


@pytest.mark.usefixtures("no_network")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(requests(), st.booleans(), st.none() | st.floats(0, 1), st.floats(0, 1e7))
def test_no_legal_request_stops_the_limits(
    request_: Request, local_only: bool, cap: float | None, tokens: float
) -> None:
    wishes = Wishes(local_only=local_only, max_cost_usd=cap)
    found = ruled_out(request_, wishes, config="limits: {local_only_tags: [x]}", tokens=tokens)
    assert set(found) <= set(MODELS)
    assert all(0 < len(reason) < 120 for reason in found.values())


@pytest.mark.parametrize("name", ["\U0002ebe1" * 500, "\x1f" * 500, "a'b\"c\\" * 100, "\ud800" * 500])
def test_a_reason_is_one_short_line_whatever_a_callers_argument_is_called(name: str) -> None:
    reason = Stray(limit="local_only_tags", name=name).short
    assert len(reason) < 120
    assert "\x1f" not in reason


@pytest.mark.parametrize(
    "text", [pytest.param("a" * 10_000_000, id="one letter"), pytest.param("a b " * 2_500_000, id="words")]
)
def test_ten_megabytes_are_ruled_out_where_they_do_not_fit(text: str) -> None:
    found = ruled_out(text, tokens=5.0)
    assert set(found) == set(MODELS) - {"house-model"}


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(showing(SOUND), id="audio"),
        pytest.param(showing(DOCUMENT), id="a document"),
        pytest.param(showing({"type": "weird", "id": "1"}), id="a part that nobody knows"),
        pytest.param(asking(modalities=["audio"]), id="a spoken answer"),
        pytest.param(asking(web_search_options={}), id="a search"),
        pytest.param(Request.of("hi", tools=[{"a": [1] * 200_000}]), id="too many values"),
    ],
)
def test_what_can_not_be_counted_is_over_every_cap_unless_it_is_free(request_: Request) -> None:
    cost = {**CHEAP, "ollama/llama3.1": 0.0}
    capped = ruled_out(request_, Wishes(max_cost_usd=1e9), cost=cost)
    uncapped = ruled_out(request_, cost=cost)
    assert set(capped) == set(MODELS) - ({"ollama/llama3.1"} - uncapped.keys())
