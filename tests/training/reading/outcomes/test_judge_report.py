from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from training.reading.outcomes.judge_report import Verdict, agreement, fleiss_kappa, majority

FLEISS = [
    [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
]  # fmt: skip


def test_kappa_of_a_known_table() -> None:
    assert fleiss_kappa(np.array(FLEISS)) == pytest.approx(0.210, abs=5e-4)


def test_kappa_is_1_where_all_agree_and_undefined_where_nothing_varies() -> None:
    assert fleiss_kappa(np.array([[3, 0], [0, 3]])) == pytest.approx(1.0)
    assert math.isnan(fleiss_kappa(np.array([[3, 0], [3, 0]])))


@pytest.mark.parametrize(
    ("verdicts", "repeats", "expected"),
    [
        pytest.param(["success"], 1, True, id="one"),
        pytest.param(["success", "success", "failure"], 3, True, id="two of three"),
        pytest.param(["failure", "failure"], 3, False, id="the third could not change it"),
        pytest.param(["success"], 3, None, id="too few"),
        pytest.param(["success", "failure"], 2, None, id="tie"),
        pytest.param(["success", "unclear", "unclear"], 3, None, id="mostly unclear"),
        pytest.param(["success", "success", "failure", "unclear"], 4, None, id="half is not more than half"),
        pytest.param([], 1, None, id="none"),
    ],
)
def test_more_than_half_of_all_verdicts_decide(
    verdicts: Sequence[Verdict], repeats: int, expected: bool | None
) -> None:
    assert majority(verdicts, repeats) == expected


def test_only_answers_with_all_verdicts_readable_are_compared() -> None:
    answers: list[list[Verdict]] = [
        ["success", "success"], ["success", "failure"], ["success"], ["failure", "unreadable"],
    ]  # fmt: skip
    compared, unanimous, kappa = agreement(answers, 2)
    assert (compared, unanimous) == (2, 0.5)
    assert kappa == pytest.approx(-1 / 3)


def test_single_verdicts_agree_with_nothing() -> None:
    assert agreement([["success"]], 1) == (1, None, None)
    assert agreement([], 3) == (0, None, None)
