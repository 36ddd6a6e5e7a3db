from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from router.models.prices import (
    CACHED,
    ModelPrice,
    PriceTable,
    cached_price_of,
    current_prices,
    listed_price,
)
from router.records import BoolArray, FloatArray
from router.settings.sections import Config
from router.settings.yaml_file import parse_config
from tests.training.logs import made_table
from training.prompts.pricing import LEAST_CALLS, logged_prices, price_differences
from training.prompts.table import PromptTable

INPUT, OUTPUT = 2.5e-6, 1e-5


def tokens(n: int = 60) -> tuple[FloatArray, FloatArray]:
    random = np.random.default_rng(2)
    return random.integers(20, 2000, n).astype(float), random.integers(5, 900, n).astype(float)


def table_with(cost: FloatArray, inputs: FloatArray, outputs: FloatArray, model: str = "a") -> PromptTable:
    """A log of one model with these costs and tokens."""
    table = made_table([[1.0]] * len(cost), cost[:, None].tolist())
    return replace(table, models=(model,), input_tokens=inputs[:, None], output_tokens=outputs[:, None])


def price_of(cost: FloatArray, inputs: FloatArray, outputs: FloatArray) -> ModelPrice:
    return logged_prices(table_with(cost, inputs, outputs))["a"]


def test_prices_per_token_are_recovered_from_costs_and_tokens() -> None:
    inputs, outputs = tokens()
    price = price_of(INPUT * inputs + OUTPUT * outputs, inputs, outputs)
    assert (price.per_input_token, price.per_output_token) == pytest.approx((INPUT, OUTPUT))
    assert (price.per_call, price.source) == (0.0, "log")


def test_noise_in_the_costs_moves_the_prices_little() -> None:
    inputs, outputs = tokens(500)
    noise = np.random.default_rng(3).normal(1.0, 0.05, 500)
    price = price_of((INPUT * inputs + OUTPUT * outputs) * noise, inputs, outputs)
    assert (price.per_input_token, price.per_output_token) == pytest.approx((INPUT, OUTPUT), rel=0.05)


def test_a_price_is_never_negative() -> None:
    inputs, outputs = tokens()
    price = price_of(np.maximum(OUTPUT * outputs - 1e-6 * inputs, 0.0), inputs, outputs)
    assert price.per_input_token >= 0
    assert price.per_output_token > 0


def test_a_free_model_costs_nothing() -> None:
    inputs, outputs = tokens()
    price = price_of(np.zeros(60), inputs, outputs)
    assert (price.per_input_token, price.per_output_token, price.per_call) == (0.0, 0.0, 0.0)


def test_calls_without_tokens_give_their_mean_cost_a_call() -> None:
    cost = np.linspace(0.01, 0.03, 60)
    unknown = np.full(60, np.nan)
    price = price_of(cost, unknown, unknown)
    assert (price.per_input_token, price.per_output_token) == (0.0, 0.0)
    assert price.per_call == pytest.approx(0.02)


def test_too_few_calls_with_tokens_give_their_mean_cost() -> None:
    inputs, outputs = tokens()
    few = np.arange(60) < LEAST_CALLS - 1
    price = price_of(INPUT * inputs + OUTPUT * outputs, np.where(few, inputs, np.nan), outputs)
    assert price.per_call > 0


def test_costs_that_tokens_do_not_explain_give_their_mean() -> None:
    inputs, outputs = tokens()
    cost = np.random.default_rng(4).uniform(0.01, 0.5, 60)
    assert price_of(cost, inputs, outputs).per_call == pytest.approx(cost.mean())


def test_a_model_without_any_cost_has_no_logged_price() -> None:
    assert logged_prices(table_with(np.full(60, np.nan), *tokens())) == {}


def differences(factor: float, model: str = "gpt-4o") -> list[str]:
    """The sentence on a model whose calls cost `factor` times its list price."""
    listed = listed_price("gpt-4o")
    assert listed is not None
    inputs, outputs = tokens()
    cost = factor * (listed.per_input_token * inputs + listed.per_output_token * outputs)
    table = table_with(cost, inputs, outputs, model)
    return price_differences(logged_prices(table), table)


def test_half_the_list_price_is_worth_a_sentence() -> None:
    assert differences(0.5) == ["gpt-4o: its calls cost 0.50 times LiteLLM's list price"]


def test_costs_in_another_unit_are_named_with_it() -> None:
    (sentence,) = differences(1e6)
    assert "1,000,000.00 times LiteLLM's list price; they look like millionths of a dollar" in sentence


def test_three_times_the_list_price_is_worth_a_sentence() -> None:
    assert differences(3.0) == ["gpt-4o: its calls cost 3.00 times LiteLLM's list price"]


@pytest.mark.parametrize("factor", [pytest.param(1.0, id="equal"), pytest.param(0.9, id="a discount")])
def test_about_the_list_price_is_not_worth_a_sentence(factor: float) -> None:
    assert differences(factor) == []


def test_a_model_that_litellm_does_not_list_has_nothing_to_differ_from() -> None:
    assert differences(0.5, model="our-own-model") == []


LISTED = "gpt-4o"
LATER_SHARE, FIRST_SHARE = 0.8, 0.1


def cached_log(n: int, later_share: float, seed: int) -> tuple[PromptTable, BoolArray]:
    """Calls at the list price of which conversations read most of their input from the cache."""
    random = np.random.default_rng(seed)
    later = random.random(n) < later_share
    inputs, outputs = tokens(n)
    inputs = np.round(inputs * np.where(later, 4.0, 1.0))
    share = np.clip(np.where(later, LATER_SHARE, FIRST_SHARE) + random.normal(0.0, 0.05, n), 0.0, 1.0)
    cached = np.round(inputs * share)
    listed, cheaper = listed_price(LISTED), cached_price_of(LISTED, Config())
    assert listed is not None
    assert cheaper is not None
    cost = (inputs - (1.0 - cheaper) * cached) * listed.per_input_token + outputs * listed.per_output_token
    table = table_with(cost, inputs, outputs, LISTED)
    return replace(table, cached_input_tokens=cached[:, None]), later


@pytest.mark.parametrize("prices", ["log", "litellm"])
def test_what_conversations_read_from_the_cache_brings_the_predicted_total_closer(prices: str) -> None:
    """The router is trained on few conversations, and serves many."""
    (table, later), (served, served_later) = cached_log(600, 0.3, seed=1), cached_log(600, 0.8, seed=2)
    config = parse_config(f"prices: {prices}")
    error = {}
    for name, logged in (
        ("before", logged_prices(table)), ("now", logged_prices(table, config, later)),
    ):  # fmt: skip
        known = {model: price.to_json() for model, price in logged.items()}
        price = PriceTable.of([current_prices([LISTED], known, config)[LISTED]])
        expected = price.expected_cost(served.input_tokens, served.output_tokens, later=served_later)
        error[name] = abs(expected.sum() / served.cost.sum() - 1)
    assert error["now"] < 0.03, error
    assert error["now"] < 0.3 * error["before"], error


def test_the_price_of_uncached_input_and_the_shares_are_recovered() -> None:
    table, later = cached_log(600, 0.5, seed=1)
    price, listed = logged_prices(table, Config(), later)[LISTED], listed_price(LISTED)
    assert listed is not None
    assert price.per_input_token == pytest.approx(listed.per_input_token)
    assert (price.cached_first, price.cached_later) == pytest.approx((FIRST_SHARE, LATER_SHARE), abs=0.01)
    assert set(price.to_json()) > set(CACHED)


@pytest.mark.parametrize(
    ("model", "kept"),
    [
        pytest.param(LISTED, 0, id="no call counts them"),
        pytest.param(LISTED, LEAST_CALLS - 1, id="too few calls count them"),
        pytest.param("house-model", 600, id="nobody says what a cached token costs"),
    ],
)
def test_without_known_cached_tokens_the_price_is_as_ever(model: str, kept: int) -> None:
    table, later = cached_log(600, 0.5, seed=1)
    assert table.cached_input_tokens is not None
    cached = table.cached_input_tokens.copy()
    cached[kept:] = np.nan
    table = replace(table, models=(model,), cached_input_tokens=cached)
    plain = logged_prices(replace(table, cached_input_tokens=None))
    found = logged_prices(table, Config(), later)
    assert {name: one.to_json() for name, one in found.items()} == {n: p.to_json() for n, p in plain.items()}
