"""Sessions: which model each one is on, and when it had its last request."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from router.forking import ForkSafe
from router.settings.sections import Sessions


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
    """The seats of the latest sessions of this process; safe under threads."""

    def __init__(self, settings: Sessions, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._seats: OrderedDict[str, Seat] = OrderedDict()
        self._lock = ForkSafe(threading.Lock)

    def __len__(self) -> int:
        return len(self._seats)

    def seat(self, session_id: str | None) -> Seat | None:
        """The seat of a session; None if it is new or forgotten, or if sessions don't stay on their model."""
        if session_id is None or not self._settings.stay:
            return None
        with self._lock.part:
            seat = self._seats.get(session_id)
        fresh = seat and self._clock() - seat.seen <= self._settings.forget_after_s
        return seat if fresh else None

    def sit(self, session_id: str | None, model: str, tokens: float) -> None:
        """Remember the model of a session's latest request."""
        if session_id is None or not self._settings.stay:
            return
        with self._lock.part:
            self._seats[session_id] = Seat(model=model, tokens=tokens, seen=self._clock())
            self._seats.move_to_end(session_id)
            while len(self._seats) > self._settings.most:
                self._seats.popitem(last=False)
