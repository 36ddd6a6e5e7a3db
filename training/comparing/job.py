"""The order for one comparison."""

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
class PromiseTerms:
    """The promise to make: the most success to lose against the best single model, and the confidence."""

    max_loss: float
    confidence: float = 0.95

    @staticmethod
    def of(objective: Objective) -> PromiseTerms | None:
        """The promise in an objective, or None if it makes none."""
        loss = objective.max_quality_loss
        return None if loss is None else PromiseTerms(max_loss=loss, confidence=objective.confidence)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareJob:
    """One comparison.

    Attributes:
        routers: loaded versions by their source; the first is judged, the others are compared with it.
        policies: `NAME=FILE` or `NAME=MODULE:FUNCTION` for each of the team's own policies.
        today: name of the policy that runs today; None: the logged one, else the best single model.
        promise: to make and check, or None.
        show_text: whether the report may show the start of prompts.
        synthetic: whether the report says that the log was made up.
        monthly_requests: volume for the change per month; None: the log's own.
        tracking_uri: MLflow server that records the report, or None.
        command: command line that repeats the comparison, for the report.
    """

    sources: Sequence[str]
    routers: Mapping[str, Version]
    out: Path
    reading: ReadOptions
    policies: Sequence[str] = ()
    today: str | None = None
    method: Method = "auto"
    promise: PromiseTerms | None = None
    show_text: bool = False
    synthetic: bool = False
    monthly_requests: float | None = None
    draws: Draws = field(default_factory=lambda: USUAL_DRAWS)
    tracking_uri: str | None = None
    command: str = ""

    @property
    def judged_name(self) -> str:
        """Source of the judged router."""
        return next(iter(self.routers))

    @property
    def judged(self) -> Version:
        """The router that the comparison judges."""
        return self.routers[self.judged_name]

    def models(self) -> tuple[str, ...]:
        """Every model that a router chooses among, the judged router's first."""
        return tuple(dict.fromkeys(model for version in self.routers.values() for model in version.models))
