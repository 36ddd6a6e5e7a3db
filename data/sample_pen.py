"""The pen that fills sentences of the vocabulary with words, and adds up the difficulty of a request."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from router.records import Json

VOCABULARY = Path(__file__).with_name("vocabulary.yaml")
HARD_FROM = 0.7
"""Least grade of a hard entry of the vocabulary."""
SLOT = re.compile(r"«(\w+)(?::(\d+)-(\d+))?(#\d)?»")


class Pen:
    """Draws words from the vocabulary; a slot with a #mark keeps its value for the pen's life."""

    def __init__(self, rng: random.Random, vocabulary: Mapping[str, Json]) -> None:
        self.rng = rng
        self.vocabulary = vocabulary
        self._marked: dict[str, str] = {}
        self._grades: list[float] = []

    def chance(self, share: float) -> bool:
        """True in `share` of the cases."""
        return self.rng.random() < share

    def one(self, texts: Sequence[str]) -> str:
        """Fill one of the texts."""
        return self.fill(self.rng.choice(texts))

    def some(self, texts: Sequence[str], least: int, most: int) -> list[str]:
        """Fill between `least` and `most` of the texts, with repeats."""
        return [self.one(texts) for _ in range(self.rng.randint(least, most))]

    def graded(self, entries: Sequence[tuple[float, str]], hard_share: float) -> str:
        """Fill one entry, a hard one in `hard_share` of the cases, and count its grade."""
        is_hard = self.chance(hard_share)
        fitting = [entry for entry in entries if (entry[0] >= HARD_FROM) == is_hard] or entries
        grade, text = self.rng.choice(fitting)
        self.count(grade)
        return self.fill(text)

    def count(self, grade: float) -> None:
        """Add a grade to the difficulty of the request under the pen."""
        self._grades.append(grade)

    def difficulty(self) -> float:
        """Difficulty of the request so far: 1.4 of the hardest part, 0.3 of each other, and hidden noise."""
        hardest = max(self._grades, default=0.0)
        return 0.3 + 1.4 * hardest + 0.3 * (sum(self._grades) - hardest) + self.rng.gauss(0, 0.15)

    def fill(self, text: str) -> str:
        """Fill every slot of a text, and the slots within slots."""
        while SLOT.search(text):
            text = SLOT.sub(self._value, text)
        return text

    def _value(self, slot: re.Match[str]) -> str:
        name, low, high, mark = slot.groups()
        if mark and slot.group() in self._marked:
            return self._marked[slot.group()]
        if low is not None:
            value = str(self.rng.randint(int(low), int(high)))
        else:
            value = self.one(self.vocabulary["words"][name])
        if mark:
            self._marked[slot.group()] = value
        return value


def read_vocabulary() -> Mapping[str, Json]:
    """The words and sentences of `vocabulary.yaml`."""
    vocabulary: Mapping[str, Json] = yaml.safe_load(VOCABULARY.read_text(encoding="utf-8"))
    return vocabulary
