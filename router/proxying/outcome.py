"""The outcome of an attempt, from what LiteLLM passes to hooks and callbacks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from router.calling.attempt import ErrorKind, Usage
from router.calling.provider_errors import failure_of
from router.calling.reply import (
    cost_of_response,
    cost_of_stream,
    counted_in,
    finish_reason_of,
    hidden_in,
    usage_of,
)
from router.models.model_list import listed_entry, stated_number
from router.records import Json

_UNCOUNTED: Final = Usage()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The end of one attempt.

    Attributes:
        kind, error: the failure, or None if the model answered.
        cost_usd: by LiteLLM's calculation, or None if unknown.
        ended, first_token: unix seconds, or None if unknown.
    """

    kind: ErrorKind | None = None
    error: BaseException | None = field(default=None, repr=False)
    response: Any = field(default=None, repr=False)
    usage: Usage = _UNCOUNTED
    cost_usd: float | None = None
    finish_reason: str | None = None
    ended: float | None = None
    first_token: float | None = None
    stream: bool = False
    notes: tuple[str, ...] = ()


CACHED: Final = "answered from LiteLLM's cache"
BROKEN_OFF: Final = Outcome(kind="broken_stream", stream=True)
"""A broken stream: another attempt followed before LiteLLM reported an end."""
CALLER_LEFT: Final = Outcome(kind="cancelled", stream=True)
"""A stream that its caller did not read to the end."""


def failed(error: Exception, *, stream: bool = False, begun: bool = False, ended: object = None) -> Outcome:
    """The outcome of an attempt that raised.

    Args:
        stream: whether the caller asked for a stream.
        begun: whether some of the answer came.
        ended: LiteLLM's time of the failure.
    """
    failure = failure_of(error)
    return Outcome(
        kind="broken_stream" if begun else failure.kind,
        error=failure.error,
        ended=_unix(ended),
        stream=stream,
    )


def answered(response: object, *, cached: bool = False, model: str | None = None) -> Outcome:
    """The outcome of a whole response, with the cost that LiteLLM noted in it.

    Args:
        model: what LiteLLM called, if the response does not say it.
    """
    counted = counted_in(response)
    called = getattr(response, "model", None) or model, hidden_in(response).get("litellm_model_name")
    return Outcome(
        response=response,
        usage=usage_of(counted),
        cost_usd=0.0 if cached else _known(cost_of_response(response, counted, model), *called),
        finish_reason=finish_reason_of(response),
        notes=(CACHED,) if cached else (),
    )


def streamed(last: object, finish_reason: str, first_token: float | None) -> Outcome:
    """The outcome of a whole stream.

    Args:
        last: the piece with the token counts, or the last one.
        first_token: unix seconds.
    """
    counted = counted_in(last)
    cost = cost_of_stream(last, counted)
    return Outcome(
        usage=usage_of(counted),
        cost_usd=_known(cost, getattr(last, "model", None)),
        finish_reason=finish_reason,
        first_token=first_token,
        stream=True,
    )


def outcome_of_event(event: Mapping[str, Json], response: object, ended: object) -> Outcome:
    """The outcome in LiteLLM's success event, which comes at the end of a stream.

    Args:
        event: the `kwargs` of LiteLLM's callback.
        response: the whole response; LiteLLM joins the pieces of a stream.
    """
    stream, cached = bool(event.get("stream")), bool(event.get("cache_hit"))
    model, cost = str(event.get("model")), event.get("response_cost")
    called = f"{event.get('custom_llm_provider')}/{model}", model
    return Outcome(
        response=response,
        usage=usage_of(counted_in(response)),
        cost_usd=0.0 if cached else _known(cost if isinstance(cost, int | float) else None, *called),
        finish_reason=finish_reason_of(response),
        ended=_unix(ended),
        first_token=_unix(event.get("completion_start_time")) if stream else None,
        stream=stream,
        notes=(CACHED,) if cached else (),
    )


def _known(cost: float | None, *called: str | None) -> float | None:
    """A cost in USD. LiteLLM also says 0 for a model without a price: None unless its list says free."""
    if cost:
        return float(cost)
    return 0.0 if stated_number(listed_entry(*called), "input_cost_per_token") == 0 else None


def _unix(moment: object) -> float | None:
    """Unix seconds of one of LiteLLM's local times."""
    return moment.timestamp() if isinstance(moment, datetime) else None
