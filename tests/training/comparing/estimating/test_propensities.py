from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import LogisticRegression

from tests.training.comparing.choice_logs import logged_of, random_log
from training.comparing.estimating import propensities
from training.comparing.estimating.outcome_model import CovariateScaling
from training.comparing.estimating.propensities import (
    calibration_error,
    estimated_propensities,
    propensities_of,
)
from training.prompts.split import folds


def test_logged_chances_are_taken_as_they_are() -> None:
    log, x, _ = random_log(50)
    found = propensities_of(log, x, folds(log.clusters, 5, 0))
    assert found.source == "logged"
    assert np.isnan(found.calibration_error)
    assert_array_equal(found.values, log.propensity)


def test_one_call_without_a_chance_has_all_estimated() -> None:
    log, x, _ = random_log(50)
    log.propensity[np.nonzero(log.calls)[0][0]] = np.nan
    found = propensities_of(log, x, folds(log.clusters, 5, 0))
    assert found.source == "estimated"
    assert np.isfinite(found.values).all()


def test_estimated_chances_come_near_the_true_ones() -> None:
    log, x, chance = random_log(5000, with_propensity=False)
    found = propensities_of(log, x, folds(log.clusters, 5, 0))
    assert np.abs(found.values - chance).max() < 0.08
    assert found.calibration_error < 0.02


def test_estimates_are_those_of_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(propensities, "PENALTIES", (10.0,))
    log, x, _ = random_log(400)
    x = np.column_stack([x, x**2, 3 * x])
    fold = folds(log.clusters, 5, 0)
    found = estimated_propensities(log.calls.astype(float), x, fold, log.clusters)
    scaled, taken = CovariateScaling.of(x)(x)[:, 1:], log.calls.argmax(axis=1)
    model = LogisticRegression(C=0.1, tol=1e-8, max_iter=1000).fit(scaled[fold != 1], taken[fold != 1])
    assert_allclose(found[fold == 1], model.predict_proba(scaled[fold == 1]), atol=2e-3)


def test_a_part_of_a_long_log_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    log, x, chance = random_log(4000)
    monkeypatch.setattr(propensities, "FIT_ROWS", 1500)
    found = estimated_propensities(log.calls.astype(float), x, folds(log.clusters, 5, 0), log.clusters)
    assert np.abs(found - chance).mean() < 0.03


def test_a_model_without_calls_has_no_chance_and_calls_elsewhere_have_theirs() -> None:
    log = logged_of([[1.0, np.nan]] * 40, traffic=[2.0] * 40)
    found = propensities_of(log, np.zeros((40, 1)), folds(log.clusters, 5, 0))
    assert_allclose(found.values, [[0.5, 0.0]] * 40)


def test_the_only_model_is_certain() -> None:
    log = logged_of([[1.0, np.nan]] * 40)
    found = propensities_of(log, np.zeros((40, 1)), folds(log.clusters, 5, 0))
    assert_allclose(found.values, [[1.0, 0.0]] * 40)


def test_the_order_of_the_log_and_doubled_calls_change_nothing() -> None:
    log, x, _ = random_log(300)
    counts, fold, order = (
        log.calls.astype(float),
        folds(log.clusters, 5, 0),
        np.random.default_rng(1).permutation(300),
    )
    first = estimated_propensities(counts, x, fold, log.clusters)
    moved = estimated_propensities(counts[order], x[order], fold[order], log.clusters[order])
    assert_allclose(moved, first[order], atol=2e-3)
    assert_allclose(estimated_propensities(2 * counts, x, fold, log.clusters), first, atol=1e-6)


@pytest.mark.parametrize(
    ("shift", "error"), [pytest.param(0.0, 0.0, id="right"), pytest.param(0.2, 0.2, id="off by a fifth")]
)
def test_the_calibration_error_is_the_gap_without_what_chance_gives(shift: float, error: float) -> None:
    rng = np.random.default_rng(0)
    chance = rng.uniform(0.3, 0.7, size=20_000)
    hit = (rng.random(20_000) < chance).astype(float)
    values = np.column_stack([chance + shift, 1 - chance - shift])
    assert calibration_error(values, np.column_stack([hit, 1 - hit])) == pytest.approx(error, abs=0.01)
