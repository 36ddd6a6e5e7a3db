from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from router.errors import CallLogError
from router.records import FloatArray
from tests.training.comparing.choice_logs import logged_of, random_log, repeated, rows_of
from training.comparing.estimating.logged import Logged
from training.comparing.estimating.off_policy import (
    DIRECT,
    DOUBLY_ROBUST,
    IPS,
    POWERED,
    SNIPS,
    SWITCH,
    Grading,
    ScoredOutcome,
    estimate_columns,
    estimates,
    graded_outcome,
    log_values,
    policy_scores,
    scored_outcome,
    study_of,
)
from training.statistics.intervals import Sums, resampled_sums


def totals(log: Logged, outcome: ScoredOutcome, shares: FloatArray) -> dict[str, float]:
    """Value of every estimator, without resamples."""
    columns = estimate_columns(log, outcome, shares)
    sums = Sums(total=columns.sum(axis=0), draws=np.empty((0, columns.shape[1])))
    found = estimates(sums, graded=outcome.grading is not None)
    return {name: interval.value for name, interval in found.items()}


def threshold_by_the_paper(
    log: Logged, outcome: ScoredOutcome, chance: FloatArray, shares: FloatArray
) -> float:
    """The 21 thresholds of switch-DR, one after the other: least variance plus squared bound of the bias."""
    calls = [(i, a) for i, a in zip(*np.nonzero(log.calls), strict=True) for _ in range(log.calls[i, a])]
    weight = np.array([shares[i, a] / chance[i, a] for i, a in calls])
    residual = np.array([outcome.observed[i, a] - outcome.mean[i, a] for i, a in calls])
    direct = np.array([shares[i] @ outcome.mean[i] for i, _ in calls])
    cluster = np.array([log.clusters[i] for i, _ in calls])
    taken = weight[weight > 0]

    def risk(threshold: float) -> float:
        value = direct + np.where(weight <= threshold, weight * residual, 0.0)
        apart = [(value - value.mean())[cluster == one].sum() for one in np.unique(cluster)]
        bias = np.nanmax(outcome.observed) * weight[weight > threshold].sum()
        return float(np.square(apart).sum() + bias**2)

    spaced: list[float] = np.geomspace(taken.min(), taken.max(), 21)[:-1].tolist()
    return min([float("inf"), *spaced], key=risk)


def call_by_call(
    log: Logged, outcome: ScoredOutcome, chance: FloatArray, shares: FloatArray
) -> dict[str, float]:
    """Every estimator as its paper writes it, one call after the other."""
    threshold = threshold_by_the_paper(log, outcome, chance, shares)
    direct = weighted = weight = robust = switched = 0.0
    n_calls = 0
    for i, a in zip(*np.nonzero(log.calls), strict=True):
        for _ in range(log.calls[i, a]):
            n_calls += 1
            y, w = outcome.observed[i, a], shares[i, a] / chance[i, a]
            expected = sum(shares[i, b] * outcome.mean[i, b] for b in range(len(log.models)))
            direct += expected
            weighted += w * y
            weight += w
            robust += expected + w * (y - outcome.mean[i, a])
            switched += expected + (w * (y - outcome.mean[i, a]) if w <= threshold else 0.0)
    per_call = {DIRECT: direct, IPS: weighted, DOUBLY_ROBUST: robust, SWITCH: switched}
    return {**{name: total / n_calls for name, total in per_call.items()}, SNIPS: weighted / weight}


def random_shares(n: int, seed: int) -> FloatArray:
    shares = np.random.default_rng(seed).dirichlet([0.4] * 3, size=n)
    shares[: n // 2] = np.eye(3)[np.argmax(shares[: n // 2], axis=1)]
    return shares


def test_a_score_is_the_expectation_and_the_weighted_residual() -> None:
    log = logged_of([[1.0, np.nan], [0.5, 0.0]], calls=[[1, 0], [2, 1]])
    mean, chance = np.array([[0.6, 0.2], [0.8, 0.4]]), np.array([[0.5, 0.5], [0.25, 0.75]])
    # 0.6 + (1 - 0.6) / 0.5; of three calls two: 0.8 + 2 (0.5 - 0.8) / 0.25 / 3; one: 0.4 - 0.4 / 0.75 / 3
    scores = scored_outcome(log, log.success, mean, chance).scores
    assert_allclose(scores, [[1.4, 0.2], [0.0, 0.4 - 0.4 / 2.25]])


@pytest.mark.parametrize(
    ("mean", "chance"),
    [
        pytest.param([[0.9, 0.1], [0.0, 0.3]], [[0.3, 0.7], [0.8, 0.2]], id="propensities right"),
        pytest.param([[0.2, 0.6], [0.5, 1.0]], [[0.5, 0.5], [0.1, 0.9]], id="outcome model right"),
    ],
)
def test_over_all_possible_logs_the_scores_average_to_the_truth(
    mean: list[list[float]], chance: list[list[float]]
) -> None:
    truth, true_chance = np.array([[0.2, 0.6], [0.5, 1.0]]), np.array([[0.3, 0.7], [0.8, 0.2]])
    average = np.zeros((2, 2))
    for taken in itertools.product((0, 1), repeat=2):
        outcome = np.full((2, 2), np.nan)
        outcome[[0, 1], taken] = truth[[0, 1], taken]
        # Every call's outcome is known, so that no model counts as partly observed.
        scores = np.array(mean)
        for row, model in enumerate(taken):
            one = logged_of(outcome[[row]])
            scores[row] = np.where(
                np.arange(2) == model,
                scored_outcome(one, one.success, np.array(mean)[[row]], np.array(chance)[[row]]).scores[0],
                scores[row],
            )
        average += scores * true_chance[[0, 1], taken].prod()
    assert_allclose(average, truth)


@pytest.mark.parametrize("seed", range(5))
def test_the_estimates_are_those_of_a_loop_over_calls(seed: int) -> None:
    log, _, chance = random_log(60, seed=seed, most_calls=4, session=2)
    mean = np.random.default_rng(seed).random((60, 3))
    outcome, shares = scored_outcome(log, log.success, mean, chance), random_shares(60, seed)
    expected = call_by_call(log, outcome, chance, shares)
    found = totals(log, outcome, shares)
    assert found == pytest.approx({name: expected[name] for name in found})


def test_the_logging_policy_gets_the_log_s_mean() -> None:
    log, _, chance = random_log(200, most_calls=3)
    mean = np.random.default_rng(0).random((200, 3))
    outcome = scored_outcome(log, log.success, mean, chance)
    logged_mean = np.nansum(log.success * log.calls) / log.calls.sum()
    found = totals(log, outcome, chance)
    assert (found[IPS], found[SNIPS]) == pytest.approx((logged_mean, logged_mean))
    values = log_values(log, outcome)
    assert values @ log.traffic / log.traffic.sum() == pytest.approx(logged_mean)


def test_with_a_perfect_outcome_model_nothing_is_left_to_correct() -> None:
    log, _, chance = random_log(100)
    outcome = scored_outcome(log, log.success, np.nan_to_num(log.success, nan=0.25), chance)
    found = totals(log, outcome, random_shares(100, 0))
    assert found[DOUBLY_ROBUST] == pytest.approx(found[DIRECT])


def test_the_order_of_the_log_does_not_matter() -> None:
    log, x, _ = random_log(300, with_propensity=False)
    order, shares = np.random.default_rng(1).permutation(300), random_shares(300, 2)
    first, moved = study_of(log, x), study_of(rows_of(log, order), x[order])
    one, other = (
        totals(study.logged, study.success, policy)
        for study, policy in ((first, shares), (moved, shares[order]))
    )
    assert one == pytest.approx(other, abs=1e-3)


def test_calls_that_stand_twice_in_the_log_narrow_nothing() -> None:
    log, x, _ = random_log(200, session=4)
    shares = random_shares(200, 0)
    found = []
    for times in (1, 2):
        study = study_of(repeated(log, times), x)
        columns = estimate_columns(study.logged, study.cost, shares)
        found.append(estimates(resampled_sums(columns, log.clusters, n_resamples=50)))
    for name, interval in found[0].items():
        assert (interval.low, interval.high) == pytest.approx((found[1][name].low, found[1][name].high))


def test_unknown_outcomes_count_as_missing_at_random_per_model() -> None:
    log = logged_of([[1.0], [np.nan], [0.0], [np.nan]], calls=[[1]] * 4)
    scores = scored_outcome(log, log.success, np.full((4, 1), 0.5), np.ones((4, 1))).scores
    assert_allclose(scores[:, 0], [1.5, 0.5, -0.5, 0.5])


def test_a_model_without_a_known_outcome_has_no_score() -> None:
    log = logged_of([[1.0, np.nan]], calls=[[1, 0]])
    scores = scored_outcome(log, log.success, np.full((1, 2), 0.5), np.full((1, 2), 0.5)).scores
    assert np.isnan(scores).tolist() == [[False, True]]


def test_calls_to_other_models_dilute_what_was_seen() -> None:
    log = logged_of([[1.0]], traffic=[4.0])
    scores = scored_outcome(log, log.success, np.array([[0.5]]), np.array([[0.25]])).scores
    assert_allclose(scores, [[1.0]])


def test_prompts_without_a_choice_are_left_out() -> None:
    log, _, chance = random_log(50)
    outcome, shares = scored_outcome(log, log.success, chance, chance), random_shares(50, 0)
    shares[20:] = 0.0
    kept = rows_of(log, np.arange(20))
    fewer = ScoredOutcome(observed=log.success[:20], mean=chance[:20], weight=outcome.weight[:20])
    assert totals(log, outcome, shares) == pytest.approx(totals(kept, fewer, shares[:20]))


def test_the_switch_trusts_the_model_where_single_weights_carry_the_variance() -> None:
    n = 4000
    rare = np.arange(n) % 1000 == 0
    chance = np.where(rare, 0.0005, 1.0)[:, None]
    success = (np.arange(n) % 2).astype(float)[:, None]
    log = logged_of(success, propensity=chance)
    outcome = scored_outcome(log, log.success, np.full((n, 1), 0.5), chance)
    everything = np.ones((n, 1))
    found = totals(log, outcome, everything)
    assert found[SWITCH] == found[DOUBLY_ROBUST]
    small = scored_outcome(logged_of(success * 1e-3), success * 1e-3, np.full((n, 1), 0.5), chance)
    switched = 0.5 + np.where(rare, 0.0, success[:, 0] * 1e-3 - 0.5).mean()
    assert totals(log, small, everything)[SWITCH] == pytest.approx(switched)


def test_equal_weights_need_no_threshold() -> None:
    log, _, _ = random_log(50)
    even = np.full((50, 3), 1 / 3)
    outcome = scored_outcome(log, log.success, even, even)
    found = totals(log, outcome, np.eye(3)[np.zeros(50, dtype=int)])
    assert found[SWITCH] == found[DOUBLY_ROBUST]


def test_covariates_must_be_finite() -> None:
    log, x, _ = random_log(10)
    with pytest.raises(ValueError, match=r"covariates of shape \(10, 1\) must be finite"):
        study_of(log, x * np.nan)


def test_one_session_is_too_little_to_fit_on() -> None:
    log, x, _ = random_log(10, session=10)
    with pytest.raises(CallLogError, match="1 session or prompt can't be judged"):
        study_of(log, x)


GRADERS = {"perfect": 1.0, "useless": 0.0, "turned round": -1.0}
"""How a grade follows the outcome."""


def graded_log(
    follows: float, *, known: float = 0.2, n: int = 3_000, seed: int = 0
) -> tuple[Logged, FloatArray]:
    """A log of one call a prompt, a share of outcomes known, with grades; and the outcomes of all calls."""
    rng = np.random.default_rng(seed)
    log, _, _ = random_log(n, seed=seed)
    noise = rng.uniform(0, 1, size=log.success.shape)
    grade = 0.5 + 0.8 * follows * (log.success - 0.5) + (1 - abs(follows)) * (noise - 0.5)
    hidden = (rng.random(n) >= known)[:, None]
    success = np.where(hidden, np.nan, log.success)
    whole = logged_of(success, calls=log.calls, propensity=log.propensity, graded=grade)
    return whole, log.success


@pytest.mark.parametrize("follows", GRADERS.values(), ids=GRADERS)
def test_the_control_of_the_grades_is_0_on_average_whatever_the_grades_are(follows: float) -> None:
    rng = np.random.default_rng(1)
    log, outcome = graded_log(follows)
    assert log.graded is not None
    mean, average = np.full(log.success.shape, 0.4), np.zeros(3)
    grading = Grading(
        lean=np.where(log.called, np.nan_to_num(log.graded) - mean, 0.0),
        reach=np.where(log.called, 1 / np.where(log.called, log.propensity, 1.0), 0.0),
        share=np.ones(3),
    )
    draws = 400
    for _ in range(draws):
        hidden = (rng.random(len(outcome)) >= 0.3)[:, None]
        one = replace(log, success=np.where(hidden, np.nan, outcome))
        scored = replace(scored_outcome(one, one.success, mean, log.propensity), grading=grading)
        average += scored.control.mean(axis=0) / draws
    assert_allclose(average, 0.0, atol=0.01)


@pytest.mark.parametrize(
    ("follows", "least", "most"), [(1.0, 0.8, 1.0), (0.0, 0.0, 0.6), (-1.0, 0.0, 0.0)], ids=GRADERS
)
def test_the_estimates_follow_a_grader_as_far_as_it_tells_something(
    follows: float, least: float, most: float
) -> None:
    log, _ = graded_log(follows)
    study = study_of(log, np.zeros((len(log.traffic), 1)))
    assert study.success.grading is not None
    assert study.cost.grading is None
    assert ((study.success.grading.share >= least) & (study.success.grading.share <= most)).all()


@pytest.mark.parametrize("known", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("follows", GRADERS.values(), ids=GRADERS)
def test_grades_never_make_an_interval_longer_and_good_ones_make_it_shorter(
    follows: float, known: float
) -> None:
    log, _ = graded_log(follows, known=known)
    study = study_of(log, np.zeros((len(log.traffic), 1)))
    for model in range(3):
        shares = np.zeros(log.success.shape)
        shares[:, model] = 1.0
        sums = resampled_sums(estimate_columns(log, study.success, shares), log.clusters, n_resamples=500)
        width = {name: one.high - one.low for name, one in estimates(sums, graded=True).items()}
        assert width[POWERED] <= 1.03 * width[DOUBLY_ROBUST]
        if follows == 1.0 and known < 1.0:
            assert width[POWERED] < 0.85 * width[DOUBLY_ROBUST]


def test_where_every_outcome_is_known_grades_change_nothing() -> None:
    log, _ = graded_log(0.5, known=1.0)
    with_grades, without = (
        study_of(one, np.zeros((len(log.traffic), 1))).success for one in (log, replace(log, graded=None))
    )
    assert_allclose(with_grades.scores, without.scores)
    assert without.grading is None
    assert POWERED not in totals(log, without, random_shares(len(log.traffic), 0))


def test_the_scores_are_those_of_the_prediction_powered_estimate() -> None:
    log, _ = graded_log(0.6)
    outcome, shares = study_of(log, np.zeros((len(log.traffic), 1))).success, random_shares(3_000, 1)
    assert totals(log, outcome, shares)[POWERED] == pytest.approx(policy_scores(log, outcome, shares).mean())
    for model in range(3):
        alone = np.tile(np.eye(3)[model], (3_000, 1))
        assert_allclose(policy_scores(log, outcome, alone), outcome.scores[:, model])


def test_a_model_that_is_known_more_often_counts_no_more_and_a_call_without_a_grade_leans_on_none() -> None:
    log, outcome = graded_log(0.9, n=6_000)
    assert log.graded is not None
    rng = np.random.default_rng(3)
    hidden = rng.random(log.success.shape) >= np.array([0.05, 0.2, 0.6])
    graded = np.where(rng.random(log.success.shape) < 0.1, np.nan, log.graded)
    one = replace(log, success=np.where(hidden, np.nan, outcome), graded=graded)
    study = study_of(one, np.zeros((6_000, 1)))
    truth = [np.nanmean(outcome[:, model] / log.propensity[:, model]) for model in range(3)]
    truth = np.array(truth) / [np.nanmean(1 / log.propensity[:, model]) for model in range(3)]
    assert_allclose(study.success.scores.mean(axis=0), truth, atol=0.08)
    values = log_values(one, study.success)
    assert values.mean() == pytest.approx(np.nanmean(outcome), abs=0.05)
    lean = graded_outcome(one, study.success, one.propensity).grading
    assert lean is not None
    assert (lean.lean[~np.isfinite(graded)] == 0).all()
