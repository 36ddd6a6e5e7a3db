"""One row for each attempt, kept for the accounts and for the next training."""

from router.call_log.log import CallLog, read_rows

__all__ = ["CallLog", "read_rows"]
