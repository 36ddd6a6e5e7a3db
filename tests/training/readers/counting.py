"""The calls of a log whose counts add up."""

from __future__ import annotations

from typing import Any

from training.reading.calls import CallFiles


def counted(files: CallFiles) -> list[dict[str, Any]]:
    """The calls, once every row has been found to be accounted for, and none to be rejected."""
    told = files.summary
    apart = sum(told.set_apart.values())
    assert told.rows == told.calls + told.duplicates + told.rejected + apart + told.joined
    assert told.rejected == 0
    return [row for frame in files.frames() for row in frame.to_pylist()]
