"""Writes files whole or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from router.errors import CallLogError


@contextmanager
def draft_of(out: Path) -> Iterator[Path]:
    """Give the block a draft beside `out` to write, which replaces `out` if the block succeeds.

    Missing folders are created.

    Raises:
        CallLogError: `out` can't be written.
    """
    draft = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        yield draft
        draft.replace(out)
    except OSError as error:
        raise not_written(out, error) from error
    finally:
        with suppress(OSError):
            draft.unlink()


def write_whole(out: Path, text: str) -> None:
    """Write a text; a lone surrogate, which a log may hold, is written as its escape.

    Raises:
        CallLogError: `out` can't be written.
    """
    with draft_of(out) as draft:
        draft.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


def check_place(out: Path) -> None:
    """Raise if a file's place is a folder, before there is any work to lose.

    Raises:
        CallLogError: it is a folder.
    """
    if out.is_dir():
        raise not_written(out, IsADirectoryError(errno.EISDIR, ""))


def not_written(out: Path, error: OSError) -> CallLogError:
    """The error for a place that can't be written; it omits the draft's name, which the user doesn't know."""
    why = os.strerror(error.errno) if error.errno else str(error)
    return CallLogError(f"{out}: can't be written: {why}; choose another place")
