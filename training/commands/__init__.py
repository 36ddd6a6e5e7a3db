"""The offline commands: import, train, compare, replay, inspect, dashboard, export, demo."""

from training.commands import comparing, dashboard, demo, exporting, inspecting, offline, replaying

__all__ = ["comparing", "dashboard", "demo", "exporting", "inspecting", "offline", "replaying"]
