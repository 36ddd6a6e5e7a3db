from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from router.text import printable, shortened, shown, typeset, well_formed


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


def test_a_minus_is_set_before_numbers_and_never_in_names() -> None:
    assert (
        typeset("gpt-4 [-0.9, +1.1] -$2 at 5 %")
        == "gpt-4 [\N{MINUS SIGN}0.9, +1.1] \N{MINUS SIGN}$2 at 5\N{NO-BREAK SPACE}%"
    )


def test_a_text_from_outside_steers_neither_terminal_nor_writing_direction() -> None:
    assert printable("\x1b[31mred\x00\n\u202eevil\u2066 מודל") == "[31mred evil מודל"


def test_a_long_text_is_cut_between_words_and_a_very_long_one_says_its_length() -> None:
    assert shortened("one two three four", 15) == "one two three…"
    assert shortened("a" * 5000, 10) == "aaaaaaaaa… (5,000 characters)"
    assert shortened("short\n text", 15) == "short text"
