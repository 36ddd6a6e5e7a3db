from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from router.text import shown, well_formed


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_text_that_unicode_can_encode_stays_as_it_is(text: str) -> None:
    assert well_formed(text) == text


@given(st.text(st.characters()), st.text())
def test_a_lone_surrogate_is_replaced_and_its_neighbours_stay(before: str, after: str) -> None:
    well_formed(before).encode("utf-8")
    assert well_formed(f"{after}\ud800{after}") == f"{after}\ufffd{after}"


def test_any_value_is_shown_shortly() -> None:
    assert shown("a" * 10**6) != shown("b")
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    for value in (deep, 10**100_000, b"x" * 10**6, ["a" * 10**6] * 10**5, {1: {2: 10**9_000}}):
        assert len(shown(value)) < 1_000
