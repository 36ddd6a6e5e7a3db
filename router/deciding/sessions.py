"""Sessions: which model each one is on, and when it had its last request."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from router.forking import ForkSafe
from router.settings.sections import Sessions

LONGEST_ID = 128
"""Characters of a session id that are kept as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """The model of a session.

    Attributes:
        model: which got the last request.
        tokens: input tokens of that request; about as many of the next one are in the model's prompt cache.
        seen: time of that request, in seconds on the memory's clock.
    """

    model: str
    tokens: float
    seen: float


class SessionMemory:
    """The seats of the latest sessions of this process; safe under threads.

    It keeps at most `sessions.most` of them, a few hundred bytes each: a long id is kept as its hash.
    """

    def __init__(self, settings: Sessions, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._seats: OrderedDict[str | bytes, Seat] = OrderedDict()
        self._lock = ForkSafe(threading.Lock)

    def __len__(self) -> int:
        return len(self._seats)

    def seat(self, session_id: str | None) -> Seat | None:
        """The seat of a session; None if it is new or forgotten, or if sessions don't stay on their model."""
        if session_id is None or not self._settings.stay:
            return None
        with self._lock.part:
            seat = self._seats.get(_key(session_id))
        fresh = seat and self._clock() - seat.seen <= self._settings.forget_after_s
        return seat if fresh else None

    def sit(self, session_id: str | None, model: str, tokens: float) -> None:
        """Remember the model of a session's latest request."""
        if session_id is None or not self._settings.stay:
            return
        key, seat = _key(session_id), Seat(model=model, tokens=tokens, seen=self._clock())
        with self._lock.part:
            self._seats[key] = seat
            self._seats.move_to_end(key)
            while len(self._seats) > self._settings.most:
                self._seats.popitem(last=False)


def _key(session_id: str) -> str | bytes:
    """What stands for a session in memory."""
    if len(session_id) <= LONGEST_ID:
        return session_id
    return hashlib.sha256(session_id.encode("utf-8", "surrogatepass")).digest()
