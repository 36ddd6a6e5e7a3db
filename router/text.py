"""Text as every store, tokenizer and file takes it."""

from __future__ import annotations


def well_formed(text: str) -> str:
    """The text with U+FFFD for each lone surrogate, which Unicode can't encode."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
