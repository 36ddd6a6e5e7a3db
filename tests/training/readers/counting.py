"""The calls of a log whose counts add up."""

from __future__ import annotations

from typing import Any

from training.reading.calls import CallFiles


def counted(files: CallFiles) -> list[dict[str, Any]]:
    """The calls; asserts that every row is accounted for and none is rejected."""
    summary = files.summary
    skipped = sum(summary.set_apart.values())
    assert summary.rows == summary.calls + summary.duplicates + summary.rejected + skipped + summary.joined
    assert summary.rejected == 0
    return [row for frame in files.frames() for row in frame.to_pylist()]
