"""The command that writes what a call log teaches for other routers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from router.cli.console import AsJson, SettingsFile, app, one_line_text, print_json, progress_bars
from router.settings.yaml_file import load_config
from training.commands.offline import CACHE, Calls, Fields, Rejects, offline, reading_of

if TYPE_CHECKING:
    from training.complexity_router.tier_artifact import TierExport


@app.command("export")
def export_command(
    calls: Calls,
    out: Annotated[Path, typer.Option(help="The file to write.")],
    format_: Annotated[
        Literal["litellm-tier-artifact"],
        typer.Option("--format", help="litellm-tier-artifact: JSON for LiteLLM's heuristic_v2 classifier."),
    ],
    config: SettingsFile = None,
    mapping: Fields = None,
    rejects: Rejects = None,
    as_json: AsJson = False,
) -> None:
    """Write what call logs teach for LiteLLM's own router, where a plugin may not run."""
    offline()
    from training.complexity_router.tier_artifact import export_tiers

    reading = reading_of(load_config(config), mapping, rejects, CACHE)
    with progress_bars() as progress:
        made = export_tiers(calls, reading, out, progress)
    if as_json:
        print_json({"format": format_, **made.to_json()})
    else:
        _show(made)


def _show(made: TierExport) -> None:
    """The tiers, what they are worth, how to use the file, and what is lost."""
    from rich.console import Console

    from training.pages.numbers import rate, usd_per_thousand

    console = Console(highlight=False, emoji=False, soft_wrap=True)
    lines = [
        *(
            f"{tier}: {model} ({made.chosen[tier]:,} of {made.held_out:,} held-out prompts)"
            for tier, model in made.tiers.items()
        ),
        *(
            f"{one.policy}: success {rate(one.success)} at {usd_per_thousand(one.cost_usd)} a thousand calls"
            for one in (made.worth, made.best_single)
        ),
        f"on the {made.compared:,} held-out prompts where the outcome and the cost of both are known",
        f"written: {made.out}; it goes into the model_list of the proxy's config.yaml:",
    ]
    for line in lines:
        console.print(one_line_text(line))
    console.print(_snippet(made.tiers), markup=False)
    console.print(one_line_text(made.licence))
    console.print("What it loses against a router of pointsman's:")
    for sentence in made.loses:
        console.print(one_line_text(f"- {sentence}"))


def _snippet(tiers: Mapping[str, str]) -> str:
    named = ", ".join(f"{tier}: {json.dumps(model)}" for tier, model in tiers.items())
    return f"""\
  - model_name: smart   # what the application asks for; the tiers' models are model_names beside it
    litellm_params:
      model: auto_router/complexity_router
      complexity_router_config:
        classifier_type: heuristic_v2
        tiers: {{{named}}}
        heuristic_v2_artifact: <the line in the file, which is YAML too>"""
