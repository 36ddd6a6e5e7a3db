from __future__ import annotations

from itertools import pairwise
from zlib import crc32

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.forecasting import words as module
from router.forecasting.features import _grams, _hash_grams
from router.forecasting.words import (
    NEGATION,
    NUMBER,
    SENTENCE,
    PieceCounts,
    counts_of,
    leading_words,
    pieces_of,
    plain_words,
)

TEXTS = st.lists(
    st.sampled_from(
        "not don't Except never. 1,234.5 7 ٣٣ a.b 。 ΣΑΣ Σ İ x_y http://a/b?c=1 \x1c \x85".split(" ")
    )
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    | st.sampled_from([" ", "\n", "\t", "\xa0", ""]),
    max_size=30,
).map("".join)


@given(TEXTS)
def test_pieces_have_the_words_and_counts_of_the_whole_text(text: str) -> None:
    pieces = pieces_of(text)
    masked = ["#" * min(len(word), 8) if word.isdigit() else word for word in plain_words(text)]
    assert [word.encoded.decode() for word in leading_words(pieces, 10_000)] == masked
    numbers = NUMBER.findall(text)
    assert counts_of(pieces) == PieceCounts(
        numbers=len(numbers),
        longest_number=max(map(len, numbers), default=0),
        sentences=len(SENTENCE.findall(text)),
        negations=len(NEGATION.findall(text.lower())),
    )


@given(TEXTS)
def test_grams_are_the_hashes_of_the_words_and_of_their_pairs(text: str) -> None:
    words = [word.encoded for word in leading_words(pieces_of(text), 10_000)]
    pairs = [b" ".join(pair) for pair in pairwise(words)]
    assert _grams(pieces_of(text), ["not 12"], None) == [
        crc32(gram) for gram in (*words, *pairs, b"s:not", b"s:##")
    ]


@given(st.lists(st.integers(0, 2**32 - 1) | st.sampled_from([3, 2**31 + 3]), max_size=40))
def test_each_gram_counts_by_the_logarithm_of_how_often_it_comes(codes: list[int]) -> None:
    row, expected = np.zeros(16, np.float32), np.zeros(16)
    for code in set(codes):
        size = 1 + np.log(codes.count(code))
        expected[code % 16] += size if code >> 31 else -size
    _hash_grams(codes, row)
    np.testing.assert_allclose(row, expected / max(float(np.linalg.norm(expected)), 1e-12), atol=1e-6)


@pytest.mark.parametrize("known", ["_known", "_known_words"])
def test_what_is_remembered_is_bounded(known: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_PIECES", 50)
    getattr(module, known).clear()
    for start in range(0, 400, 40):
        pieces_of(" ".join(f"w{chr(97 + n % 26) * (n % 30)}{n}" for n in range(start, start + 45)))
        assert 0 < len(getattr(module, known)) <= 50
