"""The command that says what differs between two routers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from router.cli.console import (
    AsJson,
    SettingsFile,
    app,
    loaded_version,
    one_line_text,
    print_json,
    progress_bars,
)
from router.numbers import rate, significant, usd_per_thousand
from training.commands.offline import CACHE, Cache, Fields, offline, reading_of

if TYPE_CHECKING:
    from router.records import Json
    from training.differing import DecisionChanges, RouterDifference

console = Console(highlight=False, emoji=False)
_HEADLINES: Mapping[str, tuple[str, Callable[[float], str]]] = {
    "test.prompts": ("prompts of the test part", significant),
    "test.success": ("success", rate),
    "test.cost_usd": ("cost per 1,000 calls", usd_per_thousand),
    "test.best_single_success": ("best single model: success", rate),
    "test.best_single_cost_usd": ("best single model: cost per 1,000 calls", usd_per_thousand),
}
"""The metrics that people read, by their names in the manifest; `--json` has all."""
Place = "A router's folder, models:/NAME/3, models:/NAME@ALIAS, or a pointsman.yaml."


@app.command("diff")
def diff_command(
    old: Annotated[str, typer.Argument(metavar="OLD", help=Place)],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The other one.")],
    log: Annotated[
        list[str] | None, typer.Option(help="A call log on whose prompts both decide; may be repeated.")
    ] = None,
    examples: Annotated[int, typer.Option(min=0, help="Most changed prompts to name.")] = 10,
    show_text: Annotated[
        bool, typer.Option("--show-text", help="Show the start of those prompts, not only their keys.")
    ] = False,
    config: SettingsFile = None,
    mapping: Fields = None,
    cache: Cache = CACHE,
    as_json: AsJson = False,
) -> None:
    """Say what differs between two routers: data, settings, metrics, rules, and decisions on a log."""
    offline()
    from training.differing import DiffJob, decision_changes, difference

    versions = [loaded_version(place, config, rules=True) for place in (old, new)]
    changes = None
    if log:
        job = DiffJob(
            old=versions[0],
            new=versions[1],
            sources=log,
            reading=reading_of(versions[1].config, mapping, None, cache),
            examples=examples,
            show_text=show_text,
        )
        with progress_bars() as progress:
            changes = decision_changes(job, progress)
    found = difference(versions[0], versions[1], changes)
    if as_json:
        print_json(found.to_json())
    else:
        _show(found)


def _show(found: RouterDifference) -> None:
    old, new = found.rules
    tasks = dict.fromkeys([*old, *new]) if old != new else ()
    rules = {task: (old.get(task), new.get(task)) for task in tasks}
    parts = {"data and policy": found.data, "settings": found.settings, "metrics": _headlines(found.metrics)}
    for title, pairs in {**parts, "rule table": rules}.items():
        if pairs:
            _print_pairs(title, pairs)
        else:
            console.print(f"{title}: no difference")
        if title == "metrics" and (more := len(found.metrics) - len(pairs)):
            console.print(f"{more} more metrics differ: see --json")
    if found.decisions:
        _show_decisions(found.decisions)


def _headlines(metrics: Mapping[str, tuple[Json, Json]]) -> dict[str, tuple[Json, Json]]:
    def written(form: Callable[[float], str], value: Json) -> Json:
        return None if value is None else form(value)

    return {
        words: (written(form, metrics[name][0]), written(form, metrics[name][1]))
        for name, (words, form) in _HEADLINES.items()
        if name in metrics
    }


def _print_pairs(title: str, pairs: Mapping[str, tuple[Json, Json]]) -> None:
    table = Table(box=box.SIMPLE, title=title, title_justify="left")
    for header in ("", "old", "new"):
        table.add_column(header, overflow="fold")
    for name, values in pairs.items():
        table.add_row(one_line_text(name), *(one_line_text(_cell(value)) for value in values))
    console.print(table)


def _cell(value: Json) -> str:
    if value is None:
        return "-"
    return significant(value, 5) if isinstance(value, float) else str(value)


def _show_decisions(changes: DecisionChanges) -> None:
    share = changes.changed / changes.prompts if changes.prompts else 0.0
    directions = ", ".join(f"{count:,} {direction}" for direction, count in changes.directions.items())
    tail = f": {directions}" if directions else ""
    console.print(
        f"{changes.changed:,} of {changes.prompts:,} prompts ({rate(share)}) change their model{tail}"
    )
    for (old, new), count in changes.moves.items():
        console.print(one_line_text(f"  {count:,} x {old} -> {new}"), soft_wrap=True)
    for one in changes.examples:
        task, text = f" [{one.task_type}]" if one.task_type else "", f": {one.text}" if one.text else ""
        line = f"  {one.key}{task} {one.old} -> {one.new}, {one.direction}{text}"
        console.print(one_line_text(line), soft_wrap=True)
