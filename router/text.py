"""Text as every store, tokenizer and file takes it."""

from __future__ import annotations

import reprlib


class _Shown(reprlib.Repr):
    def repr_int(self, value: int, level: int) -> str:
        """Name the size of a number that Python refuses to write out."""
        return repr(value) if value.bit_length() < 200 else f"a whole number of {value.bit_length()} bits"


_shown = _Shown()
_shown.maxstring = _shown.maxother = 100


def shown(value: object) -> str:
    """A value for an error message: a short form of any value, however large or deep."""
    return _shown.repr(value)


def well_formed(text: str) -> str:
    """The text with U+FFFD for each lone surrogate, which Unicode can't encode."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
