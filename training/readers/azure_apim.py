"""Joins the rows of Azure API Management's language model log, which splits messages over 32 KB."""

from __future__ import annotations

from collections.abc import Sequence

from router.records import Json
from training.readers.exchanges import exchange, whole_number
from training.readers.protocol import JOINED, JoiningReader, Record, Rejected, Result, Sample, Skipped
from training.readers.values import filled, first_given, first_words, mapping, unpacked, words

_TELLING = ("CorrelationId", "SequenceNumber")
_SAYS = ("RequestMessages", "ResponseMessages", "PromptTokens", "ModelName")
_GATEWAY = ("ResponseCode", "IsRequestSuccess")

INCOMPLETE = Skipped("a part of the messages is missing")
NO_CALL_OF_ROW = Skipped("row of a gateway without a language model's")
_NO_ROW = Rejected("not a row of API Management's language model log")


class AzureApim(JoiningReader):
    """The rows of one request, by their numbers, are one call; a gateway's row has its status."""

    name = "azure-apim"
    tables = ("ApiManagementGatewayLlmLog",)

    def recognise(self, sample: Sample) -> float:
        """By the columns of the table in Log Analytics, or by the records of a diagnostic setting."""
        names = sample.columns
        if set(_TELLING) <= names and names & set(_SAYS):
            return 0.95
        return 0.95 * sample.share_of(lambda row: _is_llm(row) or _is_gateway(row))

    def key(self, row: Record) -> str | None:
        """The id of the request."""
        return words(_get(row, "CorrelationId"))

    def join(self, rows: Sequence[Record]) -> Sequence[Result]:
        """The first row of a request as its call, the others as joined."""
        parts = sorted((row for row in rows if _is_llm(row)), key=_number)
        if not parts:
            return [NO_CALL_OF_ROW if _is_gateway(row) else _NO_ROW for row in rows]
        gateway = next((row for row in rows if _is_gateway(row)), {})
        call = _call(parts, gateway)
        return [call if row is parts[0] else JOINED if _is_row(row) else _NO_ROW for row in rows]


def _get(row: Record, name: str) -> Json:
    """A member by its name in Log Analytics, or by that in a record of a diagnostic setting."""
    spelled = name[:1].lower() + name[1:]
    places = row, mapping(row.get("properties"))
    return first_given(*(place.get(one) for place in places for one in (name, spelled)))


def _is_llm(row: Record) -> bool:
    return _get(row, "SequenceNumber") is not None and any(_get(row, name) is not None for name in _SAYS)


def _is_gateway(row: Record) -> bool:
    return not _is_llm(row) and any(_get(row, name) is not None for name in _GATEWAY)


def _is_row(row: Record) -> bool:
    return _is_llm(row) or _is_gateway(row)


def _number(row: Record) -> int:
    return whole_number(_get(row, "SequenceNumber")) or 0


def _call(parts: Sequence[Record], gateway: Record) -> Result:
    messages, answer = _whole(parts, "RequestMessages"), _whole(parts, "ResponseMessages")
    if isinstance(messages, str) and messages.lstrip()[:1] in ("[", "{"):
        return INCOMPLETE
    milliseconds = whole_number(first_given(_get(gateway, "TotalTime"), _get(gateway, "DurationMs")))
    labels = {
        "call_id": _get(parts[0], "CorrelationId"),
        "time": first_given(_get(parts[0], "TimeGenerated"), parts[0].get("time")),
        "input_tokens": _most(parts, "PromptTokens"),
        "output_tokens": _most(parts, "CompletionTokens"),
        "latency_s": None if milliseconds is None else milliseconds / 1000,
    }
    model = first_words(*(_get(part, name) for name in ("ModelName", "DeploymentName") for part in parts))
    body = messages if isinstance(messages, dict) and "role" not in messages else {"messages": messages}
    status = first_given(_get(gateway, "ResponseCode"), _get(gateway, "BackendResponseCode"))
    result = exchange(body, None, model, filled(labels, zeros=True), status=status)
    if isinstance(result, dict) and answer and "error" not in result:
        result["answer"] = answer
    return result


def _whole(parts: Sequence[Record], name: str) -> Json:
    """The messages of all parts: pieces of one JSON text, or lists of messages one after another."""
    pieces = {_number(part): piece for part in reversed(parts) if (piece := _get(part, name)) is not None}
    values = [pieces[number] for number in sorted(pieces)]
    if len(values) > 1 and all(isinstance(unpacked(value), list) for value in values):
        return [message for value in values for message in unpacked(value)]
    if all(isinstance(value, str) for value in values):
        return unpacked("".join(values)) if values else None
    return values[0]


def _most(parts: Sequence[Record], name: str) -> int | None:
    return max(
        (count for part in parts if (count := whole_number(_get(part, name))) is not None), default=None
    )


READER = AzureApim()
