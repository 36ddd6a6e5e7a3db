"""Rows of Langfuse's exports, from its reference of fields (blob-storage-export-fields, October 2026)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from router.records import Json

MESSAGES = [{"role": "user", "content": "2 + 2?"}]
OBSERVATION: Mapping[str, Json] = {
    "id": "o1", "trace_id": "t1", "project_id": "p", "environment": "production", "type": "GENERATION",
    "parent_observation_id": "", "start_time": "2026-05-29 13:46:19.963000",
    "end_time": "2026-05-29 13:46:21.463000", "name": "answer", "metadata": {}, "level": "DEFAULT",
    "status_message": "", "version": "", "input": json.dumps(MESSAGES), "output": "4",
    "provided_model_name": "gpt-4o", "model_parameters": '{"temperature":0.7}',
    "usage_details": {"input": 10, "input_cached_tokens": 5, "output": 3, "total": 18},
    "cost_details": {"input": 0.001, "output": 0.002, "total": 0.003}, "completion_start_time": None,
    "prompt_name": "", "prompt_version": None, "total_cost": 0.003, "latency": 1.5,
    "time_to_first_token": None, "model_id": "m", "created_at": "2026-05-29 13:46:22.000000",
    "updated_at": "2026-05-29 13:46:22.000000", "prompt_id": "", "tool_calls": [], "tool_call_names": [],
    "tool_definitions": {}, "user_id": "u", "session_id": "s1", "trace_name": "chat", "tags": ["web"],
    "release": "", "bookmarked": False, "public": False,
}  # fmt: skip
SCORE: Mapping[str, Json] = {
    "id": "c1", "timestamp": "2026-05-29 13:47:00.000000", "project_id": "p", "environment": "production",
    "trace_id": "t1", "observation_id": "o1", "session_id": None, "dataset_run_id": None, "name": "correct",
    "value": 1, "source": "API", "comment": None, "data_type": "BOOLEAN", "string_value": None,
    "created_at": "2026-05-29 13:47:00.000000", "updated_at": "2026-05-29 13:47:00.000000",
}  # fmt: skip
TRACE: Mapping[str, Json] = {
    "id": "t1", "timestamp": "2026-05-29 13:46:19.000000", "name": "chat", "environment": "production",
    "project_id": "p", "metadata": {}, "user_id": "u", "session_id": "s1", "release": None, "version": None,
    "public": False, "bookmarked": False, "tags": ["web"], "input": None, "output": None,
    "created_at": "2026-05-29 13:46:22.000000", "updated_at": "2026-05-29 13:46:22.000000",
}  # fmt: skip
MANIFEST: Mapping[str, Json] = {
    "version": 1, "projectId": "p", "exportSource": "OBSERVATIONS_V2",
    "window": {"minTimestamp": "2026-05-29T13:00:00.000Z", "maxTimestamp": "2026-05-29T14:00:00.000Z"},
    "maxTimestamp": "2026-05-29T14:00:00.000Z", "createdAt": "2026-05-29T14:21:07.000Z",
    "tables": ["observations_v2", "scores"],
    "files": [
        {
            "key": f"p/{table}/2026-05-29T14-00-00.jsonl.gz", "table": table, "fileType": "JSONL",
            "format": "jsonl-gzip", "compressed": True, "contentType": "application/gzip", "sizeBytes": 800,
            "rowCount": 1,
        }
        for table in ("observations_v2", "scores")
    ],
}  # fmt: skip
"""What an export writes last, to `PROJECT/manifests/TIME.json`."""


def camel(row: Mapping[str, Json]) -> dict[str, Json]:
    """The row with its names as the API spells them."""
    spelled = {name: name.split("_") for name in row}
    return {first + "".join(map(str.title, rest)): row[name] for name, (first, *rest) in spelled.items()}


PAGE: Mapping[str, Json] = {
    "data": [camel(OBSERVATION)], "meta": {"page": 1, "limit": 50, "totalItems": 1, "totalPages": 1}
}  # fmt: skip

EXAMPLES: Mapping[str, Sequence[Json]] = {
    "langfuse": [dict(OBSERVATION), {**camel(OBSERVATION), "id": "o2"}],
    "langfuse-api": [dict(PAGE)],
}
_OTHER: Mapping[str, Json] = {**OBSERVATION, "id": "o9", "trace_id": "t9"}
"""A call that no bent copy of another takes the place of, as the newest row of its id."""
COMPANIONS: Mapping[str, Sequence[Json]] = {
    "langfuse": [dict(SCORE), dict(TRACE), dict(_OTHER)],
    "langfuse-api": [{**PAGE, "data": [camel(_OTHER)]}],
}
