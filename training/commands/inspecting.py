"""The command that reports what a call log holds."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from router.cli.console import AsJson, SettingsFile, app, people, print_json, progress_bars
from router.settings.yaml_file import load_config
from training.commands.offline import (
    CACHE,
    Aliases,
    Calls,
    Fields,
    Rejects,
    offline,
    reading_of,
    with_aliases,
)


@app.command("inspect")
def inspect_command(
    sources: Calls,
    format_: Annotated[
        str,
        typer.Option(
            "--format", metavar="NAME", help="A reader's name, or auto: the most certain for each file."
        ),
    ] = "auto",
    html: Annotated[Path | None, typer.Option(help="Write the report as a page as well.")] = None,
    show_text: Annotated[
        bool, typer.Option("--show-text", help="Let the report show how the prompts of a template start.")
    ] = False,
    config: SettingsFile = None,
    mapping: Fields = None,
    map_model: Aliases = None,
    rejects: Rejects = None,
    as_json: AsJson = False,
) -> None:
    """Report what call logs hold, and what they lack for a good router."""
    offline()
    from training.commands import inspection_tables as tables
    from training.inspecting.gaps import missing_for_a_router, readiness_of
    from training.inspecting.inspection import InspectJob, inspect_calls
    from training.inspecting.page import write_page

    settings = with_aliases(load_config(config), map_model)
    reading = replace(reading_of(settings, mapping, rejects, CACHE), format=format_)
    job = InspectJob(sources=sources, reading=reading, show_text=show_text)
    with progress_bars() as progress:
        inspection = inspect_calls(job, progress)
    missing, ready = missing_for_a_router(inspection, sources), readiness_of(inspection, settings.training)
    if html:
        write_page(inspection, missing, html, ready.sentence)
    if as_json:
        print_json(inspection.to_json() | {"missing": missing, "readiness": asdict(ready)})
    else:
        tables.show_inspection(inspection, missing, ready.sentence)
    if html:
        people.print(f"written: {html}", markup=False, soft_wrap=True)
