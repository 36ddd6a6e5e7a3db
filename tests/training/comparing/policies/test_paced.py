from __future__ import annotations

from copy import copy
from pathlib import Path

import numpy as np
import pytest

from router.deciding.decide import Case
from router.records import FloatArray, Request
from router.settings.sections import Objective
from router.version import Version
from training.comparing.policies.paced import PACED, paced

DAYS, A_DAY = 20, 30
SUBJECTS = ("the bus", "a refund", "a broken brake", "late fees", "def count(tmp): return len(tmp)", "a race")
TIMES = 1.7e9 + np.linspace(0.0, DAYS * 86_400.0, DAYS * A_DAY)


def at_budget(version: Version, usd_per_day: float | None) -> Version:
    changed = copy(version)
    objective = Objective() if usd_per_day is None else Objective(kind="budget", usd_per_day=usd_per_day)
    changed.config = version.config.model_copy(update={"objective": objective})
    return changed


@pytest.fixture(scope="module")
def traffic(router_folder: Path) -> tuple[Version, list[Case], FloatArray]:
    version = Version.load(router_folder)
    requests = [
        Request.of(f"Please explain {SUBJECTS[number % 6]} to me, case {number}")
        for number in range(len(TIMES))
    ]
    forecast = version.forecast(requests)
    return version, list(version.cases(requests, forecast)), forecast.cost


@pytest.mark.parametrize("level", [0.1, 0.3])
def test_a_paced_router_spends_its_budget(
    traffic: tuple[Version, list[Case], FloatArray], level: float
) -> None:
    version, cases, cost = traffic
    low, high = cost.min(axis=1).sum(), cost.max(axis=1).sum()
    budget = (low + level * (high - low)) / DAYS
    policy, said = paced(at_budget(version, budget), lambda: cases, TIMES, cost, A_DAY)
    assert policy is not None
    assert policy.choice is not None
    assert cost[np.arange(len(cases)), policy.choice].sum() / DAYS == pytest.approx(budget, rel=0.1)
    assert said[0].startswith(f"{PACED}: on the log's traffic it spends ")


def test_the_prompts_pass_in_the_order_of_their_calls(
    traffic: tuple[Version, list[Case], FloatArray],
) -> None:
    version, cases, cost = traffic
    tight = at_budget(version, cost.max(axis=1).sum() / DAYS / 4)
    order = np.random.default_rng(0).permutation(len(cases))
    forward, _ = paced(tight, lambda: cases, TIMES, cost, A_DAY)
    mixed, _ = paced(tight, lambda: [cases[row] for row in order], TIMES[order], cost[order], A_DAY)
    assert forward is not None
    assert mixed is not None
    assert forward.choice is not None
    assert mixed.choice is not None
    assert (mixed.choice == forward.choice[order]).all()


@pytest.mark.parametrize(
    ("times", "per_day"),
    [
        pytest.param(np.full(len(TIMES), np.nan), A_DAY, id="no times"),
        pytest.param(np.linspace(0.0, 3600.0, len(TIMES)), A_DAY, id="an hour"),
        pytest.param(TIMES, np.nan, id="an unknown volume"),
    ],
)
def test_a_log_that_knows_no_day_says_so(
    traffic: tuple[Version, list[Case], FloatArray], times: FloatArray, per_day: float
) -> None:
    version, cases, cost = traffic
    policy, said = paced(at_budget(version, 1.0), lambda: cases, times, cost, per_day)
    assert policy is None
    assert "the pace of $1.00 a day is not simulated: that needs the time of every call" in said[0]


def test_without_a_budget_there_is_no_pace(traffic: tuple[Version, list[Case], FloatArray]) -> None:
    version, cases, cost = traffic
    assert paced(at_budget(version, None), lambda: cases, TIMES, cost, A_DAY) == (None, [])
