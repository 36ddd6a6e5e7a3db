"""Feedback from outside the process that made the calls: stored, and checked against the log's calls."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from router.call_log.address import LogAddress
from router.call_log.log import Buffer, CallLog
from router.call_log.lookup import known_calls
from router.errors import CallLogError
from router.records import Json

WRITE_S = 10.0
"""Longest wait for a log that can't be written."""
_CLOSE_S = 0.1


class FeedbackWriter:
    """Adds feedback to a log that exists; close it after use."""

    def __init__(self, url: str) -> None:
        """Open the log.

        Raises:
            CallLogError: there is no such log, or it can't be read.
            MissingExtra: the database's driver is not installed.
        """
        known_calls(url, ())
        self._url = url
        self._shown = LogAddress.of(url).shown
        self._log = CallLog.open(url, buffer=Buffer(close_s=_CLOSE_S), warn_of_unknown=False)
        self._unsettled: list[str] = []

    def give(self, call_id: str, *, success: bool | None, score: float | None, source: str) -> None:
        """Add the outcome of a call; `settle` makes sure that it is stored.

        Raises:
            ValueError: neither success nor score, or a value of the wrong form.
        """
        self._log.feedback(call_id, success=success, score=score, source=source)
        self._unsettled.append(call_id)

    def give_line(self, line: bytes, source: str) -> None:
        """Add the outcome in one JSON object: `call_id`, `success` or `score`, and perhaps its own `source`.

        Raises:
            ValueError: it is not such an object.
        """
        feedback = json_object(line)
        self.give(
            feedback.get("call_id", ""),
            success=feedback.get("success"),
            score=feedback.get("score"),
            source=source if feedback.get("source") is None else feedback["source"],
        )

    def settle(self) -> list[str]:
        """Wait until all feedback is stored.

        Returns:
            Ids given since the last time that no call in the log has.

        Raises:
            CallLogError: it could not be stored.
        """
        self.store()
        call_ids, self._unsettled = self._unsettled, []
        known = known_calls(self._url, set(call_ids))
        return [call_id for call_id in dict.fromkeys(call_ids) if call_id not in known]

    def store(self) -> None:
        """Wait until all feedback is stored.

        Raises:
            CallLogError: it could not be stored.
        """
        whole = self._log.flush(WRITE_S)
        counts = self._log.counts
        if not whole or counts.dropped:
            lost = counts.waiting + counts.dropped
            raise CallLogError(
                f"{self._shown}: {lost} feedback(s) could not be written ({counts.written} were); give them "
                "again when the log can be written"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._log.close()


def json_object(line: bytes) -> Mapping[str, Json]:
    """The JSON object in a text.

    Raises:
        ValueError: there is another value, or none.
    """
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not valid JSON: {error}") from error
    if not isinstance(value, Mapping):
        raise ValueError(f"feedback is a JSON object, got {type(value).__name__}")
    return value
