"""The colours of all pages, light and dark, and their style sheet."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files

# Each colour has a contrast of 4.5 or more to the card and to the paper of its scheme (WCAG 2.2, 1.4.3).
PALETTES: Mapping[str, Mapping[str, str]] = {
    "light": {
        "paper": "#fbfaf7",
        "card": "#ffffff",
        "ink": "#1d2126",
        "soft": "#59626b",
        "rule": "#dedcd5",
        "router": "#0a57b0",
        "band": "#d3e1f3",
        "other": "#8a4b00",
        "base": "#4d565f",
        "win": "#14683a",
        "loss": "#a8231b",
        "undecided": "#655500",
        "trade": "#573b98",
    },
    "dark": {
        "paper": "#15181b",
        "card": "#1b1f23",
        "ink": "#e7e8ea",
        "soft": "#a6aeb7",
        "rule": "#353b42",
        "router": "#79b6ff",
        "band": "#22374f",
        "other": "#eda863",
        "base": "#b1bac4",
        "win": "#76d29c",
        "loss": "#ff9d94",
        "undecided": "#e3cb70",
        "trade": "#c5b1f8",
    },
}
"""Colours of pages and charts by name, for each colour scheme."""


def style_sheet() -> str:
    """The CSS of every page."""
    return files("training.pages").joinpath("style.css").read_text(encoding="utf-8")
