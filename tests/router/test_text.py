from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from router.text import well_formed


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_text_that_unicode_can_encode_stays_as_it_is(text: str) -> None:
    assert well_formed(text) == text


@given(st.text(st.characters()), st.text())
def test_a_lone_surrogate_is_replaced_and_its_neighbours_stay(before: str, after: str) -> None:
    well_formed(before).encode("utf-8")
    assert well_formed(f"{after}\ud800{after}") == f"{after}\ufffd{after}"
