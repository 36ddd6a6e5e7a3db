from __future__ import annotations

import math
from dataclasses import replace

import pytest

from tests.training.comparing.report.reports import of
from training.comparing.report.write import EDGE, WIDTH, whiskers
from training.statistics.intervals import UNKNOWN, Interval


def test_the_scale_holds_every_end_and_zero() -> None:
    place = whiskers([of(1, 1), of(3, 1)])
    first, last = place(of(1, 1)), place(of(3, 1))
    assert first is not None
    assert last is not None
    assert (first.low, first.zero, last.high) == (EDGE, EDGE, WIDTH - EDGE)


def test_an_unknown_interval_is_not_drawn() -> None:
    assert whiskers([UNKNOWN])(UNKNOWN) is None


@pytest.mark.parametrize(
    "one",
    [
        pytest.param(replace(UNKNOWN, value=1.0), id="without interval"),
        pytest.param(Interval(value=1.0, low=0.5, high=math.inf, above=1), id="without an end"),
        pytest.param(of(0, 0), id="nothing"),
    ],
)
def test_an_end_that_is_missing_stays_on_the_scale(one: Interval) -> None:
    placed = whiskers([one])(one)
    assert placed is not None
    assert EDGE <= placed.low <= placed.at <= placed.high <= WIDTH - EDGE
