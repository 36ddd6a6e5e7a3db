"""What a forked child can't take over from its parent, and makes anew: locks, threads, random states."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from typing import Any, Generic, TypeVar
from weakref import WeakSet

_Part = TypeVar("_Part")


class ForkAware:
    """Something that two processes can't share as it is; `watch` has its methods called around every fork."""

    def before_fork(self) -> None:
        """Close what two processes must not share."""

    def after_fork_in_parent(self) -> None:
        """Go on."""

    def after_fork_in_child(self) -> None:
        """Make anew what belongs to the parent's threads. All locks of `ForkSafe` are new by then."""


class ForkSafe(Generic[_Part]):
    """A lock, or another part that only one process may use: each forked child gets one of its own.

    A lock that another thread holds during the fork would stay locked in the child for ever, because that
    thread does not exist there. Tests require that every lock, pool and generator is made by this class.

    Attributes:
        part: this process's own.
    """

    def __init__(self, make: Callable[[], _Part]) -> None:
        """Make the part, and make another one in each child."""
        self._make = make
        self.renew()
        _register()
        _parts.add(self)

    def renew(self) -> None:
        """Replace the part."""
        self.part = self._make()


_parts: WeakSet[ForkSafe[Any]] = WeakSet()
_aware: WeakSet[ForkAware] = WeakSet()


def watch(owner: ForkAware) -> None:
    """Call an object's methods around every fork for as long as it lives."""
    _register()
    _aware.add(owner)


@cache
def _register() -> None:
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)


def _before() -> None:
    for owner in list(_aware):
        owner.before_fork()


def _in_parent() -> None:
    for owner in list(_aware):
        owner.after_fork_in_parent()


def _in_child() -> None:
    for part in list(_parts):  # first: the owners start threads, which use the parts
        part.renew()
    for owner in list(_aware):
        owner.after_fork_in_child()
