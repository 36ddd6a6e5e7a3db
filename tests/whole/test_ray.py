"""Reading on a Ray cluster of two machines' processes: the same calls and router as in one process."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from router.loading.artifact import read_manifest
from tests.services.ports import held_port
from tests.services.waiting import PATIENCE_S, wait_until
from tests.training.logs import call, write_lines
from tests.training.test_pipeline import synthetic_calls

LARGE = "word " * 3400
"""Three logs of 1,000 such prompts are more than one task of the read pass."""
REQUIRED = "POINTSMAN_REQUIRE_SERVICES"
RAY = "from ray.scripts.scripts import main; main()"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A Ray cluster: a head that also works, and one more worker."""

    address: str
    worker: subprocess.Popen[bytes]

    def settings(self, folder: Path) -> str:
        """The settings of a run on it, with a scratch folder in `folder`."""
        (folder / "scratch").mkdir()
        return f"  runner: ray\n  ray_address: {self.address}\n  scratch: {folder}/scratch\n"


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[Cluster]:
    """A cluster on this machine; skipped where Ray is not installed, unless it is required."""
    if importlib.util.find_spec("ray") is None:
        missing = "Ray is not installed: pip install 'pointsman[ray]'"
        if os.environ.get(REQUIRED):
            pytest.fail(f"{missing}; {REQUIRED} is set, so it is required")
        pytest.skip(missing)
    with held_port() as port, ExitStack() as running:
        address = f"127.0.0.1:{port}"
        nodes = []
        for options in (
            ["--head", "--port", f"{port}", "--include-dashboard", "false"],
            ["--address", address],
        ):
            nodes.append(node(*options))
            running.callback(end, nodes[-1])
            wait_until(lambda: known_nodes(address) == len(nodes) or nodes[-1].poll() is not None)
        yield Cluster(address=address, worker=nodes[-1])


def node(*options: str) -> subprocess.Popen[bytes]:
    fixed = ["start", "--block", "--num-cpus", "1", "--node-ip-address", "127.0.0.1", "--disable-usage-stats"]
    return subprocess.Popen(
        [sys.executable, "-c", RAY, *fixed, *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def known_nodes(address: str) -> int:
    """Number of machines that the cluster knows; 0 before it has started."""
    code = (
        "import sys; from ray._raylet import GcsClient; "
        "print(len(GcsClient(address=sys.argv[1]).get_all_node_info(timeout=5)))"
    )
    run = subprocess.run([sys.executable, "-c", code, address], capture_output=True, text=True, check=False)
    return int(run.stdout) if run.returncode == 0 else 0


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a node and all of its processes."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(PATIENCE_S)


def started(folder: Path, settings: str, *command: str | Path) -> subprocess.Popen[bytes]:
    """A command of ours, with these settings of its training."""
    config = folder / "pointsman.yaml"
    config.write_text(f"training:\n  encoder: static\n  estimator: success\n  min_calls: 20\n{settings}")
    words = [sys.executable, "-m", "router.cli", *command, "--config", config]
    with (folder / "stderr.txt").open("wb") as stderr:
        return subprocess.Popen([*map(str, words)], stdout=subprocess.DEVNULL, stderr=stderr)


def finished(run: subprocess.Popen[bytes], folder: Path) -> None:
    assert run.wait(5 * PATIENCE_S) == 0, (folder / "stderr.txt").read_text()[-2000:]


def test_a_router_trained_on_ray_is_bit_for_bit_the_one_trained_in_a_process(
    ray_cluster: Cluster, encoder_cache: Path, tmp_path: Path
) -> None:
    calls = synthetic_calls()
    for number in range(3):
        write_lines(tmp_path / f"log{number}.jsonl", *calls[number::3])
    for settings in ("", ray_cluster.settings(tmp_path)):
        out = tmp_path / ("ray" if settings else "native")
        options = ["--cache", f"{encoder_cache}", "--tracking-uri", f"sqlite:///{tmp_path}/mlflow.db"]
        run = started(tmp_path, settings, "train", tmp_path / "log*.jsonl", "--out", out, *options)
        finished(run, tmp_path)
    for file in (tmp_path / "native").glob("*.safetensors"):
        assert file.read_bytes() == (tmp_path / "ray" / file.name).read_bytes(), file.name
    native, on_ray = (read_manifest(tmp_path / name) for name in ("native", "ray"))
    assert native["policy_version"] == on_ray["policy_version"]
    assert not list((tmp_path / "scratch").iterdir())


def test_a_worker_that_dies_amid_reading_costs_no_call_and_adds_none(
    ray_cluster: Cluster, tmp_path: Path
) -> None:
    for number in range(3):
        rows = (call(prompt=f"{number} {row} {LARGE}", success=row % 3 > 0) for row in range(1000))
        write_lines(tmp_path / f"log{number}.jsonl", *rows)
    settings = ray_cluster.settings(tmp_path)
    run = started(tmp_path, settings, "import", tmp_path / "log*.jsonl", "--out", tmp_path / "calls.parquet")
    wait_until(lambda: any((tmp_path / "scratch").rglob("*.parquet")) or run.poll() is not None)
    end(ray_cluster.worker)
    finished(run, tmp_path)
    prompts = pl.read_parquet(tmp_path / "calls.parquet")["prompt"]
    assert (len(prompts), prompts.n_unique()) == (3000, 3000)
