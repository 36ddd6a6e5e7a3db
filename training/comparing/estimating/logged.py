"""Logged calls as matrices: which models each prompt met, how often, with what chance and outcome."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from router.records import BoolArray, FloatArray, IntArray
from training.prompts.table import PromptTable
from training.statistics.intervals import cluster_numbers

MOST_GAPS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """The calls of n prompts to the m models that policies choose from. NaN is unknown.

    Attributes:
        models: names of the columns.
        calls: shape (n, m); number of calls.
        traffic: shape (n,); number of calls of each prompt to any model, in `models` or not. A policy's value
            is per call of this traffic.
        success: shape (n, m); share of the calls that succeeded.
        cost: shape (n, m); mean USD a call.
        propensity: shape (n, m); harmonic mean of the logged chances, in (0, 1].
        clusters: shape (n,); rows that share a number (a session) belong together. From 0, with few gaps.
        task_types: of each prompt.
        graded: shape (n, m); mean grade of the calls' answers, known or not; None: the log has no grades.
    """

    models: tuple[str, ...]
    calls: IntArray
    traffic: FloatArray
    success: FloatArray
    cost: FloatArray
    propensity: FloatArray
    clusters: IntArray
    task_types: Sequence[str | None]
    graded: FloatArray | None = None

    def __post_init__(self) -> None:
        self._check_shapes()
        n = len(self.calls)
        if n and not ((self.traffic > 0) & (self.traffic >= self.calls.sum(axis=1))).all():
            raise ValueError("every prompt needs a call, and its traffic must count all of its calls")
        if n and not 0 <= self.clusters.min() <= self.clusters.max() < MOST_GAPS * n:
            raise ValueError(f"clusters must be numbered from 0 with few gaps, got {self.clusters.max()}")
        chance = self.propensity[np.isfinite(self.propensity)]
        if len(chance) and not (chance.min() > 0 and chance.max() <= 1):
            raise ValueError(f"propensities must be in (0, 1], got {chance.min():g} to {chance.max():g}")

    def _check_shapes(self) -> None:
        n, m = self.calls.shape
        if m != len(self.models):
            raise ValueError(f"calls have {m} columns for {len(self.models)} models")
        for name in ("success", "cost", "propensity"):
            if getattr(self, name).shape != (n, m):
                raise ValueError(f"{name} has shape {getattr(self, name).shape}, expected {(n, m)}")
        if self.graded is not None and self.graded.shape != (n, m):
            raise ValueError(f"graded has shape {self.graded.shape}, expected {(n, m)}")
        for name in ("traffic", "clusters", "task_types"):
            if len(getattr(self, name)) != n:
                raise ValueError(f"{name} has {len(getattr(self, name)):,} rows, expected {n}")

    @staticmethod
    def of(table: PromptTable, models: Sequence[str]) -> Logged:
        """The log of a table; calls to models that are not in `models` count as traffic only."""
        own = table.columns(models)
        return Logged(
            models=own.models,
            calls=own.calls,
            traffic=table.calls.sum(axis=1).astype(np.float64),
            success=own.success,
            cost=own.cost,
            propensity=own.propensity,
            clusters=cluster_numbers(own.groups)[0],
            task_types=[request.task_type for request in own.requests],
            graded=own.graded if own.graded is not None and np.isfinite(own.graded).any() else None,
        )

    @property
    def called(self) -> BoolArray:
        """Shape (n, m): whether the log holds a call."""
        return self.calls > 0

    @property
    def elsewhere(self) -> FloatArray:
        """Shape (n,): calls to models that are not in `models`."""
        return np.asarray(self.traffic - self.calls.sum(axis=1), dtype=np.float64)


def known_share(calls: IntArray, outcome: FloatArray) -> FloatArray:
    """Shape (m,): part of each model's calls whose outcome is known; 0 without calls."""
    known = np.where(np.isfinite(outcome), calls, 0).sum(axis=0)
    return np.asarray(known / np.maximum(calls.sum(axis=0), 1), dtype=np.float64)


def chosen_shares(choice: IntArray, n_models: int) -> FloatArray:
    """Shape (n, m): 1 at each row's choice; a row of zeros where the choice is -1."""
    shares = np.zeros((len(choice), n_models))
    able = np.flatnonzero(choice >= 0)
    shares[able, choice[able]] = 1.0
    return shares
