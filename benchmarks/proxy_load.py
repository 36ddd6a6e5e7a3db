"""The cost of our decisions in a LiteLLM proxy, and a long load: errors, lost rows, memory."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from benchmarks.measuring import Figure, figure, machine, show
from benchmarks.speed import PROMPT
from router.call_log.log import read_rows
from router.proxying.proxy_config import ProxyPlan, proxy_config
from router.settings.yaml_file import load_config
from router.version import Version

ALIAS = "smart"
ANSWER = "It will be there tomorrow."
WARM = 1_000
"""Requests after which memory must not grow."""
TURNS = 300
START_S = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A running proxy.

    Attributes:
        model: the name that requests use.
    """

    address: str
    key: str
    model: str
    process: int

    def client(self, connections: int) -> httpx.AsyncClient:
        """A client whose requests may wait for as long as a loaded proxy takes."""
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
        headers = {"Authorization": f"Bearer {self.key}"}
        return httpx.AsyncClient(base_url=self.address, headers=headers, limits=limits, timeout=300)

    async def ask(self, client: httpx.AsyncClient, number: int) -> str | None:
        """The call id of an answered request, every fourth one a stream; None if it failed."""
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": f"{number}: {PROMPT}"}],
            "stream": number % 4 == 0,
        }
        try:
            reply = await client.post("/v1/chat/completions", json=body)
        except httpx.HTTPError:
            return None
        whole = reply.is_success and ("[DONE]" in reply.text or "choices" in reply.text)
        return reply.headers["x-litellm-call-id"] if whole else None

    def memory(self) -> float | None:
        """What the process holds, MB; None if the system does not report it."""
        status = Path(f"/proc/{self.process}/status")
        if not status.is_file():
            return None
        lines = dict(line.split(":", 1) for line in status.read_text(encoding="ascii").splitlines())
        return int(lines["VmRSS"].split()[0]) * 1024 / 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The results of a load run.

    Attributes:
        rows_lost, rows_too_many: among the answered requests, by their call id.
        memory_begin_mb, memory_end_mb: of the proxy after `WARM` requests, and after all.
    """

    requests: int
    errors: int
    rows_lost: int
    rows_too_many: int
    seconds: float
    memory_begin_mb: float | None
    memory_end_mb: float | None


async def send(target: Target, numbers: range, at_once: int) -> list[str | None]:
    """Ask so many requests, `at_once` of them at any time."""
    waiting = iter(numbers)
    answers: list[str | None] = []

    async def work(client: httpx.AsyncClient) -> None:
        for number in waiting:
            answers.append(await target.ask(client, number))

    async with target.client(at_once) as client:
        await asyncio.gather(*(work(client) for _ in range(at_once)))
    return answers


async def alternate(targets: Mapping[str, Target], turns: int) -> dict[str, list[float]]:
    """Milliseconds of single requests, in turn, so that a busy moment touches all targets alike."""
    spent: dict[str, list[float]] = {name: [] for name in targets}
    clients = {name: target.client(1) for name, target in targets.items()}
    for turn in range(turns + 20):
        for name, target in targets.items():
            began = time.perf_counter()
            await target.ask(clients[name], 4 * turn + 1)
            if turn >= 20:
                spent[name].append(1e3 * (time.perf_counter() - began))
    for client in clients.values():
        await client.aclose()
    return spent


def load(target: Target, log: Path, requests: int, at_once: int) -> Load:
    """Send the requests and check what they left."""
    first = min(WARM, requests)
    began = time.perf_counter()
    answers = asyncio.run(send(target, range(first), at_once))
    memory_begin = target.memory()
    answers += asyncio.run(send(target, range(first, requests), at_once))
    seconds = time.perf_counter() - began
    memory_end = target.memory()
    time.sleep(2)
    ids = [call_id for call_id in answers if call_id is not None]
    rows = Counter(str(row["call_id"]) for row in read_rows(log))
    return Load(
        requests=requests,
        errors=answers.count(None),
        rows_lost=len(set(ids) - rows.keys()),
        rows_too_many=sum(max(rows[call_id] - 1, 0) for call_id in ids),
        seconds=seconds,
        memory_begin_mb=memory_begin,
        memory_end_mb=memory_end,
    )


@contextmanager
def running(config: Mapping[str, Any], folder: Path, model: str) -> Iterator[Target]:
    """A proxy on loopback until the block ends.

    Raises:
        RuntimeError: it did not start; see its output in `folder`.
    """
    folder.mkdir()
    path, port, key = folder / "proxy.yaml", _free_port(), f"sk-{secrets.token_hex(24)}"
    path.write_text(yaml.safe_dump(dict(config), sort_keys=False), encoding="utf-8")
    command = [str(Path(sys.executable).with_name("litellm")), "--config", str(path)]
    own = {"LITELLM_MASTER_KEY": key, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "DISABLE_ADMIN_UI": "True"}
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            cwd=folder,
            env={**os.environ, **own, "LITELLM_LOG": "ERROR", "OMP_NUM_THREADS": "1"},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    target = Target(address=f"http://127.0.0.1:{port}", key=key, model=model, process=process.pid)
    try:
        _wait_for(target, process)
        yield target
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def _wait_for(target: Target, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until and process.poll() is None:
        try:
            httpx.get(f"{target.address}/health/liveliness", timeout=5).raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.2)
        else:
            return
    raise RuntimeError(f"the proxy did not start within {START_S:.0f} s (exit code {process.poll()})")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def configurations(router: Path, folder: Path) -> tuple[dict[str, Any], dict[str, Any], Path]:
    """Our proxy, one of LiteLLM's own with the same models, both with mocked answers, and our call log."""
    settings, log = folder / "pointsman.yaml", folder / "calls.db"
    settings.write_text(f"log: {{url: {json.dumps(str(log))}}}\n", encoding="utf-8")
    version = Version.load(router, load_config(settings))
    ours = proxy_config(ProxyPlan(version=version, router=str(router), config=settings, alias=ALIAS))
    models = [one for one in ours["model_list"] if one["model_name"] != ALIAS]
    for one in models:
        one["litellm_params"] |= {"mock_response": ANSWER, "api_key": "none"}
    return ours, {"model_list": models, "general_settings": ours["general_settings"]}, log


def measure(options: argparse.Namespace, folder: Path) -> tuple[list[Figure], Load]:
    """Latency beside LiteLLM alone, then the load."""
    ours, plain, log = configurations(options.router, folder)
    model = str(plain["model_list"][0]["model_name"])
    with running(ours, folder / "ours", ALIAS) as target:
        with running(plain, folder / "plain", model) as alone:
            spent = asyncio.run(alternate({"alone": alone, "ours": target}, options.turns))
        more = [mine - other for mine, other in zip(spent["ours"], spent["alone"], strict=True)]
        figures = [
            figure("a request to LiteLLM's proxy alone", "ms", spent["alone"]),
            figure("a request to the proxy with our decision, guard and log", "ms", spent["ours"]),
            figure("what they add", "ms", more),
        ]
        found = load(target, log, options.requests, options.at_once)
    return figures, found


def tell(found: Load) -> None:
    """Print the results of the load run."""
    rate = found.requests / found.seconds
    print(f"\n{found.requests} requests in {found.seconds:.0f} s ({rate:.0f} a second)")
    print(f"errors: {found.errors} (target 0)")
    print(f"rows lost: {found.rows_lost}, too many: {found.rows_too_many} (target 0)")
    if found.memory_begin_mb is not None and found.memory_end_mb is not None:
        growth = found.memory_end_mb - found.memory_begin_mb
        print(
            f"memory of the proxy: {found.memory_begin_mb:.0f} MB after the first {WARM}, "
            f"{found.memory_end_mb:.0f} MB at the end ({growth:+.0f} MB)"
        )


def main() -> None:
    """Run, and print the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--router", type=Path, default=Path("models/demo"), help="a router's folder")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--at-once", type=int, default=32, help="requests under way at any time")
    parser.add_argument("--turns", type=int, default=TURNS, help="single requests timed, one after the other")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pointsman-proxy-") as folder:
        figures, found = measure(options, Path(folder))
    where = machine()
    show(where, figures)
    tell(found)
    if options.json:
        report = {"machine": where, "figures": [asdict(one) for one in figures], "load": asdict(found)}
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
