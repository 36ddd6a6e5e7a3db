"""Rows that are too many for memory: kept on disk, and read or made a block at a time."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from router.records import Float32Array, IntArray

AT_ONCE = 50_000
"""Prompts that are in memory at once. Up to so many, all work is on whole arrays; choices rest on so many."""
BLOCK = 8_192

Index = IntArray | slice


def blocks(count: int) -> Iterator[slice]:
    """Slices that cover `count` rows: one if they are few enough for memory."""
    size = max(count, 1) if count <= AT_ONCE else BLOCK
    return (slice(start, min(start + size, count)) for start in range(0, max(count, 1), size))


def evenly(count: int, most: int | None = None) -> IntArray:
    """Rows of `count`, at most `most` (`AT_ONCE`), evenly spread."""
    most = AT_ONCE if most is None else most
    return np.linspace(0, count - 1, min(count, most)).astype(np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Streamed:
    """A matrix whose rows are made when they are read.

    Attributes:
        read: the rows at an index.
    """

    shape: tuple[int, int]
    read: Callable[[Index], NDArray[Any]]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Index) -> NDArray[Any]:
        return self.read(rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class OnDisk:
    """Some rows of a float32 matrix in a file without a name, which goes with its last reader.

    An index selects rows; NumPy reads them where it needs an array.
    """

    file: IO[bytes]
    index: IntArray
    width: int

    @staticmethod
    def of(parts: Iterable[Float32Array]) -> OnDisk:
        """Write parts, shape (n_rows, width) each, one after the other; there is at least one."""
        file = tempfile.TemporaryFile(prefix="pointsman-")  # noqa: SIM115 - lives as long as its readers
        count = width = 0
        for part in parts:
            file.write(part.astype(np.float32, copy=False).tobytes())
            count, width = count + len(part), part.shape[1]
        file.flush()
        return OnDisk(file=file, index=np.arange(count), width=width)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and of columns."""
        return len(self.index), self.width

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, rows: Index) -> OnDisk:
        return OnDisk(file=self.file, index=self.index[rows], width=self.width)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:  # noqa: ANN401 - NumPy's
        # A map of its own, so that the pages that were read leave the process's memory with it.
        whole = np.memmap(self.file, np.float32, "r").reshape(-1, self.width)
        return np.asarray(whole[self.index], dtype=dtype)
