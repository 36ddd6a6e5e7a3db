"""The command that retrains a registered router, as cron or CI runs it."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from router.cli.console import AsJson, SettingsFile, app, print_json, progress_bars, say
from training.commands.offline import (
    CACHE,
    TRACKING,
    Cache,
    Calls,
    Fields,
    Rejects,
    Tracking,
    offline,
    reading_of,
)

if TYPE_CHECKING:
    from training.retraining import Retrained

GATES_FAILED = 5
"""Exit code of `retrain` when the challenger is registered, but a gate of `promotion` fails."""


@app.command("retrain")
def retrain_command(
    calls: Calls,
    register: Annotated[str, typer.Option(help="The name that the router is registered under.")],
    out: Annotated[Path, typer.Option(help="Folder for the router, the report and the decision.")] = Path(
        "retrained"
    ),
    config: SettingsFile = None,
    first: Annotated[
        bool, typer.Option("--first", help="Promote without gates while there is no champion.")
    ] = False,
    draws: Annotated[int, typer.Option(min=100, help="Resamples behind every interval.")] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the intervals.")] = 0,
    mapping: Fields = None,
    rejects: Rejects = None,
    cache: Cache = CACHE,
    tracking_uri: Tracking = TRACKING,
    as_json: AsJson = False,
) -> None:
    """Train a challenger, compare it with the champion, and promote it if the gates of the settings hold.

    Exit code 5: a gate fails, and the champion stays.
    """
    offline()
    from router.settings.yaml_file import load_config
    from training.comparing.comparison import Draws
    from training.pipeline import TrainJob
    from training.retraining import RetrainJob, retrain

    job = TrainJob(
        sources=calls,
        out=out / "router",
        reading=reading_of(load_config(config), mapping, rejects or out / "rejects.jsonl", cache),
        tracking_uri=tracking_uri,
        register=register,
    )
    command = shlex.join(["pointsman", *sys.argv[1:]])
    with progress_bars() as progress:
        result = retrain(
            RetrainJob(
                training=job, out=out, first=first, draws=Draws(number=draws, seed=seed), command=command
            ),
            progress,
        )
    if as_json:
        print_json(result.to_json())
    else:
        _show(result, out, calls)
    if result.decision == "gates_failed":
        raise typer.Exit(GATES_FAILED)


def _show(result: Retrained, out: Path, calls: Sequence[str]) -> None:
    for gate in result.gates:
        say(f"{'holds' if gate.holds else 'fails'}: {gate.name}: {gate.reason}")
    say(f"{result.name}, version {result.challenger}: {result.summary}")
    say(f"the report is in {out / 'report'}, the decision in {out / 'decision.md'}")
    for line in after_decision(result, out, calls):
        say(line)


def after_decision(result: Retrained, out: Path, calls: Sequence[str]) -> Iterator[str]:
    """What to do after a decision, as commands; `out` and `calls` as they were given."""
    if result.decision == "promoted":
        yield "next: " + shlex.join(
            ["pointsman", "watch", *calls, "--router", f"models:/{result.name}@champion"]
        )
        return
    if result.comparison is None:
        more = [*calls, "MORE_CALLS", "--register", result.name, "--out", str(out)]
        yield "next: " + shlex.join(["pointsman", "retrain", *more])
    elif result.comparison.recommendation.code == "cannot_tell":
        yield f"next: {result.comparison.recommendation.next}"
    promote = shlex.join(["pointsman", "promote", result.name, result.challenger])
    yield f"to promote it all the same: {promote}"
