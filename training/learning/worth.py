"""What the test part of a training shows of its router, and what to do with it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from router.forecasting.encoder import Encoding
from router.records import FloatArray, IntArray
from router.version import Version
from training.learning.material import Material
from training.learning.thresholds import LEAST_FULL
from training.recommending import FEW, ChangeAgainst, Recommendation, RouterEvidence, recommend
from training.statistics.hull import gain_over_mix, mix_at
from training.statistics.intervals import (
    UNKNOWN,
    Interval,
    Sums,
    interval,
    mean_difference,
    resampled_sums,
    with_room,
)


def advice_on(
    version: Version,
    material: Material,
    encodings: Sequence[Encoding],
    rows: IntArray,
    calls: Sequence[str],
) -> Recommendation:
    """Say whether to deploy a router, by its decisions on the test part.

    Args:
        version: the router, as it would be served.
        encodings: of all prompts of the material.
        rows: of the test part.
        calls: the log, as it is given to a command.
    """
    router = str(version.folder)
    terms = ["--router", router, "--out", f"{router}-report"]
    if not len(rows):
        share = material.config.training.test_share
        return Recommendation(
            code="cannot_tell",
            sentence="The log can't tell: no prompt was held out to judge the router on "
            f"(training.test_share is {share:g}). Compare it on calls that training did not see.",
            next=shlex.join(["pointsman", "compare", "MORE_CALLS", *terms]),
        )
    evidence = test_part_evidence(version, material, encodings, rows, calls)
    advice = recommend(evidence)
    if evidence.refused is None:
        return advice
    # Each prompt met one model, as in most logs: a comparison can often tell what complete prompts would.
    compare = shlex.join(["pointsman", "compare", *calls, *terms])
    reason = f"The test part can't tell whether to deploy the router: {evidence.refused}."
    return replace(
        advice, sentence=f"{reason} Compare it: that also uses prompts that met one model.", next=compare
    )


def test_part_evidence(
    version: Version,
    material: Material,
    encodings: Sequence[Encoding],
    rows: IntArray,
    calls: Sequence[str],
) -> RouterEvidence:
    """Judge a router on the prompts of the test part with the outcome of every model; arguments as above."""
    table = material.table.rows(rows)
    forecast = version.forecast_from(material.features.rows(rows))
    known = np.isfinite(table.success)
    replayable = ~known.all(axis=1)
    full = np.flatnonzero(~replayable)
    missing = np.where(known, 0.0, forecast.cost)[replayable].sum(axis=1)
    decisions = version.decisions(table.requests, forecast, [encodings[row] for row in rows])
    choice = np.array([version.models.index(decision.model) for decision in decisions], dtype=np.int64)[full]
    cost = np.where(np.isfinite(table.cost), table.cost, forecast.cost)[full]
    baseline = version.models.index(version.baseline)
    judged = _Judged.of(choice, table.success[full], cost, 1 / table.drawn[full], table.groups[full])
    names = [version.models[column] for column in judged.mix]
    success, groups = judged.change(judged.success, baseline), len(np.unique(table.groups[full]))
    return RouterEvidence(
        today=ChangeAgainst(
            against=f"sending all requests to {version.baseline}, "
            f"on the {len(full):,} prompts with all outcomes known",
            success=success if (choice == baseline).all() else with_room(success, groups),
            cost=judged.change(judged.cost, baseline),
            usd_per_call=float(judged.mean(judged.cost)[1 + baseline]) if len(full) else np.nan,
        ),
        mix_gain=judged.gain,
        mix=tuple(names),
        one_model=version.models[choice[0]] if len(full) and (choice == choice[0]).all() else None,
        prompts=len(full),
        groups=groups,
        refused=_refused(len(full), int(known.any(axis=1).sum())),
        replayable=int(replayable.sum()),
        usd_per_prompt=float(missing.mean()) if len(missing) else np.nan,
        calls=calls,
        router=str(version.folder),
        known=known.sum(axis=0).tolist(),
    )


def _refused(full: int, partial: int) -> str | None:
    """Why the prompts with every outcome do not stand for the test part; None if they do."""
    if full >= FEW and (2 * full >= partial or full >= LEAST_FULL):
        return None
    return f"{full:,} of its {partial:,} prompts have the outcome of every model"


class _Judged:
    """Sums over prompts and their resamples: of the router, then of each model alone."""

    success = 0
    cost = 1

    def __init__(self, sums: Sums, models: int) -> None:
        self._sums, self._models = sums, models

    @classmethod
    def of(
        cls, choice: IntArray, success: FloatArray, cost: FloatArray, weight: FloatArray, groups: IntArray
    ) -> _Judged:
        """Resample the sessions of prompts with these outcomes."""
        rows = np.arange(len(choice))
        columns = [np.column_stack([part[rows, choice], part]) for part in (success, cost)]
        whole = np.column_stack([*columns, np.ones(len(rows))]) * weight[:, None]
        return cls(resampled_sums(whole, groups), success.shape[1]) if len(rows) else cls(_NOTHING, 0)

    def mean(self, part: int, sums: FloatArray | None = None) -> FloatArray:
        """Means of the router and each model."""
        sums = self._sums.total if sums is None else sums
        width = 1 + self._models
        mean: FloatArray = sums[..., part * width : (part + 1) * width] / sums[..., -1:]
        return mean

    def change(self, part: int, model: int) -> Interval:
        """The router less one model alone."""
        if not self._models:
            return UNKNOWN
        at = part * (1 + self._models)
        place = [at, at + 1 + model, -1]
        return interval(
            Sums(total=self._sums.total[place], draws=self._sums.draws[:, place]), mean_difference
        )

    @property
    def gain(self) -> Interval:
        """The router's success less that of the best mix of single models at its cost."""
        known = self._models and np.isfinite(self._sums.total).all()
        return interval(self._sums, self._gain) if known else UNKNOWN

    def _gain(self, sums: FloatArray) -> FloatArray:
        success, cost = self.mean(self.success, sums), self.mean(self.cost, sums)
        return gain_over_mix((cost[..., 0], success[..., 0]), cost[..., 1:], success[..., 1:])

    @property
    def mix(self) -> list[int]:
        """Columns of the models of that mix."""
        if not self._models or not np.isfinite(self._sums.total).all():
            return []
        success, cost = self.mean(self.success), self.mean(self.cost)
        return mix_at(float(cost[0]), cost[1:], success[1:])


_NOTHING = Sums(total=np.empty(1), draws=np.empty((0, 1)))
