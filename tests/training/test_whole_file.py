from __future__ import annotations

from pathlib import Path

import pytest

from router.errors import CallLogError
from training.whole_file import draft_of, write_whole


def test_folders_are_made_and_nothing_is_left_beside_the_file(tmp_path: Path) -> None:
    write_whole(tmp_path / "new" / "file.txt", "a\ud800")
    assert (tmp_path / "new" / "file.txt").read_text() == "a\\ud800"
    assert len(list((tmp_path / "new").iterdir())) == 1


@pytest.mark.parametrize(
    "place", [pytest.param("file/new", id="no folder"), pytest.param("folder", id="a folder")]
)
def test_a_place_that_can_t_be_written_is_named_and_left_alone(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("kept")
    (tmp_path / "folder" / "inside").mkdir(parents=True)
    with pytest.raises(CallLogError, match=f"{place}: can't be written: [A-Z][a-z ]+; choose"):
        write_whole(tmp_path / place, "text")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def leave_half(out: Path) -> None:
    with draft_of(out) as draft:
        draft.write_text("half")
        raise ValueError("no more to write")


def test_a_draft_that_is_not_finished_leaves_all_as_it_was(tmp_path: Path) -> None:
    out = tmp_path / "file.txt"
    out.write_text("kept")
    with pytest.raises(ValueError, match="no more to write"):
        leave_half(out)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["kept"]


def test_a_draft_that_was_never_begun_is_an_error_with_the_files_own_name(tmp_path: Path) -> None:
    with (
        pytest.raises(CallLogError, match=r"/file\.txt: can't be written: No such file"),
        draft_of(tmp_path / "file.txt"),
    ):
        pass
