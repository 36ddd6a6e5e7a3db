"""The data report on a terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from router.numbers import UNKNOWN, decimal, dollars, rate
from router.text import shortened
from training.inspecting.counting import NONE
from training.inspecting.inspection import Group, Inspection
from training.inspecting.page import formats, where_rows_went
from training.reading.summary import rows_in_files

console = Console(highlight=False, emoji=False)
MOST_ROWS = 15
MOST_MODELS = 8
LEAST_NUMBER, GAP = 5, 2
"""Least width of a number and space between columns, in characters."""


def show_inspection(inspection: Inspection, missing: Sequence[str], verdict: str = "") -> None:
    """Print everything: the verdict first, and what is missing last, so that it stays on the screen."""
    if verdict:
        console.print(verdict, style="bold", markup=False, soft_wrap=True)
    _line(f"format: {formats(inspection.reading)}")
    _rows(inspection)
    for title, groups in (
        ("model", inspection.models),
        ("task type", inspection.task_types),
        ("outcome source", inspection.sources),
        ("decision source", inspection.decisions),
    ):
        _groups(title, groups)
    _groups("day", inspection.days[-MOST_ROWS:], earlier=len(inspection.days[:-MOST_ROWS]))
    _rules(inspection)
    total, several = inspection.total.prompts, inspection.several_models
    _line(f"{several:,} prompts ({_share(several, total)}) tried on several models")
    _pairs("prompts in common", inspection.same, inspection)
    _line("prompts that share their opening with a prompt of the other model, as a template's do:")
    _pairs("same opening", inspection.alike, inspection)
    if inspection.repeats:
        _line(
            f"{inspection.repeats:,} calls repeat a prompt on the same model; {inspection.conflicts:,} of "
            f"{inspection.repeated:,} repeated pairs of prompt and model have a success and a failure"
        )
    if inspection.total.contradicting:
        _line(f"{inspection.total.contradicting:,} calls contradict their score")
    _line(f"{inspection.in_templates:,} prompts ({_share(inspection.in_templates, total)}) share a template")
    for template in inspection.templates[:5]:
        opening = f": {template.opening}" if template.opening else ""
        _line(
            f"one of {template.prompts:,} prompts, on {len(template.models)} models{opening}",
            indent="  ",
        )
    read = sum(inspection.languages.values())
    shares = [f"{name} {_share(prompts, read)}" for name, prompts in [*inspection.languages.items()][:8]]
    _line(f"languages of {read:,} prompts: {', '.join(shares)}")
    _costs(inspection)
    _missing(missing)


def _rows(inspection: Inspection) -> None:
    _line(rows_in_files(inspection.reading))
    for what, rows in where_rows_went(inspection.reading).items():
        _line(f"{rows:,} ({_share(rows, inspection.reading.rows)}) {what}", indent="  ")


def _rules(inspection: Inspection) -> None:
    """Print what each outcome rule decided, if the settings declare rules."""
    counts = inspection.reading.outcomes
    if counts is None:
        return
    table = _table("outcome rule", "succeeded", "failed", "overruled")
    for rule in counts.rules:
        table.add_row(_name(rule.rule), f"{rule.succeeded:,}", f"{rule.failed:,}", f"{rule.overruled:,}")
    console.print(table)
    _line(f"{counts.unjudged:,} calls that no rule decided; two rules disagree on {counts.conflicting:,}")


def _groups(title: str, groups: Sequence[Group], earlier: int = 0) -> None:
    """Print a table of groups; none if no call names its group, as all would be one.

    Args:
        earlier: number of groups left out before these.
    """
    if [one.name for one in groups] == [NONE]:
        _line(f"no call has {'an' if title[0] in 'aeiou' else 'a'} {title}")
        return
    rare = {"propen-\nsity": "with_propensity", "text\ncut": "cut"}
    shown = {head: name for head, name in rare.items() if any(getattr(one, name) for one in groups)}
    table = _table(title, "calls", "prompts", "outcome\nknown", "of these\nsucceed", "cost", *shown)
    for one in groups[:MOST_ROWS]:
        table.add_row(
            _name(one.name),
            f"{one.calls:,}",
            f"{one.prompts:,}",
            _share(one.known, one.calls),
            _share(one.succeeded, one.known),
            dollars(one.cost_usd) if one.costed else UNKNOWN,
            *(_share(getattr(one, name), one.calls) for name in shown.values()),
        )
    console.print(table)
    if len(groups) > MOST_ROWS:
        _line(f"and {len(groups) - MOST_ROWS} more; --json has all", indent="  ")
    if earlier:
        _line(f"and {earlier:,} earlier; --json has all", indent="  ")


def _pairs(title: str, cells: Mapping[str, Mapping[str, int]], inspection: Inspection) -> None:
    if len(inspection.models) < 2:
        return
    names = [model.name for model in inspection.models[:MOST_MODELS]]
    heads = names
    if _too_wide(title, names):
        heads = [f"({number})" for number in range(1, len(names) + 1)]
    table = _table(title, *heads)
    for model, head in zip(names, heads, strict=True):
        row = model if head == model else f"{head} {model}"
        table.add_row(_name(row), *(f"{cells.get(model, {}).get(other, 0):,}" for other in names))
    console.print(table)
    if more := len(inspection.models) - len(names):
        _line(f"and {more:,} more models; --json has all", indent="  ")


def _too_wide(title: str, names: Sequence[str]) -> bool:
    """Whether a table with these names as columns and rows is wider than the terminal."""
    first = max(map(len, (title, *names)))
    return first + sum(max(len(name), LEAST_NUMBER) + GAP for name in names) > console.width


def _costs(inspection: Inspection) -> None:
    if not any(one.compared for one in inspection.costs):
        _line("no cost can be checked: that takes both token counts and a model of LiteLLM's list")
        return
    table = _table("model", "compared", "logged", "tokens x\nlist price", "ratio", "over\n5 % off")
    for one in inspection.costs[:MOST_ROWS]:
        table.add_row(
            _name(one.model),
            f"{one.compared:,}" if one.listed else "not listed",
            dollars(one.logged_usd) if one.compared else UNKNOWN,
            dollars(one.listed_usd) if one.compared else UNKNOWN,
            UNKNOWN if math.isnan(one.ratio) else decimal(one.ratio, 2),
            UNKNOWN if math.isnan(one.off_share) else rate(one.off_share),
        )
    console.print(table)


def _missing(missing: Sequence[str]) -> None:
    if not missing:
        _line("This report found nothing missing.")
        return
    console.print("What is missing for a good router", style="bold")
    for sentence in missing:
        console.print(Text(f"- {shortened(sentence, 900)}"), style="yellow", soft_wrap=True)


def _table(title: str, *columns: str) -> Table:
    """A table that folds long names on a narrow terminal, and never cuts a number."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column(title, overflow="fold", vertical="bottom")
    for column in columns:
        head = Text("\n").join(map(_name, column.split("\n")))
        table.add_column(head, justify="right", vertical="bottom", no_wrap=True)
    return table


def _name(name: str) -> Text:
    return Text(shortened(name, 40))


def _share(part: int, whole: int) -> str:
    return rate(part / whole) if whole else UNKNOWN


def _line(text: str, *, indent: str = "") -> None:
    console.print(indent + shortened(text, 300), markup=False, soft_wrap=True)
