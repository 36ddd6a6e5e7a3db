"""The offline commands: import, train, retrain, compare, replay, inspect, export, versions, watch, demo."""

from training.commands import (
    comparing,
    demo,
    differing,
    exporting,
    inspecting,
    offline,
    replaying,
    retraining,
    versions,
    watching,
)

__all__ = [
    "comparing",
    "demo",
    "differing",
    "exporting",
    "inspecting",
    "offline",
    "replaying",
    "retraining",
    "versions",
    "watching",
]
