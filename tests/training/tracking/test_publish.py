from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path

import pytest

from router.errors import RouterError
from training.tracking import publish as publishing
from training.tracking.publish import LoggedData, Published, RunRecord, publish
from training.tracking.store import EXPERIMENT

RECORD = RunRecord(
    params={"estimator": "success"},
    metrics={"test.success": 0.9},
    documents={"search.json": {"1": 2.0}},
    nested={
        "label (not published)": RunRecord(params={"estimator": "label"}, metrics={}, card="Not {}".format)
    },
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('store') / 'mlflow.db'}"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow puts the artifacts of a SQLite store beside the working directory."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "router").mkdir()
    (tmp_path / "router" / "manifest.json").write_text("{}", encoding="utf-8")
    return tmp_path / "router"


def test_publishing_prints_nothing(
    folder: Path, store: str, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    publish(folder, RECORD, store, register="quiet")
    assert capfd.readouterr() == ("", "")
    assert not [one for one in recwarn if one.category is UserWarning]


def test_a_run_that_is_not_registered_has_no_version(folder: Path, store: str) -> None:
    published = publish(folder, RECORD, store)
    assert (published.version, published.tracking_uri) == (None, store)


def test_registering_again_makes_the_next_version(folder: Path, store: str) -> None:
    versions = [publish(folder, RECORD, store, register="again").version for _ in range(2)]
    assert versions == ["1", "2"]


def test_publishing_leaves_the_settings_of_the_process_as_they_were(folder: Path, store: str) -> None:
    before, level = dict(os.environ), logging.getLogger("mlflow").level
    publish(folder, RECORD, store)
    os.environ.pop("MLFLOW_DISABLE_TELEMETRY", None)
    assert {name: value for name, value in before.items() if name != "MLFLOW_DISABLE_TELEMETRY"} == dict(
        os.environ
    )
    assert logging.getLogger("mlflow").level == level


def test_the_run_is_in_the_experiment_with_its_nested_ones(folder: Path, store: str) -> None:
    from mlflow import MlflowClient

    published = publish(folder, RECORD, store)
    client = MlflowClient(tracking_uri=store)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    (nested,) = client.search_runs(
        [experiment.experiment_id], f"tags.`mlflow.parentRunId` = '{published.run_id}'"
    )
    assert nested.data.params == {"estimator": "label"}
    assert nested.data.tags["mlflow.note.content"] == f"Not runs:/{published.run_id}/router"


@pytest.mark.parametrize(
    ("uri", "register", "words"),
    [
        pytest.param("http://127.0.0.1:9", None, r"no answer \(Connection refused\)", id="no server"),
        pytest.param("ftp://example.invalid", None, "unsupported URI", id="a scheme that MLflow lacks"),
        pytest.param("{store}", "a/b", "Invalid model name 'a/b'", id="a name that MLflow refuses"),
    ],
)
def test_a_run_that_mlflow_does_not_take_is_told_in_one_line(
    folder: Path, store: str, uri: str, register: str | None, words: str
) -> None:
    where = uri.format(store=store)
    with pytest.raises(
        RouterError, match=f"did not record the run: .*{words}.*written all the same"
    ) as error:
        publish(folder, RECORD, where, register=register)
    assert str(error.value).startswith(f"MLflow at {where}")
    assert "\n" not in str(error.value)


def test_a_password_in_the_address_is_never_told(folder: Path) -> None:
    with pytest.raises(RouterError, match="did not record the run") as error:
        publish(folder, RECORD, "http://ann:secret@127.0.0.1:9")
    assert "secret" not in str(error.value)


def test_the_cause_of_many_retries_is_their_end() -> None:
    error = OSError("Max retries exceeded with url: /x (Caused by E('z: [Errno 111] Connection refused'))")
    assert publishing._cause(error) == "no answer (Connection refused)"


def test_published_says_where_the_run_is() -> None:
    assert Published(tracking_uri="u", run_id="r", version="3").version == "3"


def test_the_pages_name_describe_and_tag_the_run_and_the_version(folder: Path, store: str) -> None:
    from mlflow import MlflowClient

    record = replace(
        RECORD,
        name="claims",
        tags={"policy_version": "c38fb37b6169"},
        version_tags={"recommendation": "deploy"},
        card="Load {}".format,
        data=LoggedData(name="calls.db", digest="ab" * 32, calls=5),
    )
    published = publish(folder, record, store, register="claims")
    client = MlflowClient(tracking_uri=store)
    run, version = client.get_run(published.run_id), client.get_model_version("claims", "1")
    assert run.info.run_name == "claims v1 · c38fb37b6169"
    assert run.data.tags["mlflow.note.content"] == f"Load runs:/{published.run_id}/router"
    assert version.description == "Load models:/claims/1"
    model = client.get_registered_model("claims")
    assert 'Router.load("models:/claims@champion")' in model.description
    assert version.tags["recommendation"] == "deploy"
    assert run.inputs is not None
    assert [one.dataset.name for one in run.inputs.dataset_inputs] == ["calls.db"]


def test_a_description_that_somebody_wrote_of_the_router_stays(folder: Path, store: str) -> None:
    from mlflow import MlflowClient

    publish(folder, RECORD, store, register="described")
    client = MlflowClient(tracking_uri=store)
    client.update_registered_model("described", description="Ours.")
    publish(folder, RECORD, store, register="described")
    assert client.get_registered_model("described").description == "Ours."


def test_a_run_without_a_version_is_named_after_the_router(folder: Path, store: str) -> None:
    from mlflow import MlflowClient

    published = publish(folder, replace(RECORD, name="demo", tags={"policy_version": "abc"}), store)
    assert MlflowClient(tracking_uri=store).get_run(published.run_id).info.run_name == "demo · abc"
