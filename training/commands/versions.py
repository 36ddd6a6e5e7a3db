"""The commands that list a router's versions, and move the aliases that point to them."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from router.cli.console import AsJson, app, one_line_text, print_json, say
from router.errors import ConfigError
from router.numbers import decimal, rate, usd_per_thousand
from training.commands.offline import TRACKING, Tracking

if TYPE_CHECKING:
    from router.records import Json
    from training.tracking.versions import Move, RouterRegistry, TrainedVersion

Name = Annotated[str, typer.Argument(metavar="NAME", help="The name that the router is registered under.")]
Alias = Annotated[str, typer.Option(help="The alias that applications load.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do it without asking first.")]
ALIAS = "champion"
console = Console(highlight=False, emoji=False)


@app.command("versions")
def versions_command(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="A router's registered name; default: list the names."),
    ] = None,
    tracking_uri: Tracking = TRACKING,
    as_json: AsJson = False,
) -> None:
    """List the registered versions of a router, the latest first; without a name, the routers."""
    registry = _registry(tracking_uri)
    if name is None:
        _list_names(registry.names(), as_json=as_json)
        return
    versions = registry.versions(name)
    if as_json:
        print_json({"name": name, "versions": [version.to_json() for version in versions]})
        return
    console.print(_table(versions))
    if versions and ALIAS not in versions[0].aliases:
        say(f"next: pointsman promote {shlex.quote(name)} {versions[0].version}")


def _list_names(names: Mapping[str, Mapping[str, str]], *, as_json: bool) -> None:
    """List the registered routers with their aliases."""
    if as_json:
        print_json({"routers": [{"name": name, "aliases": aliases} for name, aliases in names.items()]})
        return
    for name, aliases in names.items():
        pointed = ", ".join(f"@{alias} is version {number}" for alias, number in aliases.items())
        console.print(one_line_text(f"{name}: {pointed or 'no alias'}"), soft_wrap=True)
    if names:
        say(f"next: pointsman versions {shlex.quote(next(iter(names)))}")
    else:
        train = "pointsman train CALLS --out models/NAME --register NAME --alias champion"
        say(f"no router is registered yet: {train}")


@app.command("promote")
def promote_command(
    name: Name,
    which: Annotated[str, typer.Argument(metavar="VERSION", help="A version's number, or @ALIAS.")],
    alias: Alias = ALIAS,
    yes: Yes = False,
    tracking_uri: Tracking = TRACKING,
    as_json: AsJson = False,
) -> None:
    """Show what the comparison says of a version, ask, and point the alias to it."""
    from training.tracking.versions import check_alias

    check_alias(alias)
    registry = _registry(tracking_uri)
    version, seen = registry.resolved(name, which), registry.pointed(name, alias)
    if seen != version:
        _show_comparison(registry, name, version)
        _confirm(f"Point {name}@{alias} from {_number(seen)} to version {version}?", yes=yes)
    _done(name, alias, version, registry.move(name, alias, version, seen=seen), as_json=as_json)


@app.command("rollback")
def rollback_command(
    name: Name,
    alias: Alias = ALIAS,
    tracking_uri: Tracking = TRACKING,
    as_json: AsJson = False,
) -> None:
    """Point the alias to the version before, without training; repeated, go back further."""
    move = _registry(tracking_uri).rollback(name, alias)
    _done(name, alias, move.version, move, as_json=as_json)


def _registry(tracking_uri: str) -> RouterRegistry:
    from training.tracking.versions import RouterRegistry

    return RouterRegistry(tracking_uri)


def _show_comparison(registry: RouterRegistry, name: str, version: str) -> None:
    """Show the verdict of the version's last comparison, losses first, on standard error."""
    report = registry.comparison(name, version)
    if report is None:
        say(
            f"no comparison of version {version} is recorded: "
            f"`pointsman compare CALLS... --router models:/{name}/{version} --out report` makes one"
        )
        return
    from training.commands.tables import OUTCOMES

    say(f"the last comparison of version {version}, on {report['prompts']:,} prompts:")
    if advice := report.get("recommendation"):
        say(advice["sentence"])
    losses = [claim for claim in report["verdict"] if claim["outcome"] == "loss"]
    for claim in losses:
        say(f"  {OUTCOMES[claim['outcome']]}: {claim['text']}")
    if others := len(report["verdict"]) - len(losses):
        say(f"  no loss: {others} other finding{'s' * (others != 1)}, in report.html of the comparison's run")


def _confirm(question: str, *, yes: bool) -> None:
    """Ask a question.

    Raises:
        ConfigError: there is no terminal to ask at.
        typer.Abort: the answer is no.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigError(f"{question} There is no terminal to ask at: give --yes to do it")
    typer.confirm(question, abort=True, err=True)


def _done(name: str, alias: str, version: str, move: Move | None, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {"name": name, "alias": alias, "version": version, "move": move.to_json() if move else None}
        )
    elif move is None:
        say(f"{name}@{alias} points to version {version} already")
    else:
        say(f"{name}@{alias} points to version {version} now, before to {_number(move.previous)}")
        say(f"applications that load models:/{name}@{alias} take it over, usually within a minute")
        if move.previous is not None and move.undoes is None:
            other = "" if alias == ALIAS else f" --alias {alias}"
            say(f"back again: pointsman rollback {shlex.quote(name)}{other}")


def _number(version: str | None) -> str:
    return "nothing" if version is None else f"version {version}"


def _table(versions: Sequence[TrainedVersion]) -> Table:
    """Of 80 columns, with names of the usual length."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("\nversion", no_wrap=True)
    table.add_column("\naliases", overflow="fold", min_width=len("challenger"))
    table.add_column("registered\n(UTC)", min_width=len("2026-11-29"))
    table.add_column("\ntrained on", overflow="fold", min_width=len("10,000 calls"))
    for header in ("\nsuccess", "$ per\n1k calls"):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("\nadvice", overflow="fold", min_width=len("one model"))
    for version in versions:
        table.add_row(*map(one_line_text, _cells(version.to_json())))
    return table


def _cells(version: dict[str, Json]) -> Sequence[str]:
    calls, digest = version["calls"], version["data_digest"]
    success, cost = version["success"], version["cost_usd"]
    return (
        version["version"],
        ", ".join(version["aliases"]),
        version["created"][:16].replace("T", " "),
        "" if calls is None else f"{decimal(calls, 0)} calls, {str(digest)[:8]}",
        "" if success is None else rate(success),
        "" if cost is None else usd_per_thousand(cost),
        (version["recommendation"] or "").replace("_", " "),
    )
