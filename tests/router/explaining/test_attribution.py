from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.explaining.attribution import GROUPS, TOOL_COLUMNS, attribute, coalitions, shapley_values
from router.forecasting.features import STRUCTURE, Features, featurize
from router.forecasting.head import Head, sigmoid
from router.records import FloatArray, Request
from router.version import Version
from tests.router.forecasting.test_head import made_features, made_head

PROMPTS = {
    "a question": Request.of("When do you open?"),
    "code": Request.of("Refactor this:\n```\nx = 1\n```", task_type="coding", tags=["vip"]),
    "nothing": Request.of(""),
    "tools": Request.of("Book it", tools=[{"function": {"name": "book", "description": "books a table"}}]),
    "another language": Request.of("今天的订单在哪里", task_type="unheard of"),
}


def features_of(version: Version, request: Request) -> Features:
    return featurize([request], [version.encode(request)], version.spec)


def log_odds(probability: FloatArray) -> FloatArray:
    return np.asarray(np.log(probability) - np.log1p(-probability))


def without_structure(features: Features) -> Features:
    return replace(features, structure=np.zeros_like(features.structure))


def test_every_coalition_is_there_once_in_the_order_of_its_bits() -> None:
    assert coalitions(2).tolist() == [[False, False], [True, False], [False, True], [True, True]]
    assert len({tuple(row) for row in coalitions(6).tolist()}) == 64


def test_what_adds_up_is_attributed_as_it_was_added() -> None:
    parts = np.array([1.0, -2.0, 0.5])
    values = (coalitions(3) @ parts)[:, None]
    assert shapley_values(values)[:, 0] == pytest.approx(parts)


def test_players_that_only_work_together_share_alike() -> None:
    values = coalitions(3).all(axis=1).astype(float)[:, None]
    assert shapley_values(values)[:, 0] == pytest.approx([1 / 3] * 3)


def test_of_two_that_can_stand_in_for_each_other_each_gets_half() -> None:
    values = coalitions(2).any(axis=1).astype(float)[:, None]
    assert shapley_values(values)[:, 0] == pytest.approx([0.5, 0.5])


def test_a_player_that_changes_nothing_gets_nothing() -> None:
    values = (coalitions(3)[:, :2] @ np.array([3.0, 4.0]))[:, None]
    assert shapley_values(values)[2, 0] == pytest.approx(0.0)


def by_permutations(values: FloatArray) -> FloatArray:
    """The definition: the gain by joining, averaged over all orders."""
    count = len(values).bit_length() - 1
    out = np.zeros((count, values.shape[1]))
    orders = list(permutations(range(count)))
    for order in orders:
        joined = 0
        for player in order:
            out[player] += values[joined + 2**player] - values[joined]
            joined += 2**player
    return out / len(orders)


@given(st.lists(st.floats(-10, 10), min_size=16, max_size=16))
def test_the_values_are_the_mean_gain_over_all_orders(values: list[float]) -> None:
    table = np.array(values)[:, None]
    np.testing.assert_allclose(shapley_values(table), by_permutations(table), atol=1e-9)
    assert shapley_values(table).sum() == pytest.approx(values[-1] - values[0], abs=1e-9)


def test_the_tools_columns_are_those_of_the_tool_definitions() -> None:
    assert [name for name, own in zip(STRUCTURE, TOOL_COLUMNS, strict=True) if own] == [
        "tools", "tool_characters", "tool_properties", "tool_required", "tool_depth", "tool_overlap",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["success", "label"])
def test_the_weights_sum_to_the_prediction_less_the_reference(kind: str) -> None:
    head, features = made_head(kind), without_structure(made_features(1))
    found = attribute(head, features)
    total = sum(found.weights.values())
    np.testing.assert_allclose(total, found.prediction - found.reference, atol=1e-9)
    np.testing.assert_allclose(found.prediction, log_odds(head.predict(features).probability[0]), atol=1e-5)


def test_the_label_estimator_asks_no_neighbours() -> None:
    found = attribute(made_head("label"), made_features(1))
    assert found.weights["neighbours"] == pytest.approx(np.zeros(3), abs=1e-9)


@pytest.mark.parametrize("request_", PROMPTS.values(), ids=PROMPTS.keys())
def test_of_a_trained_router_too_they_sum_to_what_it_predicts(version: Version, request_: Request) -> None:
    found = attribute(version.head, features_of(version, request_))
    assert tuple(found.weights) == GROUPS
    np.testing.assert_allclose(
        sum(found.weights.values()), found.prediction - found.reference, rtol=0, atol=1e-9
    )
    predicted = version.forecast([request_]).probability[0]
    np.testing.assert_allclose(sigmoid(found.prediction), predicted, atol=1e-5)


def test_the_reference_is_the_same_for_every_request(version: Version) -> None:
    found = [attribute(version.head, features_of(version, one)).reference for one in PROMPTS.values()]
    np.testing.assert_allclose(found, [found[0]] * len(found), atol=1e-9)


@pytest.mark.parametrize(
    ("request_", "group"),
    [
        pytest.param(PROMPTS["a question"], "task type and tags", id="no labels"),
        pytest.param(PROMPTS["another language"], "task type and tags", id="a task type never seen"),
    ],
)
def test_what_a_request_does_not_say_has_no_weight(version: Version, request_: Request, group: str) -> None:
    found = attribute(version.head, features_of(version, request_))
    assert np.abs(found.weights[group]).max() == pytest.approx(0.0, abs=1e-9)


def test_a_head_that_does_not_look_at_words_gives_them_no_weight() -> None:
    head = made_head("label")
    weights = head.parts.logits.weights.copy()  # type: ignore[union-attr]
    weights[-16:] = 0.0
    blind: Head = replace(head, parts=replace(head.parts, logits=replace(head.parts.logits, weights=weights)))  # type: ignore[union-attr, arg-type]
    found = attribute(blind, made_features(1))
    assert found.weights["words"] == pytest.approx(np.zeros(3), abs=1e-9)
    assert np.abs(found.weights["meaning"]).max() > 1e-3
