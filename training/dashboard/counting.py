"""The cells of spans of a log: summed by its database where that is exact, else from its rows."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from router.call_log.address import LogAddress
from router.call_log.log import read_rows
from router.call_log.marks import Span
from router.call_log.sums import SUMMED_COLUMNS, sums_of
from router.records import Json
from training.dashboard.cells import Cell, Key, by_key, cells_of, cells_of_groups

Advance = Callable[[float], None]
_AT_ONCE = 20_000
"""Calls that the database adds up in one statement, for which a writer may have to wait."""


def cells_by_span(
    url: str | Path, spans: Sequence[Span], calls: Sequence[int], advance: Advance
) -> Iterator[dict[Key, Cell]]:
    """The cells of spans that follow each other without a gap.

    Args:
        calls: about how many each span holds.
        advance: gets the number of rows read since it was last called.

    Raises:
        CallLogError: there is no such log, or it can't be read.
        MissingExtra: the database's driver is not installed.
    """
    if LogAddress.of(url).kind == "lines":
        rows = _Ahead(read_rows(url, since=spans[0][0], until=spans[-1][1], columns=SUMMED_COLUMNS), advance)
        yield from (cells_of(rows.before(span[1])) for span in spans)
        return
    parts = [
        (place, part)
        for place, (span, number) in enumerate(zip(spans, calls, strict=True))
        for part in _cut(span, 1 + number // _AT_ONCE)
    ]
    threads = min(os.cpu_count() or 1, len(parts))
    cells: list[list[tuple[Key, Cell]]] = [[] for _ in spans]
    with ThreadPoolExecutor(threads) as pool:
        for counts in pool.map(lambda first: _counts(url, parts[first::threads], advance), range(threads)):
            for place, found in counts:
                cells[place] += found.items()
    yield from map(by_key, cells)


def _counts(
    url: str | Path, parts: Sequence[tuple[int, Span]], advance: Advance
) -> list[tuple[int, dict[Key, Cell]]]:
    """The cells of each part, with its place."""
    counts = []
    for (place, part), groups in zip(parts, sums_of(url, [part for _, part in parts]), strict=True):
        try:
            cells = None if groups is None else cells_of_groups(groups)
        except ValueError:  # a row's tags are damaged
            cells = None
        if cells is None:
            cells = cells_of(read_rows(url, since=part[0], until=part[1], columns=SUMMED_COLUMNS))
        counts.append((place, cells))
        advance(sum(cell.attempts for cell in cells.values()))
    return counts


def _cut(span: Span, number: int) -> Iterator[Span]:
    """Cut a span into parts of the same length."""
    length = (span[1] - span[0]) / number
    cuts = [*(span[0] + length * place for place in range(number)), span[1]]
    return pairwise(cuts)


class _Ahead:
    """Rows in the order of time, taken span by span."""

    def __init__(self, rows: Iterator[dict[str, Json]], advance: Advance) -> None:
        self._rows, self._advance = rows, advance
        self._next: dict[str, Json] | None = next(rows, None)

    def before(self, stop: datetime) -> Iterator[dict[str, Json]]:
        """The next rows, up to a moment."""
        end = stop.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        number = 0
        while self._next is not None and self._next["time"] < end:
            yield self._next
            number += 1
            self._next = next(self._rows, None)
        self._advance(number)
