"""The commands that import call logs and train a router, and the options that offline commands share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated

import platformdirs
import typer

from router.cli.console import (
    AsJson,
    SettingsFile,
    app,
    print_json,
    progress_bars,
)
from router.errors import ConfigError, MissingExtra
from training.commands.judging import (
    BudgetUsd,
    DryRun,
    Judge,
    Most,
    OwnAnswers,
    Repeats,
    Rubric,
    asked_first,
    show_offer,
)
from training.commands.paying import CALLS_FAILED, Yes

if TYPE_CHECKING:
    from router.settings.sections import Config
    from training.prompts.from_logs import ReadOptions

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
Register = Annotated[str | None, typer.Option(help="Register the router in MLflow under this name.")]
Alias = Annotated[
    str | None, typer.Option(help="Alias to point to the registered version, such as challenger.")
]
Tracking = Annotated[
    str,
    typer.Option(
        envvar="MLFLOW_TRACKING_URI",
        help="MLflow's server or database, with its runs and registered versions.",
    ),
]
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
    api = offline()
    with progress_bars() as progress:
        done = api.import_calls(
            sources,
            out=out,
            format=format_,
            config=config,
            infer_tasks=infer_tasks,
            grade=grade,
            judge=judge,
            judge_rubric=judge_rubric,
            judge_most=judge_most,
            judge_budget=judge_budget,
            judge_repeats=judge_repeats,
            judge_own_answers=judge_own_answers,
            dry_run=dry_run,
            yes=asked_first(progress, yes=yes, as_json=as_json),
            map=columns_of(mapping),
            map_model=aliases_of(map_model),
            rejects=rejects or _beside(out),
            cache=cache,
            progress=progress,
        )
    if as_json:
        print_json(done.to_json())
    elif not done.written:
        show_offer(done.offer, print)
    else:
        tables_module().show_read_summary(done.summary, out)
        if done.tasks:
            tables_module().console.print(str(done.tasks), markup=False, soft_wrap=True)
    if done.calls_failed:
        raise typer.Exit(CALLS_FAILED)


@app.command("train")
def train_command(
    calls: Calls,
    out: Annotated[Path, typer.Option(help="Folder for the router.")],
    config: SettingsFile = None,
    register: Register = None,
    alias: Alias = None,
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
    api = offline()
    with progress_bars() as progress:
        trained = api.train(
            calls,
            out=out,
            config=config,
            register=register,
            alias=alias,
            encoder=encoder,
            estimator=estimator,
            max_quality_loss=max_quality_loss,
            confidence=confidence,
            map=columns_of(mapping),
            map_model=aliases_of(map_model),
            rejects=rejects or _beside(out),
            cache=cache,
            tracking_uri=tracking_uri,
            progress=progress,
        )
    if as_json:
        print_json(trained.to_json())
    else:
        tables_module().trained(trained)


def reading_of(config: Config, mapping: list[str] | None, rejects: Path | None, cache: Path) -> ReadOptions:
    """The reading options that a command line gives."""
    from training.prompts.from_logs import ReadOptions

    return ReadOptions(mapping=columns_of(mapping), rejects=rejects, config=config, cache=cache)


def columns_of(mapping: list[str] | None) -> Mapping[str, str]:
    """The source column per field that a command line gives."""
    return _pairs("--map", mapping, "FIELD=COLUMN, for example --map model=model_name")


def aliases_of(names: list[str] | None) -> Mapping[str, str]:
    """The name that each model counts under, as a command line gives them."""
    return _pairs("--map-model", names, "NAME=MODEL, for example --map-model gpt-4o=openai/gpt-4o")


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
    """The functions that the commands call.

    Raises:
        MissingExtra: the packages that training needs are not installed.
    """
    try:
        from training import api
    except ImportError as error:
        raise MissingExtra(str(error.name), "train") from error
    return api


def tables_module() -> ModuleType:
    """The module of tables, imported late because it is heavy."""
    from training.commands import tables

    return tables
