"""Metrics and spans of decisions and calls: what monitoring learns, which is nothing of a prompt."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, Literal, NamedTuple, ParamSpec

from router.calling.attempt import Attempt
from router.forking import ForkAware, ForkSafe, watch
from router.records import Decision, Request
from router.serving.exporting import Outlet
from router.settings.sections import Metrics

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.metrics import CallbackOptions, Observation

    from router.version import Version

logger = logging.getLogger(__name__)

OTHER = "other"
"""Stands for a model or a task type that the router does not know: a caller can't make labels."""
NONE = "none"
MOST_TASK_TYPES = 50
OPERATION = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model")
_P = ParamSpec("_P")
_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_QUICK = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024)
_TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """One metric.

    Attributes:
        kind: one that begins with "read" is read at each report; decisions and calls add to the others.
        unit: in OpenTelemetry's notation; braces say what is counted.
        labels: in Prometheus's spelling; OpenTelemetry's has a dot after "gen_ai" and its nouns.
        bounds: of a histogram's bins.
    """

    kind: Literal["counter", "histogram", "read_gauge", "read_counter"]
    unit: str
    what: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()


INSTRUMENTS: Mapping[str, Instrument] = {
    "pointsman.decisions": Instrument(
        kind="counter", unit="{decision}", what="Decisions, by who chose which model",
        labels=("model", "source", "task_type"),
    ),
    "pointsman.decision.duration": Instrument(
        kind="histogram", unit="s", what="Time that a decision takes", bounds=_QUICK,
    ),
    "pointsman.refusals": Instrument(
        kind="counter", unit="{request}", what="Requests without a decision", labels=("reason",),
    ),
    "pointsman.calls": Instrument(
        kind="counter", unit="{call}", what="Attempts to call a model, by who chose it and how each ended",
        labels=("model", "source", "outcome"),
    ),
    "pointsman.fallbacks": Instrument(
        kind="counter", unit="{call}", what="Attempts on another model after a failure, by what failed",
        labels=("model", "reason"),
    ),
    "gen_ai.client.operation.duration": Instrument(
        kind="histogram", unit="s", what="Time that an attempt takes",
        labels=(*OPERATION, "error_type"), bounds=_SECONDS,
    ),
    "gen_ai.client.token.usage": Instrument(
        kind="histogram", unit="{token}", what="Tokens of an answered call",
        labels=(*OPERATION, "gen_ai_token_type"), bounds=_TOKENS,
    ),
    "pointsman.cost.usd": Instrument(
        kind="counter", unit="{USD}", what="Cost of calls, where known", labels=("model",),
    ),
    "pointsman.cost.unknown": Instrument(
        kind="counter", unit="{call}", what="Answered calls of unknown cost", labels=("model",),
    ),
    "pointsman.baseline.usd": Instrument(
        kind="counter", unit="{USD}", what="Cost of the always-strong model on answered calls of known cost",
    ),
    "pointsman.compared.usd": Instrument(
        kind="counter", unit="{USD}", what="Cost of the calls that the baseline counts; less than it: saved",
    ),
    "pointsman.log.waiting": Instrument(
        kind="read_gauge", unit="{row}", what="Rows of the call log that wait in memory",
    ),
    "pointsman.log.rows": Instrument(
        kind="read_counter", unit="{row}", what="Rows of the call log, by what became of them",
        labels=("state",),
    ),
    "pointsman.log.failures": Instrument(
        kind="read_counter", unit="{batch}", what="Batches of rows that could not be written at once",
    ),
    "pointsman.model.degraded": Instrument(
        kind="read_gauge", unit="1", what="1 while a model is in cool-down, else 0", labels=("model",),
    ),
    "pointsman.model.degraded.time": Instrument(
        kind="read_counter", unit="s", what="Time that a model has spent in cool-down", labels=("model",),
    ),
    "pointsman.budget.usd": Instrument(
        kind="read_gauge", unit="{USD}", what="Budget of a day, this process's part",
    ),
    "pointsman.budget.carried.usd": Instrument(
        kind="read_gauge", unit="{USD}", what="Budget so far less spend so far; negative: ahead of the pace",
    ),
    "pointsman.budget.weight": Instrument(
        kind="read_gauge", unit="1", what="Success probability that one USD is worth now",
    ),
    "pointsman.budget.unknown": Instrument(
        kind="read_counter", unit="{call}", what="Calls whose cost the pace assumes, as it is unknown",
    ),
    "pointsman.version.in_force": Instrument(
        kind="read_gauge", unit="1", what="1 for the version in force", labels=("version",),
    ),
    "pointsman.version.refused": Instrument(
        kind="read_gauge", unit="1", what="1 while the alias names a version that the router refuses",
    ),
}  # fmt: skip
"""Every metric, by its name in OpenTelemetry; Prometheus has `_` for `.`, the unit and `_total` behind."""


class Reading(NamedTuple):
    """The value of one metric now."""

    name: str
    value: float
    labels: Mapping[str, str] = {}


def _harmless(
    record: Callable[Concatenate[Telemetry, _P], None],
) -> Callable[Concatenate[Telemetry, _P], None]:
    """The method, with a warning in place of an error: no call may fail because of its metrics."""

    @wraps(record)
    def recorded(self: Telemetry, /, *args: _P.args, **kwargs: _P.kwargs) -> None:
        try:
            record(self, *args, **kwargs)
        except Exception as error:  # noqa: BLE001 - no call may fail because of its metrics
            self.warn(error)

    return recorded


class Telemetry(ForkAware):
    """Metrics and spans of one router. No method but the first raises; a forked child counts from zero."""

    _outlet: Outlet | None

    def __init__(self, settings: Metrics, read: Callable[[], Iterable[Reading]]) -> None:
        """Open the outlet of this process.

        Args:
            read: the readings of now; a bound method, which does not keep its owner alive.

        Raises:
            MissingExtra: OpenTelemetry's packages are not installed.
        """
        self._settings = settings
        self._read = weakref.WeakMethod(read)
        self._lock = ForkSafe(threading.Lock)
        self._closed = self._warned = False
        self._span: ContextVar[tuple[Decision, Context] | None] = ContextVar("pointsman_span", default=None)
        self._open()
        watch(self)

    @property
    def port(self) -> int | None:
        """Port of this process's page for Prometheus."""
        return None if self._outlet is None else self._outlet.port

    @_harmless
    def decided(self, version: Version, request: Request, decision: Decision, took_s: float) -> None:
        """Count a decision that was just made, and trace it."""
        self._ready()
        labels = {
            "model": _known(decision.model, version.models),
            "source": decision.source,
            "task_type": _task_type(request, version),
        }
        self._add("pointsman.decisions", 1, labels)
        self._add("pointsman.decision.duration", took_s)
        if self._tracer is None:
            return
        from opentelemetry.trace import set_span_in_context

        now = time.time_ns()
        span = self._tracer.start_span(
            "pointsman.decide",
            start_time=now - int(took_s * 1e9),
            attributes={
                **{f"pointsman.{name}": value for name, value in labels.items()},
                "pointsman.confidence": decision.confidence,
                "pointsman.propensity": decision.propensity,
                "pointsman.version": decision.policy_version,
            },
        )
        span.end(now)
        self._span.set((decision, set_span_in_context(span)))

    @_harmless
    def refused(self, error: Exception) -> None:
        """Count a request without a decision."""
        self._ready()
        self._add("pointsman.refusals", 1, {"reason": type(error).__name__})

    def trace_of(self, decision: Decision) -> Context | None:
        """Where the spans of a decision's calls belong; None: where the application's own do."""
        last = self._span.get()
        return last[1] if last is not None and last[0] is decision else None

    @_harmless
    def ended(self, call: Call, attempt: Attempt) -> None:
        """Count an attempt that ended, and trace it."""
        self._ready()
        model = _known(attempt.model, call.version.models)
        outcome = attempt.kind or "answered"
        self._add("pointsman.calls", 1, {"model": model, "source": call.source, "outcome": outcome})
        if call.failed is not None and attempt.model != call.failed.model:
            self._add("pointsman.fallbacks", 1, {"model": model, "reason": str(call.failed.kind)})
        self._count_money(call, attempt, model)
        self._count_use(call, attempt, model)
        if self._tracer is not None:
            self._trace(call, attempt, call.source)

    def warn(self, error: Exception) -> None:
        """Warn of the first error only: the next ones are most likely the same."""
        if not self._warned:
            self._warned = True
            logger.warning("metrics are incomplete: %s", type(error).__name__, exc_info=error)

    @_harmless
    def flush(self) -> None:
        """Report now."""
        if self._outlet is not None:
            self._outlet.flush()

    @_harmless
    def close(self) -> None:
        """Report what there is, and end."""
        self._closed = True
        self._end()

    def after_fork_in_child(self) -> None:
        """Leave the parent's outlet; the first decision or call of this process opens its own."""
        self._end.detach()
        if self._outlet is not None:
            self._outlet.leave()
        self._outlet = None

    def _open(self) -> None:
        outlet = Outlet(self._settings)
        self._end = weakref.finalize(self, outlet.close)  # at the end of the process too
        self._tracer = outlet.tracer
        self._instruments = {
            name: _instrument(outlet.meter, name, one, self._observe(name))
            for name, one in INSTRUMENTS.items()
        }
        self._outlet = outlet

    def _ready(self) -> None:
        if self._outlet is None and not self._closed:
            with self._lock.part:
                if self._outlet is None:
                    self._open()

    def _add(self, name: str, value: float, labels: Mapping[str, str] | None = None) -> None:
        instrument = self._instruments[name]
        record = instrument.record if INSTRUMENTS[name].kind == "histogram" else instrument.add
        record(value, {_attribute(label): text for label, text in (labels or {}).items()})

    def _observe(self, name: str) -> Callable[[CallbackOptions], Iterator[Observation]]:
        read = self._read

        def observe(_: CallbackOptions) -> Iterator[Observation]:
            from opentelemetry.metrics import Observation

            now = read()
            for one in () if now is None else now():
                if one.name == name:
                    yield Observation(one.value, {_attribute(key): text for key, text in one.labels.items()})

        return observe

    def _count_money(self, call: Call, attempt: Attempt, model: str) -> None:
        if attempt.cost_usd is not None:
            self._add("pointsman.cost.usd", max(attempt.cost_usd, 0.0), {"model": model})
        elif attempt.answered:
            self._add("pointsman.cost.unknown", 1, {"model": model})
        if attempt.cost_usd is not None and call.baseline_usd is not None:
            self._add("pointsman.baseline.usd", call.baseline_usd)
            self._add("pointsman.compared.usd", attempt.cost_usd)

    def _count_use(self, call: Call, attempt: Attempt, model: str) -> None:
        operation = {**_operation(call, attempt), "gen_ai_request_model": model}
        error = {"error_type": attempt.kind} if attempt.kind else {}
        self._add("gen_ai.client.operation.duration", attempt.latency_s, {**operation, **error})
        counts = (("input", attempt.usage.input_tokens), ("output", attempt.usage.output_tokens))
        for kind, tokens in counts:
            if tokens is not None:
                self._add("gen_ai.client.token.usage", tokens, {**operation, "gen_ai_token_type": kind})

    def _trace(self, call: Call, attempt: Attempt, source: str) -> None:
        from opentelemetry.trace import SpanKind, Status, StatusCode

        assert self._tracer is not None, "only what is traced comes here"
        operation = _operation(call, attempt)
        usage = attempt.usage
        attributes = {
            **{_attribute(name): value for name, value in operation.items()},
            "gen_ai.response.finish_reasons": [attempt.finish_reason] if attempt.finish_reason else None,
            "gen_ai.usage.input_tokens": usage.input_tokens,
            "gen_ai.usage.output_tokens": usage.output_tokens,
            "gen_ai.usage.cache_read.input_tokens": usage.cached_input_tokens,
            "gen_ai.usage.reasoning.output_tokens": usage.reasoning_tokens,
            "gen_ai.response.time_to_first_chunk": attempt.first_token_s,
            "error.type": attempt.kind,
            "pointsman.model": attempt.model,
            "pointsman.source": source,
            "pointsman.attempt": attempt.number,
            "pointsman.request_id": call.request_id,
            "pointsman.cost_usd": attempt.cost_usd,
            "pointsman.version": call.decision.policy_version,
        }
        start = int(attempt.started * 1e9)
        span = self._tracer.start_span(
            f"{operation['gen_ai_operation_name']} {operation['gen_ai_request_model']}",
            context=call.trace,
            kind=SpanKind.CLIENT,
            start_time=start,
            attributes={name: value for name, value in attributes.items() if value is not None},
        )
        if attempt.kind is not None:
            span.set_status(Status(StatusCode.ERROR))
        span.end(start + int(attempt.latency_s * 1e9))


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What an attempt belongs to.

    Attributes:
        prompted: whether the call has messages.
        source: who chose the attempt's model.
        failed: the failed attempt before it in the same request; None for the first.
        baseline_usd: what the always-strong model would have cost; None if unknown or not compared.
        trace: where its span belongs; None: where the application's own do.
    """

    version: Version
    decision: Decision
    request_id: str
    prompted: bool
    source: str
    failed: Attempt | None
    baseline_usd: float | None
    trace: Context | None


def _known(name: str, known: Collection[str]) -> str:
    return name if name in known else OTHER


def _task_type(request: Request, version: Version) -> str:
    """The caller's task type if a rule or the training names it: others would be labels without end."""
    if request.task_type is None:
        return NONE
    return _known(request.task_type, version.named_task_types[:MOST_TASK_TYPES])


def _operation(call: Call, attempt: Attempt) -> dict[str, str]:
    """The call in the words of OpenTelemetry's conventions."""
    called = call.version.config.of(attempt.model).litellm_model or attempt.model
    provider, _, rest = called.partition("/")
    return {
        "gen_ai_operation_name": "chat" if call.prompted else OTHER,
        "gen_ai_provider_name": provider if rest else OTHER,
        "gen_ai_request_model": rest or called,
    }


_ATTRIBUTES = {
    "gen_ai_operation_name": "gen_ai.operation.name",
    "gen_ai_provider_name": "gen_ai.provider.name",
    "gen_ai_request_model": "gen_ai.request.model",
    "gen_ai_token_type": "gen_ai.token.type",
    "error_type": "error.type",
}


def _attribute(label: str) -> str:
    """A label in OpenTelemetry's spelling."""
    return _ATTRIBUTES.get(label, label)


def _instrument(meter: Any, name: str, one: Instrument, observe: Callable[..., Any]) -> Any:  # noqa: ANN401 - one of OpenTelemetry's
    """The instrument of a meter."""
    rest = {"unit": one.unit, "description": one.what}
    if one.kind == "histogram":
        return meter.create_histogram(name, explicit_bucket_boundaries_advisory=one.bounds, **rest)
    if one.kind == "counter":
        return meter.create_counter(name, **rest)
    if one.kind == "read_gauge":
        return meter.create_observable_gauge(name, callbacks=[observe], **rest)
    return meter.create_observable_counter(name, callbacks=[observe], **rest)
