"""An application that logs a row for each request, for real servers to serve and to end.

    uvicorn tests.services.logging_app:app          an ASGI application; `:closing` closes its log at shutdown
    gunicorn tests.services.logging_app:wsgi        the same for WSGI

The environment names the log in CALLS. Rows wait for an hour, so that only the end of the process writes
them. `GET /loop/ID` logs a row in the event loop, `/thread/ID` in another thread; `/slow/ID` takes an hour.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from router.call_log import Buffer, CallLog, CallRecord

HOUR_S = 3600.0
log = CallLog.open(os.environ["CALLS"], buffer=Buffer(interval_s=HOUR_S))


def _write(call_id: str) -> None:
    log.write(CallRecord(call_id=call_id, time=1.0, messages=[], model="small"))


@asynccontextmanager
async def _close(_: FastAPI) -> AsyncIterator[None]:
    yield
    log.close()


async def in_loop(call_id: str) -> str:
    """Log in the thread of the event loop, the main one."""
    _write(call_id)
    return call_id


def in_thread(call_id: str) -> str:
    """Log in another thread."""
    _write(call_id)
    return call_id


async def slowly(call_id: str) -> None:
    """Log when the request is cancelled."""
    try:
        await asyncio.sleep(HOUR_S)
    finally:
        _write(call_id)


def _application(**options: Any) -> FastAPI:  # noqa: ANN401 - FastAPI's own
    made = FastAPI(**options)
    for path, function in {"loop": in_loop, "thread": in_thread, "slow": slowly}.items():
        made.get(f"/{path}/{{call_id}}")(function)
    return made


app = _application()
closing = _application(lifespan=_close)


def wsgi(
    request: Mapping[str, Any], start: Callable[[str, list[tuple[str, str]]], object]
) -> Iterable[bytes]:
    """Log the last part of the path."""
    call_id = request["PATH_INFO"].rpartition("/")[2]
    _write(call_id)
    start("200 OK", [("Content-Type", "text/plain")])
    return [call_id.encode()]
