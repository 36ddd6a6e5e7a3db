"""Making the calls of a replay: within the budget, at the pace, and never one that is finished already."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeAlias

from router.calling.attempt import Attempt, Failed
from router.calling.call_plan import WORTH_REPEATING, Wait, plan_calls
from router.calling.litellm_call import connection_of, no_detours
from router.calling.provider_errors import retry_after_s
from router.calling.transport import Transport
from router.errors import CallFailed
from router.journal import THE_MODELS_OWN_FAULT
from router.litellm_import import litellm_module
from router.log.rows import CallRecord, fit_row, row_to_json
from router.records import Json, Request
from router.settings import Calls, Config, CoolDown
from training.preparation import Advance
from training.replay_budget import Budget, LineFile, ledger_of, read_lines
from training.replay_plan import ReplayCall, ReplayPlan

SOURCE = "replay"
LEAST_RETRIES = 4
"""A replay is in no hurry: it rather waits than goes without."""
LONGEST_WAIT_S = 60.0
FAILURES_IN_A_ROW = 5
"""Calls of a model that fail one after the other, each after its retries, before the model is given up."""
NEVER_BILLED = frozenset({"rate_limit", "authentication", "bad_request", "context_window"})
"""Failures by which the provider says that it did nothing. After any other the answer may have been made, and
billed, so the attempt counts in the budget with what it can cost at most."""

Outcome: TypeAlias = Callable[[Request, Attempt], bool | None]
"""Whether a call succeeded; None: unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayTerms:
    """How the calls are made.

    Attributes:
        out: JSON lines; appended to.
        budget_usd: over all runs that write `out`.
        concurrency: most calls in flight.
        per_minute: most attempts a minute of each model, evenly spaced; None: no limit.
    """

    out: Path
    budget_usd: float
    concurrency: int = 8
    per_minute: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What a replay did.

    Attributes:
        answered: calls whose answer is in the file now, with those that the model itself failed on.
        failed: calls without an answer, by model and kind of failure; the next run tries them again.
        over_budget: calls that were not made because the budget could not bear their worst case.
        given_up: reason for each model that was called no more.
        cost_usd: of the calls of this run, attempts that may have been billed included.
        spent_usd: of all runs with this file.
    """

    answered: int
    failed: Mapping[str, int]
    over_budget: int
    given_up: Mapping[str, str]
    cost_usd: float
    spent_usd: float


def unfinished(calls: Sequence[ReplayCall], out: Path) -> Sequence[ReplayCall]:
    """The calls that have no line in the output yet.

    Raises:
        CallLogError: the output is there, and no replay wrote it.
    """
    return _without(calls, read_lines(out))


def known_outcome(request: Request, attempt: Attempt) -> bool | None:
    """What a call's end says of its success by itself, as the runtime's call log has it: often nothing.

    The model's answer is kept beside it, for whatever rules come later.
    """
    del request
    return False if attempt.kind in THE_MODELS_OWN_FAULT else None


def replay(
    plan: ReplayPlan,
    terms: ReplayTerms,
    config: Config,
    advance: Advance = lambda done: None,
    outcome: Outcome = known_outcome,
) -> Replayed:
    """Make the calls of a plan that have no line in the output yet, and append a line for each.

    A line is on the disk before its call counts as finished, so a run that is stopped at any moment goes on
    where it was. What a kill can cost twice are the calls in flight, at most `concurrency` of them; the
    budget counts those in full, so that it holds all the same.

    Args:
        advance: called with 1 after each call.
        outcome: the one place that says whether a call succeeded.

    Raises:
        CallLogError: the output can't be written, or another replay writes it.
        ConfigError: the settings send calls elsewhere, or a key is missing.
    """
    litellm_module()
    no_detours(None)
    for model in {call.model for call in plan.calls}:
        connection_of(model, config.of(model))
    with LineFile(terms.out) as lines, LineFile(ledger_of(terms.out)) as ledger:
        calls = _without(plan.calls, lines.lines)
        run = _Run(plan, terms, config, lines, Budget(terms.budget_usd, ledger), outcome)
        asyncio.run(run.all(calls, advance))
        return run.result()


class _Run:
    """One run of a replay, in one event loop."""

    def __init__(
        self,
        plan: ReplayPlan,
        terms: ReplayTerms,
        config: Config,
        lines: LineFile,
        budget: Budget,
        outcome: Outcome,
    ) -> None:
        self._plan, self._terms, self._config, self._outcome = plan, terms, config, outcome
        self._lines, self._budget = lines, budget
        self._patient = _patient(config.calls)
        self._transport = Transport(_one_attempt(config))
        self._pace = _Pace(terms.per_minute)
        self._before = budget.spent
        self._answered = self._over_budget = 0
        self._failed: Counter[str] = Counter()
        self._in_a_row: Counter[str] = Counter()
        self._given_up: dict[str, str] = {}

    async def all(self, calls: Sequence[ReplayCall], advance: Advance) -> None:
        """Make the calls, so many at once."""
        left = iter(calls)
        await asyncio.gather(*(self._some(left, advance) for _ in range(self._terms.concurrency)))

    def result(self) -> Replayed:
        """What was done."""
        return Replayed(
            answered=self._answered,
            failed=dict(self._failed),
            over_budget=self._over_budget,
            given_up=dict(self._given_up),
            cost_usd=self._budget.spent - self._before,
            spent_usd=self._budget.spent,
        )

    async def _some(self, left: Iterator[ReplayCall], advance: Advance) -> None:
        for call in left:
            if call.model not in self._given_up:
                await self._call(call)
            advance(1)

    async def _call(self, call: ReplayCall) -> None:
        """One call with its retries."""
        own = self._config.of(call.model).retries
        retries = max(LEAST_RETRIES, self._config.calls.retries if own is None else own)
        steps = plan_calls([call.model], self._patient, lambda model: retries, random.random)
        step = next(steps)
        while True:
            if isinstance(step, Wait):
                await asyncio.sleep(step.seconds)
                step = steps.send(None)
                continue
            attempt = await self._attempt(call)
            if attempt is None:
                self._over_budget += 1
                return
            if _is_finished(attempt):
                self._answered += 1
                self._in_a_row.pop(call.model, None)
                return
            try:
                if attempt.kind not in WORTH_REPEATING:
                    raise CallFailed([(call.model, str(attempt.kind))])
                step = steps.send(_failure(attempt))
            except CallFailed:
                self._give_up(call.model, attempt)
                return

    async def _attempt(self, call: ReplayCall) -> Attempt | None:
        """One attempt, paid for and written down; None where the budget can't bear it."""
        await self._pace.turn(call.model)
        number = await self._budget.set_aside(call.at_most_usd)
        if number is None:
            return None
        seen: list[Attempt] = []
        with suppress(CallFailed):
            await self._transport.acompletion([call.model], call.arguments, seen.append)
        attempt = seen[-1]
        if _is_finished(attempt):
            self._lines.append(self._line(call, attempt))
        await self._budget.settle(number, _cost(call, attempt))
        return attempt

    def _give_up(self, model: str, attempt: Attempt) -> None:
        """Count a call that failed; a model that keeps failing is called no more."""
        self._failed[f"{model}: {attempt.kind}"] += 1
        self._in_a_row[model] += 1
        if attempt.kind == "authentication":
            self._given_up[model] = "the provider refuses the key"
        elif self._in_a_row[model] >= FAILURES_IN_A_ROW:
            self._given_up[model] = f"{FAILURES_IN_A_ROW} calls in a row failed (last: {attempt.kind})"

    def _line(self, call: ReplayCall, attempt: Attempt) -> dict[str, Json]:
        """A finished call as a line of the canonical call log, with what outcome rules look at."""
        request = call.request
        record = CallRecord(
            call_id=_call_id(call),
            time=attempt.started,
            messages=None,
            task_type=request.task_type,
            tags=tuple(request.tags),
            model=call.model,
            success=self._outcome(request, attempt),
            outcome_source=SOURCE,
            cost_usd=attempt.cost_usd,
            input_tokens=attempt.usage.input_tokens,
            output_tokens=attempt.usage.output_tokens,
            cached_input_tokens=attempt.usage.cached_input_tokens,
            reasoning_tokens=attempt.usage.reasoning_tokens,
            latency_s=attempt.latency_s,
            policy_version=self._plan.policy_version,
            decision_source=SOURCE,
            confidence=call.confidence,
            prompt_key=call.key,
            error=f"{attempt.kind}: {type(attempt.error).__name__}" if attempt.kind else None,
            finish_reason=attempt.finish_reason,
            notes=attempt.notes,
        )
        texts = {
            "messages": list(request.messages),
            "tools": request.tools,
            "response_format": request.response_format,
            "sampling_probability": call.sampling_probability,
            "answer": _answer(attempt),
        }
        whole = {**row_to_json(fit_row(asdict(record))), **texts}
        return {name: value for name, value in whole.items() if value is not None}


class _Pace:
    """Evenly spaced turns per model: a burst at the start of a minute is what providers' limits punish."""

    def __init__(self, per_minute: float | None) -> None:
        self._gap_s = 60.0 / per_minute if per_minute else 0.0
        self._next: dict[str, float] = {}

    async def turn(self, model: str) -> None:
        """Wait for the model's next turn."""
        now = asyncio.get_running_loop().time()
        turn = max(now, self._next.get(model, now))
        self._next[model] = turn + self._gap_s
        await asyncio.sleep(turn - now)


def _without(calls: Sequence[ReplayCall], lines: Sequence[Mapping[str, Json]]) -> Sequence[ReplayCall]:
    finished = {(line.get("prompt_key"), line.get("model")) for line in lines}
    return [call for call in calls if (call.key, call.model) not in finished]


def _is_finished(attempt: Attempt) -> bool:
    """Whether there is nothing to try again: the model answered, or failed by its own fault."""
    return attempt.answered or attempt.kind in THE_MODELS_OWN_FAULT


def _cost(call: ReplayCall, attempt: Attempt) -> float:
    """USD that an attempt counts with."""
    if not attempt.answered:
        return 0.0 if attempt.kind in NEVER_BILLED else call.at_most_usd
    # LiteLLM says 0 for a model without a price, too.
    by_tokens = call.bound.of(attempt.usage)
    return attempt.cost_usd or (call.at_most_usd if by_tokens is None else by_tokens)


def _failure(attempt: Attempt) -> Failed:
    assert attempt.kind is not None, "an attempt that failed says why"
    assert attempt.error is not None, "an attempt that failed says by what"
    wait = retry_after_s(attempt.error) if isinstance(attempt.error, Exception) else None
    return Failed(kind=attempt.kind, error=attempt.error, retry_after_s=wait, latency_s=attempt.latency_s)


def _patient(calls: Calls) -> Calls:
    """The settings of calls, but with long waits."""
    return calls.model_copy(update={"max_backoff_s": max(calls.max_backoff_s, LONGEST_WAIT_S)})


def _one_attempt(config: Config) -> Config:
    """The settings, but one attempt a call: each has to be paid for by itself."""
    calls = config.calls.model_copy(
        update={
            "retries": 0,
            "fallbacks": {},
            "cool_down": CoolDown(failures=0),
            "also_fall_back_on": ["authentication", "bad_request", "content_policy"],
        }
    )
    models = {name: own.model_copy(update={"retries": None}) for name, own in config.models.items()}
    return config.model_copy(update={"calls": calls, "models": models})


def _call_id(call: ReplayCall) -> str:
    """The same for the same prompt and model: a line that was written twice is read once."""
    return f"replay-{hashlib.sha256(f'{call.key} {call.model}'.encode()).hexdigest()[:32]}"


def _answer(attempt: Attempt) -> Json:
    """The first choice's message as JSON; None where the model said nothing."""
    choices = getattr(attempt.response, "choices", None)
    message = getattr(choices[0], "message", None) if choices else None
    dump = getattr(message, "model_dump", None)
    return None if dump is None else dump(mode="json", exclude_none=True)
