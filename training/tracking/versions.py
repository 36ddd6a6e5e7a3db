"""The registered versions of a router, and the history of the aliases that point to them.

MLflow keeps one version per alias and forgets the one before. Each move is therefore also a tag of the
registered model, under a key of its own: two moves at once write two tags, and none overwrites another.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Self

from router.addresses import sqlite_file
from router.errors import ConfigError, MissingExtra, RouterError
from router.errors.masking import without_credentials
from router.loading.registry import cause_of, check_database
from router.records import Json
from router.serving.versions import load_version
from router.settings.sections import Config
from router.version import Version
from training.tracking.publish import quiet_mlflow
from training.tracking.store import WAIT_S

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

CHAMPION = "champion"
CHALLENGER = "challenger"
HISTORY = "pointsman.history"
"""Start of the keys of the tags that hold the moves of aliases."""
COMPARISON_RUN = "comparison_run"
"""The tag of a version that names the run of its last comparison."""
RECOMMENDATION = "recommendation"
PAGE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedVersion:
    """One registered version, with what its training run recorded.

    Attributes:
        created: when it was registered, in UTC.
        params, metrics: of the training run; empty if the run is gone.
        tags: of the version.
    """

    name: str
    version: str
    aliases: tuple[str, ...]
    created: datetime
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def reasons(self) -> str:
        """Why it was promoted or not, or left again, as `retrain` and `watch` wrote it; "" if neither did."""
        return "; ".join(value for key, value in sorted(self.tags.items()) if key.endswith(".reasons"))

    def to_json(self) -> dict[str, Json]:
        """What `pointsman versions --json` prints of a version."""
        return {
            "version": self.version,
            "aliases": list(self.aliases),
            "created": self.created.isoformat(timespec="seconds"),
            "policy_version": self.params.get("policy_version"),
            "data_digest": self.params.get("data_digest"),
            "calls": self.metrics.get("calls"),
            "success": self.metrics.get("test.success"),
            "cost_usd": self.metrics.get("test.cost_usd"),
            "recommendation": self.tags.get(RECOMMENDATION),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One move of an alias.

    Attributes:
        key: of the tag that holds it; keys sort by time.
        version: to which it moved.
        previous: from which it moved; None: nothing had the alias.
        undoes: key of the move that this rollback takes back, or "" for one without pointsman; None: this is
            no rollback.
        time: in UTC, ISO 8601.
    """

    key: str
    alias: str
    version: str
    previous: str | None
    undoes: str | None = None
    time: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    @classmethod
    def of(cls, alias: str, version: str, previous: str | None, undoes: str | None = None) -> Self:
        """A move that happens now."""
        key = f"{HISTORY}.{alias}.{time.time_ns():020d}.{uuid.uuid4().hex[:8]}"
        return cls(key=key, alias=alias, version=version, previous=previous, undoes=undoes)

    def to_tag(self) -> str:
        """The tag's value."""
        members = ("alias", "version", "previous", "undoes", "time")
        return json.dumps({name: getattr(self, name) for name in members})

    def to_json(self) -> dict[str, Json]:
        """Plain JSON values for a script."""
        return {"alias": self.alias, "version": self.version, "previous": self.previous, "time": self.time}


class RouterRegistry:
    """The routers that one MLflow server or database has registered."""

    def __init__(self, tracking_uri: str) -> None:
        """Name the registry; nothing is sent before the first question.

        Args:
            tracking_uri: of the server or database; MLflow reads user and password from
                MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD.
        """
        self.tracking_uri = tracking_uri

    def names(self) -> dict[str, dict[str, str]]:
        """The registered names in order, each with its aliases and the versions that they point to.

        Raises:
            RouterError: the registry does not answer.
        """
        with self._client() as client:
            return {one.name: _numbers(one.aliases) for one in _registered(client)}

    def versions(self, name: str) -> list[TrainedVersion]:
        """The versions of a router, the latest first.

        Raises:
            RouterError: there is no such router, or the registry does not answer.
        """
        with self._client() as client:
            aliases = _aliases(client, name)
            listed = _listed(client, name)
            return [
                _described(client, one, aliases)
                for one in sorted(listed, key=lambda one: int(one.version), reverse=True)
            ]

    def resolved(self, name: str, which: str) -> str:
        """The number of a version that is named by its number or by `@ALIAS`.

        Raises:
            ConfigError: there is none.
        """
        with self._client() as client:
            aliases = _aliases(client, name)
            known = {str(one.version) for one in _listed(client, name)}
        version = aliases.get(which[1:]) if which.startswith("@") else which
        if version is None or version not in known:
            names = [*sorted(known, key=int), *(f"@{alias}" for alias in sorted(aliases))]
            raise ConfigError(f"{name} has no version {which!r}; it has {', '.join(names)}")
        return version

    def pointed(self, name: str, alias: str) -> str | None:
        """The version that an alias points to; None if nothing has it."""
        with self._client() as client:
            return _aliases(client, name).get(alias)

    def history(self, name: str, alias: str = CHAMPION) -> list[Move]:
        """The moves of an alias, in order of time.

        Raises:
            RouterError: as `versions`.
        """
        with self._client() as client:
            return _moves(client, name, alias)

    def move(
        self, name: str, alias: str, version: str, *, seen: str | None, undoes: str | None = None
    ) -> Move | None:
        """Point an alias to a version, and keep the move in the history; None if it points there already.

        The history is written first, so that no move can be missing in it.

        Args:
            seen: the version that the alias pointed to when the move was decided on.
            undoes: key of the move that this one takes back.

        Raises:
            RouterError: somebody else moved the alias meanwhile or at the same time, or the registry refuses.
        """
        with self._alone(), self._client() as client:
            if (now := _aliases(client, name).get(alias)) != seen:
                raise RouterError(
                    f"{name}@{alias} moved from {_version(seen)} to {_version(now)} meanwhile, and stays "
                    "there; look again, and repeat the command if it is still right"
                )
            if now == version:
                return None
            move = Move.of(alias, version, now, undoes)
            client.set_registered_model_tag(name, move.key, move.to_tag())
            try:
                client.set_registered_model_alias(name, alias, version)
            except BaseException:
                with suppress(Exception):
                    client.delete_registered_model_tag(name, move.key)
                raise
            if (after := _aliases(client, name).get(alias)) != version:
                raise RouterError(
                    f"{name}@{alias}: another move at the same time pointed it to {_version(after)}, and the "
                    f"history holds both; repeat the command if version {version} is right"
                )
            return move

    def point(self, name: str, alias: str, version: str) -> Move | None:
        """Point an alias to a version from wherever it is now; as `move`."""
        return self.move(name, alias, version, seen=self.pointed(name, alias))

    def rollback(self, name: str, alias: str = CHAMPION, *, seen: str | None = None) -> Move:
        """Point an alias to the version before, and remember that the move was taken back.

        Repeated, it goes back further. If the alias was moved without pointsman, it goes back to the last
        version that pointsman moved it to.

        Args:
            seen: the version to go back from, so that of two who find it worse only one moves the alias;
                None: the one that the alias points to.

        Raises:
            ConfigError: there is no version before.
            RouterError: as `move`.
        """
        now = self.pointed(name, alias) if seen is None else seen
        target, undoes = version_before(self.history(name, alias), now)
        if target is None:
            raise ConfigError(
                f"{name}@{alias} has no earlier version in its history ({_version(now)} now); "
                f"`pointsman promote {name} VERSION` points it to any"
            )
        move = self.move(name, alias, self.resolved(name, target), seen=now, undoes=undoes)
        assert move is not None
        return move

    def load(self, name: str, version: str, settings: Config | None = None) -> Version:
        """The router of a version, from its local copy or the registry.

        Args:
            settings: None: those it was trained with.

        Raises:
            ArtifactError, ConfigError: as `load_version`.
        """
        with self._client():
            import mlflow

            mlflow.set_tracking_uri(self.tracking_uri)
            return load_version(f"models:/{name}/{version}", settings)[0]

    def record(
        self, name: str, version: str, tags: Mapping[str, str], run_id: str, documents: Mapping[str, str]
    ) -> None:
        """Tag a version, and add documents by file name to its training run."""
        with self._client() as client:
            for file, text in documents.items():
                client.log_text(run_id, text, file)
        self.tag(name, version, tags)

    def tag(self, name: str, version: str, tags: Mapping[str, str]) -> None:
        """Tag a version."""
        with self._client() as client:
            for key, value in tags.items():
                client.set_model_version_tag(name, version, key, value)

    def comparison(self, name: str, version: str) -> dict[str, Json] | None:
        """The report, as JSON, of the last comparison of a version; None if the registry has none."""
        with self._client() as client, TemporaryDirectory(prefix="pointsman-") as folder:
            run_id = client.get_model_version(name, version).tags.get(COMPARISON_RUN)
            if run_id is None:
                return None
            path = client.download_artifacts(run_id, "report.json", folder)
            report: dict[str, Json] = json.loads(Path(path).read_bytes())
            return report

    @contextmanager
    def _client(self) -> Iterator[MlflowClient]:
        """A client whose failures are pointsman's errors.

        Raises:
            MissingExtra: MLflow is not installed.
            RouterError: the registry refuses, does not answer, or has no such thing.
        """
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        try:
            from mlflow import MlflowClient
            from mlflow.exceptions import MlflowException
            from sqlalchemy.exc import SQLAlchemyError
        except ImportError as error:
            raise MissingExtra("mlflow", "train") from error
        where = without_credentials(self.tracking_uri)
        try:
            with quiet_mlflow():
                check_database(self.tracking_uri)
                yield MlflowClient(tracking_uri=self.tracking_uri)
        except (MlflowException, SQLAlchemyError, sqlite3.Error, OSError, ValueError) as error:
            raise RouterError(
                f"MLflow at {where}: {cause_of(error)}; check --tracking-uri or MLFLOW_TRACKING_URI"
            ) from error

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Let one process at a time move aliases of a SQLite database; a server orders them itself."""
        if (path := sqlite_file(self.tracking_uri)) is None:
            yield
            return
        from filelock import FileLock

        with FileLock(f"{path}.lock", timeout=WAIT_S):
            yield


def version_before(moves: Sequence[Move], now: str | None) -> tuple[str | None, str | None]:
    """The version to go back to, and the `undoes` of that move; None, None: there is none.

    Args:
        moves: of one alias, in order of time.
        now: the version that the alias points to.
    """
    undone = {move.undoes for move in moves}
    live = [move for move in moves if move.undoes is None and move.key not in undone]
    for move in reversed(live):
        if move.version == now:
            return move.previous, move.key
    return (live[-1].version, "") if live else (None, None)


def check_registered(alias: str | None, register: str | None) -> None:
    """Refuse an alias that can't be set once a router is written.

    Raises:
        ConfigError: there is no registered version to point to, or as `check_alias`.
    """
    if alias is not None:
        if register is None:
            raise ConfigError(f"--alias {alias} points to a registered version: give --register NAME as well")
        check_alias(alias)


def check_alias(alias: str) -> None:
    """Refuse a name that MLflow does not take as an alias, before any work is lost.

    Raises:
        ConfigError: says which names it takes.
    """
    whole = alias.replace("-", "").replace("_", "")
    reserved = alias.casefold() == "latest" or (alias[:1] in "vV" and alias[1:].isdecimal())
    if not (whole.isascii() and whole.isalnum()) or alias.isdecimal() or reserved:
        raise ConfigError(
            f"{alias!r} can't be an alias: use letters, digits, '-' and '_', but no number, 'latest' or 'v1'"
        )


def _version(number: str | None) -> str:
    return "no version" if number is None else f"version {number}"


def _aliases(client: MlflowClient, name: str) -> dict[str, str]:
    """The version of each alias of a registered model.

    Raises:
        ConfigError: there is no such model.
    """
    from mlflow.exceptions import MlflowException

    try:
        found = client.get_registered_model(name).aliases
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        others = [one.name for one in _registered(client)]
        close = get_close_matches(name, others, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        known = f"it has {', '.join(others[:20])}" if others else "it has none"
        raise ConfigError(f"no router is registered as {name!r}: {hint}{known}") from error
    return _numbers(found)


def _numbers(aliases: Mapping[str, object]) -> dict[str, str]:
    return {alias: str(version) for alias, version in sorted(aliases.items())}


def _registered(client: MlflowClient) -> list[RegisteredModel]:
    return sorted(client.search_registered_models(max_results=PAGE), key=lambda one: one.name)


def _listed(client: MlflowClient, name: str) -> list[ModelVersion]:
    found: list[ModelVersion] = []
    token: str | None = None
    while True:
        page = client.search_model_versions(f"name = '{name}'", max_results=PAGE, page_token=token)
        found.extend(page)
        token = page.token
        if not token:
            return found


def _moves(client: MlflowClient, name: str, alias: str) -> list[Move]:
    _aliases(client, name)
    tags = client.get_registered_model(name).tags
    keys = sorted(key for key in tags if key.startswith(f"{HISTORY}.{alias}."))
    return [Move(key=key, **json.loads(tags[key])) for key in keys]


def _described(client: MlflowClient, version: ModelVersion, aliases: Mapping[str, str]) -> TrainedVersion:
    run = _run(client, version.run_id)
    return TrainedVersion(
        name=version.name,
        version=str(version.version),
        aliases=tuple(sorted(alias for alias, number in aliases.items() if number == str(version.version))),
        created=datetime.fromtimestamp(version.creation_timestamp / 1000, UTC),
        params=dict(run.data.params) if run else {},
        metrics=dict(run.data.metrics) if run else {},
        tags=dict(version.tags),
    )


def _run(client: MlflowClient, run_id: str | None) -> Run | None:
    """The training run; None if there is none, or none any more."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_run(run_id) if run_id else None
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
