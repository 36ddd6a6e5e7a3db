"""What a training run leaves in MLflow: parameters, metrics, figures, the artifact, a version."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from router.errors import MissingExtra, RouterError
from router.records import Json

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EXPERIMENT = "pointsman"
PYFUNC_CODE = Path(__file__).with_name("pyfunc_model.py")


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
    with _mlflow_errors(tracking_uri):
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
                registered_model_name=register,
            )
    version = logged.registered_model_version
    return Published(
        tracking_uri=tracking_uri, run_id=run.info.run_id, version=None if version is None else str(version)
    )


def _log(record: RunRecord) -> None:
    import mlflow

    mlflow.log_params(dict(record.params))
    mlflow.log_metrics(dict(record.metrics))
    for name, document in record.documents.items():
        mlflow.log_dict(document, name)
    for name, figure in record.figures.items():
        mlflow.log_figure(figure, name)


@contextmanager
def _mlflow_errors(tracking_uri: str) -> Iterator[None]:
    """MLflow with its telemetry off, its failures told as ours."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        from mlflow.exceptions import MlflowException
    except ImportError as error:
        raise MissingExtra("mlflow", "train") from error
    try:
        yield
    except MlflowException as error:
        first = str(error).splitlines()[0][:300]
        raise RouterError(
            f"MLflow at {tracking_uri} did not take the run: {first}; the router's folder itself is written. "
            "Check MLFLOW_TRACKING_URI, or leave it unset for a local SQLite file"
        ) from error


def _version() -> str:
    from router import __version__

    return __version__
