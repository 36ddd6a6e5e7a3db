"""The `pointsman` command: parse, call one function, print."""

from __future__ import annotations

import logging
import os
from importlib.metadata import entry_points

from rich.logging import RichHandler

from router.cli import accounts, configuring, explaining, linting, proxy, serving, starting  # noqa: F401 - adds commands
from router.cli.console import app, people
from router.cli.ending import clean_end

COMMANDS = "pointsman.commands"
"""Entry points of this group name modules that add commands to `router.cli.console.app` when imported."""


def main() -> None:
    """Run the command.

    Exit codes: 1 for what the operator can mend (an error of pointsman, a full disk, a read-only folder), 2
    for a wrong command line, 130 after Ctrl-C; 3 and 4 belong to single commands.
    """
    with clean_end():
        _run()


def _run() -> None:
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    handler = RichHandler(console=people, show_path=False, show_time=False, show_level=False)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler])
    for noisy in ("mlflow", "alembic", "sentence_transformers", "transformers"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    _add_commands()
    app()


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
