"""The router under a day's budget: what it would choose on a log's traffic, request after request."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np

from router.calling.attempt import Attempt
from router.deciding.decide import Case
from router.deciding.pacing import DAY_S, counted_usd
from router.numbers import dollars, rate
from router.records import FloatArray, IntArray
from router.serving.pace import new_pacer
from router.version import Version
from training.comparing.evaluated import Contender

PACED = "router at its pace"
LEAST_DAYS = 1.0
NEEDS = "that needs the time of every call, over a day at least"


def paced(
    version: Version,
    cases: Callable[[], Iterable[Case]],
    times: FloatArray,
    cost: FloatArray,
    requests_per_day: float,
) -> tuple[Contender | None, list[str]]:
    """The router as its pacer steers it, and a sentence on what it spends; neither without a budget.

    The prompts pass in the order of their calls, with their part of the budget. Each is decided on at the
    weight of that moment.

    Args:
        cases: makes one a prompt.
        times: shape (n,); seconds since 1970, NaN unknown.
        cost: shape (n, m); USD a call as it turns out, the version's models first; NaN unknown.
        requests_per_day: of the whole traffic, which the budget is for; NaN unknown.
    """
    budget = version.config.objective.usd_per_day
    if budget is None:
        return None, []
    days = float(np.ptp(times)) / DAY_S if np.isfinite(times).all() else 0.0
    if days < LEAST_DAYS or not math.isfinite(requests_per_day):
        return None, [f"the pace of {dollars(budget)} a day is not simulated: {NEEDS}"]
    usd = budget / requests_per_day
    choice = _choices(version, list(cases()), times, cost, usd * len(times) / days)
    spent = cost[np.arange(len(choice)), choice]
    known = spent[np.isfinite(spent)]
    share = rate(float(known.mean()) / usd) if len(known) else "an unknown share"
    return Contender(name=PACED, kind="other router", choice=choice), [
        f"{PACED}: on the log's traffic it spends {share} of {dollars(budget)} a day; 'router' is the same "
        "version at its trained weight"
    ]


def _choices(
    version: Version, cases: Sequence[Case], times: FloatArray, cost: FloatArray, usd_per_day: float
) -> IntArray:
    place = {model: column for column, model in enumerate(version.models)}
    choice = np.zeros(len(cases), dtype=np.int64)
    moment = float(times.min())
    pacer = new_pacer(version, usd_per_day, lambda: moment)
    for row in np.argsort(times, kind="stable").tolist():
        moment = float(times[row])
        decision = version.settle(replace(cases[row], weight=pacer.weight))
        choice[row] = place[decision.model]
        pacer.decided(decision)
        usd = float(cost[row, choice[row]])
        billed = Attempt(
            model=decision.model,
            number=1,
            started=moment,
            latency_s=0.0,
            cost_usd=None if np.isnan(usd) else usd,
        )
        pacer.ended(decision, billed, counted_usd(decision))
    return choice
