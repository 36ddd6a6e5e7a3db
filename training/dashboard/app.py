"""The dashboard as a web application: pages to read, without scripts, of one log."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from html import escape

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

from router.errors import RouterError
from training.dashboard.pages import Site, call_page, dashboard_page
from training.dashboard.query import Query

LOCAL = ("127.0.0.1", "localhost", "[::1]", "::1")
_LONGEST_ID = 1000


def application(site: Site, hosts: list[str]) -> Starlette:
    """The application.

    Args:
        hosts: names that a browser may use for it; another one could be a foreign page's, which then would
            read the answers. "*" allows all.
    """

    def dashboard(request: Request) -> HTMLResponse:
        return _answered(lambda: dashboard_page(site, Query.of(request.query_params.multi_items())))

    def call(request: Request) -> HTMLResponse:
        call_id = request.query_params.get("id", "")[:_LONGEST_ID]
        return _answered(lambda: call_page(site, call_id))

    return Starlette(
        routes=[Route("/", dashboard, methods=["GET"]), Route("/call", call, methods=["GET"])],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False)],
    )


def _answered(make: Callable[[], str]) -> HTMLResponse:
    """The page, or what is wrong with the address or the log."""
    try:
        page, status = make(), 200
    except RouterError as error:
        page, status = _refusal(str(error)), 400
    return HTMLResponse(page, status, headers=_headers(page))


def _refusal(why: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Dashboard</title>'
        '<link rel="icon" href="data:,"></head><body><main><h1>This can&rsquo;t be shown</h1>'
        f'<p>{escape(why)}</p><p><a href="/">To the dashboard</a></p></main></body></html>'
    )


def _headers(page: str) -> dict[str, str]:
    """Headers that let the page's own style sheet in, and nothing else: no script, no other address."""
    style = page.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return {
        "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }
