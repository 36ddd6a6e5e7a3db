"""LiteLLM's spend logs (its table and `/spend/logs`) and callback payloads (`StandardLoggingPayload`)."""

from __future__ import annotations

from collections.abc import Iterable

from router.records import Json
from training.readers.litellm_records import call_of
from training.readers.protocol import Reader, Record, Rejected, Result, Sample, Skipped
from training.readers.request_shapes import is_request
from training.readers.values import mapping, member, unpacked

_TELLING = ("request_id", "spend", "startTime", "metadata", "cache_hit")
SUMS = Skipped("sums of a day, no calls: read /spend/logs/v2")
_NO_ROW = Rejected("not a row of LiteLLM's spend logs")


class LiteLLMSpend(Reader):
    """One row per request, and one per failed attempt; the prompt is in the body of the request."""

    name = "litellm-spend"
    many_rows = True
    pages = True
    tables = ("LiteLLM_SpendLogs",)

    def recognise(self, sample: Sample) -> float:
        """By columns that only this table combines."""
        if set(_TELLING) <= sample.columns:
            return 0.95
        return 0.95 * sample.share_of(
            lambda row: _is_row(row) or _is_row(member(row.get("data"), 0)) or _is_sum(row)
        )

    def rows(self, record: Record) -> Iterable[Record]:
        """The rows of a page of `/spend/logs/v2` or `/spend/logs/ui`; any other record as it is."""
        if "spend" in record or not isinstance(record.get("data"), list):
            return (record,)
        return [one if isinstance(one, dict) else {"row": one} for one in record["data"]]

    def convert(self, row: Record) -> Result:
        """The call in a row; LiteLLM has cut strings of over 2,048 characters."""
        if _is_sum(row):
            return SUMS
        if not any(name in row for name in ("request_id", "spend", "proxy_server_request")):
            return _NO_ROW
        body = mapping(row.get("proxy_server_request"))
        body = body if is_request(body) else mapping(body.get("body")) or body
        if not is_request(body) and (messages := unpacked(row.get("messages"))):
            body = {**body, "messages": messages}
        return call_of(row, body, mapping(row.get("metadata")), row.get("response"))


def _is_row(row: Json) -> bool:
    return isinstance(row, dict) and all(name in row for name in _TELLING)


def _is_sum(row: Record) -> bool:
    return "request_id" not in row and all(name in row for name in ("startTime", "spend", "users", "models"))


READER = LiteLLMSpend()


_NO_PAYLOAD = Rejected("not a LiteLLM callback payload")


class LiteLLMCallback(Reader):
    """One object per request; a failed attempt and its fallback are two objects with one `trace_id`."""

    name = "litellm-callback"

    def recognise(self, sample: Sample) -> float:
        """By members that only this payload combines."""
        return 0.95 * sample.share_of(_is_payload)

    def convert(self, row: Record) -> Result:
        """The call in a payload, whose messages are never cut."""
        if not any(name in row for name in ("messages", "model_parameters")):
            return _NO_PAYLOAD
        parameters = mapping(row.get("model_parameters"))
        body: dict[str, Json] = {**parameters, "messages": row.get("messages")}
        return call_of(row, body, mapping(row.get("metadata")), row.get("response"))


def _is_payload(row: Record) -> bool:
    """Whether a record is a payload of any age: those of 2024 lack `trace_id`, `status` and the provider."""
    told = "response_cost" in row or "hidden_params" in row
    return told and "model_parameters" in row and ("call_type" in row or "startTime" in row)


CALLBACK = LiteLLMCallback()
