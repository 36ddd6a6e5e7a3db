"""Joins the requests and results of a provider's batch, which are in two files, by `custom_id`."""

from __future__ import annotations

from collections.abc import Sequence

from training.readers.protocol import (
    JOINED,
    NO_RECORD,
    JoiningReader,
    Record,
    Rejected,
    Result,
    Skipped,
)

NO_RESULT = Skipped("request without a result")
NO_REQUEST = Skipped("result without its request")
NEVER_RUN = Skipped("batch expired or canceled before the request was run")
SHARED_ID = Skipped("custom_id of several requests: import each batch alone")
NO_ROW = Rejected("neither a request nor a result of a batch")
NO_ID = Rejected("custom_id is missing")


class BatchReader(JoiningReader):
    """A result becomes a call with the prompt of its request; the request counts as joined.

    A `custom_id` is unique only within its batch, and results don't name their batch. If different requests
    share a `custom_id`, the request of a result is unknown.
    """

    def is_request(self, row: Record) -> bool:
        """Whether a row is a request."""
        raise NotImplementedError

    def is_result(self, row: Record) -> bool:
        """Whether a row is a result."""
        raise NotImplementedError

    def call_of(self, request: Record, result: Record) -> Result:
        """The call of a request and its result."""
        raise NotImplementedError

    def key(self, row: Record) -> str | None:
        """The id that the application chose for the request."""
        name = row.get("custom_id")
        usable = isinstance(name, str | int) and not isinstance(name, bool) and name != ""
        return str(name) if usable else None

    def join(self, rows: Sequence[Record]) -> Sequence[Result]:
        """Each result as a call; a request with a result is joined, even if it was sent twice."""
        requests = [row for row in rows if self.is_request(row)]
        answered = any(self.is_result(row) for row in rows)
        shared = any(request != requests[0] for request in requests)
        return [self._result(row, requests, answered=answered, shared=shared) for row in rows]

    def _result(self, row: Record, requests: Sequence[Record], *, answered: bool, shared: bool) -> Result:
        is_request = self.is_request(row)
        if not is_request and not self.is_result(row):
            return NO_ROW if row else NO_RECORD
        if self.key(row) is None:
            return NO_ID
        if is_request and not answered:
            return NO_RESULT
        if not requests:
            return NO_REQUEST
        if shared:
            return SHARED_ID
        return JOINED if is_request else self.call_of(requests[0], row)
