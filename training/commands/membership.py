"""The commands by which a model joins or leaves a trained router."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
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
from router.numbers import rate, usd_per_thousand
from training.commands.offline import (
    CACHE,
    TRACKING,
    Alias,
    Cache,
    Fields,
    Register,
    Rejects,
    Tracking,
    offline,
    reading_of,
)
from training.commands.paying import CALLS_FAILED, Concurrency, MaxTokens, Rehearsal, Seed, Yes
from training.commands.replaying import agreement_by_terminal, show_replayed

if TYPE_CHECKING:
    from router.version import Version
    from training.membership import Member, MemberJob
    from training.replaying.plan import ReplayOffer

Model = Annotated[str, typer.Argument(metavar="NAME", help="LiteLLM's name of the model, or gpt-5@low.")]
Out = Annotated[Path, typer.Option(help="Folder for the new router.")]
Logs = Annotated[
    list[str] | None,
    typer.Option("--log", metavar="CALLS", help="A call log with the prompts to serve; may be repeated."),
]


@app.command("add-model")
def add_model_command(
    model: Model,
    router: RouterAt,
    out: Out,
    budget: Annotated[
        float, typer.Option(metavar="USD", min=0, help="Most that all runs with this --replayed may spend.")
    ],
    log: Logs = None,
    prompts: Annotated[
        int, typer.Option(min=50, help="Prompts to know an outcome on, with those in the logs.")
    ] = 300,
    replayed: Annotated[
        Path | None, typer.Option(help="Call log (JSON lines) of the calls; default: beside --out.")
    ] = None,
    concurrency: Concurrency = 8,
    max_tokens: MaxTokens = 4096,
    seed: Seed = 0,
    dry_run: Rehearsal = False,
    yes: Yes = False,
    register: Register = None,
    alias: Alias = None,
    config: SettingsFile = None,
    mapping: Fields = None,
    rejects: Rejects = None,
    cache: Cache = CACHE,
    tracking_uri: Tracking = TRACKING,
    as_json: AsJson = False,
) -> None:
    """Call a new model on some of a log's prompts, and fit it beside the models of a trained router.

    Exit code 3: the router is written, but calls failed or the model was given up.
    """
    offline()
    from training.membership import Replay, add_model, check_reach, plan_addition
    from training.replaying.run import replay_agreed
    from training.spending.paid_calls import CallTerms

    if not log:
        raise ConfigError("--log is missing: name a call log with the prompts that the router serves")
    calls_log = replayed or out.with_name(f"{out.name}.replayed.jsonl")
    if calls_log.suffix != ".jsonl":
        raise ConfigError(f"--replayed {calls_log}: name a file ending in .jsonl")
    version, job = _job(
        model, router, out, log, (config, mapping, rejects, cache), (register, alias, tracking_uri)
    )
    terms = Replay(prompts=prompts, budget_usd=budget, max_tokens=max_tokens, seed=seed)
    with progress_bars() as progress:
        plan, known = plan_addition(job, terms, version, progress)
    paid = CallTerms(out=calls_log, budget_usd=budget, concurrency=concurrency)
    with progress_bars() as progress:
        ask = agreement_by_terminal(progress, yes=yes, as_json=as_json)

        def agree(offer: ReplayOffer) -> None:
            check_reach(model, known, offer, version.config)
            ask(offer)

        made = replay_agreed(plan, paid, version.config, progress, None if dry_run else agree)
    if dry_run and as_json:
        print_json(made.to_json())
    elif not as_json:
        show_replayed(made)
    if dry_run:
        return
    with progress_bars() as progress:
        show_member(add_model(job, calls_log, version, progress), [*log, str(calls_log)], as_json=as_json)
    if made.calls_failed:
        raise typer.Exit(CALLS_FAILED)


@app.command("remove-model")
def remove_model_command(
    model: Model,
    router: RouterAt,
    out: Out,
    log: Logs = None,
    register: Register = None,
    alias: Alias = None,
    config: SettingsFile = None,
    mapping: Fields = None,
    rejects: Rejects = None,
    cache: Cache = CACHE,
    tracking_uri: Tracking = TRACKING,
    as_json: AsJson = False,
) -> None:
    """Take a model out of a trained router; the forecasts for the others stay as they are."""
    offline()
    from training.membership import remove_model

    version, job = _job(
        model, router, out, log or [], (config, mapping, rejects, cache), (register, alias, tracking_uri)
    )
    with progress_bars() as progress:
        show_member(remove_model(job, version, progress), log or [], as_json=as_json)


def _job(
    model: str,
    router: str,
    out: Path,
    log: list[str],
    reading: tuple[Path | None, list[str] | None, Path | None, Path],
    registry: tuple[str | None, str | None, str],
) -> tuple[Version, MemberJob]:
    """The router, and what happens to it."""
    from training.membership import MemberJob
    from training.tracking.versions import check_registered

    (config, mapping, rejects, cache), (register, alias, tracking_uri) = reading, registry
    check_registered(alias, register)
    version = loaded_version(router, config)
    rejects = rejects or out.with_name(f"{out.name}.rejects.jsonl")
    return version, MemberJob(
        model=model,
        sources=log,
        reading=reading_of(version.config, mapping, rejects, cache),
        out=out,
        tracking_uri=tracking_uri,
        register=register,
        alias=alias,
    )


def show_member(result: Member, logs: Sequence[str], *, as_json: bool) -> None:
    """Print the change and the next command.

    Args:
        logs: to compare the new router on.
    """
    if as_json:
        print_json(result.to_json())
        return
    known = f", from {result.outcomes:,} outcomes ({rate(result.success)} succeed)" if result.outcomes else ""
    say(f"{result.model} is {result.change}{known}")
    say(f"{result.out} is {result.policy_version}; its parent is {result.parent}")
    if result.effect:
        gets = "gets" if result.change == "added" else "got"
        say(f"{result.model} {gets} {result.effect.words}")
        (after, before), (usd_after, usd_before) = result.effect.success, result.effect.usd_per_call
        say(
            f"forecast: success {rate(before)} before, {rate(after)} after; "
            f"{usd_per_thousand(usd_before)} per 1,000 calls before, {usd_per_thousand(usd_after)} after"
        )
    if result.published:
        pointed = f", and {result.alias} points to it" if result.alias else ""
        say(f"it is registered as version {result.published.version}{pointed}")
    compare = ["pointsman", "compare", *(logs or ["CALLS"]), "--router", str(result.out), "--out", "report"]
    say(f"next: {shlex.join(compare)}")
