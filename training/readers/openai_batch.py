"""OpenAI's batches, and those of providers with the same files: requests, outputs and errors."""

from __future__ import annotations

from collections.abc import Mapping

from router.records import Json
from training.readers.batch_prices import batch_amounts
from training.readers.batch_reader import NEVER_RUN, BatchReader
from training.readers.litellm_records import OTHER_CALL
from training.readers.protocol import NO_MODEL, NO_PROMPT, Call, Record, Result, Sample, Skipped
from training.readers.provider_errors import provider_outcome
from training.readers.request_shapes import answer_evidence, request_fields
from training.readers.values import filled, first_given, first_words, mapping, member, words

_CHAT = ("completions", "responses", "messages")
_NEVER_RUN = ("batch_expired", "batch_cancelled", "batch_canceled")


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
        return "body" in row and "response" not in row

    def is_result(self, row: Record) -> bool:
        """Whether the row holds a response or an error."""
        return "response" in row and "error" in row

    def call_of(self, request: Record, result: Record) -> Result:
        """The call with the model name of the request: the response names a dated version."""
        if not _is_chat(request.get("url")):
            return OTHER_CALL
        body, response = mapping(request.get("body")), mapping(result.get("response"))
        answer = mapping(response.get("body"))
        failed = _failure(result, response, answer)
        if isinstance(failed, Skipped):
            return failed
        fields = request_fields(body)
        if not fields:
            return NO_PROMPT
        names = words(body.get("model")), words(answer.get("model"))
        if (model := first_words(*names)) is None:
            return NO_MODEL
        fields |= {"model": model, **_labels(body, result, response, answer)}
        fields |= batch_amounts(answer.get("usage"), *names)
        return fields | (answer_evidence(answer) if failed is None else failed)


def _is_chat(url: Json) -> bool:
    path = words(url)
    return path is None or path.partition("?")[0].rstrip("/").endswith(_CHAT)


def _failure(
    result: Record, response: Mapping[str, Json], answer: Mapping[str, Json]
) -> Call | Skipped | None:
    """The outcome of a call that failed; None if it was answered."""
    status = response.get("status_code")
    error = mapping(result.get("error")) or mapping(answer.get("error"))
    if error.get("code") in _NEVER_RUN:
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


READER = OpenAIBatch()
