"""The commands that check the settings file, and describe it to editors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from router.cli.console import AsJson, app, loaded_version, print_json
from router.cli.conventions import SETTINGS_FILE, Commands

config_app = typer.Typer(cls=Commands, no_args_is_help=True, help="Check the settings file, or describe it.")
app.add_typer(config_app, name="config")


@config_app.command("check")
def check_command(
    file: Annotated[Path, typer.Argument(help="The settings file.")] = SETTINGS_FILE,
    router: Annotated[
        str | None, typer.Option(help="Check its names of models as well: a folder or models:/NAME@ALIAS.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check a settings file; the error names the key, the line, and what may stand there."""
    from router.settings.yaml_file import load_config

    config = load_config(file)
    if router is not None:
        loaded_version(router, file)
    sections = sorted(config.model_fields_set)
    if as_json:
        print_json({"file": str(file), "valid": True, "sections": sections})
    else:
        print(f"{file} is valid: {', '.join(sections) or 'all defaults'}")


@config_app.command("schema")
def schema_command(as_json: AsJson = False) -> None:
    """Print the JSON schema of the settings file, for editors that complete and check YAML."""
    from router.settings.sections import Config

    del as_json  # a schema is JSON in any case
    print_json({"$schema": "https://json-schema.org/draft/2020-12/schema", **Config.model_json_schema()})
