"""Which readers there are: every module of this package that has a `READER`."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache

import training.readers
from training.readers.protocol import Reader


@cache
def known_readers() -> Mapping[str, Reader]:
    """The readers by name, in the order of their modules' names."""
    modules = [
        importlib.import_module(f"{training.readers.__name__}.{module.name}")
        for module in pkgutil.iter_modules(training.readers.__path__)
    ]
    found = [reader for module in modules if isinstance(reader := getattr(module, "READER", None), Reader)]
    return {reader.name: reader for reader in found}
