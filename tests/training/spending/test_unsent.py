from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from router.calling.attempt import Failed
from router.calling.litellm_call import acomplete
from tests.services.ports import held_port
from tests.services.provider import KEY, Provider, Reply, provider, reset, server_error, silence
from tests.services.waiting import PATIENCE_S
from training.spending.unsent import why_unsent

__all__ = ["provider"]

BY_OPENAIS_SDK, BY_LITELLM = "openai/small", "hosted_vllm/small"
"""LiteLLM calls some providers by OpenAI's SDK, and most by a transport of its own."""


def failed(model: str, api_base: str, timeout_s: float = PATIENCE_S) -> BaseException:
    """The error of one call."""
    arguments = {
        "model": model,
        "api_base": api_base,
        "api_key": KEY,
        "messages": [{"role": "user", "content": "Hi"}],
        "timeout": timeout_s,
        "max_retries": 0,
        "num_retries": 0,
    }
    found = asyncio.run(acomplete(None, arguments, timeout_s))
    assert isinstance(found, Failed)
    return found.error


@pytest.fixture
def closed_port() -> Iterator[int]:
    with held_port() as port:
        yield port


@pytest.fixture
def deaf() -> Iterator[int]:
    """The port of a server whose queue is full: connecting to it takes for ever."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=0)) as server:
        callers = [socket.socket() for _ in range(4)]
        for caller in callers:
            caller.setblocking(False)
            caller.connect_ex(server.getsockname())
        yield int(server.getsockname()[1])
        for caller in callers:
            caller.close()


@pytest.mark.parametrize("model", [BY_OPENAIS_SDK, BY_LITELLM])
def test_a_refused_connection_is_certain_and_named(model: str, closed_port: int) -> None:
    error = failed(model, f"http://127.0.0.1:{closed_port}/v1")
    assert why_unsent(error) == f"127.0.0.1:{closed_port} refuses connections"


@pytest.mark.parametrize("model", [BY_OPENAIS_SDK, BY_LITELLM])
@pytest.mark.parametrize(
    ("address", "told"),
    [
        pytest.param("http://gone.invalid/v1", "no address is known for gone.invalid", id="unknown host"),
        pytest.param(
            "127.0.0.1:9/v1",
            "its api_base does not begin with http:// or https://",
            id="no scheme",
        ),
    ],
)
def test_an_address_that_leads_nowhere_is_certain(model: str, address: str, told: str) -> None:
    assert why_unsent(failed(model, address)) == told


@pytest.mark.parametrize("model", [BY_OPENAIS_SDK, BY_LITELLM])
def test_a_server_that_speaks_no_tls_is_certain(model: str, provider: Provider) -> None:
    told = why_unsent(failed(model, provider.api_base.replace("http:", "https:")))
    assert told is not None
    assert told.startswith("no TLS with 127.0.0.1:")
    assert provider.requests == ()


@pytest.mark.parametrize("model", [BY_OPENAIS_SDK, BY_LITELLM])
def test_a_timeout_while_connecting_is_certain(model: str, deaf: int) -> None:
    error = failed(model, f"http://127.0.0.1:{deaf}/v1", timeout_s=0.5)
    assert why_unsent(error) == "no connection within the timeout"


@pytest.mark.parametrize("model", [BY_OPENAIS_SDK, BY_LITELLM])
@pytest.mark.parametrize(
    ("reply", "timeout_s"),
    [
        pytest.param(reset(), PATIENCE_S, id="reset"),
        pytest.param(silence(), 2.0, id="timeout"),
        pytest.param(server_error(), PATIENCE_S, id="server error"),
        pytest.param(server_error(502), PATIENCE_S, id="bad gateway"),
    ],
)
def test_what_was_sent_is_in_doubt(model: str, reply: Reply, timeout_s: float, provider: Provider) -> None:
    provider.script("small", reply)
    assert why_unsent(failed(model, provider.api_base, timeout_s=timeout_s)) is None
    assert provider.requests


@pytest.mark.parametrize("model", [BY_OPENAIS_SDK, BY_LITELLM])
def test_a_request_that_was_sent_before_connections_are_refused_is_in_doubt(model: str) -> None:
    server = socket.create_server(("127.0.0.1", 0))

    def take_one() -> None:
        taken, _ = server.accept()
        server.close()
        taken.recv(1 << 16)
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        taken.close()

    port = server.getsockname()[1]
    threading.Thread(target=take_one, daemon=True).start()
    assert why_unsent(failed(model, f"http://127.0.0.1:{port}/v1")) is None


def test_an_error_of_something_else_is_in_doubt() -> None:
    assert why_unsent(ValueError("no model of that name")) is None
    assert why_unsent(None) is None
