"""Counts the results of paid calls, and gives up models that keep failing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from router.calling.attempt import Attempt
from router.records import Json
from training.spending.unsent import why_unsent

FAILURES_IN_A_ROW = 5
"""Calls of a model that fail in a row, each after its retries, before the model is given up."""
WASTED_IN_A_ROW = 20
"""Useless answers of a model in a row before the model is given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallsMade:
    """The results of one run.

    Attributes:
        answered: calls with a line in the file, also if the model itself failed.
        failed: calls without an answer, by model, kind and reason; the next run tries them again.
        over_budget: calls that were not made because the budget can't pay for their worst case.
        given_up: reason for each model that was given up, with the number of its calls that were not made.
        cost_usd: of this run, with failed attempts that may have been billed.
        spent_usd: of all runs with this file.
        unanswered_usd: the part of `cost_usd` for failed attempts that may have been billed.
    """

    answered: int
    failed: Mapping[str, int]
    over_budget: int
    given_up: Mapping[str, str]
    cost_usd: float
    spent_usd: float
    unanswered_usd: float = 0.0

    def to_json(self) -> dict[str, Json]:
        """What `pointsman replay --json` prints."""
        return {
            "answered": self.answered,
            "failed": dict(self.failed),
            "over_budget": self.over_budget,
            "given_up": dict(self.given_up),
            "cost_usd": self.cost_usd,
            "unanswered_usd": self.unanswered_usd,
            "spent_usd": self.spent_usd,
        }


def nothing_made(spent_usd: float, over_budget: int = 0) -> CallsMade:
    """The result of a run without a call."""
    return CallsMade(
        answered=0, failed={}, over_budget=over_budget, given_up={}, cost_usd=0.0, spent_usd=spent_usd
    )


class Tally:
    """Counts the calls of one run."""

    def __init__(self) -> None:
        self._answered = self._over_budget = 0
        self._failed: Counter[str] = Counter()
        self._in_a_row: Counter[str] = Counter()
        self._wasted: Counter[str] = Counter()
        self._given_up: dict[str, str] = {}
        self._skipped: Counter[str] = Counter()
        self._cost = self._unanswered = 0.0

    def skips(self, model: str) -> bool:
        """Whether the model was given up; if so, count a skipped call."""
        given_up = model in self._given_up
        self._skipped[model] += given_up
        return given_up

    def paid(self, usd: float, attempt: Attempt) -> None:
        """Count the cost of an attempt."""
        self._cost += usd
        self._unanswered += 0.0 if attempt.answered else usd

    def answered(self, model: str, wasted: str | None) -> None:
        """Count a finished call; give up a model whose answers are useless in a row.

        Args:
            wasted: why the answer is useless; None if it is not.
        """
        self._answered += 1
        self._in_a_row.pop(model, None)
        self._wasted[model] = 0 if wasted is None else self._wasted[model] + 1
        if wasted and self._wasted[model] >= WASTED_IN_A_ROW:
            self._given_up[model] = f"{WASTED_IN_A_ROW:,} replies in a row {wasted}"

    def unaffordable(self, model: str, before: Attempt | None) -> None:
        """Count a call that the budget can't pay for; if an attempt failed before, the call failed.

        Args:
            before: the call's last attempt.
        """
        if before is None:
            self._over_budget += 1
        else:
            self.failed(model, before)

    def failed(self, model: str, last: Attempt) -> None:
        """Count a call that failed after its retries; give up a model that keeps failing."""
        failure = _summary(last)
        self._failed[f"{model}: {failure}"] += 1
        self._in_a_row[model] += 1
        if last.kind == "authentication":
            self._given_up[model] = "the provider refuses the key"
        elif self._in_a_row[model] >= FAILURES_IN_A_ROW:
            self._given_up[model] = f"{FAILURES_IN_A_ROW:,} calls in a row failed (last: {failure})"

    def result(self, spent_usd: float) -> CallsMade:
        """The results of the run.

        Args:
            spent_usd: of all runs.
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
        skipped, reason = self._skipped[model], self._given_up[model]
        return f"{reason}; {skipped:,} more calls were not made" if skipped else reason


def _summary(attempt: Attempt) -> str:
    """Kind of a failure, and why nothing was sent; never the provider's own text, which may hold secrets."""
    reason = why_unsent(attempt.error)
    return str(attempt.kind) if reason is None else f"{attempt.kind}, {reason}"
