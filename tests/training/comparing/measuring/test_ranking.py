from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.records import FloatArray
from tests.training.comparing.comparisons import evaluated, knowing
from training.comparing.measuring.ranking import Recovery, ranking, recovery, weak_column
from training.statistics.intervals import resampled_counts
from training.statistics.policy_curves import apgr

ALONE = np.arange(6)
seeds = st.integers(0, 10_000)


def prompts(seed: int, n: int = 30) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Gap, outcome of weak, outcome of strong, with ties in the gap and a lead of strong."""
    rng = np.random.default_rng(seed)
    gap = np.round(rng.random(n), 1)
    return gap, (rng.random(n) < 0.4).astype(float), np.append(1.0, rng.random(n - 1) < 0.4 + gap[1:] / 2)


def recovered(gap: FloatArray, weak: FloatArray, strong: FloatArray) -> Recovery:
    return recovery(gap, strong - weak, np.arange(len(gap)), n_resamples=0)


def values(found: Recovery) -> list[float]:
    return [found.apgr.value, found.cpt_50.value, found.cpt_80.value]


def naive_cpt(gap: FloatArray, weak: FloatArray, strong: FloatArray, level: float) -> float:
    """Least share on a fine grid whose mean success over many random orders of the ties reaches the level."""
    grid = np.linspace(0, 1, 3001)
    groups = np.unique(gap)[::-1]
    share = np.concatenate([[0], np.cumsum([(gap == g).mean() for g in groups])])
    sent = [weak.mean(), *(np.where(gap >= g, strong, weak).mean() for g in groups)]
    reached = np.interp(grid, share, sent) >= weak.mean() + level * (strong.mean() - weak.mean()) - 1e-9
    return float(grid[reached.argmax()])


def test_cpt_by_hand() -> None:
    gap = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    gain = np.array([1.0, 0, 1, 1, 0, 1])
    found = recovery(gap, gain, ALONE)
    assert found.cpt_50.value == pytest.approx(3 / 6)
    assert found.cpt_80.value == pytest.approx((5 + 0.2) / 6)


def test_prompts_of_equal_gap_are_as_good_as_random_routing() -> None:
    found = recovery(np.zeros(6), np.array([1.0, 0, 1, 1, 0, 1]), ALONE)
    assert values(found) == pytest.approx([0.5, 0.5, 0.8])


def test_a_perfect_ranking_needs_the_gap_times_the_share_of_prompts_that_gain() -> None:
    gain = np.array([1.0, 1, 0, 0, 0, 0])
    assert recovery(gain, gain, ALONE).cpt_80.value == pytest.approx(0.8 * 2 / 6)


@pytest.mark.parametrize("seed", range(6))
def test_cpt_equals_the_first_share_on_a_fine_grid(seed: int) -> None:
    found = recovered(*prompts(seed))
    assert found.cpt_50.value == pytest.approx(naive_cpt(*prompts(seed), 0.5), abs=1e-3)
    assert found.cpt_80.value == pytest.approx(naive_cpt(*prompts(seed), 0.8), abs=1e-3)


def test_apgr_is_the_closed_form() -> None:
    gap, weak, strong = prompts(1, 200)
    found = recovery(gap, strong - weak, np.arange(200) // 2, n_resamples=100, seed=4).apgr
    assert found.value == pytest.approx(apgr(gap, weak, strong))
    assert found.low < found.value < found.high


def test_a_draw_is_the_measure_of_the_repeated_prompts() -> None:
    gap, weak, strong = prompts(2)
    count = next(resampled_counts(30, n_resamples=1, seed=3))[0].astype(int)
    repeated = recovered(*(np.repeat(each, count) for each in (gap, weak, strong)))
    found = recovery(gap, strong - weak, np.arange(30), n_resamples=1, seed=3)
    assert [found.apgr.low, found.cpt_50.low, found.cpt_80.low] == pytest.approx(values(repeated))


@given(seeds)
def test_a_permuted_log_gives_the_same_numbers(seed: int) -> None:
    order = np.random.default_rng(seed).permutation(30)
    gap, weak, strong = prompts(seed)
    assert values(recovered(gap[order], weak[order], strong[order])) == pytest.approx(
        values(recovered(gap, weak, strong)), nan_ok=True
    )


@given(seeds)
def test_a_doubled_log_gives_the_same_numbers(seed: int) -> None:
    twice = recovered(*(np.tile(each, 2) for each in prompts(seed)))
    assert values(twice) == pytest.approx(values(recovered(*prompts(seed))), nan_ok=True)


@given(seeds)
def test_only_the_order_of_the_gaps_matters(seed: int) -> None:
    gap, weak, strong = prompts(seed)
    assert values(recovered(np.exp(3 * gap) - 7, weak, strong)) == pytest.approx(
        values(recovered(gap, weak, strong)), nan_ok=True
    )


def test_more_calls_are_needed_for_more_of_the_gap() -> None:
    found = recovered(*prompts(5, 300))
    assert found.cpt_50.value < found.cpt_80.value


def test_strong_no_better_than_weak_leaves_nothing_to_recover() -> None:
    found = recovery(np.array([0.1, 0.2]), np.array([1.0, -1.0]), np.arange(2))
    assert np.isnan(values(found)).all()


def test_an_unknown_gap_gives_no_number() -> None:
    found = recovery(np.array([0.1, np.nan]), np.array([1.0, 0.0]), np.arange(2))
    assert np.isnan(values(found)).all()


def test_weak_is_the_cheapest_or_without_costs_the_least_successful() -> None:
    success, cost = np.array([[0.5, 0.4, 0.9]]), np.array([[1.0, 2.0, 3.0]])
    assert weak_column(success, cost) == 0
    assert weak_column(success, cost * np.nan) == 1


def test_a_router_that_knows_needs_strong_on_few_prompts() -> None:
    found = ranking(evaluated(knowing()), 1, scores={"row": np.arange(400.0)}, n_resamples=100)
    assert found is not None
    assert (found.weak, found.strong) == ("small", "large")
    assert found.apgr.value > 0.7
    assert found.cpt_50.value == pytest.approx(0.4 * 0.5, abs=0.01)
    assert found.auc.value == 1
    assert found.auc_by_score["row"].value == pytest.approx(0.5, abs=0.01)


def test_a_best_model_that_is_the_cheapest_leaves_nothing_to_rank() -> None:
    assert ranking(evaluated(knowing()), 0) is None
