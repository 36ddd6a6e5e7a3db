from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.reading.files import json_values
from training.reading.files.json_values import layout_of, split_values

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='ab"\\{}[],\n\u00e4', max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text('a"\\', max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)
OBJECTS = st.lists(st.dictionaries(st.text(max_size=3), JSON, max_size=3), max_size=5)


def split(text: bytes) -> list[bytes]:
    return list(split_values(io.BytesIO(text), "x"))


@given(values=OBJECTS, indent=st.sampled_from([None, 2]), chunk=st.integers(1, 40))
def test_an_array_is_split_into_its_elements(values: list[object], indent: int | None, chunk: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_values, "_READ", chunk)
        found = split(json.dumps(values, indent=indent).encode())
    assert [json.loads(text) for text in found] == values


@given(values=OBJECTS, indent=st.sampled_from([None, 2]), between=st.sampled_from(["", "\n", " ,\n"]))
def test_values_one_after_another_are_split(values: list[object], indent: int | None, between: str) -> None:
    found = split(between.join(json.dumps(value, indent=indent) for value in values).encode())
    assert [json.loads(text) for text in found] == values


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param(b"", [], id="nothing"),
        pytest.param(b" [ ] ", [], id="an empty array"),
        pytest.param(b'[1, "a", null]', [b"1", b'"a"', b"null"], id="no objects"),
        pytest.param(b'[{"a": 1}, {"b": ', [b'{"a": 1}', b'{"b":'], id="cut short"),
        pytest.param(b'[{"a": 1} {"b": 2}]', [b'{"a": 1}', b'{"b": 2}'], id="a comma is missing"),
        pytest.param(b'[{"a": 1}]\n[{"b": 2}]', [b'{"a": 1}', b'[{"b": 2}]'], id="two arrays"),
        pytest.param(b"\xef\xbb\xbf[{}]", [b"{}"], id="a byte-order mark"),
        pytest.param(b"]]]{}", [b"{}"], id="closed before it was opened"),
    ],
)
def test_whatever_is_there_comes_out(text: bytes, found: list[bytes]) -> None:
    assert split(text) == found


@pytest.mark.parametrize(
    ("start", "layout"),
    [
        pytest.param(b'{"a": 1}\n{"a": 2}\n', "json", id="lines"),
        pytest.param(b'{"a": 1\n{"a": 2}\n', "json", id="a broken first line"),
        pytest.param(b'{"a": 1}', "json", id="one line"),
        pytest.param(b"", "json", id="nothing"),
        pytest.param(b' [\n{"a": 1}]', "values", id="an array"),
        pytest.param(b'{\n  "a": 1\n}', "values", id="an indented object"),
        pytest.param(b'{"a": [\n 1]}', "values", id="an object over two lines"),
    ],
)
def test_the_layout_is_told_by_the_first_lines(start: bytes, layout: str) -> None:
    assert layout_of(start) == layout
