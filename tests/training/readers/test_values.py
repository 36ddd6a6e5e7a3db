from __future__ import annotations

import pytest

from training.readers.litellm_records import _latency
from training.readers.values import seconds_between


@pytest.mark.parametrize(
    ("start", "end"),
    [
        pytest.param(1_790_011_212.0, 1_790_011_214.5, id="numbers"),
        pytest.param("2026-09-21T19:20:12Z", "2026-09-21T19:20:14.500Z", id="ISO texts"),
        pytest.param("2026-09-21 19:20:12", "2026-09-21 19:20:14.5", id="texts of a database"),
    ],
)
def test_latency_lies_between_two_moments_of_any_form(start: object, end: object) -> None:
    assert seconds_between(start, end) == pytest.approx(2.5)
    assert _latency({"startTime": start, "endTime": end}) == pytest.approx(2.5)


def test_latency_is_unknown_where_a_moment_is() -> None:
    assert _latency({"startTime": "soon", "endTime": 1.0}) is None
