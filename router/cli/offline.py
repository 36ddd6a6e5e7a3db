"""The offline commands: call logs in; a call log, a router or a report out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated

import platformdirs
import typer

from router.cli.console import (
    AsJson,
    RouterAt,
    SettingsFile,
    app,
    loaded_version,
    people,
    print_json,
    progress_bars,
)
from router.cli.serving import answer
from router.config import load_config
from router.errors import ConfigError, MissingExtra, RouterError
from router.registry import without_credentials
from router.settings import Config

if TYPE_CHECKING:
    from training.preparation import Reading

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
def import_(
    sources: Calls,
    out: Annotated[Path, typer.Option(help="The canonical call log to write (Parquet).")],
    format_: Annotated[
        str,
        typer.Option("--format", metavar="NAME", help="A reader's name, or auto: the surest for each file."),
    ] = "auto",
    config: SettingsFile = None,
    mapping: Fields = None,
    rejects: Rejects = None,
    as_json: AsJson = False,
) -> None:
    """Read call logs into one canonical Parquet file."""
    training = _training()
    reading = replace(_reading(load_config(config), mapping, rejects or _beside(out), CACHE), format=format_)
    with progress_bars() as progress:
        summary = training.import_calls(sources, out, reading, progress)
    if as_json:
        print_json(training.asdict(summary))
    else:
        _show().reading(summary, out)


@app.command()
def train(
    calls: Calls,
    out: Annotated[Path, typer.Option(help="The router's folder.")],
    config: SettingsFile = None,
    register: Annotated[str | None, typer.Option(help="Make a registered version of this name.")] = None,
    encoder: Annotated[
        str | None, typer.Option(help="minilm, static, or a sentence-transformers name or folder.")
    ] = None,
    estimator: Annotated[str | None, typer.Option(help="auto, success or label.")] = None,
    mapping: Fields = None,
    rejects: Rejects = None,
    cache: Cache = CACHE,
    tracking_uri: Tracking = TRACKING,
    as_json: AsJson = False,
) -> None:
    """Train a router from call logs, write its folder, and record the run in MLflow."""
    training = _training()
    settings = _chosen(load_config(config), encoder=encoder, estimator=estimator)
    job = training.TrainJob(
        sources=calls,
        out=out,
        reading=_reading(settings, mapping, rejects or _beside(out), cache),
        tracking_uri=tracking_uri,
        register=register,
    )
    with progress_bars() as progress:
        trained = training.train(job, progress)
    if as_json:
        print_json(trained.to_json())
    else:
        _show().trained(trained)


@app.command()
def compare(
    calls: Calls,
    router: RouterAt,
    out: Annotated[Path, typer.Option(help="Folder for report.html and report.json.")],
    config: SettingsFile = None,
    mapping: Fields = None,
    rejects: Rejects = None,
    cache: Cache = CACHE,
    as_json: AsJson = False,
) -> None:
    """Say what a router is worth on logged calls, against every simple baseline, with error bars."""
    _training()
    from training.comparing.judging import compare_on_log

    loaded = loaded_version(router, config)
    reading = _reading(loaded.config, mapping, rejects or out / "rejects.jsonl", cache)
    with progress_bars() as progress:
        comparison = compare_on_log(calls, loaded, out, reading, progress)
    if as_json:
        print_json(comparison.to_json())
    else:
        _show().comparison(comparison, out)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Where calls and report go.")] = Path("runs/demo"),
    folder: Annotated[Path, typer.Option("--router", help="Where the router goes.")] = Path("models/demo"),
    cache: Cache = CACHE,
    tracking_uri: Tracking = TRACKING,
) -> None:
    """Show all of it on the bundled synthetic sample: import, train, compare, route, MLflow."""
    data = Path(__file__).parents[2] / "data"
    sample, settings, requests = (
        data / "sample_calls.parquet",
        data / "pointsman.yaml",
        data / "requests.jsonl",
    )
    if not sample.is_file():
        raise RouterError(f"{sample}: no sample here; run the demo in a clone of the project")
    calls, report = out / "calls.parquet", out / "report"
    _step(f"pointsman import data/{sample.name} --out {calls}")
    import_([str(sample)], calls)
    _step(f"pointsman train {calls} --out {folder} --config data/{settings.name} --register pointsman-demo")
    train([str(calls)], folder, settings, "pointsman-demo", cache=cache, tracking_uri=tracking_uri)
    _step(f"pointsman compare {calls} --router {folder} --out {report}")
    compare([str(calls)], str(folder), report, cache=cache)
    _step(f"pointsman route --router {folder} < data/{requests.name}")
    loaded = loaded_version(str(folder), None)
    lines = requests.read_bytes().splitlines()
    _show().decisions([(json.loads(line), answer(loaded, line)) for line in lines])
    people.print(f"\nThe report: {report / 'report.html'}", highlight=False)
    people.print(
        f"The runs:   mlflow ui --backend-store-uri {without_credentials(tracking_uri)}", highlight=False
    )


def _chosen(config: Config, *, encoder: str | None, estimator: str | None) -> Config:
    """The settings with what the command line says in their place."""
    given = {name: value for name, value in (("encoder", encoder), ("estimator", estimator)) if value}
    if estimator not in (None, "auto", "success", "label"):
        raise ConfigError(f"--estimator {estimator!r}: it is one of auto, success, label")
    return config.model_copy(update={"training": config.training.model_copy(update=given)})


def _reading(config: Config, mapping: list[str] | None, rejects: Path, cache: Path) -> Reading:
    from training.preparation import Reading

    return Reading(mapping=_pairs(mapping), rejects=rejects, config=config, cache=cache)


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


def _training() -> ModuleType:
    """The offline side, which an application that only routes does not install."""
    try:
        from training import pipeline
    except ImportError as error:
        raise MissingExtra(str(error.name), "train") from error
    return pipeline


def _show() -> ModuleType:
    from training import tables

    return tables


def _step(command: str) -> None:
    people.print(f"\n$ {command}", style="bold", highlight=False, soft_wrap=True)
