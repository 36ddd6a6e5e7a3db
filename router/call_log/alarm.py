"""Warnings of the call log: one for each trouble, not one for each row."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from router.text import shown

logger = logging.getLogger(__name__)

MOST_NAMED = 3
"""Calls named in one warning."""


class LogAlarm:
    """The warnings of one log; `shown` is its name in them."""

    def __init__(self, shown: str, most_rows: int) -> None:
        self._shown = shown
        self._most_rows = most_rows
        self._warned: set[str] = set()
        self._out = False
        self._full = False

    def once(self, trouble: str) -> None:
        """Warn of a trouble the first time only."""
        if trouble not in self._warned:
            self._warned.add(trouble)
            logger.warning("call log %s: %s", self._shown, trouble)

    def outage(self, reason: str) -> None:
        """Warn that the log can't be written."""
        if not self._out:
            self._out = True
            logger.warning(
                "call log %s can't be written: %s; calls go on and their rows wait in memory, at most %d",
                self._shown,
                reason,
                self._most_rows,
            )

    def full(self) -> None:
        """Warn that rows are dropped because too many wait."""
        if not self._full:
            self._full = True
            logger.warning("call log %s: too many rows wait; further ones are dropped", self._shown)

    def refused(self, reasons: Iterable[str]) -> None:
        """Warn of rows that can never be stored."""
        for reason in sorted(set(reasons)):
            self.once(f"a row can't be stored and is dropped ({reason})")

    def unknown(self, call_ids: Sequence[str]) -> None:
        """Warn of feedback for calls that the log does not have."""
        more = f" and {len(call_ids) - MOST_NAMED:,} more" if len(call_ids) > MOST_NAMED else ""
        named = ", ".join(map(shown, call_ids[:MOST_NAMED]))
        logger.warning("call log %s: feedback for no call in the log: %s%s", self._shown, named, more)

    @property
    def is_on(self) -> bool:
        """Whether an outage or a full buffer was reported and is not over."""
        return self._out or self._full

    def over(self, lost: int) -> None:
        """Report that the log is written again.

        Args:
            lost: rows dropped meanwhile.
        """
        self._out = self._full = False
        level = logging.WARNING if lost else logging.INFO
        logger.log(level, "call log %s is written again; %d row(s) were dropped", self._shown, lost)

    def lost(self, rows: int) -> None:
        """Warn of rows that still waited at the end."""
        logger.warning("call log %s: %d row(s) could not be written and are lost", self._shown, rows)
