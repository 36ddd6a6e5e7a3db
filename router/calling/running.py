"""A running attempt: it reports its end exactly once, whatever the end is."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from router.calling.attempt import Attempt, ErrorKind, Failed
from router.calling.call_plan import Try
from router.calling.cool_down import CoolDowns
from router.calling.litellm_call import Reply, join_pieces
from router.calling.reply import (
    cost_at,
    cost_of_response,
    cost_of_stream,
    counted_in,
    finish_reason_of,
    served_in,
    usage_of,
)
from router.records import Json
from router.settings.sections import Price

logger = logging.getLogger(__name__)

Observe = Callable[[Attempt], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A call that is ready to send.

    Attributes:
        arguments: LiteLLM's arguments, with model and key.
        notes: as in `Attempt`.
        timeout_s: longest wait for the response or the next piece; None: the caller's timeout is no number.
        price: the team's own.
        wants_usage: whether the caller asked for a stream's token counts.
    """

    arguments: Mapping[str, Json] = field(repr=False)
    notes: tuple[str, ...] = ()
    timeout_s: float | None = None
    price: Price | None = None
    stream: bool = False
    wants_usage: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """Receivers of an attempt's end, and its clocks: unix time, and one that never goes back."""

    observe: Observe
    cool_downs: CoolDowns
    unix: Callable[[], float]
    elapsed: Callable[[], float]


class RunningAttempt:
    """One attempt, from its start to its end.

    Attributes:
        pieces: the received pieces of a stream.
    """

    def __init__(self, step: Try, call: Prepared, watch: Watch) -> None:
        """Start the clock."""
        self.model = step.model
        self.call = call
        self.pieces: list[Reply] = []
        self._number = step.number
        self._watch = watch
        self._started = watch.unix()
        self._start = watch.elapsed()
        self._first_token_s: float | None = None
        self._lock = threading.Lock()
        self._ended = False

    def note_first_token(self) -> None:
        """Note the time of a stream's first piece with content."""
        self._first_token_s = self._watch.elapsed() - self._start

    def answered(self, response: Reply) -> None:
        """Report the whole response."""
        counted = counted_in(response)
        usage = usage_of(counted)
        price = self.call.price
        tier = getattr(response, "service_tier", None)
        cost = cost_at(price, usage, tier) if price else cost_of_response(response, counted)
        self._end(
            usage=usage,
            cost_usd=cost,
            finish_reason=finish_reason_of(response),
            served=served_in(response),
            read=lambda: response,
        )

    def finished(self) -> None:
        """Report the end of the whole stream."""
        last = self.pieces[-1] if self.pieces else None
        counted = next(filter(None, map(counted_in, reversed(self.pieces[-3:]))), None)
        finish_reason = next(filter(None, map(finish_reason_of, reversed(self.pieces))), None)
        usage = usage_of(counted)
        price = self.call.price
        tier = getattr(last, "service_tier", None)
        cost = cost_at(price, usage, tier) if price else cost_of_stream(last, counted)
        self._end(
            usage=usage,
            cost_usd=cost,
            finish_reason=finish_reason,
            served=served_in(last),
            read=self._reader(),
        )

    def failed(self, failed: Failed, kind: ErrorKind | None = None) -> Failed:
        """Report a failed call or a broken stream; `kind` replaces the failure's own in the report."""
        latency_s = self._watch.elapsed() - self._start
        self._end(kind=kind or failed.kind, error=failed.error, read=self._reader())
        return replace(failed, latency_s=latency_s)

    def cancelled(self, error: BaseException | None = None) -> None:
        """Report that the caller does not wait for the rest."""
        self._end(kind="cancelled", error=error, read=self._reader())

    def _reader(self) -> Callable[[], Reply]:
        # Only the pieces: an attempt must not keep the arguments, and their key, alive.
        return partial(join_pieces, self.pieces)

    def _end(self, *, kind: ErrorKind | None = None, **outcome: Json) -> None:
        with self._lock:
            if self._ended:
                return
            self._ended = True
        if kind is None:
            self._watch.cool_downs.succeeded(self.model)
        else:
            self._watch.cool_downs.failed(self.model, kind)
        attempt = Attempt(
            model=self.model,
            number=self._number,
            started=self._started,
            latency_s=self._watch.elapsed() - self._start,
            first_token_s=self._first_token_s,
            kind=kind,
            notes=self.call.notes,
            stream=self.call.stream,
            **outcome,
        )
        try:
            self._watch.observe(attempt)
        except Exception as error:  # noqa: BLE001 - a failing observer must not cost the caller the answer
            logger.warning("the observer of an attempt on %s raised %s", self.model, type(error).__name__)
