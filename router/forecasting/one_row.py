"""The product of many rows with one vector, on the caller's thread alone.

OpenBLAS splits a large product among its threads and waits for them. On a busy machine one of them may not
be scheduled for a time slice or more, and a decision of a millisecond waits for it. The number of threads is
a setting of the whole application, so it stays. Instead the products here are small: for those OpenBLAS uses
one thread.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

THREADED = 9216
"""Entries of a matrix from which OpenBLAS may use threads for its product with a vector: 2304 * 4 in its
`interface/gemv.c`; 115200 * 4 in later versions."""


def products(rows: NDArray[Any], vector: NDArray[Any]) -> NDArray[Any]:
    """`rows @ vector`, up to rounding, in blocks of fewer than `THREADED` entries.

    numpy calls BLAS once for each block of a stack, so no Python loop runs over the blocks.

    Args:
        rows: shape (n, dimensions); copied unless it is in C order.
        vector: shape (dimensions,).
    """
    if rows.size < THREADED:
        return np.asarray(rows @ vector)
    height = block_height(rows.shape[1])
    whole = len(rows) // height * height
    out = np.empty(len(rows), dtype=np.result_type(rows, vector))
    stack = rows[:whole].reshape(-1, height, rows.shape[1])
    np.matmul(stack, vector, out=out[:whole].reshape(-1, height))
    np.matmul(rows[whole:], vector, out=out[whole:])
    return out


def block_height(dimensions: int) -> int:
    """Rows of one block."""
    return max(1, (THREADED - 1) // max(1, dimensions))
