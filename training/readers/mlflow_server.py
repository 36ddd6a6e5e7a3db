"""Settings for MLflow's client while a log is read: few retries, and no messages about them."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

FIRST_REQUEST: Mapping[str, str] = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
}
"""For a request that any server answers at once; MLflow's defaults retry for minutes."""
LATER_REQUESTS: Mapping[str, str] = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
}
"""For a page of traces, which may take a slow server long."""


@contextmanager
def client_settings(settings: Mapping[str, str]) -> Iterator[None]:
    """Apply these settings where the environment has none, and silence messages about retries."""
    added = {name: value for name, value in settings.items() if name not in os.environ}
    connections = logging.getLogger("urllib3.connectionpool")
    os.environ.update(added)
    connections.addFilter(_silent)
    try:
        yield
    finally:
        connections.removeFilter(_silent)
        for name in added:
            os.environ.pop(name, None)


def _silent(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR
