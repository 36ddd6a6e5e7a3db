from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvicorn

from router.proxying.ending import end_in_time


@pytest.fixture
def server() -> Iterator[uvicorn.Server]:
    """A server that handles SIGTERM in this process."""
    server = uvicorn.Server(uvicorn.Config(app="none"))
    before: Any = signal.signal(signal.SIGTERM, server.handle_exit)
    yield server
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(("setting", "bound"), [(None, 30.0), ("2.5", 2.5), ("soon", 30.0)])
def test_uvicorn_waits_for_requests_as_long_as_litellm_promises(
    server: uvicorn.Server, monkeypatch: pytest.MonkeyPatch, setting: str | None, bound: float
) -> None:
    monkeypatch.delenv("GRACEFUL_SHUTDOWN_TIMEOUT", raising=False)
    if setting is not None:
        monkeypatch.setenv("GRACEFUL_SHUTDOWN_TIMEOUT", setting)
    end_in_time()
    assert server.config.timeout_graceful_shutdown == bound


def test_a_servers_own_bound_stays(server: uvicorn.Server) -> None:
    server.config.timeout_graceful_shutdown = 7
    end_in_time()
    assert server.config.timeout_graceful_shutdown == 7


@pytest.mark.parametrize("handler", [signal.SIG_DFL, lambda number, frame: None])
def test_another_servers_handler_stays(
    server: uvicorn.Server, handler: signal.Handlers | Callable[[int, object], None]
) -> None:
    signal.signal(signal.SIGTERM, handler)
    end_in_time()
    assert signal.getsignal(signal.SIGTERM) is handler
    assert server.config.timeout_graceful_shutdown is None
