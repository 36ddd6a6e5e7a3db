"""Shutdown of a proxy's process: in the time that LiteLLM promises, and after its last rows."""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from weakref import WeakSet

from router.call_log.process import uvicorn_server, wait_at_shutdown
from router.proxying.ticket import Ticket

_bounded: WeakSet[Any] = WeakSet()
_tickets: WeakSet[Ticket] = WeakSet()
"""Of all requests that somebody still holds."""


def log_at_the_end(ticket: Ticket) -> None:
    """Log the request's attempt as cancelled if the end of the process cuts it off."""
    _tickets.add(ticket)


def end_in_time() -> None:
    """Bound uvicorn's wait for running requests by GRACEFUL_SHUTDOWN_TIMEOUT, if it has no bound of its own.

    LiteLLM reads that variable only once uvicorn has waited, without end. Does nothing under another server.
    """
    server = uvicorn_server()
    if server is None or server in _bounded:
        return
    if not _bounded:
        wait_at_shutdown(_bring_the_last_rows)
    _bounded.add(server)
    with suppress(ImportError):  # earlier versions have no such bound
        from litellm.proxy.shutdown.graceful_shutdown_manager import GracefulShutdownManager

        if server.config.timeout_graceful_shutdown is None:
            server.config.timeout_graceful_shutdown = GracefulShutdownManager.get_timeout()


async def _bring_the_last_rows() -> None:
    from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER

    await GLOBAL_LOGGING_WORKER.flush()  # LiteLLM's events of what has ended
    for ticket in list(_tickets):
        if ticket.state == "running":
            ticket.cut_off()
