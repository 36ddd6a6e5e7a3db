"""The offline commands whole, from files to files: import and train."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from router.errors import TrainingError
from router.forecasting.encoder import Encoding, load_encoder
from router.forecasting.features import FeatureSpec, embedded_text, featurize
from router.forecasting.task_groups import TaskGroups
from router.forecasting.training_prompts import TrainingPrompts
from router.loading.artifact import check_target, new_folder, save_arrays, seal
from router.models.prices import current_prices
from router.records import Json, Request, last_said
from router.settings.sections import Config
from router.text import well_formed
from router.version import ENCODER_FOLDER, HEAD_FILE, KEYS_FILE, TASKS_FOLDER, check_models
from training.judging.run import JudgeTerms, judged
from training.learning.fitting import Fitted, Material, fit, steps
from training.learning.manifest import manifest_of, run_record
from training.learning.runner_up import save_runner_up
from training.progress import Reporter
from training.prompts.encoder_export import INFO_FILE, encoder_info, prepared_encoder
from training.prompts.from_logs import ReadOptions, calls_of, encodings_of, table_of
from training.prompts.labels import cheapest_success, data_report
from training.prompts.pricing import logged_prices, price_differences
from training.prompts.split import Split, split_groups
from training.prompts.table import PromptTable
from training.prompts.task_groups import check_encoder, groups_of
from training.reading.calls import write_calls
from training.reading.summary import ReadSummary
from training.tracking.publish import Published, publish
from training.whole_file import check_place

logger = logging.getLogger(__name__)

LEAST_PROMPTS = 50
LEAST_TAG_PROMPTS = 20
MOST_TAGS = 64
GRAM_DIMENSIONS = 512
TEXT_CHARACTERS = 200
"""What is kept of a training prompt's text, where any is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainJob:
    """One training run.

    Attributes:
        register: name to register the router under, or None.
    """

    sources: Sequence[str]
    out: Path
    reading: ReadOptions
    tracking_uri: str
    register: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What a training run made.

    Attributes:
        report: the data report.
        embedded: number of prompts that had to be embedded; the others were in the cache.
        warnings: sentences for people.
    """

    out: Path
    manifest: Mapping[str, Json]
    reading: ReadSummary
    report: Mapping[str, Json]
    fitted: Fitted
    published: Published
    embedded: int
    warnings: Sequence[str]

    def to_json(self) -> dict[str, Json]:
        """What `pointsman train --json` prints."""
        return {
            "out": str(self.out),
            "policy_version": self.manifest["policy_version"],
            "models": self.manifest["models"],
            "estimator": self.fitted.published,
            "metrics": self.manifest["metrics"],
            "policy": self.manifest["policy"],
            "reading": {**asdict(self.reading), "rejected": self.reading.rejected},
            "data": self.report,
            "embedded": self.embedded,
            "mlflow": asdict(self.published),
            "warnings": list(self.warnings),
        }


def import_calls(
    sources: Sequence[str],
    out: Path,
    reading: ReadOptions,
    reporter: Reporter,
    judge: JudgeTerms | None = None,
) -> ReadSummary:
    """Read call logs into one canonical Parquet file; returns what was read.

    Args:
        judge: how the judge among the outcome rules is asked; None: it is not, and calls nobody.

    Raises:
        CallLogError: a file can't be read, too many rows can't, or `out` can't be written.
        ConfigError: as `judged`.
    """
    check_place(out)
    with calls_of(sources, reading, reporter) as files:
        if judge is not None:
            files = judged(files, reading.config, judge, reporter)
        write_calls(files, out)
        return files.summary


def train(job: TrainJob, reporter: Reporter) -> Trained:
    """Train a router from call logs, write its folder, and record the run in MLflow.

    Raises:
        ArtifactError: `job.out` holds something that is no router.
        CallLogError: as `import_calls`.
        TrainingError: nothing can be learnt from the calls.
        ConfigError: the rules name a model that is not among those trained.
        RouterError: MLflow does not take the run; the folder is written by then.
    """
    check_target(job.out)
    config = job.reading.config
    with calls_of(job.sources, job.reading, reporter) as files:
        reading = files.summary
        groups = groups_of(reading.files)
        whole = table_of(files, config, reporter)
    report = data_report(whole, cheapest_success(whole))
    table, warnings = usable_models(whole, config)
    check_models(config, table.models)
    encoder = _encoder(table, job.reading, reporter)
    encodings, embedded = encodings_of(
        table, load_encoder(encoder, encoder_info(encoder)), job.reading.cache, reporter
    )
    if groups is not None:
        table = _typed(table, encodings, groups, encoder_info(encoder).sha256)
    material = material_of(table, encodings, config)
    split = _split(table, config)
    fitted = fit(material, split, reporter.stage("fitting", steps(config)))
    manifest = manifest_of(material, split, fitted, reading, report, encoder_info(encoder))
    fitted_on = [table.keys[row] for row in np.concatenate([split.train, split.validation])]
    neighbours = stored_prompts(table.rows(fitted.points), keep_text=config.training.keep_text)
    manifest = write_router(job.out, manifest, fitted, encoder, fitted_on, neighbours, groups=groups)
    record = run_record(manifest, fitted, report, reading)
    published = publish(job.out, record, job.tracking_uri, register=job.register)
    return Trained(
        out=job.out,
        manifest=manifest,
        reading=reading,
        report=report,
        fitted=fitted,
        published=published,
        embedded=embedded,
        warnings=[*warnings, *_warnings(whole, material, fitted)],
    )


def usable_models(table: PromptTable, config: Config) -> tuple[PromptTable, list[str]]:
    """The table without the models whose outcomes are too few, and a warning for each.

    Raises:
        TrainingError: fewer than two models, or too few prompts, are left.
    """
    need = config.training.min_calls
    known = np.isfinite(table.success)
    counts = dict(zip(table.models, table.known_calls().sum(axis=0).tolist(), strict=True))
    models = [model for model, count in counts.items() if count >= need]
    if not known.any():
        raise TrainingError(
            "no call of the log has a known outcome: success (true or false) or score (0 to 1) must say it; "
            "where another column does, name it with --map success=COLUMN or --map score=COLUMN"
        )
    if len(models) < 2:
        listed = ", ".join(f"{model}: {count}" for model, count in counts.items()) or "none"
        raise TrainingError(
            f"a router needs at least two models with {need} calls of known outcome (success or score); "
            f"the log has {listed}. Log more outcomes, add another model's calls, or lower training.min_calls"
        )
    rows = np.flatnonzero(known[:, [table.models.index(model) for model in models]].any(axis=1))
    if len(rows) < LEAST_PROMPTS:
        raise TrainingError(
            f"{len(rows)} prompts have a known outcome, at least {LEAST_PROMPTS} are needed: log more calls"
        )
    warnings = [
        f"{model} is left out: {count} calls with a known outcome, {need} needed (training.min_calls)"
        for model, count in counts.items()
        if count < need
    ]
    return table.rows(rows).columns(models), warnings


def write_router(  # noqa: PLR0913 - each is a part of the folder
    out: Path,
    manifest: Mapping[str, Json],
    fitted: Fitted,
    encoder: Path,
    keys: Sequence[str],
    neighbours: TrainingPrompts,
    *,
    groups: TaskGroups | None = None,
) -> dict[str, Json]:
    """Write a router's folder, whole or not at all; returns the manifest as written.

    Args:
        encoder: folder of the exported encoder.
        keys: prompt keys that the router was fitted on; a comparison leaves them out.
        neighbours: the prompts in the head's neighbour store; an explanation shows the nearest.
        groups: what stands in for a task type, where the log's was inferred.
    """
    with new_folder(out) as folder:
        save_arrays(folder / HEAD_FILE, fitted.head.to_arrays())
        if fitted.runner_up:
            save_runner_up(folder, fitted.runner_up, fitted.head)
        numbers = np.array(sorted(int(key[:16], 16) for key in keys), dtype=np.uint64)
        save_arrays(folder / KEYS_FILE, {"keys": numbers})
        neighbours.save(folder)
        if groups is not None:
            groups.save(folder / TASKS_FOLDER)
        shutil.copytree(encoder, folder / ENCODER_FOLDER, ignore=shutil.ignore_patterns(INFO_FILE))
        return seal(folder, manifest)


def _typed(
    table: PromptTable, encodings: Sequence[Encoding], groups: TaskGroups, encoder_sha256: str
) -> PromptTable:
    """The table with the task types that the router will see at serving.

    Raises:
        TrainingError: the groups belong to another encoder.
    """
    check_encoder(groups, encoder_sha256)
    rows = zip(table.requests, encodings, strict=True)
    return replace(table, requests=[_typed_one(groups, request, encoding) for request, encoding in rows])


def _typed_one(groups: TaskGroups, request: Request, encoding: Encoding) -> Request:
    return groups.typed(request, lambda _: encoding)


def stored_prompts(table: PromptTable, *, keep_text: bool) -> TrainingPrompts:
    """What the router's folder holds of the prompts in its neighbour store, whose rows these are."""
    return TrainingPrompts(
        keys=np.array([int(key[:16], 16) for key in table.keys], dtype=np.uint64),
        outcomes=table.success.astype(np.float32),
        texts=[well_formed(last_said(request.messages)[:TEXT_CHARACTERS]) for request in table.requests]
        if keep_text
        else None,
    )


def _encoder(table: PromptTable, reading: ReadOptions, reporter: Reporter) -> Path:
    """Folder of the encoder that the settings name; its export is checked on the log's prompts."""
    advance = reporter.stage("preparing the encoder", 1)
    step = max(1, len(table) // 256)
    texts = [embedded_text(request) for request in table.requests[::step]]
    folder = prepared_encoder(reading.config.training.encoder, texts, reading.cache)
    advance(1)
    return folder


def material_of(
    table: PromptTable, encodings: Sequence[Encoding], config: Config, spec: FeatureSpec | None = None
) -> Material:
    """Features, labels and prices of the prompts; without a specification the log gives it."""
    logged = {model: price.to_json() for model, price in logged_prices(table).items()}
    spec = spec or _feature_spec(table)
    return Material(
        table=table,
        spec=spec,
        features=featurize(table.requests, encodings, spec),
        label=cheapest_success(table).label,
        prices=current_prices(table.models, logged, config),
        logged=logged,
        config=config,
    )


def _feature_spec(table: PromptTable) -> FeatureSpec:
    """Task types that the log has, and the tags that are frequent enough to learn from."""
    types = sorted({request.task_type for request in table.requests if request.task_type})
    counts: dict[str, int] = {}
    for request in table.requests:
        for tag in request.tags:
            counts[tag] = counts.get(tag, 0) + 1
    frequent = sorted(
        (tag for tag in counts if counts[tag] >= LEAST_TAG_PROMPTS), key=lambda tag: -counts[tag]
    )
    return FeatureSpec(
        task_types=tuple(types), tags=tuple(sorted(frequent[:MOST_TAGS])), gram_dimensions=GRAM_DIMENSIONS
    )


def _split(table: PromptTable, config: Config) -> Split:
    settings = config.training
    return split_groups(
        table.groups,
        table.times,
        validation_share=settings.validation_share,
        test_share=settings.test_share,
        seed=settings.seed,
    )


def _warnings(whole: PromptTable, material: Material, fitted: Fitted) -> list[str]:
    """What the person who trains should know, beside the models that were left out."""
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
    if fitted.judged.filled > 0:
        sentences.append(
            f"{fitted.judged.filled:.0%} of the outcomes behind the thresholds are unknown and filled in "
            "with the predicted probability: log every model's outcome on some prompts to check them"
        )
    return sentences
