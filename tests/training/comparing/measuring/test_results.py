from __future__ import annotations

from dataclasses import replace

import pytest

from training.comparing.evaluated import Difference
from training.comparing.measuring.results import NOT_COMPARED, RouterDifferences
from training.statistics.intervals import Interval


def of(low: float, high: float) -> RouterDifferences:
    ends = Interval(value=(low + high) / 2, low=low, high=high, above=0.5)
    success = Difference(interval=ends, p_value=0.5, p_adjusted=0.5, calls_to_settle=None)
    return replace(NOT_COMPARED, success=success)


def test_equal_outcomes_on_all_prompts_still_leave_room_for_a_difference() -> None:
    assert of(0.0, 0.0).guarded(300).success.interval.low == pytest.approx(-0.01)
    assert of(-0.1, 0.2).guarded(300) == of(-0.1, 0.2)
