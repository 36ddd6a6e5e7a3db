"""The team's own functions, which settings name as `module:function`."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, cast

from router.errors import ConfigError


def load_function(name: str) -> Callable[..., Any]:
    """Import the function that a setting names as `module:function`.

    Raises:
        ConfigError: it can't be imported, or can't be called.
    """
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise ConfigError(f"{name!r} does not name a function: write it as 'module:function'")
    try:
        function = getattr(importlib.import_module(module), attribute, None)
    except Exception as error:  # the team's own module may raise anything
        raise ConfigError(
            f"{name}: the module {module!r} can't be imported: {type(error).__name__}: {error}; "
            "its folder must be on the import path (PYTHONPATH)"
        ) from error
    if not callable(function):
        wrong = (
            "has no such function" if function is None else f"holds {type(function).__name__}, not a function"
        )
        raise ConfigError(f"{name}: the module {module!r} {wrong}: write it as 'module:function'")
    return cast("Callable[..., Any]", function)
