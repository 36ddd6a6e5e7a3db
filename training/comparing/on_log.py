"""Judge routers on logged calls that they were not fitted on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np

from router.deciding.cascade import is_checked
from router.errors import NothingToJudge
from router.errors.masking import without_credentials
from router.numbers import dollars, level
from router.records import FloatArray, IntArray
from router.version import Version
from training.comparing.comparison import compare_evaluated
from training.comparing.evaluated import Comparison, Evaluated, Promise, Provenance
from training.comparing.evaluating import evaluate
from training.comparing.job import CompareJob
from training.comparing.measuring.advising import LogFacts
from training.comparing.measuring.cascading import cascade_on, cascade_sentence
from training.comparing.measuring.promising import promise_on, supported_promise
from training.comparing.report.record import comparison_record
from training.comparing.report.write import write_report
from training.learning.manifest import library_versions
from training.progress import Reporter
from training.prompts.answers import AnswerTable, answers_of
from training.prompts.from_logs import calls_of, table_of
from training.prompts.table import PromptTable
from training.statistics.blocks import AT_ONCE
from training.statistics.quality_guarantee import Trial
from training.tracking.publish import publish_comparison

SEEN = "seen in training"
PARTIAL = "without the outcome of every model"
UNCALLED = "without a known outcome of any of the models"
DAY, DAYS_A_MONTH = 86_400, 365.25 / 12
LEAST_FULL = 200
"""A comparison is exact with this many fully known prompts, however many others there are."""


def compare_on_log(job: CompareJob, reporter: Reporter) -> Comparison:
    """Judge routers on calls that they were not fitted on; write the report, and record it in MLflow.

    Raises:
        CallLogError: the calls can't be read, or hold no fresh prompt to judge on.
        RouterError: MLflow does not take the report, which is already written to disk.
    """
    models = job.models()
    cascades = "cascade" in job.judged.manifest
    with calls_of(job.sources, job.reading, reporter, grade=cascades) as files:
        digest, calls_in_log = files.summary.digest, files.summary.calls
        table = table_of(files, job.reading.config, reporter, models)
        answers = answers_of(files, table.columns(models), is_checked) if cascades else None
    chosen = rows_to_judge(table.columns(models), job)
    whole = table.rows(chosen.rows)
    timed = bool(np.isfinite(table.times).any())
    provenance = Provenance(
        router_version=job.judged.policy_version,
        data_digest=digest,
        left_out=chosen.left_out,
        objective=_objective(job.judged),
        dominated={name: entry["by"] for name, entry in job.judged.manifest["data"]["dominated"].items()},
        warnings=tuple(_warnings(table, whole, chosen.exact)),
        routers={name: version.policy_version for name, version in job.routers.items()},
        command=job.command,
        versions=library_versions(),
        trained=job.judged.manifest.get("created", ""),
        calls=tuple(without_credentials(source) for source in job.sources),
        calls_in_log=calls_in_log,
        first_day=_day(np.nanmin(table.times)) if timed else "",
        last_day=_day(np.nanmax(table.times)) if timed else "",
        synthetic=job.synthetic,
    )
    per_month = job.monthly_requests
    if per_month is None:
        per_month = requests_per_month(table.times, calls_in_log)
    evaluated = evaluate(whole, chosen.exact, provenance, job, reporter, per_month / DAYS_A_MONTH)
    comparison = compare_evaluated(
        evaluated,
        draws=job.draws,
        today=job.today,
        promise=_promise(evaluated, job),
        show_text=job.show_text,
        log=LogFacts(
            replayable=chosen.left_out.get(PARTIAL, 0) if chosen.exact else len(chosen.rows),
            calls=tuple(job.reading.given(job.sources)),
            router=job.judged_name,
            known=chosen.known,
            requests_per_month=per_month,
        ),
    )
    if answers is not None:
        comparison = _with_cascade(comparison, evaluated, job.judged, answers.rows(chosen.rows))
    write_report(comparison, job.out)
    if job.tracking_uri is not None:
        publish_comparison(
            job.out, comparison_record(comparison), job.tracking_uri, job.judged.policy_version
        )
    return comparison


def _with_cascade(
    comparison: Comparison, evaluated: Evaluated, router: Version, answers: AnswerTable
) -> Comparison:
    """The comparison with what the router's cascade would change."""
    result = cascade_on(evaluated, router, answers)
    if result is None:
        return comparison
    return replace(comparison, cascade=result, warnings=(*comparison.warnings, cascade_sentence(result)))


def requests_per_month(times: FloatArray, calls: int) -> float:
    """The calls of a log per month, at the mean rate of its days; NaN for a log of less than a day.

    Args:
        times: seconds since 1970 of calls of the log; NaN is unknown.
    """
    known = times[np.isfinite(times)]
    days = float(np.ptp(known)) / DAY if len(known) else 0.0
    return calls / days * DAYS_A_MONTH if days >= 1 else math.nan


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(float(seconds), UTC).date().isoformat()


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedPrompts:
    """The prompts of a log that routers can be judged on.

    Attributes:
        exact: every model's outcome is known on each of them.
        known: number of fresh prompts with a known outcome of each model.
        left_out: number of other prompts by reason.
    """

    rows: IntArray
    known: tuple[int, ...]
    exact: bool
    left_out: Mapping[str, int]


def rows_to_judge(table: PromptTable, job: CompareJob) -> JudgedPrompts:
    """The fresh prompts whose outcomes are all known if these are enough or at least half; else with any.

    If the log has grades, not only prompts with a known outcome count there but all that met one of the
    models: grades stand in for what is unknown, and known outcomes alone would be a part of the traffic in
    which models with much feedback are too frequent.

    Args:
        table: with one column for each of `job.models()`.

    Raises:
        NothingToJudge: no prompt is left.
    """
    seen = frozenset[int]().union(*(version.training_keys() for version in job.routers.values()))
    fresh = np.array([int(key[:16], 16) not in seen for key in table.keys], dtype=bool)
    known = np.isfinite(table.success)
    full, partial = known.all(axis=1), known.any(axis=1)
    n_full, n_any = int((fresh & full).sum()), int((fresh & partial).sum())
    enough = n_full >= min(LEAST_FULL, max(n_any, 1)) or 2 * n_full >= max(n_any, 1)
    exact = job.method == "exact" or (job.method == "auto" and enough)
    graded = table.graded is not None and bool(np.isfinite(table.graded[fresh]).any()) and n_any > 0
    kept = fresh & (full if exact else (table.calls > 0).any(axis=1) if graded else partial)
    reasons = {SEEN: ~fresh, (PARTIAL if exact else UNCALLED): fresh & ~kept}
    left_out = {why: int(rows.sum()) for why, rows in reasons.items() if rows.any()}
    if not kept.any():
        reasons_text = ", ".join(f"{count:,} {why}" for why, count in left_out.items())
        way_out = ", each prompt with the outcome of every model, or --method auto"
        raise NothingToJudge(
            f"no prompt to judge the router on: {len(table):,} prompts, {reasons_text}; give calls of its "
            f"models ({', '.join(table.models)}) that it was not trained on"
            + (way_out if job.method == "exact" else "")
        )
    each = tuple(known[fresh].sum(axis=0).tolist())
    return JudgedPrompts(rows=np.flatnonzero(kept), known=each, exact=exact, left_out=left_out)


def _promise(evaluated: Evaluated, job: CompareJob) -> Promise | None:
    """The promise of the job, made on one half of the prompts and reported on the other; None without one."""
    if job.promise is None:
        return None
    trial = Trial(
        probability=evaluated.probability,
        expected_cost=evaluated.expected_cost,
        success=evaluated.success,
        cost=evaluated.cost,
        clusters=evaluated.clusters,
        traffic=evaluated.traffic,
    )
    promise = promise_on(
        trial,
        max_loss=job.promise.max_loss,
        confidence=job.promise.confidence,
        n_resamples=job.draws.number,
        seed=job.draws.seed,
    )
    return promise if evaluated.study is None else supported_promise(promise, trial, evaluated.study)


def _objective(router: Version) -> str:
    """The router's objective in words."""
    objective = router.config.objective
    if objective.usd_per_day is not None:
        return f"best success at a pace of {dollars(objective.usd_per_day)} a day"
    if objective.usd_per_call is not None:
        return f"best success within {dollars(objective.usd_per_call)} a call"
    if objective.kind == "quality":
        return f"cheapest at a success rate of at least {level(objective.quality or 0.0)}"
    if objective.max_quality_loss is not None:
        return (
            f"cheapest at a success rate at most {level(objective.max_quality_loss)} below the best single "
            f"model's, promised at {level(objective.confidence)} confidence"
        )
    return "cheapest at no less than the best single model's success rate"


def _warnings(table: PromptTable, judged: PromptTable, exact: bool) -> Iterator[str]:
    drawn = int((judged.drawn < 1).sum())
    if exact and drawn:
        yield (
            f"a replay drew {drawn:,} of the {len(judged):,} prompts: each counts with the inverse of its "
            "chance to be drawn, so that they stand for the log"
        )
    if judged.truncated_calls:
        yield (
            f"{judged.truncated_calls:,} calls were logged with truncated text: their prompts are judged on "
            "what is left"
        )
    if (table.prompts_in_log or 0) > len(table):
        yield (
            f"{table.prompts_in_log:,} prompts in the log, a uniform sample of {len(table):,} was used "
            f"(training.max_prompts, for a comparison at most {AT_ONCE:,})"
        )
