from __future__ import annotations

import fcntl
import gc
import json
import logging
import multiprocessing
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from multiprocessing.context import SpawnProcess
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path

import pytest

from router.errors import ArtifactError, DamagedArtifact, ForeignArtifact, NewerArtifact
from router.loading import copies as module
from router.loading.artifact import MANIFEST, seal
from router.loading.copies import MOST, Copies, RegisteredVersion
from tests.services.mlflow_server import small_router
from tests.services.waiting import PATIENCE_S

ADDRESS = "models:/support@champion"


@pytest.fixture
def copies(tmp_path: Path) -> Copies:
    return Copies(tmp_path / "copies")


def version(number: int = 1, name: str = "support") -> RegisteredVersion:
    return RegisteredVersion(name=f"{name}/{number}", identity=f"made{number}")


def holding(text: str) -> Callable[[Path], object]:
    """A download of a small router, some folders deep, as MLflow stores it."""
    return lambda folder: small_router(folder / "artifacts" / "router", text)


def never(folder: Path) -> None:
    raise AssertionError(f"{folder}: nothing may be downloaded here")


def test_what_was_never_fetched_is_not_found(copies: Copies) -> None:
    assert copies.find(version()) is None


def test_a_copy_is_found_again_with_the_text_it_was_made_with(copies: Copies) -> None:
    made = copies.add(version(), holding("first"))
    found = copies.find(version())
    assert found is not None
    assert found.folder == made.folder
    assert (found.folder / "text.txt").read_text() == "first"


def test_copies_and_notes_follow_the_umask(copies: Copies) -> None:
    before = os.umask(0o027)
    try:
        home = copies.add(version(), holding("text")).home
        copies.remember("models:/support@champion", version())
    finally:
        os.umask(before)
    (note,) = copies.folder.glob("*.json")
    assert (home.stat().st_mode & 0o777, note.stat().st_mode & 0o777) == (0o750, 0o640)


def test_a_version_made_anew_under_an_old_number_is_another_copy(copies: Copies) -> None:
    copies.add(version(1), holding("old"))
    anew = RegisteredVersion(name="support/1", identity="another")
    assert copies.find(anew) is None
    assert (copies.add(anew, holding("new")).folder / "text.txt").read_text() == "new"


@pytest.mark.parametrize("name", ["..", "a b", "/etc", "ünï", "x" * 300, "runs:/1/router", ".", "-"])
def test_no_name_leads_out_of_the_folder(copies: Copies, name: str) -> None:
    copy = copies.add(version(name=name), holding("text"))
    assert copy.home.parent.parent == copies.folder
    assert copies.find(version(name=name)) is not None


def test_names_that_look_alike_do_not_share_copies(copies: Copies) -> None:
    names = ["a b", "a/b", "a:b", "a-b"]
    assert len({copies.add(version(name=name), holding(name)).folder for name in names}) == len(names)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda folder: (folder / "text.txt").write_text("changed"), id="a file changed"),
        pytest.param(lambda folder: (folder / "text.txt").unlink(), id="a file gone"),
        pytest.param(lambda folder: (folder / MANIFEST).unlink(), id="no manifest"),
        pytest.param(lambda folder: (folder / MANIFEST).write_text("{"), id="half a manifest"),
        pytest.param(shutil.rmtree, id="nothing left"),
    ],
)
def test_a_damaged_copy_is_deleted_with_a_warning(
    copies: Copies, damage: Callable[[Path], object], caplog: pytest.LogCaptureFixture
) -> None:
    copy = copies.add(version(), holding("whole"))
    damage(copy.folder)
    assert copies.find(version()) is None
    assert not copy.home.exists()
    assert "support/1: the copy is damaged and must be fetched again: " in caplog.text


def test_a_copy_in_a_later_format_is_refused_but_kept(copies: Copies) -> None:
    copy = copies.add(version(), holding("text"))
    seal(copy.folder, {"format_version": 99})
    with pytest.raises(NewerArtifact, match="router format 99"):
        copies.find(version())
    assert copy.home.exists()


@pytest.mark.parametrize(
    ("download", "error", "message"),
    [
        pytest.param(
            lambda folder: (small_router(folder / "r") / "text.txt").write_text("changed"),
            DamagedArtifact,
            r"^support/1/r/text\.txt: sha256 is",
            id="damaged",
        ),
        pytest.param(
            lambda folder: None,
            ForeignArtifact,
            r"^support/1: the registered model holds no manifest\.json, so it is no pointsman router",
            id="no router",
        ),
    ],
)
def test_what_is_no_whole_router_leaves_no_copy(
    copies: Copies, download: Callable[[Path], object], error: type[ArtifactError], message: str
) -> None:
    with pytest.raises(error, match=message):
        copies.add(version(), download)
    assert [file for file in copies.folder.rglob("*") if file.is_file()] == []


def test_a_failed_download_leaves_nothing_behind(copies: Copies) -> None:
    def fail(folder: Path) -> None:
        small_router(folder / "half")
        raise ArtifactError("the line broke")

    with pytest.raises(ArtifactError, match="the line broke"):
        copies.add(version(), fail)
    assert copies.find(version()) is None
    assert [file for file in copies.folder.rglob("*") if file.is_file()] == []


def test_where_another_process_was_quicker_its_copy_is_taken(copies: Copies) -> None:
    def slow(folder: Path) -> None:
        small_router(folder / "slow", "same")
        copies.add(version(), lambda other: small_router(other / "quick", "same"))

    assert copies.add(version(), slow).folder.name == "quick"


def fetch_at_once(folder: Path, start: Barrier) -> None:
    """Fetch one version when all are ready; the process ends with 1 where it fails."""
    start.wait(PATIENCE_S)
    found = Copies(folder)
    copy = found.find(version()) or found.add(version(), holding("shared"))
    assert (copy.folder / "text.txt").read_text() == "shared"


def test_processes_that_fetch_at_once_all_get_the_whole_copy(copies: Copies) -> None:
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(4)
    workers = [context.Process(target=fetch_at_once, args=(copies.folder, start)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(PATIENCE_S)
    assert [worker.exitcode for worker in workers] == [0, 0, 0, 0]
    assert len(list((copies.folder / "support").iterdir())) == 1


def test_only_the_copies_used_last_are_kept(copies: Copies) -> None:
    for number in range(1, 8):
        copies.add(version(number), holding(str(number)))
        gc.collect()
    kept = sorted(home.name for home in (copies.folder / "support").iterdir())
    assert kept == [f"{number}-made{number}" for number in range(8 - MOST, 8)]


def test_using_a_copy_makes_it_young_again(copies: Copies) -> None:
    for number in (1, 2, 3):
        copies.add(version(number), holding(str(number)))
    for number in (1, 2, 3):
        os.utime(copies.folder / "support" / f"{number}-made{number}", (number, number))
    assert copies.find(version(1))
    copies.add(version(4), holding("4"))
    assert copies.find(version(1)) is not None
    assert copies.find(version(2)) is None


def test_a_copy_in_use_is_never_deleted(copies: Copies) -> None:
    used = copies.add(version(1), holding("in use"))
    for number in range(2, 9):
        copies.add(version(number), holding(str(number)))
        os.utime(used.home, (1, 1))
    assert (used.folder / "text.txt").read_text() == "in use"
    del used
    gc.collect()
    copies.add(version(9), holding("9"))
    assert copies.find(version(1)) is None


def read_later(folder: Path, found: Event, go_on: Event) -> None:
    """Find a copy and read from it only when told; the process ends with 1 where it can't."""
    copy = Copies(folder).find(version(1))
    assert copy is not None
    found.set()
    assert go_on.wait(PATIENCE_S)
    assert (copy.folder / "text.txt").read_text() == "read later"


def make_many(copies: Copies, first: int) -> None:
    """Enough versions to push out version 1, which was used longest ago."""
    for number in range(first, first + MOST + 1):
        copies.add(version(number), holding(str(number)))
        if (home := copies.folder / "support" / "1-made1").exists():
            os.utime(home, (1, 1))
        gc.collect()


def reader_of_version_1(copies: Copies) -> tuple[SpawnProcess, Event]:
    """A process that has found the copy of version 1; it reads from it once the event is set."""
    copies.add(version(1), holding("read later"))
    context = multiprocessing.get_context("spawn")
    found, go_on = context.Event(), context.Event()
    reader = context.Process(target=read_later, args=(copies.folder, found, go_on))
    reader.start()
    assert found.wait(PATIENCE_S)
    return reader, go_on


def test_a_copy_that_another_process_uses_stays_until_that_process_ends(copies: Copies) -> None:
    reader, go_on = reader_of_version_1(copies)
    make_many(copies, 2)
    go_on.set()
    reader.join(PATIENCE_S)
    assert reader.exitcode == 0
    make_many(copies, 12)
    assert copies.find(version(1)) is None


def test_a_killed_process_keeps_no_copy(copies: Copies) -> None:
    reader, _never_set = reader_of_version_1(copies)
    reader.kill()
    reader.join(PATIENCE_S)
    make_many(copies, 2)
    assert copies.find(version(1)) is None


def test_a_forked_child_keeps_the_copy_that_its_parent_let_go(copies: Copies) -> None:
    copy = copies.add(version(1), holding("read later"))
    context = multiprocessing.get_context("fork")
    go_on = context.Event()
    child = context.Process(target=go_on.wait, args=(PATIENCE_S,))
    child.start()
    del copy
    make_many(copies, 2)
    assert copies.find(version(1)) is not None
    go_on.set()
    child.join(PATIENCE_S)


def test_a_copy_that_is_being_deleted_counts_as_none(copies: Copies) -> None:
    with (copies.add(version(1), holding("1")).folder / MANIFEST).open("rb") as manifest:
        gc.collect()
        fcntl.flock(manifest, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert copies.find(version(1)) is None


def test_what_is_let_go_holds_no_file_open(copies: Copies) -> None:
    copies.add(version(1), holding("1"))
    before = len(os.listdir("/dev/fd"))  # noqa: PTH208 - a folder of the kernel's
    used = [copies.find(version(1)) for _ in range(20)]
    assert len(os.listdir("/dev/fd")) == before + len(used)  # noqa: PTH208
    del used
    gc.collect()
    assert len(os.listdir("/dev/fd")) == before  # noqa: PTH208


@pytest.mark.parametrize("missing", [pytest.param(True, id="no fcntl"), pytest.param(False, id="no flock")])
def test_without_locks_the_copies_of_this_process_are_still_kept(
    copies: Copies, monkeypatch: pytest.MonkeyPatch, missing: bool
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    if missing:
        monkeypatch.setattr(module, "fcntl", None)
    else:
        monkeypatch.setattr(fcntl, "flock", refuse)
    used = copies.add(version(1), holding("in use"))
    make_many(copies, 2)
    assert (used.folder / "text.txt").read_text() == "in use"
    del used
    gc.collect()
    make_many(copies, 12)
    assert copies.find(version(1)) is None


def test_the_bound_holds_for_each_name_by_itself(copies: Copies) -> None:
    for number in range(1, 5):
        copies.add(version(number), holding(str(number)))
    copies.add(version(1, "other"), holding("other"))
    assert copies.find(version(1, "other"))
    assert len(list((copies.folder / "support").iterdir())) == MOST


@pytest.mark.parametrize("prefix", [module.SCRATCH, module.RETIRED])
def test_what_a_killed_process_left_goes_after_a_day(copies: Copies, prefix: str) -> None:
    copies.add(version(1), holding("1"))
    old, young = (copies.folder / "support" / f"{prefix}{age}" for age in ("old", "young"))
    for folder in (old, young):
        small_router(folder / "half")
    os.utime(old, (1, 1))
    copies.add(version(2), holding("2"))
    assert (old.exists(), young.exists()) == (False, True)


def test_a_folder_that_can_not_be_written_is_told_with_the_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ArtifactError, match=r"file: no copy .* can be written there: .*registry\.copies"):
        Copies(tmp_path / "file").add(version(), never)


def test_a_full_disk_is_told_as_such(copies: Copies) -> None:
    def fill(folder: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(ArtifactError, match="No space left on device"):
        copies.add(version(), fill)


def test_nothing_is_remembered_at_first(copies: Copies) -> None:
    assert copies.recall(ADDRESS) is None


def test_what_was_remembered_last_is_recalled_with_its_time(copies: Copies) -> None:
    before = datetime.now(UTC)
    copies.remember(ADDRESS, version(1))
    copies.remember(ADDRESS, version(2))
    last = Copies(copies.folder).recall(ADDRESS)
    assert last is not None
    assert last.version == version(2)
    assert before <= last.seen <= datetime.now(UTC)


def test_addresses_are_remembered_apart(copies: Copies) -> None:
    copies.remember(ADDRESS, version(1))
    assert copies.recall("models:/support@Champion") is None


@pytest.mark.parametrize(
    "note",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b"\xff",
        json.dumps({"name": "a/1", "identity": "i", "seen": "yesterday"}).encode(),
        json.dumps({"name": "a/1", "identity": "i", "seen": 1e300}).encode(),
    ],
)
def test_a_note_that_can_not_be_read_counts_as_none(
    copies: Copies, note: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    copies.remember(ADDRESS, version())
    (file,) = copies.folder.glob("*.json")
    file.write_bytes(note)
    assert copies.recall(ADDRESS) is None
    assert f"{ADDRESS}: the note of its last version can't be read" in caplog.text


def test_what_can_not_be_remembered_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way")
    copies = Copies(tmp_path / "file")
    for _ in range(3):
        copies.remember(ADDRESS, version())
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "can't be remembered for when the registry is down" in caplog.text
