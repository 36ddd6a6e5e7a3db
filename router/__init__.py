"""Pointsman's serving side: load a trained router, which chooses a model for each prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from router.calling.reply import Response
    from router.calling.streams import AsyncStream, Stream
    from router.errors import (
        ArtifactError,
        CallFailed,
        CallLogError,
        ConfigError,
        DamagedArtifact,
        ForeignArtifact,
        MissingExtra,
        NewerArtifact,
        NoAnswer,
        NoModelAllowed,
        NothingToJudge,
        RequestError,
        RouterClosed,
        RouterError,
        StreamBroken,
        TooManyRejects,
        TrainingError,
    )  # fmt: skip
    from router.explaining.explain import Explanation
    from router.records import Decision, Request, Wishes
    from router.serving.client import Router
    from router.serving.feedback_app import FeedbackApp
    from router.settings.sections import Config

__version__ = "0.2.0"
__all__ = [
    "ArtifactError", "AsyncStream", "CallFailed", "CallLogError", "Config", "ConfigError", "DamagedArtifact",
    "Decision", "Explanation", "FeedbackApp", "ForeignArtifact", "MissingExtra", "NewerArtifact", "NoAnswer",
    "NoModelAllowed", "NothingToJudge", "Request", "RequestError", "Response", "Router", "RouterClosed",
    "RouterError", "Stream", "StreamBroken", "TooManyRejects", "TrainingError", "Wishes", "__version__",
]  # fmt: skip

_HOMES = {
    "AsyncStream": "calling.streams",
    "Config": "settings.sections",
    "Decision": "records",
    "Explanation": "explaining.explain",
    "FeedbackApp": "serving.feedback_app",
    "Request": "records",
    "Response": "calling.reply",
    "Router": "serving.client",
    "Stream": "calling.streams",
    "Wishes": "records",
}
"""Modules of the public names; the others are errors."""


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562: whatever the module holds
    """Import a public name when it is first used, so that `import router` costs nothing."""
    from importlib import import_module

    if name not in __all__:
        raise AttributeError(f"module 'router' has no attribute {name!r}")
    return getattr(import_module(f"router.{_HOMES.get(name, 'errors')}"), name)
