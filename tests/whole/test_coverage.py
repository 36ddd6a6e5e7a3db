"""The coverage studies of benchmarks/coverage.py and benchmarks/graded.py in a small form."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from benchmarks.coverage import SETTINGS, Setting, rows_of, synthetic, table_of, verdict
from benchmarks.graded import CASES as GRADED_CASES
from benchmarks.graded import Case, draws_of
from benchmarks.graded import rows_of as graded_rows
from benchmarks.graded import verdict as graded_verdict
from training.comparing.estimating.off_policy import DOUBLY_ROBUST, IPS, POWERED

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


@pytest.mark.parametrize("case", GRADED_CASES, ids=lambda case: case.name)
def test_grades_make_no_interval_much_longer_and_the_truth_stays_inside(case: Case) -> None:
    population = synthetic(rows=4_000)
    chance = population.probability[..., None]
    numbers = np.log(chance / (1 - chance))
    found = list(draws_of(population, numbers, case, draws=12, rows=1_500, seed=0))
    given = [
        (population.probability[np.arange(4_000), population.targets[name]].mean(), one)
        for each in found
        for name, one in each.success.items()
        if POWERED in one
    ]
    inside = np.mean([one[POWERED].low <= truth <= one[POWERED].high for truth, one in given])
    ratio = [
        (one[POWERED].high - one[POWERED].low) / (one[DOUBLY_ROBUST].high - one[DOUBLY_ROBUST].low)
        for _, one in given
    ]
    assert len(given) > 40
    assert inside > 0.85
    assert np.mean(ratio) < 1.01
    assert np.max(ratio) < 1.05
    assert len(graded_rows(population, found, case)) == len(population.targets)
    assert f"coverage {100 * inside:.1f} % (doubly robust" in graded_verdict(case, found, population)
