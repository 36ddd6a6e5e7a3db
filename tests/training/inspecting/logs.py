"""Inspections of small logs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from router.settings.sections import Config
from tests.training.logs import write_lines
from training.inspecting.inspection import Inspection, InspectJob, inspect_calls
from training.progress import Silent
from training.prompts.from_logs import ReadOptions


def inspected(
    folder: Path, *rows: dict[str, Any] | bytes, show_text: bool = False, config: Config | None = None
) -> Inspection:
    """The inspection of a log of these rows."""
    reading = ReadOptions(
        mapping={}, rejects=None, config=config or Config(), cache=folder, format="pointsman"
    )
    source = write_lines(folder / "calls.jsonl", *rows)
    return inspect_calls(InspectJob(sources=[source], reading=reading, show_text=show_text), Silent())


def many(number: int, **fields: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - any value of a log
    """Calls of one model on `number` prompts, every second a success."""
    return [
        {"prompt": f"{chr(97 + place % 26) * 5} {place} of many", "model": "small", "success": place % 2 == 0}
        | fields
        for place in range(number)
    ]
