from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from router import registry
from router.client import Router
from router.errors import ArtifactError, ForeignArtifact, MissingExtra
from router.registry import local_folder
from training.pipeline import Trained


@pytest.fixture
def tracking(monkeypatch: pytest.MonkeyPatch, tracking_uri: str) -> Iterator[str]:
    """MLflow set to the registry of the trained router for one test."""
    import mlflow

    previous = mlflow.get_tracking_uri()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri)
    mlflow.set_tracking_uri(tracking_uri)
    yield tracking_uri
    mlflow.set_tracking_uri(previous)


@pytest.mark.parametrize("where", ["runs/router", Path("runs/router"), "models", "/models:/x"])
def test_a_folder_is_taken_as_it_is(where: str | Path) -> None:
    assert local_folder(where) == Path(where)


@pytest.mark.usefixtures("tracking")
def test_a_registered_version_loads_as_the_folder_it_was_made_from(trained: Trained) -> None:
    fetched = Router.load(f"models:/sample/{trained.published.version}")
    assert fetched.policy_version == trained.manifest["policy_version"]
    assert fetched.route("hi") == Router.load(trained.out).route("hi")


@pytest.mark.usefixtures("tracking")
def test_an_alias_loads_the_version_that_bears_it(trained: Trained) -> None:
    from mlflow import MlflowClient

    version = trained.published.version
    assert version is not None
    MlflowClient().set_registered_model_alias("sample", "on-trial", version)
    assert Router.load("models:/sample@on-trial").policy_version == trained.manifest["policy_version"]


@pytest.mark.usefixtures("tracking", "trained")
@pytest.mark.parametrize(
    "uri", ["models:/sample@nobody", "models:/sample/999", "models:/unknown/1", "models:/", "runs:/0/router"]
)
def test_what_the_registry_lacks_is_refused_with_its_uri(uri: str) -> None:
    with pytest.raises(ArtifactError, match=f"^{uri}: can't be fetched: .*; is MLFLOW_TRACKING_URI set"):
        local_folder(uri)


def test_a_registered_model_that_is_no_router_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_fetch", lambda uri: tmp_path)
    with pytest.raises(ForeignArtifact, match=r"models:/x/1: the registered model holds no manifest\.json"):
        local_folder("models:/x/1")


def test_without_mlflow_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow.artifacts", None)
    with pytest.raises(MissingExtra, match=r"'mlflow-skinny': pip install 'pointsman\[registry\]'"):
        local_folder("models:/x/1")


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        pytest.param(OSError(), r"OSError\(\)", id="without a message"),
        pytest.param(OSError("first\nsecond"), "first; is", id="of many lines"),
        pytest.param(
            OSError("https://me:secret@host/api: refused"), r"https://\*\*\*@host/api", id="password"
        ),
    ],
)
def test_a_failed_fetch_is_told_in_one_line_without_credentials(
    monkeypatch: pytest.MonkeyPatch, failure: OSError, told: str
) -> None:
    def refuse(artifact_uri: str) -> None:
        raise failure

    monkeypatch.setattr("mlflow.artifacts.download_artifacts", refuse)
    with pytest.raises(ArtifactError, match=f"can't be fetched: {told}"):
        local_folder("models:/x/1")
