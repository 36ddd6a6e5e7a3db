"""Evidence that values are higher than their forecasts, or new, valid at every look."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from router.forecasting.head import SHARPNESS
from router.records import Float32Array, FloatArray

SHIFTS = (0.05, 0.1, 0.2, 0.4)
"""Excesses of the mean over its bound that are bet on, each with an equal share."""
RESTART = 50
"""Values between two starts: a long quiet past must not outweigh a change."""
_EVEN = 100
"""Starts after the first one with equal weights; later ones weigh less and less."""
_LEAST_BOUND = 0.01
SEEN = 300
"""Points before a block that say what is new."""
MOST_REFERENCE = 3000
"""Points of the reference that are used: half to know it, half to rank against."""
_BLOCK = 512


def log_evidence_of_excess(values: FloatArray, bounds: FloatArray) -> FloatArray:
    """Logarithm of an e-process against: no value's mean, given the values before it, exceeds its bound.

    If that holds, the chance that the result ever exceeds log(1 / alpha) is at most alpha, however often one
    looks (Ville 1939). From a start s, the capital is K = prod_{i >= s} (1 + lambda_i (x_i - m_i)): the
    capital process of Waudby-Smith and Ramdas (2024, JRSS B 86(1), section 4), with bets on one side and a
    bound for each value. A bet of d / (m (1 - m)) makes it, for values of 0 and 1, the likelihood ratio of
    the mean m + d. The result is a mixture over the `SHIFTS` d and over the starts 0, `RESTART`,
    2 `RESTART`, ..., with weights that sum to 1; a start that is still to come counts as 1.

    Args:
        values: shape (n,); in [0, 1], in order of time.
        bounds: shape (n,); in [0, 1].

    Returns:
        Shape (n,); after each value.

    Raises:
        ValueError: a value or a bound is unknown or outside [0, 1].
    """
    for name, given in (("values", values), ("bounds", bounds)):
        if not (known := (given >= 0) & (given <= 1)).all():
            raise ValueError(f"{name} must be in [0, 1], got {given[~known][0]}")
    block = np.arange(len(values)) // RESTART
    weights = _weights(1 + len(values) // RESTART)
    to_come = np.log1p(-np.cumsum(weights))[block]
    evidence = np.full(len(values), -np.inf)
    for shift in SHIFTS:
        bets = np.minimum(shift, 0.9 * (1 - bounds)) / (
            np.maximum(bounds, _LEAST_BOUND) * np.maximum(1 - bounds, _LEAST_BOUND)
        )
        capital = np.concatenate([[0.0], np.cumsum(np.log1p(bets * (values - bounds)))])
        started = np.logaddexp.accumulate(np.log(weights) - capital[::RESTART][: len(weights)])
        evidence = np.logaddexp(evidence, np.logaddexp(capital[1:] + started[block], to_come))
    return np.asarray(evidence - np.log(len(SHIFTS)))


def _weights(number: int) -> FloatArray:
    """Weights of the first starts: a quarter, a half spread evenly, and a quarter over all others."""
    start = np.arange(number, dtype=np.float64)
    late = _EVEN / np.maximum(start * (start - 1), 1.0) / 4
    return np.where(start == 0, 0.25, np.where(start <= _EVEN, 0.5 / _EVEN, late))


def novelty(reference: Float32Array, points: Float32Array, seed: int = 0) -> tuple[FloatArray, float]:
    """How new each point looks against a reference, to one who knows the reference and the points before it.

    The score of a point is its mean likeness to the last `SEEN` points before its block of `RESTART`, less
    that to one half of the reference: the witness function of the maximum mean discrepancy (Gretton et al.
    2012). Its rank among the scores of the other half is the value, as in conformal prediction. If points are
    drawn like the reference, whatever came before, that has a mean of one half; so the values can be bet on.

    Args:
        reference: shape (m, k), unit rows; at most `MOST_REFERENCE` are drawn.
        points: shape (n, k), unit rows, in order of time.

    Returns:
        Shape (n,), in [0, 1], one half where nothing came before; and the most that the mean rank is off
        because a finite half stands for the distribution.
    """
    order = np.random.default_rng(seed).permutation(len(reference))[:MOST_REFERENCE]
    known, ranked = np.array_split(reference[order], 2)
    base, usual = _likeness(points, known), _likeness(ranked, known)
    values = np.full(len(points), 0.5)
    for start in range(RESTART, len(points), RESTART):
        rows = slice(start, start + RESTART)
        before = points[max(0, start - SEEN) : start]
        scores = np.sort(_likeness(ranked, before) - usual)
        score = _likeness(points[rows], before) - base[rows]
        below = np.searchsorted(scores, score) + np.searchsorted(scores, score, side="right")
        values[rows] = below / (2 * len(scores))
    return values, 3 * np.sqrt(1 / (12 * max(len(ranked), 1)))


def _likeness(points: Float32Array, others: Float32Array) -> FloatArray:
    """Mean kernel exp(`SHARPNESS` cosine) of each point with the others, shape (n,)."""
    blocks = (points[at : at + _BLOCK] for at in range(0, len(points), _BLOCK))
    means = [np.exp(SHARPNESS * (block @ others.T)).mean(axis=1, dtype=np.float64) for block in blocks]
    return np.concatenate([np.zeros(0), *means])


def by_session(
    values: FloatArray, bounds: FloatArray, sessions: Sequence[str]
) -> tuple[FloatArray, FloatArray]:
    """One value a session in place of one a call, since the calls of a session are not independent.

    A session's value is its bound plus the mean excess of its calls, times its length over the longest one so
    far: so long sessions weigh what they weigh among the calls, and all values stay in [0, 1].

    Args:
        values, bounds: shape (n,); in order of time.
        sessions: of each call.

    Returns:
        Shape (n_sessions,) each, in order of the sessions' ends.
    """
    last = {session: at for at, session in enumerate(sessions)}
    place = {session: number for number, session in enumerate(sorted(last, key=last.__getitem__))}
    of = np.array([place[session] for session in sessions], dtype=np.int64)
    length = np.bincount(of)
    longest = np.maximum.accumulate(np.concatenate([np.ones(1), length]))[: len(length)]
    share = np.minimum(length, longest) / longest / length
    bound = np.bincount(of, bounds) / length
    return np.clip(bound + share * np.bincount(of, values - bounds), 0.0, 1.0), bound
