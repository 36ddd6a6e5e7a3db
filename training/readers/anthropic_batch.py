"""Anthropic's message batches: the requests that were sent, and the results, whose order is another."""

from __future__ import annotations

from collections.abc import Iterable

from router.records import Json
from training.readers.batch_prices import BatchUsage, batch_cost
from training.readers.batch_reader import NEVER_RUN, BatchReader
from training.readers.litellm_records import NO_MODEL
from training.readers.protocol import NO_PROMPT, Apart, Call, Record, Rejected, Result, Sample
from training.readers.provider_errors import provider_outcome
from training.readers.request_shapes import answer_evidence, request_fields
from training.readers.values import first_words, listed, mapping, member, words

NO_VERDICT = Rejected("result.type is none of succeeded, errored, canceled, expired")


class AnthropicBatch(BatchReader):
    """Requests are lines of `custom_id` and `params`, or the body with `requests` that made the batch."""

    name = "anthropic-batch"
    many_rows = True

    def recognise(self, sample: Sample) -> float:
        """By `custom_id` beside `params`, or beside a `result` with a type."""
        known = [row for row in sample.records if _is_known(row) or _is_known(member(_requests(row), 0))]
        return 0.9 * len(known) / len(sample.records) if sample.records else 0.0

    def rows(self, record: Record) -> Iterable[Record]:
        """The requests of a body; else the record."""
        if not isinstance(record.get("requests"), list) or "custom_id" in record:
            return (record,)
        return [one if isinstance(one, dict) else {"request": one} for one in _requests(record)]

    def is_request(self, row: Record) -> bool:
        """Whether it holds parameters."""
        return "params" in row

    def is_result(self, row: Record) -> bool:
        """Whether it holds a result."""
        return "result" in row

    def call_of(self, request: Record, result: Record) -> Result:
        """The model is named as the request did."""
        asked, given = mapping(request.get("params")), mapping(result.get("result"))
        message = mapping(given.get("message"))
        failed = _failure(given)
        if isinstance(failed, Apart | Rejected):
            return failed
        fields = request_fields(asked)
        if not fields:
            return NO_PROMPT
        names = words(asked.get("model")), words(message.get("model"))
        if (model := first_words(*names)) is None:
            return NO_MODEL
        fields["model"] = model
        fields |= {"call_id": name} if (name := words(message.get("id"))) else {}
        if (usage := BatchUsage.of(message.get("usage"))) is not None:
            fields |= {"input_tokens": usage.input, "output_tokens": usage.output}
            fields |= {"cost_usd": cost} if (cost := batch_cost(usage, *names)) is not None else {}
        return fields | (answer_evidence(message) if failed is None else failed)


def _requests(record: Record) -> list[Json]:
    return list(listed(record.get("requests")))


def _is_known(row: Json) -> bool:
    if not isinstance(row, dict) or "custom_id" not in row:
        return False
    return "params" in row or "type" in mapping(row.get("result"))


def _failure(given: Record) -> Call | Apart | Rejected | None:
    """What became of a request without a message; None for one that has it."""
    kind = given.get("type")
    if kind in ("canceled", "expired"):
        return NEVER_RUN
    if kind == "errored":
        return provider_outcome(None, given.get("error"))
    return None if kind == "succeeded" else NO_VERDICT


READER = AnthropicBatch()
