from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from router.call_log.file_lock import lock, locked_folder

fcntl = pytest.importorskip("fcntl")


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[[], int]]:
    """Opens the same file anew at each call, as other processes do."""
    files: list[int] = []

    def once_more() -> int:
        files.append(os.open(tmp_path / "calls.jsonl", os.O_RDWR | os.O_CREAT))
        return files[-1]

    yield once_more
    for file in files:
        os.close(file)


def test_a_locked_file_keeps_others_out(opened: Callable[[], int]) -> None:
    lock(opened(), wait_s=0)
    with pytest.raises(BlockingIOError):
        lock(opened(), wait_s=0)


def test_a_wait_for_a_lock_has_an_end(opened: Callable[[], int]) -> None:
    lock(opened(), wait_s=0)
    started = time.monotonic()
    with pytest.raises(BlockingIOError):
        lock(opened(), wait_s=0.1)
    assert 0.1 <= time.monotonic() - started < 1


def test_closing_the_file_lets_others_in(tmp_path: Path) -> None:
    for _ in range(2):
        file = os.open(tmp_path / "calls.jsonl", os.O_RDWR | os.O_CREAT)
        lock(file, wait_s=0)
        os.close(file)


def test_an_older_writer_that_locks_the_file_itself_is_seen_and_sees_us(opened: Callable[[], int]) -> None:
    ours, older = opened(), opened()
    lock(ours, wait_s=0)
    with pytest.raises(BlockingIOError):
        fcntl.flock(older, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.flock(ours, fcntl.LOCK_UN)
    fcntl.flock(older, fcntl.LOCK_EX)
    with pytest.raises(BlockingIOError):
        lock(ours, wait_s=0)


def test_no_file_appears_beside_the_locked_one(tmp_path: Path, opened: Callable[[], int]) -> None:
    lock(opened(), wait_s=0)
    assert [path.name for path in tmp_path.iterdir()] == ["calls.jsonl"]


def test_a_locked_folder_keeps_others_out_whatever_happens_to_its_files(tmp_path: Path) -> None:
    (tmp_path / "calls.db").touch()
    with locked_folder(tmp_path, wait_s=0):
        (tmp_path / "calls.db").rename(tmp_path / "moved.db")
        with pytest.raises(BlockingIOError), locked_folder(tmp_path, wait_s=0):
            pass
    with locked_folder(tmp_path, wait_s=0):
        pass


def test_a_child_that_was_forked_meanwhile_does_not_keep_the_lock(tmp_path: Path) -> None:
    read, write = os.pipe()
    with locked_folder(tmp_path, wait_s=0):
        if not (child := os.fork()):
            os.close(write)
            os.read(read, 1)  # ends when the parent closes the pipe
            os._exit(0)
    with locked_folder(tmp_path, wait_s=0):
        os.close(write)
    os.waitpid(child, 0)
    os.close(read)


def test_where_folders_can_not_be_locked_nobody_is_kept_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(file: int, operation: int) -> None:
        raise OSError(errno.EBADF, "no locks here")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with locked_folder(tmp_path, wait_s=0), locked_folder(tmp_path, wait_s=0):
        assert tmp_path.is_dir()
    monkeypatch.setattr(fcntl, "flock", lambda *_: (tmp_path / "gone").stat())
    with pytest.raises(FileNotFoundError), locked_folder(tmp_path, wait_s=0):
        pass
