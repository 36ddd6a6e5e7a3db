from __future__ import annotations

import logging
import sys
from collections.abc import Iterator

import pytest

from router.errors import ConfigError, MissingExtra
from router.serving.exporting import Outlet
from router.settings.sections import Metrics
from router.settings.yaml_file import parse_config
from tests.services.ports import held_port


@pytest.fixture
def port() -> Iterator[int]:
    with held_port() as port:
        yield port


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        pytest.param("{opentelemetry: localhost:4318}", "must be 'application' or", id="no scheme"),
        pytest.param("{opentelemetry: grpc://h:4317}", "must be 'application' or", id="gRPC"),
        pytest.param("{opentelemetry: 'http://u:p@h:4318'}", "OTEL_EXPORTER_OTLP_HEADERS", id="a password"),
        pytest.param("{opentelemetry: 'http://h/?key=1'}", "OTEL_EXPORTER_OTLP_HEADERS", id="a key"),
        pytest.param("{opentelemetry: application, prometheus_port: 9464}", "leave out", id="two owners"),
        pytest.param("{prometheus_port: 0}", "greater than or equal to 1", id="no port"),
        pytest.param("{processes: 0}", "greater than or equal to 1", id="no process"),
        pytest.param("{interval_s: 0.0}", "greater than 0", id="no interval"),
        pytest.param("{labels: [user]}", "unknown setting", id="unknown"),
    ],
)
def test_a_wrong_setting_is_refused(text: str, wrong: str) -> None:
    with pytest.raises(ConfigError, match=wrong) as error:
        parse_config(f"metrics: {text}")
    assert "u:p" not in str(error.value)


@pytest.mark.parametrize(
    ("settings", "package", "extra"),
    [
        pytest.param(
            Metrics(opentelemetry="http://127.0.0.1:1"), "opentelemetry.exporter.otlp", "otel", id="OTLP"
        ),
        pytest.param(Metrics(opentelemetry="application"), "opentelemetry", "otel", id="application"),
        pytest.param(Metrics(prometheus_port=9464), "prometheus_client", "prometheus", id="Prometheus"),
    ],
)
def test_a_missing_package_names_its_extra(
    monkeypatch: pytest.MonkeyPatch, settings: Metrics, package: str, extra: str
) -> None:
    for name in [one for one in sys.modules if one == package or one.startswith(f"{package}.")]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=rf"pointsman\[{extra}\]"):
        Outlet(settings)


def test_each_process_takes_the_next_free_port(port: int, caplog: pytest.LogCaptureFixture) -> None:
    first = Outlet(Metrics(prometheus_port=port))
    with caplog.at_level(logging.WARNING):
        second = Outlet(Metrics(prometheus_port=port))
    third = Outlet(Metrics(prometheus_port=port, processes=50))
    try:
        assert (first.port, second.port) == (port, None)
        assert third.port is not None
        assert port < third.port < port + 50
        assert "set metrics.processes" in caplog.text
    finally:
        for outlet in (first, second, third):
            outlet.close()
    again = Outlet(Metrics(prometheus_port=port))
    assert again.port == port
    again.close()
