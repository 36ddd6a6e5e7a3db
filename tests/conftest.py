"""What the tests share: one router, trained for real on the sample log, and a reporter that says nothing.

With `-n` the tests run in several processes, the workers. Each has servers of its own; what takes long to
make and is only read, the first worker that needs it makes for all, in a folder that they share.
"""

from __future__ import annotations

import gc
import os
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from filelock import FileLock
from hypothesis import settings

from router.serving.client import Router
from router.settings.yaml_file import load_config
from router.version import Version
from tests.services.browser import browser as browser
from tests.services.postgres import postgres as postgres
from training.pipeline import Trained, TrainJob, train_on_log
from training.progress import Silent
from training.prompts.encoder_export import prepared_encoder
from training.prompts.from_logs import ReadOptions

DATA = Path(__file__).parent.parent / "data"
CACHE_VARIABLE = "POINTSMAN_TEST_CACHE"
"""Names a folder that keeps the exported encoder and the embeddings between runs of the tests."""

# The same examples in every run, and no time limit on one: the machine may be busy.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")
SERVICES = {*"postgres provider process logged make_app server setup registry s3 gcs ray_cluster".split()}
"""Fixtures, and parameters that ask for one, that start a server or the proxy."""
LOGS_OF_SERVICES = {"spend", "callback"}
DEAR = {"trained", "encoder_cache", "own_folder", "refusals"}
"""Fixtures that train a router on the whole sample, or load what exports an encoder."""
WHOLE = Path(__file__).parent / "whole"
SLOW = ("slow", "browser", "service")
"""The markers that `make quick` leaves out."""
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Threads of linear algebra spin while they wait: on a busy machine two are up to 40 times as slow as one."""
LITELLMS_OWN_PRICES = "LITELLM_LOCAL_MODEL_COST_MAP"
"""Keeps LiteLLM from fetching its price list when a test imports it before our code does."""


def pytest_configure() -> None:
    """Set what the workers, and the processes that tests start, take over from the environment."""
    for variable in ONE_THREAD:
        os.environ.setdefault(variable, "1")
    os.environ.setdefault(LITELLMS_OWN_PRICES, "True")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by what they use, so that `make quick` can leave the slow ones out; their files come first.

    So no worker is left alone with a long file at the end.
    """
    for item in items:
        asked = set(getattr(item, "fixturenames", ()))
        if "browser" in asked:
            item.add_marker(pytest.mark.browser)
        given = getattr(getattr(item, "callspec", None), "params", {}).values()
        asked |= {value for value in given if isinstance(value, str)}
        if asked & (SERVICES | LOGS_OF_SERVICES):
            item.add_marker(pytest.mark.service)
        if item.path.is_relative_to(WHOLE) or asked & DEAR:
            item.add_marker(pytest.mark.slow)
    slow = {item.path for item in items if any(map(item.get_closest_marker, SLOW))}
    items.sort(key=lambda item: (not item.path.is_relative_to(WHOLE), item.path not in slow))


def pytest_collection_finish() -> None:
    """Keep all that was imported out of the garbage collector's rounds, which took half a second each."""
    gc.collect()
    gc.freeze()


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
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this run's that all its workers have."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def encoder_cache(shared: Path, sample_log: Path) -> Path:
    """Where encoders and embeddings are kept; with MiniLM, whose export takes half a minute."""
    cache = Path(os.environ.get(CACHE_VARIABLE) or shared / "cache")
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / "minilm.lock"):
        prepared_encoder("minilm", pl.read_parquet(sample_log)["prompt"].drop_nulls().to_list(), cache)
    return cache


@pytest.fixture(scope="session")
def tracking_uri(trained: Trained) -> str:
    """Where the trained router is registered."""
    return trained.published.tracking_uri


@pytest.fixture(scope="session")
def trained(
    shared: Path, sample_log: Path, sample_settings: Path, encoder_cache: Path, quiet: Silent
) -> Trained:
    """A router trained on the whole sample log, recorded and registered as `sample` in MLflow."""
    kept = shared / "trained.pickle"
    with FileLock(shared / "trained.lock"):
        if not kept.exists():
            made = _train(shared / "trained", sample_log, sample_settings, encoder_cache, quiet)
            kept.write_bytes(pickle.dumps(made))
    found: Trained = pickle.loads(kept.read_bytes())  # noqa: S301 - this run wrote it
    return found


def _train(folder: Path, log: Path, config: Path, cache: Path, quiet: Silent) -> Trained:
    folder.mkdir()
    reading = ReadOptions(
        mapping={},
        rejects=folder / "rejects.jsonl",
        config=load_config(config),
        cache=cache,
    )
    job = TrainJob(
        sources=[str(log)],
        out=folder / "router",
        reading=reading,
        tracking_uri=f"sqlite:///{folder / 'mlflow.db'}",
        register="sample",
    )
    previous = Path.cwd()
    os.chdir(folder)
    try:
        return train_on_log(job, quiet)
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
