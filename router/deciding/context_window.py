"""Whether a request fits a context window: by a sure bound, else an estimate, else a count."""

from __future__ import annotations

import math
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
for
each estimated one (base64 has 2.8)."""
SAMPLE: Final = 40_000
"""Characters counted of a longer text, in pieces spread evenly over it."""
PIECE: Final = 4_000
"""Characters counted at once: a tokenizer takes quadratic time on a run without a break."""
ROUGH, ROUGH_PIECE = 2_000, 125
"""The same, of a rougher look, which takes a twentieth of the time."""
CLOSE: Final = 1.5
"""How far from the window a rough look must be to decide: it is within 15 % on usual texts."""
GLANCE, GLANCE_PIECE = 512, 64
"""The same, of a first look, which takes a quarter of the rough one's time."""
REMOTE: Final = 2.5
"""How far from the window the first look must be to decide."""
WHOLE: Final = 6_000
"""Characters of a text that is counted whole instead of by a rough look."""


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
        texts, media, nodes = contents.texts, contents.media, contents.nodes
        self.uncounted = contents.uncounted
        size = sum(map(len, texts)) + 3 * sum(len(text) for text in texts if not text.isascii())
        nodes += 3 * len(request.messages)
        self._texts, self._nodes, self._aside = list(texts), nodes, MEDIA_TOKENS * media
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
                self._glance = self._count(GLANCE, GLANCE_PIECE)
            if self._glance is not None and not _is_near(self._glance, room, REMOTE):
                return self._glance > room
            if self._rough is None:
                self._rough = self._count(ROUGH, ROUGH_PIECE)
            if not _is_near(self._rough, room, CLOSE):
                return self._rough > room
        return self.count() > room

    def count(self) -> float:
        """Count the tokens by LiteLLM's tokenizer; without LiteLLM, use the encoder's estimate.

        A very long text is sampled, which takes some milliseconds.
        """
        if self._counted is None:
            self._counted = self._count(SAMPLE, PIECE)
        return self._counted

    @property
    def about(self) -> float:
        """The best count so far, for a message."""
        return self._counted or self._rough or self._glance or self.count()

    @property
    def _is_long(self) -> bool:
        """Whether a rough look would not count every character."""
        return self.at_most > WHOLE

    def _count(self, sample: int, piece: int) -> float:
        if len(self._texts) != 1:
            self._texts = ["\n".join(self._texts)]
        counted = _count(self._texts[0], sample, piece)
        if not counted or self._nodes >= MOST_NODES:
            counted = max(counted or 0.0, self._estimate, self._nodes)
        return counted + self._aside


def _is_near(count: float, room: int, factor: float) -> bool:
    """Whether a window has more or less room than a count by no more than a factor."""
    return room < count * factor <= room * factor**2


def _count(text: str, sample: int, piece: int) -> float | None:
    """Tokens by the tokenizer that LiteLLM ships; None without LiteLLM."""
    # No model is named, because LiteLLM would fetch the tokenizers of some from a hub.
    try:
        litellm = litellm_module()
    except MissingExtra:
        return None
    pieces = _sampled(text, sample, piece)
    counted = float(sum(litellm.token_counter(model="", text=well_formed(piece)) for piece in pieces))
    return counted * len(text) / max(sum(map(len, pieces)), 1)


def _sampled(text: str, sample: int, piece: int) -> list[str]:
    """The text in pieces to count; of a text longer than `sample`, some that are spread evenly over it."""
    if len(text) <= max(sample, WHOLE):
        return [text[start : start + PIECE] for start in range(0, len(text), PIECE)]
    last, count = len(text) - piece, sample // piece
    starts = (last * index // (count - 1) for index in range(count))
    spread = [text[start : start + piece] for start in starts]
    return ["".join(spread)] if sample <= PIECE else spread
