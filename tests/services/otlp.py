"""An OTLP receiver of the tests' own: OpenTelemetry's protocol over HTTP, on loopback.

with Receiver() as receiver:
    ...  # export to receiver.address
    receiver.spans, receiver.metrics
"""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Receiver:
    """Keeps the body of every report.

    Attributes:
        bodies: path and body, uncompressed.
        status: of every response.
    """

    def __init__(self) -> None:
        self.bodies: list[tuple[str, bytes]] = []
        self.status = 200
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                zipped = self.headers.get("Content-Encoding") == "gzip"
                receiver.bodies.append((self.path, gzip.decompress(body) if zipped else body))
                self.send_response(receiver.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def spans(self) -> list[Span]:
        """Every span, in the order of arrival."""
        reports = (ExportTraceServiceRequest.FromString(body) for body in self._at("/v1/traces"))
        return [
            span
            for report in reports
            for resource in report.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    @property
    def metrics(self) -> dict[str, Metric]:
        """Each metric as it was reported last."""
        reports = (ExportMetricsServiceRequest.FromString(body) for body in self._at("/v1/metrics"))
        return {
            metric.name: metric
            for report in reports
            for resource in report.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def _at(self, path: str) -> Iterator[bytes]:
        return (body for at, body in list(self.bodies) if at == path)


def attributes(of: Span) -> Mapping[str, object]:
    """A span's attributes as plain values."""
    return {one.key: _plain(one.value) for one in _pairs(of)}


def _pairs(of: Span) -> list[KeyValue]:
    return list(of.attributes)


def _plain(value: AnyValue) -> object:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_plain(one) for one in value.array_value.values]
    return getattr(value, kind) if kind else None
