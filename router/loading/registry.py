"""Where a router comes from: a folder, or a version in the MLflow registry."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import platformdirs

from router.addresses import sqlite_file
from router.errors import ArtifactError, MissingExtra, NoAnswer
from router.errors.masking import without_credentials
from router.loading.copies import Copies, Copy, RegisteredVersion, digest
from router.loading.follow import begin

if TYPE_CHECKING:
    from mlflow import MlflowClient

logger = logging.getLogger(__name__)

SCHEMES = ("models:/", "runs:/")
WAIT_S = 10.0
"""Longest wait for the registry's answer if there is a copy to serve from."""
WAIT_WITHOUT_COPY_S = 60.0
DOWNLOAD_WAIT_S = 600.0
MOST_LATE_CALLS = 3
"""Calls that may still wait for an answer that is no longer needed."""
_THREAD = "pointsman-registry"
_DATABRICKS = ("databricks", "uc:")
_FINAL = frozenset(
    "RESOURCE_DOES_NOT_EXIST INVALID_PARAMETER_VALUE BAD_REQUEST PERMISSION_DENIED UNAUTHENTICATED "
    "CUSTOMER_UNAUTHORIZED ENDPOINT_NOT_FOUND NOT_FOUND".split()
)
"""MLflow's error codes that another request would not change; any other means trouble on its side."""
_Answer = TypeVar("_Answer")


class RegistrySource:
    """One address in the MLflow registry, and the local copies of its versions.

    The object keeps the registry that MLflow is set to when it is created; a later `mlflow.set_tracking_uri`
    changes nothing here. MLflow's own settings for retries stay as they are, but every wait is bounded: its
    calls run in threads that may be left behind.

    Attributes:
        uri: `models:/NAME@ALIAS`, `models:/NAME/latest`, `models:/NAME/3`, `models:/<model id>` or
            `runs:/<run id>/<path>`.
        moves: the address may point to another version later: it is an alias, or the latest version.
        has_alias: it names an alias.
        resolved: the version that `resolve` returned last; None before.
    """

    def __init__(self, uri: str, *, copies: str | Path | None = None) -> None:
        """Parse the address; this sends no request to the registry.

        Args:
            copies: folder for the copies, which several registries may share; None: the user's cache folder.

        Raises:
            ArtifactError: the address has none of the known forms.
            MissingExtra: MLflow is not installed.
        """
        self.uri = uri
        self._name, self._version, self._alias = _parse(uri)
        self.moves = self._alias is not None
        self.has_alias = self.moves and "@" in uri
        self._tracking, self._registry = _addresses()
        root = Path(copies) if copies else Path(platformdirs.user_cache_dir("pointsman")) / "registry"
        self._copies = Copies(root / digest(_place(self._tracking), _place(self._registry)))
        self.resolved: RegisteredVersion | None = None
        self._late: list[Future[Any]] = []

    def current(self) -> Copy:
        """The version that the address points to; if the registry does not answer, the last one in use.

        Raises:
            NoAnswer: there is no answer, and no copy of the last version.
            ArtifactError: the registry has no such version, or its files are not a whole router.
        """
        last = self._copies.recall(self.uri)
        try:
            return self.fetch(self.resolve(WAIT_S if last else WAIT_WITHOUT_COPY_S))
        except NoAnswer as error:
            copy = self._copies.find(last.version) if last else None
            if copy is None or last is None:
                raise
            logger.warning(
                "starting with %s, which %s pointed to at %s: %s",
                copy.version.name, self.uri, last.seen.isoformat(timespec="seconds"), error,
            )  # fmt: skip
            return copy

    def last_good(self) -> Copy | None:
        """The copy of the version that worked last, if the address moved to another one since."""
        last = self._copies.recall(self.uri)
        if last is None or not self.moves or last.version == self.resolved:
            return None
        return self._copies.find(last.version)

    def resolve(self, wait_s: float = WAIT_S) -> RegisteredVersion:
        """The version that the address points to now.

        Raises:
            NoAnswer: the registry does not answer within `wait_s` seconds, or is in trouble.
            ArtifactError: the registry has no such version.
        """
        if self._name is None:
            self.resolved = RegisteredVersion(name=self.uri, identity=digest(self.uri))
        else:
            name, number, *rest = self._ask(self._look_up, wait_s)
            self.resolved = RegisteredVersion(name=f"{name}/{number}", identity=digest(name, number, *rest))
        return self.resolved

    def fetch(self, version: RegisteredVersion) -> Copy:
        """The files of a version: the local copy if it is intact, else a new one.

        Raises:
            NoAnswer: they can't be downloaded now.
            DamagedArtifact, ForeignArtifact, NewerArtifact: the version in the registry is unusable.
            ArtifactError: the copy can't be written.
        """
        return self._copies.find(version) or self._copies.add(
            version, lambda folder: self._ask(partial(self._download, version, folder), DOWNLOAD_WAIT_S)
        )

    def remember(self, copy: Copy) -> None:
        """Note that the address points to this version and that it works, for when the registry is down."""
        self._copies.remember(self.uri, copy.version)

    @property
    def environment(self) -> dict[str, str]:
        """Variables with which another process finds the same registry."""
        return {"MLFLOW_TRACKING_URI": self._tracking, "MLFLOW_REGISTRY_URI": self._registry}

    @property
    def copies(self) -> Path:
        """Folder with the copies, which the processes of a machine share."""
        return self._copies.folder

    def _client(self) -> MlflowClient:
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=self._tracking, registry_uri=self._registry)

    def _look_up(self) -> tuple[str, ...]:
        """Name and number of the version, its creation time and its source."""
        assert self._name is not None
        client = self._client()
        try:
            if self._version is not None:
                version = client.get_model_version(self._name, self._version)
            else:
                version = client.get_model_version_by_alias(self._name, str(self._alias))
        except Exception as error:
            if getattr(error, "error_code", None) in _FINAL and (has := _what_it_has(client, self._name)):
                why = cause_of(error).rstrip(".")
                raise ArtifactError(f"{self.uri}: can't be fetched: {why}; {self._name} has {has}") from error
            raise
        return self._name, str(version.version), str(version.creation_timestamp), str(version.source)

    def _download(self, version: RegisteredVersion, folder: Path) -> None:
        from mlflow.artifacts import download_artifacts

        download_artifacts(
            artifact_uri=self._location(version),
            dst_path=str(folder),
            tracking_uri=self._tracking,
            registry_uri=self._registry,
        )

    def _location(self, version: RegisteredVersion) -> str:
        """Where the files are. MLflow could resolve `models:/`, but in the registry it is set to by then."""
        if self._name is None:
            model = re.fullmatch(r"models:/([^/]+)", self.uri)
            return str(self._client().get_logged_model(model[1]).artifact_location) if model else self.uri
        if self._registry.startswith(_DATABRICKS):
            return f"models:/{version.name}"
        number = version.name.rpartition("/")[2]
        return str(self._client().get_model_version_download_uri(self._name, number))

    def _ask(self, call: Callable[[], _Answer], wait_s: float) -> _Answer:
        """MLflow's answer; turns its failures into pointsman's errors."""
        try:
            for address in (self._tracking, self._registry):
                check_database(address)
            return self._in_time(call, wait_s)
        except ArtifactError:
            raise
        except Exception as error:  # noqa: BLE001 - MLflow passes on errors of stores, clients and clouds
            final = getattr(error, "error_code", None) in _FINAL
            safe = error if str(error) == without_credentials(str(error)) else None
            raise (ArtifactError if final else NoAnswer)(
                f"{self.uri}: can't be fetched: {cause_of(error)}; is MLFLOW_TRACKING_URI set as in training?"
            ) from safe

    def _in_time(self, call: Callable[[], _Answer], wait_s: float) -> _Answer:
        self._late = [answer for answer in self._late if not answer.done()]
        if len(self._late) >= MOST_LATE_CALLS:
            raise TimeoutError(f"no answer yet to {len(self._late):,} earlier requests")
        answer = begin(call, _THREAD)
        if wait([answer], wait_s).not_done:
            self._late.append(answer)
            raise TimeoutError(f"no answer within {wait_s:g} s")
        return answer.result()


def _parse(uri: str) -> tuple[str | None, str | None, str | None]:
    """Registered name, version and alias in an address; all None if it always names the same files.

    Raises:
        ArtifactError: it has none of the known forms.
    """
    if found := re.fullmatch(r"models:/([^/]+)@([^/@]+)", uri):
        return found[1], None, found[2]
    if found := re.fullmatch(r"models:/([^/]+)/(?:([0-9]+)|((?i:latest)))", uri):
        return found[1], found[2], "latest" if found[3] else None
    if re.fullmatch(r"runs:/[^/]+/.+|models:/m-[^/@]+", uri):
        return None, None, None
    name = found[1] if (found := re.fullmatch(r"models:/([^/@]+).*", uri)) else "NAME"
    forms = f"models:/{name}@champion (an alias), models:/{name}/latest, models:/{name}/3"
    raise ArtifactError(
        f"{uri}: can't be fetched: give a version or an alias: write {forms} or runs:/RUN/PATH"
    )


def _what_it_has(client: MlflowClient, name: str) -> str | None:
    """The aliases and the latest version of a registered model; None if the registry does not say."""
    with suppress(Exception):  # the error that led here says more than a second one
        model = client.get_registered_model(name)
        aliases = [f"{alias} (version {version})" for alias, version in sorted(model.aliases.items())]
        versions = [int(version.version) for version in model.latest_versions]
        return f"aliases: {', '.join(aliases) or 'none'}; latest version: {max(versions, default='none')}"
    return None


def _addresses() -> tuple[str, str]:
    """Import MLflow, keep it quiet, and return its tracking and registry addresses.

    Unless the team set these variables itself, MLflow sends no telemetry and prints no progress bars into the
    application's output.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    try:
        import mlflow
        import mlflow.artifacts
    except ImportError as error:
        raise MissingExtra("mlflow-skinny", "registry") from error
    urllib3 = logging.getLogger("urllib3.connectionpool")
    if _keep_record not in urllib3.filters:
        urllib3.addFilter(_keep_record)
    return mlflow.get_tracking_uri(), mlflow.get_registry_uri()


def _keep_record(record: logging.LogRecord) -> bool:
    """Drop urllib3's line for each retry of a registry call: pointsman reports the outage once."""
    return record.threadName != _THREAD


def check_database(address: str) -> None:
    """Raise if a SQLite database of MLflow does not exist: its client would make one, without a lock.

    Raises:
        FileNotFoundError: there is no such file.
    """
    file = sqlite_file(address)
    if file and not file.exists():
        raise FileNotFoundError(f"{file}: no such database")


def _place(address: str) -> str:
    """The address in a form that does not depend on the working folder or the user's password."""
    scheme, mark, path = address.partition(":///")
    if mark and scheme.startswith("sqlite"):
        return f"{scheme}:///{Path(path).absolute()}"
    return without_credentials(address) if ":" in address else str(Path(address).absolute())


def cause_of(error: BaseException) -> str:
    """One line of an error; of a long report of retries only the end."""
    text = str(error).strip() or repr(error)
    report, _, end = text.rpartition("[Errno ")
    refused = re.match(r"-?\d+\] ([^\"'()]+)", end) if "Max retries exceeded" in report else None
    line = f"no answer ({refused[1].strip()})" if refused else text.splitlines()[0]
    return without_credentials(line)[:300]
