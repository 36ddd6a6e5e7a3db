"""The offline commands whole, from files to files: import and train."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from router.deciding.cascade import is_checked
from router.forecasting.encoder import load_encoder
from router.forecasting.features import embedded_text
from router.loading.artifact import check_target, digest_of
from router.numbers import dollars, rate, usd_per_thousand
from router.records import Json
from router.settings.sections import Objective
from router.version import Version, check_models
from training.judging.grader import graded
from training.judging.run import DryRun, JudgeOffer, JudgeTerms, judged
from training.learning.cascade import with_cascade
from training.learning.fitting import Fitted, fit, steps
from training.learning.manifest import manifest_of, run_record
from training.learning.material import Material, material_of, usable_models, with_task_types
from training.learning.model_card import for_people
from training.learning.router_folder import stored_prompts, write_router
from training.learning.thresholds import choose_weight
from training.learning.worth import advice_on
from training.pages.rendering import Showable
from training.progress import Reporter
from training.prompts.answers import answers_of
from training.prompts.encoder_export import encoder_info, prepared_encoder
from training.prompts.from_logs import ReadOptions, calls_of, encodings_of, table_of
from training.prompts.labels import cheapest_success, data_report
from training.prompts.pricing import logged_prices, price_differences
from training.prompts.split import split_prompts
from training.prompts.table import PromptTable
from training.prompts.task_groups import InferredTasks, groups_of
from training.reading.calls import write_calls
from training.reading.summary import ReadSummary
from training.recommending import Recommendation
from training.statistics.policy_curves import picked
from training.tracking.publish import Published, publish
from training.tracking.versions import RouterRegistry
from training.whole_file import check_place

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Trained(Showable):
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

    def figures(self) -> Mapping[str, Figure]:
        """Cost and quality, risk and coverage, and reliability, as drawings of matplotlib by file name."""
        from training.learning.figures import training_figures

        return training_figures(self.fitted)

    def in_short(self) -> str:
        """See `Showable`."""
        return f"{self.recommendation.sentence} Next: {self.recommendation.next}"

    def in_rows(self) -> Sequence[Sequence[str]]:
        """One row a model; see `Showable`."""
        rows = [("model", "calls", "known outcomes", "success", "$ per 1,000 calls")]
        for model, figures in self.report["models"].items():
            success, cost = figures["success_rate"], figures["mean_cost_usd"]
            rows.append(
                (
                    model,
                    f"{figures['calls']:,}",
                    f"{figures['known_outcomes']:,}",
                    rate(success),
                    usd_per_thousand(math.nan if cost is None else cost),
                )
            )
        return rows

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


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Imported(Showable):
    """The result of an import.

    Attributes:
        out: the canonical log.
        offer: the judge's calls and their price; None without a judge.
        written: False after a dry run of a judge, which writes nothing.
        tasks: the inferred task types; None if they were not requested.
    """

    out: Path
    summary: ReadSummary
    offer: JudgeOffer | None
    written: bool
    tasks: InferredTasks | None

    @property
    def calls_failed(self) -> bool:
        """Whether the log lacks judgements because calls of the judge failed."""
        report = self.summary.outcomes.judge if self.summary.outcomes else None
        return bool(report and (report.failed or report.given_up))

    def to_json(self) -> dict[str, Json]:
        """What `pointsman import --json` prints."""
        if self.offer is not None and not self.written:
            return self.offer.to_json()
        return asdict(self.summary) | ({"tasks": self.tasks.to_json()} if self.tasks else {})

    def in_short(self) -> str:
        """See `Showable`."""
        if self.offer is not None and not self.written:
            price = f"about {dollars(self.offer.expected_usd)}, at most {dollars(self.offer.at_most_usd)}"
            return f"{self.offer.calls:,} calls of the judge would cost {price}; nothing is written"
        return f"{self.summary.calls:,} calls are in {self.out}"

    def in_rows(self) -> Sequence[Sequence[str]]:
        """One row for each thing that became of rows; see `Showable`."""
        counts = {
            "calls": self.summary.calls,
            "repeat a call": self.summary.duplicates,
            "without text": self.summary.without_text,
            "joined to another row": self.summary.joined,
            **{f"skipped: {reason}": rows for reason, rows in self.summary.set_apart.items()},
            **{f"rejected: {reject.reason}": reject.rows for reject in self.summary.rejects},
        }
        return [("rows", "number"), *((what, f"{rows:,}") for what, rows in counts.items() if rows)]


def import_log(
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
            try:
                files = judged(files, reading.config, judge, reporter)
            except DryRun:
                return files.summary
        if grade:
            files = graded(files, reading.config, reporter)
        write_calls(files, out)
        return files.summary


def train_on_log(job: TrainJob, reporter: Reporter) -> Trained:
    """Train a router from call logs, write its folder, and record the run in MLflow.

    Raises:
        ArtifactError: `job.out` exists and is no router.
        CallLogError: as `import_log`.
        TrainingError: nothing can be learnt from the calls.
        ConfigError: the rules name a model that training left out.
        RouterError: MLflow refuses the run; the folder is already written.
    """
    check_target(job.out)
    config = job.reading.config
    cascading = config.training.cascade == "auto"
    with calls_of(job.sources, job.reading, reporter, grade=cascading) as files:
        reading = files.summary
        groups = groups_of(reading.files)
        whole = table_of(files, config, reporter, training=True)
        table, warnings = usable_models(whole, config)
        answers = answers_of(files, table, is_checked) if cascading else None
    report = data_report(whole, cheapest_success(whole))
    config = check_models(config, table.models)
    folder = _encoder_folder(table, job.reading, reporter)
    encoder = encoder_info(folder)
    encodings, embedded = encodings_of(table, load_encoder(folder, encoder), job.reading.cache, reporter)
    if groups is not None:
        table = with_task_types(table, encodings, groups, encoder.sha256)
    material = material_of(table, encodings, config)
    split = split_prompts(table, config.training)
    fitted = with_cascade(fit(material, split, reporter.stage("fitting", steps(config))), material, answers)
    manifest = manifest_of(material, split, fitted, reading, report, encoder)
    fitted_on = [table.keys[row] for row in np.concatenate([split.train, split.validation])]
    neighbours = stored_prompts(table.rows(fitted.points), keep_text=config.training.keep_text)
    manifest = write_router(job.out, manifest, fitted, folder, fitted_on, neighbours, groups=groups)
    advice = advice_on(Version.load(job.out), material, encodings, split.test, job.reading.given(job.sources))
    record = run_record(manifest, fitted, report, reading)
    record = for_people(record, manifest, advice, job.register or job.out.name, job.sources)
    published = publish(job.out, record, job.tracking_uri, register=job.register)
    if job.register and job.alias:
        RouterRegistry(job.tracking_uri).point(job.register, job.alias, str(published.version))
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
        warnings=[
            *warnings,
            *_warnings(whole, material, fitted),
            *([fitted.cascade.sentence] if fitted.cascade else ()),
        ],
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
    sentences += _assumed_lengths(material)
    rates = np.nanmean(table.success, axis=0)
    sentences += [f"{m} never succeeded" for m, rate in zip(table.models, rates, strict=True) if rate == 0]
    if (whole.prompts_in_log or 0) > len(whole):
        sentences.append(
            f"{whole.prompts_in_log:,} prompts in the log, a uniform sample of {len(whole)} was used "
            "(training.max_prompts)"
        )
    named = {request.task_type for request in table.requests if request.task_type}
    if other := len(named) - len(material.spec.task_types):
        sentences.append(
            f"{len(named)} task types in the log, the {len(material.spec.task_types)} most frequent ones are "
            f"told apart; prompts of the other {other} are learnt and served like prompts without one"
        )
    if material.config.objective.caution:
        sentences.append(_price_of_caution(fitted, material.config.objective))
    if fitted.backtest.filled > 0:
        sentences.append(
            f"{rate(fitted.backtest.filled)} of the outcomes behind the thresholds are unknown and filled in "
            "with the predicted probability: log every model's outcome on some prompts to check them"
        )
    return sentences


def _assumed_lengths(material: Material) -> Iterator[str]:
    """A sentence on the models whose answers have no logged length, but a price by length."""
    table = material.table
    models = [
        model
        for model, tokens in zip(table.models, table.output_tokens.T, strict=True)
        if not np.isfinite(tokens).any() and material.prices[model].per_output_token > 0
    ]
    if not models:
        return
    length = "the mean of the other models' answers"
    if len(models) == len(table.models):
        length = f"{material.config.rules.answer_tokens:,} tokens (rules.answer_tokens)"
    yield (
        f"no call logs its output tokens: {', '.join(models)}; their costs assume an answer of {length}: "
        "log `output_tokens`, or map the column that holds them"
    )


def _price_of_caution(fitted: Fitted, objective: Objective) -> str:
    """What `objective.caution` changes, on the prompts that the weight was chosen on."""
    backtest, bold = fitted.backtest, objective.model_copy(update={"caution": 0.0})
    choices = [backtest.choice(weight) for weight in (fitted.policy.weight, choose_weight(backtest, bold))]
    success, cost = (
        [float(picked(values, choice).mean()) for choice in choices]
        for values in (backtest.success, backtest.cost)
    )
    shown = [
        f"{rate(share)} success at {usd_per_thousand(usd)}" for share, usd in zip(success, cost, strict=True)
    ]
    return f"objective.caution {objective.caution:g}: {shown[0]} per 1,000 calls; without it {shown[1]}"
