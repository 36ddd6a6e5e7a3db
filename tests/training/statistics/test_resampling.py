from __future__ import annotations

import numpy as np
import pytest

from tests.training.statistics.means import mean_value
from training.statistics.intervals import interval, resampled_sums
from training.statistics.resampling import grouped, resampled_parts


def test_few_clusters_are_left_alone() -> None:
    clusters = np.array([5, 5, 9])
    assert grouped(clusters) is clusters


def test_many_clusters_are_put_into_groups_of_even_number() -> None:
    groups = grouped(np.arange(1000), most=30)
    assert set(np.bincount(groups)) == {33, 34}


def test_a_cluster_is_never_parted() -> None:
    clusters = np.random.default_rng(0).integers(0, 400, 2000)
    groups = grouped(clusters, most=50)
    assert all(len(set(groups[clusters == cluster])) == 1 for cluster in np.unique(clusters))


def test_groups_have_the_standard_error_of_their_clusters() -> None:
    rng = np.random.default_rng(1)
    clusters = np.arange(20_000) // 4
    value = rng.normal(0, 1, 20_000) + np.repeat(rng.normal(0.5, 1, 5000), 4)
    columns = np.stack([value, np.ones(20_000)], axis=1)
    alone, together = (
        resampled_sums(columns, one, n_resamples=2000).draws
        for one in (clusters, grouped(clusters, most=1000))
    )
    assert mean_value(together).std() == pytest.approx(mean_value(alone).std(), rel=0.1)


def test_parts_have_the_sums_of_blocks_that_are_zero_outside_of_them() -> None:
    rng = np.random.default_rng(2)
    columns, clusters = rng.random((60, 3)), np.arange(60) // 2
    parts = {"some": rng.random(60) < 0.3, "none": np.zeros(60, dtype=bool), "all": np.ones(60, dtype=bool)}
    sums = resampled_parts(parts, columns, clusters, n_resamples=20, seed=5)
    for name, rows in parts.items():
        expected = resampled_sums(np.where(rows[:, None], columns, 0), clusters, n_resamples=20, seed=5)
        assert sums[name].total == pytest.approx(expected.total)
        assert sums[name].draws == pytest.approx(expected.draws)


def test_parts_of_one_cluster_have_values_without_bounds() -> None:
    sums = resampled_parts({"": np.ones(3, dtype=bool)}, np.ones((3, 2)), np.zeros(3, dtype=np.int64))
    assert interval(sums[""], mean_value).value == 1
    assert np.isnan(interval(sums[""], mean_value).low)
