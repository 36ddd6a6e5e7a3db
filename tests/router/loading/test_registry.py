from __future__ import annotations

import http.server
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from router.errors import ArtifactError, DamagedArtifact, ForeignArtifact, MissingExtra, NoAnswer
from router.errors.masking import without_credentials
from router.loading import registry
from router.loading.copies import digest
from router.loading.registry import RegistrySource
from router.serving.client import Router
from tests.services.mlflow_server import register, small_router
from tests.services.ports import held_port
from training.pipeline import Trained

if TYPE_CHECKING:
    from mlflow import MlflowClient


@pytest.fixture(autouse=True)
def cache_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def set_mlflow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Sets MLflow's tracking address for one test."""
    import mlflow

    previous = mlflow.get_tracking_uri()

    def set_to(uri: str) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        mlflow.set_tracking_uri(uri)

    yield set_to
    mlflow.set_tracking_uri(previous)


@pytest.fixture
def tracking(set_mlflow: Callable[[str], None], tracking_uri: str) -> str:
    """MLflow set to the registry of the trained router for one test."""
    set_mlflow(tracking_uri)
    return tracking_uri


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> MlflowClient:
    """A registry in a SQLite file, its artifacts beside it."""
    from mlflow import MlflowClient

    folder = tmp_path_factory.mktemp("store")
    uri = f"sqlite:///{folder / 'store.db'}"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return MlflowClient(tracking_uri=uri, registry_uri=uri)


@dataclass(frozen=True, slots=True)
class Registered:
    """A model of its own in the store, for one test."""

    client: MlflowClient
    name: str
    folder: Path
    copies: Path

    def add(self, text: str, *aliases: str) -> str:
        folder = small_router(self.folder / text, text)
        number = register(self.client, self.name, folder)
        for alias in aliases:
            self.client.set_registered_model_alias(self.name, alias, number)
        return number

    def source(self, rest: str = "@champion") -> RegistrySource:
        return RegistrySource(f"models:/{self.name}{rest}", copies=self.copies)

    def text(self, rest: str = "@champion") -> str:
        return (self.source(rest).current().folder / "text.txt").read_text()


@pytest.fixture
def model(
    store: MlflowClient,
    set_mlflow: Callable[[str], None],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> Registered:
    set_mlflow(str(store.tracking_uri))
    name = f"model-{digest(request.node.name)}"
    return Registered(store, name, tmp_path / "routers", tmp_path / "copies")


def stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on the registry fails as MLflow does when nobody answers; its address stays."""
    from mlflow.exceptions import MlflowException

    def refuse(*_: object) -> None:
        raise MlflowException("Max retries exceeded with url: [Errno 111] Connection refused'))")

    monkeypatch.setattr(RegistrySource, "_client", refuse)


def local_folder(uri: str, copies: Path | None = None) -> Path:
    """The folder of a version that was fetched, and found to work."""
    source = RegistrySource(uri, copies=copies)
    copy = source.current()
    source.remember(copy)
    return copy.folder


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


@pytest.mark.parametrize(
    ("rest", "text"),
    [
        pytest.param("@champion", "first", id="alias"),
        pytest.param("@challenger", "second", id="another alias"),
        pytest.param("/1", "first", id="version"),
        pytest.param("/latest", "third", id="latest"),
        pytest.param("/Latest", "third", id="latest, with a capital"),
    ],
)
def test_an_address_means_the_version_that_mlflow_gives_it(model: Registered, rest: str, text: str) -> None:
    model.add("first", "champion")
    model.add("second", "challenger")
    model.add("third")
    assert model.text(rest) == text


def test_the_artifacts_of_a_run_are_fetched_too(model: Registered) -> None:
    number = model.add("by a run")
    run_id = model.client.get_model_version(model.name, number).run_id
    folder = local_folder(f"runs:/{run_id}/router", copies=model.copies)
    assert (folder / "text.txt").read_text() == "by a run"


@pytest.mark.parametrize(
    ("uri", "moves"),
    [
        ("models:/a@champion", True),
        ("models:/a/latest", True),
        ("models:/a/3", False),
        ("models:/m-0123", False),
        ("runs:/0123/router", False),
    ],
)
def test_aliases_and_the_latest_version_may_move(uri: str, moves: bool) -> None:
    assert RegistrySource(uri).moves is moves


def test_a_version_is_named_as_people_name_it(model: Registered) -> None:
    model.add("first", "champion")
    assert model.source().resolve().name == f"{model.name}/1"


def test_a_moved_alias_resolves_to_the_new_version(model: Registered) -> None:
    model.add("first", "champion")
    source = model.source()
    before = source.resolve()
    model.add("second", "champion")
    assert (before.name, source.resolve().name) == (f"{model.name}/1", f"{model.name}/2")


def test_a_version_with_a_copy_is_not_downloaded_again(
    model: Registered, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.add("first", "champion")
    folder = model.source().current().folder
    monkeypatch.setattr("mlflow.artifacts.download_artifacts", None)
    assert model.source().current().folder == folder


def test_a_damaged_copy_is_fetched_again(model: Registered) -> None:
    model.add("first", "champion")
    (model.source().current().folder / "text.txt").write_text("changed")
    assert model.text() == "first"


def test_a_model_deleted_and_made_anew_is_not_mistaken_for_its_copy(model: Registered) -> None:
    model.add("old", "champion")
    assert model.text() == "old"
    model.client.delete_registered_model(model.name)
    model.add("new", "champion")
    assert model.text() == "new"


def test_registries_in_different_places_do_not_share_copies(
    set_mlflow: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = set()
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
        monkeypatch.chdir(tmp_path / place)
        set_mlflow("sqlite:///mlflow.db")
        folders.add(RegistrySource("models:/a/1", copies=tmp_path)._copies.folder)
    assert len(folders) == 2


def test_reading_makes_no_database(set_mlflow: Callable[[str], None], tmp_path: Path) -> None:
    set_mlflow(f"sqlite:///{tmp_path / 'missing.db'}")
    with pytest.raises(NoAnswer, match=r"missing\.db: no such database; is MLFLOW_TRACKING_URI set"):
        RegistrySource("models:/a@b", copies=tmp_path / "copies").current()
    assert not (tmp_path / "missing.db").exists()


def test_a_new_password_does_not_lose_the_copies(set_mlflow: Callable[[str], None], tmp_path: Path) -> None:
    folders = set()
    for password in ("old", "new"):
        set_mlflow(f"http://me:{password}@mlflow.test")
        folders.add(RegistrySource("models:/a/1", copies=tmp_path)._copies.folder)
    assert len(folders) == 1


def test_what_the_application_sets_mlflow_to_later_changes_nothing(
    model: Registered, set_mlflow: Callable[[str], None], tmp_path: Path
) -> None:
    model.add("first", "champion")
    source = model.source()
    set_mlflow(f"sqlite:///{tmp_path / 'elsewhere.db'}")
    assert (source.current().folder / "text.txt").read_text() == "first"


@pytest.mark.usefixtures("model")
@pytest.mark.parametrize(
    "uri",
    [
        "models:/unknown@nobody",
        "models:/unknown/999",
        "models:/unknown/latest",
        "models:/m-0",
        "runs:/0/router",
    ],
)
def test_what_the_registry_lacks_is_refused_with_its_uri(uri: str) -> None:
    with pytest.raises(ArtifactError, match=f"^{uri}: can't be fetched: .*; is MLFLOW_TRACKING_URI set"):
        local_folder(uri)


@pytest.mark.usefixtures("model")
@pytest.mark.parametrize(
    "uri",
    [
        "models:/",
        "models:/unknown",
        "models:/unknown/Production",
        "models:/unknown@",
        "models:/unknown@nobody/a/path",
        "runs:/0",
    ],
)
def test_an_address_of_another_form_is_refused_with_the_forms_and_no_other_hint(uri: str) -> None:
    with pytest.raises(
        ArtifactError, match=f"^{uri}: can't be fetched: .*: write models:/.*@champion"
    ) as raised:
        local_folder(uri)
    assert "MLFLOW_TRACKING_URI" not in str(raised.value)


@pytest.mark.parametrize("end", ["@nobody", "/99"])
def test_a_version_that_a_registered_model_lacks_leads_to_those_it_has(model: Registered, end: str) -> None:
    model.add("first", "champion")
    has = r"not found; \S+ has aliases: champion \(version 1\); latest version: 1$"
    with pytest.raises(ArtifactError, match=has) as raised:
        local_folder(f"models:/{model.name}{end}")
    assert "MLFLOW_TRACKING_URI" not in str(raised.value)


def test_a_registered_model_that_is_no_router_is_refused(model: Registered) -> None:
    (model.folder / "nothing").mkdir(parents=True)
    (model.folder / "nothing" / "model.pkl").write_text("?")
    register(model.client, model.name, model.folder / "nothing")
    with pytest.raises(
        ForeignArtifact, match=rf"{model.name}/1: the registered model holds no manifest\.json"
    ):
        model.source("/1").current()


def test_a_router_damaged_in_the_registry_is_refused(model: Registered) -> None:
    folder = small_router(model.folder / "damaged")
    (folder / "text.txt").write_text("changed")
    register(model.client, model.name, folder)
    with pytest.raises(DamagedArtifact, match=rf"^{model.name}/1/router/text\.txt: sha256 is"):
        model.source("/1").current()


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
        pytest.param(
            OSError("GET https://host/a?X-Amz-Signature=secret&b=1"),
            r"GET .*X-Amz-Signature=\*\*\*&b=1",
            id="signed",
        ),
        pytest.param(
            OSError("url: /api?token=secret (Caused by [Errno 111] Connection refused'))"),
            r"url: /api\?token=\*\*\* \(Caused",
            id="secret in a query",
        ),
        pytest.param(
            OSError("Max retries exceeded with url: /api (Caused by [Errno 111] Connection refused'))"),
            r"no answer \(Connection refused\)",
            id="of all retries the end",
        ),
        pytest.param(KeyError("region"), "'region'", id="of a storage client"),
    ],
)
def test_a_failed_fetch_is_told_in_one_line_without_credentials(
    model: Registered, monkeypatch: pytest.MonkeyPatch, failure: Exception, told: str
) -> None:
    def refuse(**_: str) -> None:
        raise failure

    model.add("first", "champion")
    monkeypatch.setattr("mlflow.artifacts.download_artifacts", refuse)
    with pytest.raises(NoAnswer, match=f"can't be fetched: {told}") as raised:
        model.source().current()
    assert "secret" not in str(raised.value)
    assert raised.value.__cause__ is None or "secret" not in str(raised.value.__cause__)


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("https://me:pass@host/x and http://you@there", "https://***@host/x and http://***@there"),
        ("https://host/x?token=abc", "https://host/x?token=***"),
        ("https://host/x?a=1&sig=abc'", "https://host/x?a=1&sig=***'"),
        ("https://host/x?page=2", "https://host/x?page=2"),
        ("me@host, 5 % of //comments", "me@host, 5 % of //comments"),
    ],
)
def test_credentials_are_taken_out_of_addresses_only(text: str, safe: str) -> None:
    assert without_credentials(text) == safe


def test_with_the_registry_down_the_last_version_serves_with_a_warning(
    model: Registered,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    model.add("first", "champion")
    local_folder(f"models:/{model.name}@champion", copies=model.copies)
    stop(monkeypatch)
    assert model.text() == "first"
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert (
        f"starting with {model.name}/1, which models:/{model.name}@champion pointed to at 20" in caplog.text
    )
    assert "no answer (Connection refused)" in caplog.text


def test_with_the_registry_down_a_fixed_version_starts_from_its_copy_too(
    model: Registered, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.add("first")
    local_folder(f"models:/{model.name}/1", copies=model.copies)
    stop(monkeypatch)
    assert model.text("/1") == "first"


def test_a_run_with_a_copy_needs_no_registry(model: Registered, monkeypatch: pytest.MonkeyPatch) -> None:
    number = model.add("by a run")
    uri = f"runs:/{model.client.get_model_version(model.name, number).run_id}/router"
    local_folder(uri, copies=model.copies)
    stop(monkeypatch)
    assert (local_folder(uri, copies=model.copies) / "text.txt").read_text() == "by a run"


def test_a_version_that_was_fetched_but_never_worked_is_not_started_with(
    model: Registered, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.add("first", "champion")
    model.source().remember(model.source().current())
    model.add("second", "champion")
    model.source().current()
    stop(monkeypatch)
    assert model.text() == "first"


@pytest.mark.usefixtures("model")
def test_with_the_registry_down_and_no_copy_it_fails(
    model: Registered, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop(monkeypatch)
    with pytest.raises(NoAnswer, match=r"no answer \(Connection refused\); is MLFLOW_TRACKING_URI set"):
        model.source().current()


def test_an_alias_that_was_taken_away_is_no_outage(model: Registered) -> None:
    model.add("first", "champion")
    local_folder(f"models:/{model.name}@champion", copies=model.copies)
    model.client.delete_registered_model_alias(model.name, "champion")
    with pytest.raises(ArtifactError, match="alias champion not found") as raised:
        model.source().current()
    assert not isinstance(raised.value, NoAnswer)


def test_with_the_storage_down_the_last_version_serves(
    model: Registered, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: str) -> None:
        raise OSError("no route to the storage")

    model.add("first", "champion")
    model.source().remember(model.source().current())
    model.add("second", "champion")
    monkeypatch.setattr("mlflow.artifacts.download_artifacts", refuse)
    assert model.text() == "first"


class Silent(http.server.BaseHTTPRequestHandler):
    """Takes a request and never answers."""

    def do_GET(self) -> None:
        threading.Event().wait()


@pytest.fixture
def silent_server() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Silent)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address that refuses connections."""
    with held_port() as port:
        yield f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("kind", ["silent", "nobody there"])
def test_the_wait_is_bounded_with_mlflows_own_patience_untouched(
    kind: str,
    silent_server: str,
    nobody: str,
    set_mlflow: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    set_mlflow(silent_server if kind == "silent" else nobody)
    source = RegistrySource("models:/support@champion")
    before = dict(os.environ)
    with pytest.raises(NoAnswer, match=r"can't be fetched: no answer within 0\.2 s; is MLFLOW_"):
        source.resolve(0.2)
    assert dict(os.environ) == before
    assert caplog.records == []


def test_calls_left_behind_do_not_pile_up(
    silent_server: str, set_mlflow: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_mlflow(silent_server)
    source = RegistrySource("models:/support@champion")
    for _ in range(registry.MOST_LATE_CALLS):
        with pytest.raises(NoAnswer, match="no answer within"):
            source.resolve(0.01)
    with pytest.raises(NoAnswer, match="no answer yet to 3 earlier requests"):
        source.resolve(0.01)


def test_threads_that_fetch_at_once_share_one_copy(model: Registered) -> None:
    model.add("first", "champion")
    source = model.source()
    version = source.resolve()
    with ThreadPoolExecutor(8) as threads:
        copies = list(threads.map(lambda _: source.fetch(version), range(8)))
    assert {copy.folder for copy in copies} == {copies[0].folder}
    assert (copies[0].folder / "text.txt").read_text() == "first"


def test_copies_lie_in_the_users_cache_unless_told_otherwise(model: Registered, tmp_path: Path) -> None:
    model.add("first", "champion")
    folder = RegistrySource(f"models:/{model.name}@champion").current().folder
    assert folder.is_relative_to(tmp_path / "cache" / "pointsman" / "registry")
