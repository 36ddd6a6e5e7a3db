"""How MLflow's tracking server is asked while a log is read: given up soon, and without its own messages."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

AT_FIRST: Mapping[str, str] = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
}
"""MLflow's settings for a question that any server answers at once; its own try for minutes."""
ONCE_IT_ANSWERED: Mapping[str, str] = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
}
"""Those for a page of traces, which a slow server may take long to put together."""


@contextmanager
def asking(settings: Mapping[str, str]) -> Iterator[None]:
    """Within it these settings of MLflow's hold where the user set none, and no retry is told."""
    ours = {name: value for name, value in settings.items() if name not in os.environ}
    connections = logging.getLogger("urllib3.connectionpool")
    os.environ.update(ours)
    connections.addFilter(_silent)
    try:
        yield
    finally:
        connections.removeFilter(_silent)
        for name in ours:
            os.environ.pop(name, None)


def _silent(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR
