"""The JSON values of a file in any layout: the elements of an array, or values one after another."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Literal

from router.errors import CallLogError

LOOKED_AT = 64 << 10
LONGEST_VALUE = 64 << 20
"""Most bytes of a record; a longer one might be a compressed bomb, and is not held in memory."""
_READ = 1 << 20
_TEXT = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_TOKEN = re.compile(_TEXT + rb'|["{}\[\],]', re.DOTALL)
_TO_BRACKET = re.compile(rb'(?:[^"{}\[\]]++|' + _TEXT + rb")*+([{}\[\]])", re.DOTALL)
"""All text up to the next bracket: inside a value only brackets matter."""
_SPACE = b" \t\r\n"
_MARK = b"\xef\xbb\xbf"


def layout_of(start: bytes) -> Literal["json", "values"]:
    """Whether a file that starts like this has one object a line ("json"), or values in another layout.

    The other layouts are an array, and objects that go over several lines. If the first line is just cut
    short, the second one begins a new object.
    """
    lines = [line.strip() for line in start.removeprefix(_MARK).split(b"\n") if line.strip()]
    if not lines:
        return "json"
    continues = len(lines) > 1 and not lines[1].startswith(b"{") and not lines[0].endswith(b"}")
    return "values" if lines[0].startswith(b"[") or lines[0] == b"{" or continues else "json"


def split_values(content: BinaryIO, path: str) -> Iterator[bytes]:
    """The text of each value, in order; an incomplete value at the end is returned as it is.

    Raises:
        CallLogError: a value is longer than `LONGEST_VALUE`.
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
    """Position of the walk through the text.

    Attributes:
        base: depth of the values: 1 inside an array, else 0; None before the first character.
        start: where the current value begins in the buffer; all before it was returned already.
        at: how far the buffer was searched for tokens.
        ready: complete values that `add` has not returned yet.
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
        while self._step():
            pass
        ready, self.ready = self.ready, []
        return ready

    def _step(self) -> bool:
        """Advance to the next token; false if it is not in the buffer yet."""
        if self.depth > (self.base or 0):
            if inner := _TO_BRACKET.match(self.buffer, self.at):
                self.at = inner.end()
                self._take(inner[1], inner.start(1))
            return inner is not None
        token = _TOKEN.search(self.buffer, self.at)
        if token is None or token.group() == b'"':  # a string that continues in the next chunk
            self.at = token.start() if token else max(self.at, len(self.buffer))
            return False
        self.at = token.end()
        self._take(token.group()[:1], token.start())
        return True

    def end(self) -> Iterator[bytes]:
        """The text after the last complete value, if there is any."""
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
                self._close(self.at)
            elif self.depth < (self.base or 0):
                self._close(place)
                self.start, self.base, self.depth = self.at, 0, 0
        elif token == b"," and self.depth == self.base:
            self._close(place)
            self.start = self.at

    def _close(self, end: int) -> None:
        text = self.buffer[self.start : end].strip(_SPACE + b",")
        self.start = end
        if text:
            self.ready.append(text)
