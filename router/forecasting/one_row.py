"""The product of many rows with one vector or a few, on the caller's thread alone.

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
THREADED_TOGETHER = 262_144
"""Multiplications from which it may use them for a product of two matrices, by its `interface/gemm.c`."""
FEW = 16
"""Most vectors of one product here."""


def products(rows: NDArray[Any], vectors: NDArray[Any]) -> NDArray[Any]:
    """`rows @ vectors`, up to rounding, in blocks that are too small for threads.

    numpy calls BLAS once for each block of a stack, so no Python loop runs over the blocks.

    Args:
        rows: shape (n, dimensions); copied unless it is in C order.
        vectors: shape (dimensions,) or (dimensions, at most `FEW`).

    Returns:
        Shape (n,) or (n, number of vectors).
    """
    height = block_height(*vectors.shape)
    if len(rows) <= height:
        return np.asarray(rows @ vectors)
    whole = len(rows) // height * height
    out = np.empty((len(rows), *vectors.shape[1:]), dtype=np.result_type(rows, vectors))
    stack = rows[:whole].reshape(-1, height, rows.shape[1])
    np.matmul(stack, vectors, out=out[:whole].reshape(-1, height, *vectors.shape[1:]))
    np.matmul(rows[whole:], vectors, out=out[whole:])
    return out


class Blocks:
    """Rows whose product with one vector is needed again and again: cut into equal blocks once."""

    def __init__(self, rows: NDArray[Any]) -> None:
        """Copy the rows, shape (n, dimensions), with rows of zeros behind them up to a whole block."""
        self._count, dimensions = rows.shape
        blocks = max(1, -(-self._count // block_height(dimensions)))
        height = -(-self._count // blocks)
        self._stack = np.zeros((blocks, height, dimensions), dtype=rows.dtype)
        self._stack.reshape(-1, dimensions)[: self._count] = rows

    def __call__(self, vector: NDArray[Any]) -> NDArray[Any]:
        """`rows @ vector`, up to rounding, shape (n,)."""
        return np.asarray(np.matmul(self._stack, vector).reshape(-1)[: self._count])


def block_height(dimensions: int, vectors: int = 1) -> int:
    """Rows of one block."""
    entries = THREADED - 1 if vectors == 1 else min(THREADED, THREADED_TOGETHER // vectors) - 1
    return max(1, entries // max(1, dimensions))
