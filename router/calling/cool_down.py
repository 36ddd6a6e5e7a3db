"""Cool-downs: which models get no request for a while because they keep failing."""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from router.calling.attempt import ErrorKind
from router.effort import endpoint_of
from router.forking import ForkSafe
from router.numbers import duration
from router.settings.sections import Calls

FAULTS_OF_THE_MODEL: frozenset[ErrorKind] = frozenset(
    {"rate_limit", "timeout", "connection", "server", "broken_stream", "empty"}
)
"""What a provider or the network did, which counts against a model; the other failures are the request's.
A refused key counts only if the settings fall back on it: otherwise it would do so against them."""


@dataclass(slots=True)
class _Record:
    """A model's failures since its last answer; `since` and `until` bound its latest cool-down, if any."""

    failures: deque[float] = field(default_factory=deque)
    last: ErrorKind = "server"
    since: float = 0.0
    until: float | None = None

    def cooled_s(self, now: float) -> float:
        """Seconds of the latest cool-down so far."""
        return 0.0 if self.until is None else min(now, self.until) - self.since


class CoolDowns:
    """The models' recent failures; the actions of a model share its record. Threads may share one object.

    A model that fails `failures` times within `within_s` seconds, without an answer in between, cools down
    for `seconds`. After that it is on probation: the next failure starts another cool-down at once, and an
    answer clears its record.
    """

    def __init__(self, calls: Calls, now: Callable[[], float] = time.monotonic) -> None:
        """Start with clean records; `now` is a clock in seconds that never goes back."""
        self._settings = calls.cool_down
        self._counted = FAULTS_OF_THE_MODEL | ({"authentication"} & set(calls.also_fall_back_on))
        self._now = now
        self._lock = ForkSafe(threading.Lock)
        self._records: dict[str, _Record] = {}
        self._cooled_s: defaultdict[str, float] = defaultdict(float)

    def failed(self, model: str, kind: ErrorKind) -> None:
        """Note a failure; one during a cool-down does not prolong it."""
        if kind not in self._counted or not self._settings.failures:
            return
        with self._lock.part:
            record = self._records.setdefault(endpoint_of(model), _Record())
            now = self._now()
            if record.until is not None and now < record.until:
                return
            record.last = kind
            record.failures.append(now)
            while record.failures[0] <= now - self._settings.within_s:
                record.failures.popleft()
            if record.until is not None or len(record.failures) >= self._settings.failures:
                self._cooled_s[endpoint_of(model)] += record.cooled_s(now)
                record.since, record.until = now, now + self._settings.seconds

    def succeeded(self, model: str) -> None:
        """Note an answer, which clears the model's record."""
        if self._records:
            with self._lock.part:
                record = self._records.pop(endpoint_of(model), None)
                if record is not None:
                    self._cooled_s[endpoint_of(model)] += record.cooled_s(self._now())

    def cooled_s(self) -> dict[str, float]:
        """Seconds in cool-down so far, by model, over all its cool-downs."""
        with self._lock.part:
            now = self._now()
            sums = self._cooled_s.copy()
            for model, record in self._records.items():
                sums[model] += record.cooled_s(now)
            return sums

    def available(self, chain: Sequence[str]) -> tuple[str, ...]:
        """The models of a chain to try, in order: without those in cool-down, unless all are."""
        if not self._records:
            return tuple(chain)
        cooling = self.reasons()
        return tuple(model for model in chain if endpoint_of(model) not in cooling) or tuple(chain)

    def reasons(self) -> dict[str, str]:
        """The reason for each cool-down of now, by model."""
        if not self._records:
            return {}
        with self._lock.part:
            now = self._now()
            return {
                model: f"keeps failing (last: {record.last}), "
                f"left alone for {duration(record.until - now)} more"
                for model, record in self._records.items()
                if record.until is not None and now < record.until
            }
