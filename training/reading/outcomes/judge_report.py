"""The figures of a judge's work and of a grader's: how many answers, and how far to trust them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from router.records import IntArray
from training.statistics.intervals import Interval

Verdict: TypeAlias = Literal["success", "failure", "unclear", "unreadable", "refused"]
"""Content of one reply. "unclear": the judge can't tell; "unreadable": the reply does not hold exactly one
verdict; "refused": the provider refused the request, or it was too long for the model."""

CATEGORIES: tuple[Verdict, ...] = ("success", "failure", "unclear")
"""Verdicts of replies that can be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeReport:
    """Results of judging the calls of one log.

    Attributes:
        set_apart: calls that no earlier rule decides and that can't be judged, by reason.
        eligible: calls that can be judged; `sampled` of them were drawn.
        judged: sampled calls that the judge decides; `succeeded` of them are successes.
        undecided: sampled calls with all their verdicts, but without a majority for success or failure.
        unfinished: sampled calls that lack verdicts they need; the next import requests those.
        left_out: failures by other rules outside the sample; their outcomes count as unknown.
        repeats: number of verdicts per answer.
        compared: answers with all their verdicts, each of them readable. `unanimous` is the share of these
            with equal verdicts, `kappa` their Fleiss' kappa. Both are None if `repeats` is 1 or nothing can
            be compared; kappa also if all verdicts of all answers are equal.
        replies: number of replies per verdict, of this import and earlier ones.
        reused: how many of these are from earlier imports.
        failed: failed calls of the judge, by model and kind.
        over_budget: calls that were not made because their worst case exceeded the budget.
        given_up: why the judge was not called any more, by its name.
        cost_usd: of this import.
        spent_usd: of all imports into this file, out of `budget_usd`.
    """

    model: str
    set_apart: Mapping[str, int]
    eligible: int
    sampled: int
    judged: int
    succeeded: int
    undecided: int
    unfinished: int
    left_out: int
    repeats: int
    compared: int
    unanimous: float | None
    kappa: float | None
    replies: Mapping[str, int]
    reused: int
    failed: Mapping[str, int]
    over_budget: int
    given_up: Mapping[str, str]
    cost_usd: float
    spent_usd: float
    budget_usd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GraderReport:
    """Results of grading the calls of one log, on outcomes that the grader of each call did not see.

    Attributes:
        succeeded, failed: known outcomes that it learnt from.
        graded: calls with a grade, those of known outcome too.
        unread: calls without one: they failed, or the log has no whole answer.
        auc: chance that a success has a higher grade than a failure.
        bias: mean grade less success rate.
        slope: of the outcomes on the grades; 1 is calibrated, less means that grades are too extreme.
    """

    succeeded: int
    failed: int
    graded: int
    unread: int
    auc: Interval
    bias: Interval
    slope: Interval


def majority(verdicts: Sequence[Verdict], repeats: int) -> bool | None:
    """Whether more than half of `repeats` verdicts are success, or failure; None if neither.

    Verdicts that are missing, unclear or unreadable count for neither side.
    """
    counts = Counter(verdicts)
    if 2 * counts["success"] > repeats:
        return True
    return False if 2 * counts["failure"] > repeats else None


def agreement(answers: Sequence[Sequence[Verdict]], repeats: int) -> tuple[int, float | None, float | None]:
    """Number of answers compared, the share of them with equal verdicts, and Fleiss' kappa.

    Only answers with `repeats` readable verdicts are compared.
    """
    counts = np.array(
        [
            [verdicts.count(name) for name in CATEGORIES]
            for verdicts in answers
            if sum(verdict in CATEGORIES for verdict in verdicts) == repeats
        ],
        dtype=np.int64,
    ).reshape(-1, len(CATEGORIES))
    if repeats < 2 or not len(counts):
        return len(counts), None, None
    kappa = fleiss_kappa(counts)
    return (len(counts), float((counts.max(axis=1) == repeats).mean()), None if math.isnan(kappa) else kappa)


def fleiss_kappa(counts: IntArray) -> float:
    """Agreement beyond chance: 1 is perfect, 0 as by chance, below 0 less.

    Fleiss, "Measuring nominal scale agreement among many raters", Psychological Bulletin 76 (1971): with n
    ratings of each of N subjects, n_ij of subject i in category j, P_i = (sum_j n_ij^2 - n) / (n (n - 1)),
    p_j = sum_i n_ij / (N n), P = mean of P_i, E = sum_j p_j^2, and kappa = (P - E) / (1 - E).

    Args:
        counts: shape (subjects, categories); n_ij, where all rows have the same sum of at least 2.

    Returns:
        NaN if all ratings are of one category, as agreement and chance are then the same.
    """
    ratings = int(counts[0].sum())
    alike = ((counts**2).sum(axis=1) - ratings) / (ratings * (ratings - 1))
    by_chance = float(((counts.sum(axis=0) / counts.sum()) ** 2).sum())
    return math.nan if by_chance == 1.0 else (float(alike.mean()) - by_chance) / (1.0 - by_chance)
