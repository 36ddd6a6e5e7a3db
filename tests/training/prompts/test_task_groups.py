"""Groups that training infers from a log, and that a router then assigns to each prompt."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from typer.testing import CliRunner

import training.commands  # noqa: F401 - adds the commands
from router.cli.console import app
from router.errors import TrainingError
from router.forecasting.encoder import EncoderInfo, Encoding
from router.records import Request
from router.settings.sections import Config
from tests.services.object_stores import ObjectStore, s3_store
from tests.training.logs import call, write_lines
from training.progress import Silent
from training.prompts import task_groups
from training.prompts.from_logs import ReadOptions, calls_of
from training.prompts.task_groups import (
    InferredTasks,
    check_encoder,
    fit_groups,
    groups_beside,
    groups_of,
    infer_tasks,
)
from training.reading.calls import write_calls

WORDS = {"cooking": "recipe oven butter flour", "coding": "python function loop variable"}


class WordEncoder:
    """Embeds a text by the words of each subject in it."""

    info = EncoderInfo(name="words", kind="static", dimensions=2, max_tokens=512, sha256="ab" * 32, parity={})

    def encode(self, text: str) -> Encoding:
        counts = [sum(word in text for word in words.split()) for words in WORDS.values()]
        noise = np.array([0.01 * (len(text) % 7), 0.01 * (len(text) % 5)])
        vector = np.array(counts, dtype=np.float32) + noise.astype(np.float32)
        return Encoding((vector / max(float(np.linalg.norm(vector)), 1e-9)).astype(np.float32), 5)


def framed(number: int) -> str:
    return f'Summarise this ticket of a customer in one sentence please: "{number} x"'


def loose(number: int, subject: str) -> str:
    words = WORDS[subject].split()
    return f"{chr(97 + number % 26) * (3 + number // 26)} {words[number % 4]} {words[(number + 1) % 4]}"


PROMPTS = [
    text
    for number in range(80)
    for text in (framed(number), loose(number, "cooking"), loose(number, "coding"))
]


@pytest.fixture
def words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Has the encoder of words stand in for MiniLM."""
    monkeypatch.setattr(task_groups, "prepared_encoder", lambda choice, texts, cache: tmp_path)
    monkeypatch.setattr(task_groups, "encoder_info", lambda folder: WordEncoder.info)
    monkeypatch.setattr(task_groups, "load_encoder", lambda folder, info: WordEncoder())
    return tmp_path


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    """A store that this process finds by the environment."""
    with s3_store() as store:
        for name, value in store.environment.items():
            monkeypatch.setenv(name, value)
        fsspec.get_filesystem_class("s3").clear_instance_cache()
        yield store
        fsspec.get_filesystem_class("s3").clear_instance_cache()


def imported(folder: Path, *rows: dict[str, Any]) -> tuple[Path, ReadOptions]:
    """A canonical log of some calls, and how it was read."""
    reading = ReadOptions(mapping={}, rejects=None, config=Config(), cache=folder / "cache")
    out = folder / "calls.parquet"
    with calls_of([write_lines(folder / "log.jsonl", *rows)], reading, Silent()) as files:
        write_calls(files, out)
    return out, reading


def rows_of(calls: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    return list(pq.read_table(calls).to_pylist())


def inferred(folder: Path) -> tuple[Path, InferredTasks]:
    calls = [call(prompt=text, model=model) for text in PROMPTS for model in ("small", "large")]
    out, reading = imported(folder, *calls, call(prompt="mine", task_type="declared"))
    return out, infer_tasks(out, reading, Silent(), seed=0)


def test_templates_are_found_first_and_then_clusters(words: Path) -> None:
    out, tasks = inferred(words)
    types = {row["prompt"]: row["task_type"] for row in rows_of(out)}
    by_kind = [{types[text] for text in PROMPTS[start::3]} for start in range(3)]
    assert [len(kinds) for kinds in by_kind[:1]] == [1]
    assert not by_kind[0] & (by_kind[1] | by_kind[2])
    assert not by_kind[1] & by_kind[2]
    assert (sum(tasks.calls.values()), tasks.untyped, types["mine"]) == (480, 0, "declared")


def test_groups_are_named_by_their_telling_words(words: Path) -> None:
    _, tasks = inferred(words)
    assert any("customer" in name for name in tasks.calls)
    assert any(set(name.split("-")) & set(WORDS["coding"].split()) for name in tasks.calls)


def test_the_router_puts_each_prompt_into_the_group_that_the_log_has(words: Path) -> None:
    out, _ = inferred(words)
    groups = groups_of([str(out)])
    assert groups is not None
    encode = WordEncoder().encode
    for row in rows_of(out):
        if row["prompt"] != "mine":
            request = Request.of(row["prompt"])
            assert (
                groups.name_of(request, lambda asked: encode(asked.messages[0]["content"]))
                == row["task_type"]
            )


def test_a_log_imported_without_groups_has_none(words: Path) -> None:
    out, _ = inferred(words)
    imported(words, call(prompt="again"))
    assert groups_of([str(out)]) is None


def test_groups_that_are_gone_or_of_two_logs_are_refused(words: Path) -> None:
    out, _ = inferred(words)
    with pytest.raises(TrainingError, match="has its own task groups"):
        groups_of([str(out), str(out)])
    groups_beside(out).rename(words / "moved")
    with pytest.raises(TrainingError, match="its groups are not at"):
        groups_of([str(out)])


def test_a_log_in_an_object_store_takes_its_groups_along(words: Path, s3: ObjectStore) -> None:
    out, tasks = inferred(words)
    log = s3.put("typed/calls.parquet", out.read_bytes())
    with pytest.raises(TrainingError, match=r"its groups are not at s3://logs/typed/calls\.tasks"):
        groups_of([log])
    for file in tasks.folder.iterdir():
        s3.put(f"typed/calls.tasks/{file.name}", file.read_bytes())
    groups, local = groups_of([log]), groups_of([str(out)])
    assert groups is not None
    assert local is not None
    assert (groups.names, groups.frames) == (local.names, local.frames)


def test_groups_of_another_encoder_are_refused(words: Path) -> None:
    out, _ = inferred(words)
    groups = groups_of([str(out)])
    assert groups is not None
    check_encoder(groups, WordEncoder.info.sha256)
    with pytest.raises(TrainingError, match="made with encoder words"):
        check_encoder(groups, "cd" * 32)


def test_few_prompts_are_left_without_a_group(tmp_path: Path) -> None:
    requests = [Request.of(loose(number, "cooking")) for number in range(10)]
    groups = fit_groups(requests, WordEncoder(), tmp_path / "cache.sqlite", (), seed=0)
    assert (groups.names, len(groups.centres), groups.frames) == ((), 0, {})


def test_no_group_is_named_like_a_task_type_of_the_log(tmp_path: Path) -> None:
    requests = [Request.of(text) for text in PROMPTS]
    plain = fit_groups(requests, WordEncoder(), tmp_path / "cache.sqlite", (), seed=0)
    other = fit_groups(requests, WordEncoder(), tmp_path / "cache.sqlite", plain.names, seed=0)
    assert not set(plain.names) & set(other.names)


def test_words_of_single_prompts_name_nothing(tmp_path: Path) -> None:
    requests = [Request.of(f"{framed(number)} {'secretname' if number == 3 else ''}") for number in range(80)]
    requests += [Request.of(loose(number, "coding")) for number in range(90)]
    groups = fit_groups(requests, WordEncoder(), tmp_path / "cache.sqlite", (), seed=0)
    assert not any("secretname" in name for name in groups.names)


def test_the_command_tells_what_it_found(words: Path) -> None:
    source, out = (
        write_lines(words / "log.jsonl", *(call(prompt=text) for text in PROMPTS)),
        words / "out.parquet",
    )
    arguments = ["import", source, "--out", str(out), "--infer-tasks", "--cache", str(words / "cache")]
    result = CliRunner().invoke(app, [*arguments, "--json"])
    tasks = json.loads(result.stdout)["tasks"]
    assert (sum(tasks["calls"].values()), tasks["folder"]) == (240, str(words / "out.tasks"))
    assert "task types inferred" in CliRunner().invoke(app, arguments).stdout
