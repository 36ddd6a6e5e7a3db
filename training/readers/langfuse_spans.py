"""Translates spans of Langfuse's SDK to the names of the GenAI conventions.

Names: the mapping of properties on Langfuse's page on OpenTelemetry; its SDK writes them since version 3.
"""

from __future__ import annotations

from router.effort import effort_of
from training.readers.langfuse_fields import amounts
from training.readers.litellm_records import OTHER_CALL
from training.readers.otel_records import AttributeMap
from training.readers.protocol import Skipped
from training.readers.token_kinds import conventional_names
from training.readers.traced_runs import request_in
from training.readers.values import filled, first_given, mapping, unpacked, words

_OWN = "langfuse.observation."


def from_langfuse(attributes: AttributeMap) -> AttributeMap | Skipped:
    """What a generation says, by the names of GenAI; empty for any other convention."""
    kind = words(attributes.get(f"{_OWN}type"))
    if kind is None:
        return {}
    if kind.lower() != "generation":
        named = kind.lower() == "span" and any(name.startswith("gen_ai.") for name in attributes)
        return {} if named else OTHER_CALL
    model = words(first_given(attributes.get(f"{_OWN}model.name"), attributes.get("gen_ai.request.model")))
    parameters = mapping(attributes.get(f"{_OWN}model.parameters"))
    given = attributes.get(f"{_OWN}input")
    request = request_in(given, {name: parameters[name] for name in _REST if name in parameters})
    text = words(request.get("prompt"))
    counted = {name: attributes.get(f"{_OWN}{name}") for name in ("usage_details", "cost_details")}
    known = amounts(counted, model or "")
    failed = words(attributes.get(f"{_OWN}level")) == "ERROR"
    return filled(
        {
            "gen_ai.input.messages": [{"role": "user", "content": text}] if text else request.get("messages"),
            "gen_ai.tool.definitions": request.get("tools"),
            "gen_ai.openai.request.response_format": request.get("response_format"),
            "gen_ai.request.reasoning_effort": request.get("effort") or effort_of(parameters),
            "gen_ai.request.model": model,
            "gen_ai.output.messages": unpacked(attributes.get(f"{_OWN}output")),
            **conventional_names(known),
            "error.type": first_given(attributes.get(f"{_OWN}status_message"), "error") if failed else None,
            "tag.tags": attributes.get("langfuse.trace.tags"),
            "metadata": filled({"task_type": attributes.get("langfuse.trace.metadata.task_type")}),
        }
    )


_REST = ("tools", "response_format")
