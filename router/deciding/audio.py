"""How many tokens the audio of a request is billed as."""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from router.deciding.needs import audio_parts
from router.records import LISTS, MAPPINGS, Json, Request

BYTES_A_SECOND: Final = 16_000
"""Of compressed audio at 128 kbit/s, which is usual for speech and music alike."""
TOKENS_A_SECOND: Final = 10.0
"""What OpenAI documents: one for each 100 ms."""
GEMINI_TOKENS_A_SECOND: Final = 32.0
"""What Google documents."""
TEXT_ALONE: Final = frozenset({str, type(None)})
_RATE_AT: Final = 28
"""Where the header of a WAV file has its bytes a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Audio:
    """The audio of a request whose data are in it.

    Attributes:
        parts: how many there are.
        seconds: their length together, by their size.
    """

    parts: int
    seconds: float


def audio_of(request: Request) -> Audio | None:
    """The audio whose length the request shows; None: there is none."""
    if {type(message.get("content")) for message in request.messages} <= TEXT_ALONE:
        return None  # most requests: every decision asks this
    known = [length for part in audio_parts(request.messages) if (length := _seconds(part)) is not None]
    return Audio(parts=len(known), seconds=sum(known)) if known else None


def tokens_a_second(called: str) -> float:
    """The tokens that a model counts for a second of audio.

    Args:
        called: the model's name in calls to LiteLLM.
    """
    return GEMINI_TOKENS_A_SECOND if "gemini" in called.casefold() else TOKENS_A_SECOND


def _seconds(part: Mapping[str, Json]) -> float | None:
    """Length of a part; None if its data are elsewhere."""
    data = max(_texts(part, 2), key=len, default="")
    head, comma, rest = data[:200].partition(",")
    coded = len(head) + 1 if comma and head.startswith("data:") else 0
    size = (len(data) - coded) * 3 // 4 - data[-2:].count("=")
    start = (rest if coded else data)[:60]
    if size < _RATE_AT + 4 or data.startswith(("http://", "https://", "gs://", "s3://")):
        return None
    try:
        header = base64.b64decode(start)
    except (binascii.Error, ValueError):
        return None
    rate = struct.unpack_from("<I", header, _RATE_AT)[0] if header.startswith(b"RIFF") else BYTES_A_SECOND
    return size / rate if rate else None


def _texts(part: Mapping[str, Json], depth: int) -> Iterator[str]:
    """The texts in a part that may be its data."""
    for value in part.values():
        if isinstance(value, str):
            yield value
        elif depth and isinstance(value, MAPPINGS) and not isinstance(value, LISTS):
            yield from _texts(value, depth - 1)
