from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from router.errors import CallLogError
from router.forecasting.grading import Answers
from router.records import Json
from router.settings.sections import Config
from tests.training.logs import call, write_lines
from training.judging.grader import FOLDS, LEAST_KNOWN, fold_of, graders_of, grades_of
from training.pipeline import import_log
from training.progress import Silent
from training.prompts.from_logs import ReadOptions
from training.reading.summary import ReadSummary

CALLS = 400


def rows(known: float, calls: int = CALLS, seed: int = 0) -> list[dict[str, Json]]:
    """Sums, half of them wrong, and the outcome of some."""
    draw = np.random.default_rng(seed)
    made = []
    for number in range(calls):
        wrong, told = draw.random() < 0.5, draw.random() < known
        stated = 7 + number + (3 if wrong else 0)
        answer = f"We add the numbers: 7 + {number} = {stated}. So it is {stated}."
        made.append(
            call(
                call_id=f"c{number}",
                prompt=f"What is 7 plus {number}?",
                model=f"model-{number % 2}",
                answer=answer,
                success=not wrong if told else None,
            )
        )
    return made


def imported(folder: Path, log: Sequence[dict[str, Json]], **outcomes: Json) -> ReadSummary:
    config = Config.model_validate({"outcomes": {"grade": True, **outcomes}})
    reading = ReadOptions(mapping={}, rejects=None, config=config, cache=folder / "cache")
    return import_log([write_lines(folder / "log.jsonl", *log)], folder / "out.parquet", reading, Silent())


def written(folder: Path) -> list[dict[str, Json]]:
    return sorted(pq.read_table(folder / "out.parquet").to_pylist(), key=lambda row: int(row["call_id"][1:]))


def test_a_grade_tells_a_wrong_answer_of_unknown_outcome_and_is_no_outcome(tmp_path: Path) -> None:
    log = rows(0.5)
    summary = imported(tmp_path, log)
    calls = written(tmp_path)
    assert [one["success"] for one in calls] == [one["success"] for one in log]
    assert {one["graded_source"] for one in calls} == {"grader"}
    assert {one["outcome_source"] for one in calls if one["success"] is None} == {None}
    counts = summary.outcomes
    assert counts is not None
    assert counts.grader is not None
    assert counts.grader.graded == CALLS
    assert counts.unjudged == sum(one["success"] is None for one in log)
    assert counts.grader.auc.low > 0.95
    assert abs(counts.grader.bias.value) < 0.05
    assert abs(counts.grader.slope.value - 1) < 0.1


def test_an_import_without_grade_writes_no_grades(tmp_path: Path) -> None:
    summary = imported(tmp_path, rows(0.5, 20), grade=False)
    assert summary.outcomes is None
    assert {one["graded"] for one in written(tmp_path)} == {None}


@pytest.mark.parametrize(
    "fields", [{"error": "Timeout", "success": False}, {"answer": None}], ids=["failed", "without an answer"]
)
def test_a_call_without_a_whole_answer_has_no_grade(tmp_path: Path, fields: dict[str, Json]) -> None:
    log = rows(0.6)
    log[0] |= fields
    summary = imported(tmp_path, log)
    assert [one["graded"] is None for one in written(tmp_path)] == [True, *[False] * (CALLS - 1)]
    assert summary.outcomes is not None
    assert summary.outcomes.grader is not None
    assert summary.outcomes.grader.unread == 1


@pytest.mark.parametrize(
    ("known", "changed"),
    [(0.0, None), (0.1, None), (1.0, True), (1.0, False)],
    ids=["none known", "few known", "few failures", "few successes"],
)
def test_a_log_with_few_outcomes_of_either_kind_is_refused(
    tmp_path: Path, known: float, changed: bool | None
) -> None:
    log = [one if changed is None else {**one, "success": changed} for one in rows(known, 120)]
    with pytest.raises(CallLogError, match=rf"at least {LEAST_KNOWN} of each are needed; declare"):
        imported(tmp_path, log)
    assert not (tmp_path / "out.parquet").exists()


def test_outcomes_of_weight_0_teach_nothing(tmp_path: Path) -> None:
    with pytest.raises(CallLogError, match="0 known successes and 0 known failures"):
        imported(tmp_path, rows(0.9), weights={"feedback": 0})


def test_a_grade_that_was_written_is_read_again_and_a_foreign_one_rejects_nothing(tmp_path: Path) -> None:
    imported(tmp_path, rows(0.5))
    first = written(tmp_path)
    log = [{**json.loads(json.dumps(one, default=str)), "graded": "yes"} for one in rows(0.5, 1)]
    write_lines(tmp_path / "foreign.jsonl", *log)
    reading = ReadOptions(mapping={}, rejects=None, config=Config(), cache=tmp_path / "cache")
    again, foreign = tmp_path / "again.parquet", tmp_path / "foreign.parquet"
    import_log([str(tmp_path / "out.parquet")], again, reading, Silent())
    summary = import_log([str(tmp_path / "foreign.jsonl")], foreign, reading, Silent())
    assert {one["call_id"]: one["graded"] for one in pq.read_table(again).to_pylist()} == {
        one["call_id"]: one["graded"] for one in first
    }
    assert (summary.calls, summary.rejected) == (1, 0)


def test_a_grader_never_grades_a_prompt_that_it_learnt_from() -> None:
    draw = np.random.default_rng(0)
    numbers, outcome = draw.normal(size=(400, 3)), (draw.random(400) < 0.5).astype(float)
    answers = Answers(numbers=numbers, models=["a"] * 400, task_types=[None] * 400)
    fold = draw.integers(0, FOLDS, 400)
    before = grades_of(graders_of(answers, outcome, fold), answers, fold)
    turned = np.where(fold == 2, 1 - outcome, outcome)
    after = grades_of(graders_of(answers, turned, fold), answers, fold)
    np.testing.assert_array_equal(before[fold == 2], after[fold == 2])
    assert (before[fold != 2] != after[fold != 2]).any()
    assert {fold_of(f"{number:032x}") for number in range(0, 1 << 100, 1 << 96)} <= set(range(FOLDS))


def test_the_calibration_of_a_model_with_much_evidence_is_its_own() -> None:
    draw = np.random.default_rng(0)
    n = 4_000
    numbers, strong = draw.normal(size=(n, 2)), np.arange(n) % 2 == 0
    outcome = (draw.random(n) < np.where(strong, 0.9, 1 / (1 + np.exp(-2 * numbers[:, 0])))).astype(float)
    models = ["strong" if one else "weak" for one in strong]
    answers = Answers(numbers=numbers, models=models, task_types=[None] * n)
    fold = draw.integers(0, FOLDS, n)
    grade = grades_of(graders_of(answers, outcome, fold), answers, fold)
    for own in (strong, ~strong):
        assert abs(grade[own].mean() - outcome[own].mean()) < 0.01
    assert grade[strong].std() < 0.4 * grade[~strong].std()
