"""Splits prompts into those that train, validate and test a router; a session is never split."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Literal

import numpy as np

from router.errors import TrainingError
from router.records import FloatArray, IntArray
from router.settings.sections import Training
from training.prompts.table import PromptTable
from training.statistics import blocks

_MOST_OVER = 2.0
"""Largest size of a part by time, as a multiple of its share: a session that spans the log inflates it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Row numbers of the three parts, each sorted; every row is in exactly one.

    Attributes:
        by: "time": groups that end last are the test part, the ones before them validation;
            "group": groups are drawn at random.
    """

    train: IntArray
    validation: IntArray
    test: IntArray
    by: Literal["time", "group"]


APART = (
    "give more of the log, or, if its session_id names no conversation, import it and give that file with "
    "--map session_id=call_id, which takes each call for one"
)
"""The way out where sessions link all prompts."""


def split_prompts(table: PromptTable, training: Training) -> Split:
    """Split the prompts of a table by the settings' shares and seed; raises as `split_groups`.

    Validation and test need no more than `AT_ONCE` prompts each; more of a larger log train.
    """
    most = blocks.AT_ONCE / max(len(table), 1)
    return split_groups(
        table.groups,
        table.times,
        validation_share=min(training.validation_share, most),
        test_share=min(training.test_share, most),
        seed=training.seed,
    )


def split_groups(
    groups: IntArray, times: FloatArray, *, validation_share: float, test_share: float, seed: int
) -> Split:
    """Split rows into train, validation and test, and never split a group.

    The split is by time if every row has a time, the times differ, and the groups are short enough to fill
    the parts; else it is random. A part with a share above 0 is never empty.

    Args:
        groups: shape (n_rows,); the group of each row.
        times: shape (n_rows,); seconds since 1970, NaN is unknown.
        validation_share: of all rows, in [0, 1); the parts come as close as whole groups allow.
        test_share: as `validation_share`.

    Raises:
        ValueError: the shares leave no rows to train on.
        TrainingError: there are fewer groups than parts.
    """
    if not validation_share >= 0 or not test_share >= 0 or not validation_share + test_share < 1:
        raise ValueError(f"shares must leave rows to train on, got {validation_share} and {test_share}")
    shares = (test_share, validation_share)
    names, index, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    n_parts = 1 + sum(share > 0 for share in shares)
    if len(names) < n_parts:
        raise TrainingError(
            f"{len(groups):,} prompts in {len(names):,} groups can't be split into {n_parts} parts, because "
            f"sessions link them; {APART}"
        )
    shuffled = np.random.default_rng(seed).permutation(len(names))
    parts = _parts_by_time(index, sizes, times, shares, shuffled)
    by: Literal["time", "group"] = "group" if parts is None else "time"
    if parts is None:
        parts = _parts_at_random(sizes, shares, shuffled)
    row_parts = parts[index]
    test, validation, train = (np.flatnonzero(row_parts == part).astype(np.int64) for part in range(3))
    return Split(train=train, validation=validation, test=test, by=by)


def folds(groups: IntArray, n_folds: int, seed: int) -> IntArray:
    """Assign each row a fold in [0, n_folds): a group stays in one fold, and folds are as even as possible.

    Args:
        groups: shape (n_rows,).

    Raises:
        ValueError: there are fewer groups than folds, or fewer than two folds.
    """
    names, index, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if not 2 <= n_folds <= len(names):
        raise ValueError(f"n_folds must be from 2 to the number of groups, {len(names)}, got {n_folds}")
    shuffled = np.random.default_rng(seed).permutation(len(names))
    largest_first = shuffled[np.argsort(-sizes[shuffled], kind="stable")]
    fold_of = np.empty(len(names), dtype=np.int64)
    filled = [(0, fold) for fold in range(n_folds)]
    for group in largest_first:
        size, fold = filled[0]
        fold_of[group] = fold
        heapq.heapreplace(filled, (size + int(sizes[group]), fold))
    return fold_of[index]


def _parts_by_time(
    index: IntArray, sizes: IntArray, times: FloatArray, shares: tuple[float, float], shuffled: IntArray
) -> IntArray | None:
    """Part of each group, 0 for test, 1 for validation, 2 for train; None if times can't decide."""
    if np.isnan(times).any() or len(np.unique(times)) < 2:
        return None
    last = np.full(len(sizes), -np.inf)
    np.maximum.at(last, index, times)
    latest_first = shuffled[np.argsort(-last[shuffled], kind="stable")]
    parts = np.full(len(sizes), 2, dtype=np.int64)
    start = 0
    for part, share in enumerate(shares):
        goal = share * len(index)
        taken = np.cumsum(sizes[latest_first[start:]])
        count = int(np.searchsorted(taken, goal)) + 1 if goal > 0 else 0
        if count and (start + count >= len(sizes) or taken[count - 1] > max(_MOST_OVER * goal, sizes.min())):
            return None
        parts[latest_first[start : start + count]] = part
        start += count
    return parts


def _parts_at_random(sizes: IntArray, shares: tuple[float, float], shuffled: IntArray) -> IntArray:
    """Part of each group: groups fill the parts in random order; the largest one always trains."""
    parts = np.full(len(sizes), 2, dtype=np.int64)
    largest = shuffled[np.argmax(sizes[shuffled])]
    left = [int(group) for group in shuffled if group != largest]
    for part, share in enumerate(shares):
        later = sum(other > 0 for other in shares[part + 1 :])
        taken = _fill(left, sizes, share * float(sizes.sum()), len(left) - later)
        if share > 0 and not taken:
            taken = {min(left, key=lambda group: int(sizes[group]))}
        parts[list(taken)] = part
        left = [group for group in left if group not in taken]
    return parts


def _fill(groups: list[int], sizes: IntArray, goal: float, most: int) -> set[int]:
    """Take up to `most` groups, in order, that together hold at most `goal` rows."""
    taken: set[int] = set()
    rows = 0
    for group in groups:
        if rows + sizes[group] <= goal and len(taken) < most:
            taken.add(group)
            rows += int(sizes[group])
    return taken
