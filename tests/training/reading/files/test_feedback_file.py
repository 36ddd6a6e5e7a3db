from __future__ import annotations

import gzip
import json
import logging
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from router.call_log.log import read_rows
from router.errors import CallLogError
from router.records import Json
from tests.services.runtime_log import give, record, write_log
from tests.training.logs import call, read, write_lines
from training.reading.calls import write_calls
from training.reading.files.feedback_file import Feedback, feedback_beside, log_beside
from training.reading.rows.recognising import find_files

OUTCOME = ("success", "score", "outcome_source")
SAME_NAMES = {name: name for name in ("call_id", *OUTCOME)}


def said(call_id: str = "a", **fields: Json) -> dict[str, Any]:
    """A line of feedback as the runtime writes it."""
    plain = {"feedback_id": "1", "time": "2026-09-14T12:00:00.000000Z", "success": None, "score": None}
    return {"call_id": call_id, **plain, "source": "test", **fields}


def outcomes(folder: Path, *sources: str, **settings: Json) -> dict[str, tuple[Json, ...]]:
    """Success, score and source per call that `pointsman import` writes."""
    write_calls(read(folder, *sources, **settings), folder / "out.parquet")
    rows = pq.read_table(folder / "out.parquet").to_pylist()
    return {row["call_id"]: tuple(row[name] for name in OUTCOME) for row in rows}


def joined(path: Path, *lines: dict[str, Any] | bytes, **row: Json) -> tuple[Json, ...]:
    """The outcome of call "a", which the row gives, after this feedback."""
    write_lines(path / "calls.feedback.jsonl", *lines)
    found = Feedback(path / "calls.feedback.jsonl").joined({"call_id": "a", **row}, SAME_NAMES)
    return tuple(found.get(name) for name in OUTCOME)


def test_feedback_beside_a_log_is_joined_to_its_calls(tmp_path: Path) -> None:
    log = write_log(tmp_path / "calls.jsonl", record("a"), record("b", success=True), record("c"))
    give(log, a=(True, 0.75), b=(False, None))
    assert outcomes(tmp_path, log) == {
        "a": (True, 0.75, "test"), "b": (False, None, "test"), "c": (None, None, None)}  # fmt: skip


def test_lines_are_joined_as_the_runtime_joins_them(tmp_path: Path) -> None:
    log = write_log(tmp_path / "calls.jsonl", record("a", success=True), record("b", score=0.5), record("c"))
    give(log, a=(None, 0.25), b=(False, None), c=(True, 1.0))
    give(log, c=(False, None))
    theirs = {row["call_id"]: tuple(row[name] for name in OUTCOME) for row in read_rows(log)}
    assert outcomes(tmp_path, log) == theirs


def test_a_gzipped_log_has_its_feedback_beside_it_too(tmp_path: Path) -> None:
    log = Path(write_log(tmp_path / "calls.jsonl", record("a")))
    give(log, a=(True, None))
    for file in (log, tmp_path / "calls.feedback.jsonl"):
        Path(f"{file}.gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    assert outcomes(tmp_path, f"{log}.gz") == {"a": (True, None, "test")}


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        pytest.param([said(success=False)], (False, None, "test"), id="success"),
        pytest.param([said(score=0.5)], (True, 0.5, "test"), id="a score leaves the success"),
        pytest.param([said("b", success=False)], (True, None, None), id="of another call"),
        pytest.param(
            [said(success=False, time="2026-09-15T00:00:00Z"), said(score=0.5)],
            (True, 0.5, "test"),
            id="the last to arrive, though its clock was set back",
        ),
        pytest.param(
            [said(score=0.5, feedback_id="2"), said(success=False, feedback_id="1")],
            (False, None, "test"),
            id="of one moment the last to arrive, whatever its id",
        ),
        pytest.param([said(success="false")], (False, None, "test"), id="success as text"),
    ],
)
def test_the_latest_feedback_stands_in_the_place_of_the_rows_outcome(
    tmp_path: Path, lines: list[dict[str, Any]], expected: tuple[Json, ...]
) -> None:
    assert joined(tmp_path, *lines, success=True) == expected


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(b'{"call_id": "a", "succ', id="half a line"),
        pytest.param(b"[1]", id="a list"),
        pytest.param(b'{"success": true}', id="no call"),
        pytest.param(b'{"call_id": "a", "success": "perhaps"}', id="success in doubt"),
        pytest.param(b"\xff\xff", id="no text"),
    ],
)
def test_lines_that_hold_no_feedback_are_left_out_and_told(
    tmp_path: Path, bad: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert joined(tmp_path, said(success=True), bad, said(score=0.5, feedback_id="2"))[1] == 0.5
    assert "left out 1 line(s) that hold no feedback, first line 2" in caplog.text


def test_a_call_without_an_id_has_no_feedback(tmp_path: Path) -> None:
    assert joined(tmp_path, said("None", success=True), call_id=None) == (None, None, None)


def test_feedback_goes_where_the_outcome_is_read_from(tmp_path: Path) -> None:
    write_lines(tmp_path / "calls.jsonl", call(id="a", won=False))
    write_lines(tmp_path / "calls.feedback.jsonl", said(success=True))
    found = outcomes(tmp_path, str(tmp_path / "calls.jsonl"), mapping={"call_id": "id", "success": "won"})
    assert found == {"a": (True, None, "test")}


def test_the_digest_changes_with_the_feedback(tmp_path: Path) -> None:
    log = write_log(tmp_path / "calls.jsonl", record("a"))
    before = read(tmp_path, log).summary.digest
    give(log, a=(True, None))
    assert read(tmp_path, log).summary.digest != before


# Which file belongs to which


def test_a_log_and_its_feedback_find_each_other(tmp_path: Path) -> None:
    log, feedback = tmp_path / "calls.jsonl", tmp_path / "calls.feedback.jsonl"
    for file in (log, feedback):
        file.touch()
    assert (feedback_beside(str(log)), log_beside(str(feedback))) == (feedback, log)
    assert (feedback_beside(str(feedback)), log_beside(str(log))) == (None, None)


def test_a_log_alone_has_no_feedback(tmp_path: Path) -> None:
    log = write_lines(tmp_path / "calls.jsonl", call())
    assert (feedback_beside(log), find_files([log], {})[0].feedback) == (None, None)


def test_a_glob_takes_the_log_and_leaves_its_feedback(tmp_path: Path) -> None:
    give(write_log(tmp_path / "calls.jsonl", record("a")), a=(True, None))
    assert [Path(file.path).name for file in find_files([f"{tmp_path}/*.jsonl"], {})] == ["calls.jsonl"]


def test_a_file_of_feedback_given_by_name_is_refused_with_its_log(tmp_path: Path) -> None:
    give(write_log(tmp_path / "calls.jsonl", record("a")), a=(True, None))
    with pytest.raises(CallLogError, match=r"holds feedback, not calls; name .*calls\.jsonl to read both"):
        find_files([str(tmp_path / "calls.feedback.jsonl")], {})


def test_a_log_whose_name_ends_like_feedback_is_a_log(tmp_path: Path) -> None:
    write_lines(tmp_path / "app.feedback.jsonl", call())
    assert len(find_files([f"{tmp_path}/*.jsonl"], {})) == 1


def test_broken_calls_are_rejects_as_in_any_file(tmp_path: Path) -> None:
    log = Path(write_log(tmp_path / "calls.jsonl", record("a")))
    give(log, a=(True, None))
    log.write_bytes(log.read_bytes() + b'{"call_id": "b", "mod')
    read(tmp_path, str(log), rejects=tmp_path / "rejects.jsonl")
    (reject,) = map(json.loads, (tmp_path / "rejects.jsonl").read_text().splitlines())
    assert (reject["line"], reject["reason"]) == (2, "line is broken JSON")


def test_lines_without_their_text_are_counted_and_are_no_rejects(tmp_path: Path) -> None:
    log = write_log(tmp_path / "calls.jsonl", record("a"), text="hash")
    write_log(log, record("b"))
    summary = read(tmp_path, log, max_reject_share=0.0).summary
    assert (summary.calls, summary.without_text, summary.ignored_columns) == (1, 1, [])
