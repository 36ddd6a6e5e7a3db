"""The command that serves a call log's dashboard."""

from __future__ import annotations

from datetime import datetime, tzinfo
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from router.cli.accounts import LogAt, zone_named
from router.cli.console import AsJson, app, html_pages, print_json, progress_bars, say
from router.errors import MissingExtra
from training.commands.offline import CACHE, TRACKING, Cache, Tracking

if TYPE_CHECKING:
    from training.dashboard.registered import RegisteredRouter


@app.command("dashboard")
def dashboard_command(
    log: LogAt,
    host: Annotated[
        str, typer.Option(help="Address to listen at; any other than this machine's shows the log to others.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 8321,
    timezone: Annotated[str, typer.Option(help="Where days begin, for example Europe/Berlin.")] = "UTC",
    show_text: Annotated[
        bool, typer.Option("--show-text", help="Let a call's page show the texts that the log holds.")
    ] = False,
    registered: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Show what the registry says of this router's versions."),
    ] = None,
    tracking_uri: Tracking = TRACKING,
    cache: Cache = CACHE,
    as_json: AsJson = False,
) -> None:
    """Serve a page on a call log: what was saved, and whether anything got worse. It only reads the log."""
    _check_extra("jinja2", "starlette", "uvicorn")
    import uvicorn

    from training.dashboard.app import LOCAL, application
    from training.dashboard.kept import KeptCells
    from training.dashboard.pages import Site, dashboard_page
    from training.dashboard.query import Query

    kept = KeptCells(log, cache, zone_named(timezone))
    router = _registered(registered, tracking_uri) if registered else None
    site = Site(kept=kept, timezone=timezone, show_text=show_text, router=router)
    with progress_bars() as progress:
        dashboard_page(site, Query(), progress.stage("reading calls", None))
    hosts = list(LOCAL) if host in LOCAL else ["*"]
    settings = uvicorn.Config(
        application(site, hosts), host=host, port=port, log_level="warning", server_header=False
    )
    listening = settings.bind_socket()
    name = f"[{host}]" if ":" in host else host
    url = f"http://{name}:{listening.getsockname()[1]}/"
    if as_json:
        print_json({"log": site.log, "url": url})
    else:
        say(f"The dashboard of {site.log}: {url} (Ctrl-C ends it)")
    uvicorn.Server(settings).run(sockets=[listening])


def _registered(name: str, tracking_uri: str) -> RegisteredRouter:
    """The router, once the registry has answered; raises RouterError."""
    from training.dashboard.registered import RegisteredRouter
    from training.tracking.versions import RouterRegistry

    router = RegisteredRouter(RouterRegistry(tracking_uri), name)
    router.ask()
    return router


def _write_costs_page(
    log: str, span: tuple[datetime | None, datetime | None], timezone: str, zone: tzinfo, out: Path
) -> None:
    _check_extra("jinja2")
    from training.dashboard.pages import write_costs_page

    write_costs_page(log, span, timezone, zone, out)


def _check_extra(*packages: str) -> None:
    """Raise MissingExtra for the first package that is not installed."""
    for package in packages:
        if find_spec(package) is None:
            raise MissingExtra(package, "dashboard")


html_pages["costs"] = _write_costs_page
