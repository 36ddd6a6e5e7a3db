"""Where a router comes from: a folder, or a version in the MLflow registry."""

from __future__ import annotations

import os
import re
from pathlib import Path

from router.artifact import MANIFEST
from router.errors import ArtifactError, ForeignArtifact, MissingExtra

SCHEMES = ("models:/", "runs:/")
_CREDENTIALS = re.compile(r"//[^/\s]+@")


def without_credentials(text: str) -> str:
    """The text with user and password taken out of the addresses in it."""
    return _CREDENTIALS.sub("//***@", text)


def local_folder(where: str | Path) -> Path:
    """The router's folder on this machine; a version of the registry is fetched first.

    Args:
        where: a folder, or an MLflow URI such as `models:/support@champion`, `models:/support/3` or
            `runs:/<run id>/router`.

    Raises:
        ArtifactError: the registry can't be reached, or has no such version.
        ForeignArtifact: what the registry holds is no router.
        MissingExtra: MLflow is not installed.
    """
    if not str(where).startswith(SCHEMES):
        return Path(where)
    fetched = _fetch(str(where))
    found = sorted(fetched.glob(f"**/{MANIFEST}"))
    if not found:
        raise ForeignArtifact(
            f"{where}: the registered model holds no {MANIFEST}, so it is no pointsman router"
        )
    return found[0].parent


def _fetch(uri: str) -> Path:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    try:
        from mlflow.artifacts import download_artifacts
        from mlflow.exceptions import MlflowException
    except ImportError as error:
        raise MissingExtra("mlflow-skinny", "registry") from error
    try:
        return Path(download_artifacts(artifact_uri=uri))
    except (MlflowException, OSError) as error:
        first = without_credentials((str(error) or repr(error)).splitlines()[0])[:300]
        raise ArtifactError(
            f"{uri}: can't be fetched: {first}; is MLFLOW_TRACKING_URI set as in training?"
        ) from error
