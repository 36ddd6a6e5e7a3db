"""Rows for tests of the call log, what a log holds of them, and processes that write it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from router.call_log.log import Buffer, CallRecord, read_rows
from router.records import Json
from tests.services.waiting import PATIENCE_S

ROOT = Path(__file__).parents[3]
QUICK = Buffer(interval_s=0.01, close_s=PATIENCE_S)
"""Rows are written soon, and closing waits for the last of them on a slow machine too."""
QUESTION = [{"role": "user", "content": "Is it open?"}]
FILES = ("calls.db", "calls.jsonl")


def record(call_id: str = "call-1", **fields: Json) -> CallRecord:
    values: dict[str, Any] = {"time": 1_790_000_000.0, "messages": QUESTION, "model": "small", **fields}
    return CallRecord(call_id=call_id, **values)


def rows_of(url: str | Path) -> list[dict[str, Json]]:
    return list(read_rows(url))


def only_row(url: str | Path) -> dict[str, Json]:
    (row,) = rows_of(url)
    return row


def call_ids(url: str | Path) -> list[str]:
    return [row["call_id"] for row in rows_of(url)]


def start_python(code: str, *arguments: object, cwd: Path | None = None) -> subprocess.Popen[str]:
    """A Python process that runs the code, with the arguments in `sys.argv[1:]`."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    settings = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=settings, cwd=cwd
    )


def run_python(code: str, *arguments: object) -> str:
    """What such a process printed; it must succeed."""
    process = start_python(code, *arguments)
    output, errors = process.communicate(timeout=2 * PATIENCE_S)
    assert process.returncode == 0, errors
    return output
