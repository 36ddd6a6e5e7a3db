"""Reads the spans of an MLflow trace, in both schemas: what each says of a call, its nesting and errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from router.effort import effort_of
from router.records import Json
from training.readers.cells import parse_json
from training.readers.judgements import error_class
from training.readers.protocol import Call, Record
from training.readers.providers import litellm_model, provider_prefix
from training.readers.token_kinds import token_kinds
from training.readers.traced_runs import request_in, run_model, sum_of
from training.readers.values import filled, first_given, first_words, listed, mapping, member
from training.readers.zero_costs import paid

MODELS = ("LLM", "CHAT_MODEL")
"""Types of spans that are calls of a language model."""


def spans_of(trace: Record) -> Sequence[Record]:
    """The spans of a trace."""
    spans = listed(member(trace, "data", "spans")) or listed(trace.get("spans"))
    return [span for span in spans if isinstance(span, dict)]


def attributes_of(span: Record) -> Mapping[str, Json]:
    """The attributes of a span, parsed from JSON text."""
    return {name: _parsed(value) for name, value in mapping(span.get("attributes")).items()}


def _parsed(value: Json) -> Json:
    try:
        return parse_json(value)[0] if isinstance(value, str) else value
    except ValueError:
        return value


def is_model(span: Record) -> bool:
    """Whether the span is a call of a language model."""
    kind = mapping(span.get("attributes")).get("mlflow.spanType")
    return isinstance(kind, str) and kind.strip('"') in MODELS


def span_id(span: Record) -> str | None:
    """The span's id within its trace."""
    return first_words(span.get("span_id"), member(span, "context", "span_id"))


def llm_spans(spans: Sequence[Record]) -> tuple[Sequence[Record], Sequence[Record]]:
    """The spans of language models that contain no other, sorted by their end; then those that contain one.

    Two libraries that trace one call write two spans of it; the inner one has more details.
    """
    models = [span for span in spans if is_model(span)]
    parent_of = {span_id(span): _parent(span) for span in spans}
    ancestors: set[str] = set()
    for span in models:
        above = _parent(span)
        while above is not None and above not in ancestors:
            ancestors.add(above)
            above = parent_of.get(above)
    inner = [span for span in models if span_id(span) not in ancestors]
    outer = [span for span in models if span_id(span) in ancestors]
    return sorted(inner, key=_end), outer


def _parent(span: Record) -> str | None:
    return first_words(span.get("parent_span_id"), span.get("parent_id"))


def _end(span: Record) -> int:
    end = first_number(span.get("end_time_unix_nano"), span.get("end_time"))
    return int(end) if end is not None else 0


def first_number(*values: Json) -> int | None:
    """The first of the values that is a whole number."""
    whole = (value for value in values if isinstance(value, int) and not isinstance(value, bool))
    return next(whole, None)


def error_of(span: Record) -> str | None:
    """The class of the error that ended the span; "error" if it is unknown, None without an error."""
    code = first_words(member(span, "status", "code"), span.get("status_code"))
    if code not in ("STATUS_CODE_ERROR", "ERROR"):
        return None
    raised = [member(event, "attributes", "exception.type") for event in listed(span.get("events"))]
    message = first_words(member(span, "status", "message"), span.get("status_message"))
    return error_class(*(_parsed(one) for one in raised), message) or "error"


def request_of(attributes: Mapping[str, Json]) -> Call:
    """The request in the inputs; the rest of it may be attributes of their own. Empty without a prompt."""
    parameters = mapping(attributes.get("invocation_params"))
    tools = attributes.get("mlflow.chat.tools")
    rest = {"tools": tools} | {
        name: value
        for name in ("instructions", "system", "tools", "functions", "response_format", "text")
        if (value := first_given(attributes.get(name), parameters.get(name)))
    }
    fields = request_in(attributes.get("mlflow.spanInputs"), rest)
    return {**filled({"effort": effort_of(parameters) or effort_of(attributes)}), **fields} if fields else {}


def span_model(attributes: Mapping[str, Json]) -> str | None:
    """The model, with its provider in front where one is logged, as LiteLLM names it."""
    body = mapping(attributes.get("mlflow.spanInputs"))
    invoked, logged = run_model(attributes.get("invocation_params"), attributes.get("metadata"))
    names = "model", "modelId", "model_id", "model_name"
    model = first_words(
        attributes.get("mlflow.llm.model"), attributes.get("model"), attributes.get("model_name"),
        *(body.get(name) for name in names), invoked,
    )  # fmt: skip
    provider = first_words(attributes.get("custom_llm_provider"), attributes.get("mlflow.llm.provider"))
    if provider is None:
        return litellm_model(model, logged)
    prefix = provider_prefix(provider) or provider
    return model if model is None or model.startswith(f"{prefix}/") else f"{prefix}/{model}"


def amounts_in(attributes: Mapping[str, Json], model: str | None) -> Call:
    """Cost and tokens; MLflow's own cost comes before that of the traced library."""
    usage = _usage(attributes)
    own = mapping(attributes.get("mlflow.llm.cost"))
    parts = sum_of(own.get("input_cost"), own.get("output_cost"))
    costs = own.get("total_cost"), attributes.get("response_cost"), parts
    amounts: Call = {
        "cost_usd": first_given(*(paid(cost, model) for cost in costs)),
        "input_tokens": first_given(usage.get("input_tokens"), usage.get("prompt_tokens")),
        "output_tokens": first_given(usage.get("output_tokens"), usage.get("completion_tokens")),
        **token_kinds(usage),
    }
    return filled(amounts, zeros=True)


def _usage(attributes: Mapping[str, Json]) -> Mapping[str, Json]:
    """The counts of tokens: MLflow's own, the traced library's, or those in the answer."""
    outputs = mapping(attributes.get("mlflow.spanOutputs"))
    message = member(outputs, "generations", 0, 0, "message")
    given = (
        attributes.get("mlflow.chat.tokenUsage"), attributes.get("usage"), outputs.get("usage"),
        member(message, "usage_metadata"), member(outputs, "llm_output", "token_usage"),
    )  # fmt: skip
    return next((usage for one in given if (usage := mapping(one))), {})
