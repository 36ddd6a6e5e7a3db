"""The request-response log of Vertex AI, a table of BigQuery: Gemini's bodies, Claude's and others."""

from __future__ import annotations

from router.records import Json
from training.readers.exchanges import exchange, tags_of
from training.readers.protocol import Reader, Record, Rejected, Result, Sample
from training.readers.stream_chunks import answer_body
from training.readers.values import filled, first_given, first_words, listed, mapping, member, unpacked, words

_TELLING = ("endpoint", "deployed_model_id", "logging_time", "request_id")
_BODIES = ("full_request", "request_payload")
_NO_ROW = Rejected("not a row of Vertex AI's request-response log")


class VertexAI(Reader):
    """One row a request. The log may be a sample: a row that says at which rate gets its weight by it."""

    name = "vertex-ai"

    def recognise(self, sample: Sample) -> float:
        """By columns that only this table combines."""
        if set(_TELLING) <= sample.columns:
            return 0.95
        return 0.95 * sample.share_of(
            lambda row: _is_row(row) and ("logging_time" in row or "endpoint" in row)
        )

    def convert(self, row: Record) -> Result:
        """The call in a row; `full_request` comes before the texts that the payload was cut into."""
        if not _is_row(row):
            return _NO_ROW
        request = mapping(
            first_given(unpacked(row.get("full_request")), _payload(row.get("request_payload")))
        )
        answer = first_given(unpacked(row.get("full_response")), _payload(row.get("response_payload")))
        reply = answer_body(answer)
        labels = {
            "call_id": row.get("request_id"),
            "time": row.get("logging_time"),
            "sampling_probability": first_given(row.get("sampling_rate"), row.get("samplingRate")),
            "latency_s": _seconds(row),
            **tags_of(request.get("labels")),
        }
        return exchange(request, reply, _model(row, request, reply), filled(labels))


def _is_row(row: Record) -> bool:
    return any(name in row for name in _BODIES)


def _payload(texts: Json) -> Json:
    """The body in a payload: a list of texts, each a body of a stream, or together one."""
    pieces = listed(texts)
    if isinstance(texts, str) and not pieces:
        return unpacked(texts)
    values = [unpacked(piece) for piece in pieces]
    if all(isinstance(value, dict) for value in values):
        return values[0] if len(values) == 1 else values or None
    return unpacked("".join(piece for piece in pieces if isinstance(piece, str)))


def _model(row: Record, request: Json, reply: Json) -> str | None:
    """The model's name after `vertex_ai/`; an endpoint of one's own is named by what it serves."""
    endpoint = words(row.get("endpoint"))
    published = endpoint if endpoint and "/models/" in endpoint else None
    given = first_words(
        row.get("model"), published, request.get("model"), member(reply, "modelVersion"), endpoint
    )
    return f"vertex_ai/{given.rpartition('/')[2]}" if given else None


def _seconds(row: Record) -> float | None:
    milliseconds = first_given(
        *(member(mapping(row.get("metadata")), name) for name in ("request_latency", "requestLatency"))
    )
    known = isinstance(milliseconds, int | float) and not isinstance(milliseconds, bool)
    return milliseconds / 1000 if known else None


READER = VertexAI()
