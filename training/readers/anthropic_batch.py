"""Anthropic's message batches: the requests, and the results, which come in any order."""

from __future__ import annotations

from collections.abc import Iterable

from router.records import Json
from training.readers.batch_prices import batch_amounts
from training.readers.batch_reader import NEVER_RUN, BatchReader
from training.readers.protocol import NO_MODEL, NO_PROMPT, Call, Record, Rejected, Result, Sample, Skipped
from training.readers.provider_errors import provider_outcome
from training.readers.request_shapes import answer_evidence, request_fields
from training.readers.values import filled, first_words, listed, mapping, member, words

UNKNOWN_RESULT = Rejected("result.type is none of succeeded, errored, canceled, expired")


class AnthropicBatch(BatchReader):
    """A request is a line with `custom_id` and `params`, or one of the `requests` in the body of a batch."""

    name = "anthropic-batch"
    many_rows = True

    def recognise(self, sample: Sample) -> float:
        """By `custom_id` beside `params`, or beside a `result` with a type."""
        return 0.9 * sample.share_of(lambda row: _is_known(row) or _is_known(member(_requests(row), 0)))

    def rows(self, record: Record) -> Iterable[Record]:
        """The requests in a body; any other record as it is."""
        if not isinstance(record.get("requests"), list) or "custom_id" in record:
            return (record,)
        return [one if isinstance(one, dict) else {"request": one} for one in _requests(record)]

    def is_request(self, row: Record) -> bool:
        """Whether the row holds parameters."""
        return "params" in row

    def is_result(self, row: Record) -> bool:
        """Whether the row holds a result."""
        return "result" in row

    def call_of(self, request: Record, result: Record) -> Result:
        """The call with the model name of the request."""
        body, ending = mapping(request.get("params")), mapping(result.get("result"))
        message = mapping(ending.get("message"))
        failed = _failure(ending)
        if isinstance(failed, Skipped | Rejected):
            return failed
        fields = request_fields(body)
        if not fields:
            return NO_PROMPT
        names = words(body.get("model")), words(message.get("model"))
        if (model := first_words(*names)) is None:
            return NO_MODEL
        fields |= filled({"model": model, "call_id": words(message.get("id"))})
        fields |= batch_amounts(message.get("usage"), *names)
        return fields | (answer_evidence(message) if failed is None else failed)


def _requests(record: Record) -> list[Json]:
    return list(listed(record.get("requests")))


def _is_known(row: Json) -> bool:
    if not isinstance(row, dict) or "custom_id" not in row:
        return False
    return "params" in row or "type" in mapping(row.get("result"))


def _failure(ending: Record) -> Call | Skipped | Rejected | None:
    """The outcome of a request without a message; None if it has one."""
    kind = ending.get("type")
    if kind in ("canceled", "expired"):
        return NEVER_RUN
    if kind == "errored":
        return provider_outcome(None, ending.get("error"))
    return None if kind == "succeeded" else UNKNOWN_RESULT


READER = AnthropicBatch()
