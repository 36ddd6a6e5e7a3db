from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.forecasting.features import RequestFeatures, featurize, hashed_product, request_features
from router.forecasting.head import Outlook, SuccessParts
from router.forecasting.one_request import OneRequest
from router.records import Request
from router.version import Version
from tests.router.forecasting.test_head import (
    MODELS,
    PROMPTS,
    STRUCTURE,
    TYPES,
    assert_equal_outlooks,
    made_features,
    made_head,
)

TOOL = {"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}


def one_by_one(version: Version, request: Request) -> Outlook:
    assert isinstance(version.head.parts, SuccessParts)
    features = request_features(request, version.encode(request), version.spec)
    return OneRequest(version.head, version.head.parts).predict(features)


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({}, id="plain"),
        pytest.param({"task_type": "support", "tags": ["vip", "none of ours"]}, id="labels"),
        pytest.param({"task_type": "never seen", "tools": [TOOL]}, id="tools"),
    ],
)
def test_one_request_is_forecast_as_arrays_forecast_it(
    version: Version, prompt: str, fields: dict[str, object]
) -> None:
    request = Request.of(prompt, **fields)
    expected = version.head.predict(featurize([request], [version.encode(request)], version.spec))
    found = one_by_one(version, request)
    assert_equal_outlooks(found, expected, 1e-5)
    for name in Outlook.__slots__:
        assert getattr(found, name).shape == getattr(expected, name).shape


@given(st.lists(st.integers(0, 2**32 - 1) | st.sampled_from([3, 67, 2**31 + 3]), max_size=300))
def test_a_head_of_any_numbers_forecasts_one_request_as_arrays_do(codes: list[int]) -> None:
    head = made_head("success")
    head = replace(head, scaling=replace(head.scaling, spread=np.ones(STRUCTURE, np.float32)))
    features = made_features(1)
    grams = np.eye(features.grams.shape[1], dtype=np.float32)
    row = [[hashed_product(codes, one) for one in grams.astype(np.float64)]]
    labels = np.zeros((1, TYPES), np.float32)
    labels[0, 1] = 1.0
    arrays = replace(features, grams=np.array(row, np.float32), labels=labels)
    one = RequestFeatures(
        embedding=features.embedding[0],
        structure=features.structure[0].tolist(),
        codes=codes,
        labels=[1],
        task_type=int(features.task_type[0]),
        tokens=float(features.tokens[0]),
    )
    assert isinstance(head.parts, SuccessParts)
    found = OneRequest(head, head.parts).predict(one)
    assert found.probability.shape == (1, MODELS)
    assert_equal_outlooks(found, head.predict(arrays), 1e-5)
