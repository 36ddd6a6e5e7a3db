"""Whether a call that failed was ever sent: what was not can't have been billed."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterable, Sequence


def why_unsent(error: BaseException | None) -> str | None:
    """Why not a byte of the request left; None where that is not certain.

    What an SDK says is not enough: LiteLLM calls a connection that broke in the middle an
    `httpx.ConnectError`, too. So the error of the library below it counts, and every error that is chained to
    this one has to be that of a connection that was never made, or a name that wraps such a one.

    Returns:
        The reason, with host and port and nothing else of the address, which may hold a key.
    """
    import aiohttp
    import httpcore
    import httpx

    never_made = (
        aiohttp.ClientConnectorError,
        aiohttp.ConnectionTimeoutError,
        aiohttp.InvalidURL,
        aiohttp.NonHttpUrlClientError,
        httpcore.ConnectError,
        httpcore.ConnectTimeout,
        httpcore.UnsupportedProtocol,
        httpx.InvalidURL,
        httpx.UnsupportedProtocol,
    )
    doubtful = (
        aiohttp.ClientError,
        httpcore.NetworkError,
        httpcore.ProtocolError,
        httpcore.ProxyError,
        httpcore.TimeoutException,
        httpx.HTTPError,
        TimeoutError,
        asyncio.CancelledError,
    )
    chain = _chained([error])
    certain = [one for one in chain if isinstance(one, never_made)]
    in_doubt = [one for one in chain if isinstance(one, doubtful) and not isinstance(one, never_made)]
    wrapping = {id(one) for one in chain if isinstance(one.__cause__, never_made)}
    wrapped = {id(one) for one in _chained(certain) if type(one) in (TimeoutError, asyncio.CancelledError)}
    if not certain or any(id(one) not in wrapping | wrapped for one in in_doubt):
        return None
    return _told(certain[-1])


def _chained(errors: Iterable[BaseException | None]) -> Sequence[BaseException]:
    """The errors, and all that they were raised from or during, each once."""
    found: dict[int, BaseException] = {}
    left = [error for error in errors if error is not None]
    while left:
        error = left.pop()
        if id(error) not in found:
            found[id(error)] = error
            left += [one for one in (error.__cause__, error.__context__) if one is not None]
    return list(found.values())


def _told(error: BaseException) -> str:
    """What kept the connection from being made."""
    import aiohttp

    if isinstance(error, aiohttp.ClientConnectorError):
        return _told_of_host(error.host, error.port, error.os_error)
    if "Timeout" in type(error).__name__:
        return "no connection within the timeout"
    if type(error).__name__ == "ConnectError":
        return "no connection"
    return "its api_base is no address that begins with http:// or https://"


def _told_of_host(host: str, port: int | None, error: OSError) -> str:
    place = host if port is None else f"{host}:{port}"
    if isinstance(error, ConnectionRefusedError):
        return f"{place} refuses connections"
    if isinstance(error, socket.gaierror):
        return f"no address is known for {host}"
    if isinstance(error, ssl.SSLError):
        return f"no TLS with {place}: {error.reason}"
    return f"no connection to {place}"
