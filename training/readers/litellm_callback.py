"""LiteLLM's callback payloads (`StandardLoggingPayload`), written by its S3, GCS and generic-API loggers."""

from __future__ import annotations

from router.records import Json
from training.readers.litellm_records import call_of
from training.readers.protocol import Reader, Record, Rejected, Result, Sample
from training.readers.values import mapping

_TELLING = ("trace_id", "call_type", "model_parameters", "hidden_params")
_NO_PAYLOAD = Rejected("not a LiteLLM callback payload")


class LiteLLMCallback(Reader):
    """One object per request; a failed attempt and its fallback are two objects with one `trace_id`."""

    name = "litellm-callback"

    def recognise(self, sample: Sample) -> float:
        """By members that only this payload combines."""
        return 0.95 * sample.share(*_TELLING)

    def convert(self, row: Record) -> Result:
        """The call in a payload, whose messages are never cut."""
        if "call_type" not in row or "status" not in row:
            return _NO_PAYLOAD
        parameters = mapping(row.get("model_parameters"))
        body: dict[str, Json] = {**parameters, "messages": row.get("messages")}
        return call_of(row, body, mapping(row.get("metadata")), row.get("response"))


READER = LiteLLMCallback()
