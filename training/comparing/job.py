"""What a comparison is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from router.settings.sections import Objective
from router.version import Version
from training.comparing.comparison import USUAL_DRAWS, Draws
from training.prompts.from_logs import ReadOptions

Method = Literal["auto", "exact", "off-policy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A promise to make: most success that may be lost to the best single model, and the confidence."""

    max_loss: float
    confidence: float = 0.95

    @staticmethod
    def of(objective: Objective) -> Wanted | None:
        """The promise in an objective; None where it makes none."""
        loss = objective.max_quality_loss
        return None if loss is None else Wanted(max_loss=loss, confidence=objective.confidence)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareJob:
    """One comparison.

    Attributes:
        routers: loaded versions by where they came from; the first is judged, the others stand beside it.
        policies: `NAME=FILE` or `NAME=MODULE:FUNCTION` of the team's own.
        today: name of the policy that runs today; None: the logged one, else the best single model.
        promise: to make and check, or None.
        show_text: the report may show the start of prompts.
        tracking_uri: MLflow that records it, or None.
        command: that asks for the same again, for the report.
    """

    sources: Sequence[str]
    routers: Mapping[str, Version]
    out: Path
    reading: ReadOptions
    policies: Sequence[str] = ()
    today: str | None = None
    method: Method = "auto"
    promise: Wanted | None = None
    show_text: bool = False
    draws: Draws = field(default_factory=lambda: USUAL_DRAWS)
    tracking_uri: str | None = None
    command: str = ""

    @property
    def judged_name(self) -> str:
        """Where the router that the comparison is about came from."""
        return next(iter(self.routers))

    @property
    def judged(self) -> Version:
        """The router that the comparison is about."""
        return self.routers[self.judged_name]

    def models(self) -> tuple[str, ...]:
        """Every model that a router chooses among, the judged router's first."""
        return tuple(dict.fromkeys(model for version in self.routers.values() for model in version.models))
