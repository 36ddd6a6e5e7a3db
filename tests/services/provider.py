"""A provider of the tests' own: it speaks the OpenAI chat protocol over loopback and follows a script.

Each model name has a script: the replies it gives, in order; the last one is repeated. A name without one
answers "answer from NAME". Every request is recorded.

    with Provider() as provider:
        provider.script("small", rate_limit(retry_after=0), answer("Four.", usage=tokens(12, 3, cached=8)))
        litellm.completion(model="openai/small", api_base=provider.api_base, api_key=KEY, messages=[...])
        assert [request.model for request in provider.requests] == ["small", "small"]

The same reply serves a plain request and a stream (`"stream": true`): a chunk with the role only, a chunk
per word, the finish, and the token counts where the request asks for them (`stream_options`). A stream can be
slow (`piece_delay_s`), fall silent (`silent_after`), break (`break_after`) or end in an error (`fail_after`);
the number is that of the words before it: 0 is before the first.

As a fixture: `from tests.services.provider import provider`. As a process of its own:
`python -m tests.services.provider --port 8123 --script script.json`, where the file holds, per model name, a
list of objects with the fields of `Reply`; `GET /requests` returns what was received, and
`POST /script` changes the script.
"""

from __future__ import annotations

import argparse
import json
import selectors
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import pytest

from router.records import Json

KEY = "sk-dummy-0123456789"
"""Any key will do; this one is easy to look for in what must not hold it."""

FOREVER = 3600.0
"""Seconds; a reply that waits so long never comes: the caller leaves, or the provider closes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the provider does with one request.

    Attributes:
        status: from 400 on, `body` is the answer.
        tool_calls: name and JSON text of the arguments, per call.
        usage: as the protocol has it; None: ten input tokens, an output token per word.
        delay_s: wait before the first byte.
        piece_delay_s: wait before each word of a stream.
        uncounted: no token counts, asked for or not.
        silent_after, break_after, fail_after: words of a stream after which nothing more comes, the
            connection is cut, or an error is sent.
        gated: the cut waits for `Provider.release`. A caller that lags behind loses what it has not read when
            the connection is cut, so a test that counts on the words before lets go once it has them.
        silent_after_finish: the same, after the finish reason.
        pings: a silent stream sends comments all the while, which make no piece.
        reset: the connection is reset before the first byte.
        raw: the body as it is, a stream's too; `headers` may name another content type than JSON.
    """

    status: int = 200
    text: str | None = None
    tool_calls: Sequence[Sequence[str]] = ()
    finish_reason: str = "stop"
    usage: Mapping[str, Any] | None = None
    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    piece_delay_s: float = 0.0
    uncounted: bool = False
    silent_after: int | None = None
    break_after: int | None = None
    fail_after: int | None = None
    gated: bool = False
    silent_after_finish: bool = False
    pings: bool = False
    reset: bool = False
    raw: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One request, as it arrived.

    Attributes:
        headers: names in lower case.
        arrived: unix seconds.
    """

    model: str
    body: Mapping[str, Any]
    headers: Mapping[str, str]
    arrived: float


def tokens(input_tokens: int, output_tokens: int, *, cached: int = 0, reasoning: int = 0) -> dict[str, Any]:
    """A `usage`; the cached and the reasoning tokens are part of the input and the output."""
    return {
        "prompt_tokens": input_tokens,
        "completion_tokens": output_tokens,
        "total_tokens": input_tokens + output_tokens,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }


def answer(text: str, *, usage: Mapping[str, Any] | None = None, **fields: Json) -> Reply:
    """A text."""
    return Reply(text=text, usage=usage, **fields)


def tool_call(name: str, **arguments: Json) -> Reply:
    """A call of one tool."""
    return Reply(tool_calls=((name, json.dumps(arguments)),), finish_reason="tool_calls")


def failure(status: int, message: str, *, code: str | None = None, kind: str | None = None) -> Reply:
    """An error in the protocol's form; `kind` is its `type`, by default the usual one of the status."""
    usual = "server_error" if status >= 500 else "invalid_request_error"
    return Reply(status=status, body={"error": {"message": message, "type": kind or usual, "code": code}})


def rate_limit(retry_after: float | None = None) -> Reply:
    """429, with the seconds to wait where they are given."""
    limited = failure(429, "Rate limit reached", code="rate_limit_exceeded", kind="requests")
    return limited if retry_after is None else replace(limited, headers={"Retry-After": str(retry_after)})


def server_error(status: int = 503) -> Reply:
    """The provider is in trouble."""
    return failure(status, "The server is overloaded")


def wrong_key() -> Reply:
    """401."""
    return failure(401, "Incorrect API key provided", code="invalid_api_key")


def bad_request() -> Reply:
    """400: the request itself is wrong."""
    return failure(400, "Invalid value for 'messages'", code="invalid_value")


def too_long() -> Reply:
    """400: more input than the model's context window holds."""
    text = (
        "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens."
    )
    return failure(400, text, code="context_length_exceeded")


def refused() -> Reply:
    """400: the provider's content policy."""
    text = "Your request was rejected as a result of our safety system."
    return failure(400, text, code="content_policy_violation")


def silence() -> Reply:
    """Not a byte: the caller's timeout ends it."""
    return Reply(text="too late", delay_s=FOREVER)


def odd(body: str, *, status: int = 200, content_type: str = "application/json", **headers: str) -> Reply:
    """A body that need not follow the protocol."""
    return Reply(raw=body, status=status, headers={"Content-Type": content_type, **headers})


def reset() -> Reply:
    """The connection is reset before the first byte."""
    return Reply(reset=True)


class Provider:
    """A running server; `with` stops it. Its methods may be called from any thread.

    Attributes:
        api_base: what LiteLLM is called with, beside `openai/NAME` as the model.
    """

    def __init__(self, port: int = 0) -> None:
        self._scripts: dict[str, list[Reply]] = {}
        self._received: list[Received] = []
        self._fetched: list[str] = []
        self._left = 0
        self._lock = threading.Lock()
        self.closing = threading.Event()
        self.released = threading.Event()
        self._server = _Server(("127.0.0.1", port), self)
        self.api_base = f"http://127.0.0.1:{self._server.server_port}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening; requests under way are cut off, and callers' idle connections ended."""
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._server.hang_up()

    def wait(self) -> None:
        """Until the server ends."""
        self._thread.join()

    def script(self, model: str, *replies: Reply) -> None:
        """What `model` answers from now on, in order; the last reply is repeated."""
        with self._lock:
            self._scripts[model] = list(replies)

    def release(self) -> None:
        """Let the streams go on that wait for it."""
        self.released.set()

    @property
    def requests(self) -> tuple[Received, ...]:
        """All that arrived, in order."""
        with self._lock:
            return tuple(self._received)

    def requests_of(self, model: str) -> tuple[Received, ...]:
        """Those for one model, in order."""
        return tuple(request for request in self.requests if request.model == model)

    @property
    def models(self) -> list[str]:
        """The model of every request, in order."""
        return [request.model for request in self.requests]

    @property
    def left(self) -> int:
        """Replies that the caller did not wait for."""
        with self._lock:
            return self._left

    @property
    def fetched(self) -> tuple[str, ...]:
        """Paths that were asked for by GET, in order: nobody should."""
        with self._lock:
            return tuple(self._fetched)

    def record_fetch(self, path: str) -> None:
        """Note a GET."""
        with self._lock:
            self._fetched.append(path)

    def record(self, request: Received) -> Reply:
        """Note a request; the reply it gets."""
        with self._lock:
            self._received.append(request)
            script = self._scripts.get(request.model)
            if not script:
                return answer(f"answer from {request.model}")
            return script.pop(0) if len(script) > 1 else script[0]

    def record_leaving(self) -> None:
        """Note that a caller hung up."""
        with self._lock:
            self._left += 1


class _Server(ThreadingHTTPServer):
    request_queue_size = 1024
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], provider: Provider) -> None:
        self.provider = provider
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - of socketserver
        with self._lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:  # noqa: ANN401 - of socketserver
        with self._lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """End every connection, and so the threads that wait for a further request on one."""
        with self._lock:
            left = tuple(self._connections)
        for connection in left:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        """A caller that hangs up is no error of the test."""


class _CallerLeft(Exception):
    pass


class _CutShort(Exception):
    pass


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 65536

    def log_message(self, *args: object) -> None:
        """Nothing: pytest shows what matters."""

    def do_GET(self) -> None:
        if self.path == "/requests":
            self._send(200, [asdict(request) for request in self.server.provider.requests])
        else:
            self.server.provider.record_fetch(self.path)
            self._send(404, {"error": {"message": f"no such path: {self.path}"}})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/script":
            for model, replies in body.items():
                self.server.provider.script(model, *(Reply(**reply) for reply in replies))
            return self._send(200, {})
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Received(model=body.get("model", "?"), body=body, headers=headers, arrived=time.time())
        try:
            self._reply(self.server.provider.record(request), body)
        except (_CallerLeft, BrokenPipeError, ConnectionResetError):
            self.close_connection = True
            self.server.provider.record_leaving()
        except _CutShort:
            self.close_connection = True
        return None

    def _reply(self, reply: Reply, body: Mapping[str, Any]) -> None:
        self._wait(reply.delay_s)
        if reply.reset:
            self._cut()
        elif reply.raw is not None:
            self._send_bytes(reply.status, reply.raw.encode(), reply.headers)
        elif reply.status >= 400:
            self._send(reply.status, reply.body, reply.headers)
        elif body.get("stream"):
            self._stream(reply, body)
        else:
            self._send(200, _completion(reply, body["model"]), reply.headers)

    def _send(self, status: int, body: object, headers: Mapping[str, str] | None = None) -> None:
        self._send_bytes(status, json.dumps(body).encode(), headers)

    def _send_bytes(self, status: int, payload: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)
        self.wfile.flush()

    def _stream(self, reply: Reply, body: Mapping[str, Any]) -> None:
        self.send_response(200)
        for name, value in {"Content-Type": "text/event-stream", **reply.headers}.items():
            self.send_header(name, value)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        chunk = _chunk_of(body["model"])
        self._event({**chunk, "choices": [_choice({"role": "assistant", "content": ""})]})
        for number, delta in enumerate([*_deltas(reply), None]):
            self._interrupt(reply, number)
            if delta is not None:
                self._wait(reply.piece_delay_s)
                self._event({**chunk, "choices": [_choice(delta)]})
        self._event({**chunk, "choices": [_choice({}, reply.finish_reason)]})
        if reply.silent_after_finish:
            self._be_silent(pings=reply.pings)
        if (body.get("stream_options") or {}).get("include_usage") and not reply.uncounted:
            self._event({**chunk, "choices": [], "usage": _usage(reply)})
        self._write(b"data: [DONE]\n\n")
        self._end()

    def _interrupt(self, reply: Reply, number: int) -> None:
        """What the script has in store for a stream before this word."""
        if number == reply.break_after:
            while reply.gated and not self.server.provider.released.is_set():
                self._wait(0.05)
            self._cut()
            raise _CutShort
        if number == reply.fail_after:
            self._event({"error": {"message": "The model crashed", "type": "server_error"}})
            self._end()
            raise _CutShort
        if number == reply.silent_after:
            self._be_silent(pings=reply.pings)

    def _be_silent(self, *, pings: bool) -> None:
        """Until the caller leaves."""
        while pings:
            self._wait(0.05)
            self._write(b": still alive\n\n")
        self._wait(FOREVER)

    def _event(self, value: Mapping[str, Any]) -> None:
        self._write(b"data: " + json.dumps(value).encode() + b"\n\n")

    def _write(self, data: bytes) -> None:
        """One HTTP chunk, at once."""
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def _end(self) -> None:
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    def _wait(self, seconds: float) -> None:
        """Sleep, unless the caller leaves or the provider closes first."""
        until = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:  # select.select takes no file number above 1023
            selector.register(self.connection, selectors.EVENT_READ)
            while (left := until - time.monotonic()) > 0:
                readable = selector.select(min(left, 0.05))
                if self.server.provider.closing.is_set():
                    raise _CallerLeft
                if readable and self.connection.recv(1, socket.MSG_PEEK) == b"":
                    raise _CallerLeft

    def _cut(self) -> None:
        """Reset the connection: what was sent arrives or not, nothing more does."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RD)
        self.connection.close()


def _completion(reply: Reply, model: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": reply.text, "tool_calls": _tool_calls(reply) or None}
    counted = {} if reply.uncounted else {"usage": _usage(reply)}
    return {
        "id": _new_id(),
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": reply.finish_reason}],
        **counted,
    }


def _new_id() -> str:
    return f"chatcmpl-{uuid4().hex}"


def _tool_calls(reply: Reply) -> list[dict[str, Any]]:
    return [
        {"id": f"call_{number}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for number, (name, arguments) in enumerate(reply.tool_calls)
    ]


def _usage(reply: Reply) -> Mapping[str, Any]:
    return reply.usage or tokens(10, len((reply.text or "").split()))


def _deltas(reply: Reply) -> Iterator[dict[str, Any]]:
    """What each piece of a stream adds: a word, or one tool call."""
    for number, word in enumerate((reply.text or "").split()):
        yield {"content": word if number == 0 else f" {word}"}
    for number, call in enumerate(_tool_calls(reply)):
        yield {"tool_calls": [{"index": number, **call}]}


def _chunk_of(model: str) -> dict[str, Any]:
    created = int(time.time())
    return {"id": _new_id(), "object": "chat.completion.chunk", "created": created, "model": model}


def _choice(delta: Mapping[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "finish_reason": finish_reason}


@pytest.fixture
def provider() -> Iterator[Provider]:
    """A provider without a script, running until the test ends."""
    with Provider() as running:
        yield running


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until killed; the first line of the output is the address."""
    parser = argparse.ArgumentParser(prog="python -m tests.services.provider")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--script", type=Path, help="JSON: per model name, a list of replies")
    given = parser.parse_args(arguments)
    script = json.loads(given.script.read_text(encoding="utf-8")) if given.script else {}
    with Provider(given.port) as running:
        for model, replies in script.items():
            running.script(model, *(Reply(**reply) for reply in replies))
        sys.stdout.write(f"{running.api_base}\n")
        sys.stdout.flush()
        running.wait()


if __name__ == "__main__":
    main()
