"""Records of clouds' and gateways' own logs, made from their documented schemas and from public records."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from router.records import Json

ASKED = {"role": "user", "content": "2 + 2?"}
CHAT = {"model": "gpt-4o-mini", "messages": [ASKED], "max_tokens": 100, "metadata": {"task_type": "math"}}
COMPLETION = {
    "id": "chatcmpl-A1",
    "object": "chat.completion",
    "created": 1764325801,
    "model": "gpt-4o-mini-2024-07-18",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "4"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100},
}
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5-20250929",
    "content": [{"type": "text", "text": "4"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 100, "cache_read_input_tokens": 1000, "output_tokens": 50},
}

CONVERSE = {
    "schemaType": "ModelInvocationLog",
    "schemaVersion": "1.0",
    "timestamp": "2026-03-11T00:38:02Z",
    "accountId": "1",
    "identity": {"arn": "arn:aws:iam::1:user/a"},
    "region": "us-east-1",
    "requestId": "b1",
    "operation": "Converse",
    "modelId": "amazon.nova-lite-v1:0",
    "requestMetadata": {"team": "a"},
    "input": {
        "inputContentType": "application/json",
        "inputTokenCount": 4,
        "cacheReadInputTokenCount": 6,
        "inputBodyJson": {
            "messages": [{"role": "user", "content": [{"text": "2 + 2?"}]}],
            "system": [{"text": "Be brief."}],
            "inferenceConfig": {"maxTokens": 512},
        },
    },
    "output": {
        "outputContentType": "application/json",
        "outputTokenCount": 38,
        "outputBodyJson": {
            "output": {"message": {"role": "assistant", "content": [{"text": "4"}]}},
            "stopReason": "end_turn",
            "metrics": {"latencyMs": 302},
            "usage": {"inputTokens": 4, "outputTokens": 38, "totalTokens": 42},
        },
    },
}
PART = {
    "TimeGenerated": "2026-03-11T00:38:02Z",
    "CorrelationId": "c1",
    "SequenceNumber": 0,
    "ModelName": "gpt-4o",
    "DeploymentName": "chat",
    "IsStreamCompletion": False,
    "PromptTokens": 12,
    "CompletionTokens": 3,
    "TotalTokens": 15,
    "RequestMessages": json.dumps([ASKED]),
    "ResponseMessages": json.dumps([{"role": "assistant", "content": "4"}]),
    "Type": "ApiManagementGatewayLlmLog",
}
VERTEX = {
    "endpoint": "projects/p/locations/l/publishers/google/models/gemini-2.5-flash",
    "deployed_model_id": "",
    "logging_time": "2026-03-11 00:38:02 UTC",
    "request_id": "17",
    "request_payload": [],
    "response_payload": [],
    "full_request": {
        "contents": [{"role": "user", "parts": [{"text": "2 + 2?"}]}],
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "labels": {"team": "a"},
    },
    "full_response": {
        "candidates": [{"content": {"role": "model", "parts": [{"text": "4"}]}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 2, "thoughtsTokenCount": 5},
    },
}
RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1764325801,
    "status": "completed",
    "model": "gpt-4o-mini",
    "instructions": "Be brief.",
    "metadata": {"team": "a"},
    "previous_response_id": None,
    "error": None,
    "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "2 + 2?"}]}],
    "output": [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "4"}]}],
    "usage": {"input_tokens": 9, "output_tokens": 2, "total_tokens": 11},
}
PORTKEY = {
    "id": "p1",
    "trace_id": "t1",
    "created_at": "2026-03-11T00:38:02Z",
    "ai_org": "openai",
    "ai_model": "gpt-4o-mini",
    "request": json.dumps(CHAT),
    "response": json.dumps(COMPLETION),
    "response_status_code": 200,
    "response_time": 1500,
    "cost": 0.021,
    "req_units": 1000,
    "res_units": 100,
    "metadata": {"team": "a"},
}
EVENT = {
    "Cached": False,
    "Endpoint": "chat/completions",
    "Gateway": "g",
    "Metadata": {"team": "a"},
    "Metrics": {"cost": 0.0042, "durationMs": 1234},
    "Model": "gpt-4o-mini",
    "Provider": "openai",
    "RateLimited": False,
    "RequestBody": CHAT,
    "ResponseBody": COMPLETION,
    "StatusCode": 200,
    "Timestamp": "2026-03-11T00:38:02Z",
}
REPLAY = {
    "id": "r1",
    "timestamp": "2026-03-11T00:38:02Z",
    "request_id": "q",
    "session_id": "s",
    "turn_index": 0,
    "recipe": "v3",
    "decision": "math",
    "category": "math",
    "original_model": "auto",
    "selected_model": "small",
    "confidence_score": 0.8,
    "confidence_score_available": True,
    "signals": {},
    "lifecycle_state": "completed",
    "learning": {
        "adaptation": {"sampling": {"used": False}, "scores": {"small": {"score": 1}, "big": {"score": 0.5}}}
    },
    "outcomes": [{"source": "user", "target": "model", "target_ref": "small", "verdict": "good_fit"}],
    "request_body": json.dumps(CHAT),
    "response_body": json.dumps(COMPLETION),
    "response_status": 200,
    "duration_ms": 900,
    "prompt_tokens": 10,
    "completion_tokens": 2,
    "actual_cost": 0.002,
    "currency": "USD",
}

EXAMPLES: Mapping[str, Sequence[Json]] = {
    "bedrock": [CONVERSE, {"timestamp": 1, "message": json.dumps({**CONVERSE, "requestId": "b2"})}],
    "azure-apim": [PART, {**PART, "CorrelationId": "c2", "SequenceNumber": 1}],
    "vertex-ai": [VERTEX, {**VERTEX, "request_id": "18", "full_request": json.dumps(VERTEX["full_request"])}],
    "openai-stored": [RESPONSE, {"object": "list", "data": [{**COMPLETION, "messages": [ASKED]}]}],
    "anthropic-messages": [
        {"request": {**CHAT, "system": "Be brief."}, "response": MESSAGE},
        {**CHAT, "response": {**MESSAGE, "id": "msg_2"}},
    ],
    "portkey": [PORTKEY],
    "cloudflare": [EVENT],
    "vllm-sr": [REPLAY, {"data": [{**REPLAY, "id": "r2"}]}],
}
