"""A SQLite log that is moved, cut or removed while several processes write it."""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from router.call_log.address import LogAddress
from router.call_log.file_lock import locked_folder
from router.call_log.store import DatabaseStore
from router.errors import CallLogError
from tests.router.call_log.call_records import call_ids, start_python
from tests.router.call_log.test_store import row, verdict
from tests.services.waiting import PATIENCE_S, wait_until

WRITE = """
import sys, time
from pathlib import Path
from router.call_log import Buffer, CallLog, CallRecord
name, folder = sys.argv[2], Path(sys.argv[3])
log = CallLog.open(sys.argv[1], buffer=Buffer(interval_s=0.002, close_s=60))
message = [{"role": "user", "content": "hi " * 300}]
last = 0
with (folder / name).open("w") as written:
    while not (folder / "stop").exists():
        first, last, begun = last, last + 7, time.monotonic()
        for number in range(first, last):
            log.write(CallRecord(call_id=f"{name}-{number}", time=1.0, messages=message, model="small"))
        assert log.flush(120) and not log.counts.dropped, log.counts
        print(begun, time.monotonic(), name, first, last, file=written, flush=True)
        time.sleep(0.004)
"""
WRITERS = 3
PAUSE_S = 0.03
Change = Callable[[Path, int], None]


class Batch(NamedTuple):
    """Rows that were counted as written, and when their writing began and ended."""

    begun: float
    ended: float
    ids: frozenset[str]

    @staticmethod
    def of(line: str) -> Batch:
        begun, ended, name, first, last = line.split()
        ids = frozenset(f"{name}-{number}" for number in range(int(first), int(last)))
        return Batch(float(begun), float(ended), ids)


@contextmanager
def writing(path: Path) -> Iterator[list[Batch]]:
    """Processes that write a log meanwhile, and then all that they counted as written."""
    folder = path.parent.with_name("written")
    folder.mkdir()
    processes = [start_python(WRITE, path, f"w{number}", folder) for number in range(WRITERS)]
    batches: list[Batch] = []
    try:
        wait_until(lambda: sum(file.stat().st_size > 0 for file in folder.iterdir()) == WRITERS)
        yield batches
    finally:
        (folder / "stop").touch()
        errors = [process.communicate(timeout=PATIENCE_S)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * WRITERS, errors
    files = folder.glob("w*")
    batches += [Batch.of(line) for file in files for line in file.read_text("utf-8").splitlines()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A log in a folder of its own."""
    (tmp_path / "logs").mkdir()
    return tmp_path / "logs" / "calls.db"


def rows_in(folder: Path) -> Counter[str]:
    """How often each row is in the logs there; some were moved before they had tables, or are all damaged."""
    rows: Counter[str] = Counter()
    for file in folder.rglob("*.db"):
        with suppress(CallLogError):  # then none of the rows in it is seen
            rows.update(call_ids(file))
    return rows


def rename(path: Path, number: int) -> None:
    path.rename(path.with_name(f"moved-{number}.db"))


def rename_all(path: Path, number: int) -> None:
    for ending in ("", "-journal", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            path.with_name(path.name + ending).rename(path.with_name(f"moved-{number}.db{ending}"))


def move_away(path: Path, number: int) -> None:
    (path.parent / f"old-{number}").mkdir()
    path.rename(path.parent / f"old-{number}" / path.name)


def remove(path: Path, number: int) -> None:
    os.link(path, path.with_name(f"moved-{number}.db"))  # the test looks into what is removed
    path.unlink()


def remove_what_is_beside(path: Path, number: int) -> None:
    for ending in ("-wal", "-shm", "-journal"):
        path.with_name(path.name + ending).unlink(missing_ok=True)


def copy_and_cut(path: Path, number: int) -> None:
    with locked_folder(path.parent, wait_s=PATIENCE_S):
        shutil.copyfile(path, path.with_name(f"moved-{number}.db"))
        os.truncate(path, 0)


def copy_over(path: Path, number: int) -> None:
    """Put an empty log in the file's place, by copying its content."""
    with locked_folder(path.parent, wait_s=PATIENCE_S):
        shutil.copyfile(path, path.with_name(f"moved-{number}.db"))
        shutil.copyfile(path.parent.with_name("empty.db"), path)


@pytest.mark.parametrize("times", [10, pytest.param(100, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "change", [rename, rename_all, move_away, remove, remove_what_is_beside, copy_and_cut, copy_over]
)
def test_every_row_that_was_written_is_in_one_file_whatever_happens_to_the_log(
    path: Path, change: Change, times: int
) -> None:
    DatabaseStore(LogAddress.of(path.parent.with_name("empty.db"))).append_feedback([verdict("a", 1)])
    with writing(path) as batches:
        for number in range(times):
            time.sleep(PAUSE_S)
            wait_until(path.exists)
            change(path, number)
    rows = rows_in(path.parent)
    assert rows == Counter(dict.fromkeys((name for batch in batches for name in batch.ids), 1))
    if change is not remove_what_is_beside:
        assert len(list(path.parent.rglob("*.db"))) >= times


@pytest.mark.parametrize("times", [10, pytest.param(100, marks=pytest.mark.slow)])
def test_a_log_that_is_cut_while_it_is_written_holds_all_that_is_written_afterwards(
    path: Path, times: int
) -> None:
    with writing(path) as batches:
        for _ in range(times):
            time.sleep(PAUSE_S)
            wait_until(path.exists)  # a damaged log was set aside
            os.truncate(path, 0)
        cut_at = time.monotonic()
        wait_until(lambda: path.exists() and path.stat().st_size > 100_000)
    rows = rows_in(path.parent)
    after = [batch.ids for batch in batches if batch.begun > cut_at]
    assert after
    assert not frozenset().union(*after) - rows.keys()
    assert set(rows.values()) == {1}


@pytest.mark.parametrize("damage", [bytes(3 * 4096), bytes(4096)], ids=["NULs", "too short"])
def test_a_damaged_log_is_set_aside_and_a_new_one_made(path: Path, damage: bytes) -> None:
    store = DatabaseStore(LogAddress.of(path))
    for number in (1, 2):
        store.append_calls([row(f"before-{number}", messages="[" + "1," * 5000 + "1]")])
        content = path.read_bytes()
        path.write_bytes(damage if len(damage) > 4096 else content[:4096])
        with pytest.raises(CallLogError, match=rf"is damaged and is now calls\.damaged-{number}\.db"):
            store.append_calls([row("after")])
        store.append_calls([row("after")])
        assert call_ids(path) == ["after"]
    assert sorted(file.name for file in path.parent.iterdir()) == [
        "calls.damaged-1.db", "calls.damaged-2.db", "calls.db",
    ]  # fmt: skip
