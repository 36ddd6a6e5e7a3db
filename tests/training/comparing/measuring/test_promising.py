from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from router.deciding.policy import choose
from router.errors import CallLogError
from tests.training.comparing.choice_logs import random_log
from tests.training.statistics.test_quality_guarantee import chances, trial_of
from training.comparing.estimating.off_policy import study_of
from training.comparing.measuring.promising import halves, promise_on, supported_promise
from training.statistics.policy_curves import picked
from training.statistics.quality_guarantee import Trial, guaranteed_weight, weights_to_test


@pytest.fixture(scope="module")
def trial() -> Trial:
    return trial_of(chances(1_200, seed=0), seed=1)


def test_no_session_is_in_both_halves() -> None:
    clusters = np.random.default_rng(0).integers(0, 40, 200)
    first, second = halves(clusters, seed=0)
    assert not set(clusters[first]) & set(clusters[second])
    assert sorted([*first, *second]) == list(range(200))


def test_the_weight_comes_from_one_half_and_the_loss_from_the_other(trial: Trial) -> None:
    found = promise_on(trial, max_loss=0.05, confidence=0.95, n_resamples=200)
    calibration, report = (trial.rows(rows) for rows in halves(trial.clusters, 0))
    chosen = guaranteed_weight(calibration, max_loss=0.05, confidence=0.95, weights=weights_to_test(report))
    assert (found.weight, found.bound) == (chosen.weight, chosen.bound)
    choice = choose(report.probability, report.expected_cost, chosen.weight or 0.0)
    loss = report.success.mean(axis=0).max() - picked(report.success, choice).mean()
    assert found.loss.value == pytest.approx(loss)
    assert found.kept == (loss <= 0.05)


def test_the_cost_is_relative_to_the_best_single_models(trial: Trial) -> None:
    found = promise_on(trial, max_loss=0.05, confidence=0.95, n_resamples=200)
    assert found.cost_ratio.low < found.cost_ratio.value < found.cost_ratio.high < 1


def test_an_unknown_cost_leaves_the_cost_ratio_unknown(trial: Trial) -> None:
    free = replace(trial, cost=np.full_like(trial.cost, np.nan))
    found = promise_on(free, max_loss=0.05, confidence=0.95, n_resamples=200)
    assert found.weight is not None
    assert np.isnan(found.cost_ratio.value)


def test_without_a_safe_weight_it_is_unknown_whether_the_promise_is_kept(trial: Trial) -> None:
    found = promise_on(trial, max_loss=1e-4, confidence=0.999)
    assert (found.weight, found.kept) == (None, None)
    assert np.isnan(found.loss.value)


@pytest.mark.parametrize(("rows", "promised"), [(60, False), (4_000, True)])
def test_off_policy_only_what_the_log_supports_is_promised(rows: int, promised: bool) -> None:
    log, x, _ = random_log(rows, seed=1)
    study = study_of(log, x)
    trial = Trial(
        probability=np.tile([0.3, 0.5, 0.9], (rows, 1)),
        expected_cost=np.tile([1.0, 2.0, 4.0], (rows, 1)),
        success=study.success.scores,
        cost=study.cost.scores,
        clusters=log.clusters,
        traffic=log.traffic,
    )
    made = replace(promise_on(trial, max_loss=0.5, confidence=0.5, n_resamples=100), weight=0.0, kept=True)
    found = supported_promise(made, trial, study)
    assert (found.weight is not None) == promised
    assert (found.kept is not None) == promised


def test_a_log_of_one_session_is_refused(trial: Trial) -> None:
    with pytest.raises(CallLogError, match=r"all 1200 are of one; give more"):
        promise_on(replace(trial, clusters=np.zeros(1_200, dtype=np.int64)), max_loss=0.05, confidence=0.95)
