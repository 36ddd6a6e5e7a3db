"""Where a row stands in a log of several files, as one number."""

from __future__ import annotations

LINE_BITS = 40
"""A place is the file's number shifted by this, plus the line."""


def place_at(file: int, line: int) -> int:
    """The place of a line of a file."""
    return (file << LINE_BITS) + line
