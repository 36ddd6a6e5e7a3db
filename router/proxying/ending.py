"""Shutdown of a proxy's process: in the time that LiteLLM promises, and after its last rows."""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from weakref import WeakSet

from router.call_log.process import uvicorn_server, wait_at_shutdown

_bounded: WeakSet[Any] = WeakSet()


def end_in_time() -> None:
    """Bound uvicorn's wait for running requests by GRACEFUL_SHUTDOWN_TIMEOUT, if it has no bound of its own.

    LiteLLM reads that variable only once uvicorn has waited, without end. The events from which the last
    rows are made are awaited too. Does nothing under another server.
    """
    server = uvicorn_server()
    if server is None or server in _bounded:
        return
    from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER

    if not _bounded:
        wait_at_shutdown(GLOBAL_LOGGING_WORKER.flush)
    _bounded.add(server)
    with suppress(ImportError):  # earlier versions have no such bound
        from litellm.proxy.shutdown.graceful_shutdown_manager import GracefulShutdownManager

        if server.config.timeout_graceful_shutdown is None:
            server.config.timeout_graceful_shutdown = GracefulShutdownManager.get_timeout()
