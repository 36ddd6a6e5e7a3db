"""What grades of answers do to the intervals of `compare`, over logs drawn from real answers."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from benchmarks.coverage import Population, Setting, drawn_log, population_of, summary, uniform
from benchmarks.measuring import machine
from router.forecasting.answer_numbers import Answer, answer_numbers
from router.forecasting.grading import Answers
from router.records import FloatArray, IntArray, Request
from training.comparing.estimating.logged import Logged, chosen_shares
from training.comparing.estimating.off_policy import (
    DOUBLY_ROBUST,
    POWERED,
    Study,
    estimates,
    study_of,
)
from training.comparing.estimating.support import support_columns, support_of, support_warnings
from training.judging.grader import FOLDS, graders_of, grades_of
from training.statistics.auc import auc
from training.statistics.intervals import Interval, Sums, resampled_counts

DRAWS = 100
ROWS = 6_000
RESAMPLES = 1_000
KNOWN = 0.15
UNIFORM = Setting(name="uniform", policy=uniform, logged=True)
KNOWN_ONLY = "doubly robust, prompts of known outcome only"
"""What `compare` does with a log without grades."""
WARNED = "warned"
LEARNED, NOISE = "learned", "noise"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """How outcomes become known, and what grades the answers.

    Attributes:
        spread: chance that an outcome is known, from the cheapest to the dearest model, over the mean chance.
    """

    name: str
    spread: tuple[float, float]
    grader: str


CASES = (
    Case(name="known at random", spread=(1.0, 1.0), grader=LEARNED),
    Case(name="known by model", spread=(0.4, 1.6), grader=LEARNED),
    Case(name="known at random, a grader of pure noise", spread=(1.0, 1.0), grader=NOISE),
)


def answers_population(calls: Path, answers: Path) -> tuple[Population, FloatArray]:
    """The prompts that have answers, and the numbers of every answer, shape (n, m, p)."""
    import polars as pl

    prompts = pl.read_parquet(calls).unique("prompt_id").select("prompt_id", "prompt", "task_type")
    frame = (
        pl.read_parquet(answers).join(prompts, on="prompt_id").with_columns(success=pl.col("score") >= 0.5)
    )
    population = population_of(frame, "answers_zeroeval")
    whole = {(row["prompt_id"], row["model"]): row for row in frame.iter_rows(named=True)}
    numbers = [
        [_numbers(whole[prompt, model]) for model in population.models] for prompt in population.prompts
    ]
    return population, np.array(numbers, dtype=np.float64)


def _numbers(row: Mapping[str, str | int]) -> list[float]:
    answer = Answer(text=str(row["answer"]), calls=())
    tokens = float(row["output_tokens"])
    return list(answer_numbers(Request.of(str(row["prompt"])), answer, output_tokens=tokens).values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Graded:
    """The estimates from one log.

    Attributes:
        auc: of the grades, on the outcomes that the log hides.
        share: mean over the models of how far the estimates follow the grades.
        success: interval by target and estimator; without the estimators that are refused.
    """

    auc: float
    share: float
    success: Mapping[str, Mapping[str, Interval]]


def draws_of(
    population: Population, numbers: FloatArray, case: Case, *, draws: int, rows: int, seed: int
) -> Iterator[Graded]:
    """The estimates from each drawn log."""
    counts = np.concatenate(list(resampled_counts(rows, n_resamples=RESAMPLES, seed=seed)))
    fold = np.random.default_rng(seed).integers(0, FOLDS, len(population.length))
    for number in range(draws):
        rng = np.random.default_rng([seed, number])
        logged, picked = drawn_log(population, UNIFORM, rng, rows)
        taken = np.argmax(logged.calls, axis=1)
        truth = logged.success[np.arange(rows), taken]
        rank = np.argsort(np.argsort(population.cost.mean(axis=0)))
        chance = KNOWN * np.linspace(*case.spread, len(rank))[rank]
        known = rng.random(rows) < chance[taken]
        if case.grader == NOISE:
            grade = rng.random(rows)
        else:
            models = [population.models[model] for model in taken]
            types = [population.task_types[row] for row in picked]
            answers = Answers(numbers=numbers[picked, taken], models=models, task_types=types)
            learnt = np.flatnonzero(known)
            graders = graders_of(answers.rows(learnt), truth[learnt], fold[picked[learnt]])
            grade = grades_of(graders, answers, fold[picked])
        log = replace(
            logged,
            success=np.where(known[:, None], logged.success, np.nan),
            graded=np.where(logged.calls > 0, grade[:, None], np.nan),
        )
        covariates = population.covariates[picked]
        study = study_of(log, covariates, seed=number)
        kept = np.flatnonzero(known)
        bare = study_of(_rows(replace(log, graded=None), kept), covariates[kept], seed=number)
        of_kept = next(resampled_counts(len(kept), n_resamples=RESAMPLES, seed=seed))
        grading = study.success.grading
        assert grading is not None
        yield Graded(
            auc=auc(grade[~known], truth[~known] > 0.5),
            share=float(grading.share.mean()),
            success={
                name: _estimates(study, choice[picked], counts)
                | _named(_estimates(bare, choice[picked][kept], of_kept))
                for name, choice in population.targets.items()
            },
        )


def _named(known_only: Mapping[str, Interval]) -> dict[str, Interval]:
    return {KNOWN_ONLY: known_only[DOUBLY_ROBUST]} if known_only else {}


def _rows(logged: Logged, rows: IntArray) -> Logged:
    return replace(
        logged,
        **{
            name: getattr(logged, name)[rows]
            for name in ("calls", "traffic", "success", "cost", "propensity")
        },
        clusters=np.arange(len(rows)),
        task_types=[logged.task_types[row] for row in rows],
    )


def _estimates(study: Study, choice: IntArray, counts: FloatArray) -> dict[str, Interval]:
    """The doubly robust and the prediction-powered interval; none if the log can't speak for the choice.

    Under `WARNED` stands the latter again if `compare` warns that it may be too narrow.
    """
    shares = chosen_shares(choice, len(study.logged.models))
    columns = support_columns(study, shares)
    sums = Sums(total=columns.sum(axis=0), draws=counts @ columns)
    support = support_of(study, shares, sums)
    if support.refused:
        return {}
    half = len(sums.total) // 2
    of_success = Sums(total=sums.total[:half], draws=sums.draws[:, :half])
    given = estimates(of_success, graded=study.success.grading is not None)
    kept = {name: one for name, one in given.items() if name in (DOUBLY_ROBUST, POWERED)}
    warned = bool(support_warnings(study, shares, support)) and POWERED in kept
    return kept | ({WARNED: kept[POWERED]} if warned else {})


def rows_of(population: Population, found: Sequence[Graded], case: Case) -> list[list[str]]:
    """One row of the table per target."""
    table = []
    for name, truth in _truths(population).items():
        given = [one.success[name] for one in found if POWERED in one.success[name]]
        warned = np.mean([WARNED in one for one in given]) if given else np.nan
        table.append(
            [case.name, name, f"{truth:.3f}", str(len(given)), f"{100 * warned:.0f} %", *_cells(truth, given)]
        )
    return table


def _truths(population: Population) -> dict[str, float]:
    everyone = np.arange(len(population.length))
    return {
        name: float(population.probability[everyone, choice].mean())
        for name, choice in population.targets.items()
    }


def _cells(truth: float, given: Sequence[Mapping[str, Interval]]) -> Iterator[str]:
    for estimator in (POWERED, DOUBLY_ROBUST, KNOWN_ONLY):
        figures = summary(truth, [one[estimator] for one in given if estimator in one])
        yield f"{100 * figures['coverage']:.1f} ± {100 * figures['error']:.1f}"
    yield f"{summary(truth, [one[POWERED] for one in given])['bias']:+.4f}"
    for estimator in (DOUBLY_ROBUST, KNOWN_ONLY):
        ratios = _ratios(given, estimator)
        yield f"{ratios.mean():.3f} ({ratios.max():.3f})" if len(ratios) else "-"


def _ratios(given: Sequence[Mapping[str, Interval]], estimator: str) -> FloatArray:
    """Width of the prediction-powered interval over another estimator's, where both are given."""
    pairs = [(one[POWERED], one[estimator]) for one in given if estimator in one]
    return np.array([(one.high - one.low) / (other.high - other.low) for one, other in pairs])


HEAD = (
    "outcomes", "target", "truth", "logs", "warned", "coverage, prediction-powered", "doubly robust",
    "known only", "bias", "width over doubly robust (most)", "over known only (most)",
)  # fmt: skip


def verdict(case: Case, found: Sequence[Graded], population: Population) -> str:
    """Mean coverage and width over all targets of one case."""
    truths = _truths(population)
    given = [(truths[name], one) for each in found for name, one in each.success.items() if POWERED in one]
    sure = [(truth, one) for truth, one in given if WARNED not in one]
    intervals = [one for _, one in given]
    ratios, known = _ratios(intervals, DOUBLY_ROBUST), _ratios(intervals, KNOWN_ONLY)
    over = 100 * (ratios > 1.03).mean()
    return "; ".join(
        [
            f"{case.name}: AUC of the grades {np.mean([one.auc for one in found]):.3f}",
            f"share {np.mean([one.share for one in found]):.2f}",
            f"coverage {_covered(given, POWERED)} (doubly robust {_covered(given, DOUBLY_ROBUST)})",
            f"without a warning {_covered(sure, POWERED)} (doubly robust {_covered(sure, DOUBLY_ROBUST)})",
            f"{len(sure)} of {len(given)} have none",
            f"width {ratios.mean():.3f} of the doubly robust, over 1.03 of it in {over:.1f} %",
            f"{known.mean() if len(known) else np.nan:.3f} of known outcomes only ({len(known)} given)",
        ]
    )


def _covered(given: Sequence[tuple[float, Mapping[str, Interval]]], estimator: str) -> str:
    inside = [one[estimator].low <= truth <= one[estimator].high for truth, one in given]
    return f"{100 * np.mean(inside):.1f} %" if inside else "-"


def main() -> None:
    """Draw the logs, and print the table with what it was measured on."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the two Parquet files")
    parser.add_argument("--draws", type=int, default=DRAWS)
    parser.add_argument("--rows", type=int, default=ROWS, help="calls in each log")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", type=int, action="append", help="number of a case, from 0; default: all")
    given = parser.parse_args()
    began = time.process_time()
    population, numbers = answers_population(
        given.data / "mixed_traffic.parquet", given.data / "answers_zeroeval.parquet"
    )
    print(f"{time.process_time() - began:.0f} s: {numbers.shape[2]} numbers of an answer", file=sys.stderr)
    lines, verdicts = [list(HEAD), ["---"] * len(HEAD)], []
    for case in [CASES[number] for number in given.case or range(len(CASES))]:
        drawn = draws_of(population, numbers, case, draws=given.draws, rows=given.rows, seed=given.seed)
        found = []
        for one in drawn:
            found.append(one)
            if len(found) % 20 == 0:
                print(f"{len(found)} logs: {verdict(case, found, population)}", file=sys.stderr, flush=True)
        lines += rows_of(population, found, case)
        verdicts.append(verdict(case, found, population))
    where = machine()
    place = "; ".join(f"{name} {where[name]}" for name in ("machine", "system", "python", "numpy"))
    print(
        f"{given.draws} logs of {given.rows} calls, one a prompt, {100 * KNOWN:.0f} % of outcomes known, "
        f"{RESAMPLES} resamples, seed {given.seed}; {datetime.now(UTC):%Y-%m-%d}; {place}; "
        f"{time.process_time() - began:.0f} s\n"
    )
    print("\n".join(f"| {' | '.join(cells)} |" for cells in lines), *verdicts, sep="\n")


if __name__ == "__main__":
    main()
