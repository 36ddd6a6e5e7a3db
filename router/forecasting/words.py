"""The words of a text, by its pieces between white space: each is taken apart once and remembered."""

from __future__ import annotations

import re
from itertools import chain, islice
from operator import itemgetter
from typing import Final, NamedTuple
from zlib import crc32

# `re` skips to the next place where a match can begin only if each branch begins with a plain character.
NUMBER = re.compile(r"\d\d*(?:[.,]\d+)?")
NEGATION = re.compile(r"n(?<=\bn)ot\b|e(?<=\be)xcept\b|n(?<=\bn)ever\b|w(?<=\bw)ithout\b|n't\b")
"""In lower case, as are `WORD` and its faster form for a text in ASCII."""
SENTENCE = re.compile(r"[.!?\u3002\uff01\uff1f](?:(?<=[\u3002\uff01\uff1f])|\s|$)")
WORD = re.compile(r"[^\W\d_]+|\d+|[^\w\s]")
ASCII_WORD = re.compile(r"[a-z]+|[0-9]+|[^a-z0-9_\s]")
MOST_PIECES: Final = 20_000
LONGEST_PIECE: Final = 32
"""Characters of a piece or word that is remembered; longer ones seldom come again."""


class Word(NamedTuple):
    """A word in lower case, or for a number its length: its value does not tell who can answer.

    Attributes:
        code: CRC-32 of the encoded word.
        code_before: CRC-32 of the encoded word and a space, with which that of a pair of words begins.
    """

    encoded: bytes
    code: int
    code_before: int


class PieceCounts(NamedTuple):
    """What a piece or a text has beside words."""

    numbers: int = 0
    longest_number: int = 0
    sentences: int = 0
    negations: int = 0


class Piece(NamedTuple):
    """A part of a text without white space; no word, number or mark crosses its bounds."""

    words: tuple[Word, ...]
    counts: PieceCounts | None


def pieces_of(text: str) -> list[Piece]:
    """The pieces of a text, in order."""
    return list(map(_known.__getitem__, text.split()))


def leading_words(pieces: list[Piece], most: int) -> list[Word]:
    """The first words of some pieces."""
    return list(islice(chain.from_iterable(map(itemgetter(0), pieces)), most))


def counts_of(pieces: list[Piece]) -> PieceCounts:
    """The sums of the pieces' counts, and the longest of their numbers."""
    counted = list(filter(None, map(itemgetter(1), pieces)))
    if not counted:
        return PieceCounts()
    numbers, longest, sentences, negations = zip(*counted, strict=True)
    return PieceCounts(sum(numbers), max(longest), sum(sentences), sum(negations))


def plain_words(text: str) -> list[str]:
    """The words, numbers and marks of a text, in lower case."""
    return (ASCII_WORD if text.isascii() else WORD).findall(text.lower())


class _Known(dict[str, Piece]):
    """Takes a piece apart when it is first asked for; threads may share it."""

    def __missing__(self, text: str) -> Piece:
        numbers = NUMBER.findall(text)
        counts = PieceCounts(
            len(numbers),
            max(map(len, numbers), default=0),
            len(SENTENCE.findall(text)),
            len(NEGATION.findall(text.lower())),
        )
        words = tuple(map(_known_words.__getitem__, plain_words(text)))
        piece = Piece(words, counts if any(counts) else None)
        if len(text) <= LONGEST_PIECE:
            if len(self) >= MOST_PIECES:
                self.clear()
            self[text] = piece
        return piece


class _KnownWords(dict[str, Word]):
    """Hashes a word when it is first asked for; threads may share it."""

    def __missing__(self, text: str) -> Word:
        masked = "#" * min(len(text), 8) if text.isdigit() else text
        encoded = masked.encode("utf-8", "replace")
        code = crc32(encoded)
        word = Word(encoded, code, crc32(b" ", code))
        if len(text) <= LONGEST_PIECE:
            if len(self) >= MOST_PIECES:
                self.clear()
            self[text] = word
        return word


_known = _Known()
_known_words = _KnownWords()
