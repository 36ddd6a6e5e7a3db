"""The team's own functions, which settings name as `module:function`."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, cast

from router.errors import ConfigError
from router.errors.masking import HIDDEN, shown_value


def load_function(name: str) -> Callable[..., Any]:
    """Import the function that a setting names as `module:function`.

    Raises:
        ConfigError: it can't be imported, or can't be called.
    """
    module, _, attribute = name.partition(":")
    shown = HIDDEN if shown_value(f"{module}.{attribute}") == HIDDEN else name
    if not module or not attribute:
        raise ConfigError(f"{shown!r} does not name a function: write it as 'module:function'")
    try:
        function = getattr(importlib.import_module(module), attribute, None)
    except Exception as error:  # the team's own module may raise anything
        why = type(error).__name__ if shown == HIDDEN else f"{type(error).__name__}: {error}"
        raise ConfigError(
            f"{shown}: the module can't be imported: {why}; its folder must be on PYTHONPATH"
        ) from error
    if not callable(function):
        wrong = (
            "has no such function" if function is None else f"holds {type(function).__name__}, not a function"
        )
        raise ConfigError(f"{shown}: the module {wrong}: write it as 'module:function'")
    return cast("Callable[..., Any]", function)
