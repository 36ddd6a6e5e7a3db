from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from litellm.exceptions import APIConnectionError, RateLimitError, Timeout
from litellm.types.utils import ModelResponse, ModelResponseStream, Usage

from router.calling.attempt import ErrorKind
from router.proxying.outcome import CACHED, answered, failed, outcome_of_event, streamed
from router.records import Json

USAGE = Usage(prompt_tokens=10, completion_tokens=4, total_tokens=14)


def response(cost: float | None, model: str = "gpt-4o") -> ModelResponse:
    choice = {"finish_reason": "length", "index": 0, "message": {"role": "assistant", "content": "Yes"}}
    whole = ModelResponse(model=model, choices=[choice], usage=USAGE)
    whole._hidden_params = {"response_cost": cost, "litellm_model_name": f"openai/{model}"}
    return whole


def test_an_answer_brings_tokens_cost_and_the_reason_of_its_end() -> None:
    outcome = answered(response(0.5))
    assert (outcome.kind, outcome.cost_usd, outcome.finish_reason) == (None, 0.5, "length")
    assert (outcome.usage.input_tokens, outcome.usage.output_tokens) == (10, 4)


@pytest.mark.parametrize(
    ("model", "cost"),
    [
        pytest.param("our-own-model", None, id="without a price it is unknown"),
        pytest.param("ollama/llama3", 0.0, id="free by LiteLLM's list"),
        pytest.param("gpt-4o", None, id="priced, but not counted"),
    ],
)
def test_where_litellm_says_that_a_call_cost_nothing(model: str, cost: float | None) -> None:
    assert answered(response(0.0, model)).cost_usd == cost


def test_an_answer_from_the_cache_costs_nothing_and_says_so() -> None:
    outcome = answered(response(0.5), cached=True)
    assert (outcome.cost_usd, outcome.notes) == (0.0, (CACHED,))


def test_a_stream_costs_what_litellm_says_with_its_token_counts() -> None:
    counts = Usage(prompt_tokens=10, completion_tokens=4, total_tokens=14, cost=0.125)
    outcome = streamed(ModelResponseStream(model="smart", choices=[], usage=counts), "stop", 7.0)
    assert (outcome.cost_usd, outcome.finish_reason, outcome.first_token) == (0.125, "stop", 7.0)
    assert (outcome.stream, outcome.usage.input_tokens) == (True, 10)


def test_a_stream_without_counts_has_an_unknown_cost() -> None:
    outcome = streamed(None, "stop", None)
    assert (outcome.cost_usd, outcome.usage.input_tokens) == (None, None)


def test_a_success_event_tells_of_time_and_cost() -> None:
    begin, end = datetime(2026, 1, 1, 12, 0, 1), datetime(2026, 1, 1, 12, 0, 2)
    event = {"stream": True, "response_cost": 0.25, "model": "gpt-4o", "completion_start_time": begin}
    outcome = outcome_of_event(event, response(None), end)
    assert (outcome.cost_usd, outcome.first_token, outcome.ended) == (
        0.25,
        begin.timestamp(),
        end.timestamp(),
    )


def test_of_an_answer_in_one_piece_no_first_token_is_told() -> None:
    event: dict[str, Json] = {"completion_start_time": datetime(2026, 1, 1), "cache_hit": True}
    outcome = outcome_of_event(event, response(None), None)
    assert (outcome.first_token, outcome.ended, outcome.cost_usd) == (None, None, 0.0)


def limited() -> RateLimitError:
    return RateLimitError(message="slow down", llm_provider="openai", model="gpt-4o")


def lost() -> APIConnectionError:
    return APIConnectionError(message="lost", llm_provider="openai", model="gpt-4o")


@pytest.mark.parametrize(
    ("error", "begun", "kind"),
    [
        pytest.param(limited(), False, "rate_limit", id="rate limit"),
        pytest.param(lost(), False, "connection", id="connection"),
        pytest.param(lost(), True, "broken_stream", id="connection, after the first piece"),
        pytest.param(Timeout("late", "gpt-4o", "openai"), False, "timeout", id="timeout"),
    ],
)
def test_a_failure_has_its_kind(error: Exception, begun: bool, kind: ErrorKind) -> None:
    outcome = failed(error, stream=begun, begun=begun)
    assert (outcome.kind, outcome.error, outcome.stream) == (kind, error, begun)


def test_an_outcome_shows_no_text_of_a_provider() -> None:
    text: Any = repr(failed(limited())) + repr(answered(response(0.5)))
    assert "slow down" not in text
    assert "Yes" not in text
