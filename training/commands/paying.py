"""What the commands that spend money share: options, and the question that comes first."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from router.errors import ConfigError
from router.numbers import dollars

if TYPE_CHECKING:
    from training.spending.budget import Affordable

Concurrency = Annotated[int, typer.Option(min=1, max=256, help="Most calls in flight.")]
MaxTokens = Annotated[
    int, typer.Option(min=1, help="Longest answer, unless a model's own settings name one.")
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the sample.")]
Rehearsal = Annotated[bool, typer.Option("--dry-run", help="Show what it would cost; call no model.")]
Yes = Annotated[bool, typer.Option("--yes", help="Call without asking first.")]
CALLS_FAILED = 3
"""Exit code when all answers are written, but calls failed or a model was given up."""


def confirm_price(calls: int, expected_usd: float, at_most_usd: float, budget: Affordable) -> None:
    """Ask whether to make calls, with their price.

    Args:
        budget: number of these calls that it covers.

    Raises:
        ConfigError: there is no terminal to ask at.
        typer.Abort: the answer is no.
    """
    price = f"about {dollars(expected_usd)}, at most {dollars(at_most_usd)}"
    if budget.surely < calls:
        price = f"{price} ({coverage(budget, calls)})"
    if not sys.stdin.isatty():
        raise ConfigError(
            f"{calls:,} calls would cost {price}, and there is no terminal to ask at: give --yes to make "
            "them, or --dry-run to see the plan"
        )
    typer.confirm(f"Make {calls:,} calls for {price}?", abort=True, err=True)


def coverage(budget: Affordable, calls: int) -> str:
    """How many of the calls a budget covers, as a clause."""
    if budget.surely == calls:
        return f"the budget covers all {calls:,} calls"
    surely = f"the first {budget.surely}" if budget.surely else "none"
    return f"the budget surely covers {surely} of {calls:,} calls, and {budget.expected} at the expected cost"
