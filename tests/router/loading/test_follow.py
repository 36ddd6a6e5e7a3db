from __future__ import annotations

import gc
import logging
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from router.errors import ArtifactError, DamagedArtifact, ForeignArtifact, NewerArtifact, NoAnswer
from router.loading import follow
from router.loading.copies import Copy, RegisteredVersion
from router.loading.follow import Follower, load_in_time
from router.loading.registry import RegistrySource
from tests.services.mlflow_server import MlflowServer, register, small_router
from tests.services.waiting import wait_until

if TYPE_CHECKING:
    from mlflow import MlflowClient

NAME = "support"
ALIAS = f"models:/{NAME}@champion"
OFTEN = 0.01


def version(number: int) -> RegisteredVersion:
    return RegisteredVersion(name=f"{NAME}/{number}", identity=str(number))


def copy_of(number: int) -> Copy:
    return Copy(version=version(number), folder=Path(str(number)), home=Path(str(number)))


@dataclass
class FakeSource:
    """An alias in memory.

    Attributes:
        at: version the alias bears, or the error that asking for it raises.
        fetching: error that fetching a version raises.
    """

    uri: str = ALIAS
    at: int | Exception = 1
    fetching: dict[int, Exception] = field(default_factory=dict)
    fetched: list[int] = field(default_factory=list)
    remembered: list[str] = field(default_factory=list)

    def resolve(self) -> RegisteredVersion:
        if isinstance(self.at, Exception):
            raise self.at
        return version(self.at)

    def fetch(self, version: RegisteredVersion) -> Copy:
        number = int(version.identity)
        self.fetched.append(number)
        if number in self.fetching:
            raise self.fetching[number]
        return copy_of(number)

    def remember(self, copy: Copy) -> None:
        self.remembered.append(copy.version.name)


class Owner:
    """Stands for a router: what it serves is made from a copy in one piece."""

    def __init__(self, broken: tuple[int, ...] = ()) -> None:
        self.serves: object = (1, 1)
        self.broken = broken

    def swap(self, new: object) -> None:
        self.serves = new


def loader(*broken: int) -> Callable[[Copy], tuple[int, int]]:
    def load(copy: Copy) -> tuple[int, int]:
        number = int(copy.version.identity)
        if number in broken:
            raise ValueError(f"version {number} gives no probabilities")
        return number, number

    return load


@pytest.fixture
def source() -> FakeSource:
    return FakeSource()


@pytest.fixture
def owner() -> Owner:
    return Owner()


@pytest.fixture(autouse=True)
def every_message(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="router.loading.follow")


def following(
    source: FakeSource, owner: Owner, *broken: int, poll_s: float = OFTEN
) -> Follower[tuple[int, int]]:
    return Follower(source, copy_of(1), load=loader(*broken), use=owner.swap, poll_s=poll_s)


def test_an_alias_that_stays_changes_nothing(source: FakeSource, owner: Owner) -> None:
    follower = following(source, owner)
    assert not follower.check_now()
    assert (owner.serves, source.fetched, follower.version) == ((1, 1), [], version(1))


def test_a_moved_alias_puts_its_version_into_use(
    source: FakeSource, owner: Owner, caplog: pytest.LogCaptureFixture
) -> None:
    follower = following(source, owner)
    source.at = 2
    assert follower.check_now()
    assert (owner.serves, follower.version) == ((2, 2), version(2))
    assert caplog.messages == [f"{ALIAS}: support/2 took over from support/1"]


def test_an_alias_moved_back_puts_the_old_version_into_use(source: FakeSource, owner: Owner) -> None:
    follower = following(source, owner)
    for source.at in (2, 1):
        follower.check_now()
    assert owner.serves == (1, 1)


def test_a_version_is_remembered_once_it_works(source: FakeSource, owner: Owner) -> None:
    follower = following(source, owner, 3)
    for source.at in (1, 2, 3):
        follower.check_now()
    assert source.remembered == ["support/1", "support/2"]


def test_a_version_that_does_not_load_is_refused_and_told_once(
    source: FakeSource, owner: Owner, caplog: pytest.LogCaptureFixture
) -> None:
    follower = following(source, owner, 2)
    source.at = 2
    assert [follower.check_now() for _ in range(4)] == [False] * 4
    assert (owner.serves, follower.version, source.fetched) == ((1, 1), version(1), [2])
    reason = "ValueError: version 2 gives no probabilities"
    assert [(record.levelno, record.message) for record in caplog.records] == [
        (logging.ERROR, f"{ALIAS}: support/2 is refused and support/1 goes on serving: {reason}")
    ]
    assert follower.refused is not None
    assert (follower.refused.version, follower.refused.reason) == (version(2), reason)


def test_a_version_that_never_ends_loading_is_refused_in_time(
    source: FakeSource, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "LOAD_S", 0.1)
    over = threading.Event()

    def load(copy: Copy) -> object:
        return load_in_time(over.wait, copy.version.name)

    follower = Follower(source, copy_of(1), load=load, use=owner.swap, poll_s=0)
    source.at = 2
    assert not follower.check_now()
    assert owner.serves == (1, 1)
    assert follower.refused is not None
    assert "support/2: not loaded and tried within 0.1 s" in follower.refused.reason
    over.set()


@pytest.mark.parametrize("error", [ValueError("no numbers"), TimeoutError("of its own")])
def test_an_error_of_a_load_in_time_is_its_own(error: Exception) -> None:
    def load() -> None:
        raise error

    with pytest.raises(type(error), match=str(error)):
        load_in_time(load, version(1).name)


@pytest.mark.parametrize("kind", [DamagedArtifact, ForeignArtifact, NewerArtifact])
def test_a_version_whose_files_are_no_good_is_refused_and_not_fetched_again(
    source: FakeSource, owner: Owner, kind: type[ArtifactError]
) -> None:
    follower = following(source, owner)
    source.at, source.fetching = 2, {2: kind("support/2: no good")}
    follower.check_now()
    follower.check_now()
    assert (owner.serves, source.fetched) == ((1, 1), [2])
    assert follower.refused is not None
    assert follower.refused.reason == "support/2: no good"


def test_a_version_whose_use_fails_is_refused(source: FakeSource) -> None:
    def use(new: object) -> None:
        raise RuntimeError(f"no place for {new}")

    follower = Follower(source, copy_of(1), load=loader(), use=use, poll_s=0)
    source.at = 2
    assert not follower.check_now()
    assert follower.version == version(1)


@pytest.mark.parametrize(("then", "serves"), [(1, (1, 1)), (3, (3, 3))])
def test_a_refusal_ends_when_the_alias_moves_again(
    source: FakeSource, owner: Owner, then: int, serves: tuple[int, int]
) -> None:
    follower = following(source, owner, 2)
    for source.at in (2, then):
        follower.check_now()
    assert (follower.refused, owner.serves) == (None, serves)


def test_a_refused_version_that_the_alias_comes_back_to_is_tried_again(
    source: FakeSource, owner: Owner
) -> None:
    follower = following(source, owner, 2)
    for source.at in (2, 1, 2):
        follower.check_now()
    assert source.fetched == [2, 2]


def test_an_outage_is_told_once_and_its_end_once(
    source: FakeSource, owner: Owner, caplog: pytest.LogCaptureFixture
) -> None:
    follower = following(source, owner)
    for source.at in (NoAnswer("gone"), NoAnswer("gone still"), NoAnswer("and still"), 1, 1):
        follower.check_now()
    assert caplog.messages == [
        "support/1 goes on serving, because its address can't be followed: gone",
        f"{ALIAS}: the registry answers again",
    ]


def test_the_next_outage_is_told_again(
    source: FakeSource, owner: Owner, caplog: pytest.LogCaptureFixture
) -> None:
    follower = following(source, owner)
    for source.at in (NoAnswer("first"), 1, NoAnswer("second")):
        follower.check_now()
    assert [message.rpartition(": ")[2] for message in caplog.messages] == [
        "first",
        "the registry answers again",
        "second",
    ]


def test_an_alias_taken_away_in_an_outage_is_told_apart(
    source: FakeSource, owner: Owner, caplog: pytest.LogCaptureFixture
) -> None:
    follower = following(source, owner)
    for source.at in (NoAnswer("down"), ArtifactError("no such alias"), ArtifactError("no such alias")):
        follower.check_now()
    assert [message.rpartition(": ")[2] for message in caplog.messages] == ["down", "no such alias"]


def test_a_download_that_fails_is_tried_again(source: FakeSource, owner: Owner) -> None:
    follower = following(source, owner)
    source.at, source.fetching = 2, {2: NoAnswer("the storage is down")}
    follower.check_now()
    assert (owner.serves, follower.refused, follower.last_error) == ((1, 1), None, "the storage is down")
    source.fetching = {}
    assert follower.check_now()
    assert (owner.serves, follower.last_error) == ((2, 2), None)


def test_the_state_says_when_it_looked_and_what_went_wrong(source: FakeSource, owner: Owner) -> None:
    follower, before = following(source, owner), time.time()
    assert (follower.last_check, follower.last_error) == (None, None)
    source.at = NoAnswer("down")
    follower.check_now()
    assert follower.last_check is not None
    assert before <= follower.last_check <= time.time()
    assert follower.last_error == "down"


def stop(follower: Follower[Any]) -> None:
    """Stop it and wait for its thread: a look under way still logs, and would do so in the next test."""
    follower.stop()
    wait_until(lambda: not running(follower))


def running(follower: Follower[Any]) -> bool:
    return follower._thread is not None and follower._thread.is_alive()


def test_the_thread_follows_by_itself(source: FakeSource, owner: Owner) -> None:
    follower = following(source, owner)
    follower.start()
    source.at = 2
    wait_until(lambda: owner.serves == (2, 2))
    stop(follower)


def test_the_thread_outlives_an_outage(source: FakeSource, owner: Owner) -> None:
    source.at = NoAnswer("down")
    follower = following(source, owner)
    follower.start()
    wait_until(lambda: follower.last_error)
    source.at = 2
    wait_until(lambda: owner.serves == (2, 2))
    stop(follower)


def test_a_follower_that_is_stopped_looks_no_more(source: FakeSource, owner: Owner) -> None:
    follower = following(source, owner, poll_s=3600)
    follower.start()
    assert running(follower)
    follower.stop()
    wait_until(lambda: not running(follower))


def test_starting_twice_makes_one_thread(source: FakeSource, owner: Owner) -> None:
    follower = following(source, owner, poll_s=3600)
    follower.start()
    thread = follower._thread
    follower.start()
    assert follower._thread is thread
    stop(follower)


def test_a_period_of_zero_looks_only_when_asked(source: FakeSource, owner: Owner) -> None:
    follower = following(source, owner, poll_s=0)
    follower.start()
    source.at = 2
    assert not running(follower)
    assert follower.check_now()


def test_an_owner_that_nobody_needs_is_collected_and_its_thread_ends(source: FakeSource) -> None:
    owner = Owner()
    follower = following(source, owner, poll_s=3600)
    follower.start()
    gone = weakref.ref(owner)
    del owner
    gc.collect()
    assert gone() is None
    wait_until(lambda: not running(follower))


def test_nothing_is_put_into_use_for_an_owner_that_is_gone(source: FakeSource) -> None:
    follower = following(source, Owner())
    source.at = 2
    assert not follower.check_now()


def test_while_an_alias_moves_twenty_times_no_user_sees_a_mix(source: FakeSource, owner: Owner) -> None:
    follower, done, seen = following(source, owner), threading.Event(), [set[object]() for _ in range(8)]

    def use_it(mine: set[object]) -> None:
        while not done.is_set():
            mine.add(owner.serves)

    users = [threading.Thread(target=use_it, args=(mine,)) for mine in seen]
    for user in users:
        user.start()
    for source.at in range(2, 22):
        assert follower.check_now()
    done.set()
    for user in users:
        user.join()
    assert set().union(*seen) <= {(number, number) for number in range(1, 22)}
    assert owner.serves == (21, 21)


def test_checks_from_many_threads_take_a_version_once(source: FakeSource, owner: Owner) -> None:
    follower, taken = following(source, owner), list[bool]()
    source.at = 2
    threads = [threading.Thread(target=lambda: taken.append(follower.check_now())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (sum(taken), source.fetched) == (1, [2])


IN_A_PROCESS = """
import os, sys, threading, time
from tests.router.loading.test_follow import FakeSource, Owner, following
from tests.services.waiting import wait_until
source, owner = FakeSource(), Owner()
follower = following(source, owner)
follower.start()
"""


def run(*lines: str) -> subprocess.CompletedProcess[str]:
    """Run a follower in a process of its own, and what the lines say beside it."""
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", IN_A_PROCESS + "\n".join(lines)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_a_follower_does_not_keep_its_process_alive() -> None:
    done = run("print('over')")
    assert (done.returncode, done.stdout) == (0, "over\n"), done.stderr


FORK = [
    "child = os.fork()",
    "source.at = 2 if child else 3",
    "wait_until(lambda: owner.serves == ((2, 2) if child else (3, 3)))",
    "os._exit(0) if not child else print(os.waitpid(child, 0)[1])",
]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
@pytest.mark.parametrize(
    "held",
    [
        pytest.param("", id="at rest"),
        pytest.param("follower._lock.part.acquire()", id="in the middle of a look"),
    ],
)
def test_a_forked_child_follows_for_itself(held: str) -> None:
    release = f"if child and {bool(held)}: follower._lock.part.release()"
    done = run(held, FORK[0], release, *FORK[1:])
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_a_forked_child_of_a_stopped_follower_does_not_follow() -> None:
    done = run(
        "follower.stop()",
        "child = os.fork()",
        "alive = [thread.name for thread in threading.enumerate()]",
        "os._exit('pointsman-follower' in alive) if not child else print(os.waitpid(child, 0)[1])",
    )
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    import mlflow

    previous = mlflow.get_tracking_uri()
    with (
        MlflowServer(tmp_path_factory.mktemp("server")) as server,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        patch.setenv("MLFLOW_TRACKING_URI", server.uri)
        mlflow.set_tracking_uri(server.uri)
        yield server
        mlflow.set_tracking_uri(previous)


@pytest.fixture(scope="module")
def client(server: MlflowServer) -> MlflowClient:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=server.uri, registry_uri=server.uri)


class App:
    """Serves the text of a small router, followed by a real registry; a text is checked by a canary."""

    def __init__(self, copies: Path, canary: Callable[[str], None] = lambda text: None) -> None:
        def load(copy: Copy) -> tuple[str, Copy]:
            text = (copy.folder / "text.txt").read_text()
            canary(text)
            return text, copy

        source = RegistrySource(ALIAS, copies=copies)
        copy = source.current()
        self.serves = load(copy)
        source.remember(copy)
        self.follower = Follower(source, copy, load=load, use=self.swap, poll_s=0.1)

    def swap(self, new: tuple[str, Copy]) -> None:
        self.serves = new

    @property
    def text(self) -> str:
        return self.serves[0]


def move(client: MlflowClient, folder: Path, text: str) -> None:
    """Register a router with a text, and let the alias point to it."""
    number = register(client, NAME, small_router(folder / text, text))
    client.set_registered_model_alias(NAME, "champion", number)


def test_an_alias_moved_on_a_server_takes_over(client: MlflowClient, tmp_path: Path) -> None:
    move(client, tmp_path / "routers", "old")
    app = App(tmp_path / "copies")
    app.follower.start()
    move(client, tmp_path / "routers", "new")
    wait_until(lambda: app.text == "new")
    stop(app.follower)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the follower logged."""
    return [record.message for record in caplog.records if record.name == "router.loading.follow"]


def test_a_version_damaged_on_the_server_is_refused_while_the_old_one_serves(
    client: MlflowClient, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    move(client, tmp_path / "routers", "old")
    app = App(tmp_path / "copies")
    folder = small_router(tmp_path / "routers" / "damaged")
    (folder / "text.txt").write_text("changed")
    client.set_registered_model_alias(NAME, "champion", register(client, NAME, folder))
    assert [app.follower.check_now() for _ in range(3)] == [False] * 3
    assert app.text == "old"
    (message,) = told(caplog)
    assert "is refused and support/" in message
    assert "router/text.txt: sha256 is" in message


def test_a_version_whose_canary_dies_is_refused_until_the_alias_moves_again(
    client: MlflowClient, tmp_path: Path
) -> None:
    def canary(text: str) -> None:
        if text == "poisoned":
            raise ArtifactError("the canary prompt gets no finite probability")

    move(client, tmp_path / "routers", "old")
    app = App(tmp_path / "copies", canary)
    move(client, tmp_path / "routers", "poisoned")
    assert not app.follower.check_now()
    assert app.follower.refused is not None
    assert "no finite probability" in app.follower.refused.reason
    assert app.text == "old"
    move(client, tmp_path / "routers", "mended")
    assert app.follower.check_now()
    assert app.text == "mended"
    assert app.follower.refused is None


def test_a_server_that_stops_and_comes_back_is_followed_again(
    server: MlflowServer, client: MlflowClient, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    move(client, tmp_path / "routers", "before")
    app = App(tmp_path / "copies")
    app.follower.start()
    server.stop()
    wait_until(lambda: app.follower.last_error)
    restarted = App(tmp_path / "copies")
    assert (app.text, restarted.text) == ("before", "before")
    server.start()
    move(client, tmp_path / "routers", "after")
    wait_until(lambda: any("took over" in message for message in told(caplog)))
    wait_until(lambda: any("answers again" in message for message in told(caplog)))
    stop(app.follower)
    assert app.text == "after"
    assert sum("can't be followed" in message for message in told(caplog)) == 1
    assert told(caplog).count(f"{ALIAS}: the registry answers again") == 1
    assert restarted.follower.check_now()
