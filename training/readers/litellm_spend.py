"""LiteLLM's spend logs (its table and `/spend/logs`) and callback payloads (`StandardLoggingPayload`)."""

from __future__ import annotations

from router.records import Json
from training.readers.litellm_records import call_of
from training.readers.protocol import Reader, Record, Rejected, Result, Sample
from training.readers.values import mapping, unpacked

_TELLING = ("request_id", "spend", "startTime", "metadata", "cache_hit")
_NO_ROW = Rejected("not a row of LiteLLM's spend logs")


class LiteLLMSpend(Reader):
    """One row per request, and one per failed attempt; the prompt is in the body of the request."""

    name = "litellm-spend"
    tables = ("LiteLLM_SpendLogs",)

    def recognise(self, sample: Sample) -> float:
        """By columns that only this table combines."""
        if set(_TELLING) <= sample.columns:
            return 0.95
        return 0.95 * sample.share(*_TELLING)

    def convert(self, row: Record) -> Result:
        """The call in a row; LiteLLM has cut strings of over 2,048 characters."""
        if "request_id" not in row or "spend" not in row:
            return _NO_ROW
        body = mapping(row.get("proxy_server_request"))
        if not body and (messages := unpacked(row.get("messages"))):
            body = {"messages": messages}
        return call_of(row, body, mapping(row.get("metadata")), row.get("response"))


READER = LiteLLMSpend()


_TELLING_PAYLOAD = ("trace_id", "call_type", "model_parameters", "hidden_params")
_NO_PAYLOAD = Rejected("not a LiteLLM callback payload")


class LiteLLMCallback(Reader):
    """One object per request; a failed attempt and its fallback are two objects with one `trace_id`."""

    name = "litellm-callback"

    def recognise(self, sample: Sample) -> float:
        """By members that only this payload combines."""
        return 0.95 * sample.share(*_TELLING_PAYLOAD)

    def convert(self, row: Record) -> Result:
        """The call in a payload, whose messages are never cut."""
        if "call_type" not in row or "status" not in row:
            return _NO_PAYLOAD
        parameters = mapping(row.get("model_parameters"))
        body: dict[str, Json] = {**parameters, "messages": row.get("messages")}
        return call_of(row, body, mapping(row.get("metadata")), row.get("response"))


CALLBACK = LiteLLMCallback()
