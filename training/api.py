"""The offline half of the Python API: what the commands of the same names do, with results to work with."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from inspect import signature
from os import PathLike
from pathlib import Path
from typing import Literal, ParamSpec, Protocol, TypeAlias, TypeVar, get_args, runtime_checkable

import platformdirs
import pyarrow as pa

from router.errors import CallLogError, ConfigError
from router.numbers import dollars
from router.records import Json, refuse_near_misses
from router.serving.client import Router
from router.serving.versions import check_learned, load_learned
from router.settings.sections import Config
from router.settings.yaml_file import config_of
from router.version import Version
from training.comparing.comparison import Draws
from training.comparing.evaluated import Comparison
from training.comparing.job import CompareJob, Method, PromiseTerms
from training.comparing.on_log import compare_on_log
from training.inspecting.gaps import LogReport
from training.inspecting.inspection import InspectJob, inspect_calls
from training.inspecting.page import write_page
from training.judging.run import DryRun, JudgeOffer, JudgeTerms, record_beside
from training.options import promise_of, with_aliases, with_judge, with_promise, with_training
from training.pipeline import Imported, Trained, TrainJob, import_log, train_on_log
from training.progress import Reporter, Silent
from training.prompts import task_groups
from training.prompts.from_logs import ReadOptions
from training.reading.files.log_file import one_line
from training.reading.rows.recognising import AUTO
from training.replaying.plan import Purpose, ReplayJob, ReplayOffer, plan_replay
from training.replaying.run import Replayed, replay_agreed
from training.replaying.selection import Strategy
from training.spending.paid_calls import CallTerms, check_callable
from training.tracking.versions import check_registered

TRACKING = "sqlite:///mlflow.db"
FRAME = "DATAFRAME"
"""Stands for a data frame in messages and in the commands that results recommend."""

P = ParamSpec("P")
Result = TypeVar("Result")
Offer = TypeVar("Offer")


@runtime_checkable
class ArrowStream(Protocol):
    """A data frame of polars, pandas, pyarrow or another library with Arrow's C stream."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Export the rows."""
        ...


Place: TypeAlias = str | PathLike[str]
Log: TypeAlias = Place | ArrowStream | Sequence[Place | ArrowStream]
"""Call logs: files, folders, globs, addresses and data frames."""
Settings: TypeAlias = Config | Mapping[str, object] | str | Path | None
"""Settings, as a mapping or the path of a `pointsman.yaml`."""
AnyRouter: TypeAlias = Router | Place
"""A router, its folder, or models:/NAME@ALIAS."""


def _named(function: Callable[P, Result]) -> Callable[P, Result]:
    """Refuse an option that must be a slip of the pen, and name the one that is meant."""
    known = frozenset(signature(function).parameters)

    @wraps(function)
    def checked(*arguments: P.args, **options: P.kwargs) -> Result:
        refuse_near_misses(options, known)
        return function(*arguments, **options)

    return checked


@_named
def inspect(
    log: Log,
    *,
    format: str = AUTO,
    html: Place | None = None,
    show_text: bool = False,
    config: Settings = None,
    map: Mapping[str, str] | None = None,
    map_model: Mapping[str, str] | None = None,
    rejects: Place | None = None,
    progress: bool | Reporter = False,
) -> LogReport:
    """Report what call logs hold, and what they lack for a good router.

    Args:
        log: files, folders, globs, addresses and data frames, in any format that a reader recognises.
        format: name of a reader, or "auto".
        html: writes the report as a page as well.
        show_text: let the report show how the prompts of a template start.
        map: source column per canonical field.
        map_model: the name that a model counts under, by its name in the log.
        rejects: file for the rows that can't be read; None: they are only counted.
        progress: True shows bars on a terminal.

    Raises:
        CallLogError: the log can't be read, or the page can't be written.
        ConfigError: the settings or an option are wrong.
        RequestError: an option is misspelt.
    """
    sources, reading = _reading(log, _settings(config, map_model), map, rejects, None, format)
    with _reporter(progress) as reporter:
        job = InspectJob(sources=sources, reading=reading, show_text=show_text)
        inspection = inspect_calls(job, reporter)
    report = LogReport.of(inspection, reading.config.training, reading.given(sources))
    if html is not None:
        write_page(inspection, report.missing, Path(html), report.readiness.sentence)
    return report


@_named
def import_calls(
    log: Log,
    *,
    out: Place,
    format: str = AUTO,
    config: Settings = None,
    infer_tasks: bool = False,
    grade: bool = False,
    judge: str | None = None,
    judge_rubric: Place | None = None,
    judge_most: int | None = None,
    judge_budget: float | None = None,
    judge_repeats: int | None = None,
    judge_own_answers: bool = False,
    dry_run: bool = False,
    yes: bool | Callable[[JudgeOffer], object] = False,
    map: Mapping[str, str] | None = None,
    map_model: Mapping[str, str] | None = None,
    rejects: Place | None = None,
    cache: Place | None = None,
    progress: bool | Reporter = False,
) -> Imported:
    """Read call logs into one canonical Parquet file.

    Args:
        log: as `inspect`.
        out: the file to write.
        infer_tasks: group the prompts that have no task type, and name the groups.
        grade: learn from the calls of known outcome how likely every answer is good; no outcome changes.
        judge: model that grades a sample of the answers that no other rule judges; the options that start
            with `judge_` change it.
        judge_budget: most USD that all imports into this file may spend.
        dry_run: only say what the judge would cost.
        yes: make the judge's calls; or a function that gets the offer first and raises to decline.
        cache: folder of exported encoders and embeddings; None: the one that all commands share.

    Other options are as for `inspect`.

    Raises:
        CallLogError: the log can't be read, or `out` can't be written.
        ConfigError: the settings or an option are wrong, or the judge may not be called.
        RequestError: an option is misspelt.
    """
    out = Path(out)
    if out.suffix not in ("", ".parquet", ".pq"):
        raise ConfigError(f"--out {out}: the canonical log is Parquet: name a file that ends in .parquet")
    options: dict[str, Json] = {
        "model": judge,
        "rubric": None if judge_rubric is None else str(judge_rubric),
        "most": judge_most,
        "budget_usd": judge_budget,
        "repeats": judge_repeats,
        "own_answers": judge_own_answers or None,
    }
    settings = _settings(config, map_model)
    settings = with_judge(settings, {name: value for name, value in options.items() if value is not None})
    if grade:
        outcomes = settings.outcomes.model_copy(update={"grade": True})
        settings = settings.model_copy(update={"outcomes": outcomes})
    if dry_run and settings.outcomes.judge is None:
        raise ConfigError("--dry-run shows what a judge would cost: give --judge MODEL as well")
    sources, reading = _reading(log, settings, map, None if dry_run else rejects, cache, format)
    offers: list[JudgeOffer] = []

    def agree(offer: JudgeOffer) -> None:
        offers.append(offer)
        if dry_run:
            raise DryRun
        check_callable({call.model for call in offer.plan.calls} if offer.calls else (), settings)
        _agreed(offer, yes, offer.calls, offer.expected_usd, offer.at_most_usd)

    terms = JudgeTerms(record=record_beside(out), agree=agree) if settings.outcomes.judge else None
    with _reporter(progress) as reporter:
        summary = import_log(sources, out, reading, reporter, terms)
        seed, tasks = reading.config.training.seed, None
        if infer_tasks and not dry_run:
            tasks = task_groups.infer_tasks(out, reading, reporter, seed)
    return Imported(
        out=out,
        summary=summary,
        offer=offers[0] if offers else None,
        written=not dry_run,
        tasks=tasks,
    )


@_named
def train(
    log: Log,
    *,
    out: Place,
    config: Settings = None,
    register: str | None = None,
    alias: str | None = None,
    encoder: str | None = None,
    estimator: Literal["auto", "success", "label"] | None = None,
    max_quality_loss: float | None = None,
    confidence: float | None = None,
    map: Mapping[str, str] | None = None,
    map_model: Mapping[str, str] | None = None,
    rejects: Place | None = None,
    cache: Place | None = None,
    tracking_uri: str | None = None,
    progress: bool | Reporter = False,
) -> Trained:
    """Train a router from call logs, write its folder, and record the run in MLflow.

    Args:
        log: as `inspect`.
        out: folder for the router.
        register: name to register the router under.
        alias: to point to the registered version.
        encoder: minilm, static, or a sentence-transformers name or folder.
        max_quality_loss: promise a success rate at most this far below the best model's.
        confidence: of that promise; None: 0.95.
        tracking_uri: where MLflow records the run; None: MLFLOW_TRACKING_URI, else a file in this folder.

    Other options are as for `import_calls`.

    Raises:
        TrainingError: nothing can be learnt from the calls.
        ArtifactError: `out` exists and is no router.
        CallLogError: the log can't be read.
        ConfigError: the settings or an option are wrong.
        RequestError: an option is misspelt.
    """
    check_registered(alias, register)
    settings = with_promise(_settings(config, map_model), max_quality_loss, confidence)
    settings = with_training(settings, encoder=encoder, estimator=estimator)
    sources, reading = _reading(log, settings, map, rejects, cache)
    job = TrainJob(
        sources=sources,
        out=Path(out),
        reading=reading,
        tracking_uri=_tracking(tracking_uri),
        register=register,
        alias=alias,
    )
    with _reporter(progress) as reporter:
        return train_on_log(job, reporter)


@_named
def compare(
    router: AnyRouter | Sequence[AnyRouter],
    log: Log,
    *,
    out: Place,
    config: Settings = None,
    policy: Sequence[str] = (),
    today: str | None = None,
    method: Method = "auto",
    max_quality_loss: float | None = None,
    confidence: float | None = None,
    show_text: bool = False,
    synthetic: bool = False,
    monthly_requests: float | None = None,
    draws: int = 2000,
    seed: int = 0,
    map: Mapping[str, str] | None = None,
    map_model: Mapping[str, str] | None = None,
    rejects: Place | None = None,
    cache: Place | None = None,
    tracking_uri: str | None = None,
    record: bool = True,
    command: str = "",
    progress: bool | Reporter = False,
) -> Comparison:
    """Compare a router with every simple baseline on logged calls, with error bars.

    Args:
        router: the router to judge; in a list, the others are shown beside the first.
        log: as `inspect`.
        out: folder for report.html and report.json.
        policy: your own policies, each as NAME=FILE, NAME=MODULE:FUNCTION or NAME=ENTRY.
        today: policy that runs today; None: the logged one, or the best model.
        method: "exact" needs the outcome of every model on a prompt, "off-policy" of one.
        max_quality_loss: promise a success rate at most this far below the best model's.
        confidence: of that promise; None: 0.95.
        show_text: let the report show the start of some prompts.
        synthetic: say on the report that the log was made up.
        monthly_requests: volume for the change per month; None: the log's own.
        draws: resamples behind every interval.
        record: record the report in MLflow, where `tracking_uri` says.
        command: line that repeats the comparison, for the report.

    Other options are as for `train`.

    Raises:
        NothingToJudge: the log has no prompt that the router was not fitted on.
        CallLogError: the log can't be read, or the report can't be written.
        ArtifactError: a router can't be loaded.
        ConfigError: the settings or an option are wrong.
        RequestError: an option is misspelt.
    """
    _one_of(get_args(Method), method=method)
    _within(0, None, monthly_requests=monthly_requests, seed=seed)
    _within(100, None, draws=draws)
    promise = promise_of(max_quality_loss, confidence)
    routers = _versions(router, config)
    settings = with_aliases(next(iter(routers.values())).config, map_model)
    sources, reading = _reading(log, settings, map, rejects, cache)
    job = CompareJob(
        sources=sources,
        routers=routers,
        out=Path(out),
        reading=reading,
        policies=policy,
        today=today,
        method=method,
        promise=None if promise is None else PromiseTerms.of(promise),
        show_text=show_text,
        synthetic=synthetic,
        monthly_requests=monthly_requests,
        draws=Draws(number=draws, seed=seed),
        tracking_uri=_tracking(tracking_uri) if record else None,
        command=command,
    )
    with _reporter(progress) as reporter:
        return compare_on_log(job, reporter)


@_named
def replay(
    log: Log,
    *,
    router: AnyRouter,
    out: Place,
    budget: float,
    models: Sequence[str] = (),
    most: int | None = None,
    purpose: Purpose = "train",
    strategy: Strategy | None = None,
    concurrency: int = 8,
    rate: float | None = None,
    max_tokens: int = 4096,
    seed: int = 0,
    dry_run: bool = False,
    yes: bool | Callable[[ReplayOffer], object] = False,
    config: Settings = None,
    map: Mapping[str, str] | None = None,
    rejects: Place | None = None,
    cache: Place | None = None,
    progress: bool | Reporter = False,
) -> Replayed:
    """Call the models that logged prompts were never sent to, within a budget; a stopped run resumes.

    Args:
        log: as `inspect`.
        out: call log (JSON lines) to append finished calls to.
        budget: most USD that all runs with this `out` may spend.
        models: to call; empty: all.
        most: most prompts; None: as many as the budget covers.
        purpose: "train": draw from all prompts; "judge": from those that the router was not trained on, since
            `compare` counts no others.
        strategy: "informative": likelier the more an outcome is worth, the default to train; "random": all
            alike, by task type, the default to judge.
        concurrency: most calls in flight.
        rate: most calls a minute, of each model.
        max_tokens: longest answer, unless a model's own settings name one.
        dry_run: call no model, only say what it would cost.
        yes: make the calls; or a function that gets the offer first and raises to decline.

    Other options are as for `compare`.

    Raises:
        CallLogError: the log can't be read, or `out` can't be written.
        ConfigError: the settings or an option are wrong, or the calls may not be made.
        RequestError: an option is misspelt.
    """
    out = Path(out)
    if out.suffix != ".jsonl":
        raise ConfigError(f"--out {out}: the calls are written as JSON lines; name a file ending in .jsonl")
    _one_of(get_args(Purpose), purpose=purpose)
    if strategy is not None:
        _one_of(get_args(Strategy), strategy=strategy)
    _within(0, None, budget=budget, seed=seed)
    _within(1, None, most=most, max_tokens=max_tokens)
    _within(1, 256, concurrency=concurrency)
    _within(0.1, None, rate=rate)
    version = next(iter(_versions(router, config).values()))
    sources, reading = _reading(log, version.config, map, rejects, cache)
    job = ReplayJob(
        sources=sources,
        reading=reading,
        models=models,
        most=most,
        budget_usd=budget,
        purpose=purpose,
        strategy=strategy,
        max_tokens=max_tokens,
        seed=seed,
    )

    def agree(offer: ReplayOffer) -> None:
        cost, free = offer.cost, offer.free_usd
        _agreed(offer, yes, cost.calls, min(cost.expected_usd, free), min(cost.at_most_usd, free))

    with _reporter(progress) as reporter:
        plan = plan_replay(job, version, reporter)
    terms = CallTerms(out=out, budget_usd=budget, concurrency=concurrency, per_minute=rate)
    with _reporter(progress) as reporter:
        return replay_agreed(plan, terms, version.config, reporter, None if dry_run else agree)


def _agreed(
    offer: Offer, yes: bool | Callable[[Offer], object], calls: int, expected_usd: float, at_most_usd: float
) -> None:
    """Let a function agree to an offer; without one, refuse to spend unless that is said.

    Raises:
        ConfigError: the calls may not be made.
    """
    if callable(yes):
        yes(offer)
    elif calls and yes is not True:
        raise ConfigError(
            f"{calls:,} calls would cost about {dollars(expected_usd)}, at most {dollars(at_most_usd)}: give "
            "yes=True to make them, or dry_run=True to see the plan"
        )


def _settings(config: Settings, map_model: Mapping[str, str] | None) -> Config:
    return with_aliases(config_of(config) or Config(), map_model)


def _reading(
    log: Log,
    config: Config,
    map: Mapping[str, str] | None,
    rejects: Place | None,
    cache: Place | None,
    format: str = AUTO,
) -> tuple[Sequence[str], ReadOptions]:
    """The sources that a log stands for, by name, and how to read them."""
    sources, frames = _sources(log)
    shared = os.environ.get("POINTSMAN_CACHE") or platformdirs.user_cache_dir("pointsman")
    reading = ReadOptions(
        mapping=map or {},
        rejects=None if rejects is None else Path(rejects),
        config=config,
        cache=Path(cache or shared),
        format=format,
        frames=frames,
    )
    return sources, reading


def _sources(log: Log) -> tuple[list[str], dict[str, pa.Table]]:
    """The names of all sources, and the tables of those that are data frames."""
    given: Sequence[object] = [log]
    if isinstance(log, Sequence) and not isinstance(log, str | PathLike | ArrowStream):
        given = log
    sources: list[str] = []
    frames: dict[str, pa.Table] = {}
    for one in given:
        if isinstance(one, str | PathLike):
            sources.append(os.fspath(one))
            continue
        sources.append(f"{FRAME}_{len(frames) + 1}" if frames else FRAME)
        frames[sources[-1]] = _table_of(one)
    return sources, frames


def _table_of(frame: object) -> pa.Table:
    """A data frame as a table of Arrow, without an index that has no name.

    Raises:
        CallLogError: it is no data frame, or a column holds values of several types.
    """
    kind = type(frame).__name__
    if not isinstance(frame, ArrowStream):
        raise CallLogError(
            f"a log is a path, an address, a data frame of polars, pandas or pyarrow, or a list of them, not "
            f"of type {kind}" + ("; collect() it first" if kind == "LazyFrame" else "")
        )
    try:
        table = pa.table(frame)
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise CallLogError(
            f"the data frame can't be read: {one_line(error)}; make a column of mixed values JSON text "
            "(json.dumps)"
        ) from error
    return table.drop_columns([name for name in table.column_names if name.startswith("__index_level_")])


def _versions(router: AnyRouter | Sequence[AnyRouter], config: Settings) -> dict[str, Version]:
    """The version of each router by its source, the judged one first.

    Raises:
        ArtifactError: a router can't be loaded.
        ConfigError: there is none, one is given twice, or one is of rules alone.
    """
    settings = config_of(config)
    given = [router] if isinstance(router, Router | str | PathLike) else list(router)
    versions: dict[str, Version] = {}
    for one in given:
        place = one.policy_version if isinstance(one, Router) else os.fspath(one)
        if place in versions:
            raise ConfigError(f"--router {place} is given twice; give each router once")
        versions[place] = (
            check_learned(one.version, place) if isinstance(one, Router) else load_learned(place, settings)
        )
    if not versions:
        raise ConfigError("router is empty: give a router, its folder, or models:/NAME@ALIAS")
    return versions


def _tracking(uri: str | None) -> str:
    return uri or os.environ.get("MLFLOW_TRACKING_URI") or TRACKING


def _one_of(names: Sequence[str], /, **options: str) -> None:
    for option, value in options.items():
        if value not in names:
            raise ConfigError(f"{option} {value!r}: it must be one of {', '.join(names)}")


def _within(lowest: float, highest: float | None, /, **options: float | None) -> None:
    for option, value in options.items():
        if value is not None and not lowest <= value <= (math.inf if highest is None else highest):
            limit = f"at least {lowest:g}" if highest is None else f"from {lowest:g} to {highest:g}"
            raise ConfigError(f"{option} {value!r}: it must be {limit}")


@contextmanager
def _reporter(progress: bool | Reporter) -> Iterator[Reporter]:
    """What shows the progress: bars on a terminal, nothing, or the reporter that is given."""
    if progress is True:
        from router.cli.console import progress_bars

        with progress_bars() as bars:
            yield bars
    else:
        yield progress or Silent()
