"""A port for a server that is told its port by number."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def held_port() -> Iterator[int]:
    """A port of loopback that nobody else is given until the block ends; until a server listens, it refuses.

    A socket holds it that does not listen. On Linux a server may listen on it all the same, and again after a
    restart, because both say SO_REUSEADDR, as nearly all servers do; elsewhere the port is let go of at once.
    """
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        port = int(holder.getsockname()[1])
        if sys.platform != "linux":
            holder.close()
        yield port
