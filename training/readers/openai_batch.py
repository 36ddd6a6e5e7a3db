"""OpenAI's batches, and those of providers with the same files: requests, outputs and errors."""

from __future__ import annotations

from collections.abc import Mapping

from router.records import Json
from training.readers.batch_prices import BatchUsage, batch_cost
from training.readers.batch_reader import NEVER_RUN, BatchReader
from training.readers.litellm_records import NO_MODEL, OTHER_CALL
from training.readers.protocol import NO_PROMPT, Apart, Call, Record, Result, Sample
from training.readers.provider_errors import provider_outcome
from training.readers.request_shapes import answer_evidence, request_fields
from training.readers.values import first_given, first_words, mapping, member, words

_CHAT = ("completions", "responses", "messages")
_NEVER_RUN = ("batch_expired", "batch_cancelled", "batch_canceled")


class OpenAIBatch(BatchReader):
    """The input file holds `method`, `url` and `body`; output and error files `response` and `error`."""

    name = "openai-batch"

    def recognise(self, sample: Sample) -> float:
        """By `custom_id` beside a body, or beside a response and an error."""
        known = [row for row in sample.records if "custom_id" in row and (_asks(row) or _answers(row))]
        return 0.9 * len(known) / len(sample.records) if sample.records else 0.0

    def is_request(self, row: Record) -> bool:
        """Whether it holds a body to be sent."""
        return _asks(row)

    def is_result(self, row: Record) -> bool:
        """Whether it holds a response or an error."""
        return _answers(row)

    def call_of(self, request: Record, result: Record) -> Result:
        """The model is named as the request did: the response has the name of a dated version."""
        if not _is_chat(request.get("url")):
            return OTHER_CALL
        asked, response = mapping(request.get("body")), mapping(result.get("response"))
        answer = mapping(response.get("body"))
        failed = _failure(result, response, answer)
        if isinstance(failed, Apart):
            return failed
        fields = request_fields(asked)
        if not fields:
            return NO_PROMPT
        names = words(asked.get("model")), words(answer.get("model"))
        if (model := first_words(*names)) is None:
            return NO_MODEL
        fields |= {"model": model, **_labels(asked, result, response, answer)}
        if (usage := BatchUsage.of(answer.get("usage"))) is not None:
            fields |= {"input_tokens": usage.input, "output_tokens": usage.output}
            fields |= {"cost_usd": cost} if (cost := batch_cost(usage, *names)) is not None else {}
        return fields | (answer_evidence(answer) if failed is None else failed)


def _asks(row: Record) -> bool:
    return "body" in row and "response" not in row


def _answers(row: Record) -> bool:
    return "response" in row and "error" in row


def _is_chat(url: Json) -> bool:
    path = words(url)
    return path is None or path.partition("?")[0].rstrip("/").endswith(_CHAT)


def _failure(result: Record, response: Mapping[str, Json], answer: Mapping[str, Json]) -> Call | Apart | None:
    """What became of a call that failed; None for one that was answered."""
    status = response.get("status_code")
    error = mapping(result.get("error")) or mapping(answer.get("error"))
    if error.get("code") in _NEVER_RUN:
        return NEVER_RUN
    if not error and status in (None, 200, "200") and answer:
        return None
    return provider_outcome(status, error)


def _labels(
    asked: Mapping[str, Json], result: Record, response: Mapping[str, Json], answer: Mapping[str, Json]
) -> Call:
    found: Call = {
        "call_id": first_words(answer.get("id"), response.get("request_id"), _row_id(result)),
        "time": first_given(answer.get("created"), answer.get("created_at")),
        "task_type": first_words(
            member(asked.get("metadata"), "task_type"), member(asked.get("metadata"), "task")
        ),
    }
    return {name: value for name, value in found.items() if value}


def _row_id(result: Record) -> str | None:
    """An error's own id with the request's; the guide shows one id for two errors."""
    name = words(result.get("id"))
    return f"{name}:{result.get('custom_id')}" if name else None


READER = OpenAIBatch()
