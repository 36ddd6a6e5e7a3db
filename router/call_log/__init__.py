"""Log one row for each attempt, for the accounts and for the next training."""

from router.call_log.log import Buffer, CallLog, CallRecord, Counts, read_rows

__all__ = ["Buffer", "CallLog", "CallRecord", "Counts", "read_rows"]
