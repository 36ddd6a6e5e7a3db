"""The rows of a table in text (CSV, TSV), with the reason for each that can't be split."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import BinaryIO

from router.errors import CallLogError
from router.errors.masking import shown_text
from training.reading.files.json_values import LONGEST_VALUE
from training.reading.files.log_file import LongLine, lines_of, open_log

_SEPARATORS = ",;\t|"
_STATED = re.compile(r"sep=(.)\r?\n?")
"""A line above the header that some spreadsheets write, and read."""


def csv_header(path: str) -> tuple[tuple[str, ...], str]:
    """Column names of a table in text, () if it is empty; and what stands between its cells.

    That is the one of comma, semicolon, tab and bar which splits the header into most names, the first of
    them if several do, unless a line `sep=;` above the header states it.

    Raises:
        CallLogError: the header can't be split.
    """
    content, raw = open_log(path)
    with raw:
        lines = _CsvLines(content)
        filled = (line for line in lines if line.strip("\r\n"))
        try:
            first = next(filled, "")
            stated = _STATED.fullmatch(first)
            first = next(filled, "") if stated else first
            separator = stated[1] if stated else _separator(first)
            names = next(csv.reader(chain([first], lines), delimiter=separator), [])
        except csv.Error as error:
            raise CallLogError(
                f"{shown_text(path)}: the header is broken CSV ({error}); mend it, or leave the file out"
            ) from error
    return tuple(names), separator


def _separator(header: str) -> str:
    return max(_SEPARATORS, key=lambda one: len(next(csv.reader([header], delimiter=one), ())))


@dataclass(frozen=True, slots=True)
class CsvRow:
    """One row: the line in which it begins, its cells, its text, and why it can't be split."""

    line: int
    cells: Sequence[str | None]
    text: str
    problem: str | None


def csv_rows(content: BinaryIO, width: int, separator: str) -> Iterator[CsvRow]:
    """Every row including the header; a row that can't be split has only None cells, and a problem."""
    csv.field_size_limit(LONGEST_VALUE)  # the module's default of 128 KiB is too short for many prompts
    lines = _CsvLines(content)
    reader = csv.reader(lines, delimiter=separator, strict=True)
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
        if not cells or (line == 1 and _STATED.fullmatch(text)):
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
