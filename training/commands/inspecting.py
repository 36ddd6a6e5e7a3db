"""The command that reports what a call log holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from router.cli.console import AsJson, SettingsFile, app, people, print_json, progress_bars, say
from training.commands.offline import Aliases, Calls, Fields, Rejects, aliases_of, columns_of, offline


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
    api = offline()
    from training.commands import inspection_tables as tables

    with progress_bars() as progress:
        report = api.inspect(
            sources,
            format=format_,
            html=html,
            show_text=show_text,
            config=config,
            map=columns_of(mapping),
            map_model=aliases_of(map_model),
            rejects=rejects,
            progress=progress,
        )
    if as_json:
        print_json(report.to_json())
    else:
        tables.show_inspection(report.inspection, report.missing, report.readiness.sentence)
        if report.next:
            say(f"next: {report.next}")
    if html:
        people.print(f"written: {html}", markup=False, soft_wrap=True)
