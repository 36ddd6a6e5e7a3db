"""The command that says what a call log holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from router.cli.console import AsJson, SettingsFile, app, people, print_json, progress_bars
from router.settings.yaml_file import load_config
from training.commands.offline import CACHE, Calls, Fields, Rejects, offline, reading_of


@app.command("inspect")
def inspect_command(
    sources: Calls,
    format_: Annotated[
        str,
        typer.Option("--format", metavar="NAME", help="A reader's name, or auto: the surest for each file."),
    ] = "auto",
    html: Annotated[Path | None, typer.Option(help="Write the report as a page, too.")] = None,
    show_text: Annotated[
        bool, typer.Option("--show-text", help="The report may show how prompts open, for templates.")
    ] = False,
    config: SettingsFile = None,
    mapping: Fields = None,
    rejects: Rejects = None,
    as_json: AsJson = False,
) -> None:
    """Say what call logs hold, and what is missing for a good router."""
    offline()
    from training.commands import inspection_tables as tables
    from training.inspecting.gaps import missing_for_a_router
    from training.inspecting.inspection import InspectJob, inspect_calls
    from training.inspecting.page import write_page

    reading = replace(reading_of(load_config(config), mapping, rejects, CACHE), format=format_)
    job = InspectJob(sources=sources, reading=reading, show_text=show_text)
    with progress_bars() as progress:
        found = inspect_calls(job, progress)
    missing = missing_for_a_router(found)
    if html:
        write_page(found, missing, html)
    if as_json:
        print_json(found.to_json() | {"missing": missing})
    else:
        tables.show_inspection(found, missing)
    if html:
        people.print(f"written: {html}", markup=False, soft_wrap=True)
