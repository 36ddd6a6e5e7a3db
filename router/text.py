"""Text as every store, tokenizer, file and reader takes it."""

from __future__ import annotations

import re
import reprlib

MUCH = 5
"""A text more than this many times too long says its length when it is cut."""
_CONTROL = "[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]"


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


def typeset(text: str) -> str:
    """Put true minus signs before the numbers of a sentence, and keep numbers and units on one line."""
    return re.sub(r"(^|[\s\[(])-(?=[$\d])", "\\1\N{MINUS SIGN}", text).replace(" %", "\N{NO-BREAK SPACE}%")


def printable(text: str) -> str:
    """Put a text from outside on one line, and drop what controls a terminal or the writing direction.

    Right-to-left text does not need such characters.
    """
    return " ".join(re.sub(_CONTROL, " ", text).split())


def shortened(text: str, longest: int = 80) -> str:
    """Make a text printable and cut it, between words if possible; a much longer one states its length."""
    line = printable(text)
    if len(line) <= longest:
        return line
    cut, length = line[: longest - 1], f" ({len(line):,} characters)" if len(line) > MUCH * longest else ""
    words = cut.rpartition(" ")[0]
    return f"{words if len(words) > longest * 0.8 else cut}…{length}"
