"""What all commands have in common: order, examples, metavars, and options with a default."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from router import __version__
from router.cli.console import app, people, say

SETTINGS_FILE = Path("pointsman.yaml")
"""The settings that a command takes from the working folder if it is given none."""
GROUPS: Mapping[str, tuple[str, ...]] = {
    "Start": ("demo", "init", "config"),
    "Learn from a log": ("inspect", "import", "train", "compare", "replay", "export"),
    "Route requests": ("route", "explain", "litellm-config", "lint"),
    "Watch": ("watch", "costs", "feedback", "dashboard"),
    "Versions": (
        "retrain",
        "add-model",
        "remove-model",
        "versions",
        "promote",
        "rollback",
        "diff",
        "version",
    ),
}
"""The commands in the order in which people need them; those of other packages come last."""
EXAMPLES: Mapping[str, str] = {
    "demo": "pointsman demo",
    "init": "pointsman init gpt-5 gpt-4.1-mini",
    "config": "pointsman config check pointsman.yaml",
    "check": "pointsman config check pointsman.yaml",
    "schema": "pointsman config schema > pointsman.schema.json",
    "inspect": "pointsman inspect spend_logs.json --html data.html",
    "import": "pointsman import 'logs/*.jsonl' --out calls.parquet --infer-tasks",
    "train": "pointsman train calls.parquet --out models/support --register support",
    "compare": "pointsman compare calls.parquet --router models/support --out report",
    "replay": "pointsman replay calls.parquet --router models/support --out replayed.jsonl --budget 5",
    "export": "pointsman export calls.parquet --format litellm-tier-artifact --out tiers.json",
    "route": "pointsman route --router models/support requests.jsonl > decisions.jsonl",
    "explain": "pointsman explain --router models/support 'Where is my order?'",
    "litellm-config": "pointsman litellm-config --router models/support --out config.yaml",
    "lint": "pointsman lint prompts/",
    "watch": "pointsman watch calls.db --router models:/support@champion",
    "costs": "pointsman costs calls.db --by day --by model",
    "feedback": "pointsman feedback calls.db CALL_ID --success",
    "dashboard": "pointsman dashboard calls.db",
    "retrain": "pointsman retrain calls.db --register support --config pointsman.yaml",
    "add-model": "pointsman add-model gpt-5-mini --router models/support --log calls.db --out new --budget 3",
    "remove-model": "pointsman remove-model gpt-4o --router models/support --out new",
    "versions": "pointsman versions support",
    "promote": "pointsman promote support 2",
    "rollback": "pointsman rollback support",
    "diff": "pointsman diff models:/support/1 models:/support/2",
    "version": "pointsman version",
}
VARIABLES = {"router": "POINTSMAN_ROUTER", "config": "POINTSMAN_CONFIG"}
"""The environment variable of each option that every command reads in the same way."""
_PLACE = {name: (panel, place) for panel, names in GROUPS.items() for place, name in enumerate(names)}
_PLAIN = {
    "bool": None, "str": "TEXT", "int": "N", "int range": "N", "float": "NUMBER", "float range": "NUMBER",
    "path": "PATH", "file": "PATH", "directory": "PATH", "FileBinaryRead": "FILE",
}  # fmt: skip
"""A plain word for the type of an option's value, by Typer's word; None: none, as of a flag."""


class Commands(TyperGroup):
    """The commands in order of use, with what they have in common."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401 - see `_set_up`
        """Names in the order of `GROUPS`."""
        panels = list(GROUPS)
        last = (len(panels), 0)
        places = {name: (panels.index(panel), place) for name, (panel, place) in _PLACE.items()}
        return sorted(super().list_commands(ctx), key=lambda name: places.get(name, last))

    def get_params(self, ctx: Any) -> list[Any]:  # noqa: ANN401 - see `_set_up`
        """The group's own options, in plain words."""
        return _in_plain_words(super().get_params(ctx))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401 - see `_set_up`
        """A command with its group, example, metavars and defaults."""
        command = super().get_command(ctx, cmd_name)
        if command is not None:
            _set_up(command, cmd_name)
        return command


def _set_up(command: Any, name: str) -> None:  # noqa: ANN401 - Typer's classes differ from version to version
    if name in _PLACE:
        command.rich_help_panel = _PLACE[name][0]
    if name in EXAMPLES:
        command.epilog = f"Example: {EXAMPLES[name]}"
    if "get_params" not in vars(command) and not isinstance(command, Commands):
        with_help = command.get_params
        command.get_params = lambda ctx: _in_plain_words(with_help(ctx))
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            parameter.metavar = (parameter.metavar or parameter.name).upper().removesuffix("...")
            parameter.get_usage_pieces = lambda ctx, one=parameter: [_usage(one)]
        if parameter.name in VARIABLES and parameter.envvar is None:
            parameter.envvar = VARIABLES[parameter.name]
        if parameter.name == "config" and not parameter.required:
            parameter.callback = _found_settings


def _usage(argument: Any) -> str:  # noqa: ANN401 - see `_set_up`
    """An argument on the line of usage: "LOG", "FILE...", "[CALL_ID]"."""
    name = argument.metavar + ("..." if argument.nargs == -1 else "")
    return name if argument.required else f"[{name}]"


def _in_plain_words(parameters: list[Any]) -> list[Any]:
    """The parameters, whose help names the types of their values as people write them."""
    for one in parameters:
        if (typed := getattr(type(one), "display_type_rich", None)) is not None:
            one.display_type_rich = lambda ctx, one=one, typed=typed: _plain(typed(one, ctx=ctx))
    return parameters


def _plain(type_: str | None) -> str | None:
    """Typer's type of a value as people write it: "<list[str]>" is "TEXT"."""
    if type_ is None:
        return None
    name = type_.removeprefix("<").removesuffix(">").removeprefix("list[").removesuffix("]")
    return _PLAIN.get(name, name)


def _found_settings(ctx: typer.Context, parameter: object, value: Path | None) -> Path | None:
    """The settings file of the working folder, if no other is given and there is one; says so."""
    if value is not None or ctx.resilient_parsing or not SETTINGS_FILE.is_file():
        return Path(value) if value is not None else None
    say(f"settings: ./{SETTINGS_FILE}")
    return SETTINGS_FILE


def _print_version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=True)
def common_options(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Log what happens inside.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print errors and data only.")] = False,
) -> None:
    """Learn from logged LLM calls which model is the cheapest that succeeds; route each prompt there."""
    del version
    loggers = [logging.getLogger(name) for name in ((None,) if quiet else ("router", "training"))]
    levels, was_quiet = [logger.level for logger in loggers], people.quiet

    def restore() -> None:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        people.quiet = was_quiet

    context.call_on_close(restore)
    people.quiet = quiet
    if verbose or quiet:
        for logger in loggers:  # of pointsman alone: other packages' lines would hide ours
            logger.setLevel(logging.ERROR if quiet else logging.INFO)
