from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import litellm
import numpy as np
import pytest

from router.calling.attempt import Usage
from router.calling.reply import cost_at
from router.models import model_list
from router.models.prices import Factor, ModelPrice, PriceTable, current_prices, listed_price
from router.records import Json
from router.settings.sections import Price
from router.settings.yaml_file import parse_config

LOGGED: Mapping[str, Json] = {"per_input_token": 1.0, "per_output_token": 2.0, "per_call": 3.0}
OURS = "models: {gpt-4o: {price: {input_usd_per_million: 7, output_usd_per_million: 8}}}\n"


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
