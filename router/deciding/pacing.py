"""The pace of money: the weight on cost that keeps the spend at the budget of a day."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from router.calling.attempt import Attempt
from router.forking import ForkSafe
from router.records import Decision

DAY_S = 86_400.0
STEP = 4.0
"""How fast the weight moves: by a factor of e in a quarter of a day's requests if all are twice too dear."""
MEMORY_D = 7.0
"""Days over which requests are counted: the weekends are part of what is usual."""
RETURN = 0.5
"""Share of what is ahead of or behind the budget that the next day should make up for."""
PULL = 2.0
"""How much what is carried moves the weight at once: by a factor of e for half a day's budget."""
MOST_CARRIED = 2.0
"""Days of budget: more is forgotten, so that a quiet week is no licence to spend, and a dear one no ban."""
RANGE = 1000.0
"""The weight stays within this factor of the trained one."""
_LARGEST_STEP = 0.05
_DEAREST = 20.0
"""Times the affordable cost at which one request stops counting more."""
_LEAST_AGE_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """The state of a pacer.

    Attributes:
        weight: success probability that one USD is worth now.
        carried_usd: budget so far less spend so far; negative: ahead of the budget.
        requests_per_day: at the present rate.
        unknown: calls of unknown cost, each counted as dear as its dearest known model.
    """

    weight: float
    carried_usd: float
    requests_per_day: float
    unknown: int


class Pacer:
    """Steers the weight on cost by a primal-dual rule; threads may share one.

    The policy picks the model with the greatest p - w * c (chance of success, cost). Of all policies with the
    same mean cost this one has the most success, if w is the dual variable, or price, of the budget. As in
    ParetoBandit (arXiv 2604.00136), the price follows the spend; here in a multiplicative form, which needs
    no scale, and with a budget by time instead of by request. With B the budget of a day, S the spend since
    the start, t the days since then, and n the requests of a day at the present rate:

        carried = B t - S, kept within +- MOST_CARRIED days of B
        afford  = B (1 + RETURN carried / B) / n, at least 0
        z <- z + STEP / n * (c / afford - 1) at each request of cost c
        w = (trained weight) exp(z - PULL carried / B)

    n counts past requests by exp(-age / MEMORY_D), so that weekends belong to what is usual. z is the price
    that lasts: it settles where the mean cost is what the budget affords, and a burst moves it only by its
    share of a day's requests. PULL answers at once to money that is left or gone, such as on a quiet Sunday.
    """

    def __init__(self, usd_per_day: float, weight: float, now: Callable[[], float] = time.time) -> None:
        """Start with nothing carried.

        Args:
            weight: the trained one, above 0.
            now: a clock in seconds.
        """
        self.usd_per_day = usd_per_day
        self._now = now
        self._lock = ForkSafe(threading.Lock)
        self._trained = weight
        self._log = 0.0
        self._carried = 0.0
        self._seen = 0.0
        self._unknown = 0
        self._start = self._last = now()

    def resume(self, requests: float, first: float, usd: float, since: float) -> None:
        """Go on from what came before this process.

        Args:
            requests: how many there were from `first` on, in seconds since 1970.
            usd: spend from `since` on.
        """
        with self._lock.part:
            now = self._now()
            self._start = min(first, now - _LEAST_AGE_S)
            days = (now - self._start) / DAY_S
            self._seen += requests / days * MEMORY_D * (1.0 - math.exp(-days / MEMORY_D))
            self._carry(self.usd_per_day * (now - since) / DAY_S - usd)

    @property
    def weight(self) -> float:
        """Success probability that one USD is worth now."""
        return self._trained * math.exp(_bounded(self._log - PULL * self._carried / self.usd_per_day))

    @property
    def pace(self) -> Pace:
        """The state now."""
        with self._lock.part:
            self._pass_time()
            return Pace(
                weight=self.weight,
                carried_usd=self._carried,
                requests_per_day=self._rate(),
                unknown=self._unknown,
            )

    def decided(self, decision: Decision) -> None:
        """Count a request at its expected cost."""
        with self._lock.part:
            self._pass_time()
            self._seen += 1.0
            self._move(-1.0)
            self._charge(self._assumed(decision, decision.model))

    def ended(self, decision: Decision, attempt: Attempt, counted_usd: float) -> None:
        """Count what an attempt cost in place of what its decision had counted for it."""
        with self._lock.part:
            self._pass_time()
            usd = attempt.cost_usd
            if usd is None:
                usd = self._assumed(decision, attempt.model) if attempt.answered else 0.0
            self._charge(usd - counted_usd)

    def _assumed(self, decision: Decision, model: str) -> float:
        """The expected cost of a call; where it is unknown, that of the dearest known model, and noted."""
        usd = expected_usd(decision, model)
        self._unknown += math.isnan(decision.expected_cost_usd.get(model, math.nan))
        return usd

    def _pass_time(self) -> None:
        now = self._now()
        days = max(now - self._last, 0.0) / DAY_S
        self._last = now
        self._seen *= math.exp(-days / MEMORY_D)
        self._carry(self.usd_per_day * days)

    def _rate(self) -> float:
        """Requests of a day; a short past counts as typical for the day."""
        days = max(self._now() - self._start, _LEAST_AGE_S) / DAY_S
        return self._seen / MEMORY_D / (1.0 - math.exp(-days / MEMORY_D))

    def _afford(self) -> float:
        share = 1.0 + RETURN * self._carried / self.usd_per_day
        return max(self.usd_per_day * share, 0.0) / max(self._rate(), 1.0)

    def _charge(self, usd: float) -> None:
        afford = self._afford()
        times = usd / afford if afford > 0 else math.copysign(_DEAREST, usd) if usd else 0.0
        self._move(min(max(times, -_DEAREST), _DEAREST))
        if math.isfinite(usd):
            self._carry(-usd)

    def _move(self, times: float) -> None:
        step = min(STEP / max(self._rate(), 1.0), _LARGEST_STEP)
        self._log = _bounded(self._log + step * times)

    def _carry(self, usd: float) -> None:
        limit = MOST_CARRIED * self.usd_per_day
        self._carried = min(max(self._carried + usd, -limit), limit)


def _bounded(log: float) -> float:
    return min(max(log, -math.log(RANGE)), math.log(RANGE))


def counted_usd(decision: Decision) -> float:
    """What a pacer counts as spent for a request that is decided on, until its attempts end."""
    usd = expected_usd(decision, decision.model)
    return usd if math.isfinite(usd) else 0.0


def expected_usd(decision: Decision, model: str) -> float:
    """The expected cost of a model; if unknown, of the dearest known model; infinite if none is known."""
    costs = decision.expected_cost_usd
    own = costs.get(model, math.nan)
    return (
        max((usd for usd in costs.values() if not math.isnan(usd)), default=math.inf)
        if math.isnan(own)
        else own
    )
