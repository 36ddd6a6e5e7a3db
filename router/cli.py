"""The `pointsman` command: parse, call one function, print."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, NoReturn

import platformdirs
import typer
from rich.console import Console
from rich.logging import RichHandler

from router import __version__
from router.config import Config, load_config
from router.errors import ConfigError, MissingExtra, RequestError, RouterError
from router.records import Json, Request
from router.registry import without_credentials

if TYPE_CHECKING:
    from router.client import Router
    from training.preparation import Reading

BAD_LINES = 3
"""Exit code of `route` when it answered, but some lines could not be read."""
TRACKING = "sqlite:///mlflow.db"

app = typer.Typer(
    help="Learn from logged LLM calls which model is the cheapest that succeeds; route each prompt there.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
people = Console(stderr=True, emoji=False)
"""Emoji codes stay as they are: `pointsman.yaml:100:` is a line, not a picture."""

Calls = Annotated[list[str], typer.Argument(help="Call logs: Parquet, JSON lines or CSV; files and globs.")]
Settings = Annotated[Path | None, typer.Option("--config", help="The team's pointsman.yaml.")]
Fields = Annotated[
    list[str] | None, typer.Option("--map", metavar="FIELD=COLUMN", help="Read a field from another column.")
]
Rejects = Annotated[Path | None, typer.Option(help="Where rows that can't be read go (JSON lines).")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts, not tables for people.")]
RouterAt = Annotated[str, typer.Option("--router", help="A router's folder, or models:/NAME@ALIAS.")]
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
        str, typer.Option("--format", help="auto: by each file's ending and columns.")
    ] = "auto",
    config: Settings = None,
    mapping: Fields = None,
    rejects: Rejects = None,
    as_json: AsJson = False,
) -> None:
    """Read call logs into one canonical Parquet file."""
    training = _training()
    if format_ != "auto":
        raise ConfigError(f"--format {format_!r}: only 'auto' is known; it reads Parquet, JSON lines and CSV")
    reading = _reading(load_config(config), mapping, rejects or _beside(out), CACHE)
    with _progress() as progress:
        summary = training.import_calls(sources, out, reading, progress)
    if as_json:
        _print_json(training.asdict(summary))
    else:
        _show().reading(summary, out)


@app.command()
def train(
    calls: Calls,
    out: Annotated[Path, typer.Option(help="The router's folder.")],
    config: Settings = None,
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
        config_text=config.read_text(encoding="utf-8") if config else "",
        reading=_reading(settings, mapping, rejects or _beside(out), cache),
        tracking_uri=tracking_uri,
        register=register,
    )
    with _progress() as progress:
        trained = training.train(job, progress)
    if as_json:
        _print_json(trained.to_json())
    else:
        _show().trained(trained)


@app.command()
def route(
    router: RouterAt,
    config: Settings = None,
    requests: Annotated[
        typer.FileBinaryRead, typer.Argument(help="Requests, one JSON object a line; default standard input.")
    ] = "-",  # type: ignore[assignment] # typer opens it
) -> None:
    """Read one request a line, write one decision a line, in order."""
    from router.client import Router

    loaded = Router.load(router, config=config)
    bad = 0
    with _progress() as progress:
        advance = progress.stage("routing", None)
        for line in requests:
            answer = _answer(loaded, line)
            bad += "error" in answer
            _print_json(answer)
            advance(1)
    if bad:
        people.print(f"{bad} line(s) can't be read: see the 'error' lines in their place", style="yellow")
        raise typer.Exit(BAD_LINES)


@app.command()
def compare(
    calls: Calls,
    router: RouterAt,
    out: Annotated[Path, typer.Option(help="Folder for report.html and report.json.")],
    config: Settings = None,
    mapping: Fields = None,
    rejects: Rejects = None,
    cache: Cache = CACHE,
    as_json: AsJson = False,
) -> None:
    """Say what a router is worth on logged calls, against every simple baseline, with error bars."""
    from router.client import Router

    _training()
    from training.judging import compare_on_log

    loaded = Router.load(router, config=config)
    reading = _reading(loaded.config, mapping, rejects or out / "rejects.jsonl", cache)
    with _progress() as progress:
        comparison = compare_on_log(calls, loaded, out, reading, progress)
    if as_json:
        _print_json(comparison.to_json())
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
    data = Path(__file__).parent.parent / "data"
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
    from router.client import Router

    loaded = Router.load(folder)
    lines = requests.read_bytes().splitlines()
    _show().decisions([(json.loads(line), _answer(loaded, line)) for line in lines])
    people.print(f"\nThe report: {report / 'report.html'}", highlight=False)
    people.print(
        f"The runs:   mlflow ui --backend-store-uri {without_credentials(tracking_uri)}", highlight=False
    )


@app.command()
def version() -> None:
    """Print the version."""
    print(__version__)


def main() -> None:
    """Run the command; an error of ours ends it with one line and exit code 1."""
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    handler = RichHandler(console=people, show_path=False, show_time=False, show_level=False)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler])
    for noisy in ("mlflow", "alembic", "sentence_transformers", "transformers"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    try:
        app()
    except RouterError as error:
        _fail(error)


def _fail(error: RouterError) -> NoReturn:
    people.print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
    raise SystemExit(1)


def _answer(router: Router, line: bytes) -> dict[str, Json]:
    """The decision for one line of requests, or an `error` member that says what was wrong with it."""
    if not line.strip():
        return {"error": "the line is empty: a request is a JSON object"}
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        return {"error": f"not valid JSON: {error}"}
    try:
        return router.decide(Request.from_json(value)).to_json()
    except RequestError as error:
        return {"error": str(error)}
    except RecursionError:
        return {"error": "the request is nested too deeply"}


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


def _print_json(value: Json) -> None:
    """One line of JSON; a number that is unknown is null."""
    print(json.dumps(_plain(value), ensure_ascii=False, allow_nan=False), flush=True)


def _plain(value: Json) -> Json:
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool | None) else str(value)


class _Stages:
    """Progress bars on standard error, one a stage; nothing where people don't look."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        self.bars = Progress(*columns, console=people, disable=not people.is_terminal)

    def stage(self, name: str, total: float | None) -> Callable[[float], None]:
        """See `training.preparation.Reporter`."""
        task = self.bars.add_task(name, total=total)
        return lambda done: self.bars.advance(task, done)


@contextmanager
def _progress() -> Iterator[_Stages]:
    stages = _Stages()
    with stages.bars:
        yield stages


if __name__ == "__main__":
    main()
