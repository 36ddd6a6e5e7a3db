from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom, ttest_1samp

from router.deciding.policy import choose
from router.records import FloatArray, IntArray
from training.statistics.policy_curves import picked
from training.statistics.quality_guarantee import (
    BOUNDED,
    UNBOUNDED,
    Losses,
    Trial,
    gaffke_p_value,
    guaranteed_weight,
    t_p_value,
    weights_to_test,
)

LEVEL = 0.05
COSTS = np.array([0.001, 0.004, 0.01])


def chances(n: int, seed: int) -> FloatArray:
    """How likely each model is to succeed: the dear one is the best, where it matters."""
    random = np.random.default_rng(seed)
    ease = random.normal(1.0, 1.5, n)
    taste = random.normal(0.0, 0.6, (n, 3))
    chance: FloatArray = 1 / (1 + np.exp(-(ease[:, None] + [-0.3, 0.0, 0.4] + taste)))
    return chance


def trial_of(chance: FloatArray, seed: int) -> Trial:
    random = np.random.default_rng(seed)
    forecast = np.clip(chance + random.normal(0.0, 0.1, chance.shape), 0.01, 0.99)
    cost = np.broadcast_to(COSTS, chance.shape) * random.uniform(0.8, 1.2, (len(chance), 1))
    return Trial(
        probability=forecast,
        expected_cost=cost,
        success=(random.random(chance.shape) < chance).astype(np.float64),
        cost=cost,
        clusters=np.arange(len(chance)),
        traffic=np.ones(len(chance)),
    )


@pytest.fixture(scope="module")
def trial() -> Trial:
    return trial_of(chances(600, seed=0), seed=1)


def choice_at(trial: Trial, weight: float) -> IntArray:
    return choose(trial.probability, trial.expected_cost, weight)


def excess_of(n: int, losses: int, gains: int, max_loss: float) -> FloatArray:
    """Paired differences of yes-no outcomes less the loss that is allowed."""
    difference = np.concatenate([np.ones(losses), -np.ones(gains), np.zeros(n - losses - gains)])
    excess: FloatArray = difference - max_loss
    return excess


@pytest.mark.parametrize(
    ("n", "losses", "max_loss"),
    [
        pytest.param(50, 0, 0.1, id="none lost"),
        pytest.param(500, 3, 0.02, id="few lost"),
        pytest.param(2000, 30, 0.02, id="many lost"),
        pytest.param(30, 0, 0.1, id="few prompts"),
    ],
)
def test_gaffkes_test_is_the_binomial_one_for_two_values(n: int, losses: int, max_loss: float) -> None:
    p_value = gaffke_p_value(excess_of(n, losses, 0, max_loss), 1 - max_loss)
    assert p_value == pytest.approx(binom.cdf(losses, n, max_loss), rel=0.02)


@pytest.mark.parametrize(
    ("excess", "most", "p_value"),
    [
        pytest.param(excess_of(500, 3, 0, 0.02), 0.98, 0.009827285453377788, id="few lost"),
        pytest.param(excess_of(2000, 30, 12, 0.02), 0.98, 0.0014324093358072231, id="lost and gained"),
        pytest.param(excess_of(20_000, 300, 100, 0.02), 0.98, 6.156415379380289e-20, id="hardly possible"),
        pytest.param(
            -1e-4 * np.arange(100_000) / 1e5, 1.0, 0.006813271048673353, id="a root beside the pole"
        ),
        pytest.param(
            np.array([-6e5, -3e5, -1e5]),
            1e-3,
            6.048971137810335e-26,
            id="a worst case that is next to nothing",
        ),
    ],
)
def test_gaffkes_p_values_are_those_found_by_newtons_steps(
    excess: FloatArray, most: float, p_value: float
) -> None:
    assert gaffke_p_value(excess, most) == pytest.approx(p_value, rel=1e-9, abs=0)


@pytest.mark.parametrize("seed", [pytest.param(seed, id=f"sample {seed}") for seed in range(3)])
def test_gaffkes_tail_is_that_of_the_weighted_exponentials(seed: int) -> None:
    random = np.random.default_rng(seed)
    excess = random.choice([-1.0, -0.3, 0.0, 0.6, 1.0], p=[0.08, 0.1, 0.7, 0.06, 0.06], size=300) - 0.03
    drawn = random.exponential(size=(40_000, 301)) @ np.append(excess, 0.97) >= 0
    error = 4 * np.sqrt(drawn.mean() / len(drawn))
    assert gaffke_p_value(excess, 0.97) == pytest.approx(drawn.mean(), abs=error + 1e-4)


@pytest.mark.parametrize("max_loss", [0.02, 0.05, 0.1])
@pytest.mark.parametrize("gains", [0.0, 0.002, 0.01, 0.05, 0.2])
def test_gaffkes_test_rejects_a_true_loss_at_the_limit_no_more_often_than_its_level(
    max_loss: float, gains: float
) -> None:
    n, losses = 120, gains + max_loss
    rejected, most = 0.0, -1
    for gained in range(n + 1):
        while (
            most + 1 + gained <= n
            and gaffke_p_value(excess_of(n, most + 1, gained, max_loss), 1 - max_loss) <= LEVEL
        ):
            most += 1
        lost = binom.cdf(min(most, n - gained), n - gained, losses / (1 - gains)) if most >= 0 else 0.0
        rejected += binom.pmf(gained, n, gains) * lost
    assert rejected <= LEVEL


def test_the_t_test_is_students_one_sided_test() -> None:
    excess = np.random.default_rng(0).normal(-0.1, 1.0, 80)
    assert t_p_value(excess) == pytest.approx(ttest_1samp(excess, 0.0, alternative="less").pvalue)


@pytest.mark.parametrize("test", [gaffke_p_value, t_p_value])
def test_a_bound_is_the_smallest_loss_that_is_rejected(
    trial: Trial, test: Callable[[FloatArray, float], float]
) -> None:
    losses = Losses.of(trial, choice_at(trial, 20.0))
    bound = losses.bound(0.95, test)
    assert losses.p_value(bound + 1e-6, test) <= LEVEL < losses.p_value(bound - 1e-6, test)


def test_the_loss_is_bounded_against_whichever_model_is_the_best(trial: Trial) -> None:
    losses = Losses.of(trial, choice_at(trial, 20.0))
    each = [replace(losses, total=column[:, None]).bound(0.95, gaffke_p_value) for column in losses.total.T]
    assert losses.bound(0.95, gaffke_p_value) == max(each)


def test_the_weight_is_the_last_before_the_first_that_is_not_safe(trial: Trial) -> None:
    guarantee = guaranteed_weight(trial, max_loss=0.04, confidence=0.95)
    safe = [
        Losses.of(trial, choice_at(trial, weight)).p_value(0.04, gaffke_p_value) <= LEVEL
        for weight in weights_to_test(trial)
    ]
    assert guarantee.weight == weights_to_test(trial)[safe.index(False) - 1]
    assert guarantee.bound <= 0.04


def test_a_safe_weight_beyond_an_unsafe_one_is_not_taken(trial: Trial) -> None:
    safe = guaranteed_weight(trial, max_loss=0.04, confidence=0.95).weight
    assert safe is not None
    guarantee = guaranteed_weight(trial, max_loss=0.04, confidence=0.95, weights=np.array([1e6, safe]))
    assert guarantee.weight is None


def test_without_a_safe_weight_the_bound_is_that_of_weight_0(trial: Trial) -> None:
    guarantee = guaranteed_weight(trial, max_loss=1e-4, confidence=0.999)
    assert guarantee.weight is None
    assert guarantee.bound == Losses.of(trial, choice_at(trial, 0.0)).bound(0.999, gaffke_p_value)


def test_a_larger_loss_or_a_smaller_confidence_allows_a_larger_weight(trial: Trial) -> None:
    weights = [
        guaranteed_weight(trial, max_loss=max_loss, confidence=confidence).weight or 0.0
        for max_loss, confidence in [(0.03, 0.99), (0.03, 0.95), (0.05, 0.95), (0.1, 0.95)]
    ]
    assert weights == sorted(weights)
    assert weights[0] < weights[-1]


def test_the_weights_that_are_tested_do_not_depend_on_outcomes(trial: Trial) -> None:
    other = replace(trial, success=1 - trial.success, cost=trial.cost[::-1])
    assert np.array_equal(weights_to_test(trial), weights_to_test(other))


def test_the_order_of_the_prompts_does_not_matter(trial: Trial) -> None:
    order = np.random.default_rng(0).permutation(len(trial))
    guarantee, other = (
        guaranteed_weight(t, max_loss=0.04, confidence=0.95) for t in (trial, trial.rows(order))
    )
    assert guarantee.weight == pytest.approx(other.weight)
    assert guarantee.bound == pytest.approx(other.bound)


def test_repeating_the_prompts_of_each_session_narrows_nothing(trial: Trial) -> None:
    once = Losses.of(trial, choice_at(trial, 20.0))
    twice = trial.rows(np.repeat(np.arange(len(trial)), 2))
    assert Losses.of(twice, choice_at(twice, 20.0)).bound(0.95, gaffke_p_value) == pytest.approx(
        once.bound(0.95, gaffke_p_value)
    )


def test_traffic_counts_as_so_many_prompts_of_one_session(trial: Trial) -> None:
    calls = np.random.default_rng(0).integers(1, 4, len(trial))
    repeated = trial.rows(np.repeat(np.arange(len(trial)), calls))
    weighted = replace(trial, traffic=calls.astype(np.float64))
    bounds = [Losses.of(t, choice_at(t, 20.0)).bound(0.95, gaffke_p_value) for t in (repeated, weighted)]
    assert bounds[0] == pytest.approx(bounds[1])


def test_a_model_without_forecasts_is_held_against_but_never_chosen(trial: Trial) -> None:
    blind = np.where(np.arange(3) == 2, np.nan, trial.probability)
    guarantee = guaranteed_weight(replace(trial, probability=blind), max_loss=0.5, confidence=0.95)
    cheap = Losses.of(trial, np.zeros(len(trial), dtype=np.int64))
    assert guarantee.weight is not None
    assert guarantee.bound == cheap.bound(0.95, gaffke_p_value)


def test_an_unknown_expected_cost_is_assumed_to_be_the_dearest(trial: Trial) -> None:
    unknown = np.where(np.arange(3) == 1, np.nan, trial.expected_cost)
    dearest = np.where(np.arange(3) == 1, trial.expected_cost[:, [2]], trial.expected_cost)
    results = [
        guaranteed_weight(replace(trial, expected_cost=cost), max_loss=0.05, confidence=0.95)
        for cost in (unknown, dearest)
    ]
    assert results[0] == results[1]


def test_outcomes_in_0_to_1_take_the_test_of_a_bounded_mean(trial: Trial) -> None:
    assert guaranteed_weight(trial, max_loss=0.04, confidence=0.95).method == BOUNDED


def test_doubly_robust_scores_take_the_t_test(trial: Trial) -> None:
    scores = replace(trial, success=trial.success * 4 - 1)
    guarantee = guaranteed_weight(scores, max_loss=0.3, confidence=0.95)
    losses = Losses.of(scores, choice_at(scores, guarantee.weight or 0.0))
    assert guarantee.method == UNBOUNDED
    assert guarantee.bound == losses.bound(0.95, t_p_value)


def test_prompts_that_stand_for_several_are_no_sessions(trial: Trial) -> None:
    drawn = replace(trial, traffic=np.where(np.arange(len(trial)) % 2, 4.0, 1.0))
    guarantee = guaranteed_weight(drawn, max_loss=0.05, confidence=0.95)
    assert not any("sessions are independent" in sentence for sentence in guarantee.assumptions)


def test_sessions_are_named_among_the_assumptions(trial: Trial) -> None:
    linked = replace(trial, clusters=trial.clusters // 3)
    guarantee = guaranteed_weight(linked, max_loss=0.05, confidence=0.95)
    assert (guarantee.n, guarantee.clusters) == (600, 200)
    assert any("sessions are independent" in sentence for sentence in guarantee.assumptions)


@pytest.mark.parametrize("session", [pytest.param(1, id="prompts alone"), pytest.param(4, id="sessions")])
@pytest.mark.parametrize("max_loss", [0.02, 0.05])
def test_a_guarantee_is_broken_no_more_often_than_its_confidence_allows(
    max_loss: float, session: int
) -> None:
    population = chances(20_000, seed=5)
    whole = trial_of(population, seed=6)
    best, times, broken = population.mean(axis=0).max(), 100, 0
    for seed in range(times):
        rows = np.random.default_rng(seed).integers(0, len(population), 800 // session)
        drawn = replace(trial_of(population[rows], seed=seed), probability=whole.probability[rows])
        linked = replace(drawn, clusters=np.arange(len(rows))).rows(np.repeat(np.arange(len(rows)), session))
        weight = guaranteed_weight(linked, max_loss=max_loss, confidence=0.95).weight
        if weight is not None:
            broken += bool(best - picked(population, choice_at(whole, weight)).mean() > max_loss)
    assert broken <= binom.ppf(0.999, times, LEVEL)


def test_a_guarantee_on_doubly_robust_scores_is_broken_no_more_often_than_its_confidence_allows() -> None:
    population = chances(20_000, seed=5)
    whole = trial_of(population, seed=6)
    best, times, broken = population.mean(axis=0).max(), 100, 0
    for seed in range(times):
        random = np.random.default_rng(seed)
        rows = random.integers(0, len(population), 3_000)
        drawn = whole.rows(rows)
        seen = random.integers(0, 3, len(rows))[:, None] == np.arange(3)
        outcome = random.random(seen.shape) < population[rows]
        scores = drawn.probability + seen * 3 * (outcome - drawn.probability)
        trial = replace(drawn, success=scores, clusters=np.arange(len(rows)))
        weight = guaranteed_weight(trial, max_loss=0.05, confidence=0.95).weight
        if weight is not None:
            broken += bool(best - picked(population, choice_at(whole, weight)).mean() > 0.05)
    assert 0 < broken <= binom.ppf(0.999, times, LEVEL)
