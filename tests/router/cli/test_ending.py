from __future__ import annotations

import errno
import os
import signal
import sqlite3
from pathlib import Path

import pytest

from router.cli.ending import FAILED, INTERRUPTED, clean_end
from router.errors import RouterError


def ended_by(error: BaseException) -> int:
    with pytest.raises(SystemExit) as ended, clean_end():
        raise error
    return int(ended.value.code or 0)


def sqlite_error(path: Path) -> sqlite3.Error:
    with pytest.raises(sqlite3.OperationalError) as raised:
        sqlite3.connect(path / "no" / "such" / "folder.db")
    return raised.value


@pytest.mark.parametrize(
    ("error", "words"),
    [
        pytest.param(RouterError("the way out"), "error: the way out", id="ours"),
        pytest.param(OSError(errno.ENOSPC, "x", "a.txt"), "a.txt: can't be written: No space", id="full"),
        pytest.param(OSError(errno.EROFS, "x", "a.db"), "a.db: can't be written: Read-only", id="read-only"),
        pytest.param(PermissionError(errno.EACCES, "x"), "a scratch file: can't be written", id="forbidden"),
        pytest.param(FileNotFoundError(errno.ENOENT, "No usable"), "No space", id="no scratch folder"),
        pytest.param(ValueError("parquet: it failed (os error 28)"), "No space left", id="from Rust"),
    ],
)
def test_what_an_operator_can_mend_is_one_line(
    error: Exception, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended_by(error) == FAILED
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


def test_a_database_that_cannot_be_opened_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended_by(sqlite_error(tmp_path)) == FAILED
    assert "a SQLite file can't be used: unable to open database file" in capsys.readouterr().err


@pytest.mark.parametrize(
    "bug",
    [
        KeyError("x"),
        FileNotFoundError(errno.ENOENT, "x", "a.txt"),
        sqlite3.OperationalError("no such column: x"),
        SystemExit(3),
    ],
    ids=str,
)
def test_a_bug_keeps_its_traceback_and_a_command_its_exit_code(bug: BaseException) -> None:
    with pytest.raises(type(bug)) as raised, clean_end():
        raise bug
    assert raised.value is bug


@pytest.mark.parametrize("end", [KeyboardInterrupt(), SystemExit(INTERRUPTED)], ids=["Python's", "Typer's"])
def test_ctrl_c_is_one_line(end: BaseException, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended_by(end) == INTERRUPTED
    assert capsys.readouterr().err.startswith("error: stopped by Ctrl-C")


def press_ctrl_c_in_a_package_that_hides_it() -> None:
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except KeyboardInterrupt as error:
        raise TypeError("schema") from error


def test_ctrl_c_that_a_package_turns_into_another_error_is_one_line_too(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit, match="130"), clean_end():
        press_ctrl_c_in_a_package_that_hides_it()
    assert capsys.readouterr().err.startswith("error: stopped by Ctrl-C")
    assert signal.set_wakeup_fd(-1) == -1
