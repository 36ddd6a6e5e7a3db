"""Records of LiteLLM's formats: the members of a real proxy's, with other values."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from benchmarks.reading import payloads
from router.records import Json

_BODY = {"model": "smart", "messages": [{"role": "user", "content": "2 + 2?"}], "tools": []}
_ROW = {
    "request_id": "chatcmpl-1", "call_type": "acompletion", "api_key": "", "spend": 0.001, "total_tokens": 5,
    "prompt_tokens": 4, "completion_tokens": 1, "startTime": "2026-01-01T00:00:00+00:00",
    "endTime": "2026-01-01T00:00:01+00:00", "request_duration_ms": 1000, "model": "openai/small",
    "model_group": "smart", "custom_llm_provider": "openai", "metadata": json.dumps({"status": "success"}),
    "cache_hit": "False", "request_tags": '["a"]', "messages": "{}", "response": "{}", "session_id": "s1",
    "status": "success", "proxy_server_request": json.dumps(_BODY),
}  # fmt: skip
_FAILED = {
    **_ROW, "request_id": "2", "status": "failure", "spend": 0.0, "response": {},
    "metadata": {"error_information": {"error_class": "ContextWindowExceededError", "error_code": "400"}},
    "proxy_server_request": {"input": [{"role": "user", "content": "hi"}], "instructions": "Be brief."},
}  # fmt: skip
_ATTEMPT = {
    "id": "cm1", "job_id": "j", "request_id": "chatcmpl-1", "outcome": "tie", "router_name": "smart",
    "tier": "SIMPLE", "real_model": "openai/small", "shadow_model": "openai/large", "confidence": 0.9,
    "judge_cost": 0.001, "shadow_cost": 0.002, "real_cost": 0.001, "created_at": "2026-01-01T00:00:05",
}  # fmt: skip

EXAMPLES: Mapping[str, Sequence[Json]] = {
    "litellm-callback": [json.loads(line) for line in payloads(12)],
    "litellm-spend": [_ROW, _FAILED],
    "litellm-shadow": [_ATTEMPT],
}
COMPANIONS: Mapping[str, Sequence[Json]] = {"litellm-shadow": [_ROW]}
