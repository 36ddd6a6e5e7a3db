"""Addresses of databases: whether one is a file."""

from __future__ import annotations

from pathlib import Path


def sqlite_file(address: str) -> Path | None:
    """The file of a SQLite address; None for any other address, and for a database in memory."""
    scheme, mark, rest = address.partition(":///")
    path = rest.partition("?")[0]
    is_file = mark and scheme.partition("+")[0] == "sqlite" and path not in ("", ":memory:")
    return Path(path) if is_file and not path.startswith("file:") else None
