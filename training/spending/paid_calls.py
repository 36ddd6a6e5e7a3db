"""Making calls that cost money: within a budget, at a pace, and never one that is finished already."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from router.calling.attempt import Attempt, Failed
from router.calling.call_plan import WORTH_REPEATING, Wait, plan_calls
from router.calling.litellm_call import connection_of, no_detours, one_request_a_call
from router.calling.provider_errors import retry_after_s
from router.calling.transport import Transport
from router.errors import CallFailed
from router.models.litellm_import import litellm_module
from router.records import Json
from router.serving.completion import THE_MODELS_OWN_FAULT
from router.settings.sections import Calls, Config, CoolDown
from training.progress import Advance
from training.spending.budget import Budget, LineFile, ledger_of
from training.spending.cost_bound import Bound
from training.spending.tally import CallsMade, Tally
from training.spending.unsent import why_unsent

LEAST_RETRIES = 4
"""These calls are in no hurry: they rather wait than are left out."""
LONGEST_WAIT_S = 60.0
NEVER_BILLED = frozenset({"rate_limit", "authentication", "bad_request", "context_window"})
"""Failures by which the provider says that it did nothing. After any other that was sent the answer may have
been made, and billed, so the attempt counts in the budget with what it can cost at most."""


class PaidCall(Protocol):
    """One call to be made."""

    @property
    def model(self) -> str:
        """Its name in the settings."""

    @property
    def arguments(self) -> Mapping[str, Json]:
        """LiteLLM's, without the model."""

    @property
    def bound(self) -> Bound:
        """What the model can cost at most."""

    @property
    def at_most_usd(self) -> float:
        """USD that one attempt can cost."""


C = TypeVar("C", bound=PaidCall)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work(Generic[C]):
    """Calls, and what is kept of them.

    Attributes:
        left: of the calls, those that no line of the output holds yet.
        line: what the output gets of a call that is finished.
        wasted: why a finished call was of no use, though it is paid for; None: it was of use.
    """

    calls: Sequence[C]
    left: Callable[[Sequence[C], Sequence[Mapping[str, Json]]], Sequence[C]]
    line: Callable[[C, Attempt], Mapping[str, Json]]
    wasted: Callable[[Attempt], str | None] = lambda attempt: None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallTerms:
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


def make_calls(
    work: Work[C], terms: CallTerms, config: Config, advance: Advance = lambda done: None
) -> CallsMade:
    """Make the calls that have no line in the output yet, and append a line for each.

    A line is on the disk before its call counts as finished, so a run that is stopped at any moment goes on
    where it was. What a kill can cost twice are the calls in flight, at most `concurrency` of them; the
    budget counts those in full, so that it holds all the same.

    Args:
        advance: called with 1 after each call.

    Raises:
        CallLogError: the output can't be written, or another run writes it.
        ConfigError: the settings send calls elsewhere, or a key is missing.
    """
    litellm_module()
    no_detours(None)
    for model in {call.model for call in work.calls}:
        connection_of(model, config.of(model))
    with LineFile(terms.out) as lines, LineFile(ledger_of(terms.out)) as ledger:
        budget = Budget(terms.budget_usd, ledger)
        run = _Run(work, terms, config, lines, budget)
        with one_request_a_call():
            asyncio.run(run.all(work.left(work.calls, lines.lines), advance))
        return run.tally.result(budget.spent)


def is_finished(attempt: Attempt) -> bool:
    """Whether there is nothing to try again: the model answered, or failed by its own fault."""
    return attempt.answered or attempt.kind in THE_MODELS_OWN_FAULT


def message_of(attempt: Attempt) -> Json:
    """The first choice's message as JSON; None where the model said nothing."""
    choices = getattr(attempt.response, "choices", None)
    message = getattr(choices[0], "message", None) if choices else None
    dump = getattr(message, "model_dump", None)
    return None if dump is None else dump(mode="json", exclude_none=True)


class _Run(Generic[C]):
    """One run, in one event loop."""

    def __init__(
        self,
        work: Work[C],
        terms: CallTerms,
        config: Config,
        lines: LineFile,
        budget: Budget,
    ) -> None:
        self._work, self._terms, self._config = work, terms, config
        self._lines, self._budget = lines, budget
        self._patient = _patient(config.calls)
        self._transport = Transport(_one_attempt(config))
        self._pace = _Pace(terms.per_minute)
        self.tally = Tally()

    async def all(self, calls: Sequence[C], advance: Advance) -> None:
        """Make the calls, so many at once."""
        left = iter(calls)
        await asyncio.gather(*(self._some(left, advance) for _ in range(self._terms.concurrency)))

    async def _some(self, left: Iterator[C], advance: Advance) -> None:
        for call in left:
            if not self.tally.leaves_out(call.model):
                await self._call(call)
            advance(1)

    async def _call(self, call: C) -> None:
        """One call with its retries."""
        own = self._config.of(call.model).retries
        retries = max(LEAST_RETRIES, self._config.calls.retries if own is None else own)
        steps = plan_calls([call.model], self._patient, lambda model: retries, random.random)
        step = next(steps)
        failed: Attempt | None = None
        while True:
            if isinstance(step, Wait):
                await asyncio.sleep(step.seconds)
                step = steps.send(None)
                continue
            attempt = await self._attempt(call)
            if attempt is None:
                self.tally.not_borne(call.model, failed)
                return
            if is_finished(attempt):
                self.tally.answered(call.model, self._work.wasted(attempt))
                return
            failed = attempt
            try:
                if attempt.kind not in WORTH_REPEATING:
                    raise CallFailed([(call.model, str(attempt.kind))])
                step = steps.send(_failure(attempt))
            except CallFailed:
                self.tally.failed(call.model, attempt)
                return

    async def _attempt(self, call: C) -> Attempt | None:
        """One attempt, paid for and written down; None where the budget can't bear it."""
        await self._pace.turn(call.model)
        number = await self._budget.set_aside(call.at_most_usd)
        if number is None:
            return None
        seen: list[Attempt] = []
        with suppress(CallFailed):
            await self._transport.acompletion([call.model], call.arguments, seen.append)
        attempt = seen[-1]
        if is_finished(attempt):
            self._lines.append(self._work.line(call, attempt))
        cost = attempt_cost(call, attempt)
        self.tally.paid(cost, attempt)
        await self._budget.settle(number, cost)
        return attempt


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


def attempt_cost(call: PaidCall, attempt: Attempt) -> float:
    """USD that an attempt counts with in the budget."""
    if not attempt.answered:
        free = attempt.kind in NEVER_BILLED or why_unsent(attempt.error) is not None
        return 0.0 if free else call.at_most_usd
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
