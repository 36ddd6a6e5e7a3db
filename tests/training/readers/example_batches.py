"""Rows of batches, made from the documented schemas.

OpenAI: the guide "Batch API"; of the reference, "The request input object" and "The request output object".
Anthropic: the guide "Batch processing"; of the reference, "Create a Message Batch" and "Retrieve Message
Batch results".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from router.records import Json


def openai_request(name: str, text: str = "2 + 2?", model: str = "gpt-4o-mini") -> Json:
    """A line of an input file."""
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}]
    body = {"model": model, "messages": messages, "max_tokens": 1000, "metadata": {"task_type": "math"}}
    return {"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": body}


def openai_output(name: str, answer: str = "4") -> Json:
    """A line of an output file."""
    choice = {"index": 0, "message": {"role": "assistant", "content": answer}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
    body = {
        "id": f"chatcmpl-{name}", "object": "chat.completion", "created": 1711652795,
        "model": "gpt-4o-mini-2024-07-18", "choices": [choice], "usage": usage, "system_fingerprint": "fp_1",
    }  # fmt: skip
    response = {"status_code": 200, "request_id": f"req_{name}", "body": body}
    return {"id": f"batch_req_{name}", "custom_id": name, "response": response, "error": None}


def openai_failure(name: str, status: int, **error: Json) -> Json:
    """A line of an error file: the provider refused the request."""
    response = {"status_code": status, "request_id": f"req_{name}", "body": {"error": error}}
    return {"id": f"batch_req_{name}", "custom_id": name, "response": response, "error": None}


def openai_expired(name: str) -> Json:
    """A line of an error file: the batch expired before the request was run."""
    error = {
        "code": "batch_expired",
        "message": "This request could not be executed in time.",
    }
    return {"id": f"batch_req_{name}", "custom_id": name, "response": None, "error": error}


def anthropic_request(name: str, text: str = "2 + 2?") -> Json:
    """An item of `requests`."""
    messages = [{"role": "user", "content": text}]
    params = {"model": "claude-haiku-4-5", "max_tokens": 1024, "system": "Be brief.", "messages": messages}
    return {"custom_id": name, "params": params}


def anthropic_result(name: str, kind: str = "succeeded", **error: Json) -> Json:
    """A line of the results."""
    result: dict[str, Json] = {"type": kind}
    if kind == "succeeded":
        usage = {
            "input_tokens": 1000, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 2000,
            "output_tokens": 100, "service_tier": "batch",
        }  # fmt: skip
        result["message"] = {
            "id": f"msg_{name}", "type": "message", "role": "assistant", "model": "claude-haiku-4-5-20251001",
            "content": [{"type": "text", "text": "4"}], "stop_reason": "end_turn", "usage": usage,
        }  # fmt: skip
    if kind == "errored":
        result["error"] = {"type": "error", "error": error}
    return {"custom_id": name, "result": result}


EXAMPLES: Mapping[str, Sequence[Json]] = {
    "openai-batch": [
        openai_output("r1"),
        openai_failure("r1", 429, code="rate_limit_exceeded", message="slow down"),
        openai_expired("r1"),
        openai_request("r2"),
    ],
    "anthropic-batch": [
        anthropic_result("r1"),
        anthropic_result("r1", "errored", type="overloaded_error", message="Overloaded"),
        anthropic_result("r1", "expired"),
        {"requests": [anthropic_request("r2"), anthropic_request("r3")]},
    ],
}
COMPANIONS: Mapping[str, Sequence[Json]] = {
    "openai-batch": [openai_request("r1")],
    "anthropic-batch": [anthropic_request("r1")],
}
