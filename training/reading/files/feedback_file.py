"""The feedback that the runtime keeps beside a log of JSON lines: its file, and its join with the calls."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from router.call_log.address import LINE_FILES
from router.records import Json
from training.readers.cells import boolean, number, parse_json, plain_text
from training.reading.files.log_file import lines_of, open_log

logger = logging.getLogger(__name__)

_MARK = ".feedback"
_CREATE = """
CREATE TABLE feedback (call_id TEXT PRIMARY KEY, success INTEGER, score REAL, source TEXT) WITHOUT ROWID
"""
_KEEP_LATEST = "INSERT OR REPLACE INTO feedback VALUES (?, ?, ?, ?)"


def feedback_beside(log: str) -> Path | None:
    """The file of feedback beside a log of JSON lines (`calls.feedback.jsonl`); None if there is none."""
    path = Path(log.removesuffix(".gz"))
    if path.suffix not in LINE_FILES or path.stem.endswith(_MARK):
        return None
    return _plain_or_packed(path.with_suffix(f"{_MARK}{path.suffix}"))


def log_beside(feedback: str) -> Path | None:
    """The log whose feedback a file holds; None if the file holds no feedback, or the log does not exist."""
    path = Path(feedback.removesuffix(".gz"))
    if path.suffix not in LINE_FILES or not path.stem.endswith(_MARK):
        return None
    return _plain_or_packed(path.with_name(path.stem.removesuffix(_MARK) + path.suffix))


def _plain_or_packed(path: Path) -> Path | None:
    return next((file for file in (path, Path(f"{path}.gz")) if file.is_file()), None)


class Feedback:
    """The feedback of each call that arrived last, in a temporary SQLite file: memory stays the same."""

    def __init__(self, path: Path) -> None:
        """Read the file, and leave out lines that are not feedback, with a warning."""
        # One task reads a log, but each of its batches may run in another thread.
        self._rows = sqlite3.connect("", check_same_thread=False)
        self._rows.execute(_CREATE)
        self._rows.executemany(_KEEP_LATEST, _read(path))

    def joined(self, call: Mapping[str, Json], mapping: Mapping[str, str]) -> Mapping[str, Json]:
        """The logged call with its later feedback; what the feedback leaves open stays as logged.

        Args:
            mapping: source column per canonical field.
        """
        call_id = call.get(mapping.get("call_id", ""))
        row = self._rows.execute(
            "SELECT success, score, source FROM feedback WHERE call_id = ?",
            (None if call_id is None else str(call_id),),
        ).fetchone()
        if row is None:
            return call
        success, score, source = row
        later = {
            "success": None if success is None else bool(success), "score": score, "outcome_source": source
        }  # fmt: skip
        known = {mapping.get(name, name): value for name, value in later.items() if value is not None}
        return {**call, **known}


def _read(path: Path) -> Iterator[Sequence[Json]]:
    content, raw = open_log(str(path))
    bad = []
    with raw:
        for line, text in enumerate(lines_of(content), start=1):
            try:
                yield _row(parse_json(text)[0])
            except ValueError:
                bad.append(line)
    if bad:
        logger.warning("%s: left out %d line(s) that hold no feedback, first line %d", path, len(bad), bad[0])


def _row(value: Json) -> Sequence[Json]:
    """The columns of one line of feedback.

    Raises:
        ValueError: the line is not feedback.
    """
    if not isinstance(value, Mapping) or not isinstance(value.get("call_id"), str):
        raise ValueError(f"no feedback: {type(value).__name__}")
    success, score, source = (value.get(name) for name in ("success", "score", "source"))
    return (
        value["call_id"],
        boolean(success),
        number(score),
        plain_text(source),
    )
