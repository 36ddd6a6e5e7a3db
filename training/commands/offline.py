"""The commands that import call logs and train a router, and the options that offline commands share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated

import platformdirs
import typer
from pydantic import ValidationError

from router.cli.console import (
    AsJson,
    SettingsFile,
    app,
    print_json,
    progress_bars,
)
from router.errors import ConfigError, MissingExtra
from router.settings.sections import Config, Objective
from router.settings.yaml_file import config_of, load_config
from training.commands.judging import (
    BudgetUsd,
    DryRun,
    Judge,
    Most,
    OwnAnswers,
    Repeats,
    Rubric,
    Yes,
    asked_first,
    calls_failed,
    judge_options,
    judge_terms,
    with_judge,
)
from training.commands.paying import CALLS_FAILED

if TYPE_CHECKING:
    from training.progress import Reporter
    from training.prompts.from_logs import ReadOptions
    from training.prompts.task_groups import InferredTasks

TRACKING = "sqlite:///mlflow.db"

Calls = Annotated[
    list[str],
    typer.Argument(
        help="Call logs: files, folders, globs, s3://..., gs://..., postgresql://...; see import --format."
    ),
]
Fields = Annotated[
    list[str] | None, typer.Option("--map", metavar="FIELD=COLUMN", help="Read a field from another column.")
]
Aliases = Annotated[
    list[str] | None,
    typer.Option(
        "--map-model",
        metavar="NAME=MODEL",
        help="Count a model of the logs under another name; may be repeated.",
    ),
]
Rejects = Annotated[Path | None, typer.Option(help="File for rows that can't be read (JSON lines).")]
Cache = Annotated[
    Path,
    typer.Option(
        envvar="POINTSMAN_CACHE", help="Folder that keeps exported encoders and embeddings between runs."
    ),
]
Tracking = Annotated[str, typer.Option(envvar="MLFLOW_TRACKING_URI", help="Where MLflow records the run.")]
CACHE = Path(platformdirs.user_cache_dir("pointsman"))


@app.command("import")
def import_command(
    sources: Calls,
    out: Annotated[Path, typer.Option(help="The canonical call log to write (Parquet).")],
    format_: Annotated[
        str,
        typer.Option(
            "--format", metavar="NAME", help="A reader's name, or auto: the most certain for each file."
        ),
    ] = "auto",
    config: SettingsFile = None,
    infer_tasks: Annotated[
        bool,
        typer.Option("--infer-tasks", help="Group the prompts that have no task type, and name the groups."),
    ] = False,
    grade: Annotated[
        bool,
        typer.Option(
            "--grade",
            help="Learn from the calls of known outcome how likely every answer is good; no outcome changes.",
        ),
    ] = False,
    judge: Judge = None,
    judge_rubric: Rubric = None,
    judge_most: Most = None,
    judge_budget: BudgetUsd = None,
    judge_repeats: Repeats = None,
    judge_own_answers: OwnAnswers = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    mapping: Fields = None,
    map_model: Aliases = None,
    rejects: Rejects = None,
    cache: Cache = CACHE,
    as_json: AsJson = False,
) -> None:
    """Read call logs into one canonical Parquet file; if a judge grades answers, ask before calling it.

    Exit code 3: the file is written, but calls of the judge failed.
    """
    if out.suffix not in ("", ".parquet", ".pq"):
        raise ConfigError(f"--out {out}: the canonical log is Parquet: name a file that ends in .parquet")
    training = offline()
    options = judge_options(
        judge, judge_rubric, judge_most, judge_budget, judge_repeats, own_answers=judge_own_answers
    )
    settings = with_judge(with_aliases(load_config(config), map_model), options)
    if grade:
        outcomes = settings.outcomes.model_copy(update={"grade": True})
        settings = settings.model_copy(update={"outcomes": outcomes})
    if dry_run and settings.outcomes.judge is None:
        raise ConfigError("--dry-run shows what a judge would cost: give --judge MODEL as well")
    rejects = None if dry_run else rejects or _beside(out)
    reading = replace(reading_of(settings, mapping, rejects, cache), format=format_)
    with progress_bars() as progress:
        terms = None
        if settings.outcomes.judge:
            terms = judge_terms(out, asked_first(progress, yes=yes, dry_run=dry_run, as_json=as_json))
        summary = training.import_calls(sources, out, reading, progress, terms)
        tasks = _inferred(out, reading, progress) if infer_tasks else None
    if as_json:
        print_json(training.asdict(summary) | ({"tasks": tasks.to_json()} if tasks else {}))
    else:
        tables_module().show_read_summary(summary, out)
        if tasks:
            tables_module().console.print(str(tasks), markup=False, soft_wrap=True)
    if calls_failed(summary):
        raise typer.Exit(CALLS_FAILED)


def _inferred(out: Path, reading: ReadOptions, reporter: Reporter) -> InferredTasks:
    """Infer the task groups of the log just written."""
    from training.prompts.task_groups import infer_tasks

    return infer_tasks(out, reading, reporter, reading.config.training.seed)


@app.command("train")
def train_command(
    calls: Calls,
    out: Annotated[Path, typer.Option(help="Folder for the router.")],
    config: SettingsFile = None,
    register: Annotated[
        str | None, typer.Option(help="Register the router in MLflow under this name.")
    ] = None,
    alias: Annotated[
        str | None, typer.Option(help="Alias to point to the registered version, such as challenger.")
    ] = None,
    encoder: Annotated[
        str | None, typer.Option(help="minilm, static, or a sentence-transformers name or folder.")
    ] = None,
    estimator: Annotated[str | None, typer.Option(help="auto, success or label.")] = None,
    max_quality_loss: Annotated[
        float | None, typer.Option(help="Promise a success rate at most this far below the best model's.")
    ] = None,
    confidence: Annotated[
        float | None, typer.Option(help="Confidence of that promise; default: 0.95.")
    ] = None,
    mapping: Fields = None,
    map_model: Aliases = None,
    rejects: Rejects = None,
    cache: Cache = CACHE,
    tracking_uri: Tracking = TRACKING,
    as_json: AsJson = False,
) -> None:
    """Train a router from call logs, write its folder, and record the run in MLflow."""
    training = offline()
    _check_alias(alias, register)
    settings = _with_promise(with_aliases(load_config(config), map_model), max_quality_loss, confidence)
    settings = _with_training(settings, encoder=encoder, estimator=estimator)
    job = training.TrainJob(
        sources=calls,
        out=out,
        reading=reading_of(settings, mapping, rejects or _beside(out), cache),
        tracking_uri=tracking_uri,
        register=register,
        alias=alias,
    )
    with progress_bars() as progress:
        trained = training.train(job, progress)
    if as_json:
        print_json(trained.to_json())
    else:
        tables_module().trained(trained)


def _check_alias(alias: str | None, register: str | None) -> None:
    """Refuse an alias that can't be set after the training.

    Raises:
        ConfigError: there is no registered version to point to, or MLflow takes no such name.
    """
    from training.tracking.versions import check_alias

    if alias is not None:
        if register is None:
            raise ConfigError(f"--alias {alias} points to a registered version: give --register NAME as well")
        check_alias(alias)


def _with_training(config: Config, *, encoder: str | None, estimator: str | None) -> Config:
    """The settings with the encoder and estimator that the command line names."""
    changes = {name: value for name, value in (("encoder", encoder), ("estimator", estimator)) if value}
    if estimator not in (None, "auto", "success", "label"):
        raise ConfigError(f"--estimator {estimator!r}: it must be one of auto, success, label")
    return config.model_copy(update={"training": config.training.model_copy(update=changes)})


def _with_promise(config: Config, max_quality_loss: float | None, confidence: float | None) -> Config:
    """The settings with a promise of a bounded loss as their objective, if the command line requests one.

    Raises:
        ConfigError: as `promise_of`.
    """
    objective = promise_of(max_quality_loss, confidence)
    return config if objective is None else config.model_copy(update={"objective": objective})


def promise_of(max_quality_loss: float | None, confidence: float | None) -> Objective | None:
    """The objective that --max-quality-loss and --confidence request; None if they request no promise.

    Raises:
        ConfigError: a value is out of range, or there is a confidence without a loss.
    """
    if max_quality_loss is None:
        if confidence is not None:
            raise ConfigError("--confidence belongs to a promise: give --max-quality-loss as well")
        return None
    values = {"max_quality_loss": max_quality_loss, "confidence": confidence}
    try:
        return Objective.model_validate({name: value for name, value in values.items() if value is not None})
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0]).replace("_", "-")
        raise ConfigError(f"--{name}: {error.errors()[0]['msg'].lower()}") from error


def reading_of(config: Config, mapping: list[str] | None, rejects: Path | None, cache: Path) -> ReadOptions:
    """The reading options that a command line gives."""
    from training.prompts.from_logs import ReadOptions

    return ReadOptions(mapping=_pairs("--map", mapping, _FIELD), rejects=rejects, config=config, cache=cache)


_FIELD = "FIELD=COLUMN, for example --map model=model_name"
_ALIAS = "NAME=MODEL, for example --map-model gpt-4o=openai/gpt-4o"


def with_aliases(config: Config, names: list[str] | None) -> Config:
    """The settings with the aliases of models that the command line adds.

    Raises:
        ConfigError: an alias is no NAME=MODEL, or leads to another alias.
    """
    if not names:
        return config
    aliases = {**config.aliases, **_pairs("--map-model", names, _ALIAS)}
    return config.model_copy(update={"aliases": (config_of({"aliases": aliases}) or config).aliases})


def _pairs(option: str, values: list[str] | None, form: str) -> Mapping[str, str]:
    """`NAME=VALUE` options as a mapping; `form` says how to write one."""
    pairs = {}
    for value in values or ():
        name, equals, other = value.partition("=")
        if not (name and equals and other):
            raise ConfigError(f"{option} {value!r}: write {form}")
        pairs[name] = other
    return pairs


def _beside(out: Path) -> Path:
    """The rejects file that goes with an output."""
    return out.with_name(f"{out.stem}.rejects.jsonl")


def offline() -> ModuleType:
    """The training pipeline.

    Raises:
        MissingExtra: the packages that training needs are not installed.
    """
    try:
        from training import pipeline
    except ImportError as error:
        raise MissingExtra(str(error.name), "train") from error
    return pipeline


def tables_module() -> ModuleType:
    """The module of tables, imported late because it is heavy."""
    from training.commands import tables

    return tables
