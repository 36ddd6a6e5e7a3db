"""A router published to a real MLflow server, and fetched from it by other processes."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from router import cli
from router.records import Json, Request
from router.serving.client import Router
from tests.services.mlflow_server import MlflowServer
from tests.services.ports import held_port
from tests.training.logs import write_lines
from tests.training.test_pipeline import synthetic_calls
from training.learning import material
from training.tracking.store import EXPERIMENT

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

NAME = "support"
REQUESTS: list[dict[str, Json]] = [
    {"prompt": "sum the numbers 4 and 5", "task_type": "math"},
    {"messages": [{"role": "user", "content": "write a poem about 1999"}], "tags": ["fun"]},
    {"prompt": "refactor the function f", "tools": [{"name": "run", "description": "runs code"}]},
]
LOAD = """
import json, os, sys
from router import cli
from router import Router
from router.records import Request
requests = json.loads(sys.argv[1])
routers = [Router.load(uri) for uri in sys.argv[2:]]
said = [[router.decide(Request.from_json(one)).to_json() for one in requests] for router in routers]
os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
import mlflow, pandas
said.append(mlflow.pyfunc.load_model(sys.argv[-1]).predict(pandas.DataFrame(requests)))
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of an MLflow server with a store of its own."""
    with MlflowServer(tmp_path_factory.mktemp("server")) as server:
        yield server.uri


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A `pointsman train --register` that ran, what it wrote, and where."""

    uri: str
    folder: Path
    code: int
    out: str
    err: str

    @property
    def result(self) -> dict[str, Json]:
        return dict(json.loads(self.out))


def run_train(folder: Path, cache: Path, uri: str, *options: str) -> Published:
    """Train through the command line in this process, with fewer columns of words: six times as fast."""
    log, out, err = write_lines(folder / "calls.jsonl", *synthetic_calls()), io.StringIO(), io.StringIO()
    words = [
        "pointsman", "train", log, "--out", str(folder / "router"), "--register", NAME, "--tracking-uri", uri,
        "--cache", str(cache), "--json", *options,
    ]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.chdir(folder)
        patch.setattr(material, "GRAM_DIMENSIONS", 32)
        patch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit, match=r"\d|None|^$") as ended:
            cli.main()
    code = int(ended.value.code or 0)
    return Published(uri=uri, folder=folder / "router", code=code, out=out.getvalue(), err=err.getvalue())


@pytest.fixture(scope="module")
def published(server: str, encoder_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Published:
    published = run_train(tmp_path_factory.mktemp("published"), encoder_cache, server)
    assert published.code == 0, published.err
    return published


@pytest.fixture(scope="module")
def client(published: Published) -> MlflowClient:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=published.uri, registry_uri=published.uri)
    client.set_registered_model_alias(NAME, "champion", published.result["mlflow"]["version"])
    return client


@pytest.fixture(scope="module")
def run(client: MlflowClient, published: Published) -> Run:
    return client.get_run(published.result["mlflow"]["run_id"])


def paths(client: MlflowClient, run_id: str) -> set[str]:
    return {file.path for file in client.list_artifacts(run_id)}


def test_training_prints_its_result_and_nothing_of_mlflows(published: Published) -> None:
    assert published.err == ""
    assert published.out.count("\n") == 1


def test_a_run_says_how_the_router_was_trained(run: Run, published: Published) -> None:
    params, manifest = run.data.params, json.loads((published.folder / "manifest.json").read_bytes())
    assert params["estimator"] == published.result["estimator"]
    assert (params["encoder"], params["split"]) == ("all-MiniLM-L6-v2", "group")
    assert params["data_digest"] == manifest["data"]["digest"]
    assert float(params["policy_weight"]) == pytest.approx(manifest["policy"]["weight"])


def test_a_run_has_metrics_for_every_part(run: Run) -> None:
    parts = {name.split(".")[0] for name in run.data.metrics if "." in name}
    assert parts == {"calibration", "validation_success", "validation_label", "test"}
    assert (run.data.metrics["calls"], run.data.metrics["rejected_rows"]) == (240, 0)


def test_a_run_is_finished_and_tagged_with_its_router(run: Run, published: Published) -> None:
    assert run.info.status == "FINISHED"
    assert run.data.tags["policy_version"] == published.result["policy_version"]


def test_a_run_keeps_figures_and_documents(client: MlflowClient, run: Run) -> None:
    figures = {"cost_quality.png", "risk_coverage.png", "reliability.png"}
    documents = {"data_report.json", "reading.json", "manifest.json"}
    assert figures | documents <= paths(client, run.info.run_id)


def test_the_estimator_that_lost_is_a_nested_run(client: MlflowClient, run: Run) -> None:
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    (lost,) = client.search_runs(
        [experiment.experiment_id], f"tags.`mlflow.parentRunId` = '{run.info.run_id}'"
    )
    assert lost.data.params["estimator"] != run.data.params["estimator"]
    assert "validation.brier" in lost.data.metrics
    assert "search.json" in paths(client, lost.info.run_id)


def test_the_registered_version_belongs_to_the_run(client: MlflowClient, run: Run) -> None:
    version = client.get_model_version(NAME, "1")
    assert (version.run_id, version.status) == (run.info.run_id, "READY")
    assert client.get_model_version_by_alias(NAME, "champion").version == version.version


def test_what_is_registered_is_the_router_that_was_written(
    client: MlflowClient, published: Published, tmp_path: Path
) -> None:
    fetched = download(published.uri, tmp_path)
    (manifest,) = fetched.rglob("manifest.json")
    for file in published.folder.rglob("*"):
        copy = manifest.parent / file.relative_to(published.folder)
        assert file.is_dir() or copy.read_bytes() == file.read_bytes()


def download(uri: str, folder: Path) -> Path:
    from mlflow.artifacts import download_artifacts

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        return Path(
            download_artifacts(f"models:/{NAME}/1", dst_path=str(folder), tracking_uri=uri, registry_uri=uri)
        )


def test_nothing_registered_is_pickled(client: MlflowClient, published: Published, tmp_path: Path) -> None:
    files = [file for file in download(published.uri, tmp_path).rglob("*") if file.is_file()]
    assert {file.suffix for file in files} <= {".json", ".safetensors", ".onnx", ".py", ".yaml", ".txt", ""}
    assert not [file for file in files if file.read_bytes()[:1] == b"\x80"]


@pytest.fixture(scope="module")
def compared(client: MlflowClient, published: Published) -> Run:
    """The run of a comparison of the registered router, asked for by its alias."""
    folder = published.folder.parent
    fresh = [{**call, "prompt": f"{call['prompt']} once more"} for call in synthetic_calls(60)]
    log = write_lines(folder / "fresh.jsonl", *fresh)
    words = [
        "pointsman", "compare", log, "--router", f"models:/{NAME}@champion", "--out", str(folder / "report"),
        "--draws", "200", "--tracking-uri", published.uri, "--json",
    ]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()):
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", published.uri)
        patch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit, match=r"^0$"):
            cli.main()
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    version = published.result["policy_version"]
    (run,) = client.search_runs([experiment.experiment_id], f"tags.compared_policy_version = '{version}'")
    return run


def test_a_comparison_is_recorded_under_the_version_that_it_compared(
    client: MlflowClient, run: Run, compared: Run
) -> None:
    assert compared.data.tags["mlflow.parentRunId"] == run.info.run_id
    assert {"report.html", "report.json"} <= paths(client, compared.info.run_id)
    assert client.get_model_version(NAME, "1").tags["comparison_run"] == compared.info.run_id


def test_a_comparison_says_to_people_what_it_is_of_and_what_it_advises(
    client: MlflowClient, published: Published, compared: Run
) -> None:
    tags, folder = compared.data.tags, published.folder.parent
    version = client.get_model_version(NAME, "1")
    assert compared.info.run_name == f"comparison of {NAME} v1 · {published.result['policy_version'][:12]}"
    assert tags["mlflow.note.content"].startswith("**")
    assert float(tags["success"]) == pytest.approx(compared.data.metrics["compare.success"], abs=1e-4)
    assert tags["recommendation"] == version.tags["comparison_recommendation"]
    assert {"success", "cost_usd_per_1000", "recommendation"} <= set(version.tags) & set(tags)
    assert compared.inputs is not None
    (data,) = compared.inputs.dataset_inputs
    assert data.dataset.name == str(folder / "fresh.jsonl")
    assert [tag.value for tag in data.tags] == ["comparison"]


def test_a_comparison_s_metrics_hang_on_the_logged_model(
    client: MlflowClient, run: Run, compared: Run
) -> None:
    assert run.outputs is not None
    (output,) = run.outputs.model_outputs
    model = client.get_logged_model(output.model_id)
    assert {metric.key for metric in model.metrics or ()} >= {"compare.success", "compare.success.ci_low"}
    assert compared.data.params["method"] == "exact"


@pytest.fixture(scope="module")
def elsewhere(client: MlflowClient, published: Published, tmp_path_factory: pytest.TempPathFactory) -> Json:
    """Decisions of a process that knows the router's name and the server only."""
    return decisions_of(
        published.uri, tmp_path_factory.mktemp("elsewhere"), f"models:/{NAME}@champion", f"models:/{NAME}/1"
    )


def decisions_of(uri: str, folder: Path, *names: str) -> Json:
    done = subprocess.run(
        [sys.executable, "-c", LOAD, json.dumps(REQUESTS), *names],
        capture_output=True, text=True, check=False, cwd=folder, timeout=300,
        env=os.environ | {"MLFLOW_TRACKING_URI": uri, "XDG_CACHE_HOME": str(folder)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def expected(folder: Path, requests: Sequence[dict[str, Json]] = REQUESTS) -> Json:
    router = Router.load(folder)
    return json.loads(json.dumps([router.decide(Request.from_json(one)).to_json() for one in requests]))


@pytest.mark.parametrize(
    ("place", "way"),
    [
        pytest.param(0, "models:/NAME@ALIAS", id="alias"),
        pytest.param(1, "models:/NAME/1", id="version"),
        pytest.param(2, "pyfunc without pickle", id="pyfunc"),
    ],
)
def test_a_router_fetched_by_name_decides_as_the_folder_does(
    elsewhere: Json, published: Published, place: int, way: str
) -> None:
    assert elsewhere[place] == expected(published.folder), way


def test_a_server_that_is_down_costs_the_run_but_not_the_router(tmp_path: Path, encoder_cache: Path) -> None:
    with held_port() as port:
        uri = f"http://127.0.0.1:{port}"
        said = run_train(tmp_path, encoder_cache, uri, "--estimator", "success")
    assert (said.code, said.out) == (1, "")
    assert said.err == (
        f"error: MLflow at {uri} did not record the run: no answer (Connection refused). The router's folder "
        "is written all the same; check MLFLOW_TRACKING_URI (unset: a local SQLite file) and --register\n"
    )
    assert Router.load(tmp_path / "router").models == ("large", "small")
