"""Call logs as JSON lines: any number of processes append whole lines, which are read back in order."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path

from router.call_log.address import LogAddress
from router.call_log.file_lock import lock
from router.call_log.rows import COLUMNS, FEEDBACK_COLUMNS, Row, row_from_json, row_line
from router.errors import CallLogError
from router.errors.masking import without_credentials
from router.records import Json

logger = logging.getLogger(__name__)

_BUSY_S = 2.0
_READ_AT_ONCE = 1000


class LineStore:
    """A file of calls and, beside it, one of feedback: `calls.jsonl` and `calls.feedback.jsonl`.

    They are opened for each batch, so a file that was moved away is simply created again.
    """

    def __init__(self, address: LogAddress) -> None:
        self._address = address
        self.path = address.path
        self.feedback_path = address.path.with_suffix(f".feedback{address.path.suffix}")

    def append_calls(self, rows: Sequence[Row]) -> list[str]:
        """Add a line for each row: all of them, or none.

        Returns:
            An empty list: every row can be written.

        Raises:
            CallLogError: the file can't be written now.
        """
        return self._append(self.path, rows)

    def append_feedback(self, rows: Sequence[Row]) -> list[str]:
        """Add feedback; as `append_calls`."""
        return self._append(self.feedback_path, rows)

    def close(self) -> None:
        """Nothing is open between two batches."""

    def read(
        self,
        since: datetime | None = None,
        until: datetime | None = None,
        columns: Collection[str] = COLUMNS,
    ) -> Iterator[dict[str, Json]]:
        """Every call from `since` and before `until`, by time and call id, with its latest feedback.

        A database in a temporary folder of this user sorts and joins the lines in little memory; it takes
        about as much disk as the log.

        Raises:
            CallLogError: a file can't be read.
        """
        from router.call_log.store import DatabaseStore

        with tempfile.TemporaryDirectory(prefix="pointsman-") as folder:
            path = Path(folder) / "calls.db"
            sorter = DatabaseStore(LogAddress(kind="sqlite", path=path, shown=self._address.shown))
            try:
                calls = _read_rows(self.path, COLUMNS)
                while some := list(islice(calls, _READ_AT_ONCE)):
                    sorter.append_calls(some)
                feedback = _read_rows(self.feedback_path, FEEDBACK_COLUMNS)
                while some := list(islice(feedback, _READ_AT_ONCE)):
                    sorter.append_feedback(some)
                if path.is_file():
                    yield from sorter.read(since, until, columns)
            finally:
                sorter.close()

    def _append(self, path: Path, rows: Sequence[Row]) -> list[str]:
        if rows:
            lines = "".join(f"{row_line(row)}\n" for row in rows).encode()
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                _append(path, lines)
            except OSError as error:
                raise CallLogError(error.strerror or type(error).__name__) from None
        return []


def _append(path: Path, lines: bytes) -> None:
    """Add the lines at the file's end; if not all of them fit, the file stays as it was."""
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        lock(file, wait_s=_BUSY_S)
        end = os.lseek(file, 0, os.SEEK_END)
        if end and _last_byte(file, end) != b"\n":  # a process was killed in the middle of its last line
            lines = b"\n" + lines
        try:
            while lines:
                lines = lines[os.write(file, lines) :]
        except OSError:
            os.ftruncate(file, end)
            raise
    finally:
        os.close(file)


def _last_byte(file: int, end: int) -> bytes:
    os.lseek(file, end - 1, os.SEEK_SET)
    return os.read(file, 1)


def _read_rows(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    """The rows in a file; skips lines that hold none, as a killed process may leave half of one."""
    broken = 0
    try:
        with path.open("rb") as lines:
            for line in lines:
                try:
                    yield row_from_json(_object(line), columns)
                except (ValueError, RecursionError):
                    broken += 1
    except FileNotFoundError:
        return
    except OSError as error:
        raise CallLogError(f"{path}: can't be read: {error.strerror}") from error
    if broken:
        logger.warning("%s: %d line(s) hold no row and were left out", without_credentials(str(path)), broken)


def _object(line: bytes) -> dict[str, Json]:
    value = json.loads(line)
    if not isinstance(value, dict) or not value.get("call_id"):
        raise ValueError(f"a line holds {type(value).__name__}, no row")
    return value
