"""The command that calls models on logged prompts that they were never tried on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from router.cli.console import (
    AsJson,
    RouterAt,
    SettingsFile,
    app,
    loaded_version,
    people,
    print_json,
    progress_bars,
    say,
)
from router.errors import ConfigError
from router.records import Json
from training.commands.offline import CACHE, Cache, Calls, Fields, Rejects, offline, reading_of
from training.commands.paying import CALLS_FAILED, confirm_price, coverage, usd

if TYPE_CHECKING:
    from router.settings.sections import Config
    from training.replaying.plan import ReplayCall, ReplayPlan
    from training.spending.budget import Affordable
    from training.spending.paid_calls import CallTerms
    from training.spending.tally import CallsMade

Models = Annotated[
    str | None, typer.Option("--models", metavar="NAME,NAME", help="Models to call; default: all.")
]


@app.command("replay")
def replay_command(
    calls: Calls,
    router: RouterAt,
    out: Annotated[Path, typer.Option(help="Call log (JSON lines) to append finished calls to.")],
    budget: Annotated[
        float, typer.Option(metavar="USD", min=0, help="Most that all runs with this --out may spend.")
    ],
    models: Models = None,
    most: Annotated[
        int | None, typer.Option(min=1, help="Most prompts; default: as many as the budget covers.")
    ] = None,
    strategy: Annotated[
        Literal["informative", "random"],
        typer.Option(
            help="informative: likelier the more an outcome is worth; random: all alike, by task type."
        ),
    ] = "informative",
    concurrency: Annotated[int, typer.Option(min=1, max=256, help="Most calls in flight.")] = 8,
    rate: Annotated[
        float | None, typer.Option(metavar="PER_MINUTE", min=0.1, help="Most calls a minute, of each model.")
    ] = None,
    max_tokens: Annotated[
        int, typer.Option(min=1, help="Longest answer, unless a model's own settings name one.")
    ] = 4096,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the sample.")] = 0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what it would cost; call no model.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Call without asking first.")] = False,
    config: SettingsFile = None,
    mapping: Fields = None,
    rejects: Rejects = None,
    cache: Cache = CACHE,
    as_json: AsJson = False,
) -> None:
    """Call the models that logged prompts were never sent to, within a budget; a stopped run resumes.

    Exit code 3: all answers are written, but calls failed or a model was given up.
    """
    offline()
    from training.replaying.plan import ReplayJob, plan_replay
    from training.spending.paid_calls import CallTerms

    if out.suffix != ".jsonl":
        raise ConfigError(f"--out {out}: the calls are written as JSON lines; name a file ending in .jsonl")
    version = loaded_version(router, config)
    job = ReplayJob(
        sources=calls,
        reading=reading_of(version.config, mapping, rejects or out.with_suffix(".rejects.jsonl"), cache),
        models=[name.strip() for name in models.split(",") if name.strip()] if models else (),
        most=most,
        budget_usd=budget,
        strategy=strategy,
        max_tokens=max_tokens,
        seed=seed,
    )
    with progress_bars() as progress:
        plan = plan_replay(job, version, progress)
    terms = CallTerms(out=out, budget_usd=budget, concurrency=concurrency, per_minute=rate)
    done = asked_and_made(plan, terms, version.config, dry_run=dry_run, yes=yes, as_json=as_json)
    if done is None:
        return
    if as_json:
        print_json(_replayed_json(done))
    else:
        show_done(done, out, budget)
    if done.failed or done.given_up:
        raise typer.Exit(CALLS_FAILED)


def asked_and_made(
    plan: ReplayPlan, terms: CallTerms, config: Config, *, dry_run: bool, yes: bool, as_json: bool
) -> CallsMade | None:
    """Show a plan, ask, and make its calls; None: it was a dry run, or all have been made before."""
    from training.replaying.run import replay as make_calls
    from training.replaying.run import unfinished
    from training.spending.budget import ledger_of, read_lines, spent_in

    left, budget = unfinished(plan.calls, terms.out), terms.budget_usd
    spent = spent_in(read_lines(ledger_of(terms.out)))
    if dry_run or not as_json:
        _show_plan(plan, left, budget, spent, as_json=as_json, as_data=dry_run)
    if dry_run or not left:
        return None
    if not yes:
        _confirm(left, budget, spent)
    with progress_bars() as progress:
        return make_calls(plan, terms, config, progress.stage("calling models", len(left)))


def _confirm(left: Sequence[ReplayCall], budget: float, spent: float) -> None:
    """Ask whether to make the calls, with their price.

    Raises:
        ConfigError: there is no terminal to ask at.
    """
    from training.replaying.plan import replay_cost

    cost, free = replay_cost(left), max(budget - spent, 0.0)
    covered = _covered(left, budget, spent)
    confirm_price(cost.calls, min(cost.expected_usd, free), min(cost.at_most_usd, free), covered)


def _covered(left: Sequence[ReplayCall], budget: float, spent: float) -> Affordable:
    """How many of the calls the remaining budget covers."""
    from training.spending.budget import affordable

    return affordable(budget, spent, ((call.expected_usd, call.at_most_usd) for call in left))


def _show_plan(
    plan: ReplayPlan, left: Sequence[ReplayCall], budget: float, spent: float, *, as_json: bool, as_data: bool
) -> None:
    """Show the plan: as JSON, as text on standard output, or beside a question on standard error."""
    from training.replaying.plan import cost_by_model, replay_cost

    whole, by_model = replay_cost(left), cost_by_model(left)
    covered = _covered(left, budget, spent)
    if as_json:
        print_json(
            {
                "prompts": plan.prompts,
                "calls": whole.calls,
                "finished": len(plan.calls) - len(left),
                "expected_usd": whole.expected_usd,
                "at_most_usd": whole.at_most_usd,
                "budget_usd": budget,
                "spent_usd": spent,
                "surely_borne": covered.surely,
                "expected_borne": covered.expected,
                "set_apart": dict(plan.set_apart),
                "models": {name: asdict(cost) for name, cost in by_model.items()},
            }
        )
        return
    table = Table(title=f"{plan.prompts} prompts, {len(plan.calls) - len(left)} calls finished before")
    for name in ("model", "calls", "expected", "at most"):
        table.add_column(name, justify="left" if name == "model" else "right")
    for name, cost in [*by_model.items(), ("all", whole)]:
        table.add_row(name, str(cost.calls), usd(cost.expected_usd), usd(cost.at_most_usd))
    print_plain, print_line = (Console().print, print) if as_data else (people.print, say)
    print_plain(table)
    for reason, count in plan.set_apart.items():
        print_line(f"{count} prompts are left out: {reason}")
    print_line(f"budget {usd(budget)}, of which {usd(spent)} is spent: {coverage(covered, whole.calls)}")


def show_done(done: CallsMade, out: Path, budget: float) -> None:
    """Say what calls were made, for how much, and which were not."""
    say(
        f"{done.answered} calls are in {out}, for {usd(done.cost_usd)}; {usd(done.spent_usd)} of "
        f"{usd(budget)} is spent"
    )
    for what, count in done.failed.items():
        say(f"{count} calls failed ({what}); the next run tries them again")
    for model, reason in done.given_up.items():
        say(f"{model} was given up: {reason}")
    if done.unanswered_usd:
        say(f"{usd(done.unanswered_usd)} of that may have been billed for attempts without an answer")
    if done.over_budget:
        say(f"{done.over_budget} calls were not made: they might have exceeded the budget")


def _replayed_json(done: CallsMade) -> Json:
    return {
        "answered": done.answered,
        "failed": dict(done.failed),
        "over_budget": done.over_budget,
        "given_up": dict(done.given_up),
        "cost_usd": done.cost_usd,
        "unanswered_usd": done.unanswered_usd,
        "spent_usd": done.spent_usd,
    }
