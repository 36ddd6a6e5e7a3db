from __future__ import annotations

from copy import copy
from dataclasses import replace

import numpy as np
import pytest

from router.forecasting.head import PRIOR_NEIGHBOURS, narrow_inputs
from router.forecasting.training_prompts import POINTS_FILE
from router.records import FloatArray, Request
from router.settings.sections import Objective
from router.version import Version
from training.comparing.policies.neighbours import Memory, neighbour_choice, neighbour_forecast

NAN = float("nan")
REQUESTS = [
    Request.of("When do you open?"),
    Request.of("Refactor this:\n```\nx = 1\n```", task_type="coding"),
]
MEANS = np.array([0.5, 0.8])


def memory_of(outcomes: FloatArray, seed: int = 0) -> Memory:
    """Prompts in two directions of space; those of the first half look east, the others north."""
    n = len(outcomes)
    points = np.where(np.arange(n)[:, None] < n // 2, [[1.0, 0.0]], [[0.0, 1.0]])
    points = points + np.random.default_rng(seed).normal(0, 0.01, points.shape)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    return Memory(
        axes=np.eye(2, dtype=np.float32),
        points=points.astype(np.float32),
        outcomes=outcomes,
        success=MEANS,
        cost=np.array([0.001, 0.01]),
    )


def halves(east: list[float], north: list[float], n: int = 40) -> FloatArray:
    return np.array([east] * (n // 2) + [north] * (n // 2))


EAST = np.array([[3.0, 0.0]], dtype=np.float32)


def test_the_nearest_prompts_outcomes_are_shrunk_to_each_model_s_mean() -> None:
    found = memory_of(halves([1.0, 0.0], [0.0, 1.0])).forecast(EAST, k=10)
    assert found[0] == pytest.approx((10 * np.array([1.0, 0.0]) + PRIOR_NEIGHBOURS * MEANS) / (10 + 5))


def test_nearer_prompts_count_more() -> None:
    outcomes = np.array([[1.0, 1.0], [0.0, 0.0]])
    memory = replace(memory_of(outcomes), points=np.eye(2, dtype=np.float32))
    near, far = np.exp(8.0) / (np.exp(8.0) + 1), 1 / (np.exp(8.0) + 1)
    expected = (2 * near * 1.0 + 2 * far * 0.0 + PRIOR_NEIGHBOURS * MEANS) / (2 + PRIOR_NEIGHBOURS)
    assert memory.forecast(EAST)[0] == pytest.approx(expected)


def test_where_no_outcome_is_known_the_model_s_mean_stands() -> None:
    found = memory_of(halves([1.0, NAN], [0.0, 1.0])).forecast(EAST, k=10)
    assert found[0, 1] == pytest.approx(MEANS[1])


def test_a_remembered_prompt_does_not_judge_itself() -> None:
    outcomes = halves([1.0, 0.0], [0.0, 1.0])
    turned = outcomes.copy()
    turned[3] = [0.0, 1.0]
    kept, changed = memory_of(outcomes).left_out(k=10), memory_of(turned).left_out(k=10)
    assert kept[3] == pytest.approx(changed[3])
    assert not np.allclose(kept, changed)


def test_the_weight_meets_the_objective_on_the_remembered_prompts() -> None:
    memory = memory_of(halves([1.0, 1.0], [0.0, 1.0]))
    cheapest, quality = Objective(), Objective(kind="quality", quality=0.5)
    p, cost = memory.left_out(), np.tile(memory.cost, (40, 1))

    def success(weight: float) -> float:
        choice = (p - weight * cost).argmax(axis=1)
        return float(np.take_along_axis(memory.outcomes, choice[:, None], axis=1).mean())

    assert success(memory.weight(cheapest)) == 1.0
    assert 0.5 <= success(memory.weight(quality)) < 1.0


def test_without_any_cost_the_weight_is_nothing() -> None:
    memory = replace(memory_of(halves([1.0, 0.0], [0.0, 1.0])), cost=np.full(2, NAN))
    assert memory.weight(Objective()) == 0.0


def test_a_router_s_neighbours_forecast_and_choose(version: Version) -> None:
    features = version.features(REQUESTS, [version.encode(request) for request in REQUESTS])
    forecast, choice = neighbour_forecast(version, features), neighbour_choice(version, features)
    assert forecast is not None
    assert choice is not None
    assert forecast.probability.shape == (2, len(version.models))
    assert ((forecast.probability > 0) & (forecast.probability < 1)).all()
    assert forecast.expected_cost == pytest.approx(version.forecast_from(features).cost)
    assert choice.tolist() == forecast.choice().tolist()


def test_the_memory_is_in_the_order_of_the_points(version: Version) -> None:
    """The head's own store holds the outcomes less their means: the two must go together."""
    memory = Memory.of(version)
    assert memory is not None
    seen = version.head.store.seen[:, 1:] > 0
    assert np.array_equal(np.isfinite(memory.outcomes), seen)
    shared = version.head.store.values[:, 0]
    assert np.corrcoef(np.nanmean(memory.outcomes, axis=1), shared)[0, 1] > 0.9


def test_the_features_are_projected_as_the_head_does(version: Version) -> None:
    memory = Memory.of(version)
    assert memory is not None
    features = version.features(REQUESTS, [version.encode(request) for request in REQUESTS])
    narrow = narrow_inputs(features, version.head.scaling)
    assert memory.forecast(narrow[:1]) == pytest.approx(memory.forecast(narrow)[:1])


def test_a_folder_without_outcomes_has_no_neighbours(version: Version) -> None:
    older = copy(version)
    files = {name: digest for name, digest in version.manifest["files"].items() if name != POINTS_FILE}
    older.manifest = {**version.manifest, "files": files}
    features = version.features(REQUESTS, [version.encode(request) for request in REQUESTS])
    assert neighbour_choice(older, features) is None
