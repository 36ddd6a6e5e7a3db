"""Statistics of sums for tests of intervals."""

from __future__ import annotations

import numpy as np

from router.records import FloatArray


def mean_ratio(sums: FloatArray) -> FloatArray:
    """Mean of the first column over mean of the second; NaN if the second is 0."""
    return np.where(sums[..., 1] > 0, sums[..., 0] / np.where(sums[..., 1] > 0, sums[..., 1], 1), np.nan)


def mean_value(sums: FloatArray) -> FloatArray:
    """Mean of the first column; the second holds ones, or a mask."""
    mean: FloatArray = sums[..., 0] / sums[..., 1]
    return mean
