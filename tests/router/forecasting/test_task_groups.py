"""Which group a request is in, and what a router makes of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from router.errors import DamagedArtifact
from router.forecasting.encoder import Encoding
from router.forecasting.task_groups import ABOUT_FILE, TaskGroups, frames_of
from router.records import Request

TRANSLATE = 'Translate the following sentence of a customer into French: "{}" (order {})'


def encoded(*vector: float) -> Encoding:
    return Encoding(np.array(vector, dtype=np.float32), 1)


def groups_with(**fields: object) -> TaskGroups:
    plain = {
        "names": ("french", "sums", "poems"), "encoder": "e", "encoder_sha256": "0" * 64,
        "frames": {frames_of(Request.of(TRANSLATE))[0]: 0},
        "centres": np.eye(2, dtype=np.float32),
    }  # fmt: skip
    return TaskGroups(**{**plain, **fields})  # type: ignore[arg-type]


def unasked(request: Request) -> Encoding:
    raise AssertionError("not to be embedded")


def test_what_a_template_fills_in_does_not_change_its_frame() -> None:
    first, second = (
        Request.of(TRANSLATE.format(*filled)) for filled in (("Hello, you", 7), ("Where is it?", 1234))
    )
    assert frames_of(first) == frames_of(second)


def test_the_system_text_is_the_surest_frame() -> None:
    system = {"role": "system", "content": "You sort the mail of an office."}
    with_text, other = (
        Request.of([system, {"role": "user", "content": text}]) for text in ("What is it all about?", "Hi")
    )
    assert frames_of(with_text)[0] == frames_of(other)[0]


def test_a_short_question_has_no_frame() -> None:
    assert frames_of(Request.of("Why so?")) == []


def test_a_known_frame_decides_without_an_embedding() -> None:
    assert groups_with().name_of(Request.of(TRANSLATE.format("x", 1)), unasked) == "french"


def test_without_a_known_frame_the_nearest_centre_decides() -> None:
    groups = groups_with()
    assert groups.name_of(Request.of("2 + 2?"), lambda _: encoded(0.9, 0.1)) == "sums"
    assert groups.name_of(Request.of("2 + 2?"), lambda _: encoded(0.1, 0.9)) == "poems"


def test_without_centres_an_unknown_frame_is_in_no_group() -> None:
    groups = groups_with(names=("french",), centres=np.zeros((0, 2), dtype=np.float32))
    assert groups.name_of(Request.of("2 + 2?"), unasked) is None


def test_a_named_task_type_stays() -> None:
    request = Request.of(TRANSLATE, task_type="mine")
    assert groups_with().typed(request, unasked) is request


@pytest.mark.parametrize("centres", [np.eye(2, dtype=np.float32), np.zeros((0, 2), dtype=np.float32)])
def test_groups_are_read_as_they_were_saved(centres: np.ndarray, tmp_path: Path) -> None:
    groups = groups_with(centres=centres)
    groups.save(tmp_path / "tasks")
    loaded = TaskGroups.load(tmp_path / "tasks")
    assert (loaded.names, loaded.frames, loaded.encoder) == (groups.names, groups.frames, "e")
    assert np.array_equal(loaded.centres, centres)


def test_no_text_of_a_prompt_is_saved(tmp_path: Path) -> None:
    groups_with().save(tmp_path)
    assert all(b"customer" not in file.read_bytes() for file in tmp_path.iterdir())


def test_damaged_groups_are_refused(tmp_path: Path) -> None:
    groups_with().save(tmp_path)
    (tmp_path / ABOUT_FILE).write_text("{}")
    with pytest.raises(DamagedArtifact, match="no task groups can be read"):
        TaskGroups.load(tmp_path)


def test_assigning_needs_no_package_of_training() -> None:
    loaded = "[name for name in ('sklearn', 'polars', 'daft', 'pyarrow') if name in sys.modules]"
    code = f"import sys, router.forecasting.task_groups; print({loaded})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
