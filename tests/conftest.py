"""What the tests share: one router, trained for real on the sample log, and a reporter that says nothing."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from router.serving.client import Router
from router.settings.yaml_file import load_config
from router.version import Version
from tests.services.browser import browser as browser
from tests.services.postgres import postgres as postgres
from training.pipeline import Trained, TrainJob, train
from training.progress import Silent
from training.prompts.from_logs import ReadOptions

DATA = Path(__file__).parent.parent / "data"
CACHE_VARIABLE = "POINTSMAN_TEST_CACHE"
"""Names a folder that keeps the exported encoder and the embeddings between runs of the tests."""

# The same examples in every run, and no time limit on one: the machine may be busy.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")
SERVICES = {"postgres", "process", "logged", "make_app", "server", "setup", "registry", "s3", "gcs"}
"""Fixtures, and parameters that ask for one, that start a server or the proxy."""
LOGS_OF_SERVICES = {"spend", "callback"}
WHOLE = Path(__file__).parent / "whole"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by what they use, so that `make quick` can leave the slow ones out."""
    for item in items:
        asked = set(getattr(item, "fixturenames", ()))
        if "browser" in asked:
            item.add_marker(pytest.mark.browser)
        given = getattr(getattr(item, "callspec", None), "params", {}).values()
        asked |= {value for value in given if isinstance(value, str)}
        if asked & (SERVICES | LOGS_OF_SERVICES):
            item.add_marker(pytest.mark.service)
        if item.path.is_relative_to(WHOLE):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="module", autouse=True)
def no_connection_is_left() -> Iterator[None]:
    """LiteLLM keeps a client, and its connections, for every address that it was called with."""
    yield
    clients = getattr(sys.modules.get("litellm"), "in_memory_llm_clients_cache", None)
    if clients is not None and clients.cache_dict:
        clients.flush_cache()
        gc.collect()


@pytest.fixture(scope="session")
def quiet() -> Silent:
    return Silent()


@pytest.fixture(scope="session")
def sample_log() -> Path:
    return DATA / "sample_calls.parquet"


@pytest.fixture(scope="session")
def sample_settings() -> Path:
    return DATA / "pointsman.yaml"


@pytest.fixture(scope="session")
def encoder_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where encoders and embeddings are kept: exporting MiniLM takes a minute of the fixture below."""
    kept = os.environ.get(CACHE_VARIABLE)
    return Path(kept) if kept else tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def tracking_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture(scope="session")
def trained(
    sample_log: Path,
    sample_settings: Path,
    encoder_cache: Path,
    tracking_uri: str,
    quiet: Silent,
    tmp_path_factory: pytest.TempPathFactory,
) -> Trained:
    """A router trained on the whole sample log, recorded and registered as `sample` in MLflow."""
    folder = tmp_path_factory.mktemp("trained")
    reading = ReadOptions(
        mapping={},
        rejects=folder / "rejects.jsonl",
        config=load_config(sample_settings),
        cache=encoder_cache,
    )
    job = TrainJob(
        sources=[str(sample_log)],
        out=folder / "router",
        reading=reading,
        tracking_uri=tracking_uri,
        register="sample",
    )
    previous = Path.cwd()
    os.chdir(folder)
    try:
        return train(job, quiet)
    finally:
        os.chdir(previous)


@pytest.fixture(scope="session")
def router_folder(trained: Trained) -> Path:
    """The trained router's folder; tests that change a file do so in a copy."""
    return trained.out


@pytest.fixture(scope="session")
def loaded(router_folder: Path) -> Router:
    return Router.load(router_folder)


@pytest.fixture(scope="session")
def version(router_folder: Path) -> Version:
    return Version.load(router_folder)
