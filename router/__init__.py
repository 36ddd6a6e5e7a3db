"""Pointsman's serving side: load a trained router, which chooses a model for each prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from router.errors import RouterError
    from router.records import Decision, Request
    from router.serving.client import Router

__version__ = "0.1.0"
__all__ = ["Decision", "Request", "Router", "RouterError", "__version__"]

_HOMES = {"Router": "serving.client", "Decision": "records", "Request": "records", "RouterError": "errors"}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562: whatever the module holds
    """Import a public name when it is first used, so that `import router` costs nothing."""
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module 'router' has no attribute {name!r}")
    return getattr(import_module(f"router.{_HOMES[name]}"), name)
