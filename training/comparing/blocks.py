"""Columns by name: what each prompt adds to a comparison, and the sums of it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, fields, replace
from typing import ClassVar, Self

import numpy as np

from router.records import FloatArray
from training.statistics.intervals import Interval, Statistic, Sums, interval, joined


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Base of blocks, whose fields name their columns, in order.

    A field holds one column, shape (...,); each of the last `WIDE` fields holds as many columns as the other
    wide ones, shape (..., any).
    """

    WIDE: ClassVar[int] = 0

    @classmethod
    def of(cls, columns: FloatArray) -> Self:
        """The fields of what `stacked` gave, or of its sums."""
        names = [field.name for field in fields(cls)]
        narrow = len(names) - cls.WIDE
        values = [columns[..., place] for place in range(narrow)]
        if cls.WIDE:
            values += np.split(columns[..., narrow:], cls.WIDE, axis=-1)
        return cls(**dict(zip(names, values, strict=True)))

    def stacked(self) -> FloatArray:
        """All columns side by side, shape (..., n_columns)."""
        values = [np.asarray(getattr(self, field.name)) for field in fields(self)]
        narrow = len(values) - self.WIDE
        return np.concatenate([*(value[..., None] for value in values[:narrow]), *values[narrow:]], axis=-1)

    @classmethod
    def silenced(cls, sums: Sums, names: Collection[str]) -> Sums:
        """The sums with NaN in the named fields, so that every statistic of one of them is unknown."""

        def silent(columns: FloatArray) -> FloatArray:
            block = cls.of(columns)
            return replace(
                block, **{name: np.full_like(getattr(block, name), np.nan) for name in names}
            ).stacked()

        return Sums(total=silent(sums.total), draws=silent(sums.draws))

    @classmethod
    def statistic(cls, of: Callable[[Self], FloatArray]) -> Statistic:
        """A statistic of the named sums, as the intervals take it."""
        return lambda sums: of(cls.of(sums))


def ratio(above: FloatArray, below: FloatArray) -> FloatArray:
    """One over the other; NaN where `below` is not positive."""
    return np.where(below > 0, above / np.where(below > 0, below, 1), np.nan)


def paired_interval(
    one: Sums,
    other: Sums,
    statistic: Callable[[FloatArray, FloatArray], FloatArray],
    *,
    reference: float = 0.0,
) -> Interval:
    """A statistic of two blocks' sums over the same resamples, with its interval."""
    cut = len(one.total)
    return interval(joined(one, other), lambda s: statistic(s[..., :cut], s[..., cut:]), reference=reference)
