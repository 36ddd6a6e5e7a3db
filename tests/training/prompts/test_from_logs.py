from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from router.errors import CallLogError, ConfigError
from router.forecasting.encoder import EncoderInfo, Encoding
from router.settings.sections import Config, Training
from tests.training.logs import call, read, write_lines
from training.prompts.from_logs import ReadOptions, calls_of, encodings_of, most_prompts, table_of


class Recorder:
    """A reporter that records the units done and the total, by stage."""

    def __init__(self) -> None:
        self.done: dict[str, float] = {}
        self.total: dict[str, float | None] = {}

    def stage(self, name: str, total: float | None) -> Callable[[float], None]:
        self.done[name], self.total[name] = 0.0, total

        def advance(units: float) -> None:
            self.done[name] += units

        return advance


class Constant:
    """An encoder for which every text is alike."""

    info = EncoderInfo(name="t", kind="static", dimensions=2, max_tokens=8, sha256="t", parity={})

    def encode(self, text: str) -> Encoding:
        return Encoding(np.array([1.0, 0.0], dtype=np.float32), 1)


def reading_of(folder: Path) -> ReadOptions:
    return ReadOptions(mapping={}, rejects=folder / "rejects.jsonl", config=Config(), cache=folder)


@pytest.fixture
def log(tmp_path: Path) -> str:
    return write_lines(tmp_path / "calls.jsonl", *(call(prompt=f"prompt {n}") for n in range(30)))


def test_every_stage_is_told_to_its_end(log: str, tmp_path: Path) -> None:
    recorder, reading = Recorder(), reading_of(tmp_path)
    with calls_of([log], reading, recorder) as files:
        table = table_of(files, reading.config, recorder)
    encodings_of(table, Constant(), tmp_path, recorder)
    assert list(recorder.done) == ["reading calls", "grouping prompts", "embedding prompts"]
    assert recorder.done == recorder.total


def test_the_calls_scratch_folder_goes_away(log: str, tmp_path: Path) -> None:
    with calls_of([log], reading_of(tmp_path), Recorder()) as files:
        assert files.folder.is_dir()
    assert not files.folder.exists()


def test_the_scratch_folder_goes_away_when_reading_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    empty = write_lines(tmp_path / "empty.jsonl")
    with (
        pytest.raises(CallLogError, match="no readable call"),
        calls_of([empty], reading_of(tmp_path), Recorder()),
    ):
        pass
    assert not list(tmp_path.glob("pointsman-*"))


def test_the_settings_say_where_the_scratch_folder_is(log: str, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    config = Config(training=Training(scratch=str(tmp_path / "disk")))
    with calls_of([log], replace(reading_of(tmp_path), config=config), Recorder()) as files:
        assert files.folder.is_relative_to(tmp_path / "disk")
    assert not list((tmp_path / "disk").iterdir())


def test_a_scratch_folder_that_is_not_there_is_named(log: str, tmp_path: Path) -> None:
    config = Config(training=Training(scratch=str(tmp_path / "nowhere")))
    reading = replace(reading_of(tmp_path), config=config)
    refused = pytest.raises(ConfigError, match=r"training\.scratch: .*nowhere is no folder here; make it")
    with refused, calls_of([log], reading, Recorder()):
        pass


@pytest.mark.parametrize(
    ("encoder", "set_to", "to_fit_on", "to_compare"),
    [
        pytest.param("static", None, 1_000_000, 50_000, id="static"),
        pytest.param("minilm", None, 50_000, 50_000, id="a network"),
        pytest.param("minilm", 70_000, 70_000, 50_000, id="as set"),
        pytest.param("static", 700, 700, 700, id="few"),
    ],
)
def test_only_training_keeps_more_prompts_than_are_in_memory_at_once(
    encoder: str, set_to: int | None, to_fit_on: int, to_compare: int
) -> None:
    settings = Training(encoder=encoder, max_prompts=set_to)
    assert [most_prompts(settings, training=training) for training in (True, False)] == [
        to_fit_on,
        to_compare,
    ]


def test_a_second_pass_embeds_nothing(log: str, tmp_path: Path) -> None:
    reading = reading_of(tmp_path)
    with calls_of([log], reading, Recorder()) as files:
        table = table_of(files, reading.config, Recorder())
    counts = [encodings_of(table, Constant(), tmp_path, Recorder())[1] for _ in range(2)]
    assert counts == [30, 0]


def test_a_log_without_a_model_at_two_efforts_is_the_same_table_told_apart_or_not(tmp_path: Path) -> None:
    rows = [call(model="a", effort="low", success=True), call(model="b", success=False)] * 3
    files = read(tmp_path, write_lines(tmp_path / "calls.jsonl", *rows))
    configs = (
        Config.model_validate({"training": {"efforts": one, "min_calls": 2}}) for one in ("auto", "together")
    )
    auto, together = (table_of(files, config, Recorder()) for config in configs)
    assert auto.models == together.models == ("a", "b")
    assert auto.success.tobytes() == together.success.tobytes()


@pytest.mark.parametrize(
    ("efforts", "models"),
    [
        pytest.param("auto", {"a", "a@high", "a@low", "b", "c"}, id="enough outcomes at two efforts"),
        pytest.param("apart", {"a", "a@high", "a@low", "b@high", "b@low", "c@low"}, id="any"),
        pytest.param("together", {"a", "b", "c"}, id="none"),
    ],
)
def test_the_settings_say_which_efforts_are_told_apart(
    tmp_path: Path, efforts: str, models: set[str]
) -> None:
    rows = [call(model="a", effort=effort, success=True) for effort in ("low", "high", None)] * 2
    rows += [call(model="b", effort="low", success=True), call(model="b", effort="low", score=0.9)]
    rows += [call(model="b", effort="high", score=0.1), call(model="b", effort="high")]
    rows += [call(model="c", effort="low", success=True)] * 3
    config = Config.model_validate({"training": {"efforts": efforts, "min_calls": 2}})
    files = read(tmp_path, write_lines(tmp_path / "calls.jsonl", *rows))
    assert set(table_of(files, config, Recorder()).models) == models
    assert set(table_of(files, config, Recorder(), models=["b@low", "x"]).models) == {
        "a",
        "b@low",
        "b@high",
        "c",
    }


@pytest.mark.parametrize(
    ("models", "read_as"),
    [
        pytest.param({"acme-low": {"litellm_model": "acme@low"}}, {"acme-low", "acme"}, id="declared: whole"),
        pytest.param({}, {"acme"}, id="else an action"),
    ],
)
def test_a_name_that_looks_like_an_action_s_is_whole_where_the_settings_say_so(
    tmp_path: Path, models: dict[str, dict[str, str]], read_as: set[str]
) -> None:
    log = write_lines(tmp_path / "calls.jsonl", call(model="acme@low"), call(model="acme", prompt="another"))
    reading = replace(reading_of(tmp_path), config=Config.model_validate({"models": models}))
    with calls_of([log], reading, Recorder()) as files:
        found = files.whole()
        assert found is not None
        assert set(found.select("model").to_pydict()["model"]) == read_as
