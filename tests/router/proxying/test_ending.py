from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from router.proxying.ending import outlive_sigterm


class Server(uvicorn.Server):
    """Keeps the signals that it gets."""

    def __init__(self) -> None:
        super().__init__(uvicorn.Config(app="none"))
        self.signals: list[int] = []

    def handle_exit(self, sig: int, frame: object) -> None:
        self.signals.append(sig)


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that handles SIGTERM in this process."""
    outlive_sigterm.cache_clear()
    server = Server()
    before: Any = signal.signal(signal.SIGTERM, server.handle_exit)
    yield server
    signal.signal(signal.SIGTERM, before)
    outlive_sigterm.cache_clear()


def end(times: int) -> None:
    for _ in range(times):
        os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("times", [1, 2])
def test_sigterm_ends_the_server_like_ctrl_c_and_only_once(server: Server, times: int) -> None:
    outlive_sigterm()
    end(times)
    assert server.signals == [signal.SIGINT]


def test_another_servers_handler_stays(server: Server) -> None:
    heard: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    outlive_sigterm()
    end(1)
    assert (heard, server.signals) == ([signal.SIGTERM], [])


def test_a_process_that_does_not_handle_sigterm_is_left_alone(server: Server) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    outlive_sigterm()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
