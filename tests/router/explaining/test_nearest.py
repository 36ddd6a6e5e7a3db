from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from router.errors import DamagedArtifact
from router.explaining.nearest import nearest_prompts
from router.forecasting.head import NeighbourStore, unit
from router.forecasting.training_prompts import POINTS_FILE, TEXTS_FILE, TrainingPrompts, short_key

MODELS = ("small", "large")
FILES = {POINTS_FILE: "", TEXTS_FILE: ""}


def prompts(texts: list[str] | None = None) -> TrainingPrompts:
    return TrainingPrompts(
        keys=np.array([1, 2**64 - 1, 0xAB << 56], dtype=np.uint64),
        outcomes=np.array([[1.0, np.nan], [0.0, 1.0], [0.5, 0.25]], dtype=np.float32),
        texts=texts,
    )


def store() -> NeighbourStore:
    """Three points along the axes of a plane, the third between the first two."""
    points = unit(np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], dtype=np.float32))
    return NeighbourStore(
        axes=np.eye(2, dtype=np.float32), points=points, values=np.zeros((3, 3), np.float32), seen=points
    )


def test_the_nearest_come_first_with_what_models_did_on_them() -> None:
    found = nearest_prompts(store(), np.array([[2.0, 0.5]], np.float32), prompts(["a", "b", "c"]), MODELS, 2)
    assert [one.key for one in found] == [short_key(np.uint64(1)), "ab" + "0" * 14]
    assert [one.text for one in found] == ["a", "c"]
    assert found[0].outcomes == {"small": 1.0}
    assert found[1].outcomes == {"small": 0.5, "large": 0.25}
    assert found[0].cosine == pytest.approx(2 / np.hypot(2, 0.5))


def test_no_more_are_told_than_there_are() -> None:
    assert len(nearest_prompts(store(), np.ones((1, 2), np.float32), prompts(), MODELS, 99)) == 3


def test_without_texts_none_is_told() -> None:
    found = nearest_prompts(store(), np.ones((1, 2), np.float32), prompts(), MODELS, 3)
    assert {one.text for one in found} == {None}


def test_a_key_is_shown_by_its_first_digits() -> None:
    assert short_key(np.uint64(0x00AB000000000001)) == "00ab000000000001"


@pytest.mark.parametrize(
    "texts",
    [pytest.param(None, id="keys"), pytest.param(["a", "", "\ud800 \x1b[31m\n今天 \u2028"], id="texts")],
)
def test_what_is_saved_is_loaded(tmp_path: Path, texts: list[str] | None) -> None:
    prompts(texts).save(tmp_path)
    found = TrainingPrompts.load(tmp_path, FILES if texts else {POINTS_FILE: ""})
    assert found is not None
    assert found.keys.tolist() == prompts().keys.tolist()
    np.testing.assert_array_equal(found.outcomes, prompts().outcomes)
    assert found.texts == texts


def test_without_texts_no_file_of_texts_is_written(tmp_path: Path) -> None:
    prompts().save(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [POINTS_FILE]


def test_a_folder_that_was_written_without_them_has_none(tmp_path: Path) -> None:
    assert TrainingPrompts.load(tmp_path, {"head.safetensors": ""}) is None


def test_a_file_that_the_manifest_does_not_name_is_not_read(tmp_path: Path) -> None:
    prompts(["a", "b", "c"]).save(tmp_path)
    assert TrainingPrompts.load(tmp_path, {}) is None
    found = TrainingPrompts.load(tmp_path, {POINTS_FILE: ""})
    assert found is not None
    assert found.texts is None


@pytest.mark.parametrize(
    "written",
    [
        pytest.param("", id="emptied"),
        pytest.param('{"text": "a"}\n', id="cut"),
        pytest.param("nonsense\n" * 3, id="no JSON"),
        pytest.param('{"key": 1}\n' * 3, id="no text"),
        pytest.param("[]\n" * 3, id="no object"),
        pytest.param("\x80\n" * 3, id="no ASCII"),
    ],
)
def test_texts_that_changed_since_loading_are_refused(tmp_path: Path, written: str) -> None:
    prompts(["a", "b", "c"]).save(tmp_path)
    (tmp_path / TEXTS_FILE).write_text(written, encoding="utf-8")
    with pytest.raises(DamagedArtifact, match=TEXTS_FILE):
        TrainingPrompts.load(tmp_path, FILES)


@pytest.mark.parametrize("name", [POINTS_FILE, TEXTS_FILE])
def test_a_file_that_went_since_loading_is_missed(tmp_path: Path, name: str) -> None:
    prompts(["a", "b", "c"]).save(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(DamagedArtifact, match=name):
        TrainingPrompts.load(tmp_path, FILES)


def test_a_line_of_texts_is_an_object_with_key_and_text(tmp_path: Path) -> None:
    prompts(["a", "b", "c"]).save(tmp_path)
    lines = (tmp_path / TEXTS_FILE).read_text().splitlines()
    assert json.loads(lines[2]) == {"key": "ab" + "0" * 14, "text": "c"}
