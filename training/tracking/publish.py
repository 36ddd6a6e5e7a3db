"""Records training and comparing in MLflow: parameters, metrics, figures, files, a version."""

from __future__ import annotations

import logging
import os
import re
import shlex
import sqlite3
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from router import __version__
from router.errors import MissingExtra, RouterError
from router.errors.masking import without_credentials
from router.records import REQUEST_FIELDS, Json
from training.tracking.store import EXPERIMENT, open_store

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from mlflow import MlflowClient
    from mlflow.data.dataset import Dataset
    from mlflow.entities import Run
    from mlflow.models.signature import ModelSignature

PYFUNC_CODE = Path(__file__).with_name("pyfunc_model.py")
QUIET = {
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""Keeps MLflow's progress bars and links out of the command's output."""
DESCRIPTION = "mlflow.note.content"
"""The tag that MLflow shows as the description of a run."""
IMPATIENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_LOGGING_LEVEL": "WARNING"}
"""Defaults that notice a server that is down in seconds, not after MLflow's four minutes."""
LEAST_LEVELS = {"mlflow": logging.WARNING, "urllib3.connectionpool": logging.ERROR}
"""Least levels of loggers during publishing: if every retry fails, the error says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedData:
    """The call log behind a run, as MLflow lists it.

    Attributes:
        name: of its files, without passwords.
        digest: of their content.
    """

    name: str
    digest: str
    calls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """The MLflow record of one fitted router, estimator or comparison.

    Attributes:
        name: of the router; None: MLflow invents a name for the run.
        version_tags: of the registered version.
        card: the description in Markdown, from the address of the router that the run made or belongs to.
        figures: by file name; drawn on the run's page.
        documents: JSON documents by file name.
        nested: the estimators that were not published, by name.
    """

    params: Mapping[str, Json]
    metrics: Mapping[str, float]
    tags: Mapping[str, str] = field(default_factory=dict)
    figures: Mapping[str, Figure] = field(default_factory=dict)
    documents: Mapping[str, Json] = field(default_factory=dict)
    nested: Mapping[str, RunRecord] = field(default_factory=dict)
    name: str | None = None
    version_tags: Mapping[str, str] = field(default_factory=dict)
    card: Callable[[str], str] | None = None
    data: LoggedData | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """Where MLflow recorded a run; `version` is None if it was not registered."""

    tracking_uri: str
    run_id: str
    version: str | None


def publish(folder: Path, record: RunRecord, tracking_uri: str, register: str | None = None) -> Published:
    """Record a training run with its artifact; register it if `register` is a name.

    Args:
        folder: the router's; logged whole, as a pyfunc model defined by code, so nothing is pickled.

    Raises:
        MissingExtra: MLflow is not installed.
        RouterError: the tracking server refuses, or can't be reached.
    """
    with _mlflow_errors(tracking_uri), quiet_mlflow():
        import mlflow

        open_store(tracking_uri)
        with mlflow.start_run(run_name=_run_name(record), tags=dict(record.tags)) as run:
            _log(record)
            for name, nested in record.nested.items():
                card = nested.card and nested.card(f"runs:/{run.info.run_id}/router")
                with mlflow.start_run(run_name=name, nested=True, tags=dict(nested.tags), description=card):
                    _log(nested)
            logged = mlflow.pyfunc.log_model(
                name="router",
                python_model=str(PYFUNC_CODE),
                artifacts={"router": str(folder)},
                pip_requirements=[f"pointsman=={__version__}"],
                signature=_signature(),
            )
            version = _register(register, logged.model_id, record) if register else None
            _describe(record, run.info.run_id, register, version)
    return Published(tracking_uri=without_credentials(tracking_uri), run_id=run.info.run_id, version=version)


def publish_comparison(folder: Path, record: RunRecord, tracking_uri: str, policy_version: str) -> Published:
    """Record a comparison and its report under the router version that it evaluates.

    The run is nested in the router's training run if this server has that one; the logged model gets its
    metrics, and every registered version of the model gets tags with the comparison's run and its advice.

    Args:
        folder: holds `report.html` and `report.json`.
        record: of the comparison; its tag is `compared_policy_version`, because `policy_version` marks
            training runs.

    Raises:
        MissingExtra: MLflow is not installed.
        RouterError: the tracking server refuses, or can't be reached.
    """
    with _mlflow_errors(tracking_uri, "The report is"), quiet_mlflow():
        import mlflow

        open_store(tracking_uri)
        client = mlflow.MlflowClient()
        trained = _training_run(client, policy_version)
        parent = trained.info.run_id if trained else None
        router = (trained and trained.info.run_name) or policy_version
        with mlflow.start_run(
            run_name=f"comparison of {router}",
            tags=dict(record.tags),
            parent_run_id=parent,
            description=record.card and record.card(router),
        ) as run:
            _log(record, "comparison")
            mlflow.log_artifact(str(folder / "report.html"))
            mlflow.log_artifact(str(folder / "report.json"))
            for output in trained.outputs.model_outputs if trained and trained.outputs else ():
                mlflow.log_metrics(dict(record.metrics), model_id=output.model_id)
        tags = {"comparison_run": run.info.run_id, **record.version_tags}
        version = _tag_versions(client, parent, tags) if parent else None
    return Published(tracking_uri=without_credentials(tracking_uri), run_id=run.info.run_id, version=version)


def _training_run(client: MlflowClient, policy_version: str) -> Run | None:
    """Find the latest run that trained a version of the router."""
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    quoted = policy_version.replace("'", "")
    runs = client.search_runs(
        [experiment.experiment_id],
        f"tags.policy_version = '{quoted}'",
        max_results=1,
        order_by=["attributes.start_time DESC"],
    )
    return runs[0] if runs else None


def _tag_versions(client: MlflowClient, training_run: str, tags: Mapping[str, str]) -> str | None:
    """Tag the registered versions of a training run with the comparison; returns the last one's number."""
    versions = client.search_model_versions(f"run_id = '{training_run}'")
    for version in versions:
        for name, value in tags.items():
            client.set_model_version_tag(version.name, version.version, name, value)
    return str(versions[0].version) if versions else None


def _run_name(record: RunRecord, version: str | None = None) -> str | None:
    """The router with its version, for lists of runs: "claims v2 · c38fb37b6169"."""
    if record.name is None:
        return None
    policy_version = record.tags.get("policy_version", "")
    return f"{record.name}{f' v{version}' if version else ''} · {policy_version[:12]}"


def _describe(record: RunRecord, run_id: str, register: str | None, version: str | None) -> None:
    """Name and describe the run and the registered version for people."""
    from mlflow import MlflowClient

    client = MlflowClient()
    if name := _run_name(record, version):
        client.update_run(run_id, name=name)
    if register and not client.get_registered_model(register).description:
        client.update_registered_model(register, description=_model_card(register))
    if record.card is None:
        return
    client.set_tag(run_id, DESCRIPTION, record.card(f"runs:/{run_id}/router"))
    if register and version:
        card = record.card(f"models:/{register}/{version}")
        client.update_model_version(register, version, description=card)


def _model_card(name: str) -> str:
    """Describe a registered router in Markdown: what its versions are, how to load and how to move them."""
    said = shlex.quote(name)
    return "\n".join(
        [
            "Routers that choose, for every prompt, the model that is worth most among those that are "
            "allowed. Each version says what it saves, what it breaks, and whether to deploy it.",
            "",
            "```python",
            "from pointsman import Router",
            "",
            f'router = Router.load("models:/{name}@champion")',
            "```",
            "",
            f"`pointsman versions {said}` lists the versions, `pointsman promote {said} VERSION` makes one "
            f"the champion, and `pointsman rollback {said}` takes that back.",
        ]
    )


def _register(name: str, model_id: str, record: RunRecord) -> str:
    """Create the next version of a registered model, and the model itself if it is new."""
    import mlflow
    from mlflow.utils.logging_utils import disable_logging, enable_logging

    disable_logging()  # type: ignore[no-untyped-call]
    try:
        tags = dict(record.version_tags)
        return str(mlflow.register_model(f"models:/{model_id}", name, tags=tags).version)
    finally:
        enable_logging()  # type: ignore[no-untyped-call]


def _signature() -> ModelSignature:
    """The model's columns: the optional fields of a request in, one decision per row out."""
    from mlflow.models.signature import ModelSignature
    from mlflow.types.schema import AnyType, ColSpec, Schema

    anything = AnyType()  # type: ignore[no-untyped-call]
    fields = Schema([ColSpec(anything, name, required=False) for name in sorted(REQUEST_FIELDS)])
    return ModelSignature(inputs=fields, outputs=Schema([ColSpec(anything)]))


def _log(record: RunRecord, context: str = "training") -> None:
    import mlflow

    if record.data is not None:
        mlflow.log_input(_dataset(record.data), context=context)
    mlflow.log_params(dict(record.params))
    mlflow.log_metrics(dict(record.metrics))
    for name, document in record.documents.items():
        mlflow.log_dict(document, name)
    for name, figure in record.figures.items():
        mlflow.log_figure(figure, name)


def _dataset(data: LoggedData) -> Dataset:
    """The call log as MLflow's dataset; MLflow knows its name and digest, not its rows."""
    from mlflow.data.code_dataset_source import CodeDatasetSource
    from mlflow.data.meta_dataset import MetaDataset

    source = CodeDatasetSource(tags={"calls": str(data.calls), "sha256": data.digest, "files": data.name})
    whole: Dataset = MetaDataset(source, name=data.name, digest=data.digest[:36])  # type: ignore[abstract]
    return whole


@contextmanager
def _mlflow_errors(tracking_uri: str, written: str = "The router's folder is") -> Iterator[None]:
    """Turn MLflow's telemetry off, and its failures into a RouterError; `written` names what is safe."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        from alembic.util import CommandError
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError
    except ImportError as error:
        raise MissingExtra("mlflow", "train") from error
    try:
        yield
    except (MlflowException, SQLAlchemyError, CommandError, sqlite3.Error, OSError) as error:
        where = without_credentials(tracking_uri)
        raise RouterError(
            f"MLflow at {where} did not record the run: {_cause(error)}. {written} "
            "written all the same; check MLFLOW_TRACKING_URI (unset: a local SQLite file) and --register"
        ) from error


@contextmanager
def quiet_mlflow() -> Iterator[None]:
    """Silence MLflow's bars, links and notes; its warnings and errors still appear."""
    settings = QUIET | {name: os.environ.get(name, value) for name, value in IMPATIENT.items()}
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
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
    """One line of an error; only the last reason if MLflow lists its retries."""
    text = " ".join(str(error).split())
    refused = re.search(r"Max retries exceeded.*\[Errno -?\d+\] ([^\"'()]+)", text)
    return f"no answer ({refused[1].strip()})" if refused else text[:300].rstrip(".")
