"""The commands that decide on requests and print the version."""

from __future__ import annotations

import json
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
)
from router.errors import NoModelAllowed, RequestError

if TYPE_CHECKING:
    from router.records import Json
    from router.version import Version

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
    loaded = loaded_version(router, config, expect, rules=True)
    bad = 0
    with progress_bars() as progress:
        advance = progress.stage("routing", None)
        for line in requests:
            decision = answer(loaded, line)
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


def answer(version: Version, line: bytes) -> dict[str, Json]:
    """The decision for one line of requests, or an object whose `error` says what is wrong with the line."""
    from router.records import Request, Wishes

    if not line.strip():
        return {"error": "the line is empty: a request is a JSON object"}
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        return {"error": f"not valid JSON: {error}"}
    try:
        return version.decide(Request.from_json(value), Wishes.from_json(value)).to_json()
    except NoModelAllowed as error:
        return {"error": str(error), "rejected": error.rejected}
    except RequestError as error:
        return {"error": str(error)}
    except RecursionError:
        return {"error": "the request is nested too deeply"}
