from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from router.errors import CallLogError
from router.records import Json
from router.settings import Config
from router.version import Version
from tests.training.logs import call, made_table, write_lines
from training.comparing.baselines import TrainingStatistics
from training.comparing.judging import (
    PARTIAL,
    SEEN,
    comparable_rows,
    compare_on_log,
    statistics_of,
    statistics_to_json,
)
from training.preparation import Reading, Reporter


def reading_of(folder: Path, cache: Path) -> Reading:
    return Reading(mapping={}, rejects=folder / "rejects.jsonl", config=Config(), cache=cache)


def fresh_calls(router: Version, prompts: int = 12) -> list[dict[str, Json]]:
    """Every model of the router on prompts that it has not seen; every second prompt is a hard one."""
    return [
        call(prompt=f"a new question, number {number}", model=model, success=number % 2 == 0, cost_usd=0.001)
        for number in range(prompts)
        for model in router.models
    ]


def test_a_router_is_judged_on_fresh_prompts_only(
    version: Version, sample_log: Path, encoder_cache: Path, quiet: Reporter, tmp_path: Path
) -> None:
    fresh = write_lines(tmp_path / "fresh.jsonl", *fresh_calls(version))
    found = compare_on_log(
        [fresh, str(sample_log)], version, tmp_path / "report", reading_of(tmp_path, encoder_cache), quiet
    )
    assert found.provenance.left_out[SEEN] > 1000
    assert 12 <= found.prompts < 200
    report = json.loads((tmp_path / "report" / "report.json").read_bytes())
    assert report["prompts"] == found.prompts
    assert (tmp_path / "report" / "report.html").is_file()


def test_the_routers_own_decisions_are_what_is_judged(
    version: Version, encoder_cache: Path, quiet: Reporter, tmp_path: Path
) -> None:
    log = write_lines(tmp_path / "fresh.jsonl", *fresh_calls(version))
    found = compare_on_log([log], version, tmp_path / "report", reading_of(tmp_path, encoder_cache), quiet)
    assert (found.prompts, found.router.success.value) == (12, 0.5)
    assert found.router.cost_usd_per_call.value == pytest.approx(0.001)


def test_a_log_that_judges_nothing_is_refused_with_the_reason(
    version: Version, encoder_cache: Path, quiet: Reporter, tmp_path: Path
) -> None:
    log = write_lines(tmp_path / "one.jsonl", call(prompt="new", model=version.models[0], success=True))
    with pytest.raises(
        CallLogError, match="no prompt to judge the router on: 1 prompts, 1 without the outcome"
    ):
        compare_on_log([log], version, tmp_path / "report", reading_of(tmp_path, encoder_cache), quiet)
    assert not (tmp_path / "report").exists()


def test_rows_are_left_out_by_reason(version: Version) -> None:
    known = [[1.0] * len(version.models)] * 4
    table = made_table([*known[:3], [np.nan, *known[3][1:]]], known)
    seen = f"{next(iter(version.training_keys())):016x}{0:016x}"
    rows, left_out = comparable_rows(
        replace(table, keys=[seen, *(f"{row:032x}" for row in range(3))]), version
    )
    assert rows.tolist() == [1, 2]
    assert left_out == {SEEN: 1, PARTIAL: 1}


def test_statistics_survive_the_manifest() -> None:
    success = np.array([[1.0, 0.0], [1.0, np.nan]])
    statistics = TrainingStatistics.of(("a", "b"), ["x", None], success, success / 100)
    manifest = {"models": ["a", "b"], "statistics": json.loads(json.dumps(statistics_to_json(statistics)))}
    found = statistics_of(manifest)
    for name in ("success", "cost", "task_success", "task_cost", "task_counts"):
        np.testing.assert_array_equal(getattr(found, name), getattr(statistics, name))
    assert found.task_types == statistics.task_types


def test_unknown_statistics_are_null_in_the_manifest() -> None:
    unknown = np.full((2, 2), np.nan)
    statistics = TrainingStatistics.of(("a", "b"), [None, None], np.ones((2, 2)), unknown)
    assert statistics_to_json(statistics)["cost"] == [None, None]
