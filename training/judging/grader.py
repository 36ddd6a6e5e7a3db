"""A grader learnt from the calls whose outcome is known: the chance that any other answer is good."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from router.errors import CallLogError
from router.forecasting.grading import Answers, Grader
from router.records import FloatArray, IntArray
from router.settings.sections import Config
from training.progress import Reporter
from training.reading.calls import CallFiles
from training.reading.outcomes.amendments import GRADES, grades_beside
from training.reading.outcomes.judge_report import GraderReport
from training.statistics.auc import clustered_auc
from training.statistics.intervals import interval, resampled_sums
from training.statistics.logistic import LogisticFit, fit_logistic, log_loss
from training.whole_file import draft_of

FOLDS = 5
LEAST_KNOWN = 50
"""Known successes, and known failures, below which nothing is learnt."""
MOST_KNOWN = 20_000
"""Known outcomes that are learnt from: more hardly help, and take time and memory."""
MOST_TASK_TYPES = 12
PENALTIES = (3.0, 10.0, 30.0, 100.0, 300.0)
GROUP_PENALTY = 1.0
"""Of the level of each model and task type: about as much evidence as eight calls."""
MODEL_PENALTY = 10.0
"""Of how a model's calibration differs from that of all models."""
_COLUMNS = ("place", "prompt_key", "model", "task_type", "success", "outcome_source", "numbers")


def grader_of(answers: Answers, outcome: FloatArray) -> Grader:
    """Learn from known outcomes of shape (n,), in [0, 1]; the penalty has the least left-out log loss."""
    spread = answers.numbers.std(axis=0)
    models, types = (
        [str(name) for name, _ in Counter(filter(None, names)).most_common(most)]
        for names, most in ((answers.models, None), (answers.task_types, MOST_TASK_TYPES))
    )
    unfitted = Grader(
        centre=answers.numbers.mean(axis=0),
        spread=np.where(spread > 1e-9, spread, np.inf),
        models=models,
        task_types=types,
        weights=np.zeros(0),
        calibration=np.zeros(0),
    )
    inputs, weight = unfitted.inputs(answers), np.ones(len(outcome))
    fits = [_fitted(inputs, outcome, penalty, answers.numbers.shape[1]) for penalty in PENALTIES]
    best = min(fits, key=lambda fit: log_loss(fit.left_out, outcome, weight))
    levels = unfitted.calibration_inputs(best.left_out, answers.models)
    centre = np.zeros(levels.shape[1])
    centre[1] = 1.0
    penalties = np.full(len(centre), MODEL_PENALTY)
    penalties[:2] = 1.0
    return Grader(
        centre=unfitted.centre,
        spread=unfitted.spread,
        models=models,
        task_types=types,
        weights=best.weights,
        calibration=fit_logistic(levels, outcome, weight, penalties, centre).weights,
    )


def _fitted(inputs: FloatArray, outcome: FloatArray, penalty: float, numbers: int) -> LogisticFit:
    penalties = np.full(inputs.shape[1], GROUP_PENALTY)
    penalties[0], penalties[1 : 1 + numbers] = 0.0, penalty
    return fit_logistic(inputs, outcome, np.ones(len(outcome)), penalties, np.zeros(inputs.shape[1]))


def fold_of(key: str) -> int:
    """The fold of a prompt key; a grader never grades a call whose key it learnt from."""
    return int(key[8:16], 16) % FOLDS


def graders_of(known: Answers, outcome: FloatArray, fold: IntArray) -> list[Grader]:
    """The grader of each fold, which learns from the calls of all others.

    Args:
        outcome: shape (n,); in [0, 1].
        fold: shape (n,); of each call's prompt.
    """
    kept = [np.flatnonzero(fold != number) for number in range(FOLDS)]
    return [grader_of(known.rows(rows), outcome[rows]) for rows in kept]


def grades_of(graders: Sequence[Grader], answers: Answers, fold: IntArray) -> FloatArray:
    """Each answer's grade by the grader of its fold, shape (n,)."""
    grades = np.full(len(fold), np.nan)
    for number, grader in enumerate(graders):
        rows = np.flatnonzero(fold == number)
        grades[rows] = grader(answers.rows(rows))
    return grades


def graded(files: CallFiles, config: Config, reporter: Reporter) -> CallFiles:
    """The calls with a grade for every whole answer, and the report on it; no outcome changes.

    Raises:
        CallLogError: too few outcomes of answers are known.
    """
    advance = reporter.stage("grading answers", 2)
    known, outcome, keys = _known(files, config)
    succeeded, failed = int(outcome.sum()), int((1 - outcome).sum())
    if min(succeeded, failed) < LEAST_KNOWN:
        raise CallLogError(
            f"too few outcomes to learn grades from: {succeeded:,} known successes and {failed:,} known "
            f"failures among the calls with a whole answer, where at least {LEAST_KNOWN} of each are needed; "
            "declare more outcome rules, let a judge grade a sample (--judge), or import without --grade"
        )
    fold = np.array([fold_of(key) for key in keys], dtype=np.int64)
    graders = graders_of(known, outcome, fold)
    advance(1)
    count = 0
    with draft_of(grades_beside(files.folder)) as draft, pq.ParquetWriter(draft, GRADES) as writer:
        for batch, answers in _answers(files):
            folds = np.array([fold_of(key) for key in batch["prompt_key"].to_pylist()], dtype=np.int64)
            grades = pa.array(grades_of(graders, answers, folds), pa.float64())
            writer.write_table(pa.table([batch["place"].cast(pa.int64()), grades], schema=GRADES))
            count += batch.num_rows
    advance(2)
    assert files.summary.outcomes is not None, "a log is graded with outcome rules"
    report = _report(grades_of(graders, known, fold), outcome, keys, (count, files.summary.calls - count))
    outcomes = replace(files.summary.outcomes, grader=report)
    return replace(files, summary=replace(files.summary, outcomes=outcomes))


def _answers(files: CallFiles) -> Iterator[tuple[pa.RecordBatch, Answers]]:
    """The calls with a whole answer, in the order of the buckets."""
    for frame in files.frames():
        whole = frame.where(frame["numbers"].not_null()).select(*_COLUMNS)
        for batch in whole.to_arrow_iter():
            if batch.num_rows:
                numbers = batch["numbers"].flatten().to_numpy(zero_copy_only=False).astype(np.float64)
                yield (
                    batch,
                    Answers(
                        numbers=numbers.reshape(batch.num_rows, -1),
                        models=batch["model"].to_pylist(),
                        task_types=batch["task_type"].to_pylist(),
                    ),
                )


def _known(files: CallFiles, config: Config) -> tuple[Answers, FloatArray, Sequence[str]]:
    """The answers of known outcome, their outcomes and prompt keys; if there are many, of the first buckets.

    Buckets are in the order of keys, which are hashes, so those are a uniform sample of the prompts.
    """
    unused = {source for source, weight in config.outcomes.weights.items() if weight == 0}
    parts: list[Answers] = []
    outcomes: list[bool] = []
    keys: list[str] = []
    for batch, answers in _answers(files):
        success, sources = batch["success"].to_pylist(), batch["outcome_source"].to_pylist()
        rows = [
            row
            for row, (good, source) in enumerate(zip(success, sources, strict=True))
            if good is not None and source not in unused
        ]
        parts.append(answers.rows(np.array(rows, dtype=np.int64)))
        outcomes += [success[row] for row in rows]
        keys += batch["prompt_key"].take(pa.array(rows, pa.int64())).to_pylist()
        if len(keys) >= MOST_KNOWN:
            break
    known = Answers(
        numbers=np.concatenate([part.numbers for part in parts]) if parts else np.zeros((0, 0)),
        models=[name for part in parts for name in part.models],
        task_types=[name for part in parts for name in part.task_types],
    )
    first = np.argsort(np.array(keys, dtype=object), kind="stable")[:MOST_KNOWN].astype(np.int64)
    return known.rows(first), np.array(outcomes, dtype=np.float64)[first], [keys[row] for row in first]


def _report(
    grade: FloatArray, outcome: FloatArray, keys: Sequence[str], counts: tuple[int, int]
) -> GraderReport:
    clusters = np.unique(np.array(keys), return_inverse=True)[1].astype(np.int64)
    columns = np.column_stack([grade, outcome, grade**2, grade * outcome, np.ones(len(grade))])
    sums = resampled_sums(columns, clusters)
    return GraderReport(
        succeeded=int(outcome.sum()),
        failed=int((1 - outcome).sum()),
        graded=counts[0],
        unread=counts[1],
        auc=clustered_auc(grade, outcome > 0, clusters),
        bias=interval(sums, lambda s: np.asarray((s[..., 0] - s[..., 1]) / s[..., 4])),
        slope=interval(sums, _slope, reference=1.0),
    )


def _slope(sums: FloatArray) -> FloatArray:
    """Least-squares slope of the outcome on the grade."""
    grade, outcome, square, product, n = np.moveaxis(sums, -1, 0)
    return np.asarray((product - grade * outcome / n) / (square - grade**2 / n))
