"""The rows of a CSV file, with the reason for each that can't be split."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from training.reading.files.log_file import lines_of, open_log

_LONGEST_FIELD = 1 << 26


def csv_header(path: str) -> tuple[str, ...]:
    """Column names of a CSV file; () if it is empty."""
    content, raw = open_log(path)
    with raw:
        first = next(csv.reader(_CsvLines(content, path)), [])
    return tuple(first)


@dataclass(frozen=True, slots=True)
class CsvRow:
    """One row: the line in which it begins, its cells, its text, and why it can't be split."""

    line: int
    cells: Sequence[str | None]
    text: str
    problem: str | None


def csv_rows(content: BinaryIO, path: str, width: int) -> Iterator[CsvRow]:
    """Every row including the header; a row that can't be split has only None cells, and a problem.

    Raises:
        CallLogError: a line is too long.
    """
    csv.field_size_limit(_LONGEST_FIELD)  # the module's default of 128 KiB is too short for many prompts
    lines = _CsvLines(content, path)
    reader = csv.reader(lines, strict=True)
    while True:
        line = reader.line_num + 1
        problem = None
        try:
            cells: Sequence[str | None] | None = next(reader, None)
        except csv.Error as error:
            cells, problem = [None] * width, f"row is broken CSV ({error})"
        if cells is None:
            return
        text, decoded = lines.take()
        if not cells:
            continue
        if problem is None and not decoded:
            problem = "row is not valid UTF-8"
        elif problem is None and len(cells) != width:
            problem = f"row has {len(cells)} cells, the header {width}"
        yield CsvRow(line, [None] * width if problem else cells, text, problem)


class _CsvLines:
    """Lines of a CSV file as text; keeps the text since the last row, and whether it was UTF-8."""

    def __init__(self, content: BinaryIO, path: str) -> None:
        self._lines = lines_of(content, path)
        self._number = 0
        self.held: list[str] = []
        self.undecodable = False

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            self._number += 1
            try:
                text = line.decode("utf-8-sig" if self._number == 1 else "utf-8")
            except UnicodeDecodeError:
                text = line.decode(errors="backslashreplace")
                self.undecodable = True
            self.held.append(text)
            yield text

    def take(self) -> tuple[str, bool]:
        """The text since the last `take`, and whether all of it was UTF-8."""
        taken = "".join(self.held), not self.undecodable
        self.held, self.undecodable = [], False
        return taken
