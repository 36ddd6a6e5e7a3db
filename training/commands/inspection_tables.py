"""The data report on a terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from training.inspecting.inspection import Group, Inspection
from training.inspecting.page import where_rows_went
from training.pages.numbers import decimal, dollars, rate, shortened

console = Console(highlight=False, emoji=False)
MOST_ROWS = 15
MOST_MODELS = 8
LEAST_NUMBER, GAP = 5, 2
"""Characters that a number takes, and that stand between columns."""
UNKNOWN = "-"


def show_inspection(found: Inspection, missing: Sequence[str]) -> None:
    """Everything, what is missing last, where it is still on the screen."""
    _rows(found)
    for title, groups in (
        ("model", found.models),
        ("task type", found.task_types),
        ("outcome source", found.sources),
        ("decision source", found.decisions),
        ("day", found.days[-MOST_ROWS:]),
    ):
        _groups(title, groups)
    _rules(found)
    total = found.total.prompts
    _line(f"{found.several_models:,} prompts ({_share(found.several_models, total)}) tried on several models")
    _pairs("prompts in common", found.same, found)
    _pairs("opening alike", found.alike, found)
    _line(
        f"{found.repeats:,} calls ask a model again; {found.conflicts:,} of {found.repeated:,} repeated "
        f"pairs of prompt and model have both outcomes; {found.total.contradicting:,} calls contradict their "
        "score"
    )
    _line(f"{found.in_templates:,} prompts ({_share(found.in_templates, total)}) are of a repeated template")
    for template in found.templates[:5]:
        opening = f": {template.opening}" if template.opening else ""
        _line(f"one of {template.prompts:,} prompts on {len(template.models)} models{opening}", indent="  ")
    read = sum(found.languages.values())
    spoken = [f"{name} {_share(prompts, read)}" for name, prompts in [*found.languages.items()][:8]]
    _line(f"languages of {read:,} prompts: {', '.join(spoken)}")
    _costs(found)
    _missing(missing)


def _rows(found: Inspection) -> None:
    _line(f"{found.reading.rows:,} rows in {len(found.reading.files)} file(s)")
    for what, rows in where_rows_went(found.reading).items():
        _line(f"{rows:,} ({_share(rows, found.reading.rows)}) {what}", indent="  ")


def _rules(found: Inspection) -> None:
    """What each outcome rule decided, where the settings declare some."""
    ruled = found.reading.outcomes
    if ruled is None:
        return
    table = _table("outcome rule", "succeeded", "failed", "overruled")
    for one in ruled.rules:
        table.add_row(_name(one.rule), f"{one.succeeded:,}", f"{one.failed:,}", f"{one.overruled:,}")
    console.print(table)
    _line(f"{ruled.unjudged:,} calls that no rule judged; on {ruled.conflicting:,} two rules disagree")


def _groups(title: str, groups: Sequence[Group]) -> None:
    table = _table(
        title, "calls", "prompts", "outcome\nknown", "of these\nsucceed", "cost", "propen-\nsity", "cut"
    )
    for one in groups[:MOST_ROWS]:
        table.add_row(
            _name(one.name),
            f"{one.calls:,}",
            f"{one.prompts:,}",
            _share(one.known, one.calls),
            _share(one.succeeded, one.known),
            dollars(one.cost_usd) if one.costed else UNKNOWN,
            _share(one.with_propensity, one.calls),
            _share(one.cut, one.calls),
        )
    console.print(table)
    if len(groups) > MOST_ROWS:
        _line(f"and {len(groups) - MOST_ROWS} more; --json has all", indent="  ")


def _pairs(title: str, cells: Mapping[str, Mapping[str, int]], found: Inspection) -> None:
    if len(found.models) < 2:
        return
    names = [model.name for model in found.models[:MOST_MODELS]]
    heads = names
    if _too_wide(title, names):
        heads = [f"({number})" for number in range(1, len(names) + 1)]
    table = _table(title, *heads)
    for model, head in zip(names, heads, strict=True):
        row = model if head == model else f"{head} {model}"
        table.add_row(_name(row), *(f"{cells.get(model, {}).get(other, 0):,}" for other in names))
    console.print(table)


def _too_wide(title: str, names: Sequence[str]) -> bool:
    """Whether a table of these columns, and rows of the same names, is wider than the terminal."""
    first = max(map(len, (title, *names)))
    return first + sum(max(len(name), LEAST_NUMBER) + GAP for name in names) > console.width


def _costs(found: Inspection) -> None:
    table = _table("model", "compared", "logged", "tokens x\nlist price", "ratio", "over\n5 % off")
    for one in found.costs[:MOST_ROWS]:
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
        _line("Nothing is missing that this report looks for.")
        return
    console.print("What is missing for a good router", style="bold")
    for sentence in missing:
        console.print(Text(f"- {shortened(sentence, 600)}"), style="yellow", soft_wrap=True)


def _table(title: str, *columns: str) -> Table:
    """A table that folds long names, and never cuts a number, where the terminal is narrow."""
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
