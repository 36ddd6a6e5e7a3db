"""Model invocation logs of AWS Bedrock, from S3 or CloudWatch: Converse, and each family's own body."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterable, Mapping
from functools import lru_cache

from router.records import Json
from training.readers.cells import parse_json
from training.readers.exchanges import exchange, tags_of, tokens_of
from training.readers.litellm_records import NOT_THE_MODELS, OTHER_CALL
from training.readers.protocol import Reader, Record, Rejected, Result, Sample, Skipped
from training.readers.stream_chunks import answer_body
from training.readers.values import filled, first_given, listed, mapping, member, unpacked, words

_KIND = "ModelInvocationLog"
_TELLING = ("modelId", "operation", "input", "requestId")
_BODY_FILE = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}_(?:input|output)\.json(?:\.gz)?$")
_NO_CHAT = re.compile(r"embed|rerank|stability\.|canvas|image|nova-reel|sonic|luma\.")
_CALLERS = ("AccessDeniedException", "ResourceNotFoundException", "UnrecognizedClientException")
_LONGEST = 64 << 20

BODY_OF_A_RECORD = Skipped("body of a record: read where its record names it")
BODY_NOT_REACHED = Skipped("body in S3 can't be read")
_NO_ROW = Rejected("not a record of Bedrock's invocation log")


class Bedrock(Reader):
    """One record an invocation; bodies over 100 KB stand in objects of their own, which are read too."""

    name = "bedrock"
    many_rows = True

    def recognise(self, sample: Sample) -> float:
        """By the schema that each record names, or by the name of a body's object."""
        if _BODY_FILE.search(sample.name):
            return 0.95
        return 0.95 * sample.share_of(lambda record: any(map(_is_row, self.rows(record))))

    def rows(self, record: Record) -> Iterable[Record]:
        """The record; of an event or a batch of CloudWatch, the records in its messages."""
        if events := listed(record.get("logEvents")):
            return [_message(event) for event in events]
        return (_message(record),)

    def convert(self, row: Record) -> Result:
        """The call in a record."""
        if not _is_row(row):
            return _NO_ROW if "schemaType" in row or "message" in row or not row else BODY_OF_A_RECORD
        model = _model(row)
        if model is not None and _NO_CHAT.search(model):
            return OTHER_CALL
        given, told = mapping(row.get("input")), mapping(row.get("output"))
        request, answer = _body(given, "input"), _body(told, "output")
        if isinstance(request, Skipped):
            return request
        reply = answer_body(None if isinstance(answer, Skipped) else answer)
        if error := words(row.get("errorCode")):
            message = words(first_given(row.get("errorMessage"), reply.get("message"))) or ""
            if error in _CALLERS:
                return NOT_THE_MODELS
            reply = {"error": {"code": _ERRORS.get(error, error), "message": message}}
        return exchange(request, reply, model, {**_labels(row), **_amounts(given, told, reply)})


_ERRORS: Mapping[str, str] = {"ValidationException": "invalid_request_error"}
"""The name that other providers have for an error of the caller's."""


def _message(record: Json) -> Record:
    """A record, also from the message of an event of CloudWatch."""
    if not isinstance(record, dict):
        return {"message": record}
    inner = unpacked(first_given(record.get("message"), record.get("@message")))
    return inner if "schemaType" not in record and isinstance(inner, dict) else record


def _is_row(row: Record) -> bool:
    return row.get("schemaType") == _KIND or all(name in row for name in _TELLING)


def _model(row: Record) -> str | None:
    """LiteLLM's name; of an ARN its last part, except for profiles and imports whose id names no model."""
    given = words(row.get("modelId"))
    if given is None:
        return None
    known = re.search(r":(?:foundation-model|inference-profile)/", given) is not None
    return f"bedrock/{given.rpartition('/')[2] if known else given}"


def _body(side: Mapping[str, Json], name: str) -> Json | Skipped:
    """A body from the record, or from the object that it names."""
    body = side.get(f"{name}BodyJson")
    address = words(side.get(f"{name}BodyS3Path"))
    if body is not None or address is None:
        return unpacked(body)
    # What a log names is only read from where Bedrock writes it: never a file or a server of this network.
    return _object(address) if address.startswith("s3://") else BODY_NOT_REACHED


@lru_cache(maxsize=4)
def _object(address: str) -> Json | Skipped:
    try:
        import fsspec

        with fsspec.open(address, "rb") as stream:
            content = stream.read(_LONGEST)
        if content.startswith(b"\x1f\x8b"):
            content = _unpacked_gzip(content)
        return parse_json(content)[0]
    except Exception:  # noqa: BLE001 - packages of stores raise anything: the call is counted without its body
        return BODY_NOT_REACHED


def _unpacked_gzip(content: bytes) -> bytes:
    whole = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(content, _LONGEST)
    if len(whole) == _LONGEST:
        raise gzip.BadGzipFile("longer than any body")
    return whole


def _labels(row: Record) -> dict[str, Json]:
    metadata = first_given(
        row.get("requestMetadata"), member(row.get("input"), "inputBodyJson", "requestMetadata")
    )
    return filled({"call_id": row.get("requestId"), "time": row.get("timestamp"), **tags_of(metadata)})


def _amounts(
    given: Mapping[str, Json], told: Mapping[str, Json], reply: Mapping[str, Json]
) -> dict[str, Json]:
    counts = {
        "inputTokenCount": given.get("inputTokenCount"),
        "cacheReadInputTokens": given.get("cacheReadInputTokenCount"),
        "cacheWriteInputTokens": given.get("cacheWriteInputTokenCount"),
        "outputTokenCount": told.get("outputTokenCount"),
    }
    milliseconds = first_given(
        member(reply, "metrics", "latencyMs"), member(reply, "usage", "invocationLatency")
    )
    known = isinstance(milliseconds, int | float) and not isinstance(milliseconds, bool)
    latency = {"latency_s": milliseconds / 1000} if known else {}
    return {**tokens_of({"usage": counts}), **tokens_of(reply), **latency}


READER = Bedrock()
