"""A request's companion through LiteLLM: its decision and its attempts."""

from __future__ import annotations

import _thread
import asyncio
import threading
import time
from asyncio import Future
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, Self, TypeAlias
from weakref import ref

from router.calling.attempt import Attempt, ErrorKind
from router.calling.reply import (
    cost_at,
    counted_in,
    finish_reason_of,
    gemini_piece,
    own_price,
    says_something,
    served_in,
)
from router.deciding.needs import is_given
from router.effort import effort_of, parameters_of
from router.errors import RequestError, RouterError
from router.proxying.outcome import BROKEN_OFF, CALLER_LEFT, Outcome, streamed
from router.records import WISH_FIELDS, Decision, Json, Request, Wishes
from router.serving.completion import Completion
from router.settings.sections import Price

TICKET: Final = "pointsman_ticket"
"""Key of the ticket in a request's metadata. LiteLLM passes the metadata to every hook and callback of the
request, so the ticket lives exactly as long as the request."""
WISHES: Final = "pointsman"
"""Key of the caller's `Wishes` in its metadata."""
METADATA_WISHES: Final = WISH_FIELDS - {"model"}
State: TypeAlias = Literal["waiting", "running", "answered", "left"]
"""Between attempts; during one; after an answer; after the caller of a stream left."""
PARAMETERS: Final = frozenset(
    {
        "api_base", "audio", "base_url", "frequency_penalty", "function_call", "functions", "logit_bias",
        "logprobs", "max_completion_tokens", "max_tokens", "modalities", "n", "parallel_tool_calls",
        "prediction", "presence_penalty", "reasoning_effort", "seed", "service_tier", "stop", "stream",
        "stream_options", "temperature", "thinking", "tool_choice", "top_logprobs", "top_p", "user",
        "verbosity", "web_search_options",
    }
)  # fmt: skip
"""Arguments that a model may not support or that change the address. LiteLLM's own are excluded, above
all the caller's API key."""


FALLBACKS: Final = ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks")
EVENT_S = 10.0
"""Longest wait for LiteLLM's event of an answer without counts or cost."""


def unjudged(arguments: Mapping[str, Json]) -> dict[str, Json]:
    """The arguments that no hook judges later.

    Fallbacks by name are judged as attempts. One with arguments of its own replaces the address or the
    metadata of the request, and with them its limits.
    """
    named = {name for name in FALLBACKS if _only_names(arguments.get(name))}
    return {name: value for name, value in arguments.items() if name not in named}


def _only_names(fallbacks: Json) -> bool:
    """Whether fallbacks are groups' names, or lists of such names by group."""
    if not is_given(fallbacks):
        return True
    by_group: list[Json] = []
    for one in fallbacks if isinstance(fallbacks, list) else [fallbacks]:
        by_group += one.values() if isinstance(one, Mapping) and "model" not in one else [[one]]
    return all(isinstance(names, list) and all(isinstance(n, str) for n in names) for names in by_group)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerRequest:
    """The part of a caller's request to LiteLLM that the decision looks at.

    Attributes:
        messages: chat messages, or None if a later hook has them.
        arguments: `tools`, `response_format` and those of `PARAMETERS`; an effort that another protocol's
            parameter states is one of these.
        metadata: the caller's `task_type`, `tags`, `session_id` and wishes.
    """

    messages: Json
    arguments: Mapping[str, Json]
    metadata: Mapping[str, Json]

    @staticmethod
    def of(
        arguments: Mapping[str, Json], metadata: Mapping[str, Json], messages: Json = None
    ) -> CallerRequest:
        """Pick the arguments and metadata that matter from those of a call."""
        argument_names = PARAMETERS | {"tools", "response_format"}
        metadata_names = ("task_type", "tags", "session_id", "litellm_session_id_generated", WISHES)
        kept = {name: arguments[name] for name in argument_names & arguments.keys()}
        if (effort := effort_of(arguments)) is not None and effort_of(kept) is None:
            kept |= parameters_of(effort)
        return CallerRequest(
            messages=messages,
            arguments=kept,
            metadata={name: metadata[name] for name in metadata_names if metadata.get(name) is not None},
        )

    def to_request(self, messages: Json) -> Request:
        """The request to decide on; `messages` replace its own if there are any.

        Raises:
            RequestError: the messages or the metadata have the wrong form.
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
        """The caller's wishes for the decision.

        Raises:
            RequestError: a wish is unknown or has the wrong form. A misspelt `local_only` must not pass.
        """
        wishes = self.metadata.get(WISHES, {})
        if not isinstance(wishes, Mapping):
            raise RequestError(f"metadata.{WISHES} must hold wishes by name, got {type(wishes).__name__}")
        if unknown := sorted(set(wishes) - METADATA_WISHES):
            known = ", ".join(sorted(METADATA_WISHES))
            raise RequestError(f"metadata.{WISHES} holds an unknown wish, {unknown[0]!r}; known: {known}")
        return Wishes.from_json(wishes)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyAttempt:
    """A started attempt.

    Attributes:
        number: counts from 1 over all models of the request.
        started: unix seconds.
        notes: as in `Attempt`.
    """

    model: str
    number: int
    started: float
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class StreamReading:
    """What the caller has read of a proxy's stream.

    Attributes:
        hides_counts: the caller did not ask for the token counts, and does not get them.
        first_token: unix seconds of the first piece with content.
        counts: the piece with the token counts.
        finish_reason: set at the end of the answer.
    """

    hides_counts: bool = False
    first_token: float | None = None
    counts: object = None
    finish_reason: str | None = None

    def hands_out(self, piece: object) -> bool:
        """Note a piece, and say whether the caller gets it."""
        piece = gemini_piece(piece)
        has_counts = counted_in(piece) is not None
        if has_counts:
            self.counts = piece
        if says_something(piece):
            self.first_token = self.first_token or time.time()
            self.finish_reason = finish_reason_of(piece) or self.finish_reason
            return True
        return not (has_counts and self.hides_counts)

    def outcome(self) -> Outcome:
        """The outcome of the whole stream."""
        return streamed(self.counts, self.finish_reason or "", self.first_token)


class Ticket:
    """One request on its way through LiteLLM. Hooks run in the event loop, some callbacks in threads.

    Attributes:
        call_id: LiteLLM's id of the request, which its caller also sees.
        request: the caller's request.
        prompted: whether the call has a prompt to decide on; otherwise the limits hold for the model's name.
        trace: common to all attempts at one request of a `litellm.Router`.
        completion: set by the decision, unless the router refused.
        refusal: why no model may serve the request.
        deciding: ends with the decision.
        left_to_litellm: whether LiteLLM's own fallback decides.
        state: where the request is.
        failure: model and kind of the latest failed attempt.
        tried: the models of all attempts.
        reading: what the caller has read of a proxy's stream.
        client: the application's `litellm.Router` that makes the calls; None: a proxy's.
        uncounted: the answer of the running attempt while it waits for the event with its counts or cost.
    """

    def __init__(
        self, call_id: str, request: CallerRequest, trace: str | None = None, *, prompted: bool = True
    ) -> None:
        self.call_id = call_id
        self.request = request
        self.trace = trace
        self.prompted = prompted
        self.completion: Completion | None = None
        self.refusal: RouterError | None = None
        self.deciding: Future[None] | None = None
        self.left_to_litellm = False
        self.state: State = "waiting"
        self.failure: tuple[str, ErrorKind] | None = None
        self.tried: set[str] = set()
        self.reading = StreamReading()
        self.client: Any = None
        self._attempt: ProxyAttempt | None = None
        self.uncounted: Outcome | None = None
        self._late_events = 0
        self._lock = threading.Lock()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """The ticket itself: LiteLLM copies metadata, and every copy belongs to the same request."""
        return self

    def __repr__(self) -> str:
        return f"<pointsman's ticket {self.call_id}>"

    def __del__(self) -> None:
        """End an attempt whose request nobody holds any more: the reader of its stream left in the middle."""
        # `weakref.finalize` can't do this: it would keep alive the completion, whose failed attempts hold
        # tracebacks, whose frames hold this ticket.
        if self.state == "running":
            ending = CALLER_LEFT if self.uncounted is None else self.uncounted
            # Garbage collection runs at any moment, even while this thread holds a lock of the log's.
            with suppress(RuntimeError):  # the interpreter is shutting down
                _thread.start_new_thread(self.end, (ending,))

    @property
    def answer_begun(self) -> bool:
        """Whether the caller has part of the answer."""
        return self.reading.first_token is not None

    @property
    def decided(self) -> bool:
        """Whether there is a decision or a refusal."""
        return self.completion is not None or self.refusal is not None

    def belongs_to(self, trace: str | None, messages: Json) -> bool:
        """Whether an attempt of a `litellm.Router` belongs to this request: same trace, same list object."""
        return self.state != "answered" and self.trace == trace and self.request.messages is messages

    def begin(self, model: str, notes: tuple[str, ...] = ()) -> None:
        """Start an attempt on a model. A start during an attempt on the same model is no new attempt."""
        model = self.completion.action_of(model) if self.completion else model
        with self._lock:
            interrupts = self.state == "running"
            if interrupts and self._attempt is not None and self._attempt.model == model:
                self._attempt = replace(self._attempt, notes=(*self._attempt.notes, *notes))
                return
            self._late_events += interrupts
        self.end(BROKEN_OFF)
        with self._lock:
            number = self._attempt.number + 1 if self._attempt else 1
            self.tried.add(model)
            self.uncounted = None
            self._attempt = ProxyAttempt(model=model, number=number, started=time.time(), notes=notes)
            self.state = "running"
            if self.left_to_litellm and number == 1 and self.completion is not None:
                decision = handed_over(self.completion.decision, model)
                self.completion = replace(self.completion, decision=decision)

    def end_by_event(self, outcome: Outcome) -> None:
        """End the attempt by LiteLLM's failure event, unless the event is a late one.

        If a stream breaks, its event may come after the start of the next attempt, which ended this one.
        """
        with self._lock:
            late = self._late_events > 0
            self._late_events -= late
        if not late:
            self.end(outcome)

    def answer(self, outcome: Outcome) -> None:
        """End the attempt that answered; without its tokens or cost, wait a while for the event with them.

        LiteLLM translates the counts of some protocols, and hides those of some streams, until that event;
        of some calls it reports none. Call this in the event loop.
        """
        costs = outcome.cost_usd is not None or self._own_price is not None
        if self.state != "running" or (costs and outcome.usage.input_tokens is not None):
            self.end(outcome)
        else:
            self.uncounted = outcome
            asyncio.get_running_loop().call_later(EVENT_S, _end_waiting, ref(self))

    def end(self, outcome: Outcome) -> None:
        """End the running attempt. LiteLLM may report one end several times; the first report counts."""
        with self._lock:
            attempt, completion = self._attempt, self.completion
            if self.state != "running" or attempt is None or completion is None:
                return
            self.state = _AFTER.get(outcome.kind, "waiting")
        if outcome.kind is not None:
            self.failure = (attempt.model, outcome.kind)
        elif self.left_to_litellm:
            tokens = outcome.usage.input_tokens or 0
            completion.sessions.sit(completion.request.session_id, attempt.model, tokens)
        completion.observe(_ended(attempt, outcome, self._own_price))

    def cut_off(self) -> None:
        """End a running attempt because the process ends: as it was answered, or as cancelled."""
        cancelled = Outcome(kind="cancelled", stream=self.answer_begun)
        self.end(cancelled if self.uncounted is None else self.uncounted)

    @property
    def called(self) -> str | None:
        """What LiteLLM calls for the model of the attempt."""
        if self._attempt is None or self.completion is None:
            return None
        return self.completion.version.config.of(self._attempt.model).litellm_model or self._attempt.model

    @property
    def _own_price(self) -> Price | None:
        """The team's price of the model of the attempt."""
        if self._attempt is None or self.completion is None:
            return None
        return own_price(self._attempt.model, self.completion.version.config.of(self._attempt.model))


def _end_waiting(ticket: ref[Ticket]) -> None:
    """End an answer whose event has not come; a request that is over is not kept in memory until then."""
    if (held := ticket()) is not None and held.uncounted is not None:
        held.end(held.uncounted)


_AFTER: Mapping[ErrorKind | None, State] = {None: "answered", CALLER_LEFT.kind: "left"}


def handed_over(decision: Decision, model: str) -> Decision:
    """The decision that LiteLLM's own fallback made in place of the rule table."""
    rest = tuple(name for name in decision.ranking if name != model)
    return replace(
        decision,
        model=model,
        confidence=decision.success_probability.get(model, 0.0),
        ranking=(model, *rest),
        reason=f"{decision.reason.partition(':')[0]}: LiteLLM's fallback decides",
    )


def _ended(attempt: ProxyAttempt, outcome: Outcome, price: Price | None) -> Attempt:
    """The attempt for the call log; the team's own price, if any, replaces LiteLLM's cost."""
    first, ended = outcome.first_token, outcome.ended or time.time()
    answered = outcome.kind is None
    tier = getattr(outcome.response, "service_tier", None)
    return Attempt(
        model=attempt.model,
        number=attempt.number,
        started=attempt.started,
        latency_s=max(ended - attempt.started, 0.0),
        first_token_s=None if first is None else max(first - attempt.started, 0.0),
        kind=outcome.kind,
        error=outcome.error,
        usage=outcome.usage,
        cost_usd=cost_at(price, outcome.usage, tier) if price and answered else outcome.cost_usd,
        finish_reason=outcome.finish_reason,
        served=served_in(outcome.response),
        notes=(*attempt.notes, *outcome.notes),
        stream=outcome.stream,
        read=lambda: outcome.response,
    )
