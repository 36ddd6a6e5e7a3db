"""Traces of LangSmith, Opik, Braintrust and Weave, made from their documented schemas.

In each, a run of the application has one of a model within it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from router.records import Json

_CHAT = [{"role": "user", "content": "2 + 2?"}]
_ANSWER = {"choices": [{"message": {"role": "assistant", "content": "4"}, "finish_reason": "stop"}]}
_START, _END = "2026-11-28T12:00:00.000000+00:00", "2026-11-28T12:00:01.500000+00:00"


def langsmith(run: str = "a", parent: str | None = "r", **fields: Json) -> dict[str, Json]:
    """A run of a model, as the API returns it; fields given override the plain one's."""
    metadata = {"ls_provider": "openai", "ls_model_name": "gpt-4o", "thread_id": "s1"}
    row: dict[str, Json] = {
        "id": run, "name": "ChatOpenAI", "run_type": "llm", "trace_id": "r", "parent_run_id": parent,
        "dotted_order": "20261128T120000000000Zr", "session_id": "project", "status": "success",
        "start_time": _START, "end_time": _END, "error": None, "tags": ["prod"], "events": [],
        "inputs": {"messages": [[{"type": "human", "content": "2 + 2?"}]]}, "reference_example_id": None,
        "outputs": {"generations": [[{"text": "4", "generation_info": {"finish_reason": "stop"}}]]},
        "extra": {"metadata": metadata, "invocation_params": {"model_name": "gpt-4o"}},
        "feedback_stats": None, "prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13,
        "prompt_cost": 0.25, "completion_cost": 0.25, "total_cost": 0.5,
    }  # fmt: skip
    return {**row, **fields}


def opik(run: str = "a", parent: str | None = "g", **fields: Json) -> dict[str, Json]:
    """A span of a model, as `search_spans` returns it."""
    row: dict[str, Json] = {
        "id": run, "trace_id": "r", "parent_span_id": parent, "project_id": "p", "name": "chat",
        "type": "llm", "start_time": _START, "end_time": _END, "input": {"messages": _CHAT},
        "output": _ANSWER, "metadata": {"thread_id": "s1"}, "model": "gpt-4o", "provider": "openai",
        "tags": ["prod"], "usage": {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13},
        "error_info": None, "feedback_scores": [], "total_estimated_cost": 0.5, "duration": 1500.0,
    }  # fmt: skip
    return {**row, **fields}


def braintrust(run: str = "a", parent: str | None = "r", **fields: Json) -> dict[str, Json]:
    """An event of a model's span, as `project_logs/fetch` returns it."""
    row: dict[str, Json] = {
        "id": run, "span_id": run, "root_span_id": "r", "span_parents": parent and [parent],
        "created": _START, "span_attributes": {"name": "Chat Completion", "type": "llm"}, "input": _CHAT,
        "output": [{"role": "assistant", "content": "4"}], "expected": None, "scores": {}, "error": None,
        "metadata": {"model": "gpt-4o", "provider": "openai", "session_id": "s1"}, "tags": ["prod"],
        "metrics": {"start": 1795867200.0, "end": 1795867201.5, "prompt_tokens": 10,
                    "completion_tokens": 3, "tokens": 13, "estimated_cost": 0.5},
    }  # fmt: skip
    return {**row, **fields}


def weave(run: str = "a", parent: str | None = "r", **fields: Json) -> dict[str, Json]:
    """A call of a model, as `calls/stream_query` returns it with costs and feedback."""
    costs = {"prompt_tokens_total_cost": 0.25, "completion_tokens_total_cost": 0.25}
    row: dict[str, Json] = {
        "id": run, "project_id": "shop/app", "trace_id": "r", "parent_id": parent, "thread_id": "s1",
        "op_name": "weave:///shop/app/op/openai.chat.completions.create:x1", "started_at": _START,
        "ended_at": _END, "inputs": {"model": "gpt-4o", "messages": _CHAT}, "output": _ANSWER,
        "attributes": {"tags": ["prod"]}, "exception": None,
        "summary": {
            "usage": {"gpt-4o": {"requests": 1, "prompt_tokens": 10, "completion_tokens": 3}},
            "weave": {"status": "success", "latency_ms": 1500, "costs": {"gpt-4o": costs}, "feedback": []},
        },
    }  # fmt: skip
    return {**row, **fields}


def weave_said(kind: str, **payload: Json) -> dict[str, Json]:
    """The summary of a call with feedback of that kind."""
    return {"weave": {"feedback": [{"feedback_type": kind, "payload": payload}]}}


LANGSMITH_ROOT = langsmith("r", None, run_type="chain", inputs={"question": "?"}, outputs={})
OPIK_ROOT = {"id": "r", "project_id": "p", "name": "app", "start_time": _START, "input": {}, "output": {}}
BRAINTRUST_ROOT = braintrust("r", None, span_attributes={"type": "task"}, metadata={}, input="?")
WEAVE_ROOT = weave("r", None, op_name="weave:///shop/app/op/answer:x1", inputs={"question": "?"})
_AS_TEXT = {name: json.dumps(langsmith()[name]) for name in ("inputs", "outputs", "extra")}
EXAMPLES: Mapping[str, Sequence[Json]] = {
    "langsmith": [
        langsmith(),
        langsmith("b", feedback_stats={"correct": {"n": 1, "avg": 1.0}}, **_AS_TEXT),
        {"runs": [langsmith("c"), dict(LANGSMITH_ROOT)], "cursors": {"next": None}},
    ],
    "opik": [
        opik(),
        {"content": [opik("b"), opik("c")], "page": 1, "size": 2, "total": 2},
        {"trace": dict(OPIK_ROOT), "spans": [opik("d")], "project_name": "shop"},
    ],
    "braintrust": [braintrust(), {"events": [braintrust("b"), dict(BRAINTRUST_ROOT)], "cursor": "x"}],
    "weave": [weave(), weave("b", summary=weave_said("wandb.reaction.1", emoji="👍"))],
}
