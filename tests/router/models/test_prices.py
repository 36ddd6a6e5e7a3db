from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version

import litellm
import numpy as np
import pytest

from router.calling.attempt import Usage
from router.calling.reply import cost_at
from router.models import model_list
from router.models.prices import (
    Factor,
    ModelPrice,
    OtherTokens,
    PriceTable,
    current_prices,
    listed_price,
    wants_speech,
)
from router.models.starter import CHATS
from router.records import Json
from router.settings.sections import Price
from router.settings.yaml_file import parse_config

LOGGED: Mapping[str, Json] = {"per_input_token": 1.0, "per_output_token": 2.0, "per_call": 3.0}
OURS = "models: {gpt-4o: {price: {input_usd_per_million: 7, output_usd_per_million: 8}}}\n"

newer_list = pytest.mark.skipif(
    tuple(map(int, version("litellm").split(".")[:2])) < (1, 106),
    reason="an older LiteLLM lists other prices",
)


@pytest.fixture
def no_price_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine without LiteLLM."""
    monkeypatch.setattr(model_list, "price_list", dict)


@pytest.mark.parametrize(
    ("model", "settings", "in_log", "source"),
    [
        pytest.param("gpt-4o", OURS, True, "config", id="the settings come first"),
        pytest.param("gpt-4o", OURS + "prices: litellm", True, "config", id="before LiteLLM's list too"),
        pytest.param("gpt-4o", "", True, "log", id="then the log"),
        pytest.param("gpt-4o", "prices: litellm", True, "litellm", id="the list before the log, if wished"),
        pytest.param("gpt-4o", "", False, "litellm", id="a model without calls is looked up"),
        pytest.param("house-model", "prices: litellm", True, "log", id="the log for one not listed"),
        pytest.param("house-model", "", False, "unknown", id="unknown to all"),
    ],
)
def test_the_price_comes_from_the_first_that_knows_it(
    model: str, settings: str, in_log: bool, source: str
) -> None:
    logged = {model: LOGGED} if in_log else {}
    assert current_prices([model], logged, parse_config(settings))[model].source == source


def test_a_price_of_the_settings_is_per_million_tokens() -> None:
    price = current_prices(["gpt-4o"], {}, parse_config(OURS))["gpt-4o"]
    assert (price.per_input_token, price.per_output_token) == pytest.approx((7e-6, 8e-6))


@pytest.mark.usefixtures("no_price_list")
def test_without_litellm_its_list_is_empty() -> None:
    assert listed_price("gpt-4o") is None


def test_a_model_of_another_provider_is_found_by_its_own_name() -> None:
    found = listed_price("some-proxy/gpt-4o")
    assert found is not None
    assert found == listed_price("gpt-4o")


def test_the_name_that_litellm_is_called_with_finds_the_price() -> None:
    ours = parse_config("models: {house-model: {litellm_model: openai/gpt-4o}}")
    assert current_prices(["house-model"], {}, ours)["house-model"] == listed_price("gpt-4o")


@pytest.mark.parametrize("model", ["dall-e-3", "no such model", ""])
def test_a_model_without_a_token_price_is_not_listed(model: str) -> None:
    assert listed_price(model) is None


def test_the_expected_cost_is_tokens_times_prices_and_the_price_of_the_call() -> None:
    table = PriceTable.of([ModelPrice(**LOGGED, source="log"), ModelPrice.unknown()])
    cost = table.expected_cost(np.array([[10.0, 10.0]]), np.array([[5.0, 5.0]]))
    assert cost[0, 0] == 10 * 1 + 5 * 2 + 3
    assert math.isnan(cost[0, 1])


LONG = {"tokens": 200_000, "input_usd_per_million": 14.0, "output_usd_per_million": 12.0}
TIERED = {
    "input_usd_per_million": 7.0,
    "output_usd_per_million": 8.0,
    "above": LONG,
    "service_tiers": {"flex": {"input_usd_per_million": 3.5, "output_usd_per_million": 4.0}},
}


@pytest.mark.parametrize(
    ("tokens", "tier", "usd"),
    [
        pytest.param(200_000, None, 1.4 + 0.008, id="up to the length"),
        pytest.param(200_001, None, 2.8 + 0.012, id="above it, the whole call"),
        pytest.param(100_000, "flex", 0.35 + 0.004, id="a service tier"),
        pytest.param(300_000, "flex", 4.2 + 0.012, id="both"),
        pytest.param(100_000, "priority", 0.7 + 0.008, id="a tier without a price"),
        pytest.param(100_000, ["flex"], 0.7 + 0.008, id="no tier at all"),
    ],
)
def test_length_and_tier_change_the_expected_and_the_logged_cost_alike(
    tokens: int, tier: Json, usd: float
) -> None:
    own = Price.model_validate(TIERED)
    table = PriceTable.of([ModelPrice.of_settings(own)])
    assert table.expected_cost(np.array([[tokens]]), np.array([[1_000]]), [tier]) == pytest.approx(usd, 1e-4)
    assert cost_at(own, Usage(input_tokens=tokens, output_tokens=1_000), tier) == pytest.approx(usd, 1e-4)


@pytest.mark.parametrize("tier", [None, "flex", "priority"])
@pytest.mark.parametrize("tokens", [1_000, 250_000, 400_000])
@pytest.mark.parametrize("model", ["gpt-5", "gpt-5.4", "claude-sonnet-4-5", "gemini/gemini-2.5-pro"])
def test_the_expected_cost_of_known_tokens_is_litellms(model: str, tokens: int, tier: str | None) -> None:
    price = listed_price(model)
    assert price is not None
    expected = PriceTable.of([price]).expected_cost(np.array([[tokens]]), np.array([[1_000]]), [tier])
    parts = litellm.cost_per_token(model, prompt_tokens=tokens, completion_tokens=1_000, service_tier=tier)
    assert expected == pytest.approx(sum(parts), rel=0.001)


def test_a_price_from_the_log_changes_with_length_as_the_lists_does() -> None:
    price = current_prices(["gemini/gemini-2.5-pro"], {"gemini/gemini-2.5-pro": LOGGED}, parse_config(""))
    assert price["gemini/gemini-2.5-pro"].factor(300_000) == Factor(input=2.0, output=1.5)


def test_a_free_model_is_free_at_any_length() -> None:
    with pytest.raises(ValueError, match="can't be 0 and differ by length or service tier"):
        Price.model_validate({**TIERED, "input_usd_per_million": 0.0})


def test_a_price_survives_its_json_form() -> None:
    assert ModelPrice(**LOGGED, source="log").to_json() == LOGGED


WITH_CACHE: Mapping[str, Json] = {**LOGGED, "cached_price": 0.5, "cached_first": 0.2, "cached_later": 0.8}
CACHED_INPUT = (
    "models: {gpt-4o: {price: {input_usd_per_million: 8, output_usd_per_million: 8, "
    "cached_input_usd_per_million: 2}}}\n"
)


@pytest.mark.parametrize(
    ("model", "settings", "share"),
    [
        pytest.param("house-model", "", 0.5, id="of the log's own price"),
        pytest.param("gpt-4o", CACHED_INPUT, 0.25, id="of the settings"),
        pytest.param("gpt-4o", "prices: litellm", 0.5, id="of the list"),
        pytest.param("gpt-4", "prices: litellm", 1.0, id="the whole price if nobody says"),
    ],
)
def test_the_input_of_a_later_turn_costs_less_by_what_the_cache_is_expected_to_hold(
    model: str, settings: str, share: float
) -> None:
    price = current_prices([model], {model: WITH_CACHE}, parse_config(settings))[model]
    table = PriceTable.of([replace(price, per_output_token=0.0, per_call=0.0)])
    later = np.array([False, True])
    cost = table.expected_cost(np.full((2, 1), 10.0), np.ones((2, 1)), later=later)
    full = table.expected_cost(np.full((2, 1), 10.0), np.ones((2, 1)))
    assert (cost / full).ravel() == pytest.approx([1 - 0.2 * (1 - share), 1 - 0.8 * (1 - share)])


def test_a_price_without_cached_shares_is_written_and_priced_as_ever() -> None:
    price = ModelPrice(**LOGGED, source="log")
    assert price.to_json() == LOGGED
    tokens = np.ones((2, 1))
    table = PriceTable.of([price])
    later = np.array([True, False])
    assert (table.expected_cost(tokens, tokens, later=later) == table.expected_cost(tokens, tokens)).all()


COUNTED = re.compile(
    r"(input|output)_cost_per_token(_above_\d+k_tokens)?(_[a-z]+)?|cache_read_input_token_cost"
    r"|cache_creation_input_token_cost(_above_1hr)?|(input|output)_cost_per_audio_token"
    r"|input_cost_per_image_token|output_cost_per_reasoning_token|input_cost_per_request|tiered_pricing"
    r"|search_context_cost_per_query"
)
NOT_COUNTED = {
    r"cache_(read|creation)_input_token_cost_.*": "the same share of the input's price at any length or tier",
    r"cache_(read|creation)_input_audio_token_cost": "no audio is expected in a cache",
    r"input_cost_per_token_cache_hit": "cache_read_input_token_cost by another name",
    r"explicit_cache_read_input_token_cost": "less than is expected, for what a caller marks",
    r"off_peak_pricing": "less than is expected, at some hours",
    r"input_cost_per_audio_token_(batches|priority)": "the price without a tier is expected",
    r"input_cost_per_image": "of models that search or have no price per token: a cap never knows the cost",
    r"(input|output)_cost_per_(character|(audio|video)_per_second|image)_above_128k_tokens": "0",
    r"input_cost_per_audio_per_second": "0",
    r"(input|output)_cost_per_character": "beside a price per token; else the cost is unknown",
    r"(input_)?cost_per_second": "without a price per token: an unknown cost",
    r"input_cost_per_video_per_second": "a cap refuses video",
    r"output_cost_per_(image|image_token|video_token)": "a cap refuses `modalities`",
    r"citation_cost_per_token": "of a model that searches, whose cost a cap never knows",
    r"(google_maps_grounding|code_interpreter)_cost_per_\w+": "a cap refuses a provider's tools",
    r"(in|out)put_dbu_cost_per_token": "the price per token in another unit",
}
"""Prices of LiteLLM's list that expected costs leave out, and why."""


@newer_list
def test_each_price_of_a_model_that_answers_is_counted_or_left_out_for_a_reason() -> None:
    members = {
        name
        for entry in model_list.price_list().values()
        if entry.get("mode") in CHATS
        for name in entry
        if "cost" in name or "pricing" in name
    }
    others = {name for name in members if not COUNTED.fullmatch(name)}
    assert {name for name in others if not any(re.fullmatch(rule, name) for rule in NOT_COUNTED)} == set()
    assert {rule for rule in NOT_COUNTED if not any(re.fullmatch(rule, name) for name in others)} == set()


def entries(member: str) -> list[tuple[str, model_list.Entry]]:
    found = model_list.price_list().items()
    return [(name, entry) for name, entry in found if entry.get("mode") in CHATS and entry.get(member)]


@newer_list
def test_what_is_left_out_is_what_the_reasons_say() -> None:
    for name, entry in entries("input_cost_per_image_token"):
        assert entry["input_cost_per_image_token"] == entry["input_cost_per_token"], name
    for name, _ in entries("input_cost_per_image"):
        assert (
            model_list.bills_searches(name) or not (price := listed_price(name)) or not price.per_input_token
        )
    for member in ("input_cost_per_character", "input_cost_per_second"):
        known = [name for name, _ in entries(member) if listed_price(name) is not None]
        assert [name for name in known if not model_list.price_list()[name].get("input_cost_per_token")] == []
    assert [
        name for name, _ in entries("citation_cost_per_token") if not model_list.bills_searches(name)
    ] == []
    for name, entry in entries("input_cost_per_token_cache_hit"):
        assert entry["input_cost_per_token_cache_hit"] == entry["cache_read_input_token_cost"], name


@pytest.mark.parametrize("tokens", [1_000, 255_000, 300_000])
@pytest.mark.parametrize("model", ["dashscope/qwen-flash", "dashscope/qwen-plus-2025-07-28"])
def test_a_price_that_is_listed_by_ranges_of_length_is_litellms(model: str, tokens: int) -> None:
    price = listed_price(model)
    assert price is not None
    expected = PriceTable.of([price]).expected_cost(np.array([[tokens]]), np.array([[1_000]]))
    parts = litellm.cost_per_token(model, prompt_tokens=tokens, completion_tokens=1_000)
    assert expected == pytest.approx(sum(parts), rel=0.001)


@newer_list
@pytest.mark.parametrize("model", ["gpt-4o", "claude-haiku-4-5", "gemini/gemini-2.5-pro"])
def test_a_batch_costs_half(model: str) -> None:
    price = listed_price(model)
    assert price is not None
    assert price.factor(1_000, "batch") == Factor(input=0.5, output=0.5)
    assert price.factor(1_000, "batches") == Factor()


def test_a_model_that_searches_for_every_call_costs_a_search_more() -> None:
    prices = [listed_price(name) for name in ("perplexity/sonar", "gpt-4o", "perplexity/pplx-7b-online")]
    assert [price and price.per_call for price in prices] == [0.005, 0.0, 0.005]


AUDIO = "azure/gpt-audio"
OWN_AUDIO = (
    f"models: {{{AUDIO}: {{price: {{input_usd_per_million: 2, output_usd_per_million: 4, "
    "audio_input_usd_per_million: 20, audio_output_usd_per_million: 16}}}\n"
)


@newer_list
@pytest.mark.parametrize(
    ("settings", "logged", "other"),
    [
        pytest.param("", False, OtherTokens(heard=16.0, spoken=8.0), id="of the list"),
        pytest.param("", True, OtherTokens(heard=16.0, spoken=8.0), id="beside the log's price of text"),
        pytest.param(OWN_AUDIO, True, OtherTokens(heard=10.0, spoken=4.0), id="of the settings"),
        pytest.param(
            OWN_AUDIO.partition(", audio_input")[0] + "}}}\n",
            True,
            OtherTokens(heard=16.0, spoken=8.0),
            id="the list's multiple of the settings' text",
        ),
    ],
)
def test_audio_has_a_price_of_its_own(settings: str, logged: bool, other: OtherTokens) -> None:
    in_log = {AUDIO: LOGGED} if logged else {}
    found = current_prices([AUDIO], in_log, parse_config(settings))[AUDIO].other
    assert (found.heard, found.spoken) == pytest.approx((other.heard, other.spoken))


THINKER = "dashscope/qwen-plus-2025-04-28"


@newer_list
@pytest.mark.parametrize(
    ("model", "call", "factor"),
    [
        pytest.param("gpt-4o", {"modalities": ["text", "audio"]}, 1.0, id="none is listed"),
        pytest.param(AUDIO, {"modalities": ["text", "audio"]}, 8.0, id="speech"),
        pytest.param(AUDIO, {"modalities": ["text"]}, 1.0, id="text"),
        pytest.param(THINKER, {"reasoning_effort": "low"}, 4 / 1.2, id="thought"),
        pytest.param(THINKER, {"enable_thinking": True}, 4 / 1.2, id="thought by another name"),
        pytest.param(THINKER, {"reasoning_effort": "none"}, 1.0, id="no thought"),
    ],
)
def test_an_answer_that_is_spoken_or_thought_about_costs_more(model: str, call: Json, factor: float) -> None:
    price = listed_price(model)
    assert price is not None
    assert price.answer_factor(call) == pytest.approx(factor)


def test_an_action_that_thinks_has_the_price_of_thought_and_the_log_s_own_holds_it() -> None:
    high, plain, logged = f"{THINKER}@high", THINKER, f"{THINKER}@low"
    prices = current_prices([high, plain, logged], {logged: LOGGED}, parse_config(""))
    assert [prices[name].per_output_token for name in (high, plain, logged)] == pytest.approx(
        [4e-6, 1.2e-6, 2.0]
    )
    assert [prices[name].other.thought for name in (high, logged)] == [1.0, 1.0]


def test_a_spoken_answer_is_asked_for_by_its_word() -> None:
    values: list[Json] = ["audio", ["audio"], ["text"], None, [{}], 3]
    wanted = [wants_speech({"modalities": value}) for value in values]
    assert wanted == [True, True, False, False, False, False]
