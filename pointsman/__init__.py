"""Pointsman under its own name: the public names of `router` (serving) and of `training` (offline)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import router as _router

if TYPE_CHECKING:
    from router import *  # noqa: F403
    from router import __version__
    from training.api import compare as compare
    from training.api import import_calls as import_calls
    from training.api import inspect as inspect
    from training.api import replay as replay
    from training.api import train as train
    from training.comparing.evaluated import Comparison as Comparison
    from training.inspecting.gaps import LogReport as LogReport
    from training.pipeline import Imported as Imported
    from training.pipeline import Trained as Trained
    from training.replaying.run import Replayed as Replayed
else:
    __version__ = getattr(_router, "__version__", None)

if not hasattr(_router, "__path__") or not hasattr(_router, "__version__"):
    raise ImportError(
        f"{getattr(_router, '__file__', 'router')} hides pointsman's package 'router', because Python finds "
        "the application's own module of that name first: rename it, or move it into a package"
    )

__all__ = list(_router.__all__)
"""For `import *`: without the offline names, which need more packages and would hide `inspect`."""

_OFFLINE = {
    "Comparison": "comparing.evaluated",
    "Imported": "pipeline",
    "LogReport": "inspecting.gaps",
    "Replayed": "replaying.run",
    "Trained": "pipeline",
    **dict.fromkeys(("compare", "import_calls", "inspect", "replay", "train"), "api"),
}
"""Modules of the offline names."""


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562: whatever the package holds
    """Import a public name when it is first used.

    Raises:
        MissingExtra: the packages that training needs are not installed.
    """
    if name in __all__:
        return getattr(_router, name)
    if name not in _OFFLINE:
        raise AttributeError(f"module 'pointsman' has no attribute {name!r}")
    try:
        return getattr(import_module(f"training.{_OFFLINE[name]}"), name)
    except ImportError as error:
        raise _router.MissingExtra(str(error.name), "train") from error


def __dir__() -> list[str]:
    return sorted([*__all__, *_OFFLINE])
