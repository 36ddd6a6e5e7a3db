"""Evidence that values are higher than their forecasts, valid at every look."""

from __future__ import annotations

import numpy as np

from router.records import FloatArray

SHIFTS = (0.05, 0.1, 0.2, 0.4)
"""Excesses of the mean over its bound that are bet on, each with an equal share."""
RESTART = 50
"""Values between two starts: a long quiet past must not outweigh a change."""
_EVEN = 100
"""Starts after the first one with equal weights; later ones weigh less and less."""
_LEAST_BOUND = 0.01


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
