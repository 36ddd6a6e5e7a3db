from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from router.forecasting.features import Features
from router.forecasting.head import Head
from router.records import FloatArray, Request
from router.version import Version
from training.learning.joining import NewcomerOutcomes, held_out_success, with_model, without_model

PROMPTS = 300


@pytest.fixture(scope="module")
def features(version: Version) -> Features:
    """Prompts of which the even ones are alike, and so are the odd ones."""
    texts = [f"Prove that {n} is prime." if n % 2 else f"Write a poem on {n} cats." for n in range(PROMPTS)]
    requests = [Request.of(text) for text in texts]
    return version.features(requests, [version.encode(request) for request in requests])


def evidence(features: Features, success: FloatArray, others: FloatArray | None = None) -> NewcomerOutcomes:
    count = len(features)
    return NewcomerOutcomes(
        features=features,
        success=success,
        weight=np.ones(count),
        input_tokens=2 * features.tokens,
        output_tokens=np.full(count, 40.0),
        others=np.full((count, 1), np.nan) if others is None else others,
        groups=np.arange(count),
    )


@pytest.fixture(scope="module")
def joined(version: Version, features: Features) -> Head:
    """A model that succeeds on the odd prompts joined, then one that never does."""
    odd = (np.arange(PROMPTS) % 2).astype(np.float64)
    head = with_model(version.head, evidence(features, odd))
    return with_model(head, evidence(features, np.zeros(PROMPTS)))


def test_the_others_forecasts_are_bit_equal_before_and_after(
    version: Version, joined: Head, features: Features
) -> None:
    before, after = version.head.predict(features), joined.predict(features)
    for name in ("probability", "input_tokens", "output_tokens"):
        assert np.array_equal(getattr(before, name), getattr(after, name)[:, :-2])
    assert np.array_equal(before.familiarity, after.familiarity)
    one_by_one = [joined.predict(features.rows(slice(n, n + 1))).probability[0] for n in range(5)]
    alone = [version.head.predict(features.rows(slice(n, n + 1))).probability[0] for n in range(5)]
    assert np.array_equal(np.array(one_by_one)[:, :-2], np.array(alone))


def test_a_model_that_joins_is_forecast_by_its_outcomes(joined: Head, features: Features) -> None:
    odd, never = joined.predict(features).probability[:, -2:].T
    assert odd[1::2].mean() > 0.8
    assert odd[::2].mean() < 0.2
    assert never.max() < 0.1


def test_without_an_outcome_a_model_does_as_the_others_do(version: Version, features: Features) -> None:
    nothing = evidence(features, np.full(PROMPTS, np.nan))
    nothing = replace(nothing, output_tokens=np.full(PROMPTS, np.nan))
    outlook = with_model(version.head, nothing).predict(features)
    own = np.clip(outlook.probability[:, :-1], 0.02, 0.98)
    mean = np.log(own / (1 - own)).mean(axis=1)
    assert outlook.probability[:, -1] == pytest.approx(1 / (1 + np.exp(-mean)))
    assert outlook.output_tokens[:, -1] == pytest.approx(
        np.expm1(np.log1p(outlook.output_tokens[:, :-1]).mean(axis=1))
    )


def test_the_tokens_of_a_model_that_joins_are_those_of_its_calls(joined: Head, features: Features) -> None:
    outlook = joined.predict(features)
    assert outlook.output_tokens[:, -1].mean() == pytest.approx(40, rel=0.1)
    assert outlook.input_tokens[:, -1] == pytest.approx(2 * features.tokens)


@pytest.mark.parametrize("place", [0, 2, -2, -1])
def test_a_model_that_leaves_changes_no_other_forecast(joined: Head, features: Features, place: int) -> None:
    before, after = joined.predict(features), without_model(joined, place).predict(features)
    for name in ("probability", "input_tokens", "output_tokens"):
        assert np.array_equal(np.delete(getattr(before, name), place, axis=1), getattr(after, name))


def test_a_held_out_forecast_has_not_seen_its_prompts_outcome(version: Version, features: Features) -> None:
    noise = np.random.default_rng(0).integers(0, 2, PROMPTS).astype(np.float64)
    known = evidence(features, noise)
    fitted = with_model(version.head, known).predict(features).probability[:, -1]
    held_out = held_out_success(version.head, known)
    assert np.square(held_out - noise).mean() > np.square(fitted - noise).mean()
    assert abs(held_out.mean() - noise.mean()) < 0.05


def test_bad_luck_that_the_others_share_counts_less_against_a_model(
    version: Version, features: Features
) -> None:
    some, usual = features.rows(slice(0, 40)), version.head.predict(features).probability.mean()
    half = (np.arange(40) % 4 < 2).astype(np.float64)
    shared = np.repeat(half[:, None], len(version.models), axis=1)
    alone, together = (
        with_model(version.head, evidence(some, half, others)).predict(features).probability[:, -1].mean()
        for others in (np.full(shared.shape, np.nan), shared)
    )
    assert usual > together > alone + 0.1 * (usual - alone)


def test_thin_evidence_moves_a_forecast_less(version: Version, features: Features) -> None:
    prior = with_model(version.head, evidence(features, np.full(PROMPTS, np.nan)))
    start = prior.predict(features).probability[:, -1].mean()
    means = [
        with_model(version.head, evidence(features.rows(slice(0, n)), np.zeros(n)))
        .predict(features)
        .probability[:, -1]
        .mean()
        for n in (2, 20, 200)
    ]
    assert start > means[0] > means[1] > means[2]


def test_a_head_with_other_models_is_stored_and_read_whole(joined: Head, features: Features) -> None:
    changed = without_model(joined, 0)
    again = Head.from_arrays(changed.to_arrays(), changed.kind)
    assert np.array_equal(again.predict(features).probability, changed.predict(features).probability)


def test_a_head_as_trained_has_the_arrays_that_it_had(version: Version) -> None:
    assert not [name for name in version.head.to_arrays() if name.startswith("added")]
