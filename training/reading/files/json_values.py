"""The JSON values of a file however they are laid out: an array's elements, or values one after another."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Literal

from router.errors import CallLogError

LOOKED_AT = 64 << 10
LONGEST_VALUE = 512 << 20
_READ = 1 << 20
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|["{}\[\],]', re.DOTALL)
_SPACE = b" \t\r\n"
_MARK = b"\xef\xbb\xbf"


def layout_of(start: bytes) -> Literal["json", "values"]:
    """Whether a file that starts like this has one object a line.

    An array has not, nor has an object that goes on in the next line. A line that is cut short is told
    from the latter by the next line, which begins an object of its own.
    """
    lines = [line.strip() for line in start.removeprefix(_MARK).split(b"\n") if line.strip()]
    if not lines or lines[0].startswith(b"["):
        return "values" if lines else "json"
    goes_on = len(lines) > 1 and not lines[1].startswith(b"{") and not lines[0].endswith(b"}")
    return "values" if lines[0] == b"{" or goes_on else "json"


def split_values(content: BinaryIO, path: str) -> Iterator[bytes]:
    """The text of each value, in order; what is left at the end without being whole comes as it is.

    Raises:
        CallLogError: one value is longer than `LONGEST_VALUE`.
    """
    scan = _Scan()
    while chunk := content.read(max(_READ, min(len(scan.buffer), 16 * _READ))):
        yield from scan.add(chunk)
        if len(scan.buffer) > LONGEST_VALUE:
            raise CallLogError(
                f"{path}: a JSON value is longer than {LONGEST_VALUE >> 20} MiB; write one object a line"
            )
    yield from scan.end()


@dataclass(slots=True)
class _Scan:
    """Where the walk through the text is.

    Attributes:
        base: depth at which values stand: 1 inside an array; None before the first character.
        start: where the value being read begins in the buffer; what is before it has been given out.
    """

    buffer: bytes = b""
    base: int | None = None
    depth: int = 0
    start: int = 0
    at: int = 0
    ready: list[bytes] = field(default_factory=list)

    def add(self, chunk: bytes) -> list[bytes]:
        """The values that end in `chunk`."""
        self.buffer = self.buffer[self.start :] + chunk
        self.at -= self.start
        self.start = 0
        if self.base is None and not self._begin():
            return []
        for token in _TOKEN.finditer(self.buffer, self.at):
            if token.group() == b'"':
                self.at = token.start()  # a text that goes on in the next chunk
                break
            self.at = token.end()
            self._take(token.group()[:1], token.start())
        else:
            self.at = max(self.at, len(self.buffer))
        ready, self.ready = self.ready, []
        return ready

    def end(self) -> Iterator[bytes]:
        """What follows the last whole value."""
        rest = self.buffer[self.start :].strip(_SPACE + b",")
        if rest and not (self.base == 1 and self.depth < 1):
            yield rest

    def _begin(self) -> bool:
        text = self.buffer.removeprefix(_MARK).lstrip(_SPACE)
        if not text:
            return False
        self.base = int(text.startswith(b"["))
        self.at = self.start = len(self.buffer) - len(text) + self.base
        self.depth = self.base
        return True

    def _take(self, token: bytes, place: int) -> None:
        if token in b"{[":
            self.depth += 1
        elif token in b"}]":
            self.depth -= 1
            if self.depth == self.base:
                self._give(self.at)
            elif self.depth < (self.base or 0):
                self._give(place)
                self.start, self.base, self.depth = self.at, 0, 0
        elif token == b"," and self.depth == self.base:
            self._give(place)
            self.start = self.at

    def _give(self, end: int) -> None:
        text = self.buffer[self.start : end].strip(_SPACE + b",")
        self.start = end
        if text:
            self.ready.append(text)
