"""Makes calls that cost money, within a budget and at a limited rate, and none twice."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
"""These calls are not urgent, so they retry more often than others."""
LONGEST_WAIT_S = 60.0
NEVER_BILLED = frozenset(
    {"rate_limit", "authentication", "bad_request", "context_window", "not_found", "unsent"}
)
"""Failures that mean that the provider did nothing. After any other failure of a sent request the answer may
be billed, so the attempt counts in the budget with the most that it can cost."""


class PaidCall(Protocol):
    """One call to make."""

    @property
    def model(self) -> str:
        """Its name in the settings."""

    @property
    def arguments(self) -> Mapping[str, Json]:
        """LiteLLM's, without the model."""

    @property
    def bound(self) -> Bound:
        """The highest prices of the model."""

    @property
    def at_most_usd(self) -> float:
        """The most USD that one attempt can cost."""


C = TypeVar("C", bound=PaidCall)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work(Generic[C]):
    """Calls to make, and what to write of them.

    Attributes:
        left: the calls that have no line in the output yet.
        line: the line of a finished call.
        wasted: why a paid call is of no use; None if it is of use.
    """

    calls: Sequence[C]
    left: Callable[[Sequence[C], Sequence[Mapping[str, Json]]], Sequence[C]]
    line: Callable[[C, Attempt], Mapping[str, Json]]
    wasted: Callable[[Attempt], str | None] = lambda attempt: None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallTerms:
    """How to make the calls.

    Attributes:
        out: file of JSON lines to append to.
        budget_usd: for all runs that write `out` together.
        concurrency: most calls in flight.
        per_minute: most attempts per minute and model, evenly spaced; None: no limit.
    """

    out: Path
    budget_usd: float
    concurrency: int = 8
    per_minute: float | None = None


def make_calls(
    work: Work[C], terms: CallTerms, config: Config, advance: Advance = lambda done: None
) -> CallsMade:
    """Make the calls that have no line in the output yet, and append a line for each.

    A line is on the disk before its call counts as finished, so the next run continues where this one stops.
    After a kill only calls in flight, at most `concurrency`, may be paid twice; the budget counts them in
    full.

    Args:
        advance: called with 1 after each call.

    Raises:
        CallLogError: the output can't be written, or another run writes it.
        ConfigError: the settings send calls through a proxy or gateway, or a key is missing.
    """
    check_callable({call.model for call in work.calls}, config)
    with LineFile(terms.out) as lines, LineFile(ledger_of(terms.out)) as ledger:
        budget = Budget(terms.budget_usd, ledger)
        run = _Run(work, terms, config, lines, budget)
        with one_request_a_call():
            asyncio.run(run.all(work.left(work.calls, lines.lines), advance))
        return run.tally.result(budget.spent)


def check_callable(models: Iterable[str], config: Config) -> None:
    """Refuse, before anybody is asked to pay, what would keep the calls from being made.

    Raises:
        ConfigError: the settings send calls through a proxy or gateway, or a key is missing.
    """
    litellm_module()
    no_detours(None)
    for model in models:
        connection_of(model, config.of(model))


def is_finished(attempt: Attempt) -> bool:
    """Whether a retry is pointless: the model answered, or failed by its own fault."""
    return attempt.answered or attempt.kind in THE_MODELS_OWN_FAULT


def message_of(attempt: Attempt) -> Json:
    """The message of the first choice as JSON; None if there is none."""
    choices = getattr(attempt.response, "choices", None)
    message = getattr(choices[0], "message", None) if choices else None
    dump = getattr(message, "model_dump", None)
    return None if dump is None else dump(mode="json", exclude_none=True)


def billing_of(attempt: Attempt) -> dict[str, Json]:
    """Time, cost and tokens of an attempt, by their columns in a call log."""
    return {
        "time": attempt.started,
        "cost_usd": attempt.cost_usd,
        "input_tokens": attempt.usage.input_tokens,
        "output_tokens": attempt.usage.output_tokens,
    }


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
        """Make the calls, up to `concurrency` at once."""
        left = iter(calls)
        await asyncio.gather(*(self._next_calls(left, advance) for _ in range(self._terms.concurrency)))

    async def _next_calls(self, left: Iterator[C], advance: Advance) -> None:
        for call in left:
            if not self.tally.skips(call.model):
                await self._call(call)
            advance(1)

    async def _call(self, call: C) -> None:
        """Make one call, with its retries."""
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
                self.tally.unaffordable(call.model, failed)
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
        """Make, pay and write one attempt; None if the budget can't pay for it."""
        await self._pace.turn(call.model)
        number = await self._budget.set_aside(call.at_most_usd)
        if number is None:
            return None
        attempts: list[Attempt] = []
        with suppress(CallFailed):
            await self._transport.acompletion([call.model], call.arguments, attempts.append)
        attempt = attempts[-1]
        if is_finished(attempt):
            self._lines.append(self._work.line(call, attempt))
        cost = attempt_cost(call, attempt)
        self.tally.paid(cost, attempt)
        await self._budget.settle(number, cost)
        return attempt


class _Pace:
    """Evenly spaced turns per model: a burst at the start of a minute exceeds many providers' limits."""

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
    """USD that the budget counts for an attempt."""
    if not attempt.answered:
        free = attempt.kind in NEVER_BILLED or why_unsent(attempt.error) is not None
        return 0.0 if free else call.at_most_usd
    # LiteLLM also returns 0 for a model without a price.
    by_tokens = call.bound.of(attempt.usage)
    return attempt.cost_usd or (call.at_most_usd if by_tokens is None else by_tokens)


def _failure(attempt: Attempt) -> Failed:
    assert attempt.kind is not None, "a failed attempt has a kind"
    assert attempt.error is not None, "a failed attempt has an error"
    wait = retry_after_s(attempt.error) if isinstance(attempt.error, Exception) else None
    return Failed(kind=attempt.kind, error=attempt.error, retry_after_s=wait, latency_s=attempt.latency_s)


def _patient(calls: Calls) -> Calls:
    """The settings of calls, with long waits."""
    return calls.model_copy(update={"max_backoff_s": max(calls.max_backoff_s, LONGEST_WAIT_S)})


def _one_attempt(config: Config) -> Config:
    """The settings, with one attempt per call: the budget pays for each attempt alone."""
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
