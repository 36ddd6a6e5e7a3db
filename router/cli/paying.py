"""What commands that spend money ask first."""

from __future__ import annotations

import sys

import typer

from router.errors import ConfigError

CALLS_FAILED = 3
"""Exit code when what was answered is written, but calls failed or a model was given up."""


def confirm_price(calls: int, expected_usd: float, at_most_usd: float) -> None:
    """Ask whether to make calls, with their price.

    Raises:
        ConfigError: there is nobody to ask.
        typer.Abort: the answer is no.
    """
    price = f"about {usd(expected_usd)}, at most {usd(at_most_usd)}"
    if not sys.stdin.isatty():
        raise ConfigError(
            f"{calls} calls would cost {price}, and there is no terminal to ask at: give --yes to make them, "
            "or --dry-run to see the plan"
        )
    typer.confirm(f"Make {calls} calls for {price}?", abort=True, err=True)


def usd(amount: float) -> str:
    """A sum for people."""
    return f"${amount:.2f}" if amount >= 1 else f"${amount:.4f}"
