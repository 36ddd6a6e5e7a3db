from __future__ import annotations

from types import SimpleNamespace

import pytest

from router.calling.attempt import Usage
from router.calling.reply import (
    cost_at,
    cost_of_response,
    cost_of_stream,
    counted_in,
    finish_reason_of,
    own_price,
    says_something,
    usage_of,
)
from router.models.litellm_import import litellm_module
from router.records import Json
from router.settings.sections import ModelSettings, Price

litellm = litellm_module()
Piece = litellm.types.utils.ModelResponseStream
Counted, ModelResponse = litellm.Usage, litellm.ModelResponse
TOOL = {"index": 0, "id": "1", "type": "function", "function": {"name": "f", "arguments": ""}}


def piece(*, finish_reason: str | None = None, **delta: Json) -> Json:
    return Piece(choices=[{"index": 0, "delta": delta, "finish_reason": finish_reason}])


@pytest.mark.parametrize(
    ("one", "saying"),
    [
        pytest.param(piece(role="assistant"), False, id="role"),
        pytest.param(piece(role="assistant", content=""), False, id="empty"),
        pytest.param(piece(content="a"), True, id="text"),
        pytest.param(piece(tool_calls=[TOOL]), True, id="tool"),
        pytest.param(piece(reasoning_content="hm"), True, id="reasoning"),
        pytest.param(piece(finish_reason="stop"), True, id="end"),
        pytest.param(Piece(choices=[]), False, id="no choice"),
        pytest.param(SimpleNamespace(), False, id="no piece at all"),
    ],
)
def test_a_piece_says_something_or_not(one: Json, saying: bool) -> None:
    assert says_something(one) is saying


def test_why_a_reply_ended_is_told_by_the_first_choice_that_did() -> None:
    two = Piece(
        choices=[
            {"index": 0, "delta": {}, "finish_reason": None},
            {"index": 1, "delta": {}, "finish_reason": "length"},
        ]
    )
    assert finish_reason_of(two) == "length"
    assert finish_reason_of(piece(content="a")) is None
    assert finish_reason_of(None) is None


def test_cached_and_reasoning_tokens_are_part_of_the_usage() -> None:
    counted = Counted(
        prompt_tokens=10,
        completion_tokens=5,
        total_tokens=15,
        prompt_tokens_details={"cached_tokens": 8},
        completion_tokens_details={"reasoning_tokens": 2},
    )
    assert usage_of(counted) == Usage(
        input_tokens=10, output_tokens=5, cached_input_tokens=8, reasoning_tokens=2
    )


def test_what_a_provider_does_not_detail_is_unknown() -> None:
    usage = usage_of(Counted(prompt_tokens=10, completion_tokens=5, total_tokens=15))
    assert (usage.cached_input_tokens, usage.reasoning_tokens) == (None, None)


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(SimpleNamespace(), id="nothing"),
        pytest.param(SimpleNamespace(usage=None), id="none"),
        pytest.param(SimpleNamespace(usage=Counted(0, 0, 0)), id="zeros"),
        pytest.param(SimpleNamespace(usage=Counted(0, 7, 7)), id="counted by LiteLLM"),
    ],
)
def test_token_counts_that_are_not_the_providers_are_none(reply: Json) -> None:
    assert counted_in(reply) is None
    assert usage_of(counted_in(reply)) == Usage()


def test_token_counts_may_be_noted_beside_the_piece() -> None:
    counted = Counted(3, 4, 7)
    assert counted_in(SimpleNamespace(_hidden_params={"usage": counted})) is counted


@pytest.mark.parametrize(
    ("price", "usage", "cost"),
    [
        pytest.param((1.0, 2.0), Usage(input_tokens=1000, output_tokens=500), 0.002, id="counted"),
        pytest.param((1.0, 2.0), Usage(output_tokens=500), None, id="not counted"),
        pytest.param((0.0, 0.0), Usage(), 0.0, id="free"),
        pytest.param(
            (1.0, 2.0), Usage(input_tokens=1000, output_tokens=0, cached_input_tokens=800), 0.001, id="cached"
        ),
        pytest.param((0.0, 2.0), Usage(), None, id="only the input free"),
        pytest.param(
            (1.0, 2.0),
            Usage(input_tokens=1000, output_tokens=0, cached_input_tokens=800, cache_write_tokens=100),
            0.001,
            id="written into the cache",
        ),
    ],
)
def test_a_price_of_the_teams_own_is_per_million_tokens(
    price: tuple[float, float], usage: Usage, cost: float | None
) -> None:
    own = Price(input_usd_per_million=price[0], output_usd_per_million=price[1])
    assert cost_at(own, usage) == (None if cost is None else pytest.approx(cost))


@pytest.mark.parametrize(
    ("model", "stated", "cost"),
    [
        pytest.param("gpt-5", None, 0.00028, id="a tenth, as LiteLLM lists it"),
        pytest.param("gpt-5", 0.5, 0.0006, id="as stated"),
        pytest.param("our-own", None, 0.001, id="not listed, so no discount"),
    ],
)
def test_cached_input_costs_what_the_provider_asks_for_it(
    model: str, stated: float | None, cost: float
) -> None:
    price = Price(input_usd_per_million=1.0, output_usd_per_million=2.0, cached_input_usd_per_million=stated)
    own = own_price(model, ModelSettings(price=price))
    usage = Usage(input_tokens=1000, output_tokens=0, cached_input_tokens=800)
    assert own is not None
    assert cost_at(own, usage) == pytest.approx(cost)


def test_what_is_written_into_the_cache_costs_what_the_provider_asks_for_it() -> None:
    price = Price(input_usd_per_million=4.0, output_usd_per_million=0.0)
    own = own_price("claude-sonnet-4-5", ModelSettings(price=price))
    counted = Counted(1000, 0, 1000)
    counted.prompt_tokens_details = SimpleNamespace(cached_tokens=200, cache_creation_tokens=600)
    assert own is not None
    assert cost_at(own, usage_of(counted)) == pytest.approx((200 * 4 + 200 * 0.4 + 600 * 5) / 1e6)


@pytest.mark.parametrize(
    ("model", "stated", "dollars"),
    [
        pytest.param("gpt-audio", {}, 200 * 4 + 800 * 4 * 12.8 + 20 * 8 + 80 * 8 * 6.4, id="as listed"),
        pytest.param(
            "gpt-audio",
            {"audio_input_usd_per_million": 40.0, "audio_output_usd_per_million": 80.0},
            200 * 4 + 800 * 40 + 20 * 8 + 80 * 80,
            id="as stated",
        ),
        pytest.param("our-own", {}, 1000 * 4 + 100 * 8, id="as text"),
    ],
)
def test_audio_costs_what_expected_costs_say(model: str, stated: dict[str, float], dollars: float) -> None:
    price = Price.model_validate({"input_usd_per_million": 4.0, "output_usd_per_million": 8.0, **stated})
    own = own_price(model, ModelSettings(price=price))
    counted = Counted(1000, 100, 1100)
    counted.prompt_tokens_details = SimpleNamespace(audio_tokens=800)
    counted.completion_tokens_details = SimpleNamespace(audio_tokens=80)
    assert own is not None
    assert cost_at(own, usage_of(counted)) == pytest.approx(dollars / 1e6)


@pytest.mark.parametrize(("noted", "cost"), [(0.5, 0.5), (0, 0.0), (None, None)])
def test_a_responses_cost_is_the_one_that_litellm_noted(noted: float | None, cost: float | None) -> None:
    response = SimpleNamespace(model="gpt-4o-mini", _hidden_params={"response_cost": noted})
    assert cost_of_response(response, Counted(1000, 0, 1000)) == cost


def test_a_response_that_litellm_did_not_price_is_priced_by_its_tokens() -> None:
    response = ModelResponse(model="gpt-4o-mini")
    assert cost_of_response(response, Counted(1000, 0, 1000)) == pytest.approx(1000 * 0.15 / 1e6)


def test_a_streams_cost_is_the_one_that_litellm_noted_with_its_tokens() -> None:
    counted = Counted(prompt_tokens=1000, completion_tokens=0, total_tokens=1000, cost=0.25)
    assert cost_of_stream(piece(), counted) == 0.25


def test_a_stream_that_litellm_did_not_price_is_priced_by_its_tokens() -> None:
    last = SimpleNamespace(model="gpt-4o-mini", _hidden_params={"custom_llm_provider": "openai"})
    assert cost_of_stream(last, Counted(1000, 0, 1000)) == pytest.approx(1000 * 0.15 / 1e6)


def test_a_stream_without_a_piece_costs_an_unknown_amount() -> None:
    assert cost_of_stream(None, None) is None
