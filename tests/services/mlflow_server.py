"""A real MLflow server for tests: started, stopped, and started again with what it holds."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import pytest

from router.loading.artifact import seal

if TYPE_CHECKING:
    from mlflow import MlflowClient


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class MlflowServer:
    """A server on loopback whose store and files lie in one folder; it runs inside the `with` block."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [
            sys.executable, "-m", "mlflow", "server",
            "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1",
            "--backend-store-uri", f"sqlite:///{self.folder / 'store.db'}",
            "--artifacts-destination", str(self.folder / "artifacts"),
        ]  # fmt: skip
        settings = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=os.environ | settings,
                start_new_session=True,
            )
        self._wait()

    def stop(self) -> None:
        """Stop it with its workers; what it holds stays."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGTERM)
            self._process.wait(120)
            self._process = None

    def _wait(self) -> None:
        """Wait for the first answer; what the server logged is the failure's message."""
        log = self.folder / "server.log"
        for _ in range(1500):
            try:
                with urllib.request.urlopen(f"{self.uri}/health", timeout=5):
                    return
            except OSError:
                assert self._process is not None
                assert self._process.poll() is None, log.read_text(encoding="utf-8")
                time.sleep(0.2)
        self.stop()
        pytest.fail(log.read_text(encoding="utf-8"))


def small_router(folder: Path, text: str = "a") -> Path:
    """A folder that every check of files takes for a router: a manifest, and one file with a text."""
    folder.mkdir(parents=True)
    (folder / "text.txt").write_text(text)
    seal(folder, {"models": ["large", "small"]})
    return folder


def register(client: MlflowClient, name: str, folder: Path) -> str:
    """Make the next version of a registered model from a folder; its number."""
    from mlflow.exceptions import MlflowException

    with suppress(MlflowException):  # it exists
        client.create_registered_model(name)
    run = client.create_run("0")
    client.log_artifacts(run.info.run_id, str(folder), "router")
    source = f"{run.info.artifact_uri}/router"
    return str(client.create_model_version(name, source, run.info.run_id, await_creation_for=0).version)
