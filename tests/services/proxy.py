"""A LiteLLM proxy of the tests' own: a real process, with the configuration that our command writes.

    with running_proxy(config, folder) as proxy:
        openai.OpenAI(base_url=proxy.address, api_key=proxy.key).chat.completions.create(model="smart", ...)

The process gets no key but the proxy's own and those of `environment`, and listens on loopback only.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.services.ports import held_port
from tests.services.waiting import wait_until

START_S = 300.0
"""Longest start; a quick machine needs ten seconds, a busy one minutes."""
STOP_S = 60.0


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
            self.process.wait(STOP_S)
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
    key, output = f"sk-{secrets.token_hex(24)}", folder / "proxy.out"
    command = [str(Path(sys.executable).with_name("litellm")), "--config", str(config)]
    with held_port() as port:
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
    def answers() -> bool:
        if (code := proxy.process.poll()) is not None:
            raise ChildProcessError(f"exit code {code}")
        try:
            return httpx.get(f"{proxy.address[:-3]}/health/liveliness", timeout=5).is_success
        except httpx.TransportError:
            return False

    try:
        wait_until(answers, within_s)
    except (ChildProcessError, TimeoutError) as error:
        tail = proxy.output.read_text(encoding="utf-8", errors="replace")[-3000:]
        raise RuntimeError(f"the proxy did not start ({error}):\n{tail}") from error
