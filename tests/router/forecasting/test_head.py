from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.forecasting.features import Features, FeatureSpec, featurize
from router.forecasting.head import (
    Head,
    LabelParts,
    LastLevel,
    Lengths,
    Linear,
    NeighbourStore,
    Outlook,
    Scaling,
    SuccessParts,
    combined,
    evidence_of,
    gains,
    log_odds,
    narrow_inputs,
    nearest,
    sigmoid,
    softmax,
    unit,
    wide_inputs,
)
from router.records import Request
from router.version import Version

MODELS, TYPES, STRUCTURE, GRAMS, DIMENSIONS = 3, 2, 31, 16, 4
NARROW = DIMENSIONS + TYPES + STRUCTURE
PROMPTS = [
    "When do you open?",
    "Implement a parser for this grammar.\n```\na = b\n```",
    "Bitte antworte dem Kunden auf Deutsch.",
    "",
    "今天的订单在哪里",
    "What is 12 % of 41.90 EUR, seven times?",
    "word " * 5000,
]


def made_head(kind: str) -> Head:
    """A head of random numbers: what it says means nothing, its shapes are right."""
    draw = np.random.default_rng(7).normal

    def linear(inputs: int, outputs: int) -> Linear:
        return Linear(weights=draw(size=(inputs, outputs)), intercept=draw(size=outputs))

    parts: SuccessParts | LabelParts = LabelParts(logits=linear(NARROW + GRAMS, MODELS))
    if kind == "success":
        parts = SuccessParts(
            difficulty=linear(NARROW + GRAMS, 1),
            centre=draw(size=1),
            spread=np.ones(1),
            level=linear(1 + 2 * TYPES, MODELS),
            deviation=linear(NARROW, MODELS),
        )
    evidence = 2 if kind == "success" else 1
    return Head(
        scaling=Scaling(mean=np.zeros(STRUCTURE, np.float32), spread=np.full(STRUCTURE, np.inf, np.float32)),
        parts=parts,
        last=LastLevel(
            shared=draw(size=(MODELS, evidence)),
            weights=draw(size=(MODELS, evidence)),
            intercept=draw(size=MODELS),
            table=draw(size=(1 + TYPES, MODELS)),
        ),
        store=NeighbourStore(
            axes=draw(size=(NARROW, 5)).astype(np.float32),
            points=unit(draw(size=(40, 5)).astype(np.float32)),
            values=draw(size=(40, 1 + MODELS)).astype(np.float32),
            seen=np.ones((40, 1 + MODELS), np.float32),
        ),
        lengths=Lengths(
            log_tokens=linear(NARROW, MODELS),
            smearing=np.ones(MODELS),
            most=np.array([100.0, 0.0, 1e4]),
            input_ratio=np.ones(MODELS),
            tool_ratio=np.ones(MODELS),
            tool_tokens=np.zeros(MODELS),
        ),
    )


def made_features(n: int, scale: float = 1.0) -> Features:
    random = np.random.default_rng(n)
    return Features(
        embedding=unit(random.normal(size=(n, DIMENSIONS)).astype(np.float32)),
        structure=(scale * random.normal(size=(n, STRUCTURE))).astype(np.float32),
        grams=unit(random.normal(size=(n, GRAMS)).astype(np.float32)),
        labels=np.zeros((n, TYPES), np.float32),
        task_type=random.integers(-1, TYPES, n),
        tokens=random.uniform(1, 50, n),
    )


def assert_equal_outlooks(one: Outlook, other: Outlook, tolerance: float) -> None:
    for name in ("probability", "input_tokens", "output_tokens", "familiarity"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=tolerance, atol=tolerance)


def real_features(router: Version, prompts: list[str]) -> Features:
    requests = [Request.of(prompt, task_type="support") for prompt in prompts]
    features = router.manifest["features"]
    spec = FeatureSpec(
        task_types=tuple(features["task_types"]),
        tags=tuple(features["tags"]),
        gram_dimensions=features["gram_dimensions"],
    )
    return featurize(requests, [router.encode(request) for request in requests], spec)


@pytest.mark.parametrize("kind", ["success", "label"])
def test_a_head_taken_apart_and_put_together_predicts_the_same(kind: str) -> None:
    head, features = made_head(kind), made_features(9)
    again = Head.from_arrays(head.to_arrays(), head.kind)
    assert again.kind == kind
    assert_equal_outlooks(again.predict(features), head.predict(features), 0)


@pytest.mark.parametrize("kind", ["success", "label"])
def test_a_head_of_format_1_weights_both_parts_of_the_evidence_alike(kind: str) -> None:
    head, features = made_head(kind), made_features(9)
    alike = replace(head, last=replace(head.last, shared=head.last.weights))
    old = {name: values for name, values in alike.to_arrays().items() if name != "last.shared"}
    assert_equal_outlooks(Head.from_arrays(old, head.kind).predict(features), alike.predict(features), 0)


def test_the_trained_head_taken_apart_and_put_together_predicts_the_same(version: Version) -> None:
    again = Head.from_arrays(version.head.to_arrays(), version.head.kind)
    features = real_features(version, PROMPTS)
    assert_equal_outlooks(again.predict(features), version.head.predict(features), 0)


@pytest.mark.parametrize("kind", ["success", "label"])
def test_a_batch_predicts_what_its_requests_do_one_by_one(kind: str) -> None:
    head, features = made_head(kind), made_features(20)
    together = head.predict(features).probability
    alone = [head.predict(features.rows(slice(row, row + 1))).probability[0] for row in range(20)]
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_the_trained_head_predicts_in_a_batch_what_it_serves_one_by_one(version: Version) -> None:
    features = real_features(version, PROMPTS)
    together = version.head.predict(features).probability
    for row in range(len(PROMPTS)):
        alone = version.head.predict(features.rows(slice(row, row + 1))).probability[0]
        np.testing.assert_allclose(together[row], alone, atol=1e-6)


@pytest.mark.parametrize("kind", ["success", "label"])
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e6])
def test_every_prediction_is_a_probability_and_a_token_count(kind: str, scale: float) -> None:
    outlook = made_head(kind).predict(made_features(50, scale))
    assert ((outlook.probability >= 0) & (outlook.probability <= 1)).all()
    assert (outlook.output_tokens >= 0).all()
    assert (outlook.output_tokens <= [100, 0, 1e4]).all()
    assert (np.abs(outlook.familiarity) <= 1 + 1e-6).all()


def test_more_requests_than_a_chunk_of_the_search_come_back_in_order() -> None:
    features = made_features(1100)
    whole = made_head("success").predict(features).probability
    tail = made_head("success").predict(features.rows(slice(1000, 1100))).probability
    np.testing.assert_allclose(whole[1000:], tail, atol=1e-6)


def test_a_stored_prompt_is_familiar_and_its_opposite_is_not() -> None:
    points = unit(np.tile(np.eye(3, dtype=np.float32)[0], (40, 1)))
    values = np.ones((40, 2), np.float32)
    store = NeighbourStore(axes=np.eye(3, dtype=np.float32), points=points, values=values, seen=values)
    _, familiarity = store.search(np.array([[2, 0, 0], [-2, 0, 0]], dtype=np.float32))
    np.testing.assert_allclose(familiarity, [1, -1], atol=1e-6)


def test_evidence_of_few_neighbours_is_shrunk_to_nothing() -> None:
    points = np.eye(3, dtype=np.float32)
    values = np.ones((3, 2), np.float32)
    store = NeighbourStore(axes=np.eye(3, dtype=np.float32), points=points, values=values, seen=values)
    found, _ = store.search(np.array([[1, 0, 0]], dtype=np.float32))
    np.testing.assert_allclose(found, 1 / (1 + 5))


@given(st.integers(1, 6), st.integers(1, 12), st.integers(1, 14))
def test_the_nearest_are_the_highest_entries_of_each_row(n: int, width: int, count: int) -> None:
    cosine = np.random.default_rng(n * width).permuted(
        np.tile(np.arange(width, dtype=np.float32), (n, 1)), axis=1
    )
    found = np.sort(np.take_along_axis(cosine, nearest(cosine, count), axis=1), axis=1)
    assert found.tolist() == [list(range(max(width - count, 0), width))] * n


def test_a_row_of_zeros_has_no_direction() -> None:
    assert unit(np.array([[0, 0], [3, 4]], np.float32)).tolist() == [[0, 0], pytest.approx([0.6, 0.8])]


@given(st.floats(0.02, 0.98))
def test_the_sigmoid_undoes_the_log_odds(probability: float) -> None:
    assert sigmoid(log_odds(np.array([probability])))[0] == pytest.approx(probability)


@pytest.mark.parametrize("logit", [-1e9, -30.0, 0.0, 30.0, 1e9])
def test_no_logit_overflows(logit: float) -> None:
    assert 0 <= sigmoid(np.array([logit]))[0] <= 1
    assert softmax(np.array([[logit, 0.0]])).sum() == pytest.approx(1)


@pytest.mark.parametrize("kind", ["success", "label"])
@pytest.mark.parametrize("count", [1, 7])
def test_the_joined_products_give_what_the_parts_give_one_after_another(kind: str, count: int) -> None:
    head, draw = made_head(kind), np.random.default_rng(count)
    head = replace(head, scaling=replace(head.scaling, spread=np.ones(STRUCTURE, np.float32)))
    labels = draw.integers(0, 2, (count, TYPES)).astype(np.float32)
    features = replace(made_features(count), labels=labels)
    wide, narrow = wide_inputs(features, head.scaling), narrow_inputs(features, head.scaling)
    near, _ = head.store.search(narrow)
    evidence = evidence_of(head.parts, features, wide, narrow, near)
    floor, last = head.last.table[features.task_type + 1], head.last
    expected = combined(gains(evidence, floor), floor, last.shared, last.weights, last.intercept)
    outlook = head.predict(features)
    np.testing.assert_allclose(outlook.probability, expected, atol=1e-6)
    np.testing.assert_allclose(outlook.output_tokens, head.lengths.expected(features, narrow)[1], rtol=1e-6)
