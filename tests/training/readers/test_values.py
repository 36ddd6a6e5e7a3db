from __future__ import annotations

import pytest

from router.records import Json
from training.readers.litellm_records import _latency
from training.readers.values import at_path, seconds_between, usable_number


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


@pytest.mark.parametrize(
    ("path", "value"),
    [
        pytest.param("attributes.app.task", "chat", id="a name with a dot"),
        pytest.param("attributes.app.team.name", "shop", id="an object within it"),
        pytest.param("attributes.app.json.a.b", 1, id="JSON text within it"),
        pytest.param("attributes.app", 2, id="the beginning of another name"),
        pytest.param("a.b", "whole", id="the longest name first"),
        pytest.param("a.c", "inner", id="the shorter one where the longer has nothing"),
        pytest.param("attributes.app.none", None, id="nothing"),
    ],
)
def test_a_path_reaches_names_with_dots(path: str, value: Json) -> None:
    attributes = {"app": 2, "app.task": "chat", "app.team": {"name": "shop"}, "app.json": '{"a.b": 1}'}
    assert (
        at_path({"attributes": attributes, "a.b": "whole", "a": {"b": "inner", "c": "inner"}}, path) == value
    )


@pytest.mark.parametrize(
    ("value", "number"),
    [("3", 3), (0, 0), (1.5, 1.5), (-1, None), ("x", None), ({"low": 1}, None), (True, None), (None, None)],
)
def test_a_usable_number_is_at_least_zero(value: Json, number: float | None) -> None:
    assert usable_number(value) == number
