"""The commands that decide on requests and print the version."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from router import __version__
from router.cli.console import (
    AsJson,
    RouterOrRules,
    SettingsFile,
    app,
    loaded_version,
    people,
    print_json,
    progress_bars,
    say,
)
from router.errors import NoModelAllowed, RequestError

if TYPE_CHECKING:
    from router.records import Json, Request, Wishes
    from router.version import Forecast, Version

BAD_LINES = 3
"""Exit code of `route` when it answered, but some lines could not be read."""


@app.command("route")
def route_command(
    router: RouterOrRules,
    config: SettingsFile = None,
    requests: Annotated[
        typer.FileBinaryRead, typer.Argument(help="Requests, one JSON object per line; default: stdin.")
    ] = "-",  # type: ignore[assignment] # typer opens it
    expect: Annotated[
        str | None, typer.Option(help="Digest that the router must have, as `train` prints it: sha256:...")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Read one request per line and write one decision per line, in order."""
    del as_json  # decisions are JSON in any case
    from router.forecasting.one_row import FEW

    loaded = loaded_version(router, config, expect, rules=True)
    if requests.isatty():
        say('type requests, one JSON object a line, such as {"prompt": "Where is my order?"}; Ctrl-D ends')
    bad = 0
    with progress_bars() as progress:
        advance = progress.stage("routing", None)
        # Who writes to a pipe may wait for each answer.
        for decision in answers(loaded, requests, FEW if requests.seekable() else 1):
            bad += "error" in decision
            print_json(decision)
            advance(1)
    if bad:
        people.print(f"{bad} line(s) failed: see the 'error' lines in their place", style="yellow")
        raise typer.Exit(BAD_LINES)


@app.command("version")
def version_command(as_json: AsJson = False) -> None:
    """Print the version."""
    if as_json:
        print_json({"version": __version__})
    else:
        print(__version__)


def answers(version: Version, lines: Iterable[bytes], together: int) -> Iterator[dict[str, Json]]:
    """The decision for each line of requests, or an object whose `error` says what is wrong with the line.

    Args:
        together: how many lines are read before the first of them is answered.
    """
    waiting = iter(lines)
    while batch := [_parsed(line) for line in islice(waiting, together)]:
        usable = [None if isinstance(one, dict) else one[0] for one in batch]
        try:
            forecasts = version.foresee_usable(usable)
        except RecursionError:  # of one of them, which then gets its own answer
            forecasts = [None] * len(batch)
        for one, foreseen in zip(batch, forecasts, strict=True):
            yield one if isinstance(one, dict) else _answer(version, *one, foreseen)


def _parsed(line: bytes) -> tuple[Request, Wishes] | dict[str, Json]:
    from router.records import Request, Wishes

    if not line.strip():
        return {"error": "the line is empty: a request is a JSON object"}
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        return {"error": f"not valid JSON: {error}"}
    try:
        return Request.from_json(value), Wishes.from_json(value)
    except RequestError as error:
        return {"error": str(error)}
    except RecursionError:
        return {"error": "the request is nested too deeply"}


def _answer(
    version: Version, request: Request, wishes: Wishes, foreseen: tuple[Request, Forecast] | None
) -> dict[str, Json]:
    from router.version import Circumstances

    try:
        return version.settle(version.case(request, wishes, Circumstances(), foreseen)).to_json()
    except NoModelAllowed as error:
        return {"error": str(error), "rejected": error.rejected}
    except RequestError as error:
        return {"error": str(error)}
    except RecursionError:
        return {"error": "the request is nested too deeply"}
