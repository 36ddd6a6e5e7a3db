"""Spans of OpenTelemetry's GenAI conventions, with their events and evaluations.

Names: the semantic conventions' registry of attributes `gen_ai.*` (current and deprecated ones), and the
mapping of OTLP to JSON. No convention names the cost, so this reader tries the names that
instrumentations use.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from router.effort import effort_word
from router.records import Json
from training.readers.judgements import Judgement, error_class, judgement_of, with_error, with_judgements
from training.readers.litellm_records import OTHER_CALL
from training.readers.otel_messages import AttributeMap, Event, messages_of, tools_of
from training.readers.otel_records import plain_rows
from training.readers.protocol import (
    JOINED,
    NO_MODEL,
    NO_PROMPT,
    NO_RECORD,
    Call,
    JoiningReader,
    Record,
    Rejected,
    Result,
    Sample,
    Skipped,
)
from training.readers.values import (
    filled,
    first_given,
    first_words,
    listed,
    mapping,
    member,
    seconds_between,
    unpacked,
    words,
)

NO_GENAI = Skipped("no GenAI span")
OTHER_EVENT = Skipped("no GenAI event")
NO_CALL_OF_EVENT = Skipped("event of what is no call here")
_NO_SPAN = Rejected("not an OpenTelemetry span")

_EVALUATION = "gen_ai.evaluation.result"
_DETAILS = "gen_ai.client.inference.operation.details"
_OPERATIONS = frozenset("chat text_completion generate_content completion".split())
_COSTS = (
    "gen_ai.usage.cost", "gen_ai.usage.total_cost", "gen_ai.cost.total_cost", "operation.cost",
    "llm.cost.total", "gen_ai.response.cost",
)  # fmt: skip
_PROVIDERS: Mapping[str, str] = {
    "openai": "openai", "anthropic": "anthropic", "cohere": "cohere", "deepseek": "deepseek", "groq": "groq",
    "perplexity": "perplexity", "mistral_ai": "mistral", "mistral": "mistral", "x_ai": "xai", "xai": "xai",
    "aws.bedrock": "bedrock", "aws_bedrock": "bedrock", "azure.ai.openai": "azure", "az.ai.openai": "azure",
    "azure.openai": "azure", "azure.ai.inference": "azure_ai", "az.ai.inference": "azure_ai",
    "gcp.vertex_ai": "vertex_ai", "vertex_ai": "vertex_ai", "gcp.gemini": "gemini", "gemini": "gemini",
    "ibm.watsonx.ai": "watsonx",
}  # fmt: skip
"""LiteLLM's names for the conventions' well-known providers; models of others get no prefix."""


class OtelGenAI(JoiningReader):
    """A span of a chat or completion is a call; log records with the id of the span are joined to it."""

    name = "otel-genai"
    many_rows = True

    def recognise(self, sample: Sample) -> float:
        """By the members of OTLP, or of the SDK's own JSON."""
        forms = (
            ("resourceSpans",), ("resource_spans",), ("resourceLogs",), ("resource_logs",),
            ("traceId", "spanId", "attributes"), ("context", "attributes", "start_time", "kind", "resource"),
        )  # fmt: skip
        return 0.9 * max(sample.share(*form) for form in forms)

    def rows(self, record: Record) -> Iterator[Record]:
        """The spans and log records in one request of an exporter, with plain values of their attributes."""
        return plain_rows(record)

    def key(self, row: Record) -> str | None:
        """The ids of trace and span."""
        trace, span = words(row.get("trace_id")), words(row.get("span_id"))
        return f"{trace}/{span}" if trace and span else None

    def join(self, rows: Sequence[Record]) -> Sequence[Result]:
        """The span as a call, with the details of its log records."""
        logs = [Event.of(row) for row in rows if row.get("kind") == "log"]
        results = [_result(row, logs) for row in rows]
        if any(isinstance(result, dict) for result in results):
            return results
        return [NO_CALL_OF_EVENT if result is JOINED else result for result in results]


def _result(row: Record, logs: Sequence[Event]) -> Result:
    if not row:
        return NO_RECORD
    if row.get("kind") == "log":
        return JOINED if Event.of(row).name.startswith("gen_ai.") else OTHER_EVENT
    if row.get("kind") != "span":
        return _NO_SPAN
    events = [*(Event.of(event) for event in listed(row.get("events")) if isinstance(event, dict)), *logs]
    return _call(row, _with_details(mapping(row.get("attributes")), events), events)


def _with_details(attributes: AttributeMap, events: Iterable[Event]) -> AttributeMap:
    """The attributes of a span, with those of the event for details that are too large for a span."""
    added = [event.attributes for event in events if event.name == _DETAILS]
    return {name: value for one in (*added, attributes) for name, value in one.items()}


def _call(row: Record, attributes: AttributeMap, events: Sequence[Event]) -> Result:
    if not any(name.startswith("gen_ai.") for name in attributes):
        return NO_GENAI
    operation = first_words(attributes.get("gen_ai.operation.name"), attributes.get("llm.request.type"))
    if operation is not None and operation not in _OPERATIONS:
        return OTHER_CALL
    fields = messages_of(attributes, events)
    if not fields:
        return NO_PROMPT
    model = _model(attributes)
    if model is None:
        return NO_MODEL
    call = {
        **fields, **tools_of(attributes), "model": model, **_labels(row, attributes),
        **filled({"effort": effort_word(attributes.get("gen_ai.request.reasoning.level"))}),
        **_amounts(row, attributes), **_evidence(attributes),
    }  # fmt: skip
    result = with_error(call, error) if (error := _error(row, attributes, events)) else call
    return with_judgements(result, _judgements(events)) if isinstance(result, dict) else result


def _model(attributes: AttributeMap) -> str | None:
    """The requested model, by LiteLLM's name for it."""
    model = first_words(attributes.get("gen_ai.request.model"), attributes.get("gen_ai.response.model"))
    provider = first_words(attributes.get("gen_ai.provider.name"), attributes.get("gen_ai.system"))
    known = _PROVIDERS.get(provider.lower()) if provider else None
    if model is None or known is None or model.startswith(f"{known}/"):
        return model
    return f"{known}/{model}"


def _labels(row: Record, attributes: AttributeMap) -> Call:
    conversation = first_words(attributes.get("gen_ai.conversation.id"), attributes.get("session.id"))
    session = first_words(conversation, row.get("trace_id"))
    return filled({"call_id": READER.key(row), "session_id": session, "time": row.get("start")})


def _amounts(row: Record, attributes: AttributeMap) -> Call:
    amounts: Call = {
        "cost_usd": first_given(*(attributes.get(name) for name in _COSTS)),
        "input_tokens": _usage(attributes, "input_tokens", "prompt_tokens"),
        "output_tokens": _usage(attributes, "output_tokens", "completion_tokens"),
        "latency_s": seconds_between(row.get("start"), row.get("end")),
    }
    return filled(amounts, zeros=True)


def _usage(attributes: AttributeMap, *names: str) -> Json:
    return first_given(*(attributes.get(f"gen_ai.usage.{name}") for name in names))


def _evidence(attributes: AttributeMap) -> Call:
    reason = member(listed(attributes.get("gen_ai.response.finish_reasons")), 0)
    answer = unpacked(
        first_given(attributes.get("gen_ai.output.messages"), attributes.get("gen_ai.completion"))
    )
    reason = first_words(reason, member(answer, 0, "finish_reason"))
    return filled({"finish_reason": reason, "answer": answer})


def _error(row: Record, attributes: AttributeMap, events: Sequence[Event]) -> str | None:
    """The class of the error that ended the call; "error" if it is unknown, None without an error."""
    raised = [event.attributes.get("exception.type") for event in events if event.name == "exception"]
    return error_class(attributes.get("error.type"), *raised) or (
        "error" if row.get("failed") is True else None
    )


def _judgements(events: Iterable[Event]) -> Iterator[Judgement | None]:
    for event in events:
        if event.name == _EVALUATION:
            name = event.attributes.get("gen_ai.evaluation.name")
            for part in ("label", "value"):
                value = event.attributes.get(f"gen_ai.evaluation.score.{part}")
                yield judgement_of("evaluation", name, value)


READER = OtelGenAI()
