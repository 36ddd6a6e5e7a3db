"""Requests of every legal shape, and many illegal ones, for property tests."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from router.deciding.needs import PARTS
from router.errors import RequestError
from router.records import Json, Request

ROLES = ("system", "developer", "user", "assistant", "tool", "function", "someone")
texts = st.text(max_size=20)


def json_values() -> SearchStrategy[Json]:
    """Any JSON value, not deep."""
    leaves = st.none() | st.booleans() | st.integers() | st.floats() | texts
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
        max_leaves=8,
    )


def parts() -> SearchStrategy[Json]:
    """A part of a message: of a known type with or without sense, or any value."""
    kinds = st.sampled_from([*PARTS, "text", "something new"])
    inner = st.fixed_dictionaries(
        {},
        optional={
            "url": texts,
            "file_data": texts | st.just("data:image/png;base64,AA"),
            "data": texts,
            "format": texts,
            "type": st.sampled_from(["text", "content", "base64", "url"]) | json_values(),
            "content": json_values(),
        },
    )
    whole = st.fixed_dictionaries(
        {"type": kinds | json_values()},
        optional={
            "text": texts | json_values(),
            "image_url": texts | inner | json_values(),
            "file": inner | json_values(),
            "source": inner | json_values(),
            "content": texts | st.lists(json_values(), max_size=3) | json_values(),
        },
    )
    return whole | texts | json_values()


def messages() -> SearchStrategy[Json]:
    """A message: text, parts, calls of tools, empty, null, or with members of any kind."""
    return st.fixed_dictionaries(
        {"role": st.sampled_from(ROLES)},
        optional={
            "content": st.none() | texts | st.lists(parts(), max_size=4) | parts(),
            "name": texts,
            "tool_calls": st.none() | st.lists(json_values(), max_size=2) | json_values(),
            "function_call": json_values(),
            "tool_call_id": texts,
            "refusal": st.none() | texts,
        },
    )


def requests() -> SearchStrategy[Request]:
    """A request with everything that may be in one."""
    parameters = st.dictionaries(
        st.sampled_from(["n", "logprobs", "max_tokens", "tool_choice", "thinking", "functions", "api_base"]),
        json_values(),
        max_size=3,
    )
    fields = {
        "messages": st.lists(messages(), min_size=1, max_size=4),
        "tools": st.none() | st.lists(json_values(), max_size=3) | json_values(),
        "response_format": st.none() | json_values(),
        "task_type": st.none() | texts,
        "tags": st.lists(texts, max_size=2),
        "parameters": parameters,
    }
    return st.fixed_dictionaries(fields).map(_request).filter(lambda one: one is not None)  # type: ignore[return-value]


def _request(fields: Mapping[str, Json]) -> Request | None:
    """None where the fields make none, such as a number that no provider takes."""
    with suppress(RequestError):
        return Request(**fields)
    return None
