"""The command that turns a call log into a file for another router."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from router.cli.console import AsJson, SettingsFile, app, one_line_text, print_json, progress_bars
from router.effort import effort_in, endpoint_of, parameters_of
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
    """Turn call logs into a file for LiteLLM's own router, for proxies that can't run a plugin."""
    offline()
    from router.settings.yaml_file import load_config
    from training.complexity_router.tier_artifact import export_tiers

    reading = reading_of(load_config(config), mapping, rejects, CACHE)
    with progress_bars() as progress:
        export = export_tiers(calls, reading, out, progress)
    if as_json:
        print_json({"format": format_, **export.to_json()})
    else:
        _show(export)


def _show(export: TierExport) -> None:
    """Print the tiers, their worth, how to use the file, and what it lacks."""
    from rich.console import Console

    from router.numbers import rate, usd_per_thousand

    console = Console(highlight=False, emoji=False, soft_wrap=True)
    lines = [
        *(
            f"{tier}: {model} ({export.chosen[tier]:,} of {export.held_out:,} held-out prompts)"
            for tier, model in export.tiers.items()
        ),
        *(
            f"{one.policy}: success {rate(one.success)} at {usd_per_thousand(one.cost_usd)} a thousand calls"
            for one in (export.worth, export.best_single)
        ),
        f"on the {export.compared:,} held-out prompts for which the outcome and the cost of both are known",
        f"written: {export.out}; add this to the model_list of the proxy's config.yaml:",
    ]
    for line in lines:
        console.print(one_line_text(line))
    console.print(_snippet(export.tiers), markup=False)
    console.print(one_line_text(export.licence))
    console.print("What it lacks beside a pointsman router:")
    for sentence in export.loses:
        console.print(one_line_text(f"- {sentence}"))


def _snippet(tiers: Mapping[str, str]) -> str:
    actions = {model: effort for model in tiers.values() if (effort := effort_in(model))}
    efforts = "".join(
        f"\n  - model_name: {json.dumps(model)}\n"
        f"    litellm_params: {json.dumps({'model': endpoint_of(model), **parameters_of(effort)})}"
        for model, effort in actions.items()
    )
    models = ", ".join(f"{tier}: {json.dumps(model)}" for tier, model in tiers.items())
    return f"""\
  - model_name: smart   # the name that applications use; the tiers' models are model_names beside it
    litellm_params:
      model: auto_router/complexity_router
      complexity_router_config:
        classifier_type: heuristic_v2
        tiers: {{{models}}}
        heuristic_v2_artifact: <the line in the file, which is also YAML>{efforts}"""
