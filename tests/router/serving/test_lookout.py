from __future__ import annotations

import importlib.util
import logging
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest

from router import Router
from router.call_log.address import LogAddress
from router.call_log.log import CallLog, read_rows
from router.errors import CallLogError, ConfigError, MissingExtra
from router.loading.registry import RegistrySource
from router.serving.lookout import Lookout, lookout_of
from router.settings.sections import Config
from router.settings.yaml_file import config_of
from tests.router.loading.test_artifact import signed_again
from tests.services.mlflow_server import MlflowServer, register
from tests.services.waiting import wait_until
from training.tracking.versions import CHAMPION, RouterRegistry

NAME = "support"
ADDRESS = f"models:/{NAME}@{CHAMPION}"
OFTEN = 0.05
SELDOM = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A server with two versions of a router, and a folder for one test."""

    server: MlflowServer
    registry: RouterRegistry
    folder: Path

    @property
    def log(self) -> Path:
        return self.folder / "calls.db"

    @property
    def champion(self) -> str | None:
        return self.registry.pointed(NAME, CHAMPION)

    def settings(self, **watch: object) -> Config:
        found = config_of(
            {
                "watch": {"interval_s": SELDOM, **watch},
                "registry": {"poll_s": 0.0, "copies": str(self.folder / "copies")},
                "training": {"max_reject_share": 1.0},
            }
        )
        assert found is not None
        return found

    def source(self) -> RegistrySource:
        return RegistrySource(ADDRESS, copies=self.folder / "copies")

    def lookout(self, **watch: object) -> Lookout:
        return Lookout(self.source(), LogAddress.of(self.log), self.settings(**watch))

    def router(self, **watch: object) -> Router:
        return Router.load(ADDRESS, config=self.settings(**watch), log=self.log)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, router_folder: Path) -> Iterator[MlflowServer]:
    """A server with two versions of one router, which differ in their name."""
    folder, previous = tmp_path_factory.mktemp("registry"), mlflow.get_tracking_uri()
    (folder / "server").mkdir()
    with MlflowServer(folder / "server") as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        mlflow.set_tracking_uri(server.uri)
        client = mlflow.MlflowClient(tracking_uri=server.uri, registry_uri=server.uri)
        for version in ("version-a", "version-b"):
            copy = shutil.copytree(router_folder, folder / version)
            signed_again(copy, policy_version=version)
            register(client, NAME, copy)
        yield server
    mlflow.set_tracking_uri(previous)


@pytest.fixture
def served(running: MlflowServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Served:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    registry = RouterRegistry(running.uri)
    registry.point(NAME, CHAMPION, "1")
    registry.point(NAME, CHAMPION, "2")
    return Served(server=running, registry=registry, folder=tmp_path)


def ask(router: Router, number: int, *, fail: bool) -> None:
    """Call, and report either failures alone or what the router forecast."""
    draws = np.random.default_rng(0).random(number)
    for at in range(number):
        messages = [{"role": "user", "content": f"Which bus goes to stop {at}?"}]
        decision = router.completion(messages=messages, mock_response="Number 12.").decision
        success = not fail and bool(draws[at] < (decision.confidence or 0.0))
        router.feedback(decision.call_id, success=success)


def logged(served: Served) -> int:
    """Number of rows; 0 as long as there is a file and no table in it."""
    with suppress(CallLogError):
        return len(list(read_rows(served.log))) if served.log.exists() else 0
    return 0


def test_a_version_that_is_worse_than_it_forecast_is_taken_back_while_it_serves(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    with served.router() as router:
        ask(router, 150, fail=True)
    with served.router(interval_s=OFTEN) as router:
        assert router.policy_version == "version-b"
        wait_until(lambda: router.policy_version == "version-a")
    assert served.champion == "1"
    (told,) = [text for text in caplog.messages if "is worse than it forecast" in text]
    assert told.startswith(
        f"{ADDRESS}: version 2 is worse than it forecast, and version 1 serves again: all calls"
    )
    tags = next(one for one in served.registry.versions(NAME) if one.version == "2").tags
    assert tags["watch.decision"].startswith("@champion moved back to version 1, 20")
    assert tags["watch.reasons"].startswith("all calls: succeeds on 0.0 %, forecast ")
    assert served.registry.history(NAME)[-1].version == "1"


def test_a_version_that_gets_what_it_forecast_goes_on_in_silence(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    with served.router() as router:
        ask(router, 150, fail=False)
    served.lookout().look_now()
    assert (served.champion, [one for one in caplog.messages if ADDRESS in one]) == ("2", [])


def test_without_leave_to_roll_back_it_only_warns_and_once(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    with served.router() as router:
        ask(router, 150, fail=True)
    lookout = served.lookout(roll_back=False)
    for _ in range(2):
        lookout.look_now()
    assert served.champion == "2"
    (told,) = [text for text in caplog.messages if f"{ADDRESS}: all calls" in text]
    assert told.endswith(f"next: pointsman rollback {NAME}")


def test_a_log_that_can_not_be_read_is_a_warning_and_calls_go_on(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    with served.router() as router:
        served.log.write_bytes(b"no database at all " * 100)
        served.lookout().look_now()
        ask(router, 1, fail=False)
    assert served.champion == "2"
    (told,) = [text for text in caplog.messages if "no look at" in text]
    assert str(served.log) in told


def test_a_server_that_is_down_is_a_warning_and_calls_go_on(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    with served.router() as router:
        ask(router, 1, fail=False)
        wait_until(lambda: logged(served))
        served.server.stop()
        try:
            served.lookout().look_now()
            ask(router, 1, fail=False)
        finally:
            served.server.start()
    (told,) = [text for text in caplog.messages if "no look at" in text]
    assert "check --tracking-uri or MLFLOW_TRACKING_URI" in told


def test_of_the_processes_of_a_machine_one_looks_in_each_interval(served: Served) -> None:
    served.log.touch()
    assert [served.lookout()._is_due() for _ in range(3)] == [True, False, False]
    note = next(served.source().copies.glob("watch-*"))
    os.utime(note, (0, 0))
    assert served.lookout()._is_due()


def test_before_the_first_call_there_is_nothing_to_look_at(served: Served) -> None:
    assert not served.lookout()._is_due()


def test_a_router_that_is_closed_ends_the_look_under_way(
    served: Served, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    processes: list[Any] = []
    monkeypatch.setattr(subprocess, "Popen", _kept(processes))
    served.log.touch()
    with served.router(interval_s=OFTEN):
        wait_until(lambda: processes)
    wait_until(lambda: processes[0].returncode is not None)
    assert not [text for text in caplog.messages if "no look at" in text]


def _kept(processes: list[Any]) -> Any:  # noqa: ANN401 - a class
    plain = subprocess.Popen

    def start(*words: Any, **options: Any) -> Any:  # noqa: ANN401 - as Popen
        processes.append(plain(*words, **options))
        return processes[-1]

    return start


def test_a_forked_child_leaves_the_look_of_its_parent_alone(served: Served) -> None:
    one = served.lookout()
    one._process = object()  # type: ignore[assignment]
    one._ended.set()
    one.after_fork_in_child()
    assert (one._process, one._ended.is_set()) == (None, True)


def test_nothing_looks_unless_the_settings_ask_for_it(served: Served) -> None:
    assert lookout_of(served.source(), CallLog.open(served.log), Config()) is None


@pytest.mark.parametrize("address", [None, "models:/support/2", "models:/support/latest"])
def test_where_no_alias_is_followed_it_says_that_it_has_no_effect(
    served: Served, address: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    source = address and RegistrySource(address, copies=served.folder)
    assert lookout_of(source or None, CallLog.open(served.log), served.settings()) is None
    assert caplog.record_tuples[-1][1:] == (
        logging.WARNING,
        "watch has no effect on a router that is not loaded by models:/NAME@ALIAS",
    )


def test_a_router_without_the_training_extra_refuses_the_setting(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "polars" else find(name))
    with pytest.raises(MissingExtra, match=r"'polars': pip install 'pointsman\[train\]'"):
        served.router()


def test_a_router_without_a_log_refuses_the_setting(served: Served) -> None:
    with pytest.raises(ConfigError, match=r"watch.interval_s: there is no call log to look at"):
        Router.load(ADDRESS, config=served.settings())


def test_a_password_in_the_log_s_address_is_refused(served: Served) -> None:
    log = CallLog.open("postgresql://reader:pass-word@127.0.0.1/logs")
    with pytest.raises(ConfigError, match=r"127\.0\.0\.1/logs.* put that into PGPASSWORD") as refused:
        lookout_of(served.source(), log, served.settings())
    assert "pass-word" not in str(refused.value)


def test_a_log_without_text_is_refused(served: Served) -> None:
    settings = served.settings()
    hashed = settings.model_copy(update={"log": settings.log.model_copy(update={"text": "hash"})})
    with pytest.raises(ConfigError, match=r"log\.text 'hash' keeps no text.* set 'full' or 'redacted'"):
        lookout_of(served.source(), CallLog.open(served.log), hashed)
