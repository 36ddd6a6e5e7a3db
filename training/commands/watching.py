"""The command that compares a router in service with its own forecasts, as cron runs it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from router.cli.console import (
    AsJson,
    RouterAt,
    SettingsFile,
    app,
    loaded_version,
    print_json,
    progress_bars,
    say,
)
from router.errors import ConfigError
from router.numbers import rate
from training.commands.offline import CACHE, TRACKING, Cache, Calls, Fields, Tracking, offline, reading_of

if TYPE_CHECKING:
    from training.watching import Watched

ALARM = 6
"""Exit code of `watch` when something is shown not to be as forecast."""


@app.command("watch")
def watch_command(
    calls: Calls,
    router: RouterAt,
    config: SettingsFile = None,
    roll_back: Annotated[
        bool,
        typer.Option(
            "--roll-back",
            help="Move the alias back if the router as a whole is shown to succeed less than it forecast.",
        ),
    ] = False,
    traffic: Annotated[
        bool,
        typer.Option(
            "--traffic", help="Compare the prompts with those of training as well; needs their texts."
        ),
    ] = False,
    mapping: Fields = None,
    rejects: Annotated[Path | None, typer.Option(help="File for rows that can't be read.")] = None,
    cache: Cache = CACHE,
    tracking_uri: Tracking = TRACKING,
    as_json: AsJson = False,
) -> None:
    """Compare a router's calls with its forecasts; may run daily: 5 % false alarms over all looks together.

    Exit code 6: success or cost is shown to be worse than the forecast, the prompts to be others, or the
    answers of a model name another one than before.
    """
    offline()
    from router.settings.yaml_file import load_config
    from training.tracking.versions import RouterRegistry
    from training.watching import WatchJob, move_back, watch_router

    registry = RouterRegistry(tracking_uri)
    pointed = re.fullmatch(r"models:/([^/]+)@([^/@]+)", router)
    number = registry.pointed(pointed[1], pointed[2]) if pointed else None
    if roll_back and number is None:
        raise ConfigError(f"--roll-back moves an alias, and {router} names none: write models:/NAME@ALIAS")
    given = load_config(config) if config else None
    if pointed and number:
        version = registry.load(pointed[1], number, given)
    else:
        version = loaded_version(router, config)
    job = WatchJob(
        sources=calls,
        reading=reading_of(given or version.config, mapping, rejects, cache),
        version=version,
        router=router,
        name=pointed[1] if pointed else None,
        traffic=traffic,
    )
    with progress_bars() as progress:
        result = watch_router(job, progress)
    moved = None
    if roll_back and pointed and number:
        moved = move_back(result, registry, pointed[1], pointed[2], number)
    if as_json:
        print_json({**result.to_json(), "move": moved.to_json() if moved else None})
    else:
        _show(result, traffic=traffic)
        if moved:
            say(f"{router} points to version {moved.version} now, before to version {moved.previous}")
    if result.alarms:
        raise typer.Exit(ALARM)


def _show(result: Watched, *, traffic: bool) -> None:
    own = f"{result.own_calls:,} of {result.calls:,} calls are of {result.policy_version}"
    if result.own_calls:
        say(f"{own}; the rule table decided {rate(result.stepped_aside)} of them")
    else:
        say(
            f"{own}, so they can't tell whether it does as forecast: watch the log that it writes where it "
            "serves (`log.url`)"
        )
        say(f"next: {shlex.join(['pointsman', 'watch', 'SERVED_CALLS', '--router', result.router])}")
    for finding in result.findings:
        say(f"{'alarm' if finding.alarm else 'note'}: {finding.sentence}; next: {finding.next}")
    for reason in result.unknown:
        say(f"unknown: {reason}")
    if result.own_calls and not result.findings:
        prompts = " or the prompts" if traffic and not result.unknown else ""
        say(f"nothing shows that success, cost{prompts} changed; few calls show a large change only")
