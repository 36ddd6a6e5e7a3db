from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from tests.training.comparing.choice_logs import logged_of
from tests.training.logs import call, table_of
from training.comparing.estimating.logged import Logged, chosen_shares, known_share


def test_calls_to_models_that_no_policy_can_choose_are_traffic(tmp_path: Path) -> None:
    table = table_of(tmp_path, call(model="a", success=True), call(model="b"), call(model="c"))
    log = Logged.of(table, ["b", "a", "new"])
    assert_array_equal(log.calls, [[1, 1, 0]])
    assert (log.traffic.tolist(), log.elsewhere.tolist()) == ([3.0], [1.0])


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        pytest.param({"calls": [[0, 0]]}, "every prompt needs a call", id="prompt without a call"),
        pytest.param({"traffic": [0.5]}, "its traffic must count all", id="less traffic than calls"),
        pytest.param({"propensity": [[1.2, np.nan]]}, r"must be in \(0, 1\], got 1.2", id="chance over 1"),
        pytest.param({"propensity": [[0.0, np.nan]]}, r"must be in \(0, 1\], got 0", id="chance of 0"),
        pytest.param({"cost": [[1.0]]}, "cost has shape", id="other models"),
        pytest.param({"clusters": [99]}, "numbered from 0 with few gaps, got 99", id="cluster names"),
        pytest.param({"clusters": [1, 2]}, "clusters has 2 rows, expected 1", id="other prompts"),
    ],
)
def test_a_log_that_can_t_be_is_refused(fields: dict[str, list[list[float]]], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        logged_of([[1.0, np.nan]], **fields)  # type: ignore[arg-type]


def test_where_a_policy_can_t_choose_no_model_gets_a_share() -> None:
    assert_array_equal(chosen_shares(np.array([1, -1, 0]), 2), [[0, 1], [0, 0], [1, 0]])


def test_the_known_share_counts_calls() -> None:
    outcome, calls = np.array([[1.0, np.nan], [np.nan, np.nan]]), np.array([[3, 0], [1, 0]])
    assert_array_equal(known_share(calls, outcome), [0.75, 0.0])
