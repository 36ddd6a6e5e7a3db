"""Whether a request fits a context window: by a sure bound, else an estimate, else a count."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

from router.errors import MissingExtra
from router.forecasting.request_tokens import MEDIA_TOKENS, MOST_NODES, request_contents
from router.models.litellm_import import litellm_module
from router.records import Request
from router.text import well_formed

NODE_TOKENS: Final = 8
"""Most tokens that a provider puts around a message, a part or a member of an object."""
FAR: Final = 3
"""The estimate is trusted if this many times as much fits the window: usual texts have at most three tokens
for each estimated one (base64 has 2.8)."""
EXACT: Final = 40_000
"""Bytes of a text that is counted whole."""
SAMPLE, SPREAD = 16_000, 500
"""Characters counted of a longer text, and of each of the pieces that are spread evenly over it."""
PIECE: Final = 4_000
"""Characters counted at once: a tokenizer takes quadratic time on a run without a break."""
ROUGH, ROUGH_PIECE = 2_000, 125
"""The same as `SAMPLE` and `SPREAD`, of a rougher look, which takes an eighth of the time."""
CLOSE: Final = 1.5
"""How far from the window a rough look must be to decide, or a first look and the estimate: all are within
15 % on usual texts."""
GLANCE, GLANCE_PIECE = 512, 64
"""The same, of a first look, which takes a quarter of the rough one's time."""
REMOTE: Final = 2.5
"""How far from the window the first look alone must be to decide."""
WHOLE: Final = 6_000
"""Bytes of a text that is counted whole instead of by a rough look."""


class RequestSize:
    """The tokens of one request; counted only if a window is near, and at most once at each precision.

    Attributes:
        at_most: upper bound for every tokenizer, since each token is at least a byte.
        uncounted: what has a number of tokens that nobody can tell from the request; None: nothing.
        writes_cache: whether the caller marks parts for the provider's prompt cache.
    """

    __slots__ = (
        "_aside",
        "_counted",
        "_ends",
        "_estimate",
        "_glance",
        "_nodes",
        "_rough",
        "_texts",
        "at_most",
        "uncounted",
        "writes_cache",
    )

    def __init__(self, request: Request, estimate: float) -> None:
        """Measure a request.

        Args:
            estimate: the encoder's, over all texts and tools.
        """
        contents = request_contents(request)
        texts, media, nodes = contents.texts or [""], contents.media, contents.nodes
        self.uncounted = contents.uncounted
        self._texts, self._ends = texts, list(accumulate(map(len, texts)))
        size = self._ends[-1] + 3 * sum(len(text) for text in texts if not text.isascii())
        nodes += 3 * len(request.messages)
        self._nodes, self._aside = nodes, MEDIA_TOKENS * media
        self._estimate = max(estimate, size / 4)
        self.writes_cache = "cache_control" in texts
        self._counted: float | None = None
        self._rough: float | None = None
        self._glance: float | None = None
        self.at_most = math.inf if nodes >= MOST_NODES else size + NODE_TOKENS * nodes + self._aside

    def exceeds(self, window: int, answer: int = 0) -> bool:
        """Whether the request does not fit a window that it shares with `answer` tokens."""
        if self.at_most + answer <= window:
            return False
        if self._nodes < MOST_NODES and self._estimate * FAR + self._aside + answer <= window:
            return False
        room = window - answer
        if self._counted is None:
            if self._rough is None and self._glance is None and self._is_long:
                self._glance = self._count(GLANCE, GLANCE_PIECE, WHOLE)
            if self._glance is not None and self._is_settled(self._glance, room):
                return self._glance > room
            if self._rough is None:
                self._rough = self._count(ROUGH, ROUGH_PIECE, WHOLE)
            if not _is_near(self._rough, room, CLOSE):
                return self._rough > room
        return self.count() > room

    def count(self) -> float:
        """Count the tokens by LiteLLM's tokenizer; without LiteLLM, use the encoder's estimate.

        A very long text is sampled, which takes some milliseconds.
        """
        if self._counted is None:
            self._counted = self._count(SAMPLE, SPREAD, EXACT)
        return self._counted

    @property
    def about(self) -> float:
        """The best count so far, for a message."""
        return self._counted or self._rough or self._glance or self.count()

    @property
    def _is_long(self) -> bool:
        """Whether a rough look would not count every character."""
        return self.at_most > WHOLE

    def _is_settled(self, glance: float, room: int) -> bool:
        """Whether a first look decides: alone if it is remote, else if the estimate agrees with it."""
        estimate = self._estimate + self._aside
        agree = (glance > room) == (estimate > room) and not _is_near(estimate, room, CLOSE)
        return not _is_near(glance, room, CLOSE if agree else REMOTE)

    def _count(self, sample: int, piece: int, whole: int) -> float:
        text = _sampled(self._texts, self._ends, sample, piece, whole)
        counted = _count(text)
        if counted:
            counted *= (self._ends[-1] + len(self._ends) - 1) / len(text)
        if not counted or self._nodes >= MOST_NODES:
            counted = max(counted or 0.0, self._estimate, self._nodes)
        return counted + self._aside


def _is_near(count: float, room: int, factor: float) -> bool:
    """Whether a window has more or less room than a count by no more than a factor."""
    return room < count * factor <= room * factor**2


def _count(text: str) -> float | None:
    """Tokens by the tokenizer that LiteLLM ships; None without LiteLLM."""
    # No model is named, because LiteLLM would fetch the tokenizers of some from a hub.
    try:
        count = litellm_module().token_counter
    except MissingExtra:
        return None
    pieces = (text[start : start + PIECE] for start in range(0, len(text), PIECE))
    return float(sum(count(model="", text=well_formed(piece)) for piece in pieces))


def _sampled(texts: Sequence[str], ends: Sequence[int], sample: int, piece: int, whole: int) -> str:
    """Some texts, a line each; of longer ones than `whole`, pieces that are spread evenly over them.

    Of text outside ASCII there are as many bytes in fewer pieces: it has more tokens a character.

    Args:
        ends: where each text ends, line ends not counted.
    """
    length = ends[-1] + len(ends) - 1
    if length <= whole:
        text = "\n".join(texts)
        if text.isascii() or len(text.encode("utf-8", "surrogatepass")) <= whole:
            return text
    last, count = length - piece, sample // piece
    spread = [_part(texts, ends, last * index // (count - 1), piece) for index in range(count)]
    density = round(len("".join(spread).encode("utf-8", "surrogatepass")) / sample)
    return "".join(spread[:: max(density, 1)])


def _part(texts: Sequence[str], ends: Sequence[int], start: int, size: int) -> str:
    """So many characters of some texts, a line each, from a place on; nothing else of them is copied."""
    first = bisect_left(range(len(ends)), start, key=lambda place: ends[place] + place)
    start -= ends[first] + first - len(texts[first])
    parts = []
    for text in texts[first : first + size]:
        parts.append(text[start : start + size])
        size -= len(parts[-1]) + 1
        start = 0
        if size < 0:
            break
    return "\n".join(parts)
