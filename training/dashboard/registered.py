"""What the registry says of the versions on the page."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock

from router.errors import RouterError
from training.tracking.versions import Move, RouterRegistry, TrainedVersion

FRESH_S = 60.0
"""What the registry said counts for so long: a page is not slower than its registry each time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """A router's versions by the name that the call log has for them, and the moves of its alias in time.

    Attributes:
        problem: why it is unknown, or older than it should be; "" if it is not.
    """

    versions: Mapping[str, TrainedVersion] = field(default_factory=dict)
    moves: Sequence[Move] = ()
    problem: str = ""


class RegisteredRouter:
    """A router in the registry. Several threads may ask."""

    def __init__(self, registry: RouterRegistry, name: str) -> None:
        """Name it; nothing is sent before the first question."""
        self.name = name
        self._registry = registry
        self._said = Registration()
        self._asked = -FRESH_S
        self._lock = Lock()

    def said(self) -> Registration:
        """What the registry said within the last minute; if it does not answer, what it said before."""
        with self._lock:
            if time.monotonic() - self._asked >= FRESH_S:
                try:
                    self._said = self.ask()
                except RouterError as error:
                    self._said = Registration(
                        versions=self._said.versions, moves=self._said.moves, problem=str(error)
                    )
                self._asked = time.monotonic()
            return self._said

    def ask(self) -> Registration:
        """What the registry says now.

        Raises:
            RouterError: there is no such router, or the registry does not answer.
        """
        listed = self._registry.versions(self.name)
        return Registration(
            versions={
                one.params["policy_version"]: one
                for one in reversed(listed)
                if "policy_version" in one.params
            },
            moves=self._registry.history(self.name),
        )
