from __future__ import annotations

import numpy as np
import pytest

from router.records import FloatArray
from tests.training.comparing.choice_logs import logged_of, random_log, repeated
from training.comparing.estimating.logged import Logged, chosen_shares
from training.comparing.estimating.off_policy import DOUBLY_ROBUST, Study, study_of
from training.comparing.estimating.support import (
    cost_warnings,
    log_warnings,
    overlap_by_task_type,
    support_columns,
    support_of,
    support_warnings,
    variance_share,
)
from training.comparing.evaluated import Support
from training.statistics.intervals import resampled_sums


def supported(study: Study, shares: FloatArray) -> Support:
    sums = resampled_sums(support_columns(study, shares), study.logged.clusters, n_resamples=50)
    return support_of(study, shares, sums)


def always(study: Study, model: int) -> FloatArray:
    n, m = study.logged.calls.shape
    return chosen_shares(np.full(n, model), m)


def coin_log(n: int = 400, *, chance: FloatArray | None = None, seed: int = 0) -> Logged:
    """Two models taken with `chance`, shape (n, 2); success by a fair coin, cost of 1 USD."""
    rng = np.random.default_rng(seed)
    known = np.full((n, 2), 0.5) if chance is None else chance
    called = np.eye(2)[(rng.random(n) < known[:, 1]).astype(int)]
    blank = np.where(called > 0, 0.0, np.nan)
    success = rng.integers(0, 2, size=(n, 2)) + blank
    return logged_of(success, cost=1 + blank, propensity=known + blank)


def blank_covariates(log: Logged) -> FloatArray:
    return np.zeros((len(log.traffic), 1))


def study(log: Logged) -> Study:
    return study_of(log, blank_covariates(log))


def test_the_logging_policy_has_weights_of_one() -> None:
    log, x, chance = random_log(300, session=3)
    found = supported(study_of(log, x), chance)
    assert (found.mean_weight, found.effective_sample_size) == pytest.approx((1.0, 100.0))
    assert list(found.weight_quantiles.values()) == pytest.approx([1.0] * 4)
    assert found.refused is None
    assert set(found.estimates) == set(found.cost_estimates)


def test_the_diagnostics_of_a_small_log_by_hand() -> None:
    # Two calls with weight 1 / 0.5, one with 1 / 0.25: 8 / 4 calls, 8^2 / (4 + 4 + 16).
    success = [[1.0, np.nan], [0.0, np.nan], [1.0, np.nan], [np.nan, 1.0]]
    chance = np.array([[0.5, 0.5], [0.5, 0.5], [0.25, 0.75], [0.5, 0.5]])
    log = logged_of(success, propensity=np.where(np.isfinite(success), chance, np.nan))
    found = supported(study(log), always(study(log), 0))
    assert (found.matched_share, found.mean_weight) == pytest.approx((0.75, 2.0))
    assert found.effective_sample_size == pytest.approx(64 / 24)
    assert found.largest_weight_share == pytest.approx(0.5)
    assert found.weight_quantiles == pytest.approx({"0.5": 2.0, "0.9": 4.0, "0.99": 4.0, "1": 4.0})


def test_calls_that_stand_twice_are_no_more_support() -> None:
    log, x, _ = random_log(300)
    one, two = (study_of(repeated(log, times), x) for times in (1, 2))
    first, second = supported(one, always(one, 2)), supported(two, always(two, 2))
    assert first.effective_sample_size == pytest.approx(second.effective_sample_size)
    assert first.mean_weight == pytest.approx(second.mean_weight)


def test_a_model_without_an_outcome_is_refused() -> None:
    log = logged_of([[1.0, np.nan]] * 50, propensity=[[1.0, np.nan]] * 50)
    found = supported(study(log), always(study(log), 1))
    assert (
        found.refused == "the log holds no known outcome of b, which the policy takes on 100.0 % of the calls"
    )
    assert found.estimates == found.cost_estimates == {}


def test_too_small_a_sample_is_refused() -> None:
    log = coin_log(40)
    assert "effective sample of" in str(supported(study(log), always(study(log), 1)).refused)


def test_a_part_of_the_traffic_that_never_meets_the_choice_is_refused() -> None:
    chance = np.where((np.arange(1000) % 2 == 0)[:, None], [0.5, 0.5], [1.0, 1e-12])
    log = coin_log(1000, chance=chance)
    assert "never takes the policy's choice" in str(supported(study(log), always(study(log), 1)).refused)


def test_choices_of_hardly_any_estimated_chance_are_refused() -> None:
    long = np.arange(4000) % 2 == 0
    log = coin_log(4000, chance=np.where(long[:, None], [0.5, 0.5], [0.997, 0.003]))
    log.propensity[:] = np.nan
    made = study_of(log, long[:, None].astype(float))
    assert "on 50.0 % of the calls" in str(supported(made, always(made, 1)).refused)
    assert supported(made, always(made, 0)).refused is None


def test_a_policy_that_never_chooses_is_refused() -> None:
    made = study(coin_log())
    assert supported(made, 0 * always(made, 0)).refused == "the policy chooses on no prompt of the log"


def test_without_costs_the_success_is_still_estimated() -> None:
    log = coin_log()
    log.cost[:] = np.nan
    found = supported(study(log), always(study(log), 0))
    assert DOUBLY_ROBUST in found.estimates
    assert found.cost_estimates == {}


def test_good_overlap_gives_no_warning() -> None:
    made = study(coin_log(600))
    shares = always(made, 1)
    found = supported(made, shares)
    assert support_warnings(made, shares, found) == cost_warnings(made, shares, found) == []


def warnings_of(log: Logged, model: int = 1) -> str:
    made = study(log)
    shares = always(made, model)
    return "; ".join(support_warnings(made, shares, supported(made, shares)))


def test_a_small_sample_is_warned_about() -> None:
    assert "the interval is rough" in warnings_of(coin_log(120))


def test_a_single_large_weight_is_warned_about() -> None:
    log = coin_log(600)
    log.propensity[np.flatnonzero(log.calls[:, 1])[0], 1] = 0.01
    log.success[np.flatnonzero(log.calls[:, 1])[0], 1] = 0.0
    text = warnings_of(log)
    assert "carries" in text
    assert "of the variance of the success rate" in text


def test_wrong_logged_chances_are_warned_about() -> None:
    log = coin_log(1000)
    log.propensity[:, 1] *= 0.6
    assert "the logged propensities are wrong" in warnings_of(log)


def test_rare_failures_are_warned_about() -> None:
    log = coin_log(600)
    log.success[np.isfinite(log.success)] = 1.0
    assert "and 0 failures" in warnings_of(log)


def test_a_refused_policy_is_not_warned_about_too() -> None:
    assert warnings_of(coin_log(40)) == ""


def test_one_huge_cost_is_warned_about() -> None:
    log = coin_log(600)
    log.cost[np.flatnonzero(log.calls[:, 1])[0], 1] = 1e4
    made = study(log)
    shares = always(made, 1)
    assert "of the variance of the cost" in cost_warnings(made, shares, supported(made, shares))[0]


def test_one_cluster_of_two_has_half_of_the_variance() -> None:
    log = logged_of([[1.0], [0.0]], propensity=[[1.0], [1.0]])
    assert variance_share(study(log), study(log).success, np.ones((2, 1))) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        pytest.param("propensity", "all propensities are estimated", id="no propensity"),
        pytest.param("success", "of the calls have no known outcome", id="no outcome"),
        pytest.param("traffic", "50.0 % of the calls went to models", id="other models"),
    ],
)
def test_the_limits_of_a_log_are_named(change: str, sentence: str) -> None:
    log = coin_log(100)
    if change == "traffic":
        log.traffic[:] = 2.0
    else:
        getattr(log, change)[:40] = np.nan
    assert sentence in "; ".join(log_warnings(study(log)))


def test_overlap_is_shown_per_task_type() -> None:
    log = logged_of(
        [[1.0, np.nan], [np.nan, 1.0], [0.0, np.nan]] * 20,
        propensity=[[0.5, np.nan], [np.nan, 0.4], [0.2, np.nan]] * 20,
        task_types=["maths", "maths", None] * 20,
    )
    made = study(log)
    none, maths = overlap_by_task_type(made, always(made, 0))
    assert (none["task_type"], none["calls"], none["least_propensity"]) == ("", 20.0, 0.2)
    assert (maths["task_type"], maths["calls"], maths["least_propensity"]) == ("maths", 40.0, 0.5)
    assert (none["effective_sample_size"], maths["effective_sample_size"]) == pytest.approx((20.0, 20.0))
