"""Export requests of GenAI spans, by the semantic conventions and OTLP's mapping to JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from router.records import Json


def attributes(**values: Json) -> list[Json]:
    """OTLP's list of attributes; `__` in a name stands for a dot."""
    kinds = {str: "stringValue", int: "intValue", float: "doubleValue", bool: "boolValue"}
    return [
        {
            "key": name.replace("__", "."),
            "value": {kinds[type(value)]: str(value) if type(value) is int else value},
        }
        for name, value in values.items()
    ]


def request(*spans: Json) -> dict[str, Json]:
    """An export request with these spans."""
    scope = {"name": "instrumentation", "version": "1"}
    resource = {"attributes": attributes(service__name="shop")}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": scope, "spans": [*spans]}]}]}


_TIMES = {"startTimeUnixNano": "1780000000000000000", "endTimeUnixNano": "1780000001500000000"}
_MESSAGES = [{"role": "user", "parts": [{"type": "text", "content": "2 + 2?"}]}]
SPAN: Mapping[str, Json] = {
    "traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "b7ad6b7169203331", "name": "chat gpt-4o",
    "kind": 3, **_TIMES, "status": {"code": 1},
    "attributes": attributes(
        gen_ai__operation__name="chat", gen_ai__provider__name="openai", gen_ai__request__model="gpt-4o",
        gen_ai__input__messages=json.dumps(_MESSAGES), gen_ai__usage__input_tokens=10,
        gen_ai__usage__output_tokens=3, gen_ai__conversation__id="c1",
    ),
    "events": [{
        "name": "gen_ai.evaluation.result", "timeUnixNano": "1780000002000000000",
        "attributes": attributes(gen_ai__evaluation__name="Relevance", gen_ai__evaluation__score__value=0.75),
    }],
}  # fmt: skip
_OLDER: Mapping[str, Json] = {
    **SPAN, "spanId": "b7ad6b7169203332",
    "attributes": attributes(gen_ai__system="openai", gen_ai__request__model="gpt-4"),
    "events": [
        {"name": "gen_ai.content.prompt",
         "attributes": attributes(gen_ai__prompt='[{"role": "user", "content": "a"}]')},
    ],
}  # fmt: skip

EXAMPLES: Mapping[str, Sequence[Json]] = {"otel-genai": [request(dict(SPAN), dict(_OLDER)), dict(SPAN)]}
