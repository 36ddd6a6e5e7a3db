"""Models that join or leave a trained router, whose other models forecast bit for bit what they did."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from router import __version__
from router.deciding.cascade import CASCADE_FILE
from router.effort import effort_in, endpoint_of
from router.errors import ConfigError, TrainingError
from router.errors.masking import without_credentials
from router.forecasting.encoder import Encoding
from router.forecasting.training_prompts import TrainingPrompts
from router.loading.artifact import (
    CHANGED_FORMAT,
    check_target,
    digest_of,
    new_folder,
    save_arrays,
    seal,
)
from router.numbers import bounds, rate, significant
from router.records import Float32Array, FloatArray, Json
from router.settings.sections import Config
from router.settings.yaml_file import routing_part, settings_text
from router.version import HEAD_FILE, KEYS_FILE, Version, check_models
from training.learning.joining import NewcomerOutcomes, held_out_success, with_model, without_model
from training.learning.model_card import how_to_load
from training.learning.router_folder import RUNNER_UP_FILE
from training.learning.training_means import TrainingStatistics, statistics_of, statistics_to_json
from training.progress import Reporter
from training.prompts.from_logs import ReadOptions, calls_of, encodings_of, table_of
from training.prompts.pricing import logged_prices
from training.prompts.table import PromptTable
from training.recommending import ChangeAgainst, words_of
from training.replaying.plan import ReplayJob, ReplayOffer, ReplayPlan, plan_replay
from training.statistics.intervals import Interval, interval, resampled_sums
from training.tracking.publish import Published, RunRecord, publish
from training.tracking.versions import RouterRegistry

Change = Literal["added", "removed"]
_OF_ONE_FOLDER = ("files", "policy_version", "sha256", "format", "runner_up", "promise", "actions", "cascade")
"""Members of a manifest that another folder has of its own, or that hold for the trained models only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberJob:
    """A model that joins or leaves a router.

    Attributes:
        sources: call logs with the prompts that the router serves; may be empty if a model leaves.
        out: folder for the new router.
        register: name to register it under, or None.
        alias: to point to the registered version, or None.
    """

    model: str
    sources: Sequence[str]
    reading: ReadOptions
    out: Path
    tracking_uri: str
    register: str | None = None
    alias: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """The paid calls of a model that joins.

    Attributes:
        prompts: number to know an outcome on, with those that the logs hold already.
        max_tokens: longest answer if the model's settings have no limit.
    """

    prompts: int
    budget_usd: float
    max_tokens: int = 4096
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What the change does to the prompts of the logs, by the routers' forecasts and the replayed outcomes.

    Attributes:
        share: of the prompts that the model gets, or got.
        change: success and cost after, less those before.
        success: the forecast after, and before.
        usd_per_call: the expected cost after, and before.
    """

    prompts: int
    share: Interval
    change: ChangeAgainst
    success: tuple[float, float]
    usd_per_call: tuple[float, float]

    @property
    def words(self) -> str:
        """One sentence."""
        return f"{_share(self.share)} of {self.prompts:,} prompts; {words_of(self.change)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """The result of a change.

    Attributes:
        outcomes: number of known outcomes of the model that joined; 0 if it left.
        success: of these, the mean; NaN if it left.
        effect: None without logs.
        published: None if it was not registered.
    """

    model: str
    change: Change
    out: Path
    policy_version: str
    parent: str
    outcomes: int
    success: float
    effect: Effect | None
    published: Published | None
    alias: str | None

    def to_json(self) -> dict[str, Json]:
        """What `add-model --json` and `remove-model --json` print."""
        return {
            **{name: getattr(self, name) for name in self.__slots__ if name not in ("out", "effect")},
            "out": str(self.out),
            "effect": asdict(self.effect) if self.effect else None,
            "published": asdict(self.published) if self.published else None,
        }


def plan_addition(
    job: MemberJob, terms: Replay, version: Version, reporter: Reporter
) -> tuple[ReplayPlan, int]:
    """Plan the calls of a model that joins, on prompts like the log's; this calls no model.

    Returns:
        The plan, and how many of the model's outcomes the logs know already.

    Raises:
        ArtifactError: `job.out` exists and is no router.
        CallLogError: a log can't be read.
        ConfigError: the router has the model, or it has no price.
    """
    _check_new(job, version)
    table = _table(job.sources, job, version, reporter)
    tried, known = int((table.calls[:, -1] > 0).sum()), int(np.isfinite(table.success[:, -1]).sum())
    if tried >= terms.prompts:
        nothing = ReplayPlan(
            calls=(), prompts=0, unseen=0, set_apart={}, policy_version=version.policy_version
        )
        return nothing, known
    first = table.rows(np.zeros(1, dtype=np.int64))
    joined = _joined(version, first, _evidence(version, first, [version.encode(first.requests[0])]))
    replay = ReplayJob(
        sources=job.sources,
        reading=job.reading,
        models=(job.model,),
        most=terms.prompts - tried,
        budget_usd=terms.budget_usd,
        strategy="random",
        max_tokens=terms.max_tokens,
        seed=terms.seed,
    )
    return plan_replay(replay, joined, reporter), known


def check_reach(model: str, known: int, offer: ReplayOffer, config: Config) -> None:
    """Refuse calls after which the model could not join, before they are paid for.

    Args:
        known: outcomes of the model in the logs.

    Raises:
        ConfigError: no rule could grade the answers, or too few can be had.
    """
    least, outcomes = config.training.min_calls, config.outcomes
    if known >= least:
        return
    if not offer.graded and outcomes.judge is None:
        raise ConfigError(
            f"nothing would tell whether {model}'s answers succeed: declare a rule under outcomes.rules that "
            "can call an answer a success (`function`, or `otherwise` behind rules that find failures), or "
            "`judge` if `pointsman import` is to grade the answers afterwards"
        )
    paid = offer.finished + offer.affordable.expected
    if known + paid < least:
        raise ConfigError(
            f"{model}: {least:,} known outcomes are needed (training.min_calls), the logs hold {known:,}; "
            f"of the {offer.prompts:,} prompts to call it on the budget pays for about {paid:,}: give a "
            "larger --budget, or logs with more prompts"
        )


def add_model(job: MemberJob, replayed: Path, version: Version, reporter: Reporter) -> Member:
    """Fit a model beside a router's own, from its outcomes in the logs and in the replayed calls.

    Raises:
        ArtifactError: `job.out` exists and is no router.
        CallLogError: a log can't be read.
        ConfigError: the router has the model.
        TrainingError: too few of the model's outcomes are known.
    """
    _check_new(job, version)
    sources = [*job.sources, *([str(replayed)] if replayed.exists() else [])]
    table = _table(sources, job, version, reporter)
    known = np.flatnonzero(np.isfinite(table.success[:, -1]))
    if len(known) < (least := version.config.training.min_calls):
        raise TrainingError(
            f"{job.model}: {int(table.calls[:, -1].sum()):,} calls, {len(known)} with a known outcome, "
            f"{least} needed (training.min_calls): declare outcome rules in the settings, or grade the "
            f"answers (`pointsman import {replayed} --judge MODEL --judge-budget USD --out graded.parquet`), "
            "and give that as --log too"
        )
    encodings, _ = encodings_of(table, version.encoder, job.reading.cache, reporter)
    part = table.rows(known)
    evidence = _evidence(version, part, [encodings[row] for row in known.tolist()])
    after = _joined(version, part, evidence)
    held_out = np.full(len(table), np.nan)
    held_out[known] = held_out_success(version.head, evidence)
    effect = _effect(job.model, version, after, table, encodings, held_out)
    return _written(job, version, after, effect, part)


def remove_model(job: MemberJob, version: Version, reporter: Reporter) -> Member:
    """Take a model out of a router; with logs, forecast what happens to its prompts.

    Raises:
        ArtifactError: `job.out` exists and is no router.
        ConfigError: the router has no such model, only one more, or its settings send prompts to it.
    """
    _check_promise(version)
    if job.model not in version.models or len(version.models) < 3:
        raise ConfigError(
            f"{job.model!r} can't leave: the router chooses among {', '.join(version.models)}, and needs two"
        )
    check_target(job.out)
    after = _left(version, job.model)
    effect = None
    if job.sources:
        table = _table(job.sources, job, version, reporter)
        encodings, _ = encodings_of(table, version.encoder, job.reading.cache, reporter)
        effect = _effect(job.model, version, after, table, encodings, np.full(len(table), np.nan))
    return _written(job, version, after, effect, None)


def _table(sources: Sequence[str], job: MemberJob, version: Version, reporter: Reporter) -> PromptTable:
    """The prompts of logs, with the router's models in its order, and one that joins behind them."""
    models = tuple(dict.fromkeys((*version.models, job.model)))
    with calls_of(sources, job.reading, reporter) as files:
        return table_of(files, version.config, reporter, models).columns(models)


def _check_new(job: MemberJob, version: Version) -> None:
    check_target(job.out)
    _check_promise(version)
    if job.model in version.models:
        raise ConfigError(
            f"the router has {job.model!r} already (it has {', '.join(version.models)}): "
            f"`pointsman remove-model {job.model}` first, or train again"
        )


def _check_promise(version: Version) -> None:
    """Refuse a router that keeps a promise, which only a training can show of other models."""
    promised = version.manifest.get("promise", {}).get("max_quality_loss")
    loss = promised or version.config.objective.max_quality_loss
    if loss is not None:
        raise ConfigError(
            f"objective.max_quality_loss {loss:g} is promised for the models that the router was trained on: "
            "train again with calls of the models that you want"
        )


def _evidence(version: Version, table: PromptTable, encodings: Sequence[Encoding]) -> NewcomerOutcomes:
    """What the last model of a table did on its prompts."""
    return NewcomerOutcomes(
        features=version.features(table.requests, encodings),
        success=table.success[:, -1],
        weight=table.weight[:, -1],
        input_tokens=table.input_tokens[:, -1],
        output_tokens=table.output_tokens[:, -1],
        others=table.success[:, :-1],
        groups=table.groups,
    )


def _joined(version: Version, table: PromptTable, evidence: NewcomerOutcomes) -> Version:
    """The router with the last model of a table, fitted on its outcomes on the table's prompts."""
    model, success = table.models[-1], table.success[:, -1]
    types = [request.task_type for request in table.requests]
    statistics = statistics_of(version.manifest).with_model(model, types, success, table.cost[:, -1])
    own = logged_prices(table.columns([model]), version.config, evidence.features.later)
    prices = {name: price.to_json() for name, price in own.items()}
    entry = {"model": model, "change": "added", "outcomes": int(np.isfinite(success).sum())}
    manifest = _manifest(version, statistics, {**version.manifest["prices"], **prices}, entry)
    return version.with_models(with_model(version.head, evidence), manifest, version.config)


def _left(version: Version, model: str) -> Version:
    """The router without one of its models."""
    models = [name for name in version.models if name != model]
    config = check_models(version.config, models, "keep the model")
    prices = {name: price for name, price in version.manifest["prices"].items() if name != model}
    entry = {"model": model, "change": "removed"}
    manifest = _manifest(version, statistics_of(version.manifest).columns(models), prices, entry)
    head = without_model(version.head, version.models.index(model))
    return version.with_models(head, manifest, config)


def _manifest(
    version: Version, statistics: TrainingStatistics, prices: Mapping[str, Json], entry: Mapping[str, Json]
) -> dict[str, Json]:
    """The manifest of the router with the models of the statistics, without the entries that `seal` adds.

    Args:
        prices: in the calls of each model, if they show one.
        entry: which model joined or left.
    """
    old, models = version.manifest, statistics.models
    best = old["policy"]["best_single"]
    if best not in models:
        best = models[int(np.nanargmax(statistics.success))]
    actions = {m: {"model": endpoint_of(m), "effort": effort} for m in models if (effort := effort_in(m))}
    dominated = {m: by for m, by in old["data"]["dominated"].items() if {m, by["by"]} <= set(models)}
    return {
        **{name: value for name, value in old.items() if name not in _OF_ONE_FOLDER},
        "format_version": CHANGED_FORMAT,
        "pointsman_version": __version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "models": list(models),
        **({"actions": actions} if actions else {}),
        "prices": prices,
        "policy": {**old["policy"], "best_single": best},
        "config": settings_text(routing_part(version.config)[0]),
        "statistics": statistics_to_json(statistics),
        "metrics": {},
        "data": {**old["data"], "dominated": dominated},
        "parent": {"policy_version": version.policy_version, "digest": version.digest},
        "membership": [*old.get("membership", ()), entry],
    }


def _effect(
    model: str,
    before: Version,
    after: Version,
    table: PromptTable,
    encodings: Sequence[Encoding],
    held_out: FloatArray,
) -> Effect:
    """Forecast what the change does on a log's prompts, corrected by the outcomes of the model that joined.

    The forecasts are of all prompts. On those with an outcome, which are like them, the outcome less its
    held-out forecast says how far the forecast is off where the model is chosen (Cassel, Särndal & Wretman
    1976); the intervals resample sessions of both.

    Args:
        held_out: shape (n_prompts,); forecast of each of the model's outcomes without it; NaN without one.
    """
    wide = before if model in before.models else after
    features = before.features(table.requests, encodings)
    forecast = wide.forecast_from(features)
    old, new = (
        np.array(
            [
                wide.models.index(decision.model)
                for decision in one.decisions(table.requests, one.forecast_from(features), encodings)
            ]
        )
        for one in (before, after)
    )
    rows, column = np.arange(len(table)), wide.models.index(model)
    measured = np.isfinite(held_out)
    chosen = measured & (new == column)

    def change(values: FloatArray, off: FloatArray) -> tuple[Interval, tuple[float, float]]:
        first, then = values[rows, old], values[rows, new]
        known = chosen & np.isfinite(off)
        columns = [then - first, np.ones(len(rows)), np.where(known, off, 0.0), measured.astype(np.float64)]
        return interval(resampled_sums(np.column_stack(columns), table.groups), _corrected), (
            float(then.mean()),
            float(first.mean()),
        )

    success, successes = change(forecast.probability, table.success[:, column] - held_out)
    cost, costs = change(forecast.cost, table.cost[:, column] - forecast.cost[:, column])
    gets = np.column_stack([(new == column) | (old == column), np.ones(len(rows))]).astype(np.float64)
    return Effect(
        prompts=len(table),
        share=interval(resampled_sums(gets, table.groups), lambda sums: sums[..., 0] / sums[..., 1]),
        change=ChangeAgainst(against="the router before", success=success, cost=cost, usd_per_call=costs[1]),
        success=successes,
        usd_per_call=costs,
    )


def _corrected(sums: FloatArray) -> FloatArray:
    """Mean forecast difference plus the mean error where outcomes are known; no correction without any."""
    count = sums[..., 3]
    return np.asarray(
        sums[..., 0] / sums[..., 1] + np.where(count > 0, sums[..., 2] / np.maximum(count, 1), 0)
    )


def _written(
    job: MemberJob, before: Version, after: Version, effect: Effect | None, part: PromptTable | None
) -> Member:
    """Write the router's folder, check that it loads, and register it if the job names one.

    Args:
        part: the prompts that the model was fitted on; None: it left.
    """
    with new_folder(job.out) as folder:
        for name in set(before.manifest["files"]) - {RUNNER_UP_FILE, CASCADE_FILE}:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(before.folder / name, folder / name)
        save_arrays(folder / HEAD_FILE, after.head.to_arrays())
        keys = before.training_keys() | {int(key[:16], 16) for key in (part.keys if part else ())}
        save_arrays(folder / KEYS_FILE, {"keys": np.array(sorted(keys), dtype=np.uint64)})
        if (prompts := TrainingPrompts.load(before.folder, before.manifest["files"])) is not None:
            replace(prompts, outcomes=_outcomes(prompts, before, after, part)).save(folder)
        manifest = seal(folder, after.manifest)
    Version.load(job.out)
    published = None
    if job.register:
        record = _record(job, manifest, effect)
        published = publish(job.out, record, job.tracking_uri, register=job.register)
        if job.alias:
            RouterRegistry(job.tracking_uri).point(job.register, job.alias, str(published.version))
    return Member(
        model=job.model,
        change="removed" if part is None else "added",
        out=job.out,
        policy_version=manifest["policy_version"],
        parent=before.policy_version,
        outcomes=len(part) if part else 0,
        success=float(part.success[:, -1].mean()) if part else np.nan,
        effect=effect,
        published=published,
        alias=job.alias if published else None,
    )


def _outcomes(
    prompts: TrainingPrompts, before: Version, after: Version, part: PromptTable | None
) -> Float32Array:
    """The outcomes of the stored prompts, in the columns of the router's new models."""
    known = (
        {int(key[:16], 16): rate for key, rate in zip(part.keys, part.success[:, -1], strict=True)}
        if part
        else {}
    )
    own = np.array([known.get(key, np.nan) for key in prompts.keys.tolist()], dtype=np.float32)
    columns = [
        prompts.outcomes[:, before.models.index(model)] if model in before.models else own
        for model in after.models
    ]
    return np.column_stack(columns)


def _record(job: MemberJob, manifest: Mapping[str, Json], effect: Effect | None) -> RunRecord:
    """What MLflow keeps of a router whose models changed: its parent, and what happened since."""
    parent, last = manifest["parent"]["policy_version"], manifest["membership"][-1]
    tags = {
        "policy_version": manifest["policy_version"],
        "parent_policy_version": parent,
        last["change"]: last["model"],
    }
    if effect:
        tags["forecast_success"] = significant(effect.success[0])
        tags["forecast_cost_usd_per_1000"] = significant(effect.usd_per_call[0] * 1000)
    params = {**tags, "models": ", ".join(manifest["models"]), "data_digest": manifest["data"]["digest"]}
    return RunRecord(
        params=params,
        metrics={"calls": float(manifest["data"]["calls"])},
        tags={**tags, "router_digest": digest_of(manifest), "pointsman_version": __version__},
        documents={"manifest.json": manifest},
        name=job.register,
        version_tags=tags,
        card=partial(member_card, job, manifest, effect),
    )


def member_card(job: MemberJob, manifest: Mapping[str, Json], effect: Effect | None, address: str) -> str:
    """Describe a router whose models changed in Markdown: what changed, its forecast effect, how to load it.

    Args:
        effect: None without logs.
        address: that `Router.load` takes.
    """
    last = manifest["membership"][-1]
    outcomes = f", fitted on {last['outcomes']:,} outcomes" if "outcomes" in last else ""
    calls = [without_credentials(source) for source in job.sources] or ["CALLS"]
    compare = shlex.join(["pointsman", "compare", *calls, "--router", str(job.out), "--out", "report"])
    gets = "gets" if last["change"] == "added" else "got"
    forecast = [f"Forecast: {last['model']} {gets} {effect.words}.", ""] if effect else []
    return "\n".join(
        [
            f"**{last['model']} is {last['change']}{outcomes}; not compared yet.** The other models forecast "
            f"what they did in the router {manifest['parent']['policy_version']}, its parent.",
            "",
            f"Next: `{compare}`",
            "",
            *forecast,
            f"Models: {', '.join(manifest['models'])}.",
            "",
            *how_to_load(address),
        ]
    )


def _share(part: Interval) -> str:
    """A share with its interval."""
    return f"{rate(part.value)} {bounds(part, 'rate')}".strip()
