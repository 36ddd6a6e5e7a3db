from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from router.records import Json
from router.settings.sections import Config
from router.version import Version
from tests.training.logs import call, write_lines
from training.pipeline import Trained
from training.progress import Reporter
from training.prompts.from_logs import ReadOptions
from training.traffic import DAILY
from training.watching import Watched, WatchJob, watch_router

START = datetime(2026, 1, 1, tzinfo=UTC)
PROMPTS = 400


@pytest.fixture(scope="module")
def prompts(sample_log: Path) -> list[dict[str, Json]]:
    """The prompts of the log that the router was trained on, with their task types."""
    frame = pl.read_parquet(sample_log).unique(
        ["prompt", "messages", "tools"], keep="first", maintain_order=True
    )
    return (
        frame.select("prompt", "messages", "tools", "response_format", "task_type", "tags")
        .sample(fraction=1, shuffle=True, seed=3)
        .to_dicts()
    )


@pytest.fixture
def watch(version: Version, encoder_cache: Path, tmp_path: Path, quiet: Reporter) -> Json:
    """Watch calls of the router with these fields, a hundred a day."""

    def run(rows: list[dict[str, Json]], watched_version: Version = version) -> Watched:
        reading = ReadOptions(mapping={}, rejects=None, config=Config(), cache=encoder_cache)
        calls = [
            {
                **call(model=version.models[0], confidence=0.9, decision_source="learned"),
                "policy_version": version.policy_version,
                "time": (START + timedelta(minutes=14 * number)).isoformat(),
                **{name: value for name, value in row.items() if value is not None},
            }
            for number, row in enumerate(rows)
        ]
        log = write_lines(tmp_path / "calls.jsonl", *calls)
        job = WatchJob(
            sources=[log], reading=reading, version=watched_version, router="r", name="sample", traffic=True
        )
        return watch_router(job, quiet)

    return run


def kinds(result: Watched) -> set[tuple[str, str | None]]:
    return {(one.kind, one.task_type) for one in result.alarms}


def test_the_prompts_of_training_are_quiet(watch: Json, prompts: list[dict[str, Json]]) -> None:
    result = watch(prompts)
    assert (kinds(result), list(result.unknown)) == (set(), [])


def test_other_prompts_are_found_with_examples_and_a_command(
    watch: Json, prompts: list[dict[str, Json]]
) -> None:
    rows = [
        {**row, "prompt": f"Übersetze den Paragraphen {n} der Satzung ins Latein.", "messages": None}
        if n >= 200
        else row
        for n, row in enumerate(prompts)
    ]
    (found,) = [one for one in watch(rows).alarms if one.kind == "prompts"]
    assert found.actual > 0.6
    assert found.next.startswith("pointsman retrain ")
    assert "for example " in found.sentence


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param({"task_type": "coding"}, ("task type", "coding"), id="a task type grew"),
        pytest.param({"task_type": "legal"}, ("task type", None), id="a task type appeared"),
        pytest.param({"decision_source": "rule"}, ("stepped aside", None), id="the rule table decides"),
    ],
)
def test_a_share_that_grew_is_found(
    watch: Json, prompts: list[dict[str, Json]], change: dict[str, Json], expected: tuple[str, str | None]
) -> None:
    assert expected in kinds(watch([*prompts[:PROMPTS], *({**row, **change} for row in prompts[PROMPTS:])]))


def test_a_router_that_kept_no_shares_says_so(
    watch: Json, version: Version, prompts: list[dict[str, Json]]
) -> None:
    data = {name: value for name, value in version.manifest["data"].items() if name != "task_types"}
    old = version.with_models(version.head, {**version.manifest, "data": data}, version.config)
    assert any("does not hold training's" in reason for reason in watch(prompts[:60], old).unknown)


def test_a_day_counts_by_its_first_prompts_alone(watch: Json, prompts: list[dict[str, Json]]) -> None:
    day = START.isoformat()
    result = watch([{**row, "time": day, "task_type": "legal"} for row in prompts])
    (found,) = [one for one in result.alarms if one.kind == "task type"]
    assert found.calls == DAILY


def test_training_keeps_the_shares_that_the_traffic_is_compared_with(trained: Trained) -> None:
    data, split = trained.manifest["data"], trained.manifest["split"]
    assert sum(data["task_types"].values()) == split["train"] + split["validation"]
    assert 0 <= data["stepped_aside"] <= 1
