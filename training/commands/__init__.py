"""The offline commands: import, train, compare, replay, inspect, export, versions, demo."""

from training.commands import comparing, demo, differing, exporting, inspecting, offline, replaying, versions

__all__ = ["comparing", "demo", "differing", "exporting", "inspecting", "offline", "replaying", "versions"]
