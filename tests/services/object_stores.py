"""Object stores on loopback for tests: moto for S3, the emulator of Google's client libraries for GCS."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import fsspec
import pytest

from tests.services.ports import held_port
from tests.services.waiting import PATIENCE_S, wait_until


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectStore:
    """A running store.

    Attributes:
        bucket: address of its one bucket.
        endpoint: where it listens.
        environment: by which a client finds it.
        files: a client of the test's own.
    """

    bucket: str
    endpoint: str
    environment: Mapping[str, str]
    files: Any

    def put(self, name: str, content: bytes) -> str:
        """Write an object; returns its address."""
        address = f"{self.bucket}/{name}"
        self.files.pipe_file(address, content)
        return address


@contextmanager
def s3_store() -> Iterator[ObjectStore]:
    """A real S3 protocol server, with one bucket."""
    key = {"AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": "no-secret"}
    with _running("from moto.server import main; main(['-p', '{port}'])", "/moto-api/") as endpoint:
        files = fsspec.filesystem(
            "s3",
            key=key["AWS_ACCESS_KEY_ID"],
            secret=key["AWS_SECRET_ACCESS_KEY"],
            client_kwargs={"endpoint_url": endpoint, "region_name": "eu-west-1"},
        )
        files.mkdir("logs")
        found = {"AWS_ENDPOINT_URL": endpoint, "AWS_DEFAULT_REGION": "eu-west-1", **key}
        yield ObjectStore(bucket="s3://logs", endpoint=endpoint, environment=found, files=files)


@contextmanager
def gcs_store() -> Iterator[ObjectStore]:
    """A server of Google Cloud Storage's JSON protocol, with one bucket."""
    code = (
        "from gcp_storage_emulator.server import create_server; "
        "create_server('127.0.0.1', {port}, in_memory=True, default_bucket='logs').run()"
    )
    with _running(code, "/storage/v1/b?project=tests") as endpoint:
        found = {"STORAGE_EMULATOR_HOST": endpoint, "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false"}
        with pytest.MonkeyPatch.context() as patch:
            # gcsfs asks by gRPC what kind of bucket it is, which the emulator does not speak.
            patch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
            files = fsspec.filesystem("gs", endpoint_url=endpoint, token="anon", project="tests")
            yield ObjectStore(bucket="gs://logs", endpoint=endpoint, environment=found, files=files)


@contextmanager
def _running(code: str, answers: str) -> Iterator[str]:
    """The address of a server that the code starts on `{port}`, once it answers under a path."""
    with held_port() as port:
        endpoint = f"http://127.0.0.1:{port}"
        server = subprocess.Popen(
            [sys.executable, "-c", code.format(port=port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=os.environ,
        )
        try:
            wait_until(lambda: _is_up(endpoint + answers))
            yield endpoint
        finally:
            server.terminate()
            server.wait(PATIENCE_S)


def _is_up(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5):
            return True
    except OSError:
        return False
