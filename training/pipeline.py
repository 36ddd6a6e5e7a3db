"""The offline commands whole, from files to files: import and train."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from router.forecasting.encoder import load_encoder
from router.forecasting.features import embedded_text
from router.loading.artifact import check_target, digest_of
from router.records import Json
from router.version import Version, check_models
from training.judging.grader import graded
from training.judging.run import JudgeTerms, judged
from training.learning.fitting import Fitted, fit, steps
from training.learning.manifest import manifest_of, run_record
from training.learning.material import Material, material_of, usable_models, with_task_types
from training.learning.model_card import for_people
from training.learning.router_folder import stored_prompts, write_router
from training.learning.worth import advice_on
from training.progress import Reporter
from training.prompts.encoder_export import encoder_info, prepared_encoder
from training.prompts.from_logs import ReadOptions, calls_of, encodings_of, table_of
from training.prompts.labels import cheapest_success, data_report
from training.prompts.pricing import logged_prices, price_differences
from training.prompts.split import split_prompts
from training.prompts.table import PromptTable
from training.prompts.task_groups import groups_of
from training.reading.calls import write_calls
from training.reading.summary import ReadSummary
from training.recommending import Recommendation
from training.tracking.publish import Published, publish
from training.tracking.versions import RouterRegistry
from training.whole_file import check_place


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainJob:
    """One training run.

    Attributes:
        register: name to register the router under, or None.
        alias: to point to the registered version, or None.
    """

    sources: Sequence[str]
    out: Path
    reading: ReadOptions
    tracking_uri: str
    register: str | None
    alias: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """The result of a training run.

    Attributes:
        report: the data report.
        embedded: number of prompts that had to be embedded; the others were in the cache.
        warnings: sentences for people.
        alias: points to the registered version now; None: none.
    """

    out: Path
    manifest: Mapping[str, Json]
    reading: ReadSummary
    report: Mapping[str, Json]
    fitted: Fitted
    recommendation: Recommendation
    published: Published
    embedded: int
    warnings: Sequence[str]
    alias: str | None = None

    def to_json(self) -> dict[str, Json]:
        """What `pointsman train --json` prints."""
        return {
            "out": str(self.out),
            "policy_version": self.manifest["policy_version"],
            "digest": digest_of(self.manifest),
            "models": self.manifest["models"],
            "estimator": self.fitted.published,
            "estimator_reason": self.fitted.why,
            "recommendation": asdict(self.recommendation),
            "metrics": self.manifest["metrics"],
            "policy": self.manifest["policy"],
            "reading": {**asdict(self.reading), "rejected": self.reading.rejected},
            "data": self.report,
            "embedded": self.embedded,
            "mlflow": {**asdict(self.published), "alias": self.alias},
            "warnings": list(self.warnings),
        }


def import_calls(
    sources: Sequence[str],
    out: Path,
    reading: ReadOptions,
    reporter: Reporter,
    judge: JudgeTerms | None = None,
) -> ReadSummary:
    """Read call logs into one canonical Parquet file; if the settings say so, with grades.

    Args:
        judge: terms for the judge among the outcome rules; None: the judge makes no call.

    Raises:
        CallLogError: a file can't be read, too many rows are rejected, too few outcomes are known for a
            grader, or `out` can't be written.
        ConfigError: as `judged`.
    """
    check_place(out)
    grade = reading.config.outcomes.grade
    with calls_of(sources, reading, reporter, grade=grade) as files:
        if judge is not None:
            files = judged(files, reading.config, judge, reporter)
        if grade:
            files = graded(files, reading.config, reporter)
        write_calls(files, out)
        return files.summary


def train(job: TrainJob, reporter: Reporter) -> Trained:
    """Train a router from call logs, write its folder, and record the run in MLflow.

    Raises:
        ArtifactError: `job.out` exists and is no router.
        CallLogError: as `import_calls`.
        TrainingError: nothing can be learnt from the calls.
        ConfigError: the rules name a model that training left out.
        RouterError: MLflow refuses the run; the folder is already written.
    """
    check_target(job.out)
    config = job.reading.config
    with calls_of(job.sources, job.reading, reporter) as files:
        reading = files.summary
        groups = groups_of(reading.files)
        whole = table_of(files, config, reporter)
    report = data_report(whole, cheapest_success(whole))
    table, warnings = usable_models(whole, config)
    config = check_models(config, table.models)
    folder = _encoder_folder(table, job.reading, reporter)
    encoder = encoder_info(folder)
    encodings, embedded = encodings_of(table, load_encoder(folder, encoder), job.reading.cache, reporter)
    if groups is not None:
        table = with_task_types(table, encodings, groups, encoder.sha256)
    material = material_of(table, encodings, config)
    split = split_prompts(table, config.training)
    fitted = fit(material, split, reporter.stage("fitting", steps(config)))
    manifest = manifest_of(material, split, fitted, reading, report, encoder)
    fitted_on = [table.keys[row] for row in np.concatenate([split.train, split.validation])]
    neighbours = stored_prompts(table.rows(fitted.points), keep_text=config.training.keep_text)
    manifest = write_router(job.out, manifest, fitted, folder, fitted_on, neighbours, groups=groups)
    advice = advice_on(Version.load(job.out), material, encodings, split.test, job.sources)
    record = run_record(manifest, fitted, report, reading)
    record = for_people(record, manifest, advice, job.register or job.out.name, job.sources)
    published = publish(job.out, record, job.tracking_uri, register=job.register)
    if job.register and job.alias:
        registry = RouterRegistry(job.tracking_uri)
        seen = registry.pointed(job.register, job.alias)
        registry.move(job.register, job.alias, str(published.version), seen=seen)
    return Trained(
        out=job.out,
        manifest=manifest,
        reading=reading,
        report=report,
        fitted=fitted,
        recommendation=advice,
        published=published,
        embedded=embedded,
        alias=job.alias,
        warnings=[*warnings, *_warnings(whole, material, fitted)],
    )


def _encoder_folder(table: PromptTable, reading: ReadOptions, reporter: Reporter) -> Path:
    """Export the encoder that the settings name, and check the export on some of the log's prompts."""
    advance = reporter.stage("preparing the encoder", 1)
    step = max(1, len(table) // 256)
    texts = [embedded_text(request) for request in table.requests[::step]]
    folder = prepared_encoder(reading.config.training.encoder, texts, reading.cache)
    advance(1)
    return folder


def _warnings(whole: PromptTable, material: Material, fitted: Fitted) -> list[str]:
    """Sentences that the user should read, beside those on models that were left out."""
    table = material.table
    sentences = price_differences(logged_prices(table), table)
    sentences += [
        f"{model}: no price in the log, the settings or LiteLLM's list; its cost counts as the dearest known"
        for model, price in material.prices.items()
        if price.source == "unknown"
    ]
    rates = np.nanmean(table.success, axis=0)
    sentences += [f"{m} never succeeded" for m, rate in zip(table.models, rates, strict=True) if rate == 0]
    if (whole.prompts_in_log or 0) > len(whole):
        sentences.append(
            f"{whole.prompts_in_log} prompts in the log, a uniform sample of {len(whole)} was used "
            "(training.max_prompts)"
        )
    named = {request.task_type for request in table.requests if request.task_type}
    if other := len(named) - len(material.spec.task_types):
        sentences.append(
            f"{len(named)} task types in the log, the {len(material.spec.task_types)} most frequent ones are "
            f"told apart; prompts of the other {other} are learnt and served like prompts without one"
        )
    if fitted.backtest.filled > 0:
        sentences.append(
            f"{fitted.backtest.filled:.0%} of the outcomes behind the thresholds are unknown and filled in "
            "with the predicted probability: log every model's outcome on some prompts to check them"
        )
    return sentences
