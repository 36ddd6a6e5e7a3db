"""Logs as the runtime leaves them, for the tests of what reads them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from router.call_log.log import CallLog, CallRecord
from router.call_log.text import Redact, TextMode
from router.records import Json

NOON = 1789387200.0
"""2026-09-14T12:00:00Z."""
STORES = [
    pytest.param("calls.db", id="SQLite"),
    pytest.param("calls.jsonl", id="JSON lines"),
]


def record(call_id: str = "c1", **fields: Json) -> CallRecord:
    """One answered call; fields given override the plain one's."""
    plain: dict[str, Any] = {
        "request_id": call_id, "attempt": 1, "time": NOON, "model": "small", "decision_source": "learned",
        "messages": [{"role": "user", "content": "2 + 2?"}], "cost_usd": 0.001, "input_tokens": 10,
        "output_tokens": 20, "latency_s": 0.5, "baseline_model": "large", "baseline_cost_usd": 0.004,
    }  # fmt: skip
    return CallRecord(call_id=call_id, **{**plain, **fields})


def failed(call_id: str = "c1-1", **fields: Json) -> CallRecord:
    """An attempt that gave no answer, and another model's did."""
    nothing = dict.fromkeys(("cost_usd", "input_tokens", "output_tokens", "baseline_cost_usd"))
    return record(call_id, **{"error": "rate_limit: RateLimitError", **nothing, **fields})


def write_log(
    url: str | Path, *records: CallRecord, text: TextMode = "full", redact: Redact | None = None
) -> str:
    """Write the records with the runtime's own writer; returns the log's address."""
    fill(CallLog.open(url, text=text, redact=redact), records)
    return str(url)


def fill(log: CallLog, records: Iterable[CallRecord]) -> None:
    """Write the records, wait until they are stored, and close the log."""
    for one in records:
        log.write(one)
    assert log.flush(60)
    log.close()


def give(url: str | Path, **said: tuple[bool | None, float | None]) -> None:
    """Give feedback: success and score per call id."""
    log = CallLog.open(url)
    for call_id, (success, score) in said.items():
        log.feedback(call_id, success=success, score=score, source="test")
    fill(log, [])
