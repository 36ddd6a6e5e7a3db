"""A log's costs as tables, with sentences that explain the figures."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from router.call_log.costs import CostLine, CostReport
from router.cli.console import one_line_text
from router.numbers import decimal, dollars, duration, rate

_Columns: TypeAlias = Mapping[str, Callable[[CostLine], str]]
"""The cell of a line under each header."""
_WIDEST = 1000
_WIDTH = 100
"""Of the output where it is no terminal."""


def print_costs(report: CostReport, log: str, timezone: str, *, bounded: bool) -> None:
    """Print the table to standard output, in two parts if it is too wide, or say that there is no call.

    Args:
        bounded: whether the report covers only part of the log's time.
    """
    console = Console(highlight=False, emoji=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console = Console(highlight=False, emoji=False, width=_WIDTH)
    if not report.total.calls + report.total.failed_attempts:
        sentence = f"{log} holds no call in this period" if bounded else f"{log} holds no call yet"
        console.print(sentence, markup=False, soft_wrap=True)
        return
    whole = _table(report, {**_MONEY, **_USE})
    fits = console.measure(whole, options=console.options.update(width=_WIDEST)).maximum <= console.width
    for table in [whole] if fits else [_table(report, _MONEY), _table(report, _USE)]:
        console.print(table)
    for note in notes_on(report, timezone):
        console.print(one_line_text(f"- {note}"), soft_wrap=True)


def notes_on(report: CostReport, timezone: str) -> Iterator[str]:
    """Explain what the figures mean and what they leave out."""
    total, strong = report.total, " or ".join(report.baselines) or "that model"
    yield f"always strong: the estimated cost with {strong}, from the time of each call"
    known = f"{total.compared:,} of {total.calls:,} calls"
    yield f"saved: over the {known} whose cost and estimate are both known"
    if total.unknown_cost:
        yield f"no sum includes the unknown cost of {total.unknown_cost:,} call(s)"
    if total.unknown_tokens:
        yield f"no sum includes the unknown tokens of {total.unknown_tokens:,} call(s)"
    if total.failed_attempts:
        yield (
            f"failed attempts returned no whole answer; their {dollars(total.failed_cost_usd)} count in the "
            f"cost but not in the saving; {total.unknown_failed_cost} of them reported no cost"
        )
    if "tag" in report.by:
        yield "a call with several tags counts under each of them; the total counts each call once"
    if {"day", "month"} & set(report.by):
        yield f"days and months are those of {timezone}"


def _table(report: CostReport, columns: _Columns) -> Table:
    table = Table(show_footer=bool(report.lines), box=SIMPLE)
    for place, grouping in enumerate(report.by):
        table.add_column(grouping.replace("_", " "), "" if place else "total", overflow="fold")
    for header, cell in columns.items():
        table.add_column(header, cell(report.total), justify="right")
    for line in report.lines or [report.total]:
        group = (one_line_text("(none)" if value is None else value) for value in line.group)
        table.add_row(*group, *(cell(line) for cell in columns.values()))
    return table


def _count(tokens: int) -> str:
    return f"{tokens:,}" if tokens < 1_000_000 else f"{decimal(tokens / 1e6, 2)}M"


_MONEY: _Columns = {
    "calls": lambda line: f"{line.calls:,}",
    "failed\nattempts": lambda line: f"{line.failed_attempts:,}",
    "cost": lambda line: dollars(line.cost_usd),
    "always\nstrong": lambda line: dollars(line.baseline_cost_usd),
    "saved": lambda line: dollars(line.saved_usd) if line.compared else "unknown",
    "saved\nshare": lambda line: "" if line.saved_share is None else rate(line.saved_share),
    "cost\nunknown": lambda line: f"{line.unknown_cost:,}",
}
_USE: _Columns = {
    "input\ntokens": lambda line: _count(line.input_tokens),
    "cached": lambda line: _count(line.cached_input_tokens),
    "output\ntokens": lambda line: _count(line.output_tokens),
    "reasoning": lambda line: _count(line.reasoning_tokens),
    "median\ntime": lambda line: duration(line.latency_median_s),
    "mean\ntime": lambda line: duration(line.latency_mean_s),
}
