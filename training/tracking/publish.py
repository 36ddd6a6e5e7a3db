"""What training and comparing leave in MLflow: parameters, metrics, figures, files, a version."""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from router.addresses import without_credentials
from router.errors import MissingExtra, RouterError
from router.records import REQUEST_FIELDS, Json

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.models.signature import ModelSignature

EXPERIMENT = "pointsman"
PYFUNC_CODE = Path(__file__).with_name("pyfunc_model.py")
QUIET = {
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""MLflow prints neither bars nor links among the command's own output."""
IMPATIENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_LOGGING_LEVEL": "WARNING"}
"""Unless the team set them: a server that is down is noticed in seconds, not after MLflow's four minutes."""
LEAST_LEVELS = {"mlflow": logging.WARNING, "urllib3.connectionpool": logging.ERROR}
"""Loggers that are quieter while a run is published: when every retry fails, the error says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """What one fitted router or estimator leaves in MLflow.

    Attributes:
        figures: by file name; drawn on the run's page.
        documents: JSON documents by file name.
        nested: the estimators that lost, by name.
    """

    params: Mapping[str, Json]
    metrics: Mapping[str, float]
    tags: Mapping[str, str] = field(default_factory=dict)
    figures: Mapping[str, Figure] = field(default_factory=dict)
    documents: Mapping[str, Json] = field(default_factory=dict)
    nested: Mapping[str, RunRecord] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """Where a run went; `version` is None when it was not registered."""

    tracking_uri: str
    run_id: str
    version: str | None


def publish(folder: Path, record: RunRecord, tracking_uri: str, register: str | None = None) -> Published:
    """Record a training run with its artifact; register it where a name is given.

    Args:
        folder: the router; logged whole, as a pyfunc model defined by code, so nothing is pickled.

    Raises:
        MissingExtra: MLflow is not installed.
        RouterError: the tracking server refuses, or can't be reached.
    """
    with _mlflow_errors(tracking_uri), _quiet_mlflow():
        import mlflow

        mlflow.set_tracking_uri(tracking_uri)
        mlflow.set_experiment(EXPERIMENT)
        with mlflow.start_run(tags=dict(record.tags)) as run:
            _log(record)
            for name, lost in record.nested.items():
                with mlflow.start_run(run_name=name, nested=True, tags=dict(lost.tags)):
                    _log(lost)
            logged = mlflow.pyfunc.log_model(
                name="router",
                python_model=str(PYFUNC_CODE),
                artifacts={"router": str(folder)},
                pip_requirements=[f"pointsman=={_version()}"],
                signature=_signature(),
            )
            version = _register(register, logged.model_id) if register else None
    return Published(tracking_uri=without_credentials(tracking_uri), run_id=run.info.run_id, version=version)


def publish_comparison(folder: Path, record: RunRecord, tracking_uri: str, policy_version: str) -> Published:
    """Record a comparison with its report under the router version that it judged.

    The run is nested in the router's training run where this server has it; its metrics hang on the logged
    model, and every registered version of it is tagged with the comparison's run.

    Args:
        folder: holds `report.html` and `report.json`.
        record: of the comparison; its tag is `compared_policy_version`: `policy_version` is a training run's.

    Raises:
        MissingExtra: MLflow is not installed.
        RouterError: the tracking server refuses, or can't be reached.
    """
    with _mlflow_errors(tracking_uri, "The report is"), _quiet_mlflow():
        import mlflow

        mlflow.set_tracking_uri(tracking_uri)
        mlflow.set_experiment(EXPERIMENT)
        client = mlflow.MlflowClient()
        trained = _training_run(client, policy_version)
        parent = trained.info.run_id if trained else None
        with mlflow.start_run(
            run_name=f"comparison of {policy_version}", tags=dict(record.tags), parent_run_id=parent
        ) as run:
            _log(record)
            mlflow.log_artifact(str(folder / "report.html"))
            mlflow.log_artifact(str(folder / "report.json"))
            for output in trained.outputs.model_outputs if trained and trained.outputs else ():
                mlflow.log_metrics(dict(record.metrics), model_id=output.model_id)
        version = _tag_versions(client, parent, run.info.run_id) if parent else None
    return Published(tracking_uri=without_credentials(tracking_uri), run_id=run.info.run_id, version=version)


def _training_run(client: MlflowClient, policy_version: str) -> Run | None:
    """The latest run that trained a version of the router."""
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    quoted = policy_version.replace("'", "")
    found = client.search_runs(
        [experiment.experiment_id],
        f"tags.policy_version = '{quoted}'",
        max_results=1,
        order_by=["attributes.start_time DESC"],
    )
    return found[0] if found else None


def _tag_versions(client: MlflowClient, training_run: str, comparison_run: str) -> str | None:
    """Tag the registered versions that a run made with their comparison; returns the last one's number."""
    versions = client.search_model_versions(f"run_id = '{training_run}'")
    for version in versions:
        client.set_model_version_tag(version.name, version.version, "comparison_run", comparison_run)
    return str(versions[0].version) if versions else None


def _register(name: str, model_id: str) -> str:
    """Make the next version of a registered model, which is made too when it is new."""
    import mlflow
    from mlflow.utils.logging_utils import disable_logging, enable_logging

    disable_logging()  # type: ignore[no-untyped-call]
    try:
        return str(mlflow.register_model(f"models:/{model_id}", name).version)
    finally:
        enable_logging()  # type: ignore[no-untyped-call]


def _signature() -> ModelSignature:
    """The model's columns: a request's fields, each optional; and one decision a row."""
    from mlflow.models.signature import ModelSignature
    from mlflow.types.schema import AnyType, ColSpec, Schema

    anything = AnyType()  # type: ignore[no-untyped-call]
    fields = Schema([ColSpec(anything, name, required=False) for name in sorted(REQUEST_FIELDS)])
    return ModelSignature(inputs=fields, outputs=Schema([ColSpec(anything)]))


def _log(record: RunRecord) -> None:
    import mlflow

    mlflow.log_params(dict(record.params))
    mlflow.log_metrics(dict(record.metrics))
    for name, document in record.documents.items():
        mlflow.log_dict(document, name)
    for name, figure in record.figures.items():
        mlflow.log_figure(figure, name)


@contextmanager
def _mlflow_errors(tracking_uri: str, written: str = "The router's folder is") -> Iterator[None]:
    """MLflow with its telemetry off, its failures told as ours; `written` is what is safe already."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError
    except ImportError as error:
        raise MissingExtra("mlflow", "train") from error
    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        where = without_credentials(tracking_uri)
        raise RouterError(
            f"MLflow at {where} did not record the run: {_cause(error)}. {written} "
            "written all the same; check MLFLOW_TRACKING_URI (unset: a local SQLite file) and --register"
        ) from error


@contextmanager
def _quiet_mlflow() -> Iterator[None]:
    """MLflow without its own bars, links and notes; its warnings are shown, its errors raised."""
    wanted = QUIET | {name: os.environ.get(name, value) for name, value in IMPATIENT.items()}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    levels = {name: logging.getLogger(name).level for name in LEAST_LEVELS}
    try:
        for name, least in LEAST_LEVELS.items():
            logging.getLogger(name).setLevel(max(levels[name], least))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*input example was not provided")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _cause(error: Exception) -> str:
    """One line of an error; of a long tale of retries only its end."""
    text = " ".join(str(error).split())
    refused = re.search(r"Max retries exceeded.*\[Errno -?\d+\] ([^\"'()]+)", text)
    return f"no answer ({refused[1].strip()})" if refused else text[:300].rstrip(".")


def _version() -> str:
    from router import __version__

    return __version__
