"""The headline of a report: what would change per 1,000 requests against what runs today."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from router.numbers import UNKNOWN, bounds, decimal, dollars, signed, signed_percent
from training.comparing.evaluated import ChangeFromToday, Claim, Comparison, Outcome, PolicyResult
from training.recommending import FEW, NOT_SHOWN, Code, known
from training.statistics.intervals import Interval

TITLES: Mapping[Code, str] = {
    "deploy": "Deploy this router",
    "deploy_with_weight": "Deploy it if the trade-off suits you",
    "one_model": "You need no router",
    "cannot_tell": "No verdict yet",
    "losing": "Do not deploy this router",
}


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
        share: the change in per cent with its interval; empty if it is unknown or one of points.
        month: the change per month with its volume; empty if it is unknown.
    """

    tone: Outcome | None
    value: str
    unit: str
    known: bool
    interval: str
    word: str
    levels: str
    share: str = ""
    month: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """What every form of the report shows first.

    Attributes:
        today: name of the policy that runs today.
        model: the one model of that policy; None if it has several.
        title: the recommendation in a few words.
        losses: claims to read before the figures.
        claims: all others, what runs today first.
    """

    today: str
    model: str | None
    title: str
    losses: tuple[Claim, ...]
    claims: tuple[Claim, ...]
    cost: Figure
    failures: Figure


def headline_of(comparison: Comparison) -> Headline:
    """The change in cost and in failures, and all losses."""
    change, router = comparison.change, comparison.router
    few = comparison.clusters < FEW
    today = next((one for one in comparison.policies if one.name == change.today), None)
    return Headline(
        today=change.today,
        model=today.model if today else None,
        title=TITLES[comparison.recommendation.code],
        losses=tuple(claim for claim in comparison.verdict if claim.outcome == "loss"),
        claims=tuple(sorted(comparison.verdict, key=lambda claim: claim.against != comparison.reference)),
        cost=Figure(
            tone=_tone(change.usd_per_1000, few),
            value=dollars(change.usd_per_1000.value, signed=True),
            unit="in cost",
            known=math.isfinite(change.usd_per_1000.low),
            interval=_ends(change.usd_per_1000, lambda value: dollars(value, signed=True)),
            word=_word(change.usd_per_1000, few, "cheaper", "dearer"),
            levels=_levels(today, router, lambda policy: dollars(policy.cost_usd_per_call.value * 1000)),
            share=_share(change.cost_change),
            month=_month(change),
        ),
        failures=Figure(
            tone=_tone(change.failures_per_1000, few),
            value=signed(change.failures_per_1000.value),
            unit="failures",
            known=math.isfinite(change.failures_per_1000.low),
            interval=_ends(change.failures_per_1000, signed),
            word=_word(change.failures_per_1000, few, "more successful", "less successful"),
            levels=_levels(today, router, lambda policy: _failures(policy.success.value)),
        ),
    )


def _share(change: Interval) -> str:
    """A change in per cent: "-58 % [-62, -54]"."""
    if math.isnan(change.value):
        return ""
    ends = f" {bounds(change, 'change')}" if known(change) else ""
    return f"{signed_percent(change.value)}{ends}"


def _month(change: ChangeFromToday) -> str:
    """The change per month, at its volume."""
    if math.isnan(change.usd_per_month.value):
        return ""
    usd = dollars(change.usd_per_month.value, signed=True)
    return f"{usd} a month at {decimal(change.requests_per_month, 0)} requests"


def _tone(change: Interval, few: bool) -> Outcome | None:
    """The conclusion from a change of which less is better; none is drawn from too few prompts."""
    if math.isnan(change.value):
        return None
    if few:
        return "undecided"
    return "win" if change.high < 0 else "loss" if change.low > 0 else "undecided"


def _word(change: Interval, few: bool, less: str, more: str) -> str:
    if change.value == change.low == change.high == 0:
        return "no change"
    words = {"win": less, "loss": more, "undecided": NOT_SHOWN, None: UNKNOWN}
    return words[_tone(change, few)]


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
    return decimal((1 - success) * 1000, 0)
