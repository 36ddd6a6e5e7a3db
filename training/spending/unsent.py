"""Whether a failed call was ever sent: one that was not can't be billed."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterable, Sequence


def why_unsent(error: BaseException | None) -> str | None:
    """Why no byte of the request was sent; None if that is not certain.

    The error of an SDK is not enough: LiteLLM also raises `httpx.ConnectError` for a connection that broke
    midway. So the error of the HTTP library below counts: every error in the chain must be a connection that
    was never made, or wrap such an error.

    Returns:
        The reason, with host and port but no other part of the address, which may hold a key.
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
    return _reason(certain[-1])


def _chained(errors: Iterable[BaseException | None]) -> Sequence[BaseException]:
    """The errors, and each error that they were raised from or during, once."""
    chain: dict[int, BaseException] = {}
    left = [error for error in errors if error is not None]
    while left:
        error = left.pop()
        if id(error) not in chain:
            chain[id(error)] = error
            left += [one for one in (error.__cause__, error.__context__) if one is not None]
    return list(chain.values())


def _reason(error: BaseException) -> str:
    """Why the connection was never made."""
    import aiohttp

    if isinstance(error, aiohttp.ClientConnectorError):
        return _reason_with_host(error.host, error.port, error.os_error)
    if "Timeout" in type(error).__name__:
        return "no connection within the timeout"
    if type(error).__name__ == "ConnectError":
        return "no connection"
    return "its api_base does not begin with http:// or https://"


def _reason_with_host(host: str, port: int | None, error: OSError) -> str:
    place = host if port is None else f"{host}:{port}"
    if isinstance(error, ConnectionRefusedError):
        return f"{place} refuses connections"
    if isinstance(error, socket.gaierror):
        return f"no address is known for {host}"
    if isinstance(error, ssl.SSLError):
        return f"no TLS with {place}: {error.reason}"
    return f"no connection to {place}"
