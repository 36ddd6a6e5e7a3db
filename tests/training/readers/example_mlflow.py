"""Traces as MLflow 3.17 gives them: `Trace.to_json`, and a row of `search_traces`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from router.records import Json

_MESSAGES = {"messages": [{"role": "user", "content": "2 + 2?"}]}
_ANSWER = {"choices": [{"finish_reason": "stop", "message": {"role": "assistant", "content": "4"}}]}
_VALUES = {
    "mlflow.traceRequestId": "tr-1", "mlflow.spanType": "LLM", "mlflow.spanInputs": _MESSAGES,
    "mlflow.spanOutputs": _ANSWER, "mlflow.llm.model": "gpt-4o", "response_cost": 0.0002,
    "mlflow.chat.tokenUsage": {"input_tokens": 10, "output_tokens": 3, "total_tokens": 13},
}  # fmt: skip
SPAN: Mapping[str, Json] = {
    "trace_id": "6Z7vPQA+iN2WdX2cA59KXA==", "span_id": "+7br8wz6U1g=", "parent_span_id": "2YnAOZ90hF8=",
    "name": "litellm-completion", "start_time_unix_nano": 1795568124157838080,
    "end_time_unix_nano": 1795568124724412928, "events": [],
    "status": {"code": "STATUS_CODE_OK", "message": ""},
    "attributes": {name: json.dumps(value) for name, value in _VALUES.items()}, "links": [],
}  # fmt: skip
_ROOT: Mapping[str, Json] = {
    **SPAN, "span_id": "2YnAOZ90hF8=", "parent_span_id": None, "name": "root",
    "attributes": {"mlflow.spanType": '"CHAIN"'},
}  # fmt: skip
_FEEDBACK: Mapping[str, Json] = {
    "assessment_id": "a-1", "assessment_name": "correct", "trace_id": "tr-1", "valid": True,
    "source": {"source_type": "HUMAN", "source_id": "x"}, "feedback": {"value": True},
}  # fmt: skip
INFO: Mapping[str, Json] = {
    "trace_id": "tr-1", "request_time": "2026-11-25T00:55:24.114Z", "state": "OK",
    "trace_metadata": {"mlflow.trace.session": "s1"}, "tags": {"mlflow.traceName": "root"},
    "assessments": [dict(_FEEDBACK)], "execution_duration_ms": 1362,
}  # fmt: skip


def trace(*spans: Mapping[str, Json], **info: Json) -> dict[str, Json]:
    """A trace of these spans; its info with these members in place of the example's."""
    return {"info": {**INFO, **info}, "data": {"spans": [dict(span) for span in spans]}}


EXAMPLES: Mapping[str, Sequence[Json]] = {
    "mlflow": [trace(_ROOT, SPAN), {
        "trace_id": "tr-1", "trace_metadata": {}, "tags": {}, "state": "OK",
        "spans": [dict(SPAN)], "assessments": [dict(_FEEDBACK)],
    }]
}  # fmt: skip
