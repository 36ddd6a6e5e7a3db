"""A real PostgreSQL for the tests: the system's own programs, a temporary cluster, loopback only."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.services.ports import held_port

DEBIAN = "/usr/lib/postgresql"
REQUIRED = ("CI", "POINTSMAN_REQUIRE_SERVICES")
"""Environment variables that turn a missing PostgreSQL into a failure."""
USER = "pointsman"
PASSWORD = "p@ss/w:rd%?"
_SETTINGS = "-c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=60"


@dataclass(frozen=True, slots=True, kw_only=True)
class Postgres:
    """A running server; its user must give a password.

    Attributes:
        folder: data, socket and the server's own log.
        owner: the prefix of every command: as root, one that becomes the user `postgres`.
    """

    binaries: Path
    folder: Path
    port: int
    owner: Sequence[str]

    def url(self, database: str = "postgres", *, password: str | None = PASSWORD) -> str:
        """The address of a database; without a password in it for None."""
        secret = "" if password is None else f":{quote(password, safe='')}"
        return f"postgresql://{USER}{secret}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start the server and wait until it takes connections."""
        options = f"-p {self.port} -k {self.folder} {_SETTINGS}"
        log = str(self.folder / "server.log")
        self._control("start", "-w", "-t", "120", "-l", log, "-o", options)

    def stop(self, *, mode: str = "fast") -> None:
        """Stop the server; "immediate" is a crash."""
        self._control("stop", "-w", "-t", "120", "-m", mode)

    def new_database(self, name: str) -> str:
        """The address of a new, empty database."""
        self.execute(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def execute(self, statement: str, database: str = "postgres") -> None:
        """Run a statement as the superuser, outside of a transaction."""
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True) as connection:
            connection.execute(statement.encode())

    def _control(self, *arguments: str) -> None:
        data = str(self.folder / "data")
        _run([*self.owner, str(self.binaries / "pg_ctl"), "-D", data, *arguments], self.folder)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A server of this test run; skipped where PostgreSQL is not installed, unless it is required."""
    binaries = _find_binaries()
    if binaries is None:
        missing = f"PostgreSQL is not installed (no initdb on PATH or in {DEBIAN}/*/bin): install postgresql"
        required = [name for name in REQUIRED if os.environ.get(name)]
        if required:
            pytest.fail(f"{missing}; {required[0]} is set, so it is required")
        pytest.skip(missing)
    folder = Path(tempfile.mkdtemp(prefix="pointsman-pg-"))
    try:
        with held_port() as port:
            server = _make_cluster(binaries, folder, port)
            server.start()
            yield server
            server.stop(mode="immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _find_binaries() -> Path | None:
    """The folder of the newest PostgreSQL's programs."""
    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).resolve().parent
    found = [path.parent for path in Path(DEBIAN).glob("*/bin/initdb")]
    return max(found, key=lambda path: float(path.parent.name), default=None)


def _make_cluster(binaries: Path, folder: Path, port: int) -> Postgres:
    owner: Sequence[str] = ()
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        shutil.chown(folder, "postgres", "postgres")
        owner = ("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups")
    secret = folder / "password"
    secret.write_text(PASSWORD, encoding="utf-8")
    secret.chmod(0o644)  # for the cluster's user; the folder is closed to everybody else
    initdb = [str(binaries / "initdb"), "-D", str(folder / "data"), "-U", USER, "-A", "scram-sha-256"]
    _run([*owner, *initdb, f"--pwfile={secret}", "-E", "UTF8", "--locale=C", "--no-sync"], folder)
    return Postgres(binaries=binaries, folder=folder, port=port, owner=owner)


def _run(command: Sequence[str], folder: Path) -> None:
    # To a file and not a pipe: the server would keep a pipe open, and its reader waiting.
    said = folder / "commands.log"
    with said.open("ab") as log:
        done = subprocess.run(
            command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=folder, timeout=180
        )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{said.read_text(errors='replace')[-2000:]}")
