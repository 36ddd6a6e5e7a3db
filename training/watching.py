"""Whether a router in service gets what it forecast, on prompts like those that it was trained on."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import polars as pl

from router.effort import endpoint_of
from router.errors import CallLogError
from router.models.names import Spelling
from router.models.prices import ModelPrice, listed_price
from router.numbers import rate, relative, usd_per_thousand
from router.records import FloatArray, Json
from router.version import Version
from training.progress import Reporter
from training.prompts.from_logs import ReadOptions, calls_of, success_score_of
from training.prompts.pricing import NOTABLE
from training.statistics.sequential import by_session, log_evidence_of_excess
from training.tracking.versions import Move, RouterRegistry
from training.traffic import TRAFFIC_COLUMNS, TrafficKind, TrafficTest, traffic_tests

Kind = Literal["router", "success", "cost", "price", "served"] | TrafficKind
ALPHA = 0.05
"""Chance of any false alarm, over all looks, models and task types together."""
SUCCESS_TOLERANCE = 0.02
"""A success rate counts as the forecast if it is lower by at most this much."""
COST_TOLERANCE = 0.25
"""A cost counts as the forecast if it is higher by at most this share."""
LEAST_PAID = 30
"""Calls whose cost and tokens are known, from which their price is compared with the router's."""
FIRST_SERVED = 30
"""Calls of a model that show which names its answers bear; a further name is another model behind it."""
DECISION, REASONS = "watch.decision", "watch.reasons"
"""The tags of a version that say that an alias moved back from it, to which version and when, and why."""
MOST_TAG = 2000
"""Characters of a tag."""
OTHER = "other"
"""The task type of calls without one, or with one that training did not tell apart."""
_COLUMNS = (
    "call_id", "time", "model", "task_type", "success", "score", "cost_usd", "input_tokens", "output_tokens",
    "policy_version", "decision_source", "confidence", "expected_cost_usd", "served_model",
    "cached_input_tokens",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchJob:
    """One look at a log.

    Attributes:
        version: the router that is watched; only its own calls count.
        router: its address, as it is given to a command.
        name: the name that it is registered under; None: it is a folder.
        traffic: whether the prompts are compared with those of training as well.
    """

    sources: Sequence[str]
    reading: ReadOptions
    version: Version
    router: str
    name: str | None = None
    traffic: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Deviation:
    """Something that is not as forecast.

    Attributes:
        kind: "router": success over all calls; "success" and "cost": of one model on one task type;
            "price": one model's price has moved against LiteLLM's list or its own calls, which is no alarm;
            "served": its answers name another model than the one called, which is an alarm if that is new;
            "prompts": they are unlike training's; "task type": one grew or appeared; "unfamiliar", "stepped
            aside": the share of such prompts grew.
        forecast, actual: means; success rates, shares, USD a call, or for a price USD at both prices.
        p_value: valid at every look, corrected for the number of cells; None for a price and where nothing
            is changed; 0 where a name in the log is the proof.
        next: the command to run next.
    """

    kind: Kind
    model: str | None
    task_type: str | None
    calls: int
    forecast: float
    actual: float
    p_value: float | None
    sentence: str
    next: str

    @property
    def alarm(self) -> bool:
        """Whether it is shown, and not only worth a look."""
        return self.p_value is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """The result of one look.

    Attributes:
        calls: in the log.
        own_calls: those of the watched version.
        stepped_aside: share of these that the rule table decided; NaN without a call.
        unknown: why a part of the prompts could not be compared with training's.
    """

    router: str
    policy_version: str
    calls: int
    own_calls: int
    stepped_aside: float
    findings: Sequence[Deviation]
    unknown: Sequence[str] = ()

    @property
    def alarms(self) -> Sequence[Deviation]:
        """The findings that are shown."""
        return [finding for finding in self.findings if finding.alarm]

    @property
    def worse(self) -> bool:
        """Whether the router as a whole is shown to succeed less often than it forecast."""
        return any(finding.kind == "router" for finding in self.findings)

    def to_json(self) -> dict[str, Json]:
        """What `pointsman watch --json` prints."""
        return {**asdict(self), "findings": [{**asdict(one), "alarm": one.alarm} for one in self.findings]}


def watch_router(job: WatchJob, reporter: Reporter) -> Watched:
    """Compare the calls of a router with its forecasts.

    Raises:
        CallLogError: the log can't be read, or its calls of the router hold no forecast.
    """
    calls = _calls(job, reporter)
    own = calls.filter(pl.col("policy_version") == job.version.policy_version)
    if len(own) and own["confidence"].is_null().all():
        raise CallLogError(
            f"{', '.join(job.sources)}: {len(own):,} calls of {job.version.policy_version}, none with a "
            "confidence: give the log that the router wrote (`log.url`), or what `import` made of it"
        )
    aside = own["decision_source"].eq("rule").mean()
    drifted, unknown = _drifted(own, job, reporter) if job.traffic else ([], [])
    return Watched(
        router=job.router,
        policy_version=job.version.policy_version,
        calls=len(calls),
        own_calls=len(own),
        stepped_aside=math.nan if aside is None else float(str(aside)),
        findings=[*_broken_forecasts(own, job), *drifted, *_served_names(own, job), *_moved_prices(own, job)],
        unknown=unknown,
    )


def move_back(result: Watched, registry: RouterRegistry, name: str, alias: str, version: str) -> Move | None:
    """Move the alias back from a version that is shown to be worse than it forecast, and tag that version.

    Args:
        version: the one that was watched.

    Returns:
        The move; None if the version is not worse, or the alias points elsewhere already.

    Raises:
        ConfigError: there is no version before.
        RouterError: somebody else moves the alias at the same time, or the registry refuses.
    """
    if not result.worse or registry.pointed(name, alias) != version:
        return None
    move = registry.rollback(name, alias, seen=version)
    reasons = "; ".join(finding.sentence for finding in result.alarms)
    tags = {DECISION: f"@{alias} moved back to version {move.version}, {move.time}", REASONS: reasons}
    registry.tag(name, version, {key: value[:MOST_TAG] for key, value in tags.items()})
    return move


def _calls(job: WatchJob, reporter: Reporter) -> pl.DataFrame:
    """The log's calls in order of time, with their outcome in [0, 1] as `outcome`."""
    with calls_of(job.sources, job.reading, reporter) as files:
        frame = files.whole()
        columns = (*_COLUMNS, *(TRAFFIC_COLUMNS if job.traffic else ()))
        table = None if frame is None else frame.select(*columns).to_arrow()
    if table is None:
        raise CallLogError(
            f"{', '.join(job.sources)}: no call in the log; name the log that the router writes"
        )
    calls = pl.DataFrame(pl.from_arrow(table)).sort("time", "call_id", nulls_last=True)
    least = success_score_of(job.reading.config)
    score = pl.lit(None) if least is None else pl.col("score") >= least
    return calls.with_columns(outcome=pl.coalesce("success", score).cast(pl.Float64))


def _broken_forecasts(own: pl.DataFrame, job: WatchJob) -> Iterator[Deviation]:
    """The cells in which evidence against the forecast was ever as strong as an alarm takes."""
    models, types = job.version.models, job.version.manifest["features"]["task_types"]
    own = own.filter(pl.col("model").is_in(models)).with_columns(
        pl.when(pl.col("task_type").is_in(types)).then("task_type").otherwise(pl.lit(OTHER))
    )
    cells = _cells(job)
    parts: list[tuple[str | None, str | None, pl.DataFrame]] = [(None, None, own)]
    for (model, task), part in own.group_by("model", "task_type", maintain_order=True):
        parts.append((str(model), str(task), part))
    for model, task, part in parts:
        kinds: tuple[Kind, ...] = ("router",) if model is None else ("success", "cost")
        for kind in kinds:
            forecast, actual = _pairs(part, "cost" if kind == "cost" else "success")
            tested = _cost_excess(forecast, actual) if kind == "cost" else _failure_excess(forecast, actual)
            evidence = log_evidence_of_excess(*tested)
            if len(evidence) and evidence.max() >= math.log(cells / ALPHA):
                means = float(forecast.mean()), float(actual.mean())
                p_value = cells * math.exp(-float(evidence.max()))
                yield _finding(kind, (model, task), len(forecast), means, p_value, job)


def _cells(job: WatchJob) -> int:
    """Number of tests that share the chance of a false alarm."""
    types = len(job.version.manifest["features"]["task_types"])
    return 1 + 2 * len(job.version.models) * (types + 1) + (types + 4 if job.traffic else 0)


def _drifted(own: pl.DataFrame, job: WatchJob, reporter: Reporter) -> tuple[list[Deviation], list[str]]:
    """Where the prompts differ from training's, and why some of that is unknown."""
    tests, unknown = traffic_tests(own, job.version, job.reading.cache, reporter)
    findings = []
    for test in tests:
        evidence = log_evidence_of_excess(*by_session(test.values, test.bounds, test.sessions))
        if len(evidence) and evidence.max() >= math.log(_cells(job) / ALPHA):
            p_value = _cells(job) * math.exp(-float(evidence.max()))
            findings.append(_drift_of(test, p_value, job))
    return findings, unknown


def _drift_of(test: TrafficTest, p_value: float, job: WatchJob) -> Deviation:
    return Deviation(
        kind=test.kind,
        model=None,
        task_type=test.task_type,
        calls=len(test.values),
        forecast=test.usual,
        actual=test.recent,
        p_value=p_value,
        sentence=test.sentence,
        next=_next(test.kind, job),
    )


def _pairs(part: pl.DataFrame, kind: Literal["success", "cost"]) -> tuple[FloatArray, FloatArray]:
    """Forecast and outcome of each call that has both; a call that should cost nothing has no ratio."""
    names = ("confidence", "outcome") if kind == "success" else ("expected_cost_usd", "cost_usd")
    known = part.drop_nulls(names)
    if kind == "cost":
        known = known.filter(pl.col("expected_cost_usd") > 0)
    forecast, actual = (known[name].to_numpy().astype(np.float64) for name in names)
    return forecast, actual


def _failure_excess(forecast: FloatArray, success: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Failures, and the most that may fail on average."""
    return 1 - success, np.clip(1 - forecast + SUCCESS_TOLERANCE, 0.0, 1.0)


def _cost_excess(forecast: FloatArray, cost: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Costs c against forecasts f as c / (c + f), which is in [0, 1].

    It is concave in c, so that a mean cost of at most (1 + t) f bounds its mean by (1 + t) / (2 + t),
    however long the tail of the costs (Jensen).
    """
    bound = (1 + COST_TOLERANCE) / (2 + COST_TOLERANCE)
    return cost / (cost + forecast), np.full(len(cost), bound)


def _finding(
    kind: Kind,
    cell: tuple[str | None, str | None],
    calls: int,
    means: tuple[float, float],
    p_value: float,
    job: WatchJob,
) -> Deviation:
    model, task = cell
    forecast, actual = means
    where = "all calls" if model is None else f"{model} on {task}"
    figures = (
        f"costs {usd_per_thousand(actual)} per 1,000 calls, forecast {usd_per_thousand(forecast)}"
        if kind == "cost"
        else f"succeeds on {rate(actual)}, forecast {rate(forecast)}"
    )
    return Deviation(
        kind=kind,
        model=model,
        task_type=task,
        calls=calls,
        forecast=forecast,
        actual=actual,
        p_value=p_value,
        sentence=f"{where}: {figures} ({calls:,} calls)",
        next=_next(kind, job),
    )


def _next(kind: Kind, job: WatchJob) -> str:
    """The command that answers a finding: back to the version before, or a router that has seen the calls."""
    if job.name is None:
        return shlex.join(["pointsman", "train", *job.sources, "--out", job.router])
    if kind == "router":
        return shlex.join(["pointsman", "rollback", job.name])
    return shlex.join(["pointsman", "retrain", *job.sources, "--register", job.name])


def _served_names(own: pl.DataFrame, job: WatchJob) -> Iterator[Deviation]:
    """The models whose answers name another model: a new name since some call, or from the first on."""
    for model in dict.fromkeys(map(endpoint_of, job.version.models)):
        part = own.filter(pl.col("model") == model).drop_nulls("served_model")
        names = part["served_model"].to_list()
        asked = _spelling(job.version.config.of(model).litellm_model or model)
        first = set(map(_spelling, names[:FIRST_SERVED]))
        for name in dict.fromkeys(names):
            at = names.index(name)
            served = _spelling(name)
            if (new := not any(map(served.may_mean, first))) or not served.may_mean(asked):
                since = f" since {part['time'][at]:%Y-%m-%d %H:%M} (UTC)" if new else ""
                share = names.count(name) / len(names)
                yield Deviation(
                    kind="served",
                    model=model,
                    task_type=None,
                    calls=len(names),
                    forecast=0.0,
                    actual=share,
                    p_value=0.0 if new else None,
                    sentence=f"{model}: {rate(share)} of {len(names):,} answers name {name!r}{since}",
                    next=_next("served", job),
                )


def _spelling(name: str) -> Spelling:
    """A name in its parts; `latest` is no date, as it names whichever there is."""
    return Spelling.of(re.sub("[-:@]latest$", "", name))


def _moved_prices(own: pl.DataFrame, job: WatchJob) -> Iterator[Deviation]:
    """The models whose price in force is notably off LiteLLM's list or their calls, at the calls' tokens."""
    for model in job.version.models:
        price, settings = job.version.prices[model], job.version.config.of(model)
        listed = listed_price(settings.litellm_model, model)
        part = own.filter(pl.col("model") == model).drop_nulls(["input_tokens", "output_tokens"])
        paid = part.drop_nulls("cost_usd")
        if listed is not None and len(part):
            bills = _bill(price, part, price), _bill(listed, part, price)
            yield from _moved(model, bills, "LiteLLM's list price is", len(part), job)
        if len(paid) >= LEAST_PAID:
            bills = _bill(price, paid, price), float(paid["cost_usd"].sum())
            yield from _moved(model, bills, "the price of its calls is", len(paid), job)


def _moved(
    model: str, bills: tuple[float, float], what: str, calls: int, job: WatchJob
) -> Iterator[Deviation]:
    """The finding that a price differs notably, if it does."""
    before, now = bills
    if before > 0 and now > 0 and abs(now / before - 1) > NOTABLE:
        yield Deviation(
            kind="price",
            model=model,
            task_type=None,
            calls=calls,
            forecast=before,
            actual=now,
            p_value=None,
            sentence=f"{model}: {what} {relative(now / before)} of the router's, "
            f"at the tokens of {calls:,} calls",
            next=_next("price", job),
        )


def _bill(price: ModelPrice, part: pl.DataFrame, own: ModelPrice) -> float:
    """USD for the tokens of calls, cached ones at the share of the router's own price."""
    inputs, outputs = float(part["input_tokens"].sum()), float(part["output_tokens"].sum())
    inputs -= (1.0 - own.cached_price) * float(part["cached_input_tokens"].sum())
    return inputs * price.per_input_token + outputs * price.per_output_token + len(part) * price.per_call
