"""The offline commands, from `import` and `train` to `watch` and `dashboard`."""

from training.commands import (
    comparing,
    dashboard,
    demo,
    differing,
    exporting,
    inspecting,
    membership,
    offline,
    replaying,
    retraining,
    versions,
    watching,
)

__all__ = [
    "comparing",
    "dashboard",
    "demo",
    "differing",
    "exporting",
    "inspecting",
    "membership",
    "offline",
    "replaying",
    "retraining",
    "versions",
    "watching",
]
