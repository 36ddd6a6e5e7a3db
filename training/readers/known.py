"""Lists the readers: the instances in the modules here, and those of other packages."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import entry_points

import training.readers
from router.errors import ConfigError
from training.readers.protocol import Reader

ENTRY_POINTS = "pointsman.readers"
"""Each entry point of this group names a `Reader`, as `module:attribute`."""


@cache
def known_readers() -> Mapping[str, Reader]:
    """The readers by name: our own sorted by module, then those of installed packages.

    Raises:
        ConfigError: an installed package's reader can't be imported, is not a `Reader`, or has a taken name.
    """
    modules = [
        importlib.import_module(f"{training.readers.__name__}.{module.name}")
        for module in pkgutil.iter_modules(training.readers.__path__)
    ]
    own = [value for module in modules for value in vars(module).values() if isinstance(value, Reader)]
    readers = {reader.name: reader for reader in own}
    for where, reader in _installed():
        if reader.name in readers:
            raise ConfigError(
                f"{where}: the reader name {reader.name!r} is taken; rename it or uninstall its package"
            )
        readers[reader.name] = reader
    return readers


def _installed() -> Iterator[tuple[str, Reader]]:
    """Readers of other packages, each with the entry point that names it."""
    for point in entry_points(group=ENTRY_POINTS):
        where = f"{ENTRY_POINTS} entry point {point.name} = {point.value}"
        try:
            reader = point.load()
        except Exception as error:  # a foreign module may raise anything
            raise ConfigError(
                f"{where}: can't be loaded: {type(error).__name__}: {error}; fix or uninstall its package"
            ) from error
        if not isinstance(reader, Reader):
            raise ConfigError(
                f"{where}: holds {type(reader).__name__}, not a training.readers.protocol.Reader"
            )
        yield where, reader
