from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from training.learning.training_means import TrainingStatistics, statistics_of, statistics_to_json

NAN = float("nan")


def test_means_leave_unknown_outcomes_out() -> None:
    means = TrainingStatistics.of(
        ("a", "b"), ["x", None], np.array([[1.0, NAN], [0.0, 1.0]]), np.array([[NAN, NAN], [2.0, NAN]])
    )
    assert means.success.tolist() == [0.5, 1.0]
    assert means.cost[0] == 2
    assert np.isnan(means.cost[1])
    assert means.task_types == ("x",)
    assert means.task_counts.tolist() == [[1, 0]]


def test_statistics_without_any_outcome_are_refused() -> None:
    with pytest.raises(ValueError, match="no model has a known outcome"):
        TrainingStatistics.of(("a", "b"), [None], np.full((1, 2), NAN), np.ones((1, 2)))


def test_statistics_of_other_shapes_are_refused() -> None:
    statistics = TrainingStatistics.of(("a", "b"), [None], np.ones((1, 2)), np.ones((1, 2)))
    with pytest.raises(ValueError, match="2 models and 0 task types"):
        replace(statistics, success=np.ones(3))


def test_statistics_survive_the_manifest() -> None:
    success = np.array([[1.0, 0.0], [1.0, np.nan]])
    statistics = TrainingStatistics.of(("a", "b"), ["x", None], success, success / 100)
    manifest = {"models": ["a", "b"], "statistics": json.loads(json.dumps(statistics_to_json(statistics)))}
    means = statistics_of(manifest)
    for name in ("success", "cost", "task_success", "task_cost", "task_counts"):
        np.testing.assert_array_equal(getattr(means, name), getattr(statistics, name))
    assert means.task_types == statistics.task_types


def test_unknown_statistics_are_null_in_the_manifest() -> None:
    unknown = np.full((2, 2), np.nan)
    statistics = TrainingStatistics.of(("a", "b"), [None, None], np.ones((2, 2)), unknown)
    assert statistics_to_json(statistics)["cost"] == [None, None]
