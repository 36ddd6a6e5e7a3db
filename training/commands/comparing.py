"""The command that compares a router with every baseline."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from router.cli.console import AsJson, SettingsFile, app, people, print_json, progress_bars
from training.commands.offline import (
    CACHE,
    TRACKING,
    Aliases,
    Cache,
    Calls,
    Fields,
    Rejects,
    Tracking,
    aliases_of,
    columns_of,
    offline,
    tables_module,
)

GATE = 4
"""Exit code of `compare` when the report is written but a `--fail-if` condition holds."""

Routers = Annotated[
    list[str],
    typer.Option(
        "--router",
        help="A router's folder, or models:/NAME@ALIAS. Repeat the option to show other routers beside the "
        "first, which is the one compared.",
    ),
]
Policies = Annotated[
    list[str] | None,
    typer.Option(
        "--policy",
        metavar="NAME=FILE",
        help="Your own policy: choices.jsonl, module:function, or the name of an entry point.",
    ),
]
FailIf = Annotated[
    list[str] | None,
    typer.Option(
        "--fail-if",
        metavar="CONDITION",
        help='Exit with 4 if it holds, for example "cost_at_equal_quality.ci_high > 1"; paths are those of '
        "report.json.",
    ),
]


@app.command("compare")
def compare_command(
    calls: Calls,
    router: Routers,
    out: Annotated[Path, typer.Option(help="Folder for report.html and report.json.")],
    config: SettingsFile = None,
    policy: Policies = None,
    today: Annotated[
        str | None,
        typer.Option(help="Policy that runs today; default: the logged one, or the best model."),
    ] = None,
    method: Annotated[
        Literal["auto", "exact", "off-policy"],
        typer.Option(help="exact needs the outcome of every model on a prompt, off-policy of one."),
    ] = "auto",
    max_quality_loss: Annotated[
        float | None, typer.Option(help="Promise a success rate at most this far below the best model's.")
    ] = None,
    confidence: Annotated[
        float | None, typer.Option(help="Confidence of that promise; default: 0.95.")
    ] = None,
    fail_if: FailIf = None,
    show_text: Annotated[
        bool, typer.Option("--show-text", help="Let the report show the start of some prompts.")
    ] = False,
    synthetic: Annotated[
        bool, typer.Option("--synthetic", help="Say on the report that the log was made up.")
    ] = False,
    monthly_requests: Annotated[
        float | None, typer.Option(min=0, help="Volume for the change per month; default: the log's own.")
    ] = None,
    draws: Annotated[int, typer.Option(min=100, help="Resamples behind every interval.")] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all random draws.")] = 0,
    mapping: Fields = None,
    map_model: Aliases = None,
    rejects: Rejects = None,
    cache: Cache = CACHE,
    tracking_uri: Tracking = TRACKING,
    record: Annotated[bool, typer.Option("--record/--no-record", help="Record the report in MLflow.")] = True,
    as_json: AsJson = False,
) -> None:
    """Compare a router with every simple baseline on logged calls, with error bars."""
    api = offline()
    from training.comparing.report.gate import failures, parse_gate

    gates = [parse_gate(condition) for condition in fail_if or ()]
    with progress_bars() as progress:
        comparison = api.compare(
            router,
            calls,
            out=out,
            config=config,
            policy=policy or (),
            today=today,
            method=method,
            max_quality_loss=max_quality_loss,
            confidence=confidence,
            show_text=show_text,
            synthetic=synthetic,
            monthly_requests=monthly_requests,
            draws=draws,
            seed=seed,
            map=columns_of(mapping),
            map_model=aliases_of(map_model),
            rejects=rejects or out / "rejects.jsonl",
            cache=cache,
            tracking_uri=tracking_uri,
            record=record,
            command=shlex.join(["pointsman", *sys.argv[1:]]),
            progress=progress,
        )
    if as_json:
        print_json(comparison.to_json())
    else:
        tables_module().comparison(comparison, out)
    failed = failures(gates, comparison.to_json())
    for sentence in failed:
        people.print(f"failed: {sentence}", style="red", highlight=False, markup=False, soft_wrap=True)
    if failed:
        raise typer.Exit(GATE)
