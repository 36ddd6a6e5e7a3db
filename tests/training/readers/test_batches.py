"""Batches of OpenAI and Anthropic: results joined to their requests, and what becomes of lone ones."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from router.models.model_list import price_list
from router.records import Json
from tests.training.logs import read, write_lines
from tests.training.readers.example_batches import (
    anthropic_request,
    anthropic_result,
    openai_expired,
    openai_failure,
    openai_output,
    openai_request,
)
from training.readers import batch_prices
from training.readers.batch_prices import BatchUsage, batch_cost
from training.readers.known import known_readers
from training.readers.protocol import JOINED, Apart, JoiningReader, Rejected, Result
from training.reading.calls import CallFiles

MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2 + 2?"}]


def joined(name: str, *rows: Json) -> Sequence[Result]:
    """What a reader makes of rows that share a key."""
    reader = known_readers()[name]
    assert isinstance(reader, JoiningReader)
    return reader.join(rows)


def openai(*rows: Json) -> Sequence[Result]:
    return joined("openai-batch", *rows)


def anthropic(*rows: Json) -> Sequence[Result]:
    return joined("anthropic-batch", *rows)


def calls_of(files: CallFiles) -> dict[str, dict[str, Json]]:
    rows = [row for frame in files.frames() for row in frame.to_pylist()]
    return {str(row["call_id"]): row for row in rows}


def a_call(result: Result) -> Mapping[str, Json]:
    assert isinstance(result, dict)
    return result


@pytest.fixture
def prices(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Json]]:
    """A price map of the test's own."""
    listed: dict[str, dict[str, Json]] = {
        "m": {"input_cost_per_token": 2e-6, "output_cost_per_token": 8e-6},
        "batched": {
            "input_cost_per_token": 2e-6, "output_cost_per_token": 8e-6,
            "input_cost_per_token_batches": 0.5e-6, "output_cost_per_token_batches": 4e-6,
            "cache_read_input_token_cost": 0.2e-6, "input_cost_per_token_above_200k_tokens": 6e-6,
        },
        "cached": {
            "input_cost_per_token": 2e-6, "output_cost_per_token": 8e-6,
            "cache_read_input_token_cost": 0.2e-6,
        },
    }  # fmt: skip
    monkeypatch.setattr("router.models.model_list.price_list", lambda: listed)
    batch_prices._warn_once.cache_clear()
    return listed


def test_an_output_becomes_a_call_with_its_requests_prompt() -> None:
    request, output = openai(openai_request("a"), openai_output("a"))
    call = a_call(output)
    assert request == JOINED
    assert (call["messages"], call["model"], call["task_type"]) == (MESSAGES, "gpt-4o-mini", "math")
    assert (call["input_tokens"], call["output_tokens"], call["finish_reason"]) == (1000, 100, "stop")
    assert "success" not in call


def test_cost_is_that_of_litellms_batch_prices() -> None:
    entry = price_list()["gpt-4o-mini"]
    cost = 1000 * entry["input_cost_per_token_batches"] + 100 * entry["output_cost_per_token_batches"]
    assert a_call(openai(openai_request("a"), openai_output("a"))[1])["cost_usd"] == pytest.approx(cost)


def test_tokens_read_from_a_cache_have_their_own_price() -> None:
    entry = price_list()["claude-haiku-4-5"]
    call = a_call(anthropic(anthropic_request("a"), anthropic_result("a"))[1])
    cost = 1000 * entry["input_cost_per_token_batches"] + 100 * entry["output_cost_per_token_batches"]
    cost += 2000 * entry["cache_read_input_token_cost_batches"]
    assert (call["input_tokens"], call["cost_usd"]) == (3000, pytest.approx(cost))


@pytest.mark.usefixtures("prices")
def test_half_the_price_is_taken_and_told_once_where_none_for_batches_is_listed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    usage = BatchUsage(input=10, output=10, read=0, written=0)
    with caplog.at_level(logging.WARNING):
        costs = [batch_cost(usage, "m"), batch_cost(usage, "m")]
    assert costs == [pytest.approx(10 * 1e-6 + 10 * 4e-6)] * 2
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == ["m"]


@pytest.mark.usefixtures("prices")
@pytest.mark.parametrize(
    ("usage", "cost"),
    [
        pytest.param(
            BatchUsage(input=10, output=1, read=0, written=0), 10 * 0.5e-6 + 4e-6, id="batch prices"
        ),
        pytest.param(BatchUsage(input=10, output=0, read=4, written=0), 10 * 0.5e-6, id="read from a cache"),
        pytest.param(BatchUsage(input=10, output=0, read=0, written=4), 10 * 0.5e-6, id="written to a cache"),
        pytest.param(BatchUsage(input=3e5, output=0, read=0, written=0), 3e5 * 3e-6, id="long prompt"),
    ],
)
def test_each_kind_of_token_has_its_batch_price(usage: BatchUsage, cost: float) -> None:
    assert batch_cost(usage, "batched") == pytest.approx(cost)


@pytest.mark.usefixtures("prices")
def test_a_cache_costs_half_its_price_where_the_input_does() -> None:
    usage = BatchUsage(input=10, output=0, read=4, written=0)
    assert batch_cost(usage, "cached") == pytest.approx(6 * 1e-6 + 4 * 0.1e-6)


@pytest.mark.usefixtures("prices")
def test_cost_of_an_unlisted_model_is_unknown() -> None:
    assert batch_cost(BatchUsage(input=1, output=1, read=0, written=0), None, "unheard-of") is None


def test_a_request_and_a_result_alone_are_set_apart() -> None:
    assert openai(openai_request("a")) == [Apart("request without a result")]
    assert anthropic(anthropic_result("a")) == [Apart("result without its request")]


def test_requests_that_differ_under_one_id_are_set_apart_with_their_results() -> None:
    rows = openai_request("a"), openai_request("a", "3 + 3?"), openai_output("a")
    assert openai(*rows) == [Apart("custom_id of several requests: import each batch alone")] * 3


def test_a_request_sent_again_gives_a_call_for_each_result() -> None:
    again = openai_failure("a", 429, code="rate_limit_exceeded"), openai_output("a")
    results = openai(openai_request("a"), *again, openai_request("a"))
    assert [isinstance(result, dict) for result in results] == [False, True, True, False]
    assert [results[0], results[3]] == [JOINED, JOINED]


@pytest.mark.parametrize(
    ("row", "success"),
    [
        pytest.param(openai_failure("a", 400, code="context_length_exceeded"), False, id="too long"),
        pytest.param(openai_failure("a", 400, type="x", code="content_policy_violation"), False, id="policy"),
        pytest.param(openai_failure("a", 429, code="rate_limit_exceeded"), None, id="limited"),
        pytest.param(openai_failure("a", 500, message="boom"), None, id="provider"),
    ],
)
def test_an_error_is_the_models_or_says_nothing(row: Json, success: bool | None) -> None:
    call = a_call(openai(openai_request("a"), row)[1])
    assert (call["success"], call["outcome_source"], "cost_usd" in call) == (success, "error", False)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        pytest.param(openai_failure("a", 401, code="invalid_api_key"), "error of the caller", id="key"),
        pytest.param(openai_failure("a", 404, code="model_not_found"), "error of the caller", id="model"),
        pytest.param(openai_expired("a"), "batch expired or canceled", id="expired"),
    ],
)
def test_what_no_model_answered_is_set_apart(row: Json, reason: str) -> None:
    result = openai(openai_request("a"), row)[1]
    assert isinstance(result, Apart)
    assert result.reason.startswith(reason)


def test_embeddings_are_no_calls() -> None:
    request = {**openai_request("a"), "url": "/v1/embeddings", "body": {"model": "e", "input": "text"}}
    assert openai(request, openai_output("a")) == [JOINED, Apart("no chat or completion")]


def test_bodies_of_the_responses_endpoint_are_read() -> None:
    body = {"model": "gpt-4o-mini", "instructions": "Be brief.", "input": "2 + 2?"}
    request = {"custom_id": "a", "method": "POST", "url": "/v1/responses", "body": body}
    said = [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "4"}]}]
    details: dict[str, Json] = {"input_tokens_details": {"cached_tokens": 4}, "total_tokens": 12}
    usage = {"input_tokens": 10, "output_tokens": 2, **details}
    answer = {"id": "resp_1", "created_at": 1741476777, "status": "completed", "error": None, "output": said}
    response = {"status_code": 200, "body": {**answer, "model": "gpt-4o-mini-2024-07-18", "usage": usage}}
    result = {"id": "b", "custom_id": "a", "response": response, "error": None}
    call = a_call(openai(request, result)[1])
    assert (call["messages"], call["input_tokens"], call["output_tokens"]) == (MESSAGES, 10, 2)
    assert (call["answer"], call["finish_reason"]) == (said, "completed")


@pytest.mark.parametrize(
    ("kind", "error", "outcome"),
    [
        pytest.param("errored", {"type": "overloaded_error"}, None, id="overloaded"),
        pytest.param(
            "errored",
            {
                "type": "invalid_request_error",
                "message": "prompt is too long: 210000 tokens > 200000 maximum",
            },
            False,
            id="too long",
        ),
    ],
)
def test_an_errored_request_is_the_models_or_says_nothing(
    kind: str, error: Mapping[str, Json], outcome: bool | None
) -> None:
    call = a_call(anthropic(anthropic_request("a"), anthropic_result("a", kind, **error))[1])
    assert (call["model"], call["success"]) == ("claude-haiku-4-5", outcome)


def test_anthropics_other_ends_are_set_apart_and_an_unknown_one_rejected() -> None:
    kinds = ("canceled", "expired", "errored", "lost")
    rows = [anthropic_result("a", kind, type="invalid_request_error") for kind in kinds]
    results = anthropic(anthropic_request("a"), *rows)[1:]
    assert [type(result) for result in results] == [Apart, Apart, Apart, Rejected]


def test_a_row_without_an_id_is_rejected() -> None:
    request = {name: value for name, value in openai_request("a").items() if name != "custom_id"}
    assert openai(request) == [Rejected("custom_id is missing")]


def test_the_files_of_a_batch_are_joined_in_any_order_and_counted(tmp_path: Path) -> None:
    names = [f"r{number}" for number in range(20)]
    requests = [openai_request(name, text=f"prompt {name}") for name in [*names, "lost", "late"]]
    outputs = [openai_output(name) for name in [*reversed(names), "strange"]]
    sources = [
        write_lines(tmp_path / "out.jsonl", *outputs),
        write_lines(tmp_path / "errors.jsonl", openai_expired("late")),
        write_lines(tmp_path / "in.jsonl", *requests),
    ]
    files = read(tmp_path, *sources)
    summary, calls = files.summary, calls_of(files)
    assert (summary.rows, summary.calls, summary.joined, summary.rejected) == (44, 20, 21, 0)
    assert sorted(summary.set_apart.values()) == [1, 1, 1]
    assert all(f"prompt {name}" in calls[f"chatcmpl-{name}"]["messages"] for name in names)


def test_the_body_that_made_a_batch_is_joined_to_its_results(tmp_path: Path) -> None:
    body = {"requests": [anthropic_request("a", "one"), anthropic_request("b", "two")]}
    results = anthropic_result("b"), anthropic_result("a")
    files = read(
        tmp_path, write_lines(tmp_path / "body.json", body), write_lines(tmp_path / "results.jsonl", *results)
    )
    assert (files.summary.rows, files.summary.joined) == (4, 2)
    assert "two" in calls_of(files)["msg_b"]["messages"]
