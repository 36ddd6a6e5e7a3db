"""What came of calls that cost money, and which models are called no more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from router.calling.attempt import Attempt
from training.spending.unsent import why_unsent

FAILURES_IN_A_ROW = 5
"""Calls of a model that fail one after the other, each after its retries, before the model is given up."""
WASTED_IN_A_ROW = 20
"""Likewise calls that are answered, and of no use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallsMade:
    """What was done.

    Attributes:
        answered: calls whose answer is in the file now, with those that the model itself failed on.
        failed: calls without an answer, by model, kind and reason; the next run tries them again.
        over_budget: calls that were not made because the budget could not bear their worst case.
        given_up: reason for each model that was called no more, with the number of calls not made for it.
        cost_usd: of the calls of this run, attempts that may have been billed included.
        spent_usd: of all runs with this file.
        unanswered_usd: of `cost_usd`, what attempts that failed count with because they may have been billed.
    """

    answered: int
    failed: Mapping[str, int]
    over_budget: int
    given_up: Mapping[str, str]
    cost_usd: float
    spent_usd: float
    unanswered_usd: float = 0.0


class Tally:
    """Counts the calls of one run."""

    def __init__(self) -> None:
        self._answered = self._over_budget = 0
        self._failed: Counter[str] = Counter()
        self._in_a_row: Counter[str] = Counter()
        self._wasted: Counter[str] = Counter()
        self._given_up: dict[str, str] = {}
        self._left_out: Counter[str] = Counter()
        self._cost = self._unanswered = 0.0

    def leaves_out(self, model: str) -> bool:
        """Whether the model of the next call was given up, so that the call is not made."""
        given_up = model in self._given_up
        self._left_out[model] += given_up
        return given_up

    def paid(self, usd: float, attempt: Attempt) -> None:
        """An attempt counts with this in the budget."""
        self._cost += usd
        self._unanswered += 0.0 if attempt.answered else usd

    def answered(self, model: str, wasted: str | None) -> None:
        """A call is finished; a model that answers to no use again and again is given up.

        Args:
            wasted: why it was of no use.
        """
        self._answered += 1
        self._in_a_row.pop(model, None)
        self._wasted[model] = 0 if wasted is None else self._wasted[model] + 1
        if wasted and self._wasted[model] >= WASTED_IN_A_ROW:
            self._given_up[model] = f"{WASTED_IN_A_ROW} replies in a row {wasted}"

    def not_borne(self, model: str, before: Attempt | None) -> None:
        """The budget can't bear a call; what failed before and now can't be tried again, failed.

        Args:
            before: the call's last attempt.
        """
        if before is None:
            self._over_budget += 1
        else:
            self.failed(model, before)

    def failed(self, model: str, last: Attempt) -> None:
        """A call failed for good; a model that keeps failing is given up."""
        told = _told(last)
        self._failed[f"{model}: {told}"] += 1
        self._in_a_row[model] += 1
        if last.kind == "authentication":
            self._given_up[model] = "the provider refuses the key"
        elif self._in_a_row[model] >= FAILURES_IN_A_ROW:
            self._given_up[model] = f"{FAILURES_IN_A_ROW} calls in a row failed (last: {told})"

    def result(self, spent_usd: float) -> CallsMade:
        """What was done.

        Args:
            spent_usd: by all runs.
        """
        return CallsMade(
            answered=self._answered,
            failed=dict(self._failed),
            over_budget=self._over_budget,
            given_up={model: self._why(model) for model in self._given_up},
            cost_usd=self._cost,
            spent_usd=spent_usd,
            unanswered_usd=self._unanswered,
        )

    def _why(self, model: str) -> str:
        left_out = self._left_out[model]
        reason = self._given_up[model]
        return f"{reason}; {left_out} more calls were not made" if left_out else reason


def _told(attempt: Attempt) -> str:
    """What may be shown of a failure: its kind, and why nothing was sent; never the provider's own text."""
    reason = why_unsent(attempt.error)
    return str(attempt.kind) if reason is None else f"{attempt.kind}, {reason}"
