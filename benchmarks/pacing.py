"""How close a month's spend comes to a budget of so much a day, under simulated traffic."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from router.calling.attempt import Attempt
from router.deciding.pacing import DAY_S, Pacer, expected_usd
from router.records import Decision, FloatArray, IntArray

DAYS = 30
START = 1.7e9
PRICES = np.array([0.0005, 0.002, 0.01])
SUCCESS = np.array([0.65, 0.8, 0.9])
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@dataclass(slots=True)
class Time:
    """A clock that its owner moves."""

    now: float = START

    def __call__(self) -> float:
        """Seconds since 1970."""
        return self.now


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """A simulated month.

    Attributes:
        share: spend over the month's budget.
        days: shape (30,); the spend of each day over the day's budget.
        success: share of the requests that succeed.
        hindsight: the same by one weight for the whole month that spends as much.
    """

    share: float
    days: FloatArray = field(repr=False)
    success: float
    hindsight: float


def expected(usd: float) -> Decision:
    """A decision for a model of an expected cost."""
    return Decision(
        model="m",
        source="learned",
        confidence=0.5,
        success_probability={},
        expected_cost_usd={"m": usd},
        reason="",
        policy_version="v1",
    )


def arrivals(draw: np.random.Generator, first_day: int, per_day: float) -> FloatArray:
    """Days and nights, weekends at a third, growth of 2 % a day, and two hours of ten times the traffic.

    Args:
        first_day: 0 is a Monday.
    """
    moments: list[FloatArray] = []
    for day in range(DAYS):
        size = per_day * (0.35 if (day + first_day) % 7 >= 5 else 1.0) * 1.02**day
        for hour in range(24):
            rate = 0.25 + 1.5 * max(0.0, math.sin(math.pi * (hour - 6) / 14) if 6 <= hour <= 20 else 0.0)
            burst = 10.0 if day in (9, 20) and hour == 12 else 1.0
            number = draw.poisson(size * rate * burst / 20)
            moments.append(START + day * DAY_S + hour * 3600 + np.sort(draw.uniform(0, 3600, number)))
    return np.concatenate(moments)


def month(level: float, *, first_day: int = 0, seed: int = 0, per_day: float = 400.0) -> Month:
    """A month under a pacer.

    Costs differ by request, and turn out a tenth dearer than expected.

    Args:
        level: the budget as a share of what the dearest model alone is expected to cost.
    """
    draw, time = np.random.default_rng(seed), Time()
    moments = arrivals(draw, first_day, per_day)
    foreseen = PRICES * draw.lognormal(-0.5, 1.0, (len(moments), 1))
    billed = foreseen * 1.1 * draw.lognormal(-0.08, 0.4, (len(moments), 1))
    spread = draw.normal(0, 0.12, (len(moments), 1)) * [1.5, 1.0, 0.6]
    chance = np.clip(SUCCESS + spread, 0.02, 0.99)
    budget = level * PRICES[-1] * len(moments) / DAYS
    pacer = Pacer(budget, 20.0, time)
    chosen = np.zeros(len(moments), dtype=np.intp)
    for row, moment in enumerate(moments):
        time.now = float(moment)
        chosen[row] = (chance[row] - pacer.weight * foreseen[row]).argmax()
        decision = expected(float(foreseen[row, chosen[row]]))
        pacer.decided(decision)
        usd = float(billed[row, chosen[row]])
        attempt = Attempt(model="m", number=1, started=time.now, latency_s=1.0, cost_usd=usd)
        pacer.ended(decision, attempt, expected_usd(decision, "m"))
    rows = np.arange(len(moments))
    spend = billed[rows, chosen]
    days = np.bincount(((moments - START) // DAY_S).astype(int), weights=spend, minlength=DAYS)
    fixed = _fixed(chance, foreseen, billed, float(spend.sum()))
    return Month(
        share=float(spend.sum() / budget / DAYS),
        days=days / budget,
        success=float(chance[rows, chosen].mean()),
        hindsight=float(chance[rows, fixed].mean()),
    )


def _fixed(chance: FloatArray, foreseen: FloatArray, billed: FloatArray, spend: float) -> IntArray:
    """The choices by the one weight that spends so much, by bisection."""
    low, high, rows = -5.0, 15.0, np.arange(len(chance))
    for _ in range(50):
        middle = (low + high) / 2
        chosen = (chance - math.exp(middle) * foreseen).argmax(axis=1)
        low, high = (middle, high) if billed[rows, chosen].sum() > spend else (low, middle)
    return np.asarray(chosen)


def main() -> None:
    """Print a line for each budget and each first day of the month."""
    print("budget  month begins on  spend/budget  dearest day  success  one weight in hindsight")
    for level in (0.15, 0.3, 0.5):
        for first_day, name in enumerate(WEEKDAYS):
            of = month(level, first_day=first_day, seed=first_day, per_day=1000.0)
            print(
                f"{level:6.0%}  {name:15}  {of.share:12.2%}  {of.days.max():10.2f}x  {of.success:7.2%}  "
                f"{of.hindsight:7.2%}"
            )


if __name__ == "__main__":
    main()
