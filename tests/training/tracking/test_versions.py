from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import ConfigError, RouterError
from tests.services.mlflow_server import MlflowServer
from training.tracking.publish import RunRecord, publish
from training.tracking.versions import (
    CHAMPION,
    COMPARISON_RUN,
    Move,
    RouterRegistry,
    check_alias,
    version_before,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

NUMBERS = itertools.count()
in_a_file = pytest.mark.parametrize("uri", ["sqlite"], indirect=True, scope="module")
"""A server that checks passwords takes seconds for each test: only some go there too."""
PASSWORD = "a-password-of-the-tests"
RECORD = RunRecord(
    params={"policy_version": "abc", "data_digest": "0123456789"},
    metrics={"calls": 240.0, "test.success": 0.9, "test.cost_usd": 0.002},
)


@pytest.fixture(scope="module", params=["sqlite", "server"])
def uri(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A SQLite store; and a server that wants a user and a password, which the environment holds."""
    folder = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        if request.param == "sqlite":
            yield f"sqlite:///{folder / 'mlflow.db'}"
            return
        patch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
        patch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
        with MlflowServer(folder, password=PASSWORD) as server:
            yield server.uri


@pytest.fixture(scope="module")
def run(uri: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The training run of every version here: a server that checks passwords takes its time."""
    folder = tmp_path_factory.mktemp("router")
    (folder / "manifest.json").write_text("{}", encoding="utf-8")
    return client(uri).get_run(publish(folder, RECORD, uri).run_id)


@pytest.fixture
def name(uri: str, run: Run) -> str:
    """A registered router with three versions."""
    new = f"support-{next(NUMBERS)}"
    client(uri).create_registered_model(new)
    for _ in range(3):
        source = f"{run.info.artifact_uri}/router"
        client(uri).create_model_version(new, source, run.info.run_id, await_creation_for=0)
    return new


@pytest.fixture
def registry(uri: str) -> RouterRegistry:
    return RouterRegistry(uri)


def client(uri: str) -> MlflowClient:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


def promote(registry: RouterRegistry, name: str, version: str) -> Move | None:
    return registry.move(name, CHAMPION, version, seen=registry.pointed(name, CHAMPION))


def move_from_1(uri: str, name: str, version: str) -> str:
    """In a process of its own: how the move ended."""
    try:
        RouterRegistry(uri).move(name, CHAMPION, version, seen="1")
    except RouterError as error:
        return next((why for why in ("meanwhile", "at the same time") if why in str(error)), str(error))
    return "moved"


@in_a_file
def test_the_versions_are_those_of_the_registry_the_latest_first(registry: RouterRegistry, name: str) -> None:
    promote(registry, name, "2")
    versions = registry.versions(name)
    assert [(one.version, one.aliases) for one in versions] == [("3", ()), ("2", ("champion",)), ("1", ())]
    told = versions[0].to_json()
    assert (told["success"], told["cost_usd"], told["calls"]) == (0.9, 0.002, 240.0)
    assert (told["policy_version"], told["data_digest"], told["recommendation"]) == (
        "abc",
        "0123456789",
        None,
    )


@in_a_file
def test_a_rollback_goes_back_step_by_step_and_then_says_there_is_none(
    registry: RouterRegistry, name: str
) -> None:
    for version in ("1", "2", "1", "3"):
        promote(registry, name, version)
    assert [registry.rollback(name).version for _ in range(3)] == ["1", "2", "1"]
    with pytest.raises(ConfigError, match=r"no earlier version in its history \(version 1 now\)"):
        registry.rollback(name)
    promote(registry, name, "2")
    assert registry.rollback(name).version == "1"
    assert [move.version for move in registry.history(name)] == [*"1213", *"121", *"21"]


@in_a_file
def test_of_two_who_go_back_from_a_version_one_moves_the_alias(registry: RouterRegistry, name: str) -> None:
    for version in ("1", "2", "3"):
        promote(registry, name, version)
    assert registry.rollback(name, seen="3").version == "2"
    with pytest.raises(RouterError, match=r"moved from version 3 to version 2 meanwhile"):
        registry.rollback(name, seen="3")
    assert registry.pointed(name, CHAMPION) == "2"


@in_a_file
def test_a_champion_of_other_tools_is_the_one_to_go_back_to(
    uri: str, registry: RouterRegistry, name: str
) -> None:
    client(uri).set_registered_model_alias(name, CHAMPION, "1")
    promote(registry, name, "2")
    client(uri).set_registered_model_alias(name, CHAMPION, "3")
    assert registry.rollback(name).version == "2"
    assert registry.rollback(name).version == "1"


@in_a_file
def test_promoting_the_champion_again_is_no_move(registry: RouterRegistry, name: str) -> None:
    assert promote(registry, name, "2") is not None
    assert promote(registry, name, "2") is None
    assert len(registry.history(name)) == 1


@in_a_file
def test_an_alias_that_moved_meanwhile_stays(registry: RouterRegistry, name: str) -> None:
    promote(registry, name, "1")
    with pytest.raises(RouterError, match=r"moved from no version to version 1 meanwhile, and stays there"):
        registry.move(name, CHAMPION, "2", seen=None)
    assert (registry.pointed(name, CHAMPION), len(registry.history(name))) == ("1", 1)


def test_promotions_at_once_leave_one_champion_and_a_history_that_has_it(
    uri: str, registry: RouterRegistry, name: str
) -> None:
    promote(registry, name, "1")

    with ProcessPoolExecutor(2, get_context("spawn")) as processes:
        said = list(processes.map(move_from_1, [uri] * 2, [name] * 2, ["2", "3"]))
    champion, history = registry.pointed(name, CHAMPION), registry.history(name)
    assert champion in {"2", "3"}
    assert set(said) <= {"moved", "meanwhile", "at the same time"}
    assert "moved" in said
    assert champion in {one.version for one in history[1:]}
    assert all(one.previous == "1" for one in history[1:])
    assert registry.rollback(name).version == "1"


@in_a_file
def test_a_move_that_the_registry_refuses_leaves_no_trace(registry: RouterRegistry, name: str) -> None:
    with pytest.raises(RouterError, match="MLflow at"):
        registry.move(name, CHAMPION, "99", seen=None)
    assert (registry.pointed(name, CHAMPION), registry.history(name)) == (None, [])


@in_a_file
def test_versions_go_by_number_or_alias(registry: RouterRegistry, name: str) -> None:
    registry.move(name, "challenger", "3", seen=None)
    assert registry.resolved(name, "@challenger") == "3"
    assert registry.resolved(name, "1") == "1"
    for which in ("4", "@champion", "champion", ""):
        with pytest.raises(ConfigError, match=r"it has 1, 2, 3, @challenger"):
            registry.resolved(name, which)


@in_a_file
def test_aliases_have_histories_of_their_own(registry: RouterRegistry, name: str) -> None:
    registry.move(name, "challenger", "3", seen=None)
    promote(registry, name, "1")
    assert [move.version for move in registry.history(name)] == ["1"]


@in_a_file
def test_a_name_that_nobody_registered_is_answered_with_the_closest(
    registry: RouterRegistry, name: str
) -> None:
    with pytest.raises(ConfigError, match="no router is registered as 'suport': did you mean 'support-"):
        registry.versions("suport")


@in_a_file
def test_the_comparison_is_that_of_the_versions_tag(
    uri: str, registry: RouterRegistry, name: str, run: Run
) -> None:
    assert registry.comparison(name, "1") is None
    client(uri).log_dict(run.info.run_id, {"prompts": 3, "verdict": []}, "report.json")
    client(uri).set_model_version_tag(name, "1", COMPARISON_RUN, run.info.run_id)
    assert registry.comparison(name, "1") == {"prompts": 3, "verdict": []}


def test_reading_makes_no_database(tmp_path: Path) -> None:
    with pytest.raises(RouterError, match="no such database; check --tracking-uri"):
        RouterRegistry(f"sqlite:///{tmp_path / 'none.db'}").versions("support")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("uri", ["server"], indirect=True, scope="module")
def test_a_wrong_password_is_refused_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch, registry: RouterRegistry
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "not-the-password")
    with pytest.raises(RouterError, match="MLflow at http") as caught:
        registry.versions("support")
    assert "not-the-password" not in str(caught.value)


@given(st.lists(st.sampled_from(["promote 1", "promote 2", "promote 3", "back"]), max_size=12))
def test_going_back_is_what_a_stack_of_champions_does(steps: list[str]) -> None:
    moves: list[Move] = []
    stack: list[str] = []
    for number, step in enumerate(steps):
        now = stack[-1] if stack else None
        if step != "back":
            if (version := step[-1]) != now:
                moves.append(Move(key=f"{number:03d}", alias=CHAMPION, version=version, previous=now))
                stack.append(version)
            continue
        target, undoes = version_before(moves, now)
        assert target == (stack[-2] if len(stack) > 1 else None)
        if target is not None:
            moves.append(
                Move(key=f"{number:03d}", alias=CHAMPION, version=target, previous=now, undoes=undoes)
            )
            stack.pop()


def test_a_tag_holds_the_whole_move() -> None:
    move = Move.of(CHAMPION, "2", "1", "key")
    assert Move(key=move.key, **json.loads(move.to_tag())) == move


@pytest.mark.parametrize("alias", ["latest", "Latest", "v1", "V12", "12", "", "a b", "a@b", "é"])
def test_names_that_mlflow_refuses_are_refused_first(alias: str) -> None:
    with pytest.raises(ConfigError, match="can't be an alias"):
        check_alias(alias)


@pytest.mark.parametrize("alias", ["champion", "challenger", "a-1", "v", "v1a", "_x"])
def test_other_names_are_aliases(alias: str) -> None:
    check_alias(alias)
