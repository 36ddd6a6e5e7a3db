"""Spans by the mapping of properties on Langfuse's page on OpenTelemetry."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from router.records import Json
from tests.training.logs import read, write_lines
from tests.training.readers.counting import counted
from tests.training.readers.example_otel import LANGFUSE, SPAN, attributes, request
from training.reading.calls import CallFiles


def span(**changed: Json) -> dict[str, Json]:
    """An export request with one generation, in which these attributes are changed; `__` stands for a dot."""
    kept = {one["key"]: one for one in [*LANGFUSE["attributes"], *attributes(**changed)]}
    return request({**LANGFUSE, "attributes": [*kept.values()]})


def read_one(folder: Path, record: Json) -> CallFiles:
    return read(folder, write_lines(folder / "spans.jsonl", record))


def test_a_generation_is_a_call_with_all_that_it_has(tmp_path: Path) -> None:
    [call] = counted(read_one(tmp_path, span()))
    assert json.loads(call["messages"]) == [{"role": "user", "content": "2 + 2?"}]
    assert (call["model"], call["effort"], call["session_id"]) == ("gpt-5", "low", "s1")
    assert (call["cost_usd"], call["input_tokens"], call["output_tokens"]) == (0.003, 100, 3)
    assert (call["cached_input_tokens"], call["latency_s"]) == (80, 1.5)


def test_an_input_that_is_a_text_is_the_prompt(tmp_path: Path) -> None:
    [call] = counted(read_one(tmp_path, span(langfuse__observation__input="2 + 2?")))
    assert json.loads(call["messages"]) == [{"role": "user", "content": "2 + 2?"}]


@pytest.mark.parametrize("kind", ["span", "agent", "tool", "embedding", "guardrail"])
def test_other_observations_are_no_calls(tmp_path: Path, kind: str) -> None:
    rows = [span(langfuse__observation__type=kind), request(dict(SPAN))]
    summary = read(tmp_path, write_lines(tmp_path / "spans.jsonl", *rows)).summary
    assert summary.set_apart == {"no chat or completion": 1}


def test_a_plain_span_with_names_of_the_conventions_is_read_by_those(tmp_path: Path) -> None:
    said = {"langfuse__observation__type": "span", "gen_ai__prompt": "2 + 2?", "gen_ai__request__model": "m"}
    assert [call["model"] for call in counted(read_one(tmp_path, span(**said)))] == ["m"]


def test_an_error_says_what_its_message_says(tmp_path: Path) -> None:
    told = "litellm.ContextWindowExceededError: too long"
    failed = {"langfuse__observation__level": "ERROR", "langfuse__observation__status_message": told}
    [call] = counted(read_one(tmp_path, span(**failed)))
    assert (call["success"], call["outcome_source"]) == (False, "error")


def test_a_cost_of_zero_is_unknown(tmp_path: Path) -> None:
    [call] = counted(read_one(tmp_path, span(langfuse__observation__cost_details='{"total": 0}')))
    assert call["cost_usd"] is None
