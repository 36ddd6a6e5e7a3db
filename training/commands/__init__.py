"""The offline commands: import, train, compare, replay, inspect, dashboard, export, versions, demo."""

from training.commands import (
    comparing,
    dashboard,
    demo,
    differing,
    exporting,
    inspecting,
    offline,
    replaying,
    versions,
)

__all__ = [
    "comparing",
    "dashboard",
    "demo",
    "differing",
    "exporting",
    "inspecting",
    "offline",
    "replaying",
    "versions",
]
