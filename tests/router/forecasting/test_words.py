from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from zlib import crc32

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.forecasting import words as module
from router.forecasting.features import _grams, _hashed
from router.forecasting.read_part import tool_wordings
from router.forecasting.words import (
    CODE_WORD,
    LONGEST_WORD,
    NEGATION,
    NUMBER,
    SENTENCE,
    Lexicon,
    PieceCounts,
    pieces_of,
    plain_words,
)

TEXTS = st.lists(
    st.sampled_from(
        "not don't Except never. return function(x)=>```SELECT #includes 1,234.5 7 ".split(" ")
        + "٣٣ a.b 。 ΣΑΣ Σ İ x_y http://a/b?c=1 \x1c \x85".split(" ")
    )
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    | st.sampled_from([" ", "\n", "\t", "\xa0", "", "w" * LONGEST_WORD, "é" * LONGEST_WORD, "1" * 90]),
    max_size=30,
).map("".join)


def encoded_words(text: str) -> list[bytes]:
    """The words as they are hashed: a number by its length."""
    masked = ("#" * min(len(word), 8) if word.isdigit() else word for word in plain_words(text))
    return [word.encode() for word in masked]


@given(TEXTS)
def test_pieces_have_the_counts_of_the_whole_text(text: str) -> None:
    numbers = NUMBER.findall(text)
    for short in (-1, 10_000):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "SHORT", short)
            pieces = pieces_of(text)
        assert len(pieces) == len(text.split())
        assert pieces.counts == PieceCounts(
            numbers=len(numbers),
            longest_number=max(map(len, numbers), default=0),
            sentences=len(SENTENCE.findall(text)),
            negations=len(NEGATION.findall(text.lower())),
            code_words=len(CODE_WORD.findall(text)),
        )


@given(TEXTS, st.integers(1, 40))
def test_grams_are_the_hashes_of_the_words_and_of_their_pairs(text: str, most: int) -> None:
    words = encoded_words(text)[:most]
    pairs = [b" ".join(pair) for pair in pairwise(words)]
    for short in (-1, 10_000):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "SHORT", short)
            pieces = pieces_of(text)
        assert list(pieces.grams(most)) == [crc32(gram) for gram in (*words, *pairs)]
        assert list(pieces.marked(7, most)) == [crc32(word, 7) for word in words]


def test_words_beside_the_prompt_are_hashed_after_a_mark() -> None:
    tools = [{"name": "find", "description": "12"}]
    codes = _grams(pieces_of("hi"), ["not 12"], tool_wordings(tools))
    assert list(codes) == [crc32(gram) for gram in (b"hi", b"s:not", b"s:##", b"t:find", b"t:12")]


CODES = st.lists(st.integers(0, 2**32 - 1) | st.sampled_from([3, 2**31 + 3]), max_size=40)


@given(st.lists(CODES, max_size=20))
def test_each_gram_counts_by_the_logarithm_of_how_often_it_comes(texts: list[list[int]]) -> None:
    rows = _hashed([np.array(codes, np.uint32) for codes in texts], 16)
    assert rows.shape == (len(texts), 16)
    for row, codes in zip(rows, texts, strict=True):
        expected = np.zeros(16)
        for code in set(codes):
            size = 1 + np.log(codes.count(code))
            expected[code % 16] += size if code >> 31 else -size
        np.testing.assert_allclose(row, expected / max(float(np.linalg.norm(expected)), 1e-12), atol=1e-6)


@pytest.mark.parametrize(
    ("room", "most_pieces"),
    [pytest.param(400, 20_000, id="characters"), pytest.param(400_000, 50, id="pieces")],
)
def test_what_is_remembered_is_bounded(room: int, most_pieces: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_PIECES", most_pieces)
    monkeypatch.setattr(module, "MOST_CHARACTERS", room)
    monkeypatch.setattr(module, "_lexicon", Lexicon(room))
    for start in range(0, 400, 8):
        text = " ".join(f"w{chr(97 + n % 26) * (n % 30)}{n}" for n in range(start, start + 9))
        assert len(pieces_of(text)) == 9
        assert 0 < len(module._lexicon.known) <= 59
        assert sum(map(len, module._lexicon.known)) <= room


def test_threads_that_learn_at_once_read_what_one_alone_does(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [" ".join(f"{word}{n}" for n in range(word, word + 30)) for word in range(200)]
    alone = [list(pieces_of(text).grams(100)) for text in texts]
    monkeypatch.setattr(module, "MOST_CHARACTERS", 2_000)
    monkeypatch.setattr(module, "_lexicon", Lexicon(2_000))
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda text: list(pieces_of(text).grams(100)), texts * 4)) == alone * 4
