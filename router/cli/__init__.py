"""The `pointsman` command: parse, call one function, print."""

from __future__ import annotations

import logging
import os
from typing import NoReturn

from rich.logging import RichHandler

from router.cli import (  # noqa: F401 - adds commands
    accounts,
    comparing,
    demo,
    explaining,
    exporting,
    inspecting,
    linting,
    offline,
    proxy,
    replaying,
    serving,
)
from router.cli.console import app, people
from router.errors import RouterError


def main() -> None:
    """Run the command; an error of ours ends it with one line and exit code 1."""
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    handler = RichHandler(console=people, show_path=False, show_time=False, show_level=False)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler])
    for noisy in ("mlflow", "alembic", "sentence_transformers", "transformers"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    try:
        app()
    except RouterError as error:
        _fail(error)


def _fail(error: RouterError) -> NoReturn:
    people.print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
    raise SystemExit(1)
