from __future__ import annotations

import pytest

from router.calling.attempt import Usage
from router.errors import ConfigError
from router.models.model_list import listed_entry
from router.models.prices import ModelPrice
from router.records import Json, Request
from router.settings.sections import Config
from training.spending.cost_bound import Bound, bound_of, most_input_tokens

LOGGED = ModelPrice(per_input_token=1e-6, per_output_token=2e-6, per_call=0.5, source="log")
LISTED = {"litellm_model": "openai/gpt-4o-mini"}


def bound(settings: Json, price: ModelPrice | None = None, max_tokens: int = 100) -> Bound:
    return bound_of(
        "m", Config.model_validate({"models": {"m": settings}}), price or ModelPrice.unknown(), max_tokens
    )


def test_the_teams_own_price_is_the_price() -> None:
    own = {"price": {"input_usd_per_million": 3.0, "output_usd_per_million": 7.0}}
    found = bound({**LISTED, **own})
    assert (found.per_input_token, found.per_output_token) == pytest.approx((3e-6, 7e-6))


def test_without_one_the_highest_price_that_is_known_counts() -> None:
    entry = listed_entry("openai/gpt-4o-mini")
    assert entry is not None
    cheap = ModelPrice(per_input_token=0.0, per_output_token=0.0, per_call=0.0, source="log")
    found = bound(LISTED, cheap)
    assert found.per_input_token >= entry["input_cost_per_token"]
    assert found.per_output_token >= entry["output_cost_per_token"]


def test_a_price_that_only_the_log_shows_is_enough() -> None:
    found = bound({}, LOGGED)
    assert (found.per_input_token, found.per_output_token, found.per_call) == (1e-6, 2e-6, 0.5)


def test_a_model_without_a_price_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"models\.m\.price: no price is known"):
        bound({})


def test_the_longest_answer_is_asked_for_and_paid_for() -> None:
    found = bound(LISTED, LOGGED)
    assert (found.output_tokens, found.arguments) == (100, {"max_tokens": 100})


def test_a_models_own_longest_answer_holds() -> None:
    found = bound({**LISTED, "parameters": {"max_tokens": 7}}, LOGGED)
    assert (found.output_tokens, found.arguments) == (7, {})


def test_no_answer_is_longer_than_the_model_makes_them() -> None:
    entry = listed_entry("openai/gpt-4o-mini")
    assert entry is not None
    assert bound(LISTED, LOGGED, max_tokens=10**9).output_tokens == entry["max_output_tokens"]


def test_several_answers_are_paid_for() -> None:
    assert bound({**LISTED, "parameters": {"n": 3}}, LOGGED).output_tokens == 300


def test_a_model_whose_answers_nothing_bounds_is_refused() -> None:
    with pytest.raises(ConfigError, match="no budget could be kept"):
        bound({"drop": ["max_tokens"]}, LOGGED)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("What is the capital of France?", id="words"),
        pytest.param("\u4f60\u597d\uff0c\u4e16\u754c" * 20, id="Chinese"),
        pytest.param("\U0001f9ff\U0001fae8" * 20, id="rare characters"),
        pytest.param('{"a":[1,2,3]}' * 30, id="JSON"),
        pytest.param("", id="nothing"),
    ],
)
def test_no_tokenizer_makes_more_tokens_than_are_counted_on(text: str) -> None:
    import litellm

    request = Request.of(text)
    counted = litellm.token_counter(model="gpt-4", messages=list(request.messages))
    assert most_input_tokens(request) > counted


def test_tools_and_formats_are_counted() -> None:
    plain = most_input_tokens(Request.of("Hello"))
    tools = [{"type": "function", "function": {"name": "look_up"}}]
    assert most_input_tokens(Request.of("Hello", tools=tools)) > plain + 1000


def test_counted_tokens_cost_what_they_cost_and_unknown_ones_nothing_that_is_known() -> None:
    found = bound({}, LOGGED)
    assert found.of(Usage(input_tokens=10, output_tokens=5)) == pytest.approx(0.5 + 20e-6)
    assert found.of(Usage(input_tokens=10)) is None
    assert found.at_most(Request.of("Hello")) > 0.5
