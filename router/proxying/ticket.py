"""What rides with a request through LiteLLM: the decision on it, and the attempts that it takes."""

from __future__ import annotations

import _thread
import threading
import time
from asyncio import Future
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final, Self

from router.calling.attempt import Attempt, ErrorKind
from router.calling.reply import cost_at, counted_in, finish_reason_of, own_price, says_something
from router.errors import RequestError, RouterError
from router.proxying.outcome import BROKEN_OFF, CALLER_LEFT, Outcome, streamed
from router.records import WISH_FIELDS, Decision, Json, Request, Wishes
from router.serving.completion import Call
from router.settings.sections import Price

TICKET: Final = "pointsman_ticket"
"""Where a request's metadata holds its ticket. LiteLLM hands the metadata to every hook and callback of the
request, so the ticket is gone when the request is."""
WISHES: Final = "pointsman"
"""Where a caller's metadata holds what is asked of the decision, as in `Wishes`."""
ASKABLE: Final = WISH_FIELDS - {"model"}
PARAMETERS: Final = frozenset(
    {
        "api_base", "audio", "base_url", "frequency_penalty", "function_call", "functions", "logit_bias",
        "logprobs", "max_completion_tokens", "max_tokens", "modalities", "n", "parallel_tool_calls",
        "prediction", "presence_penalty", "reasoning_effort", "seed", "service_tier", "stop", "stream",
        "stream_options", "temperature", "thinking", "tool_choice", "top_logprobs", "top_p", "user",
        "verbosity", "web_search_options",
    }
)  # fmt: skip
"""Arguments that a model may lack or that lead elsewhere. LiteLLM's own are none, the caller's key least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a caller asked LiteLLM for, as far as the decision looks at it.

    Attributes:
        messages: chat messages, or None where another hook brings them along.
        arguments: `tools`, `response_format` and those of `PARAMETERS`.
        metadata: the caller's `task_type`, `tags`, `session_id` and wishes.
    """

    messages: Json
    arguments: Mapping[str, Json]
    metadata: Mapping[str, Json]

    @staticmethod
    def of(arguments: Mapping[str, Json], metadata: Mapping[str, Json], messages: Json = None) -> Order:
        """The order in the arguments of a call."""
        wanted = PARAMETERS | {"tools", "response_format"}
        named = ("task_type", "tags", "session_id", "litellm_session_id_generated", WISHES)
        return Order(
            messages=messages,
            arguments={name: arguments[name] for name in wanted & arguments.keys()},
            metadata={name: metadata[name] for name in named if metadata.get(name) is not None},
        )

    def request(self, messages: Json) -> Request:
        """The request to decide on.

        Raises:
            RequestError: the messages, or what the metadata says of them, have the wrong form.
        """
        parameters = {name: value for name, value in self.arguments.items() if name in PARAMETERS}
        generated = self.metadata.get("litellm_session_id_generated")
        return Request.of(
            messages or self.messages or (),
            tools=self.arguments.get("tools"),
            response_format=self.arguments.get("response_format"),
            task_type=self.metadata.get("task_type"),
            tags=self.metadata.get("tags", ()),
            session_id=None if generated else self.metadata.get("session_id"),
            parameters=parameters,
        )

    def wishes(self) -> Wishes:
        """What the caller asks of the decision.

        Raises:
            RequestError: an unknown wish, or one of the wrong form. A misspelt `local_only` must not pass.
        """
        given = self.metadata.get(WISHES, {})
        if not isinstance(given, Mapping):
            raise RequestError(f"metadata.{WISHES} must hold wishes by name, got {type(given).__name__}")
        if unknown := sorted(set(given) - ASKABLE):
            known = ", ".join(sorted(ASKABLE))
            raise RequestError(f"metadata.{WISHES} holds an unknown wish, {unknown[0]!r}; known: {known}")
        return Wishes.from_json(given)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyAttempt:
    """An attempt under way.

    Attributes:
        number: from 1, over all models of the request.
        started: unix seconds.
        notes: arguments that the model does not get as the caller gave them.
    """

    model: str
    number: int
    started: float
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class StreamReading:
    """How far a stream was read.

    Attributes:
        first_token: unix seconds of the first piece that says something.
        counts: the piece with the token counts.
        ended: why the answer ended.
    """

    first_token: float | None = None
    counts: object = None
    ended: str | None = None

    def hands_out(self, piece: object, *, hide_counts: bool) -> bool:
        """Take note of a piece; whether the caller gets it."""
        counted = counted_in(piece) is not None
        if counted:
            self.counts = piece
        if says_something(piece):
            self.first_token = self.first_token or time.time()
            self.ended = finish_reason_of(piece) or self.ended
            return True
        return not (counted and hide_counts)

    def outcome(self) -> Outcome:
        """Of a stream that has ended."""
        return streamed(self.counts, self.ended or "", self.first_token)


class Ticket:
    """One request on its way through LiteLLM. Hooks run in the event loop, some callbacks in threads.

    Attributes:
        call_id: LiteLLM's id of the request, which its caller sees too.
        trace: names all that belongs to one request of a `litellm.Router`.
        call: set by the decision, unless that was refused.
        refusal: why no model may serve the request.
        deciding: ends with the decision.
        declined: the decision was left to LiteLLM's own fallback.
        failure: model and kind of the latest failed attempt.
        tried: the models of all attempts.
        reading: how far its caller has read a stream of the proxy's.
        hides_usage: the token counts of the stream were asked for by us, not by the caller.
    """

    def __init__(self, call_id: str, order: Order, trace: str | None = None) -> None:
        self.call_id = call_id
        self.order = order
        self.trace = trace
        self.call: Call | None = None
        self.refusal: RouterError | None = None
        self.deciding: Future[None] | None = None
        self.declined = False
        self.failure: tuple[str, ErrorKind] | None = None
        self.reading = StreamReading()
        self.hides_usage = False
        self.answered = False
        self.tried: set[str] = set()
        self._number = 0
        self._owed = 0
        self._running: ProxyAttempt | None = None
        self._lock = threading.Lock()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """The ticket itself: LiteLLM copies metadata, and every copy is the same request's."""
        return self

    def __repr__(self) -> str:
        return f"<pointsman's ticket {self.call_id}>"

    def __del__(self) -> None:
        """Nobody holds the request any more: whoever read its stream left in the middle."""
        if self._running is not None:
            # Garbage is collected at any moment, even while this very thread holds a lock of the log's.
            with suppress(RuntimeError):  # the interpreter is shutting down
                _thread.start_new_thread(self.end, (CALLER_LEFT,))

    @property
    def spoken(self) -> bool:
        """The caller has a part of the answer."""
        return self.reading.first_token is not None

    @property
    def decided(self) -> bool:
        """Whether there is a decision, or a refusal."""
        return self.call is not None or self.refusal is not None

    def belongs_to(self, trace: str | None, messages: Json) -> bool:
        """Whether an attempt of a `litellm.Router` is one of this request's: same trace, same list object."""
        return not self.answered and self.trace == trace and self.order.messages is messages

    def begin(self, model: str, notes: tuple[str, ...] = ()) -> None:
        """An attempt on a model starts. One within another on the same model is the same attempt."""
        with self._lock:
            if self._running is not None and self._running.model == model:
                return
            self._owed += self._running is not None
        self.end(BROKEN_OFF)
        with self._lock:
            self._number += 1
            self.tried.add(model)
            self._running = ProxyAttempt(model=model, number=self._number, started=time.time(), notes=notes)
            if self.declined and self._number == 1 and self.call is not None:
                self.call = replace(self.call, decision=handed_over(self.call.decision, model))

    def end_by_event(self, outcome: Outcome) -> None:
        """LiteLLM's failure event; of a stream that broke it may come after the next attempt began."""
        with self._lock:
            late = self._owed > 0
            self._owed -= late
        if not late:
            self.end(outcome)

    def end(self, outcome: Outcome) -> None:
        """The attempt under way ended; LiteLLM may tell of one end several times, and the first counts."""
        with self._lock:
            running, self._running = self._running, None
            call = self.call
        if running is None or call is None:
            return
        if outcome.kind is None:
            self.answered = True
            if self.declined:
                call.sessions.sit(call.request.session_id, running.model, outcome.usage.input_tokens or 0)
        else:
            self.failure = (running.model, outcome.kind)
        price = own_price(running.model, call.version.config.of(running.model))
        call.observe(_attempt(running, outcome, price))


def handed_over(decision: Decision, model: str) -> Decision:
    """The decision that LiteLLM's own fallback made in the rule table's place."""
    rest = tuple(name for name in decision.ranking if name != model)
    return replace(
        decision,
        model=model,
        confidence=decision.success_probability.get(model, 0.0),
        ranking=(model, *rest),
        reason=f"{decision.reason.partition(':')[0]}: LiteLLM's fallback decides",
    )


def _attempt(running: ProxyAttempt, outcome: Outcome, price: Price | None) -> Attempt:
    """What the call log is told; at the team's own price where it has one."""
    first, ended = outcome.first_token, outcome.ended or time.time()
    answered = outcome.kind is None
    cost = cost_at(price, outcome.usage) if price and answered else outcome.cost_usd
    return Attempt(
        model=running.model,
        number=running.number,
        started=running.started,
        latency_s=max(ended - running.started, 0.0),
        first_token_s=None if first is None else max(first - running.started, 0.0),
        kind=outcome.kind,
        error=outcome.error,
        usage=outcome.usage,
        cost_usd=cost,
        finish_reason=outcome.finish_reason,
        notes=(*running.notes, *outcome.notes),
        stream=outcome.stream,
        read=lambda: outcome.response,
    )
