"""The offline commands: import, train, compare, replay, inspect, export, demo."""

from training.commands import comparing, demo, exporting, inspecting, offline, replaying

__all__ = ["comparing", "demo", "exporting", "inspecting", "offline", "replaying"]
