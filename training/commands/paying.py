"""What commands that spend money ask first."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from router.errors import ConfigError

if TYPE_CHECKING:
    from training.spending.budget import Affordable

CALLS_FAILED = 3
"""Exit code when what was answered is written, but calls failed or a model was given up."""


def confirm_price(calls: int, expected_usd: float, at_most_usd: float, budget: Affordable) -> None:
    """Ask whether to make calls, with their price.

    Args:
        budget: how many of them it bears.

    Raises:
        ConfigError: there is nobody to ask.
        typer.Abort: the answer is no.
    """
    price = f"about {usd(expected_usd)}, at most {usd(at_most_usd)}"
    if budget.surely < calls:
        price = f"{price} ({told_borne(budget, calls)})"
    if not sys.stdin.isatty():
        raise ConfigError(
            f"{calls} calls would cost {price}, and there is no terminal to ask at: give --yes to make them, "
            "or --dry-run to see the plan"
        )
    typer.confirm(f"Make {calls} calls for {price}?", abort=True, err=True)


def told_borne(budget: Affordable, calls: int) -> str:
    """How far a budget goes."""
    if budget.surely == calls:
        return f"the budget bears all {calls} calls"
    surely = f"the first {budget.surely}" if budget.surely else "none"
    return (
        f"of {calls} calls the budget bears {surely} for sure, and {budget.expected} if they cost what is "
        "expected"
    )


def usd(amount: float) -> str:
    """A sum for people."""
    return f"${amount:.2f}" if amount >= 1 else f"${amount:.4f}"
