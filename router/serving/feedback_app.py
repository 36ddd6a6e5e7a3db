"""Feedback over HTTP: an ASGI application that adds outcomes to a call log."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

from router.call_log.feedback import FeedbackWriter, json_object
from router.call_log.log import check_feedback
from router.call_log.lookup import known_calls
from router.errors import ConfigError, RouterError
from router.forking import ForkSafe
from router.records import Json

LEAST_KEY: Final = 16
"""Characters of the shortest key."""
MOST_BYTES: Final = 16_384
"""Longest body."""
BODY_S: Final = 10.0
"""Longest wait for a body."""
ROW_S: Final = 1.0
"""Time after which the row of an answered call is in its log."""
AT_ONCE: Final = 8
"""Feedbacks that are stored at once; further ones wait."""
FIELDS: Final = frozenset({"call_id", "success", "score", "source"})
FORM: Final = (
    "a feedback is a JSON object with call_id, success (true or false) or score (a number from 0 to 1) or "
    "both, perhaps source (who reports it), and nothing else"
)

Scope: TypeAlias = Mapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Mapping[str, Any]]]
Send: TypeAlias = Callable[[dict[str, Any]], Awaitable[None]]


class _Refused(Exception):
    def __init__(self, status: int, why: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(why)
        self.status, self.headers = status, headers or {}


class FeedbackApp:
    """An ASGI application of one route, wherever it is mounted: `POST {"call_id": ..., "success": true}`.

    A request needs the header `Authorization: Bearer KEY`. The answer is 200 once the feedback is stored. A
    refusal is a JSON object whose `error` is a sentence that repeats nothing of the request: 400 (form), 401
    (key), 404 (no such call), 405, 408, 413, 503 (the log can't be read or written now). The same feedback
    again changes nothing; of several on one call the last to arrive counts.
    """

    def __init__(self, log: str | Path | Callable[[], str | Path], *, key: str) -> None:
        """Serve a log.

        Args:
            log: its address, or a function that returns it; that may be slow, and raise a RouterError.
            key: at least 16 characters, such as `secrets.token_urlsafe()` makes.

        Raises:
            ConfigError: the key is too short.
        """
        if len(key) < LEAST_KEY:
            raise ConfigError(
                f"the feedback key has {len(key):,} characters: choose a random one of {LEAST_KEY} or more"
            )
        self._key = key.encode()
        self._log = log if callable(log) else lambda: log
        self._turns = ForkSafe(partial(asyncio.Semaphore, AT_ONCE))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            raise ConfigError(f"feedback comes by HTTP, not by {scope['type']!r}")
        headers: Mapping[str, str] = {}
        answer: Json
        try:
            self._check(scope)
            body = await asyncio.wait_for(_body(receive), BODY_S)
            async with self._turns.part:
                await self._store(body)
            status, answer = 200, {"stored": True}
        except _Refused as refused:
            status, answer, headers = refused.status, {"error": str(refused)}, refused.headers
        except TimeoutError:
            status, answer = 408, {"error": f"the body did not come within {BODY_S:g} s"}
        except ValueError:
            status, answer = 400, {"error": FORM}
        except RouterError:
            status = 503
            answer = {"error": "the call log can't be read or written now; give the feedback again later"}
        if status != 200 and scope["http_version"].startswith("1"):
            headers = {**headers, "connection": "close"}  # or a server goes on reading a body without end
        await _answer(send, status, answer, headers)

    def _check(self, scope: Scope) -> None:
        header = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        scheme, _, key = header.partition(b" ")
        if not hmac.compare_digest(key, self._key) or scheme.lower() != b"bearer":
            why = "the key is missing or wrong: send the header Authorization: Bearer KEY"
            raise _Refused(401, why, {"www-authenticate": "Bearer"})
        if scope["method"] != "POST":
            raise _Refused(405, "send feedback by POST", {"allow": "POST"})

    async def _store(self, body: bytes) -> None:
        """Store one feedback.

        Raises:
            _Refused: the log has no such call.
            RouterError: the log can't be read or written.
            ValueError: the feedback has the wrong form.
        """
        members = json_object(body)
        if members.keys() - FIELDS:
            raise ValueError("unknown members")
        feedback = {"source": "feedback", "success": None, "score": None, "call_id": None, **members}
        check_feedback(**feedback)
        log = await asyncio.to_thread(self._log)
        known = partial(asyncio.to_thread, known_calls, log, [feedback["call_id"]])
        if not await known():
            await asyncio.sleep(ROW_S)
            if not await known():
                raise _Refused(404, "the log has no call of this call_id")
        await asyncio.to_thread(_write, str(log), feedback)


def _write(log: str, feedback: Mapping[str, Json]) -> None:
    with FeedbackWriter(log) as writer:
        writer.give(**feedback)
        writer.store()


async def _body(receive: Receive) -> bytes:
    whole = b""
    while True:
        message = await receive()
        whole += bytes(message.get("body", b""))
        if len(whole) > MOST_BYTES:
            raise _Refused(413, f"a feedback has at most {MOST_BYTES} bytes")
        if not message.get("more_body"):
            return whole


async def _answer(send: Send, status: int, answer: Json, headers: Mapping[str, str]) -> None:
    body = json.dumps(answer).encode()
    fields = {"content-type": "application/json", "content-length": str(len(body)), **headers}
    named = [(name.encode(), value.encode()) for name, value in fields.items()]
    await send({"type": "http.response.start", "status": status, "headers": named})
    await send({"type": "http.response.body", "body": body})
