"""Example records of each format, gathered from the modules `example_NAME` beside this one."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from router.records import Json

_FOUND = [
    importlib.import_module(f"tests.training.readers.{module.name}")
    for module in pkgutil.iter_modules([str(Path(__file__).parent)])
    if module.name.startswith("example_")
]
EXAMPLES: Mapping[str, Sequence[Json]] = {
    name: records for module in _FOUND for name, records in module.EXAMPLES.items()
}
"""Records by reader; each alone is enough to recognise the format, and the first is a call."""
COMPANIONS: Mapping[str, Sequence[Json]] = {
    name: records for module in _FOUND for name, records in getattr(module, "COMPANIONS", {}).items()
}
"""Records that a reader joins to those of `EXAMPLES`, where they stand in a file of another format."""
