from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from router.errors import CallLogError
from router.records import Json
from router.settings.yaml_file import parse_config
from tests.training.logs import call, read, write_lines
from training.prompts.table import prompt_table
from training.reading.calls import CallFiles, write_calls
from training.reading.outcomes import session_rules as session_outcomes
from training.reading.outcomes.session_rules import RuleCount

FORM = {"type": "json_object"}
ROWS = [
    call(call_id="a", success=True, finish_reason="length", session_id="s", time="2026-01-01T00:00:00Z"),
    call(call_id="b", session_id="s", time="2026-01-01T00:00:20Z"),
    call(call_id="b", session_id="s", time="2026-01-01T00:00:50Z"),
    call(call_id="c", session_id="t", time="2026-01-01T00:00:30Z"),
    call(call_id="d", prompt="JSON?", response_format=FORM, answer="none", score=0.9),
    call(call_id="e", prompt="JSON?", response_format=FORM, answer="{}", score=0.9),
    call(call_id="f", prompt="3 + 3?", session_id="u", time="2026-01-01T00:00:00Z"),
    call(call_id="g", prompt="That's wrong", session_id="u", time="2026-01-01T00:00:09Z", error="Timeout"),
    call(call_id="h", prompt="2 + 2?", session_id="v", time="2026-01-01T00:00:00Z", model="small"),
    call(call_id="i", prompt="2 + 2?", session_id="v", time="2026-01-01T00:00:40Z", model="large"),
]
RULES = """
outcomes:
  rules:
    - feedback: {}
    - finish_reason: {}
    - answer_schema: {}
    - next_turn: {within_s: 600}
    - retried: {within_s: 60}
    - evaluation: {min_score: 0.5}
    - otherwise: {success: true}
"""


def read_by(folder: Path, rules: str, *rows: dict[str, Any], **settings: Json) -> CallFiles:
    source = write_lines(folder / "calls.jsonl", *rows)
    return read(folder, source, rules=parse_config(rules).outcomes.rules, **settings)


def outcomes(files: CallFiles, folder: Path) -> dict[str, tuple[bool | None, str | None]]:
    write_calls(files, folder / "out.parquet")
    frame = pl.read_parquet(folder / "out.parquet")
    rows = frame.select("call_id", "success", "outcome_source").iter_rows()
    return {name: (success, source) for name, success, source in rows}


FOUND = {
    "a": (True, "feedback"),
    "b": (True, "otherwise"),
    "c": (True, "otherwise"),
    "d": (False, "answer_schema"),
    "e": (True, "evaluation"),
    "f": (False, "next_turn"),
    "g": (None, None),
    "h": (False, "retried"),
    "i": (True, "otherwise"),
}


def test_the_first_rule_decides_whether_it_looks_at_a_call_or_a_session(tmp_path: Path) -> None:
    assert outcomes(read_by(tmp_path, RULES, *ROWS), tmp_path) == FOUND


def test_sessions_in_slices_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_outcomes, "_CALLS_AT_ONCE", 2)
    assert outcomes(read_by(tmp_path, RULES, *ROWS), tmp_path) == FOUND


def test_a_call_that_the_log_repeats_is_no_retry(tmp_path: Path) -> None:
    assert outcomes(read_by(tmp_path, RULES, *ROWS[1:4]), tmp_path)["b"] == (True, "otherwise")


def test_what_rules_decide_and_where_they_conflict_is_counted(tmp_path: Path) -> None:
    counts = read_by(tmp_path, RULES, *ROWS).summary.outcomes
    assert counts is not None
    assert counts.rules[:2] == [
        RuleCount(rule="1. feedback", succeeded=1, failed=0, overruled=0),
        RuleCount(rule="2. finish_reason", succeeded=0, failed=0, overruled=1),
    ]
    assert (counts.unjudged, counts.conflicting) == (1, 2)
    assert counts.conflicts == {
        "1. feedback over 2. finish_reason": 1,
        "1. feedback over 5. retried": 1,
        "3. answer_schema over 6. evaluation": 1,
    }


def test_an_imported_log_read_by_the_same_rules_is_the_same(tmp_path: Path) -> None:
    write_calls(read_by(tmp_path, RULES, *ROWS), tmp_path / "first.parquet")
    rules = parse_config(RULES).outcomes.rules
    again = read(tmp_path, str(tmp_path / "first.parquet"), rules=rules)
    found = outcomes(again, tmp_path)
    assert {name: one for name, one in found.items() if name != "g"} == {
        name: one for name, one in FOUND.items() if name != "g"
    }


def test_without_rules_outcomes_are_the_logs(tmp_path: Path) -> None:
    files = read_by(tmp_path, "", *ROWS)
    assert files.summary.outcomes is None
    assert outcomes(files, tmp_path)["d"] == (None, None)


def test_a_column_of_another_name_holds_the_evidence(tmp_path: Path) -> None:
    row = call(call_id="a", response_format=FORM, reply="none")
    files = read_by(tmp_path, RULES, row, mapping={"answer": "reply"})
    assert outcomes(files, tmp_path) == {"a": (False, "answer_schema")}


def test_a_log_of_no_calls_but_rejected_rows_says_so(tmp_path: Path) -> None:
    with pytest.raises(CallLogError, match="no readable call"):
        read_by(tmp_path, RULES, call(score="many"))


WEIGHED = [
    call(success=True, outcome_source="thumbs"),
    call(success=False, outcome_source="retried"),
    call(success=False),
]


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        pytest.param(None, 1 / 3, id="none"),
        pytest.param({"retried": 0.0}, 1 / 2, id="left out"),
        pytest.param({"thumbs": 3.0, "retried": 0.5}, 3 / 4.5, id="weighed"),
    ],
)
def test_a_source_weighs_in_the_means(tmp_path: Path, weights: Json, expected: float) -> None:
    table = prompt_table(
        read(tmp_path, write_lines(tmp_path / "calls.jsonl", *WEIGHED)),
        success_score=0.5,
        max_prompts=10,
        weights=weights,
    )
    assert table.success.item() == pytest.approx(expected)
    assert table.calls.item() == 3


def test_outcomes_of_left_out_sources_alone_are_unknown(tmp_path: Path) -> None:
    files = read(
        tmp_path, write_lines(tmp_path / "calls.jsonl", WEIGHED[1], call(model="large", success=True))
    )
    table = prompt_table(files, success_score=0.5, max_prompts=10, weights={"retried": 0.0})
    assert str(table.success.tolist()) == "[[1.0, nan]]"


def test_a_grade_is_no_outcome_where_only_rules_are(tmp_path: Path) -> None:
    files = read(
        tmp_path, write_lines(tmp_path / "calls.jsonl", call(score=0.9), call(model="b", success=True))
    )
    table = prompt_table(files, success_score=None, max_prompts=10)
    assert str(table.success.tolist()) == "[[1.0, nan]]"
