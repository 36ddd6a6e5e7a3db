"""A registry alias is moved while an application's requests run, on a real MLflow server."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow
import pytest

from router import Router
from router.call_log.log import read_rows
from router.errors import ArtifactError, ConfigError, RouterClosed
from router.loading.artifact import MANIFEST
from router.settings.yaml_file import parse_config
from tests.router.loading.test_artifact import signed_again
from tests.services.mlflow_server import MlflowServer, register, small_router

if TYPE_CHECKING:
    from mlflow import MlflowClient

NAME = "support"
ADDRESS = f"models:/{NAME}@champion"
QUESTION = [{"role": "user", "content": "Which bus goes to the station?"}]


class Registry:
    """Three versions of one router: two that differ in name and baseline, and one that is no router."""

    def __init__(self, server: MlflowServer, client: MlflowClient, folder: Path, router: Path) -> None:
        self.server = server
        self.client = client
        self.baselines: dict[str, str] = {}
        for version, baseline in (("version-a", "gpt-5"), ("version-b", "gpt-4o")):
            copy = shutil.copytree(router, folder / version)
            signed_again(copy, policy_version=version, config=f"baseline: {baseline}\n")
            register(client, NAME, copy)
            self.baselines[version] = baseline
        register(client, NAME, small_router(folder / "broken"))

    def point_to(self, version: int) -> None:
        self.client.set_registered_model_alias(NAME, "champion", str(version))


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory, router_folder: Path) -> Iterator[Registry]:
    previous = mlflow.get_tracking_uri()
    folder = tmp_path_factory.mktemp("registry")
    (folder / "server").mkdir()
    with MlflowServer(folder / "server") as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        patch.setenv("MLFLOW_TRACKING_URI", server.uri)
        mlflow.set_tracking_uri(server.uri)
        client = mlflow.MlflowClient(tracking_uri=server.uri, registry_uri=server.uri)
        yield Registry(server, client, folder, router_folder)
    mlflow.set_tracking_uri(previous)


@pytest.fixture
def copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the copies go: the user's cache folder, moved."""
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda name: str(tmp_path / name))
    return tmp_path


@pytest.fixture
def asking() -> Iterator[Callable[[Router], list[BaseException]]]:
    """Starts four threads that call through a router until the test is over; their errors."""
    over = threading.Event()
    threads: list[threading.Thread] = []

    def start(router: Router) -> list[BaseException]:
        errors: list[BaseException] = []

        def ask() -> None:
            while not over.is_set():
                try:
                    router.completion(messages=QUESTION, mock_response="Number 12.")
                except Exception as error:  # noqa: BLE001 - any error fails the test
                    errors.append(error)

        threads.extend(threading.Thread(target=ask) for _ in range(4))
        for thread in threads:
            thread.start()
        return errors

    yield start
    over.set()
    for thread in threads:
        thread.join(60)


def test_an_alias_that_moves_under_load_fails_no_request_and_mixes_no_versions(
    registry: Registry, copies: Path, asking: Callable[[Router], list[BaseException]]
) -> None:
    registry.point_to(1)
    router = Router.load(ADDRESS, log=copies / "calls.db")
    assert router.follower is not None
    router.completion(messages=QUESTION, mock_response="LiteLLM is imported by now.")
    errors = asking(router)
    for move in range(8):
        registry.point_to(1 + (move + 1) % 2)
        assert router.follower.check_now()
    router.close()
    assert {type(error) for error in errors} <= {RouterClosed}
    rows = list(read_rows(str(copies / "calls.db")))
    assert {row["policy_version"] for row in rows} == set(registry.baselines)
    assert all(row["baseline_model"] == registry.baselines[row["policy_version"]] for row in rows)


def test_a_broken_version_is_refused_and_the_old_one_serves(
    registry: Registry, copies: Path, caplog: pytest.LogCaptureFixture
) -> None:
    registry.point_to(2)
    router = Router.load(ADDRESS)
    registry.point_to(3)
    assert router.follower is not None
    assert [router.follower.check_now() for _ in range(2)] == [False, False]
    assert router.route("hi").policy_version == "version-b"
    assert router.follower.refused is not None
    assert caplog.text.count(f"{NAME}/3 is refused and {NAME}/2 goes on serving") == 1


def test_a_version_that_lacks_a_model_of_the_settings_is_refused(
    registry: Registry, copies: Path, tmp_path: Path
) -> None:
    lacking = shutil.copytree(copies_of(registry), tmp_path / "lacking")
    signed_again(lacking, policy_version="version-c", config="baseline: gpt-9\n")
    registry.point_to(1)
    router = Router.load(ADDRESS)
    number = int(register(registry.client, NAME, lacking))
    registry.point_to(number)
    assert router.follower is not None
    assert not router.follower.check_now()
    assert router.follower.refused is not None
    assert "gpt-9" in router.follower.refused.reason
    assert router.policy_version == "version-a"


def test_a_start_on_a_broken_version_uses_the_last_good_copy_and_says_so(
    registry: Registry, copies: Path, caplog: pytest.LogCaptureFixture
) -> None:
    registry.point_to(2)
    Router.load(ADDRESS).close()
    registry.point_to(3)
    for _ in range(2):
        router = Router.load(ADDRESS)
        assert router.route("hi").policy_version == "version-b"
        assert f"{NAME}/3 is refused, starting with {NAME}/2" in caplog.text
        assert router.follower is not None
        assert router.follower.refused is not None
        assert router.follower.refused.version.name == f"{NAME}/3"
        assert not router.follower.check_now()
    registry.point_to(1)
    assert router.follower is not None
    assert router.follower.check_now()
    assert router.follower.refused is None
    assert router.policy_version == "version-a"


@pytest.mark.parametrize("address", [ADDRESS, f"models:/{NAME}/3"])
def test_a_start_on_a_broken_version_without_another_copy_is_an_error(
    registry: Registry, copies: Path, address: str
) -> None:
    registry.point_to(3)
    with pytest.raises(ArtifactError):
        Router.load(address)


def test_settings_that_suit_no_version_are_an_error(registry: Registry, copies: Path) -> None:
    registry.point_to(2)
    Router.load(ADDRESS).close()
    registry.point_to(1)
    with pytest.raises(ConfigError, match="gpt-9"):
        Router.load(ADDRESS, config=parse_config("baseline: gpt-9\n"))


class OnlyGroups:
    """A client with model groups, as a `litellm.Router` has them."""

    def __init__(self, *groups: str) -> None:
        self.groups = groups

    def get_model_list(self, group: str) -> list[dict[str, object]]:
        return [{"model_name": group, "litellm_params": {"model": group}}] if group in self.groups else []

    def completion(self) -> None: ...

    async def acompletion(self) -> None: ...


def test_a_version_that_the_transport_can_not_call_is_refused(
    registry: Registry, copies: Path, tmp_path: Path
) -> None:
    registry.point_to(1)
    client = OnlyGroups(*Router.load(ADDRESS).models)
    other = shutil.copytree(copies_of(registry), tmp_path / "renamed")
    renamed = [f"new-{model}" if model == "gpt-5" else model for model in client.groups]
    manifest = json.loads((other / MANIFEST).read_bytes())
    policy = {**manifest["policy"], "best_single": renamed[0]}
    signed_again(other, policy_version="version-d", models=renamed, policy=policy, config="")
    number = int(register(registry.client, NAME, other))
    router = Router.load(ADDRESS, transport=client)
    registry.point_to(number)
    assert router.follower is not None
    assert not router.follower.check_now()
    assert router.follower.refused is not None
    assert "no group for new-gpt-5" in router.follower.refused.reason
    restarted = Router.load(ADDRESS, transport=client)
    assert {router.policy_version, restarted.policy_version} == {"version-a"}


def test_with_an_expected_digest_no_other_version_serves(
    registry: Registry, copies: Path, caplog: pytest.LogCaptureFixture
) -> None:
    registry.point_to(1)
    expected = Router.load(ADDRESS).version.digest
    router = Router.load(ADDRESS, expect=expected)
    registry.point_to(2)
    assert router.follower is not None
    assert not router.follower.check_now()
    assert router.follower.refused is not None
    assert expected in router.follower.refused.reason
    restarted = Router.load(ADDRESS, expect=expected)
    assert {router.policy_version, restarted.policy_version} == {"version-a"}
    assert f"{NAME}/2 is refused, starting with {NAME}/1" in caplog.text
    with pytest.raises(ArtifactError, match=expected):
        Router.load(f"models:/{NAME}/2", expect=expected)


def copies_of(registry: Registry) -> Path:
    return registry.server.folder.parent / "version-a"


def test_settings_given_at_the_start_hold_for_every_version(registry: Registry, copies: Path) -> None:
    registry.point_to(1)
    router = Router.load(ADDRESS, config=parse_config("baseline: ollama/llama3.1\n"))
    registry.point_to(2)
    assert router.follower is not None
    assert router.follower.check_now()
    assert (router.policy_version, router.version.baseline) == ("version-b", "ollama/llama3.1")


def test_with_the_registry_down_it_starts_from_its_copy_and_follows_again_later(
    registry: Registry, copies: Path, caplog: pytest.LogCaptureFixture
) -> None:
    registry.point_to(2)
    Router.load(ADDRESS).close()
    registry.server.stop()
    try:
        router = Router.load(ADDRESS)
        assert router.route("hi").policy_version == "version-b"
        assert f"starting with {NAME}/2" in caplog.text
        assert router.follower is not None
        assert not router.follower.check_now()
    finally:
        registry.server.start()
    registry.point_to(1)
    assert router.follower.check_now()
    assert router.route("hi").policy_version == "version-a"


def test_a_router_that_is_closed_or_forgotten_is_not_followed_any_more(
    registry: Registry, copies: Path
) -> None:
    registry.point_to(1)
    followers = []
    for _ in range(2):
        router = Router.load(ADDRESS)
        followers.append(router.follower)
        router.close()
        del router
    assert all(follower is not None and follower._ended.is_set() for follower in followers)
