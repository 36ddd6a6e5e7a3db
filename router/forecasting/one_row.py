"""The product of many rows with one vector, on the caller's thread alone.

OpenBLAS shares a large product out to its threads and waits for them; beside other load one of them is not
scheduled for a time slice or more, and a decision of a millisecond waits for it. Setting its number of
threads would be the whole application's setting. It takes one thread for a small product: these are small.
"""

from __future__ import annotations

import numpy as np

from router.records import Float32Array

THREADED = 9216
"""Entries of a matrix from which some OpenBLAS shares out its product with a vector: 2304 * 4 in its
`interface/gemv.c`; later ones do from 115200 * 4."""


def products(rows: Float32Array, vector: Float32Array) -> Float32Array:
    """`rows @ vector`, up to float32 rounding, in blocks of fewer than `THREADED` entries.

    numpy calls BLAS once for each block of a stack, so the loop over the blocks is not Python's.

    Args:
        rows: shape (n, dimensions); in C order, or it is copied.
        vector: shape (dimensions,).
    """
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
