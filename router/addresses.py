"""Addresses for people to see: without passwords, keys and signatures."""

from __future__ import annotations

import re
from pathlib import Path

_QUERY = re.compile(r"(?i)(https?://[^\s?'\"]++)(\?[^\s'\"()]+)?")
_CREDENTIALS = re.compile(r"//[^/\s]+@")
_SECRETS = re.compile(
    r"(?i)([?&](?=[^=&\s]*(?:key|token|secret|sig|credential|password))[^=&\s]*+=)[^&\s'\")]+"
    r"|[?&][^=&\s]*+"
)
"""A secret parameter; or the name of another one, so that no part of a long name is looked at again."""


def without_credentials(text: str) -> str:
    """Remove user, password and signatures from the addresses in a text."""
    without_users = _CREDENTIALS.sub("//***@", text)
    return _SECRETS.sub(lambda match: f"{match[1]}***" if match[1] else match[0], without_users)


def without_query(path: str) -> str:
    """Remove the query, which may hold a signature, from a web address; other paths stay as they are."""
    return path.partition("?")[0] if path.lower().startswith(("http://", "https://")) else path


def shown_address(path: str) -> str:
    """Remove credentials and query from a path or an address."""
    return without_credentials(without_query(path))


def shown_text(text: str) -> str:
    """Remove credentials, and the queries of web addresses, from a text."""
    return without_credentials(_QUERY.sub(lambda match: f"{match[1]}?***" if match[2] else match[0], text))


def sqlite_file(address: str) -> Path | None:
    """The file of a SQLite address; None for any other address, and for a database in memory."""
    scheme, mark, rest = address.partition(":///")
    path = rest.partition("?")[0]
    is_file = mark and scheme.partition("+")[0] == "sqlite" and path not in ("", ":memory:")
    return Path(path) if is_file and not path.startswith("file:") else None
