"""Pointsman under its own name: the public names of `router` (serving) and of `training` (offline)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import router as _router

if TYPE_CHECKING:
    from router import *  # noqa: F403
    from router import __version__
else:
    __version__ = getattr(_router, "__version__", None)

if not hasattr(_router, "__path__") or not hasattr(_router, "__version__"):
    raise ImportError(
        f"{getattr(_router, '__file__', 'router')} hides pointsman's package 'router', because Python finds "
        "the application's own module of that name first: rename it, or move it into a package"
    )

__all__ = list(_router.__all__)


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562: whatever the package holds
    """Import a public name when it is first used."""
    if name in __all__:
        return getattr(_router, name)
    raise AttributeError(f"module 'pointsman' has no attribute {name!r}")
