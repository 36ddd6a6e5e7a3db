"""Rows of Helicone, made from its documentation.

The schema is `HeliconeRequest` of "Get Requests", POST /v1/request/query-clickhouse.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from router.records import Json

_BODY = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "2 + 2?"}]}
_ANSWER = {"choices": [{"message": {"role": "assistant", "content": "4"}, "finish_reason": "stop"}]}


def helicone_row(**fields: Json) -> dict[str, Json]:
    """A row, as `@helicone/export --include-body` writes it; fields given override the plain one's."""
    row: dict[str, Json] = {
        "response_id": "b1", "response_created_at": "2026-01-01T00:00:02.500Z", "response_status": 200,
        "response_model": "gpt-4o-mini-2024-07-18", "request_id": "a1",
        "request_created_at": "2026-01-01T00:00:01.000Z", "request_body": _BODY, "response_body": _ANSWER,
        "request_path": "https://api.openai.com/v1/chat/completions", "request_user_id": "u1",
        "request_properties": {"Task": "math", "Helicone-Session-Id": "s1", "Team": "shop"},
        "request_model": "gpt-4o-mini", "model_override": None, "helicone_user": None, "provider": "OPENAI",
        "delay_ms": 1500, "time_to_first_token": 300, "total_tokens": 14, "prompt_tokens": 10,
        "prompt_cache_write_tokens": 0, "prompt_cache_read_tokens": 0, "completion_tokens": 4,
        "cost": 0.00002, "costUSD": 0.00002, "prompt_id": None, "prompt_version": None,
        "feedback_created_at": None, "feedback_id": None, "feedback_rating": None, "signed_body_url": None,
        "llmSchema": None, "country_code": "DE", "asset_ids": [], "asset_urls": {}, "scores": {},
        "properties": {}, "assets": [], "target_url": "https://api.openai.com/v1/chat/completions",
        "model": "gpt-4o-mini-2024-07-18", "cache_enabled": False,
        "cache_reference_id": "00000000-0000-0000-0000-000000000000", "ai_gateway_body_mapping": None,
    }  # fmt: skip
    return {**row, **fields}


EXAMPLES: Mapping[str, Sequence[Json]] = {
    "helicone": [
        helicone_row(),
        helicone_row(request_id="a2", feedback_rating=False, scores={"accuracy": 1}),
        {"data": [helicone_row(request_id="a3"), helicone_row(request_id="a4")], "error": None},
    ]
}
