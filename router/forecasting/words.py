"""The words of a text, by its pieces between white space: each is taken apart once and kept."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, islice
from operator import itemgetter
from typing import Final, NamedTuple, TypeAlias
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from router.forking import ForkSafe
from router.records import IntArray

# `re` skips to the next place where a match can begin only if each branch begins with a plain character.
NUMBER = re.compile(r"\d\d*(?:[.,]\d+)?")
NEGATION = re.compile(r"n(?<=\bn)ot\b|e(?<=\be)xcept\b|n(?<=\bn)ever\b|w(?<=\bw)ithout\b|n't\b")
"""In lower case, as are `WORD` and its faster form for a text in ASCII."""
SENTENCE = re.compile(r"[.!?\u3002\uff01\uff1f](?:(?<=[\u3002\uff01\uff1f])|\s|$)")
CODE_WORD = re.compile(r"f(?<=\bf)unction\b|r(?<=\br)eturn\b|S(?<=\bS)ELECT\b|```|=>|#include")
WORD = re.compile(r"[^\W\d_]+|\d+|[^\w\s]")
ASCII_WORD = re.compile(r"[a-z]+|[0-9]+|[^a-z0-9_\s]")
MOST_PIECES: Final = 20_000
MOST_CHARACTERS: Final = 400_000
"""Pieces that are kept, and their characters together; beyond that all are forgotten and learnt anew."""
LONGEST_WORD: Final = 40
"""Bytes of a word that is hashed with others at once."""
SHORT = 500
"""Characters of a text up to which Python's tuples take less time than arrays."""
COUNT_BITS: Final = 15
"""Of each sum of a text's counts: no text that is read has so many characters."""
Codes = NDArray[np.uint32]
Word: TypeAlias = tuple[bytes, int, int]
"""A word as it is hashed, its CRC-32, and that of it and a space."""
Piece: TypeAlias = tuple[tuple[Word, ...], int, int]
"""The words of a piece, its counts, packed, and the length of its longest number."""


class PieceCounts(NamedTuple):
    """What a text has beside words."""

    numbers: int = 0
    longest_number: int = 0
    sentences: int = 0
    negations: int = 0
    code_words: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pieces:
    """The parts of a text without white space, in order; no word, number or mark crosses their bounds.

    A word is in lower case; a number counts by its length, as its value does not tell who can answer.

    Attributes:
        lexicon: what they consist of.
        rows: shape (n,); their rows in it.
    """

    lexicon: Lexicon
    rows: IntArray

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def counts(self) -> PieceCounts:
        """The sums of the pieces' counts, and the longest of their numbers."""
        if not len(self.rows):
            return PieceCounts()
        packed = int(self.lexicon.counts.take(self.rows).sum())
        return _unpacked(packed, int(self.lexicon.longest.take(self.rows).max()))

    def grams(self, most: int) -> Codes:
        """CRC-32 of each of the first words, then of each pair of them with a space between."""
        words = self._words(most)
        codes = self.lexicon.codes.take(words)
        pairs = self.lexicon.continued(self.lexicon.spaced.take(words[:-1]), words[1:])
        return np.concatenate([codes, pairs])

    def marked(self, mark: int, most: int) -> Codes:
        """CRC-32 of each of the first words after a text whose CRC-32 is `mark`."""
        words = self._words(most)
        return self.lexicon.continued(np.full(len(words), mark, np.uint32), words)

    def _words(self, most: int) -> IntArray:
        """Rows of the first words in the lexicon."""
        sizes = self.lexicon.sizes.take(self.rows)
        ends = sizes.cumsum()
        starts = np.repeat(self.lexicon.first.take(self.rows) - ends + sizes, sizes)
        return np.asarray((starts + np.arange(len(starts)))[:most])


@dataclass(frozen=True, slots=True)
class FewPieces:
    """What `Pieces` are, of a short text: bit for bit the same, by Python's tuples."""

    pieces: list[Piece]

    def __len__(self) -> int:
        return len(self.pieces)

    @property
    def counts(self) -> PieceCounts:
        """See `Pieces.counts`."""
        packed = sum(counts for _, counts, _ in self.pieces)
        longest = max((longest for _, _, longest in self.pieces), default=0)
        return _unpacked(packed, longest) if packed else PieceCounts()

    def grams(self, most: int) -> list[int]:
        """See `Pieces.grams`."""
        words = list(self._words(most))
        if not words:
            return []
        encoded, codes, spaced = zip(*words, strict=True)
        return [*codes, *map(crc32, encoded[1:], spaced)]

    def marked(self, mark: int, most: int) -> list[int]:
        """See `Pieces.marked`."""
        return [crc32(encoded, mark) for encoded, _, _ in self._words(most)]

    def _words(self, most: int) -> Iterable[Word]:
        return islice(chain.from_iterable(map(itemgetter(0), self.pieces)), most)


class Lexicon:
    """Pieces that were met; threads may share it: a row never changes once `known` names it.

    Attributes:
        known: row of each piece.
        pieces: the same pieces, taken apart.
        first, sizes: shape (n_pieces,); row of a piece's first word, and how many it has.
        counts, longest: shape (n_pieces,); its counts, packed, and the length of its longest number.
        codes, spaced: shape (n_words,); CRC-32 of a word, and of a word and a space.
    """

    def __init__(self, characters: int) -> None:
        """Make room for pieces of so many characters together."""
        self.known: dict[str, int] = {}
        self.pieces: dict[str, Piece] = {}
        self._room = characters
        self.first, self.sizes, self.counts, self.longest = np.zeros((4, characters), np.int64)
        # The lower case of one letter in Turkish is two words.
        self.codes, self.spaced = np.zeros((2, 2 * characters), np.uint32)
        self._bytes = np.zeros(2 * characters, np.int64)
        self._long: dict[int, bytes] = {}
        self._characters = self._words = 0

    def read(self, pieces: list[str], *, short: bool) -> Pieces | FewPieces:
        """Look up the pieces of a text.

        Raises:
            KeyError: one of them is not known.
        """
        if short:
            return FewPieces(list(map(self.pieces.__getitem__, pieces)))
        rows = np.fromiter(map(self.known.__getitem__, pieces), np.int64, len(pieces))
        return Pieces(lexicon=self, rows=rows)

    def fits(self, pieces: Iterable[str]) -> bool:
        """Whether there is room for some pieces that it may not know."""
        return self._characters + sum(map(len, pieces)) <= self._room and len(self.known) < MOST_PIECES

    def learn(self, pieces: Iterable[str]) -> None:
        """Take apart the pieces that are not known; for one thread at a time."""
        new = [piece for piece in dict.fromkeys(pieces) if piece not in self.known]
        parts = list(map(_taken_apart, new))
        flat = [word for words, _, _ in parts for word in words]
        rows = slice(len(self.known), len(self.known) + len(new))
        places = slice(self._words, self._words + len(flat))
        self.sizes[rows] = [len(words) for words, _, _ in parts]
        self.first[rows] = self._words + np.cumsum(self.sizes[rows]) - self.sizes[rows]
        self.counts[rows] = [counts for _, counts, _ in parts]
        self.longest[rows] = [longest for _, _, longest in parts]
        self.codes[places] = [code for _, code, _ in flat]
        self.spaced[places] = [spaced for _, _, spaced in flat]
        self._bytes[places] = [len(encoded) for encoded, _, _ in flat]
        long = ((place, encoded) for place, (encoded, _, _) in enumerate(flat, start=self._words))
        self._long.update((place, encoded) for place, encoded in long if len(encoded) > LONGEST_WORD)
        self._words += len(flat)
        self._characters += sum(map(len, new))
        self.pieces.update(zip(new, parts, strict=True))
        self.known.update(zip(new, range(rows.start, rows.stop), strict=True))

    def continued(self, before: Codes, words: IntArray) -> Codes:
        """CRC-32 of texts whose CRC-32 is `before`, each followed by a word; shape (n,)."""
        places = np.minimum(self._bytes.take(words), LONGEST_WORD) * 1024 + _BYTE_ROWS
        places += before.astype("<u4", copy=False).view(np.uint8).reshape(-1, 4).T
        codes = np.bitwise_xor.reduce(_SHIFTS.take(places), axis=0) ^ self.codes.take(words)
        if self._long:
            for place, word in enumerate(words.tolist()):
                if word in self._long:
                    codes[place] = crc32(self._long[word], int(before[place]))
        return np.asarray(codes)


def pieces_of(text: str) -> Pieces | FewPieces:
    """The pieces of a text of fewer than `1 << COUNT_BITS` characters."""
    global _lexicon
    pieces, short = text.split(), len(text) <= SHORT
    lexicon = _lexicon
    try:
        return lexicon.read(pieces, short=short)
    except KeyError:
        with _learning.part:
            if not _lexicon.fits(pieces):
                _lexicon = Lexicon(max(MOST_CHARACTERS, len(text)))
            lexicon = _lexicon
            lexicon.learn(pieces)
        return lexicon.read(pieces, short=short)


def plain_words(text: str) -> list[str]:
    """The words, numbers and marks of a text, in lower case."""
    return (ASCII_WORD if text.isascii() else WORD).findall(text.lower())


def _taken_apart(piece: str) -> Piece:
    numbers = NUMBER.findall(piece)
    others = SENTENCE.findall(piece), NEGATION.findall(piece.lower()), CODE_WORD.findall(piece)
    packed = sum(len(found) << place * COUNT_BITS for place, found in enumerate((numbers, *others)))
    return tuple(map(_hashed, plain_words(piece))), packed, max(map(len, numbers), default=0)


@lru_cache(maxsize=MOST_PIECES)
def _hashed(word: str) -> Word:
    encoded = (b"#" * min(len(word), 8)) if word.isdigit() else word.encode("utf-8", "replace")
    code = crc32(encoded)
    return encoded, code, crc32(b" ", code)


def _unpacked(packed: int, longest_number: int) -> PieceCounts:
    numbers, *others = (packed >> place * COUNT_BITS & (1 << COUNT_BITS) - 1 for place in range(4))
    return PieceCounts(numbers, longest_number, *others)


def _shifts() -> Codes:
    """What a byte of a text's CRC-32 becomes as the text goes on; flat, by length, place and value of it.

    CRC-32 is linear: that of two texts together is the first's, moved on by the second's length, xor the
    second's.
    """
    step = np.array([crc32(bytes([value ^ 255])) ^ 0xFF000000 for value in range(256)], np.uint32)
    shifts = np.empty((LONGEST_WORD + 1, 4, 256), np.uint32)
    shifts[0] = np.arange(256, dtype=np.uint32) << 8 * np.arange(4, dtype=np.uint32)[:, None]
    for length in range(LONGEST_WORD):
        shifts[length + 1] = shifts[length] >> 8 ^ step[shifts[length] & 255]
    return shifts.reshape(-1)


_BYTE_ROWS = 256 * np.arange(4)[:, None]
_SHIFTS = _shifts()
_learning = ForkSafe(threading.Lock)
_lexicon = Lexicon(MOST_CHARACTERS)
