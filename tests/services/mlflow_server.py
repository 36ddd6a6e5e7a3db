"""A real MLflow server for tests: started, stopped, and started again with what it holds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import pytest

from router.loading.artifact import seal
from tests.services.ports import held_port
from tests.services.waiting import PATIENCE_S, wait_until

if TYPE_CHECKING:
    from mlflow import MlflowClient


START_S = 300.0
"""Longest start; a quick machine needs ten seconds, a busy one minutes."""


class MlflowServer:
    """A server on loopback whose store and files lie in one folder; it runs inside the `with` block.

    With a password, it answers only the user `admin` who has it.
    """

    def __init__(self, folder: Path, password: str | None = None) -> None:
        self.folder = folder
        self._password = password
        self._held = ExitStack()
        self.port = self._held.enter_context(held_port())
        self.uri = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._held.close()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [
            sys.executable, "-m", "mlflow", "server",
            "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1",
            "--backend-store-uri", f"sqlite:///{self.folder / 'store.db'}",
            "--artifacts-destination", str(self.folder / "artifacts"),
        ]  # fmt: skip
        command += ["--app-name", "basic-auth"] if self._password else []
        settings = {
            **self._auth(),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }
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

    def _auth(self) -> dict[str, str]:
        """Where MLflow reads users and rights from."""
        if self._password is None:
            return {}
        rights = self.folder / "auth.ini"
        rights.write_text(
            f"[mlflow]\ndefault_permission = READ\ndatabase_uri = sqlite:///{self.folder / 'auth.db'}\n"
            f"admin_username = admin\nadmin_password = {self._password}\n"
            "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
        )
        return {"MLFLOW_AUTH_CONFIG_PATH": str(rights), "MLFLOW_FLASK_SERVER_SECRET_KEY": self._password}

    def stop(self) -> None:
        """Stop it with its workers; what it holds stays."""
        if self._process is not None:
            with suppress(ProcessLookupError):  # it ended by itself
                os.killpg(self._process.pid, signal.SIGTERM)
            self._process.wait(PATIENCE_S)
            self._process = None

    def _wait(self) -> None:
        """Wait for the first answer; what the server logged is the failure's message."""
        try:
            wait_until(self._answers, START_S)
        except (ChildProcessError, TimeoutError) as error:
            self.stop()
            pytest.fail(f"{error}\n{(self.folder / 'server.log').read_text(encoding='utf-8')}")

    def _answers(self) -> bool:
        assert self._process is not None
        if (code := self._process.poll()) is not None:
            raise ChildProcessError(f"MLflow's server ended with exit code {code}")
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=5):
                return True
        except OSError:
            return False


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
