"""Whether a judge's repeated verdicts agree, and what judging came to."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from router.records import IntArray

Verdict: TypeAlias = Literal["success", "failure", "unclear", "unreadable", "refused"]
"""What one reply says. "unclear": the judge can't tell; "unreadable": the reply holds no single verdict;
"refused": its provider would not take the request, or it was too long for the model."""

CATEGORIES: tuple[Verdict, ...] = ("success", "failure", "unclear")
"""What a reply that can be read may say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeReport:
    """What asking the judge came to.

    Attributes:
        set_apart: calls that no rule before the judge decides and that it can't be asked about, by reason.
        eligible: calls that it might have been asked about; `sampled` of them were drawn.
        judged: calls drawn of which it says something; `succeeded` of them are successes.
        undecided: calls drawn with all their verdicts, none of which has more than half of them.
        unfinished: calls drawn that lack verdicts which would have mattered; the next import asks for them.
        left_out: failures that other rules found, of calls that the sample is without: they count as unknown.
        repeats: verdicts asked for per answer.
        compared: answers with all their verdicts, all of them readable; `unanimous` is the share of these on
            which all verdicts are the same, `kappa` is Fleiss' kappa over them. Both None where there is
            one verdict an answer, or nothing to compare; kappa as well where all verdicts are the same.
        replies: verdicts by what they say, of this import and earlier ones.
        reused: of those, the ones of earlier imports.
        failed: calls of the judge that failed, by model and kind.
        over_budget: calls that were not made because the budget could not bear their worst case.
        given_up: why the judge was called no more, by its name.
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


def majority(verdicts: Sequence[Verdict], repeats: int) -> bool | None:
    """What more than half of all `repeats` verdicts say; None where they say neither, or are not all there.

    A verdict that is missing, unclear or unreadable counts on neither side.
    """
    counts = Counter(verdicts)
    if 2 * counts["success"] > repeats:
        return True
    return False if 2 * counts["failure"] > repeats else None


def agreement(answers: Sequence[Sequence[Verdict]], repeats: int) -> tuple[int, float | None, float | None]:
    """Answers compared, the share of them on which all verdicts are the same, and Fleiss' kappa.

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
    return (
        len(counts),
        float((counts.max(axis=1) == repeats).mean()),
        None if math.isnan(kappa) else kappa,
    )


def fleiss_kappa(counts: IntArray) -> float:
    """Agreement beyond chance: 1 is perfect, 0 what chance gives, below 0 less.

    Fleiss, "Measuring nominal scale agreement among many raters", Psychological Bulletin 76 (1971): with n
    ratings of each of N subjects, n_ij of subject i in category j, P_i = (sum_j n_ij^2 - n) / (n (n - 1)),
    p_j = sum_i n_ij / (N n), P = mean of P_i, E = sum_j p_j^2, and kappa = (P - E) / (1 - E).

    Args:
        counts: shape (subjects, categories); n_ij, each row's sum the same and at least 2.

    Returns:
        NaN where all ratings are of one category: nothing tells agreement from chance then.
    """
    ratings = int(counts[0].sum())
    alike = ((counts**2).sum(axis=1) - ratings) / (ratings * (ratings - 1))
    by_chance = float(((counts.sum(axis=0) / counts.sum()) ** 2).sum())
    return math.nan if by_chance == 1.0 else (float(alike.mean()) - by_chance) / (1.0 - by_chance)
