"""Addresses as people may see them: without passwords, keys and signatures."""

from __future__ import annotations

import re

_QUERY = re.compile(r"(?i)(https?://[^\s?'\"]+\?)[^\s'\"()]+")
_CREDENTIALS = re.compile(r"//[^/\s]+@")
_SECRETS = re.compile(r"(?i)([?&][^=&\s]*(?:key|token|secret|sig|credential|password)[^=&\s]*=)[^&\s'\")]+")


def without_credentials(text: str) -> str:
    """The text with user, password and signatures taken out of the addresses in it."""
    return _SECRETS.sub(r"\1***", _CREDENTIALS.sub("//***@", text))


def without_query(path: str) -> str:
    """The address of a web page without what stands after its name, which may be a signature."""
    return path.partition("?")[0] if path.lower().startswith(("http://", "https://")) else path


def shown_address(path: str) -> str:
    """A path or an address without credentials and query."""
    return without_credentials(without_query(path))


def shown_text(text: str) -> str:
    """A text without credentials and without the queries of the web addresses in it."""
    return without_credentials(_QUERY.sub(r"\1***", text))
