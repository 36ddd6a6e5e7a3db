"""Where a process's metrics and spans go: OpenTelemetry's providers, and the page that Prometheus reads."""

from __future__ import annotations

import errno
import logging
import math
import threading
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from router.errors import MissingExtra
from router.settings.sections import APPLICATION, Metrics

if TYPE_CHECKING:
    from wsgiref.simple_server import WSGIServer

    from opentelemetry.metrics import Meter
    from opentelemetry.sdk.metrics.export import MetricReader
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.trace import Tracer
    from prometheus_client import CollectorRegistry

logger = logging.getLogger(__name__)

SCOPE = "pointsman"
"""Name of the instrumentation, as OpenTelemetry has it."""
_EXPORT_S = 5.0
"""Longest wait for the receiver; no request waits for it, only the end of the process."""


class Outlet:
    """One process's way out for metrics and spans. No other process may use it: `leave` it after a fork.

    Attributes:
        meter: makes the instruments.
        tracer: makes the spans; None where only Prometheus reads.
        port: of the page for Prometheus; None if there is none.
    """

    meter: Meter

    def __init__(self, settings: Metrics) -> None:
        """Open the outlet that the settings name.

        Raises:
            MissingExtra: OpenTelemetry's packages are not installed.
        """
        self._endings: list[Callable[[], object]] = []
        self._flushes: list[Callable[[], object]] = []
        self._server: WSGIServer | None = None
        self._ended = threading.Event()
        self.tracer: Tracer | None = None
        self.port: int | None = None
        try:
            self._open(settings)
        except ImportError as error:
            package = (error.name or "opentelemetry").partition(".")[0].replace("_", "-")
            raise MissingExtra(package, "otel" if settings.opentelemetry else "prometheus") from error

    def flush(self) -> None:
        """Report what there is, now."""
        for flush in self._flushes:
            flush()

    def close(self) -> None:
        """Report what there is, and end."""
        self._ended.set()
        self.flush()
        for end in self._endings:
            end()

    def leave(self) -> None:
        """Let go of what belongs to the parent of this process, without a report in its name."""
        self._ended.set()
        if self._server is not None:
            with suppress(OSError):
                self._server.socket.close()

    def _open(self, settings: Metrics) -> None:
        from opentelemetry import metrics, trace

        if settings.opentelemetry == APPLICATION:
            self.meter = metrics.get_meter(SCOPE)
            self.tracer = trace.get_tracer(SCOPE)
            return
        resource = _resource()
        readers: list[MetricReader] = []
        if settings.opentelemetry is not None:
            address = settings.opentelemetry.rstrip("/")
            readers.append(self._report_metrics(f"{address}/v1/metrics", settings.interval_s))
            self._report_spans(f"{address}/v1/traces", resource)
        if settings.prometheus_port is not None:
            readers.append(self._serve_page(settings, settings.prometheus_port))
        from opentelemetry.sdk.metrics import MeterProvider

        provider = MeterProvider(readers, resource, shutdown_on_exit=False)
        self._endings.append(provider.shutdown)
        self.meter = provider.get_meter(SCOPE)

    def _report_metrics(self, address: str, interval_s: float) -> MetricReader:
        """A reader that a thread of ours makes report: OpenTelemetry's own would go on in a forked child."""
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

        exporter = OTLPMetricExporter(endpoint=address, timeout=_EXPORT_S)
        reader = PeriodicExportingMetricReader(exporter, export_interval_millis=math.inf)
        ended = self._ended

        def report() -> None:
            while not ended.wait(interval_s):
                reader.collect()

        threading.Thread(target=report, name="pointsman-metrics", daemon=True).start()
        self._flushes.append(reader.collect)
        return reader

    def _report_spans(self, address: str, resource: Resource) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=address, timeout=_EXPORT_S)))
        self._flushes.append(provider.force_flush)
        self._endings.append(provider.shutdown)
        self.tracer = provider.get_tracer(SCOPE)

    def _serve_page(self, settings: Metrics, first: int) -> MetricReader:
        from opentelemetry.exporter.prometheus import PrometheusMetricReader
        from prometheus_client import CollectorRegistry

        registry = CollectorRegistry()
        for port in range(first, first + settings.processes):
            if self._listen(settings.prometheus_host, port, registry):
                break
        else:
            logger.warning(
                "no port is free for Prometheus on %s from %d to %d: this process shows it no metrics; set "
                "metrics.processes to the number of processes on this machine",
                settings.prometheus_host,
                first,
                first + settings.processes - 1,
            )
        return PrometheusMetricReader(registry=registry, scope_info_enabled=False)

    def _listen(self, host: str, port: int, registry: CollectorRegistry) -> bool:
        """Serve the page on a port; False if another process has it."""
        from prometheus_client import start_http_server

        try:
            self._server, thread = start_http_server(port, host, registry)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise
        self.port = port
        self._endings += [self._server.shutdown, self._server.server_close, thread.join]
        return True


def _resource() -> Resource:
    """What OpenTelemetry's environment says of the service, and which process this is."""
    from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, Resource

    resource = Resource.create().merge(Resource({SERVICE_INSTANCE_ID: str(uuid.uuid4())}))
    unnamed = str(resource.attributes.get(SERVICE_NAME, "")).startswith("unknown_service")
    return resource.merge(Resource({SERVICE_NAME: SCOPE})) if unnamed else resource
