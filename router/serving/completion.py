"""One completion: its arguments, and the log row of each attempt."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from router.call_log.log import CallLog, CallRecord
from router.calling.transport import AsyncStream, Attempt, Stream, chain_of
from router.deciding.cascade import Second
from router.deciding.pacing import Pacer
from router.deciding.sessions import SessionMemory
from router.effort import effort_of, endpoint_of
from router.errors import RequestError
from router.numbers import rate
from router.records import WISH_FIELDS, Decision, Json, Request, refuse_near_misses
from router.serving.cascading import Cascading, with_seconds
from router.serving.metrics import Call, Telemetry
from router.version import Version

if TYPE_CHECKING:
    from opentelemetry.context import Context

logger = logging.getLogger(__name__)

POINTSMAN_ARGUMENTS = WISH_FIELDS | {"task_type", "tags", "session_id"}
NAMED_ALIKE = POINTSMAN_ARGUMENTS - {"model"}
"""Arguments whose misspelling is refused: LiteLLM would send it on. `models` is an argument of its own."""
REFUSED = {
    "api_key": "models.NAME.api_key_env",
    "api_base": "models.NAME.api_base",
    "base_url": "models.NAME.api_base",
    "custom_llm_provider": "models.NAME.litellm_model",
    "deployment_id": "models.NAME.litellm_model",
    "azure": "models.NAME.litellm_model",
    "client": "models.NAME.api_base",
    "litellm_credential_name": "models.NAME.api_key_env",
    "use_litellm_proxy": "models.NAME.api_base",
    "silent_model": "pointsman replay",
    "model_list": "Router.load(transport=litellm.Router(...))",
    "user_config": "Router.load(transport=litellm.Router(...))",
    "fallbacks": "calls.fallbacks",
    "context_window_fallback_dict": "calls.fallbacks",
    "num_retries": "calls.retries",
    "max_retries": "calls.retries",
}
"""LiteLLM arguments that would act on every model alike or bypass our fallback chain, and what to use."""
NOT_SERVED = ("not served: the cascade asked another model",)
"""Note on the row of an answer that a second model's followed."""
THE_MODELS_OWN_FAULT = frozenset({"context_window", "content_policy"})
"""Failures that tell something about the model on this prompt; a rate limit or an outage does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """One request that was decided on, with its attempts.

    Attributes:
        arguments: LiteLLM's, without the model.
        prompted: whether the call has messages; the row of an embedding or an image has none.
        telemetry: receives every attempt; None: metrics are off.
        pacer: receives what every attempt cost; None: no budget sets a pace.
        counted_usd: what the pacer counted when the request was decided on.
        trace: where the attempts' spans belong; None: where the application's own do.
        cascading: says whether a second model follows the answer; None: none does.
        request_id: also the `call_id` of the attempt whose answer is served.
        held: answers that are not reported yet, because it is open which one is served; each with the failed
            attempt before it, if there is one.
    """

    version: Version
    request: Request
    decision: Decision
    arguments: Mapping[str, Json]
    log: CallLog | None
    sessions: SessionMemory
    telemetry: Telemetry | None = None
    pacer: Pacer | None = None
    counted_usd: float = 0.0
    trace: Context | None = None
    cascading: Cascading | None = None
    prompted: bool = True
    request_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    attempts: list[Attempt] = field(default_factory=list)
    held: list[tuple[Attempt, Attempt | None]] = field(default_factory=list)

    @property
    def chain(self) -> tuple[str, ...]:
        """The models to try, in order; a pinned one alone, unless the settings name a chain for it."""
        calls = self.version.config.calls
        alone = self.decision.source == "pinned" and self.decision.model not in calls.fallbacks
        ranking = self.decision.ranking[:1] if alone else self.decision.ranking
        return chain_of(self.decision.model, ranking, calls)

    def observe(self, attempt: Attempt) -> None:
        """Note the end of an attempt: write its log row, and move the session to the model that answered."""
        before = self.attempts[-1] if self.attempts else None
        failed = before if before is not None and not before.answered else None
        if self._asked_again:
            attempt = replace(attempt, number=len(self.attempts) + 1)
        self.attempts.append(attempt)
        if attempt.answered and attempt.model != self.decision.model and not self._asked_again:
            self.sessions.sit(self.request.session_id, attempt.model, attempt.usage.input_tokens or 0)
        if self.pacer is not None:
            self.pacer.ended(self.decision, attempt, self.counted_usd if before is None else 0.0)
        if attempt.answered and self.cascading is not None:
            self.held.append((attempt, failed))
        else:
            self._report(attempt, failed, served=attempt.answered)

    def second(self, cooling: Collection[str]) -> Second | None:
        """The model to ask after the one that answered; None: its answer is served, and reported now."""
        if self.cascading is None:
            return None
        try:
            second = self.cascading.second(self.attempts, cooling)
        except Exception as error:  # noqa: BLE001 - the caller has an answer, whatever is odd about it
            logger.warning("an answer could not be graded and is served: %s", type(error).__name__)
            second = None
        if second is None:
            self._settle()
        else:
            self.cascading.asked.append(second)
        return second

    @contextmanager
    def asking_again(self) -> Iterator[Mapping[str, Json]]:
        """Surround the call of the second model, with its arguments; if it fails, the first answer stays."""
        assert self.cascading is not None, "a second model was chosen"
        try:
            yield with_seconds(self.arguments, self.cascading.remaining())
        except Exception:  # noqa: BLE001 - whatever a second model raises, the caller has an answer
            logger.debug("a second model failed: the first answer is served")
        except BaseException:
            self._settle(served=False)
            raise
        self._settle()

    @property
    def _asked_again(self) -> bool:
        return self.cascading is not None and bool(self.cascading.asked)

    def _settle(self, *, served: bool = True) -> None:
        """Report the answers that were held back; of those the last one is served, if any is."""
        for attempt, failed in self.held:
            self._report(attempt, failed, served=served and attempt is self.held[-1][0])
        self.held.clear()

    def _report(self, attempt: Attempt, failed: Attempt | None, *, served: bool) -> None:
        if self.log is not None:
            self.log.write(self._record(attempt, served=served))
        if self.telemetry is not None:
            self.telemetry.ended(self._call(attempt, failed, served), attempt)

    def with_decision(self, reply: Any) -> Any:  # noqa: ANN401 - LiteLLM's
        """Add the decision to the response or stream, as an attribute that its JSON leaves out."""
        answered = (one for one in reversed(self.attempts) if one.answered)
        source = reply if isinstance(reply, Stream | AsyncStream) else next(answered)
        failures = [f"{one.model} failed: {one.kind}" for one in self.attempts if not one.answered]
        failures += [
            f"{self.decision.model} answered first, with a chance of {rate(second.grade)} of being right, so "
            f"{second.model} was asked too"
            for second in (self.cascading.asked if self.cascading else ())
        ]
        decision = replace(
            self.decision,
            call_id=self.request_id,
            answered_by=source.model,
            notes=(*failures, *source.notes),
        )
        object.__setattr__(reply, "decision", decision)
        return reply

    def action_of(self, group: str) -> str:
        """What one of LiteLLM's groups stands for: of a model that has actions, the best ranked of them."""
        if group in self.version.models:
            return group
        names = (*self.decision.ranking, *self.decision.rejected)
        return next((name for name in names if endpoint_of(name) == group), group)

    def _effort(self, model: str) -> str | None:
        """The effort of a model's call: the caller's, else the model's own."""
        return effort_of(self.request.parameters) or effort_of(self.version.config.of(model).parameters)

    def _source(self, attempt: Attempt) -> str:
        """Who chose the model of an attempt."""
        if attempt.model == self.decision.model:
            return self.decision.source
        again = self.cascading.asked if self.cascading else ()
        return "cascade" if any(attempt.model == second.model for second in again) else "fallback"

    def _call(self, attempt: Attempt, failed: Attempt | None, served: bool) -> Call:
        return Call(
            version=self.version,
            decision=self.decision,
            request_id=self.request_id,
            prompted=self.prompted,
            source=self._source(attempt),
            failed=failed,
            baseline_usd=self._baseline_usd(attempt, served),
            trace=self.trace,
        )

    def _baseline_usd(self, attempt: Attempt, served: bool) -> float | None:
        """What the always-strong model would have cost: nothing beside an answer that is not served."""
        if attempt.answered and not served:
            return 0.0
        return _baseline_cost(attempt, self.decision, self.version.baseline)

    def _record(self, attempt: Attempt, *, served: bool) -> CallRecord:
        decision, request = self.decision, self.request
        chosen = attempt.model == decision.model
        baseline = self.version.baseline
        models_fault = attempt.kind in THE_MODELS_OWN_FAULT
        return CallRecord(
            call_id=self.request_id if served else f"{self.request_id}-{attempt.number}",
            request_id=self.request_id,
            attempt=attempt.number,
            session_id=request.session_id,
            time=attempt.started,
            messages=request.messages if self.prompted else None,
            tools=request.tools,
            response_format=request.response_format,
            task_type=request.task_type,
            tags=tuple(request.tags),
            model=attempt.model,
            chosen_model=decision.model,
            success=False if models_fault else None,
            outcome_source="error" if models_fault else None,
            error=f"{attempt.kind}: {type(attempt.error).__name__}" if attempt.error else attempt.kind,
            finish_reason=attempt.finish_reason,
            cost_usd=attempt.cost_usd,
            input_tokens=attempt.usage.input_tokens,
            output_tokens=attempt.usage.output_tokens,
            cached_input_tokens=attempt.usage.cached_input_tokens,
            cache_write_tokens=attempt.usage.cache_write_tokens,
            reasoning_tokens=attempt.usage.reasoning_tokens,
            latency_s=attempt.latency_s,
            first_token_s=attempt.first_token_s,
            stream=attempt.stream,
            propensity=decision.propensity if chosen and decision.source != "pinned" else None,
            policy_version=decision.policy_version,
            decision_source=self._source(attempt),
            confidence=decision.success_probability.get(attempt.model),
            expected_cost_usd=decision.expected_cost_usd.get(attempt.model),
            baseline_model=baseline,
            baseline_cost_usd=self._baseline_usd(attempt, served),
            shadow_model=decision.shadow.model if decision.shadow else None,
            shadow_confidence=decision.shadow.confidence if decision.shadow else None,
            notes=(*attempt.notes, *(NOT_SERVED if attempt.answered and not served else ())),
            alternatives=decision.success_probability,
            effort=self._effort(attempt.model),
            served_model=attempt.served,
        )


def litellm_arguments(messages: Json, arguments: Mapping[str, Json]) -> dict[str, Json]:
    """LiteLLM's arguments without the model: the caller's without pointsman's own.

    Raises:
        RequestError: an argument belongs to one model, would bypass the fallback chain, or has a form that no
            provider takes.
    """
    for name, instead in REFUSED.items():
        if arguments.get(name) is not None:
            raise RequestError(
                f"{name!r} can't be set per request, because the model is not known yet: use {instead}"
            )
    if not isinstance(messages, str | list | tuple):
        raise RequestError(f"messages must be a text or a list, got {type(messages).__name__}")
    _check_forms(messages, arguments)
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    refuse_near_misses(arguments, NAMED_ALIKE)
    rest = {name: value for name, value in arguments.items() if name not in POINTSMAN_ARGUMENTS}
    return {**rest, "messages": list(messages)}


def _check_forms(messages: Sequence[Json], arguments: Mapping[str, Json]) -> None:
    """Refuse forms that crash LiteLLM: it would report a lost connection, and every model would fail.

    Raises:
        RequestError: names the argument of the wrong form.
    """
    for number, message in enumerate(messages, start=1):
        content = message.get("content") if isinstance(message, Mapping) else None
        if not isinstance(content, str | list | tuple | None):
            kind = type(content).__name__
            raise RequestError(f"message {number}: content must be text, a list of parts or None, got {kind}")
    if not isinstance(tools := arguments.get("tools"), list | tuple | None):
        raise RequestError(f"tools must be a list of definitions, got {type(tools).__name__}")
    if not isinstance(form := arguments.get("response_format"), Mapping | type | None):
        raise RequestError(f"response_format must be an object or a class, got {type(form).__name__}")
    if not isinstance(options := arguments.get("stream_options"), Mapping | None):
        raise RequestError(f"stream_options must be an object, got {type(options).__name__}")


def _baseline_cost(attempt: Attempt, decision: Decision, baseline: str) -> float | None:
    """Cost of the always-strong model on an answered request: actual if it answered, else expected."""
    if not attempt.answered:
        return None
    if attempt.model == baseline and attempt.cost_usd is not None:
        return attempt.cost_usd
    return decision.expected_cost_usd.get(baseline)
