from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from router.records import BoolArray, FloatArray
from training.statistics.auc import auc, clustered_auc


def scored(seed: int, n: int = 300, levels: int = 12) -> tuple[FloatArray, BoolArray]:
    """Scores with many ties that say a little about who is positive."""
    random = np.random.default_rng(seed)
    positive = random.random(n) < 0.3
    return np.round(random.normal(0.5 * positive, 1.0) * levels) / levels, positive


@pytest.mark.parametrize("seed", range(5))
def test_the_area_is_scikit_learn_s(seed: int) -> None:
    score, positive = scored(seed)
    assert auc(score, positive) == pytest.approx(roc_auc_score(positive, score), abs=1e-12)


def test_a_hand_computed_case() -> None:
    score, positive = np.array([3.0, 1.0, 2.0, 1.0]), np.array([True, True, False, False])
    assert auc(score, positive) == (1 + 1 + 0 + 0.5) / 4


def test_a_constant_score_ranks_nothing() -> None:
    assert auc(np.zeros(4), np.array([True, False, True, False])) == 0.5


@pytest.mark.parametrize("all_", [True, False])
def test_with_prompts_of_one_kind_only_there_is_no_area(all_: bool) -> None:
    score, positive = np.arange(3.0), np.full(3, all_)
    assert np.isnan(auc(score, positive))
    assert np.isnan(clustered_auc(score, positive, np.arange(3)).value)


def test_prompts_without_a_score_do_not_count() -> None:
    score, positive = scored(0)
    more, kinds = np.append(score, np.nan), np.append(positive, True)
    assert auc(more, kinds) == auc(score, positive)
    assert clustered_auc(more, kinds, np.arange(301)) == clustered_auc(score, positive, np.arange(300))


def delong_error(score: FloatArray, positive: BoolArray) -> float:
    """Standard error by DeLong et al. (1988), from the whole matrix of pairs."""
    high, low = score[positive], score[~positive]
    pairs = (high[:, None] > low) + 0.5 * (high[:, None] == low)
    rows, columns = pairs.mean(axis=1), pairs.mean(axis=0)
    return float(np.sqrt(rows.var(ddof=1) / len(high) + columns.var(ddof=1) / len(low)))


def half_width(score: FloatArray, positive: BoolArray, clusters: np.ndarray) -> float:
    interval = clustered_auc(score, positive, clusters)
    return (interval.high - interval.low) / 2


def test_with_single_prompts_the_interval_is_delong_s() -> None:
    score, positive = scored(1)
    expected = 1.959964 * delong_error(score, positive)
    # The product of a cluster's positive and negative part is 0 where it has one prompt.
    assert half_width(score, positive, np.arange(300)) == pytest.approx(expected, rel=1e-6)


def test_doubling_every_prompt_narrows_nothing_that_is_clustered() -> None:
    score, positive = scored(2)
    clusters = np.arange(300)
    twice = half_width(np.tile(score, 2), np.tile(positive, 2), np.tile(clusters, 2))
    assert twice == pytest.approx(half_width(score, positive, clusters), rel=1e-9)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """Clusters of four that share their score's level, so that ignoring them would cover far less."""
    held = 0
    for seed in range(300):
        random = np.random.default_rng(seed)
        clusters = np.repeat(np.arange(60), 4)
        positive = random.random(240) < 0.5
        score = random.normal(size=60)[clusters] + random.normal(0.8 * positive, 0.5)
        interval = clustered_auc(score, positive, clusters)
        held += interval.low <= 0.6936 <= interval.high  # Phi(0.8 / sqrt(2 * 1.25))
    assert held / 300 == pytest.approx(0.95, abs=0.03)


def test_the_share_above_a_half_is_that_of_the_normal_approximation() -> None:
    score, positive = scored(3)
    interval = clustered_auc(score, positive, np.arange(300))
    assert (interval.above > 0.975) == (interval.low > 0.5)


def test_one_cluster_gives_no_interval() -> None:
    score, positive = scored(4)
    interval = clustered_auc(score, positive, np.zeros(300, dtype=np.int64))
    assert interval.value == auc(score, positive)
    assert np.isnan([interval.low, interval.high]).all()
