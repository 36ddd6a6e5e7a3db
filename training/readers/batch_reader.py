"""The batches of OpenAI and Anthropic: requests and results, in two files, joined by `custom_id`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from router.records import Json
from training.readers.batch_prices import batch_amounts
from training.readers.judgements import provider_outcome
from training.readers.litellm_records import OTHER_CALL
from training.readers.protocol import (
    JOINED,
    NO_MODEL,
    NO_RECORD,
    Call,
    JoiningReader,
    Record,
    Rejected,
    Result,
    Sample,
    Skipped,
)
from training.readers.request_shapes import answer_evidence, request_fields, why_no_prompt
from training.readers.values import filled, first_given, first_words, listed, mapping, member, words

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


_CHAT = ("completions", "responses", "messages")
_NOT_RUN = ("batch_expired", "batch_cancelled", "batch_canceled")


def _call(body: Mapping[str, Json], answer: Mapping[str, Json], labels: Call, outcome: Call) -> Result:
    """The call with the model name of the request; an answer names a dated version."""
    fields = request_fields(body)
    if not fields:
        return why_no_prompt(body)
    names = words(body.get("model")), words(answer.get("model"))
    if (model := first_words(*names)) is None:
        return NO_MODEL
    return {**fields, "model": model, **labels, **batch_amounts(answer.get("usage"), *names), **outcome}


class OpenAIBatch(BatchReader):
    """The input file holds `method`, `url` and `body`; output and error files `response` and `error`."""

    name = "openai-batch"

    def recognise(self, sample: Sample) -> float:
        """By `custom_id` beside a body, or beside a response and an error."""
        return 0.9 * sample.share_of(
            lambda row: "custom_id" in row and (self.is_request(row) or self.is_result(row))
        )

    def is_request(self, row: Record) -> bool:
        """Whether the row holds a body to send."""
        return "body" in row and not self.is_result(row)

    def is_result(self, row: Record) -> bool:
        """Whether the row holds a response or an error."""
        return "response" in row or "error" in row

    def call_of(self, request: Record, result: Record) -> Result:
        """The call with the model name of the request: the response names a dated version."""
        if not _is_chat(request.get("url")):
            return OTHER_CALL
        body, response = mapping(request.get("body")), mapping(result.get("response"))
        answer = mapping(response.get("body"))
        failed = _openai_failure(result, response, answer)
        if isinstance(failed, Skipped):
            return failed
        labels = _labels(body, result, response, answer)
        return _call(body, answer, labels, answer_evidence(answer) if failed is None else failed)


def _is_chat(url: Json) -> bool:
    path = words(url)
    return path is None or path.partition("?")[0].rstrip("/").endswith(_CHAT)


def _openai_failure(
    result: Record, response: Mapping[str, Json], answer: Mapping[str, Json]
) -> Call | Skipped | None:
    """The outcome of a call that failed; None if it was answered."""
    status = response.get("status_code")
    error = mapping(result.get("error")) or mapping(answer.get("error"))
    if error.get("code") in _NOT_RUN:
        return NEVER_RUN
    if not error and status in (None, 200, "200") and answer:
        return None
    return provider_outcome(status, error)


def _labels(
    body: Mapping[str, Json], result: Record, response: Mapping[str, Json], answer: Mapping[str, Json]
) -> Call:
    metadata = body.get("metadata")
    return filled(
        {
            "call_id": first_words(answer.get("id"), response.get("request_id"), _row_id(result)),
            "time": first_given(answer.get("created"), answer.get("created_at")),
            "task_type": first_words(member(metadata, "task_type"), member(metadata, "task")),
        }
    )


def _row_id(result: Record) -> str | None:
    """The id of an error with that of its request: the provider's guide has two errors with one id."""
    name = words(result.get("id"))
    return f"{name}:{result.get('custom_id')}" if name else None


OPENAI = OpenAIBatch()


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
        failed = _anthropic_failure(ending)
        if isinstance(failed, Skipped | Rejected):
            return failed
        labels = filled({"call_id": words(message.get("id"))})
        return _call(body, message, labels, answer_evidence(message) if failed is None else failed)


def _requests(record: Record) -> list[Json]:
    return list(listed(record.get("requests")))


def _is_known(row: Json) -> bool:
    if not isinstance(row, dict) or "custom_id" not in row:
        return False
    return "params" in row or "type" in mapping(row.get("result"))


def _anthropic_failure(ending: Record) -> Call | Skipped | Rejected | None:
    """The outcome of a request without a message; None if it has one."""
    kind = ending.get("type")
    if kind in ("canceled", "expired"):
        return NEVER_RUN
    if kind == "errored":
        return provider_outcome(None, ending.get("error"))
    return None if kind == "succeeded" else UNKNOWN_RESULT


ANTHROPIC = AnthropicBatch()
