"""The answer that a comparison gives: what would change per 1,000 requests against what runs today."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from training.comparing.evaluated import Claim, Comparison, Outcome, PolicyResult
from training.pages.numbers import UNKNOWN, dollars, signed
from training.statistics.intervals import Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number of the answer, in words.

    Attributes:
        tone: what its interval says; None where it is unknown.
        value: the change, signed.
        unit: what is counted, "per 1,000 requests" left out.
        known: whether it has an interval.
        interval: the ends of its 95 % interval, or why there is none.
        word: what it comes to.
        levels: from what to what; empty where one of the two is unknown.
    """

    tone: Outcome | None
    value: str
    unit: str
    known: bool
    interval: str
    word: str
    levels: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """What comes first in every form of the report.

    Attributes:
        today: the policy that runs today, with its model where it is one.
        losses: to be read before the figures.
    """

    today: str
    model: str | None
    losses: tuple[Claim, ...]
    cost: Figure
    failures: Figure


def headline_of(comparison: Comparison) -> Headline:
    """The change in cost and in failures, and every loss."""
    change, router = comparison.change, comparison.router
    today = next((one for one in comparison.policies if one.name == change.today), None)
    return Headline(
        today=change.today,
        model=today.model if today else None,
        losses=tuple(one for one in comparison.verdict if one.outcome == "loss"),
        cost=Figure(
            tone=_tone(change.usd_per_1000),
            value=dollars(change.usd_per_1000.value, signed=True),
            unit="in cost",
            known=math.isfinite(change.usd_per_1000.low),
            interval=_ends(change.usd_per_1000, lambda value: dollars(value, signed=True)),
            word=_word(change.usd_per_1000, "cheaper", "dearer"),
            levels=_levels(today, router, lambda one: dollars(one.cost_usd_per_call.value * 1000)),
        ),
        failures=Figure(
            tone=_tone(change.failures_per_1000),
            value=signed(change.failures_per_1000.value),
            unit="failures",
            known=math.isfinite(change.failures_per_1000.low),
            interval=_ends(change.failures_per_1000, signed),
            word=_word(change.failures_per_1000, "fewer failures", "more failures"),
            levels=_levels(today, router, lambda one: _failures(one.success.value)),
        ),
    )


def _tone(change: Interval) -> Outcome | None:
    """Less is better, of dollars and of failures."""
    if math.isnan(change.value):
        return None
    return "win" if change.high < 0 else "loss" if change.low > 0 else "undecided"


def _word(change: Interval, less: str, more: str) -> str:
    if change.value == change.low == change.high == 0:
        return "no change"
    words = {"win": less, "loss": more, "undecided": "not shown to change", None: UNKNOWN}
    return words[_tone(change)]


def _ends(change: Interval, form: Callable[[float], str]) -> str:
    if math.isnan(change.value):
        return "not known from this log"
    if math.isnan(change.low):
        return "too few requests for an interval"
    return f"{form(change.low)} to {form(change.high)}"


def _levels(today: PolicyResult | None, router: PolicyResult, form: Callable[[PolicyResult], str]) -> str:
    if today is None or UNKNOWN in (ends := (form(today), form(router))):
        return ""
    return f"from {ends[0]} to {ends[1]}"


def _failures(success: float) -> str:
    return f"{(1 - success) * 1000:,.0f}" if math.isfinite(success) else UNKNOWN
