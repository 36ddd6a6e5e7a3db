"""Spans of OpenTelemetry's GenAI conventions, with their events and evaluations.

Names: the semantic conventions' registry of attributes `gen_ai.*` (current and deprecated ones), and the
mapping of OTLP to JSON. No convention names the cost, so this reader tries the names that
instrumentations use. Spans of other conventions (`openinference`, `vercel_ai`, `langfuse_spans`,
`mlflow_otel`) are translated to these names.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from router.effort import effort_of, effort_word
from router.records import Json
from training.readers import langfuse_spans, mlflow_otel, openinference, vercel_ai
from training.readers.judgements import Judgement, error_class, judgement_of, with_error, with_judgements
from training.readers.litellm_records import NO_CHAT, OTHER_CALL, REDACTED
from training.readers.otel_messages import Event, answer_of, events_of, messages_of, tools_of
from training.readers.otel_records import AttributeMap, flat_attributes, is_telemetry, plain_rows
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
from training.readers.providers import litellm_model
from training.readers.request_shapes import texts_in
from training.readers.token_kinds import token_kinds
from training.readers.traced_runs import sum_of, without_outer
from training.readers.values import (
    filled,
    first_given,
    first_words,
    is_zero,
    listed,
    mapping,
    seconds_between,
    usable_number,
    words,
)
from training.readers.zero_costs import paid

NO_GENAI = Skipped("no GenAI span")
OTHER_EVENT = Skipped("no GenAI event")
NO_CALL_OF_EVENT = Skipped("event of what is no call here")
_NO_SPAN = Rejected("not an OpenTelemetry span")

_EVALUATION = "gen_ai.evaluation.result"
_DETAILS = "gen_ai.client.inference.operation.details"
_CHATS = frozenset("chat text_completion generate_content completion".split())
_SPEAKING = (
    "gen_ai.",
    "llm.request.",
    "llm.prompts",
    "llm.usage.",
    "openinference.",
    "ai.",
    "langfuse.observation.",
    "mlflow.span",
)
"""Beginnings of the attributes of a model's call."""
_COSTS = (
    "gen_ai.usage.cost", "gen_ai.usage.total_cost", "gen_ai.cost.total_cost", "gen_ai.cost.total_tokens",
    "operation.cost", "llm.cost.total", "gen_ai.response.cost", "llm.usage.cost", "llm.usage.total_cost",
)  # fmt: skip
_COST_PARTS = (
    ("gen_ai.cost.input_tokens", "gen_ai.cost.output_tokens"),
    ("gen_ai.cost.input_cost", "gen_ai.cost.output_cost"),
    ("gen_ai.usage.input_cost", "gen_ai.usage.output_cost"),
    ("llm.cost.prompt", "llm.cost.completion"),
)
"""Costs of both sides, where there is none of the whole."""
_COST_NAMES = frozenset(_COSTS).union(*_COST_PARTS)
_INPUTS = (
    "gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "gen_ai.response.prompt_tokens",
    "llm.usage.prompt_tokens", "llm.usage.input_tokens", "llm.token_count.prompt",
)  # fmt: skip
_OUTPUTS = (
    "gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "gen_ai.response.completion_tokens",
    "llm.usage.completion_tokens", "llm.usage.output_tokens", "llm.token_count.completion",
)  # fmt: skip
_EFFORTS = (
    "gen_ai.request.reasoning.level", "gen_ai.request.reasoning.effort", "gen_ai.request.reasoning_effort",
    "llm.request.reasoning_effort", "gen_ai.openai.request.reasoning_effort",
    "gen_ai.request.thinking.budget_tokens", "gen_ai.request.thinking_budget",
)  # fmt: skip
_MODALITIES = ("text", "image", "audio", "video")


class OtelGenAI(JoiningReader):
    """A span of a chat or completion is a call; log records with the id of the span are joined to it."""

    name = "otel-genai"
    many_rows = True

    def recognise(self, sample: Sample) -> float:
        """By the members of OTLP, of the SDK's own JSON, or of a trace store's."""
        if {"context.trace_id", "context.span_id", "start_time"} <= sample.columns:
            return 0.9
        return 0.9 * sample.share_of(is_telemetry)

    def rows(self, record: Record) -> Iterator[Record]:
        """The spans and log records in one request of an exporter, with plain values of their attributes."""
        return plain_rows(record)

    def key(self, row: Record) -> str | None:
        """The trace."""
        return words(row.get("trace_id"))

    def join(self, rows: Sequence[Record]) -> Sequence[Result]:
        """The spans as calls, each with the details of its log records; of nested ones the innermost."""
        ids = [words(row.get("span_id")) for row in rows]
        logs: dict[str | None, list[Event]] = defaultdict(list)
        for name, row in zip(ids, rows, strict=True):
            if row.get("kind") == "log":
                logs[name].append(Event.of(row))
        results = [_result(row, logs[name] if name else ()) for name, row in zip(ids, rows, strict=True)]
        spans = {
            name: (row, result)
            for name, row, result in zip(ids, rows, results, strict=True)
            if name and row.get("kind") == "span"
        }
        calls = without_outer(
            {name: result for name, (_, result) in spans.items()},
            {name: words(row.get("parent_id")) for name, (row, _) in spans.items()},
            {name for name, (_, result) in spans.items() if result == OTHER_CALL},
        )
        return [
            calls.get(name or "", result)
            if row.get("kind") == "span"
            else _of_event(result, spans.get(name or ""))
            for name, row, result in zip(ids, rows, results, strict=True)
        ]


def _of_event(result: Result, span: tuple[Record, Result] | None) -> Result:
    """The result of a log record, which joins a span only if that is a call."""
    is_call = span is not None and isinstance(span[1], dict)
    return result if is_call or result is not JOINED else NO_CALL_OF_EVENT


def _result(row: Record, logs: Sequence[Event]) -> Result:
    if not row:
        return NO_RECORD
    if row.get("kind") == "log":
        return JOINED if Event.of(row).name.startswith("gen_ai.") else OTHER_EVENT
    if row.get("kind") != "span":
        return _NO_SPAN
    attributes = flat_attributes(mapping(row.get("attributes")))
    events = events_of(row, attributes, logs)
    named = _translated(_with_details(attributes, events))
    return named if isinstance(named, Skipped) else _call(row, named, events)


def _with_details(attributes: AttributeMap, events: Iterable[Event]) -> AttributeMap:
    """The attributes of a span, with those of the event for details that are too large for a span."""
    added = [event.attributes for event in events if event.name == _DETAILS]
    if not added:
        return attributes
    return {name: value for one in (*added, attributes) for name, value in one.items()}


def _translated(attributes: AttributeMap) -> AttributeMap | Skipped:
    """The attributes by their names of the GenAI conventions, or why they are no call's."""
    known = {name: value for name, value in attributes.items() if value is not None}
    if not any(name.startswith(_SPEAKING) for name in known):
        return NO_GENAI
    for dialect in (
        vercel_ai.from_vercel_ai,
        openinference.from_openinference,
        langfuse_spans.from_langfuse,
        mlflow_otel.from_mlflow,
    ):
        names = dialect(known)
        if isinstance(names, Skipped):
            return names
        known = {**names, **known} if names else known
    operation = _operation(known)
    return OTHER_CALL if operation is not None and NO_CHAT.search(operation) else known


def _operation(attributes: AttributeMap) -> str | None:
    return first_words(attributes.get("gen_ai.operation.name"), attributes.get("llm.request.type"))


def _call(row: Record, attributes: AttributeMap, events: Sequence[Event]) -> Result:
    fields = messages_of(attributes, events)
    if any(text == openinference.REDACTED_TEXT for text in texts_in(fields.get("messages"))):
        return REDACTED
    model = _model(attributes)
    call = {
        **fields, **tools_of(attributes), **filled({"model": model}), **_labels(row, attributes),
        **filled({"effort": _effort(attributes)}),
        **_amounts(row, attributes, model), **answer_of(attributes, events),
    }  # fmt: skip
    result = with_error(call, error) if (error := _error(row, attributes, events)) else call
    if isinstance(result, Skipped):
        return result if fields else NO_PROMPT
    result = with_judgements(result, [*_judgements(events), *openinference.judgements(attributes)])
    if not fields:
        return replace(NO_PROMPT, call=result)
    if model is None:
        own = _operation(attributes)
        return replace(NO_MODEL if own is None or own in _CHATS else OTHER_CALL, call=result)
    return result


def _effort(attributes: AttributeMap) -> str | None:
    """The reasoning effort of the conventions, else of OpenInference."""
    stated = next((word for name in _EFFORTS if (word := effort_word(attributes.get(name)))), None)
    return stated or effort_of(mapping(attributes.get("llm.invocation_parameters")))


def _model(attributes: AttributeMap) -> str | None:
    """The requested model, by LiteLLM's name for it."""
    names = ("gen_ai.request.model", "llm.request.model", "gen_ai.response.model", "llm.response.model")
    providers = ("gen_ai.provider.name", "gen_ai.system", "llm.vendor")
    model = first_words(*(attributes.get(name) for name in names))
    return litellm_model(model, *(attributes.get(name) for name in providers))


def _is_named(row: Record) -> bool:
    return words(row.get("trace_id")) is not None and words(row.get("span_id")) is not None


def _labels(row: Record, attributes: AttributeMap) -> Call:
    names = (
        "gen_ai.conversation.id", "session.id", "langfuse.session.id",
        "traceloop.association.properties.session_id",
    )  # fmt: skip
    session = first_words(*(attributes.get(name) for name in names), row.get("trace_id"))
    tags = [tag for tag in listed(attributes.get("tag.tags")) if isinstance(tag, str)]
    task = words(mapping(attributes.get("metadata")).get("task_type"))
    return filled(
        {
            "call_id": f"{row['trace_id']}/{row['span_id']}" if _is_named(row) else None,
            "session_id": session,
            "time": row.get("start"),
            "tags": tags,
            "task_type": task,
        }
    )


def _amounts(row: Record, attributes: AttributeMap, model: str | None) -> Call:
    amounts: Call = {
        "cost_usd": _cost(attributes, model),
        "input_tokens": _tokens(attributes, _INPUTS, "input"),
        "output_tokens": _tokens(attributes, _OUTPUTS, "output"),
        **token_kinds(
            {name: attributes[name] for name in attributes if ".usage." in name or ".token_count." in name}
        ),
        "latency_s": seconds_between(row.get("start"), row.get("end")),
    }
    return filled(amounts, zeros=True)


def _cost(attributes: AttributeMap, model: str | None) -> Json:
    """The cost, or the sum of both sides'; a zero only of a model that is known to be free."""
    if _COST_NAMES.isdisjoint(attributes):  # most spans
        return None
    whole = [attributes.get(name) for name in _COSTS]
    sums = [sum_of(*(attributes.get(name) for name in pair)) for pair in _COST_PARTS]
    costs = [cost for cost in (*whole, *sums) if cost is not None]
    return first_given(*(cost for cost in costs if not is_zero(cost)), *(paid(cost, model) for cost in costs))


def _tokens(attributes: AttributeMap, names: Sequence[str], side: str) -> Json:
    """The tokens of one side, or the sum over what they are of: text, images, sounds."""
    if (whole := first_given(*(attributes.get(name) for name in names))) is not None:
        return whole
    parts = [usable_number(attributes.get(f"gen_ai.usage.{one}.{side}_tokens")) for one in _MODALITIES]
    known = [part for part in parts if part is not None]
    return sum(known) if known else None


def _error(row: Record, attributes: AttributeMap, events: Sequence[Event]) -> str | None:
    """The class of the error that ended the call; "error" if it is unknown, None without an error."""
    exceptions = [event.attributes for event in events if event.name == "exception"]
    raised = [one.get(f"exception.{part}") for part in ("type", "message") for one in exceptions]
    stated = attributes.get("error.type"), *raised, row.get("message")
    failed = row.get("failed") is True
    return error_class(*stated) or ("error" if failed else None) if failed or any(stated[:-1]) else None


def _judgements(events: Iterable[Event]) -> Iterator[Judgement | None]:
    for event in events:
        if event.name == _EVALUATION:
            name = event.attributes.get("gen_ai.evaluation.name")
            for part in ("label", "value"):
                value = event.attributes.get(f"gen_ai.evaluation.score.{part}")
                yield judgement_of("evaluation", name, value)


READER = OtelGenAI()
