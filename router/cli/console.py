"""The application, the commands' common options, and their output."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from datetime import datetime, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer
from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from router.records import Json
    from router.version import Version

app = typer.Typer(
    help="Learn from logged LLM calls which model is the cheapest that succeeds; route each prompt there.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
WritePage: TypeAlias = Callable[[str, tuple[datetime | None, datetime | None], str, tzinfo, Path], None]
"""Writes a page on a log over a period in a time zone, which is named and given, to a file."""
html_pages: dict[str, WritePage] = {}
"""Writers of the pages of commands here, by the command's name; offline modules add them when imported."""
people = Console(stderr=True, emoji=False)
"""Standard error. Emoji codes stay text: `pointsman.yaml:100:` is a line number, not a picture."""

SettingsFile = Annotated[Path | None, typer.Option("--config", help="The team's pointsman.yaml.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts, not tables for people.")]
RouterAt = Annotated[str, typer.Option("--router", help="A router's folder, or models:/NAME@ALIAS.")]
RouterOrRules = Annotated[
    str,
    typer.Option(
        "--router", help="A router's folder, models:/NAME@ALIAS, or a pointsman.yaml: its rules alone."
    ),
]


def print_json(value: Json) -> None:
    """Print one line of JSON; an unknown number is null."""
    print(json.dumps(_plain(value), ensure_ascii=False, allow_nan=False), flush=True)


def _plain(value: Json) -> Json:
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def say(sentence: str) -> None:
    """Print a sentence on standard error."""
    people.print(sentence, markup=False, highlight=False, soft_wrap=True)


def one_line_text(text: str) -> Text:
    """Text as one plain line, without markup and terminal codes."""
    line = " ".join(text.split())
    return Text("".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in line))


class Stages:
    """Progress bars on standard error, one per stage; none if that is not a terminal."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        self.bars = Progress(*columns, console=people, disable=not people.is_terminal)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Take the bars off the terminal while a question is asked."""
        if not self.bars.disable:
            self.bars.stop()
        yield
        if not self.bars.disable:
            self.bars.start()

    def stage(self, name: str, total: float | None) -> Callable[[float], None]:
        """Start a bar and return the function that advances it, as `training.progress.Reporter` says."""
        task = self.bars.add_task(name, total=total)
        return lambda done: self.bars.advance(task, done)


@contextmanager
def progress_bars() -> Iterator[Stages]:
    """Show progress bars until the end of the block."""
    stages = Stages()
    # rich 13 ends even disabled bars with an empty line.
    with nullcontext() if stages.bars.disable else stages.bars:
        yield stages


def loaded_version(
    where: str, config: Path | None, expect: str | None = None, *, rules: bool = False
) -> Version:
    """Load a router from its folder or registry URI, for a command that calls no model.

    Args:
        rules: whether the command can also use a router of rules alone.

    Raises:
        ArtifactError, ConfigError: as `Version.load`.
    """
    from router.serving.versions import load_learned, load_version
    from router.settings.yaml_file import load_config

    settings = load_config(config) if config else None
    return load_version(where, settings, expect)[0] if rules else load_learned(where, settings, expect)
