"""LiteLLM's spend logs: the table `LiteLLM_SpendLogs`, its exports, and answers of `/spend/logs`."""

from __future__ import annotations

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
