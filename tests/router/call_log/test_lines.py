from __future__ import annotations

import fcntl
import json
import logging
import os
from pathlib import Path

import pytest

from router.call_log import lines as log_lines
from router.call_log.address import LogAddress
from router.call_log.lines import LineStore
from router.call_log.rows import Row, fit_row
from router.errors import CallLogError
from router.records import Json
from tests.router.call_log.call_records import call_ids, only_row, rows_of, run_python
from tests.services.waiting import wait_until

FILL_UP = """
import resource, sys
from router.errors import CallLogError
from router.call_log.address import LogAddress
from router.call_log.lines import LineStore
from router.call_log.rows import fit_row
store = LineStore(LogAddress.of(sys.argv[1]))
rows = [fit_row({"call_id": f"b-{n}", "time": 1.0, "model": "m", "error": "x" * 400}) for n in range(100)]
store.append_calls(rows[:10])
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
try:
    store.append_calls(rows)
except CallLogError as error:
    print("failed:", error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
store.append_calls(rows[10:])
"""
WRITE = """
import sys
from router.call_log.address import LogAddress
from router.call_log.lines import LineStore
from router.call_log.rows import fit_row
store = LineStore(LogAddress.of(sys.argv[1]))
for n in range(50):
    names = (f"{sys.argv[2]}-{n}-{m}" for m in range(20))
    store.append_calls([fit_row({"call_id": name, "time": 1.0, "error": "x" * 999}) for name in names])
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "calls.jsonl"


@pytest.fixture
def store(path: Path) -> LineStore:
    return LineStore(LogAddress.of(path))


def row(call_id: str, **values: Json) -> Row:
    return fit_row({"call_id": call_id, "time": 1.0, "model": "small", **values})


def verdict(call_id: str, number: int, **values: Json) -> Row:
    names = {"success": None, "score": None, "source": "user"}
    return fit_row({"feedback_id": f"f-{number}", "call_id": call_id, "time": number, **names, **values})


def lines_of(path: Path) -> list[Json]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_each_row_is_one_line(store: LineStore, path: Path) -> None:
    store.append_calls([row("a", error="one\ntwo\u2028three"), row("b")])
    store.append_calls([row("c")])
    assert [line["call_id"] for line in map(json.loads, path.read_bytes().splitlines())] == ["a", "b", "c"]


def test_feedback_goes_into_a_file_beside_it(store: LineStore, path: Path) -> None:
    store.append_feedback([verdict("a", 1, success=True)])
    assert [line["call_id"] for line in lines_of(path.with_name("calls.feedback.jsonl"))] == ["a"]
    assert not path.exists()


def test_the_folder_is_made(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "calls.jsonl"
    LineStore(LogAddress.of(path)).append_calls([row("a")])
    assert call_ids(path) == ["a"]


def test_no_rows_make_no_file(store: LineStore, path: Path) -> None:
    assert store.append_calls([]) == []
    assert not path.exists()


def test_a_file_that_was_moved_away_is_made_anew(store: LineStore, path: Path) -> None:
    store.append_calls([row("a")])
    path.rename(path.with_name("old.jsonl"))
    store.append_calls([row("b")])
    assert (call_ids(path), call_ids(path.with_name("old.jsonl"))) == (["b"], ["a"])


def test_a_line_that_a_killed_process_left_stays_alone(
    store: LineStore, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store.append_calls([row("a")])
    with path.open("ab") as file:
        file.write(b'{"call_id": "torn", "mod')
    store.append_calls([row("b")])
    with caplog.at_level(logging.WARNING):
        assert call_ids(path) == ["a", "b"]
    assert "1 line(s) hold no row and were left out" in caplog.text


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("[1, 2]", id="no object"),
        pytest.param('{"time": "2026-01-01T00:00:00Z"}', id="no call id"),
        pytest.param('{"call_id": "x"}', id="no time"),
        pytest.param('{"call_id": "x", "time": "2026-01-01T00:00:00Z", "messages": NaN}', id="no JSON"),
        pytest.param("[" * 100_000, id="nested without end"),
        pytest.param("\xff\xfe", id="no text"),
    ],
)
def test_a_line_that_is_no_row_is_left_out(store: LineStore, path: Path, line: str) -> None:
    path.write_text(f"{line}\n", encoding="latin-1")
    store.append_calls([row("a")])
    assert call_ids(path) == ["a"]


def test_rows_come_in_the_order_of_time_whatever_the_order_of_lines(store: LineStore, path: Path) -> None:
    store.append_calls([row("c", time=3.0), row("b", time=2.0), row("a", time=2.0)])
    assert call_ids(path) == ["a", "b", "c"]


def test_a_row_that_is_there_twice_is_read_once(store: LineStore, path: Path) -> None:
    store.append_calls([row("a"), row("a")])
    assert call_ids(path) == ["a"]


def test_the_feedback_that_arrived_last_counts_and_keeps_what_it_does_not_know(
    store: LineStore, path: Path
) -> None:
    store.append_feedback([verdict("a", 2, success=False), verdict("a", 1, score=0.25)])
    store.append_calls([row("a", success=True, outcome_source="evaluation")])
    found = only_row(path)
    assert (found["success"], found["score"], found["outcome_source"]) == (True, 0.25, "user")


def test_a_row_written_by_an_earlier_version_has_null_for_the_new_columns(path: Path) -> None:
    path.write_text('{"call_id": "a", "time": "2026-01-01T00:00:00Z", "model": "small"}\n', encoding="utf-8")
    assert (only_row(path)["model"], only_row(path)["alternatives"], only_row(path)["tags"]) == (
        "small",
        None,
        [],
    )


def test_several_processes_write_whole_lines(path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(lambda name: run_python(WRITE, path, name), ["a", "b", "c"]))
    assert len({line["call_id"] for line in lines_of(path)}) == len(lines_of(path)) == 3 * 50 * 20


def test_where_the_disk_is_full_no_half_of_a_batch_is_left(path: Path) -> None:
    assert "failed: File too large" in run_python(FILL_UP, path)
    names = [line["call_id"] for line in lines_of(path)]
    assert names == [f"b-{number}" for number in range(100)]


def test_a_file_that_another_process_holds_is_an_error_and_no_wait_without_end(
    store: LineStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_lines, "_BUSY_S", 0.05)
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(CallLogError, match="temporarily unavailable"):
            store.append_calls([row("a")])
    store.append_calls([row("a")])
    assert call_ids(path) == ["a"]


def test_a_folder_that_can_not_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(CallLogError, match="File exists"):
        LineStore(LogAddress.of(tmp_path / "file" / "calls.jsonl")).append_calls([row("a")])


def test_a_log_that_can_not_be_opened_is_an_error(path: Path) -> None:
    path.mkdir()
    with pytest.raises(CallLogError, match="can't be read: Is a directory"):
        list(LineStore(LogAddress.of(path)).read())


def test_reading_leaves_nothing_behind(
    store: LineStore, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.append_calls([row("a"), row("b")])
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    rows = store.read()
    assert next(rows)["call_id"] == "a"
    assert os.listdir(folder)  # noqa: PTH208 - only whether there is something
    rows.close()  # type: ignore[attr-defined]
    wait_until(lambda: not any(folder.iterdir()))
    assert len(rows_of(path)) == 2
