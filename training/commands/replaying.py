"""The command that calls models on logged prompts that they were never tried on."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from router.cli.console import (
    AsJson,
    RouterAt,
    SettingsFile,
    Stages,
    app,
    people,
    print_json,
    progress_bars,
    say,
)
from router.numbers import dollars
from training.commands.offline import CACHE, Cache, Calls, Fields, Rejects, columns_of, offline
from training.commands.paying import (
    CALLS_FAILED,
    Concurrency,
    MaxTokens,
    Rehearsal,
    Seed,
    Yes,
    confirm_price,
    coverage,
)

if TYPE_CHECKING:
    from training.replaying.plan import ReplayOffer
    from training.replaying.run import Replayed
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
    purpose: Annotated[
        Literal["train", "judge"],
        typer.Option(
            help="train: draw from all prompts; judge: from those that the router was not trained on, since "
            "compare counts no others."
        ),
    ] = "train",
    strategy: Annotated[
        Literal["informative", "random"] | None,
        typer.Option(
            help="informative: likelier the more an outcome is worth, the default to train; random: all "
            "alike, by task type, the default to judge."
        ),
    ] = None,
    concurrency: Concurrency = 8,
    rate: Annotated[
        float | None, typer.Option(metavar="PER_MINUTE", min=0.1, help="Most calls a minute, of each model.")
    ] = None,
    max_tokens: MaxTokens = 4096,
    seed: Seed = 0,
    dry_run: Rehearsal = False,
    yes: Yes = False,
    config: SettingsFile = None,
    mapping: Fields = None,
    rejects: Rejects = None,
    cache: Cache = CACHE,
    as_json: AsJson = False,
) -> None:
    """Call the models that logged prompts were never sent to, within a budget; a stopped run resumes.

    Exit code 3: all answers are written, but calls failed or a model was given up.
    """
    api = offline()

    with progress_bars() as progress:
        replayed = api.replay(
            calls,
            router=router,
            out=out,
            budget=budget,
            models=[name.strip() for name in models.split(",") if name.strip()] if models else (),
            most=most,
            purpose=purpose,
            strategy=strategy,
            concurrency=concurrency,
            rate=rate,
            max_tokens=max_tokens,
            seed=seed,
            dry_run=dry_run,
            yes=agreement_by_terminal(progress, yes=yes, as_json=as_json),
            config=config,
            map=columns_of(mapping),
            rejects=rejects or out.with_suffix(".rejects.jsonl"),
            cache=cache,
            progress=progress,
        )
    if as_json:
        print_json(replayed.to_json())
    else:
        show_replayed(replayed)
        if replayed.done is not None and (replayed.offer.finished or replayed.done.answered):
            for line in after_replay(calls, router, out, purpose, graded=replayed.offer.graded):
                say(line)
    if replayed.calls_failed:
        raise typer.Exit(CALLS_FAILED)


def after_replay(
    calls: Sequence[str], router: str, out: Path, purpose: Literal["train", "judge"], *, graded: bool
) -> Iterator[str]:
    """What to do with answers that were paid for, as commands with the names that were given."""
    if not graded:
        terms = ["--judge", "MODEL", "--judge-budget", "USD", "--out", "judged.parquet"]
        judge = ["pointsman", "import", str(out), *terms]
        yield (
            "an answer counts once its outcome is known: declare outcome rules in the settings, or let a "
            f"model judge ({shlex.join(judge)}) and give judged.parquet below in the place of {out.name}"
        )
    both = [*calls, str(out)]
    again = {
        "train": ["train", *both, "--out", "models/next"],
        "judge": ["compare", *both, "--router", router, "--out", "report"],
    }[purpose]
    yield f"next: {shlex.join(['pointsman', *again])}"


def agreement_by_terminal(progress: Stages, *, yes: bool, as_json: bool) -> Callable[[ReplayOffer], None]:
    """A function that shows an offer and asks whether to make its calls."""

    def agree(offer: ReplayOffer) -> None:
        with progress.paused():
            if not as_json:
                _show_plan(offer, people.print, say)
            if not yes:
                cost, free = offer.cost, offer.free_usd
                usual, worst = min(cost.expected_usd, free), min(cost.at_most_usd, free)
                confirm_price(cost.calls, usual, worst, offer.affordable)

    return agree


def show_replayed(replayed: Replayed) -> None:
    """Show what calls would cost, as data, or what became of them, on standard error."""
    if replayed.done is None:
        _show_plan(replayed.offer, Console().print, print)
    elif not replayed.offer.cost.calls:
        _show_plan(replayed.offer, people.print, say)
    else:
        _show_done(replayed.done, replayed.out, replayed.offer.budget_usd)


def _show_plan(offer: ReplayOffer, show: Callable[[Table], None], print_line: Callable[[str], None]) -> None:
    """Show the calls that are left and their price: as data, or beside a question on standard error."""
    unseen = f"{offer.unseen:,} of them unseen in training"
    title = f"{offer.prompts:,} prompts, {unseen}; {offer.finished:,} calls finished before"
    table = Table(title=title)
    for name in ("model", "calls", "expected", "at most"):
        table.add_column(name, justify="left" if name == "model" else "right")
    for name, cost in [*offer.by_model.items(), ("all", offer.cost)]:
        table.add_row(name, f"{cost.calls:,}", dollars(cost.expected_usd), dollars(cost.at_most_usd))
    show(table)
    for reason, count in offer.set_apart.items():
        print_line(f"{count:,} prompts are left out: {reason}")
    print_line(
        f"budget {dollars(offer.budget_usd)}, of which {dollars(offer.spent_usd)} is spent: "
        f"{coverage(offer.affordable, offer.cost.calls)}"
    )
    if offer.cost.calls and not offer.graded:
        print_line(
            "no outcome rule of the settings can call an answer a success: these answers will count once a "
            "model judged them (`pointsman import --judge`)"
        )


def _show_done(done: CallsMade, out: Path, budget: float) -> None:
    say(
        f"{done.answered:,} calls are in {out}, for {dollars(done.cost_usd)}; {dollars(done.spent_usd)} of "
        f"{dollars(budget)} is spent"
    )
    for what, count in done.failed.items():
        say(f"{count:,} calls failed ({what}); the next run tries them again")
    for model, reason in done.given_up.items():
        say(f"{model} was given up: {reason}")
    if done.unanswered_usd:
        say(f"{dollars(done.unanswered_usd)} of that may have been billed for attempts without an answer")
    if done.over_budget:
        say(f"{done.over_budget:,} calls were not made: they might have exceeded the budget")
