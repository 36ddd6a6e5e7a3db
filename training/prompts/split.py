"""Which prompts train, validate and test a router; what a session links stays together."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Literal

import numpy as np

from router.errors import TrainingError
from router.records import FloatArray, IntArray

_MOST_OVER = 2.0
"""A part by time may be this many times the share asked for; a session that spans the log makes it larger."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Row numbers of the three parts, each sorted; every row is in exactly one.

    Attributes:
        by: "time": the test rows' groups end last and the validation rows' before them;
            "group": groups drawn at random.
    """

    train: IntArray
    validation: IntArray
    test: IntArray
    by: Literal["time", "group"]


def split_groups(
    groups: IntArray, times: FloatArray, *, validation_share: float, test_share: float, seed: int
) -> Split:
    """Part rows into train, validation and test, never a group.

    By time where every row has one, they differ, and the groups are short enough to fill the parts; else at
    random. A part that is asked for is never empty.

    Args:
        groups: shape (n_rows,); the group of each row.
        times: shape (n_rows,); seconds since 1970, NaN is unknown.
        validation_share: of all rows, in [0, 1); the parts come as close as whole groups allow.
        test_share: as `validation_share`.

    Raises:
        ValueError: shares that leave nothing to train on.
        TrainingError: fewer groups than parts.
    """
    if not validation_share >= 0 or not test_share >= 0 or not validation_share + test_share < 1:
        raise ValueError(f"shares must leave rows to train on, got {validation_share} and {test_share}")
    shares = (test_share, validation_share)
    names, index, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    wanted = 1 + sum(share > 0 for share in shares)
    if len(names) < wanted:
        raise TrainingError(
            f"{len(groups)} prompts in {len(names)} groups can't be split into {wanted} parts, as sessions "
            f"link them; give more of the log, or drop its session_id where it names no conversation"
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
    """A fold for each row, in [0, n_folds): a group is in one fold, and the folds are as even as that allows.

    Args:
        groups: shape (n_rows,).

    Raises:
        ValueError: fewer groups than folds, or fewer than two folds.
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
    """Part of each group, 0 for test, 1 for validation, 2 for train; None where time can't decide."""
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
    """Part of each group, filled in random order by the groups that fit; the largest one is left to train."""
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
    """At most `most` of the groups, in order, that together hold no more than `goal` rows."""
    taken: set[int] = set()
    rows = 0
    for group in groups:
        if rows + sizes[group] <= goal and len(taken) < most:
            taken.add(group)
            rows += int(sizes[group])
    return taken
