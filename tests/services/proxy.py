"""A LiteLLM proxy of the tests' own: a real process, with the configuration that our command writes.

    with running_proxy(config, folder) as proxy:
        openai.OpenAI(base_url=proxy.address, api_key=proxy.key).chat.completions.create(model="smart", ...)

The process gets no key but the proxy's own and those of `environment`, and listens on loopback only.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import httpx

START_S = 300.0
"""Longest start; a quick machine needs ten seconds, a busy one minutes."""
WAIT_S = 60.0

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """A running proxy.

    Attributes:
        address: the base URL of its OpenAI protocol.
        key: its master key.
        output: file of what it printed.
    """

    address: str
    key: str
    output: Path
    process: subprocess.Popen[bytes]

    def stop(self, with_signal: int = signal.SIGTERM) -> None:
        """End it and wait for its end."""
        if self.process.poll() is not None:
            return
        self.process.send_signal(with_signal)
        try:
            self.process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextmanager
def running_proxy(
    config: Path, folder: Path, environment: Mapping[str, str] | None = None, start_s: float = START_S
) -> Iterator[Proxy]:
    """A proxy that answers, until the block ends.

    Args:
        folder: the process works here and its output is kept here.
        environment: beside what a process needs anyway.

    Raises:
        RuntimeError: it did not start; the end of its output follows.
    """
    key, port, output = f"sk-{secrets.token_hex(24)}", free_port(), folder / "proxy.out"
    command = [str(Path(sys.executable).with_name("litellm")), "--config", str(config)]
    with output.open("wb") as sink:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            cwd=folder,
            env={**_plain_environment(), "LITELLM_MASTER_KEY": key, **(environment or {})},
            stdout=sink,
            stderr=subprocess.STDOUT,
        )
    proxy = Proxy(address=f"http://127.0.0.1:{port}/v1", key=key, output=output, process=process)
    try:
        _wait_for_start(proxy, start_s)
        yield proxy
    finally:
        proxy.stop()


def wait_until(look: Callable[[], Found], within_s: float = WAIT_S) -> Found:
    """What `look` finds as soon as it is true; or, when the time is over, what it finds then."""
    until = time.monotonic() + within_s
    while not (found := look()) and time.monotonic() < until:
        time.sleep(0.05)
    return found


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _plain_environment() -> dict[str, str]:
    """This process's environment without keys, and with LiteLLM off the network."""
    kept = {name: value for name, value in os.environ.items() if not name.endswith(("_KEY", "_TOKEN"))}
    return {
        **kept,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "DISABLE_ADMIN_UI": "True",
        "OMP_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
    }


def _wait_for_start(proxy: Proxy, within_s: float) -> None:
    def started() -> bool:
        if proxy.process.poll() is not None:
            return True
        try:
            return httpx.get(f"{proxy.address[:-3]}/health/liveliness", timeout=5).is_success
        except httpx.TransportError:
            return False

    if not wait_until(started, within_s) or proxy.process.poll() is not None:
        tail = proxy.output.read_text(encoding="utf-8", errors="replace")[-3000:]
        raise RuntimeError(f"the proxy did not start (exit code {proxy.process.poll()}):\n{tail}")
