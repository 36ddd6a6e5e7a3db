"""Requests and results of a provider's batch, which stand in two files, joined on their `custom_id`."""

from __future__ import annotations

from collections.abc import Sequence

from training.readers.protocol import (
    JOINED,
    NO_RECORD,
    Apart,
    JoiningReader,
    Record,
    Rejected,
    Result,
)

NO_RESULT = Apart("request without a result")
NO_REQUEST = Apart("result without its request")
NEVER_RUN = Apart("batch expired or canceled before the request was run")
SHARED_ID = Apart("custom_id of several requests: import each batch alone")
NO_ROW = Rejected("neither a request nor a result of a batch")
NO_ID = Rejected("custom_id is missing")


class BatchReader(JoiningReader):
    """A result becomes a call with its request's prompt; the request counts as joined.

    A `custom_id` is unique in its batch only, and results don't name their batch: where requests that differ
    share one, nobody can tell whose a result is.
    """

    def is_request(self, row: Record) -> bool:
        """Whether a row asks."""
        raise NotImplementedError

    def is_result(self, row: Record) -> bool:
        """Whether a row answers."""
        raise NotImplementedError

    def call_of(self, request: Record, result: Record) -> Result:
        """The call that a request and its result make."""
        raise NotImplementedError

    def key(self, row: Record) -> str | None:
        """The id that the application gave to the request."""
        name = row.get("custom_id")
        usable = isinstance(name, str | int) and not isinstance(name, bool) and name != ""
        return str(name) if usable else None

    def join(self, rows: Sequence[Record]) -> Sequence[Result]:
        """Each result as a call; a request whose results are there is joined, also one sent again."""
        requests = [row for row in rows if self.is_request(row)]
        answered = any(self.is_result(row) for row in rows)
        shared = any(request != requests[0] for request in requests)
        return [self._result(row, requests, answered=answered, shared=shared) for row in rows]

    def _result(self, row: Record, requests: Sequence[Record], *, answered: bool, shared: bool) -> Result:
        asks = self.is_request(row)
        if not asks and not self.is_result(row):
            return NO_ROW if row else NO_RECORD
        if self.key(row) is None:
            return NO_ID
        if asks and not answered:
            return NO_RESULT
        if not requests:
            return NO_REQUEST
        if shared:
            return SHARED_ID
        return JOINED if asks else self.call_of(requests[0], row)
