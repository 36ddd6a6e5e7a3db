"""The headline of a report: what would change per 1,000 requests against what runs today."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from training.comparing.evaluated import Claim, Comparison, Outcome, PolicyResult
from training.pages.numbers import UNKNOWN, dollars, signed
from training.statistics.intervals import Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number of the headline, as text.

    Attributes:
        tone: conclusion from the interval; None if the change is unknown.
        value: the change, with its sign.
        unit: what changes per 1,000 requests.
        known: whether there is an interval.
        interval: the ends of the 95 % interval, or why there is none.
        word: the conclusion in words.
        levels: "from A to B"; empty if one of the two is unknown.
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
    """What every form of the report shows first.

    Attributes:
        today: name of the policy that runs today.
        model: the one model of that policy; None if it has several.
        losses: claims to read before the figures.
    """

    today: str
    model: str | None
    losses: tuple[Claim, ...]
    cost: Figure
    failures: Figure


def headline_of(comparison: Comparison) -> Headline:
    """The change in cost and in failures, and all losses."""
    change, router = comparison.change, comparison.router
    today = next((one for one in comparison.policies if one.name == change.today), None)
    return Headline(
        today=change.today,
        model=today.model if today else None,
        losses=tuple(claim for claim in comparison.verdict if claim.outcome == "loss"),
        cost=Figure(
            tone=_tone(change.usd_per_1000),
            value=dollars(change.usd_per_1000.value, signed=True),
            unit="in cost",
            known=math.isfinite(change.usd_per_1000.low),
            interval=_ends(change.usd_per_1000, lambda value: dollars(value, signed=True)),
            word=_word(change.usd_per_1000, "cheaper", "dearer"),
            levels=_levels(today, router, lambda policy: dollars(policy.cost_usd_per_call.value * 1000)),
        ),
        failures=Figure(
            tone=_tone(change.failures_per_1000),
            value=signed(change.failures_per_1000.value),
            unit="failures",
            known=math.isfinite(change.failures_per_1000.low),
            interval=_ends(change.failures_per_1000, signed),
            word=_word(change.failures_per_1000, "fewer failures", "more failures"),
            levels=_levels(today, router, lambda policy: _failures(policy.success.value)),
        ),
    )


def _tone(change: Interval) -> Outcome | None:
    """The conclusion from a change of which less is better."""
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
