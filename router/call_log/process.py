"""Open call logs and the end of their process, which writes them out."""

from __future__ import annotations

import asyncio
import atexit
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import cache
from types import FrameType
from typing import Any, Protocol
from weakref import WeakSet

_ENDING_S = 4.0
"""Longest wait for the rows once SIGTERM has come: supervisors kill what does not end soon."""


class Closable(Protocol):
    """An open log."""

    def flush(self, timeout_s: float) -> bool:
        """Write the waiting rows; False if the time runs out."""

    def close(self) -> None:
        """Write the waiting rows; later ones are dropped."""


_open: WeakSet[Closable] = WeakSet()
_watched: WeakSet[Any] = WeakSet()
"""Servers whose shutdown writes the rows."""
_bringers: list[Callable[[], Awaitable[object]]] = []


def close_at_exit(log: Closable) -> None:
    """Close the log when the process ends, and write its rows before SIGTERM kills it."""
    _register()
    _open.add(log)
    write_before_sigterm()


def close_with_worker(log: Closable) -> None:
    """Close the log when a `multiprocessing` worker ends: up to Python 3.12 workers skip `atexit`."""
    process = sys.modules.get("multiprocessing.process")
    if process is not None and process.parent_process() is not None:
        from multiprocessing.util import Finalize

        Finalize(log, type(log).close, args=(log,), exitpriority=0)


def write_before_sigterm() -> None:
    """Have the rows written before SIGTERM kills the process, whatever handles the signal now.

    uvicorn, alone or as gunicorn's worker, shuts down in good order and then raises the signal again, which
    skips `atexit`: its shutdown writes the rows. Where nothing handles the signal, a handler writes the rows
    and raises it again; only the main thread can set one. Any other handler stays in place: what ends its
    process normally runs `atexit`.
    """
    server = uvicorn_server()
    if server is not None and server not in _watched:
        _watched.add(server)
        _write_at_shutdown(server)
    elif signal.getsignal(signal.SIGTERM) is signal.SIG_DFL and _is_main_thread():
        with suppress(ValueError):  # a subinterpreter may set none
            signal.signal(signal.SIGTERM, _write_and_end)


def uvicorn_server() -> Any | None:  # noqa: ANN401 - uvicorn need not be installed
    """The `uvicorn.Server` that handles SIGTERM in this process; None if there is none."""
    kind = getattr(sys.modules.get("uvicorn"), "Server", None)
    server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return server if kind is not None and isinstance(server, kind) else None


def wait_at_shutdown(bring: Callable[[], Awaitable[object]]) -> None:
    """Wait for what still brings rows when uvicorn has shut down, before they are written."""
    _bringers.append(bring)


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _write_at_shutdown(server: Any) -> None:  # noqa: ANN401 - a uvicorn.Server
    shut_down = server.shutdown

    async def shut_down_and_write(*arguments: object, **options: object) -> None:
        await shut_down(*arguments, **options)
        bringing = [asyncio.ensure_future(bring()) for bring in _bringers]
        if waiting := {*server.server_state.tasks, *bringing}:  # requests that were cancelled log their rows
            await asyncio.wait(waiting, timeout=_ENDING_S / 2)
        _write_out()

    server.shutdown = shut_down_and_write


def _write_and_end(number: int, frame: FrameType | None) -> None:
    """Write the rows in a thread, since the main thread may be in the middle of a row; then end as usual."""
    signal.signal(number, signal.SIG_DFL)

    def end() -> None:
        _write_out()
        os.kill(os.getpid(), number)

    threading.Thread(target=end, name="pointsman-end", daemon=True).start()


def _write_out() -> None:
    """Write the rows, in a thread: what never lets go of a log's lock must not hold up the end."""

    def write() -> None:
        for log in list(_open):
            log.flush(_ENDING_S)

    writing = threading.Thread(target=write, name="pointsman-ending", daemon=True)
    writing.start()
    writing.join(_ENDING_S)


@cache
def _register() -> None:
    atexit.register(_close_all)


def _close_all() -> None:
    for log in list(_open):
        log.close()
