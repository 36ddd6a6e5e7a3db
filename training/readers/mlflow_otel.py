"""Translates MLflow's spans that were sent by OpenTelemetry to the names of the GenAI conventions.

Names: `mlflow.tracing.constant.SpanAttributeKey`, as of MLflow 3.17; the values are JSON text.
"""

from __future__ import annotations

from training.readers.litellm_records import CACHED, OTHER_CALL
from training.readers.mlflow_spans import MODELS, amounts_in, attributes_of, request_of, span_model
from training.readers.otel_records import AttributeMap
from training.readers.protocol import Skipped
from training.readers.token_kinds import conventional_names
from training.readers.traced_runs import evidence_in
from training.readers.values import filled, first_given, first_words, truth, words


def from_mlflow(attributes: AttributeMap) -> AttributeMap | Skipped:
    """What the span of a language model says, by the names of GenAI; empty for any other convention."""
    if attributes.keys().isdisjoint(("mlflow.spanType", "mlflow.spanInputs")):
        return {}
    said = attributes_of({"attributes": attributes})
    if said.get("mlflow.spanType") not in MODELS:
        return {} if any(name.startswith("gen_ai.") for name in said) else OTHER_CALL
    if truth(said.get("cache_hit")):
        return CACHED
    request, model = request_of(said), span_model(said)
    text = words(request.get("prompt"))
    evidence = evidence_in(said.get("mlflow.spanOutputs"))
    return filled(
        {
            "gen_ai.input.messages": [{"role": "user", "content": text}] if text else request.get("messages"),
            "gen_ai.tool.definitions": request.get("tools"),
            "gen_ai.openai.request.response_format": request.get("response_format"),
            "gen_ai.request.reasoning_effort": request.get("effort"),
            "gen_ai.request.model": model,
            "gen_ai.response.finish_reason": evidence.get("finish_reason"),
            "gen_ai.output.messages": evidence.get("answer"),
            **conventional_names(amounts_in(said, model)),
            "session.id": first_words(said.get("session.id"), said.get("mlflow.trace.session")),
            "metadata": filled({"task_type": first_given(*(said.get(name) for name in _TASKS))}),
        }
    )


_TASKS = ("mlflow.traceTag.task_type", "task_type")
