"""Plans the calls of a replay, in order, with their expected and highest cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

import numpy as np

from router.errors import ConfigError
from router.records import NO_WISHES, BoolArray, FloatArray, Json, Request
from router.version import Forecast, Version
from training.progress import Reporter
from training.prompts.from_logs import ReadOptions, calls_of, encodings_of, table_of
from training.prompts.table import PromptTable
from training.readers.values import filled
from training.reading.calls import CallFiles
from training.replaying.selection import (
    Selection,
    Strategy,
    informative_sample,
    stratified_sample,
    value_of_information,
)
from training.spending.budget import Affordable, affordable
from training.spending.cost_bound import Bound, bound_of, only_texts

Purpose = Literal["train", "judge"]

SEEN = "the router was trained on them, so they can't judge it"
CUT = "the logged text is not the whole text"
NO_TEXT = "holds images or files, whose price has no bound"
_STRATEGIES: Mapping[Purpose, Strategy] = {"train": "informative", "judge": "random"}
NONE_LEFT = "every model was tried, or is ruled out by the limits"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayJob:
    """What to replay.

    Attributes:
        models: to call; empty for all that the router knows.
        most: most prompts; None for no limit but the budget.
        budget_usd: ends the calls; None for no budget.
        purpose: "train": draw from all prompts; "judge": from those that the router was not trained on, since
            a comparison counts no others.
        strategy: None: "informative" to train, "random" to judge, whose intervals are narrower if every
            prompt counts alike.
        max_tokens: longest answer if a model's settings have no limit.
    """

    sources: Sequence[str]
    reading: ReadOptions
    models: Sequence[str] = ()
    most: int | None = None
    budget_usd: float | None = None
    purpose: Purpose = "train"
    strategy: Strategy | None = None
    max_tokens: int = 4096
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayCall:
    """One call to make.

    Attributes:
        key: of the prompt.
        arguments: LiteLLM's, without the model.
        confidence: chance of success that the router expects.
        expected_usd: by the router's forecast, at most `at_most_usd`.
        at_most_usd: highest cost of one attempt.
        sampling_probability: chance that the prompt was drawn.
    """

    key: str
    request: Request
    model: str
    arguments: Mapping[str, Json]
    confidence: float
    expected_usd: float
    at_most_usd: float
    bound: Bound
    sampling_probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayPlan:
    """The calls of a replay, in order.

    Attributes:
        unseen: number of the prompts that the router was not trained on.
        set_apart: number of prompts that can't or need not be replayed, by reason.
    """

    calls: Sequence[ReplayCall]
    prompts: int
    unseen: int
    set_apart: Mapping[str, int]
    policy_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayCost:
    """Cost in USD of calls that are made once each."""

    calls: int
    expected_usd: float
    at_most_usd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayOffer:
    """The calls that a replay is about to make, and their price.

    Attributes:
        prompts: number in the plan.
        unseen: number of them that the router was not trained on, which alone can judge it.
        finished: calls of the plan that earlier runs made.
        cost: of the calls that are left, whatever the budget.
        by_model: the same by model.
        affordable: how many of the calls that are left the rest of the budget can pay for.
        set_apart: as `ReplayPlan`.
        graded: whether an outcome rule can call an answer a success; else a judge has to.
    """

    prompts: int
    unseen: int
    finished: int
    cost: ReplayCost
    by_model: Mapping[str, ReplayCost]
    affordable: Affordable
    budget_usd: float
    spent_usd: float
    set_apart: Mapping[str, int]
    graded: bool

    @property
    def free_usd(self) -> float:
        """The rest of the budget."""
        return max(self.budget_usd - self.spent_usd, 0.0)

    def to_json(self) -> dict[str, Json]:
        """What `pointsman replay --dry-run --json` prints."""
        return {
            "prompts": self.prompts,
            "unseen": self.unseen,
            "calls": self.cost.calls,
            "finished": self.finished,
            "expected_usd": self.cost.expected_usd,
            "at_most_usd": self.cost.at_most_usd,
            "budget_usd": self.budget_usd,
            "spent_usd": self.spent_usd,
            "surely_borne": self.affordable.surely,
            "expected_borne": self.affordable.expected,
            "set_apart": dict(self.set_apart),
            "models": {name: asdict(cost) for name, cost in self.by_model.items()},
        }


def plan_replay(job: ReplayJob, version: Version, reporter: Reporter) -> ReplayPlan:
    """Plan the calls of a replay of a log; this calls no model.

    The limits hold as for any request: a prompt that must stay on the team's machines is sent to no other
    place.

    Raises:
        CallLogError: a log can't be read.
        ConfigError: a model is unknown to the router, or has no price.
    """
    called = _called_models(job, version)
    bounds = {
        model: bound_of(model, version.config, version.prices[model], job.max_tokens) for model in called
    }
    with calls_of(job.sources, job.reading, reporter) as files:
        cut = cut_prompts(files)
        table = table_of(files, version.config, reporter, version.models).columns(version.models)
    seen = version.training_keys()
    avoided = seen if job.purpose == "judge" else frozenset[int]()
    reasons = [
        SEEN if _number(key) in avoided else _unfit(key, request, cut)
        for key, request in zip(table.keys, table.requests, strict=True)
    ]
    table = table.rows(np.flatnonzero([reason is None for reason in reasons]).astype(np.int64))
    set_apart = dict(Counter(reason for reason in reasons if reason))
    if not len(table):
        return _plan((), set_apart, version, seen)
    encodings, _ = encodings_of(table, version.encoder, job.reading.cache, reporter)
    forecast = version.forecast(table.requests, encodings)
    missing = (table.calls == 0) & np.isin(version.models, called)
    _rule_out(missing, table, version, forecast)
    rows = np.flatnonzero(missing.any(axis=1)).astype(np.int64)
    if len(rows) < len(table):
        set_apart[NONE_LEFT] = len(table) - len(rows)
    value = value_of_information(
        forecast.probability[rows], forecast.cost[rows], version.policy.weight, missing[rows]
    )
    task_types = [table.requests[row].task_type or "" for row in rows.tolist()]
    chosen = select(job, value, task_types)
    cells = _Cells(table=table, version=version, bounds=bounds, forecast=forecast)
    prompts = [cells.calls(row, missing[row]) for row in rows[chosen.rows].tolist()]
    if job.budget_usd is not None:
        spent = np.cumsum([sum(call.expected_usd for call in calls) for calls in prompts])
        chosen = select(job, value, task_types, reached=max(1, int((spent <= job.budget_usd).sum())))
    calls = [
        replace(call, sampling_probability=probability)
        for calls, probability in zip(prompts, chosen.probability.tolist(), strict=True)
        for call in calls
    ]
    return _plan(calls, set_apart, version, seen)


def select(
    job: ReplayJob, value: FloatArray, task_types: Sequence[str], reached: int | None = None
) -> Selection:
    """The prompts that the job's strategy draws from those with a model to call.

    Args:
        reached: number of prompts that the budget is expected to pay for; the probabilities are for that
            many.
    """
    most = len(value) if job.most is None else job.most
    if (job.strategy or _STRATEGIES[job.purpose]) == "random":
        return stratified_sample(task_types, most, job.seed, reached)
    return informative_sample(value, most, job.seed, reached)


def offer_of(
    plan: ReplayPlan, left: Sequence[ReplayCall], budget_usd: float, spent_usd: float, *, graded: bool
) -> ReplayOffer:
    """The offer to make those calls of a plan that are left."""
    prices = ((call.expected_usd, call.at_most_usd) for call in left)
    return ReplayOffer(
        prompts=plan.prompts,
        unseen=plan.unseen,
        finished=len(plan.calls) - len(left),
        cost=replay_cost(left),
        by_model=cost_by_model(left),
        affordable=affordable(budget_usd, spent_usd, prices),
        budget_usd=budget_usd,
        spent_usd=spent_usd,
        set_apart=plan.set_apart,
        graded=graded,
    )


def replay_cost(calls: Iterable[ReplayCall]) -> ReplayCost:
    """Number and cost of the calls."""
    calls = list(calls)
    return ReplayCost(
        calls=len(calls),
        expected_usd=sum(call.expected_usd for call in calls),
        at_most_usd=sum(call.at_most_usd for call in calls),
    )


def cost_by_model(calls: Sequence[ReplayCall]) -> dict[str, ReplayCost]:
    """Number and cost of the calls of each model, sorted by name."""
    models = sorted({call.model for call in calls})
    return {model: replay_cost(call for call in calls if call.model == model) for model in models}


def cut_prompts(files: CallFiles) -> frozenset[str]:
    """Keys of the prompts whose logged text is not the whole text."""
    keys: set[str] = set()
    for frame in files.frames():
        rows = frame.where(frame["truncated"]).select("prompt_key").distinct()
        keys.update(rows.to_pydict()["prompt_key"])
    return frozenset(keys)


def _called_models(job: ReplayJob, version: Version) -> Sequence[str]:
    unknown = sorted(set(job.models) - set(version.models))
    if unknown:
        raise ConfigError(
            f"--models names {', '.join(map(repr, unknown))}, which this router does not know; it knows "
            f"{', '.join(version.models)}"
        )
    return job.models or version.models


def _unfit(key: str, request: Request, cut: frozenset[str]) -> str | None:
    """Why a prompt can't be sent again; None if it can."""
    if key in cut:
        return CUT
    return None if only_texts(request) else NO_TEXT


def _rule_out(missing: BoolArray, table: PromptTable, version: Version, forecast: Forecast) -> None:
    """Remove from `missing` the models that the limits rule out for a prompt."""
    column = {model: place for place, model in enumerate(version.models)}
    for row in np.flatnonzero(missing.any(axis=1)).tolist():
        costs = dict(zip(version.models, forecast.cost[row].tolist(), strict=True))
        rejected = version.limits.rule_out(table.requests[row], NO_WISHES, float(forecast.tokens[row]), costs)
        missing[row, [column[model] for model in rejected]] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cells:
    """Creates calls from matrices of prompts by models."""

    table: PromptTable
    version: Version
    bounds: Mapping[str, Bound]
    forecast: Forecast

    def calls(self, row: int, missing: BoolArray) -> Sequence[ReplayCall]:
        """The calls of the missing models on one prompt, with sampling probability 1."""
        return [self._call(row, column) for column in np.flatnonzero(missing).tolist()]

    def _call(self, row: int, column: int) -> ReplayCall:
        model, request = self.version.models[column], self.table.requests[row]
        bound = self.bounds[model]
        at_most = bound.at_most(request)
        expected = float(self.forecast.cost[row, column])
        return ReplayCall(
            key=self.table.keys[row],
            request=request,
            model=model,
            arguments={**_arguments(request), **bound.arguments},
            confidence=float(self.forecast.probability[row, column]),
            expected_usd=min(expected, at_most) if np.isfinite(expected) else at_most,
            at_most_usd=at_most,
            bound=bound,
            sampling_probability=1.0,
        )


def _arguments(request: Request) -> dict[str, Json]:
    """LiteLLM's arguments for a logged request."""
    optional = {"tools": request.tools, "response_format": request.response_format}
    return {"messages": list(request.messages), **filled(optional)}


def _number(key: str) -> int:
    """A prompt's key as `Version.training_keys` holds it."""
    return int(key[:16], 16)


def _plan(
    calls: Sequence[ReplayCall], set_apart: Mapping[str, int], version: Version, seen: frozenset[int]
) -> ReplayPlan:
    keys = {call.key for call in calls}
    return ReplayPlan(
        calls=calls,
        prompts=len(keys),
        unseen=sum(_number(key) not in seen for key in keys),
        set_apart=set_apart,
        policy_version=version.policy_version,
    )
