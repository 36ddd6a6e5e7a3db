"""The coverage study of benchmarks/coverage.py in a small form."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from benchmarks.coverage import SETTINGS, Setting, rows_of, synthetic, table_of, verdict
from training.comparing.estimating.off_policy import DOUBLY_ROBUST, IPS

DRAWS = 60
CHANCE = 1e-4


def small_study(setting: Setting) -> list[dict[str, Any]]:
    return rows_of(synthetic(rows=5000), setting, draws=DRAWS, rows=400, seed=0)


def setting_of(name: str) -> Setting:
    return next(one for one in SETTINGS if one.name == name)


@pytest.mark.parametrize("name", ["uniform", "tilted to strong", "by length"])
def test_the_interval_holds_the_truth_nineteen_times_in_twenty(name: str) -> None:
    low, high = binom.ppf(CHANCE, DRAWS, 0.93), binom.ppf(1 - CHANCE, DRAWS, 0.97)
    for row in small_study(setting_of(name)):
        given = round(DRAWS * (1 - row["refused"]))
        assert low - (DRAWS - given) <= given * row[DOUBLY_ROBUST]["coverage"] <= high


def test_the_outcome_model_makes_the_estimate_more_precise() -> None:
    rows = small_study(setting_of("uniform"))
    assert all(row[DOUBLY_ROBUST]["rmse"] < row[IPS]["rmse"] for row in rows)


def test_where_the_log_hardly_explores_no_number_goes_without_a_warning() -> None:
    rows = small_study(setting_of("heuristic, 5 % exploration"))
    assert all(row["refused"] + row["warned"] == pytest.approx(1.0) for row in rows[1:])


def test_the_table_has_a_line_per_target_and_the_verdict_names_the_average() -> None:
    rows = rows_of(synthetic(rows=500), setting_of("uniform"), draws=2, rows=600, seed=1)
    assert len(table_of(rows).splitlines()) == len(rows) + 2
    assert np.isfinite(rows[0]["truth"])
    assert "rows" in verdict(rows, 2)
