"""The options of `pointsman import` for a judge model, and the question before it calls one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from router.cli.console import Stages, say
from router.numbers import dollars
from training.commands.paying import confirm_price, coverage

if TYPE_CHECKING:
    from training.judging.run import JudgeOffer

Judge = Annotated[
    str | None,
    typer.Option(
        "--judge",
        metavar="MODEL",
        help="Let a model judge a sample of the answers that no other rule judges.",
    ),
]
Rubric = Annotated[
    Path | None,
    typer.Option("--judge-rubric", help="File that describes a good answer."),
]
Most = Annotated[int | None, typer.Option("--judge-most", min=1, help="Most calls to judge; default: 500.")]
BudgetUsd = Annotated[
    float | None,
    typer.Option(
        "--judge-budget", metavar="USD", min=0, help="Most that all imports into this --out may spend."
    ),
]
Repeats = Annotated[
    int | None, typer.Option("--judge-repeats", min=1, max=25, help="Judgements of each answer; default: 1.")
]
OwnAnswers = Annotated[
    bool, typer.Option("--judge-own-answers", help="Let the judge grade answers of its own model.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show what the judge would cost; call no model and write nothing.")
]


def asked_first(progress: Stages, *, yes: bool, as_json: bool) -> Callable[[JudgeOffer], None]:
    """Return a function that shows an offer and asks whether to take it.

    The function raises:
        ConfigError: there is no terminal to ask at.
        typer.Abort: the answer is no.
    """

    def agree(offer: JudgeOffer) -> None:
        with progress.paused():
            if not as_json:
                show_offer(offer, say)
            if offer.calls and not yes:
                confirm_price(offer.calls, offer.expected_usd, offer.at_most_usd, offer.affordable)

    return agree


def show_offer(offer: JudgeOffer, say: Callable[[str], None]) -> None:
    """Say what a judge would grade, and at what price."""
    plan = offer.plan
    say(
        f"judge {plan.rule.model}: {len(plan.sample):,} of {plan.eligible:,} calls that no rule before it "
        f"decides, {plan.rule.repeats} judgement(s) of each answer"
    )
    for reason, count in plan.set_apart.items():
        say(f"  {count:,} calls are left out: {reason}")
    if offer.reused:
        say(f"  {offer.reused:,} judgements come from earlier imports")
    if offer.over_budget:
        say(f"  {offer.over_budget:,} calls are left out: they may cost more than the rest of the budget")
    say(
        f"  {offer.calls:,} calls for about {dollars(offer.expected_usd)}, at most "
        f"{dollars(offer.at_most_usd)}; of the budget of {dollars(offer.budget_usd)}, "
        f"{dollars(offer.spent_usd)} is spent: {coverage(offer.affordable, offer.calls)}"
    )
