from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from router.errors import CallLogError
from router.records import Json
from router.settings.yaml_file import parse_config
from tests.training.logs import call, read, write_lines
from training.reading.calls import CallFiles

SPEND = {
    "request_id": "1", "call_type": "acompletion", "spend": 0.001, "prompt_tokens": 4, "completion_tokens": 1,
    "startTime": "2026-01-01T00:00:00+00:00", "endTime": "2026-01-01T00:00:01+00:00", "model": "openai/small",
    "custom_llm_provider": "openai", "metadata": {"status": "success"}, "cache_hit": "False",
    "session_id": "s1", "status": "success",
    "proxy_server_request": {"messages": [{"role": "user", "content": "2 + 2?"}]},
    "response": {"choices": [{"finish_reason": "length", "message": {"role": "assistant", "content": "4"}}]},
}  # fmt: skip
FAILED = {
    **SPEND,
    "request_id": "2",
    "status": "failure",
    "metadata": {"error_information": {"error_class": "ContextWindowExceededError", "error_code": "400"}},
}


def found(files: CallFiles) -> dict[str, tuple[bool | None, str | None]]:
    frame = files.whole()
    assert frame is not None
    rows = frame.select("call_id", "success", "outcome_source").to_pylist()
    return {row["call_id"]: (row["success"], row["outcome_source"]) for row in rows}


def read_by(folder: Path, rules: str, *rows: Mapping[str, Json]) -> CallFiles:
    source = write_lines(folder / "calls.jsonl", *map(dict, rows))
    return read(folder, source, rules=parse_config(f"outcomes: {{rules: [{rules}]}}").outcomes.rules)


def test_the_evidence_of_another_programs_log_reaches_the_rules(tmp_path: Path) -> None:
    files = read_by(tmp_path, "{error: {}}, {finish_reason: {}}, {feedback: {}}", SPEND, FAILED)
    assert files.summary.readers == {"litellm-spend": 1}
    assert found(files) == {"1": (False, "finish_reason"), "2": (False, "error")}


def opened(whole: Mapping[str, Json]) -> bool:
    return bool(whole["messages"][0]["content"] == "2 + 2?" and whole["model"] == "small" and whole["answer"])


def test_a_function_gets_the_whole_call(tmp_path: Path) -> None:
    row = call(prompt=None, messages=json.dumps([{"role": "user", "content": "2 + 2?"}]), answer="4")
    files = read_by(tmp_path, f"{{function: {{call: '{__name__}:opened', source: tests}}}}", row)
    assert list(found(files).values()) == [(True, "tests")]


def test_a_function_that_fails_ends_the_reading_without_a_word_of_the_call(tmp_path: Path) -> None:
    with pytest.raises(CallLogError, match=f"outcomes: {__name__}:opened raised TypeError on a call") as told:
        read_by(tmp_path, f"{{function: {{call: '{__name__}:opened'}}}}", call(prompt="a secret"))
    assert "secret" not in str(told.value)


def test_rejected_rows_are_asked_nothing(tmp_path: Path) -> None:
    rows = call(call_id="a", score=0.9), call(call_id="b", score="many")
    files = read_by(tmp_path, "{evaluation: {min_score: 0.5}}", *rows)
    assert (found(files), files.summary.rejected) == ({"a": (True, "evaluation")}, 1)


def test_a_call_that_no_rule_judges_is_unknown_and_keeps_its_source(tmp_path: Path) -> None:
    files = read_by(tmp_path, "{finish_reason: {}}", call(call_id="a", success=True, outcome_source="thumbs"))
    assert found(files) == {"a": (None, "thumbs")}
