"""Helicone's rows, made from its documented schema."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.records import Json
from tests.training.logs import read
from tests.training.readers.example_helicone import helicone_row
from training.readers.helicone import READER
from training.readers.protocol import UNREAD_PROMPT, Apart, Rejected

NOT_STORED = {"helicone_message": "fetching body from signed_url"}


def converted(**fields: Json) -> dict[str, Json]:
    result = READER.convert(helicone_row(**fields))
    assert isinstance(result, dict)
    return result


def test_a_row_is_read_whole() -> None:
    call = converted()
    assert (call["model"], call["cost_usd"], call["latency_s"]) == ("gpt-4o-mini", 0.00002, 1.5)
    assert (call["task_type"], call["session_id"]) == ("math", "s1")
    assert (call["tags"], call["input_tokens"], call["output_tokens"]) == (["task:math", "team:shop"], 10, 4)
    assert (call["finish_reason"], "success" in call) == ("stop", False)


@pytest.mark.parametrize(
    ("fields", "outcome"),
    [
        pytest.param({"feedback_rating": False}, (False, None, "feedback"), id="rating"),
        pytest.param({"scores": {"helicone-score-feedback": 1}}, (True, None, "feedback"), id="in scores"),
        pytest.param({"scores": {"a": 1, "b": 0.5}}, (None, 0.75, "evaluation"), id="scores"),
        pytest.param({"scores": {"a": 87}}, (None, None, None), id="another scale"),
        pytest.param({"response_status": 500}, (None, None, "error"), id="error"),
        pytest.param(
            {"response_status": 500, "feedback_rating": False}, (False, None, "feedback"), id="both"
        ),
    ],
)
def test_the_users_rating_counts_before_scores_and_errors(
    fields: dict[str, Json], outcome: tuple[Json, ...]
) -> None:
    call = converted(**fields)
    assert tuple(call.get(name) for name in ("success", "score", "outcome_source")) == outcome


def test_a_prompt_that_is_too_long_is_the_models_failure() -> None:
    error = {"error": {"code": "context_length_exceeded", "message": "too long"}}
    assert converted(response_status=400, response_body=error)["success"] is False


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        pytest.param(
            {"request_body": NOT_STORED, "signed_body_url": "https://x"}, "body is behind", id="url"
        ),
        pytest.param({"request_body": {}}, "no prompt logged", id="no body"),
        pytest.param({"cache_reference_id": "a0"}, "cache hit", id="cache"),
        pytest.param({"response_status": 401}, "error of the caller", id="key"),
        pytest.param({"response_status": -3}, "canceled", id="canceled"),
        pytest.param({"request_path": "https://x/v1/embeddings"}, "no chat", id="embedding"),
    ],
)
def test_rows_that_teach_nothing_are_set_apart(fields: dict[str, Json], reason: str) -> None:
    result = READER.convert(helicone_row(**fields))
    assert isinstance(result, Apart)
    assert result.reason.startswith(reason)


@pytest.mark.parametrize(
    ("fields", "model"),
    [
        pytest.param({"model_override": "mine"}, "mine", id="override"),
        pytest.param({"request_model": "a/x,b/y"}, "gpt-4o-mini-2024-07-18", id="fall-backs"),
        pytest.param({"request_model": "unknown"}, "gpt-4o-mini-2024-07-18", id="unknown"),
    ],
)
def test_the_model_is_the_first_that_is_named(fields: dict[str, Json], model: str) -> None:
    assert converted(**fields)["model"] == model


def test_a_row_without_a_model_is_rejected() -> None:
    row = helicone_row(request_model=None, model="", response_model=None)
    assert READER.convert(row) == Rejected("model is missing")


def test_a_cost_of_zero_is_unknown() -> None:
    assert "cost_usd" not in converted(cost=0, costUSD=None)


def test_the_exports_csv_is_read(tmp_path: Path) -> None:
    names = (
        "response_id,response_created_at,response_status,request_created_at,request_body,request_properties,"
        "request_user_id,model,prompt_tokens,completion_tokens,latency,cost"
    )
    body = '"{""messages"": [{""role"": ""user"", ""content"": ""2 + 2?""}]}"'
    times = '"2026-01-01T00:00:02Z","200","2026-01-01T00:00:01Z"'
    row = f'"b1",{times},{body},"{{""Task"":""math""}}","u","small","10","4","1500","0.5"'
    (tmp_path / "output.csv").write_text(f"{names}\n{row}\n", encoding="utf-8")
    files = read(tmp_path, str(tmp_path / "output.csv"))
    (call,) = [one for frame in files.frames() for one in frame.to_pylist()]
    assert (call["model"], call["cost_usd"], call["latency_s"]) == ("small", 0.5, 1.5)
    assert (call["task_type"], files.summary.readers) == ("math", {"helicone": 1})


def test_latency_without_a_delay_is_the_time_between_request_and_response() -> None:
    call = converted(
        delay_ms=None,
        latency=None,
        request_created_at="2026-01-01T00:00:00Z",
        response_created_at=1767225601500,
    )
    assert call["latency_s"] == 1.5


def test_a_row_without_a_status_is_an_answer() -> None:
    row = {name: value for name, value in helicone_row().items() if name != "response_status"}
    assert isinstance(READER.convert(row), dict)


@pytest.mark.parametrize("body", [{"messages": {"x": 1}}, {"input": {"x": 1}}])
def test_a_prompt_of_unknown_form_is_not_said_to_be_missing(body: Json) -> None:
    assert READER.convert({**helicone_row(), "request_body": body}) == UNREAD_PROMPT
