"""The `pointsman` command: parse, call one function, print."""

from __future__ import annotations

import logging
import os
from importlib.metadata import entry_points
from typing import NoReturn

from rich.logging import RichHandler

from router.cli import accounts, explaining, linting, proxy, serving  # noqa: F401 - adds commands
from router.cli.console import app, people
from router.errors import RouterError

COMMANDS = "pointsman.commands"
"""Entry points of this group name modules that add commands to `router.cli.console.app` when imported."""


def main() -> None:
    """Run the command; a `RouterError` ends it with one line and exit code 1."""
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    handler = RichHandler(console=people, show_path=False, show_time=False, show_level=False)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler])
    for noisy in ("mlflow", "alembic", "sentence_transformers", "transformers"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    _add_commands()
    try:
        app()
    except RouterError as error:
        _fail(error)


def _add_commands() -> None:
    """Import the installed modules that add commands; warn about one that fails, and keep the others."""
    for point in entry_points(group=COMMANDS):
        try:
            point.load()
        except Exception as error:  # noqa: BLE001 - a foreign module may raise anything
            people.print(
                f"warning: the commands of {point.value!r} can't be loaded: {type(error).__name__}: {error}",
                style="yellow",
                markup=False,
                highlight=False,
            )


def _fail(error: RouterError) -> NoReturn:
    people.print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
    raise SystemExit(1)
