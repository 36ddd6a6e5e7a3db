"""The rows of a CSV file, with the reason for each that can't be split."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from router.errors import CallLogError
from router.errors.masking import shown_text
from training.reading.files.json_values import LONGEST_VALUE
from training.reading.files.log_file import LongLine, lines_of, open_log


def csv_header(path: str) -> tuple[str, ...]:
    """Column names of a CSV file; () if it is empty.

    Raises:
        CallLogError: the header can't be split.
    """
    content, raw = open_log(path)
    with raw:
        try:
            first = next(csv.reader(_CsvLines(content)), [])
        except csv.Error as error:
            raise CallLogError(
                f"{shown_text(path)}: the header is broken CSV ({error}); mend it, or leave the file out"
            ) from error
    return tuple(first)


@dataclass(frozen=True, slots=True)
class CsvRow:
    """One row: the line in which it begins, its cells, its text, and why it can't be split."""

    line: int
    cells: Sequence[str | None]
    text: str
    problem: str | None


def csv_rows(content: BinaryIO, width: int) -> Iterator[CsvRow]:
    """Every row including the header; a row that can't be split has only None cells, and a problem."""
    csv.field_size_limit(LONGEST_VALUE)  # the module's default of 128 KiB is too short for many prompts
    lines = _CsvLines(content)
    reader = csv.reader(lines, strict=True)
    while True:
        line = lines.number + 1
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
    """Lines of a CSV file as text; keeps the text since the last row, and whether it was UTF-8.

    Attributes:
        number: of lines read so far.
    """

    def __init__(self, content: BinaryIO) -> None:
        self._lines = lines_of(content)
        self.number = 0
        self._size = 0
        self.held: list[str] = []
        self.undecodable = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        """The next line.

        Raises:
            csv.Error: the row is too long; the next row begins with the next line.
        """
        line = next(self._lines)
        try:
            text = line.decode("utf-8" if self.number else "utf-8-sig")
        except UnicodeDecodeError:
            text = line.decode(errors="backslashreplace")
            self.undecodable = True
        self.number += 1
        self.held.append(text)
        self._size += len(line)
        if isinstance(line, LongLine) or self._size > LONGEST_VALUE:
            raise csv.Error(f"row {LongLine.problem}")
        return text

    def take(self) -> tuple[str, bool]:
        """The text since the last `take`, and whether all of it was UTF-8."""
        taken = "".join(self.held), not self.undecodable
        self.held, self.undecodable, self._size = [], False, 0
        return taken
