"""What becomes of one call of one model."""

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
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A call that went wrong.

    Attributes:
        error: the provider's, in LiteLLM's class; its text may quote the prompt or the key.
        retry_after_s: how long the provider asks to be left alone, or None.
        latency_s: seconds until it failed.
    """

    kind: ErrorKind
    error: BaseException = field(repr=False)
    retry_after_s: float | None = None
    latency_s: float = 0.0

    @property
    def told(self) -> str:
        """What may be shown and logged of it: kind and class, never the provider's text."""
        return f"{self.kind}: {type(self.error).__name__}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of a call, as the provider counted them; None where it said nothing.

    Attributes:
        cached_input_tokens: part of `input_tokens`.
        reasoning_tokens: part of `output_tokens`.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_input_tokens: int | None = None
    reasoning_tokens: int | None = None


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One call of one model, after it ended. Shown, it holds neither texts nor keys.

    Attributes:
        number: from 1, over all models of the request.
        started: unix seconds.
        latency_s: until the response was there, the stream had ended, or the call failed.
        first_token_s: of a stream, until its first piece that says something.
        kind, error: what went wrong; None where nothing did, or where a stream was closed early.
        usage, cost_usd: of an attempt that answered, where they are known; a failed one carries no cost.
        finish_reason: the first choice's.
        notes: arguments that the model did not get as the caller gave them, one sentence each.
        read: makes the `response`.
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
    notes: tuple[str, ...] = ()
    stream: bool = False
    read: Callable[[], Json] = field(default=lambda: None, repr=False, compare=False)

    @property
    def answered(self) -> bool:
        """The caller has the whole response."""
        return self.kind is None

    @cached_property
    def response(self) -> Json:
        """LiteLLM's response; of a stream, the whole of what was received, put together when first asked for.

        None where nothing was received. Putting a long stream together takes tens of milliseconds: work for
        another thread than the one that serves the request.
        """
        return self.read()
