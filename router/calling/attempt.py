"""The result of one attempt to call one model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, TypeAlias

from router.records import Json

ErrorKind: TypeAlias = Literal[
    "rate_limit",
    "timeout",
    "connection",
    "server",
    "context_window",
    "authentication",
    "bad_request",
    "content_policy",
    "broken_stream",
    "cancelled",
    "empty",
    "not_found",
    "unsent",
]
"""`empty`: a response or stream with nothing in it. `not_found`: the provider has no such model, or no file
that the request names. `unsent`: an error of this process, before a provider or the network had any part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """An attempt that failed.

    Attributes:
        error: the provider's error in LiteLLM's class; its text may quote the prompt or the key.
        retry_after_s: how long the provider asks to wait, or None.
        latency_s: seconds until the failure.
        hint: what may be wrong here, such as a key that is not set; holds nothing of the provider's text.
    """

    kind: ErrorKind
    error: BaseException = field(repr=False)
    retry_after_s: float | None = None
    latency_s: float = 0.0
    hint: str = ""

    @property
    def summary(self) -> str:
        """Error kind, class and hint, safe to log (never the provider's text)."""
        return f"{self.kind}: {type(self.error).__name__}" + (f", {self.hint}" if self.hint else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of a call as the provider counted them; None where it reports no count.

    Attributes:
        cached_input_tokens: part of `input_tokens`.
        cache_write_tokens: another part of them, which the provider wrote into its prompt cache.
        reasoning_tokens: part of `output_tokens`.
        audio_input_tokens, audio_output_tokens: parts of `input_tokens` and of `output_tokens`.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_input_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    audio_input_tokens: int | None = None
    audio_output_tokens: int | None = None


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One call of one model, after its end. Its `repr` shows neither texts nor keys.

    Attributes:
        number: counts from 1 over all models of the request.
        started: unix seconds.
        latency_s: seconds until the whole response, the end of the stream or the failure.
        first_token_s: seconds until a stream's first piece with content.
        kind, error: the failure; both None for an answer, `error` also None for a stream closed early.
        usage, cost_usd: known for an answered attempt at most; a failed one has no cost.
        finish_reason: of the first choice.
        served: the model that the provider says answered; None: it says nothing.
        notes: one sentence for each argument that the model did not get as the caller set it.
        read: builds the `response`.
    """

    model: str
    number: int
    started: float
    latency_s: float
    first_token_s: float | None = None
    kind: ErrorKind | None = None
    error: BaseException | None = field(default=None, repr=False)
    usage: Usage = Usage()
    cost_usd: float | None = None
    finish_reason: str | None = None
    served: str | None = None
    notes: tuple[str, ...] = ()
    stream: bool = False
    read: Callable[[], Json] = field(default=lambda: None, repr=False, compare=False)

    @property
    def answered(self) -> bool:
        """Whether the caller has the whole response."""
        return self.kind is None

    @cached_property
    def response(self) -> Json:
        """LiteLLM's response, or None if nothing was received.

        The first access joins a stream's pieces, which takes tens of milliseconds for a long stream: do it
        outside the thread that serves the request.
        """
        return self.read()
