"""Follow a registry alias: a new version takes over while the application runs."""

from __future__ import annotations

import logging
import random
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from inspect import ismethod
from typing import Generic, Protocol, TypeVar

from router.errors import DamagedArtifact, ForeignArtifact, NewerArtifact, RouterError
from router.forking import ForkAware, ForkSafe, watch
from router.loading.copies import Copy, RegisteredVersion

logger = logging.getLogger(__name__)

_Loaded = TypeVar("_Loaded")
BAD_VERSION = (DamagedArtifact, ForeignArtifact, NewerArtifact)
"""Errors that say that a version is unusable, not that its registry is in trouble."""
LOAD_S = 300.0
"""Longest wait for a version to load and to decide its first requests: a network can loop without an end."""


class Source(Protocol):
    """An address to follow, such as `router.loading.registry.RegistrySource`."""

    uri: str

    def resolve(self) -> RegisteredVersion:
        """The version that the address points to now; raises RouterError if nobody knows."""

    def fetch(self, version: RegisteredVersion) -> Copy:
        """The version's files; raises one of `BAD_VERSION` if they are unusable, else RouterError."""

    def remember(self, copy: Copy) -> None:
        """Note that the address points to this version and that it works."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A version that was refused, and why."""

    version: RegisteredVersion
    reason: str


class Follower(ForkAware, Generic[_Loaded]):
    """Checks an address regularly, and puts a new version into use as soon as it is loaded.

    A daemon thread checks; a forked child starts its own. The follower keeps no owner alive: when the object
    whose method `use` is goes away, the thread ends.

    Attributes:
        version: the version in use.
        refused: the version that the address points to, if it is unusable; it is not tried again until the
            address points elsewhere.
        last_error: why the last check failed; None if it did not.
        last_check: Unix seconds of the last check; None before the first.
    """

    def __init__(
        self,
        source: Source,
        copy: Copy,
        *,
        load: Callable[[Copy], _Loaded],
        use: Callable[[_Loaded], object],
        poll_s: float,
        refused: Refusal | None = None,
    ) -> None:
        """Follow `source` from the version that is in use already.

        Args:
            load: builds the object to use, and checks it; any error refuses the version. The object should
                hold the copy, so that the files stay. `load` must not refer to the owner of `use`.
            use: puts the object into use, at once and whole.
            poll_s: seconds between two checks, give or take a quarter; 0: only `check_now` checks.
            refused: the version that the address points to, if it was refused already.
        """
        self.refused = refused
        self.last_error: str | None = None
        self.last_check: float | None = None
        self.poll_s = poll_s
        self._source = source
        self._copy = copy
        self._load = load
        self._use = weakref.WeakMethod(use, self._abandon) if ismethod(use) else lambda: use
        self._trouble: type[RouterError] | None = None
        self._lock = ForkSafe(threading.Lock)
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def version(self) -> RegisteredVersion:
        """The version in use."""
        return self._copy.version

    def start(self) -> None:
        """Start to check; a second call does nothing."""
        if self.poll_s > 0 and self._thread is None:
            watch(self)
            self._spawn()

    def stop(self) -> None:
        """Stop; a check that is under way may still put its version into use."""
        self._ended.set()

    def check_now(self) -> bool:
        """Check now; returns whether another version was put into use."""
        with self._lock.part:
            self.last_check = time.time()
            try:
                has_changed = self._follow(self._source.resolve())
            except RouterError as error:
                self._note_trouble(error)
                return False
            self._note_answer()
            return has_changed

    def _follow(self, version: RegisteredVersion) -> bool:
        """Use the version that the address points to, unless it is in use or was refused."""
        if self.refused and self.refused.version != version:
            self.refused = None
        if version == self.version:
            self._source.remember(self._copy)
        if version == self.version or self.refused:
            return False
        try:
            return self._take(self._source.fetch(version))
        except BAD_VERSION as error:
            return self._refuse(version, str(error))

    def _take(self, copy: Copy) -> bool:
        use = self._use()
        if use is None:
            return False
        try:
            use(self._load(copy))
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a new version, the old one goes on
            return self._refuse(copy.version, f"{type(error).__name__}: {error}")
        before, self._copy = self._copy, copy
        self._source.remember(copy)
        logger.info("%s: %s took over from %s", self._source.uri, copy.version.name, before.version.name)
        return True

    def _refuse(self, version: RegisteredVersion, reason: str) -> bool:
        self.refused = Refusal(version=version, reason=reason)
        logger.error(
            "%s: %s is refused and %s goes on serving: %s",
            self._source.uri, version.name, self.version.name, reason,
        )  # fmt: skip
        return False

    def _note_trouble(self, error: RouterError) -> None:
        """Warn once for each outage."""
        self.last_error = str(error)
        if self._trouble is not type(error):
            logger.warning(
                "%s goes on serving, because its address can't be followed: %s", self.version.name, error
            )
        self._trouble = type(error)

    def _note_answer(self) -> None:
        if self._trouble is not None:
            logger.info("%s: the registry answers again", self._source.uri)
        self._trouble = self.last_error = None

    def _spawn(self) -> None:
        self._thread = threading.Thread(target=self._run, daemon=True, name="pointsman-follower")
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.wait(self.poll_s * random.uniform(0.75, 1.25)):
            self.check_now()

    def _abandon(self, _: object) -> None:
        self._ended.set()

    def after_fork_in_child(self) -> None:
        """Start again in a child, where the thread is gone."""
        ended, self._ended = self._ended, threading.Event()
        if ended.is_set():
            self._ended.set()
        else:
            self._spawn()


def begin(call: Callable[[], _Loaded], name: str) -> Future[_Loaded]:
    """Start a call in a daemon thread of that name, which may be left behind; the answer comes there."""
    answer: Future[_Loaded] = Future()
    target = partial(copy_context().run, _answer_into, answer, call)
    threading.Thread(target=target, daemon=True, name=name).start()
    return answer


def _answer_into(answer: Future[_Loaded], call: Callable[[], _Loaded]) -> None:
    try:
        answer.set_result(call())
    except BaseException as error:  # noqa: BLE001 - the thread that waits raises it
        answer.set_exception(error)


def load_in_time(load: Callable[[], _Loaded], name: str) -> _Loaded:
    """Load a version, or leave its load behind: nothing else ends a network that loops, even while built.

    Args:
        name: the version's, for the error.

    Raises:
        DamagedArtifact: it takes longer than `LOAD_S`.
    """
    loading = begin(load, "pointsman-load")
    if wait([loading], LOAD_S).not_done:
        raise DamagedArtifact(
            f"{name}: not loaded and tried within {LOAD_S:g} s, so its network may never end; "
            "train or register another version"
        )
    return loading.result()
