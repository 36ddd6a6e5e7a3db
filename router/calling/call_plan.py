"""What to try after a failed call: the same model after a wait, the next model, or nothing.

The plan does no input or output: it yields the next step and receives the result, so that one plan serves
plain calls and streams, sync and async.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import TypeAlias

from router.calling.attempt import ErrorKind, Failed
from router.errors import CallFailed, RequestError
from router.settings.sections import Calls

WORTH_REPEATING: frozenset[ErrorKind] = frozenset({"rate_limit", "timeout", "connection", "server", "empty"})
"""Failures that may soon pass on the same model."""
MOVES_ON: frozenset[ErrorKind] = WORTH_REPEATING | {"context_window", "not_found", "unsent"}
"""Failures that another model may not have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """Call a model; `number` counts the attempts of the request from 1."""

    model: str
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Do nothing for some seconds."""

    seconds: float


Plan: TypeAlias = Generator[Try | Wait, Failed | None, None]
"""Yields the next step. Send it the failure, or None after a wait; drop it when a model answers."""


def plan_calls(
    models: Sequence[str], calls: Calls, retries: Callable[[str], int], draw: Callable[[], float]
) -> Plan:
    """Try each model, some more than once, until one answers.

    A rate limit, a timeout, a lost connection or a server error leads to a retry of the same model. The wait
    doubles with each retry from `backoff_s` to `max_backoff_s`; the plan waits a random part of it (full
    jitter), or longer if Retry-After says so. A failure that took longer than `max_backoff_s`, or a longer
    Retry-After, leads to the next model at once, because that one answers sooner.

    Args:
        retries: further attempts on a model; called after each failure.
        draw: random numbers in [0, 1).

    Raises:
        CallFailed: no model answered; the cause is the last error.
        RequestError: the request can't be sent to any model.
        BaseException: the provider's own error, if it says that the request itself is wrong.
        ValueError: there is no model to try.
    """
    failures: list[tuple[str, str]] = []
    kinds: set[ErrorKind] = set()
    last: Failed | None = None
    for model in models:
        for again in count():
            last = yield Try(model=model, number=len(failures) + 1)
            assert last is not None, "the caller drops the plan when a model answers"
            failures.append((model, last.summary))
            kinds.add(last.kind)
            if isinstance(last.error, RequestError):
                raise last.error
            if last.kind not in MOVES_ON and last.kind not in calls.also_fall_back_on:
                raise last.error
            if again >= retries(model) or not _is_worth_repeating(last, calls):
                break
            yield Wait(seconds=_wait(last, again, calls, draw))
    if last is None:
        raise ValueError("a chain names at least one model, this one is empty")
    if kinds == {"unsent"}:
        raise RequestError(
            f"the request could not be sent to {' or '.join(models)}: LiteLLM raised "
            f"{type(last.error).__name__} before anything left this process; check the form of the arguments"
        ) from last.error
    raise CallFailed(failures) from last.error


def _is_worth_repeating(failed: Failed, calls: Calls) -> bool:
    longest = max(failed.latency_s, failed.retry_after_s or 0.0)
    return failed.kind in WORTH_REPEATING and longest <= calls.max_backoff_s


def _wait(failed: Failed, again: int, calls: Calls, draw: Callable[[], float]) -> float:
    """Seconds before retry number `again` + 1."""
    most = min(calls.backoff_s * 2.0 ** min(again, 60), calls.max_backoff_s)
    return max(most * draw(), failed.retry_after_s or 0.0)
