"""Shutdown of a proxy's process: SIGTERM works like Ctrl-C, so that the last rows reach the call log."""

from __future__ import annotations

import signal
import sys
import threading
from functools import cache
from types import FrameType


@cache
def outlive_sigterm() -> None:
    """Pass SIGTERM to uvicorn as SIGINT, if uvicorn serves in this process's main thread.

    On either signal uvicorn shuts down in good order and then raises the signal again. A second SIGTERM kills
    the process before `atexit` writes the pending rows of the call log; a second SIGINT does not. The handler
    of any other server stays in place.
    """
    server = getattr(sys.modules.get("uvicorn"), "Server", None)
    handler = signal.getsignal(signal.SIGTERM)
    if server is None or not callable(handler) or not isinstance(getattr(handler, "__self__", None), server):
        return
    if threading.current_thread() is not threading.main_thread():
        return
    ending = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        if not ending.is_set():  # a second SIGINT would cut off running requests
            ending.set()
            handler(signal.SIGINT, frame)

    signal.signal(signal.SIGTERM, end)
