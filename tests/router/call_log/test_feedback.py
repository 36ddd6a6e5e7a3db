from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from router.call_log import feedback
from router.call_log.feedback import FeedbackWriter
from router.call_log.log import read_rows
from router.errors import CallLogError
from router.records import Json
from tests.services.postgres import Postgres
from tests.services.runtime_log import STORES, record, write_log


def outcome(log: str) -> tuple[Json, Json, Json]:
    (row,) = read_rows(log)
    return row["success"], row["score"], row["outcome_source"]


@pytest.mark.parametrize("name", STORES)
def test_what_is_given_is_in_the_log(tmp_path: Path, name: str) -> None:
    log = write_log(tmp_path / name, record("a"))
    with FeedbackWriter(log) as writer:
        writer.give("a", success=False, score=0.25, source="judge")
        assert writer.settle() == []
    assert outcome(log) == (False, 0.25, "judge")


def test_feedback_reaches_a_server(postgres: Postgres) -> None:
    log = write_log(postgres.new_database("feedback"), record("a"))
    with FeedbackWriter(log) as writer:
        writer.give("a", success=True, score=None, source="judge")
        assert writer.settle() == []
    assert outcome(log) == (True, None, "judge")


@pytest.mark.parametrize("name", STORES)
def test_a_call_that_the_log_lacks_is_told_once_and_kept(tmp_path: Path, name: str) -> None:
    log = write_log(tmp_path / name, record("a"))
    with FeedbackWriter(log) as writer:
        for call_id in ("later", "a", "later"):
            writer.give(call_id, success=True, score=None, source="judge")
        assert writer.settle() == ["later"]
        assert writer.settle() == []
    write_log(log, record("later"))
    assert [row["success"] for row in read_rows(log)] == [True, True]


def test_the_latest_feedback_counts(tmp_path: Path) -> None:
    log = write_log(tmp_path / "calls.db", record("a"))
    with FeedbackWriter(log) as writer:
        for success in (True, False, True):
            writer.give("a", success=success, score=None, source="judge")
        writer.settle()
    assert outcome(log)[0] is True


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        pytest.param({"success": True}, (True, None, "default"), id="success"),
        pytest.param({"score": 0}, (None, 0.0, "default"), id="a score of zero"),
        pytest.param({"score": 1, "source": "them", "more": 1}, (None, 1.0, "them"), id="its own source"),
    ],
)
def test_a_line_says_how_a_call_turned_out(tmp_path: Path, said: Json, expected: Json) -> None:
    log = write_log(tmp_path / "calls.db", record("a"))
    with FeedbackWriter(log) as writer:
        writer.give_line(json.dumps({"call_id": "a", **said}).encode(), "default")
        writer.settle()
    assert outcome(log) == expected


@pytest.mark.parametrize(
    ("line", "message"),
    [
        pytest.param(b"{", "not valid JSON", id="half an object"),
        pytest.param(b"\xff", "not valid JSON", id="no text"),
        pytest.param(b"[" * 100_000, "not valid JSON", id="endless nesting"),
        pytest.param(b"[1]", "feedback is a JSON object, got list", id="a list"),
        pytest.param(b'{"success": true}', "call_id must be a text, got ''", id="no call"),
        pytest.param(b'{"call_id": 5, "score": 1}', "call_id must be a text, got 5", id="a number"),
        pytest.param(b'{"call_id": "a"}', "has neither success nor score", id="nothing said"),
        pytest.param(b'{"call_id": "a", "score": 7}', "score must be a number from 0 to 1", id="score"),
        pytest.param(b'{"call_id": "a", "success": "yes"}', "success must be true or false", id="success"),
        pytest.param(b'{"call_id": "a", "score": 1, "source": 5}', "source must be a text", id="source"),
    ],
)
def test_a_line_that_says_nothing_is_refused_and_stores_nothing(
    tmp_path: Path, line: bytes, message: str
) -> None:
    log = write_log(tmp_path / "calls.db", record("a"))
    with FeedbackWriter(log) as writer:
        with pytest.raises(ValueError, match=message):
            writer.give_line(line, "default")
        assert writer.settle() == []
    assert outcome(log) == (None, None, None)


@pytest.mark.parametrize("name", STORES)
def test_a_log_that_is_not_there_is_not_made(tmp_path: Path, name: str) -> None:
    with pytest.raises(CallLogError, match="no such call log"):
        FeedbackWriter(str(tmp_path / name))
    assert not list(tmp_path.iterdir())


def test_a_log_that_can_not_be_written_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feedback, "WRITE_S", 0.2)
    log = write_log(tmp_path / "calls.db", record("a"))
    blocker = sqlite3.connect(log)
    blocker.execute("BEGIN IMMEDIATE")
    with FeedbackWriter(log) as writer:
        writer.give("a", success=True, score=None, source="judge")
        with pytest.raises(CallLogError, match=r"1 feedback\(s\) could not be written \(0 were\); give them"):
            writer.settle()
    blocker.close()
