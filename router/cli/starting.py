"""The command that writes the first settings."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from router.cli.console import AsJson, app, print_json, say
from router.errors import ConfigError


@app.command("init")
def init_command(
    models: Annotated[
        list[str],
        typer.Argument(metavar="MODEL...", help="LiteLLM's names; the first is the default rule's."),
    ],
    out: Annotated[Path, typer.Option(help="The file to write.")] = Path("pointsman.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Replace the file if there is one.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a commented pointsman.yaml for some models: the first router, of rules alone."""
    from router.models.starter import starter_text

    write_new(out, starter_text(models), force=force)
    if as_json:
        print_json({"out": str(out), "models": models})
    say(f"wrote {out}: change it, then load it: pointsman route --router {out}")


def write_new(path: Path, text: str, *, force: bool) -> None:
    """Write a file whole; replace another only by force.

    Raises:
        ConfigError: there is one, or it can't be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(text, encoding="utf-8")
        path.touch(exist_ok=force)
        draft.replace(path)
    except FileExistsError as error:
        raise ConfigError(
            f"{path} exists: name another file with --out, or replace it with --force"
        ) from error
    except OSError as error:
        raise ConfigError(f"{path}: can't be written: {error.strerror}") from error
    finally:
        with suppress(OSError):
            draft.unlink()
