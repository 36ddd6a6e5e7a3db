"""The offline commands: call logs in; a call log, a router or a report out."""

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
from router.settings.yaml_file import load_config
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
        help="Call logs: files, folders, globs, s3://..., gs://..., postgresql://...; see --format of import."
    ),
]
Fields = Annotated[
    list[str] | None, typer.Option("--map", metavar="FIELD=COLUMN", help="Read a field from another column.")
]
Rejects = Annotated[Path | None, typer.Option(help="Where rows that can't be read go (JSON lines).")]
Cache = Annotated[
    Path,
    typer.Option(envvar="POINTSMAN_CACHE", help="Keeps exported encoders and embeddings between runs."),
]
Tracking = Annotated[str, typer.Option(envvar="MLFLOW_TRACKING_URI", help="Where MLflow records the run.")]
CACHE = Path(platformdirs.user_cache_dir("pointsman"))


@app.command("import")
def import_command(
    sources: Calls,
    out: Annotated[Path, typer.Option(help="The canonical call log to write (Parquet).")],
    format_: Annotated[
        str,
        typer.Option("--format", metavar="NAME", help="A reader's name, or auto: the surest for each file."),
    ] = "auto",
    config: SettingsFile = None,
    infer_tasks: Annotated[
        bool,
        typer.Option("--infer-tasks", help="Group the prompts without a task type, and name the groups."),
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
    rejects: Rejects = None,
    cache: Cache = CACHE,
    as_json: AsJson = False,
) -> None:
    """Read call logs into one canonical Parquet file; a judge among the outcome rules is asked first.

    Exit code 3: the file is written, but calls of the judge failed.
    """
    training = offline()
    given = judge_options(
        judge, judge_rubric, judge_most, judge_budget, judge_repeats, own_answers=judge_own_answers
    )
    settings = with_judge(load_config(config), given)
    if dry_run and settings.outcomes.judge is None:
        raise ConfigError("--dry-run says what a judge would cost: give --judge MODEL as well")
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
    """The task groups of a log that was just written."""
    from training.prompts.task_groups import infer_tasks

    return infer_tasks(out, reading, reporter, reading.config.training.seed)


@app.command("train")
def train_command(
    calls: Calls,
    out: Annotated[Path, typer.Option(help="The router's folder.")],
    config: SettingsFile = None,
    register: Annotated[str | None, typer.Option(help="Make a registered version of this name.")] = None,
    encoder: Annotated[
        str | None, typer.Option(help="minilm, static, or a sentence-transformers name or folder.")
    ] = None,
    estimator: Annotated[str | None, typer.Option(help="auto, success or label.")] = None,
    max_quality_loss: Annotated[
        float | None, typer.Option(help="Promise a success rate at most this far below the best model's.")
    ] = None,
    confidence: Annotated[float | None, typer.Option(help="Of that promise; 0.95 if not given.")] = None,
    mapping: Fields = None,
    rejects: Rejects = None,
    cache: Cache = CACHE,
    tracking_uri: Tracking = TRACKING,
    as_json: AsJson = False,
) -> None:
    """Train a router from call logs, write its folder, and record the run in MLflow."""
    training = offline()
    settings = _promising(load_config(config), max_quality_loss, confidence)
    settings = _chosen(settings, encoder=encoder, estimator=estimator)
    job = training.TrainJob(
        sources=calls,
        out=out,
        reading=reading_of(settings, mapping, rejects or _beside(out), cache),
        tracking_uri=tracking_uri,
        register=register,
    )
    with progress_bars() as progress:
        trained = training.train(job, progress)
    if as_json:
        print_json(trained.to_json())
    else:
        tables_module().trained(trained)


def _chosen(config: Config, *, encoder: str | None, estimator: str | None) -> Config:
    """The settings with what the command line says in their place."""
    given = {name: value for name, value in (("encoder", encoder), ("estimator", estimator)) if value}
    if estimator not in (None, "auto", "success", "label"):
        raise ConfigError(f"--estimator {estimator!r}: it is one of auto, success, label")
    return config.model_copy(update={"training": config.training.model_copy(update=given)})


def _promising(config: Config, max_quality_loss: float | None, confidence: float | None) -> Config:
    """The settings with a promise of a bounded loss as their objective, where one is asked for.

    Raises:
        ConfigError: as `promise_asked_for`.
    """
    objective = promise_asked_for(max_quality_loss, confidence)
    return config if objective is None else config.model_copy(update={"objective": objective})


def promise_asked_for(max_quality_loss: float | None, confidence: float | None) -> Objective | None:
    """The objective that --max-quality-loss and --confidence name; None where there is no promise to make.

    Raises:
        ConfigError: a value is out of its range, or a confidence stands alone.
    """
    if max_quality_loss is None:
        if confidence is not None:
            raise ConfigError("--confidence is that of a promise: give --max-quality-loss as well")
        return None
    wanted = {"max_quality_loss": max_quality_loss, "confidence": confidence}
    try:
        return Objective.model_validate({name: value for name, value in wanted.items() if value is not None})
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0]).replace("_", "-")
        raise ConfigError(f"--{name}: {error.errors()[0]['msg'].lower()}") from error


def reading_of(config: Config, mapping: list[str] | None, rejects: Path | None, cache: Path) -> ReadOptions:
    """How call logs are read, by the options of a command."""
    from training.prompts.from_logs import ReadOptions

    return ReadOptions(mapping=_pairs(mapping), rejects=rejects, config=config, cache=cache)


def _pairs(mapping: list[str] | None) -> Mapping[str, str]:
    """`FIELD=COLUMN` options as a mapping."""
    pairs = {}
    for option in mapping or ():
        field, equals, column = option.partition("=")
        if not (field and equals and column):
            raise ConfigError(f"--map {option!r}: write FIELD=COLUMN, for example --map model=model_name")
        pairs[field] = column
    return pairs


def _beside(out: Path) -> Path:
    """The rejects file that goes with an output."""
    return out.with_name(f"{out.stem}.rejects.jsonl")


def offline() -> ModuleType:
    """The offline side, which an application that only routes does not install."""
    try:
        from training import pipeline
    except ImportError as error:
        raise MissingExtra(str(error.name), "train") from error
    return pipeline


def tables_module() -> ModuleType:
    """The tables for people."""
    from training.commands import tables

    return tables
