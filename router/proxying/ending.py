"""The end of a proxy's process: SIGTERM ends it as Ctrl-C does, so that its last rows are written."""

from __future__ import annotations

import signal
import sys
import threading
from functools import cache
from types import FrameType


@cache
def outlive_sigterm() -> None:
    """Hand uvicorn SIGINT in SIGTERM's place, once it serves in this process's main thread.

    It shuts down in good order on both, and then raises the signal anew. SIGTERM kills the process there and
    then, before `atexit` writes what the call log still holds; SIGINT lets it run to its end. Any other
    server's handler stays as it is.
    """
    server = getattr(sys.modules.get("uvicorn"), "Server", None)
    handler = signal.getsignal(signal.SIGTERM)
    if server is None or not callable(handler) or not isinstance(getattr(handler, "__self__", None), server):
        return
    if threading.current_thread() is not threading.main_thread():
        return
    ending = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        if not ending.is_set():  # a second SIGINT would cut off the requests under way
            ending.set()
            handler(signal.SIGINT, frame)

    signal.signal(signal.SIGTERM, end)
