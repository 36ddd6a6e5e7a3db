"""Text files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from router.errors import CallLogError


def write_whole(out: Path, text: str) -> None:
    """Write a text beside its place, then move it there in one step; folders are made.

    Raises:
        CallLogError: `out` can't be written.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _write(out.with_name(f".{out.name}.{os.getpid()}"), out, text)
    except OSError as error:
        raise not_written(out, error) from error


def check_place(out: Path) -> None:
    """Refuse a file's place that is a folder, before there is anything to lose.

    Raises:
        CallLogError: it is one.
    """
    if out.is_dir():
        raise not_written(out, IsADirectoryError(errno.EISDIR, ""))


def not_written(out: Path, error: OSError) -> CallLogError:
    """The error for a place that can't be written; without the draft's name, which the user never chose."""
    why = os.strerror(error.errno) if error.errno else str(error)
    return CallLogError(f"{out}: can't be written: {why}; choose another place")


def _write(draft: Path, out: Path, text: str) -> None:
    try:
        # Half a surrogate pair, which a log may hold, is written as its escape.
        draft.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
        draft.replace(out)
    finally:
        draft.unlink(missing_ok=True)
