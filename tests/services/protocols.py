"""A provider that speaks every protocol LiteLLM translates: each answer counts the same tokens.

    with ManyProtocols() as provider:
        litellm.responses(model="openai/m", api_base=f"{provider.address}/v1", input="hi")

A model whose name starts with "uncounted" reports no token counts.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Self

from router.records import Json

TEXT = "Line 4"
INPUT, CACHED, OUTPUT = 1000, 900, 200
CHAT_USAGE = {
    "prompt_tokens": INPUT,
    "completion_tokens": OUTPUT,
    "total_tokens": INPUT + OUTPUT,
    "prompt_tokens_details": {"cached_tokens": CACHED},
}
MESSAGES_USAGE = {
    "input_tokens": INPUT - CACHED,
    "cache_read_input_tokens": CACHED,
    "cache_creation_input_tokens": 0,
    "output_tokens": OUTPUT,
}
RESPONSES_USAGE = {
    "input_tokens": INPUT,
    "input_tokens_details": {"cached_tokens": CACHED},
    "output_tokens": OUTPUT,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": INPUT + OUTPUT,
}
GEMINI_USAGE = {
    "promptTokenCount": INPUT,
    "cachedContentTokenCount": CACHED,
    "candidatesTokenCount": OUTPUT,
    "totalTokenCount": INPUT + OUTPUT,
}


class ManyProtocols:
    """A running server on loopback; `with` stops it.

    Attributes:
        paths: path of every request, in order.
    """

    def __init__(self) -> None:
        self.paths: list[str] = []
        handler = type("Handler", (_Handler,), {"paths": self.paths})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    paths: ClassVar[list[str]]

    def log_message(self, *args: object) -> None:
        """Nothing: pytest shows what matters."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.paths.append(self.path)
        path, model = self.path.partition("?")[0], str(body.get("model"))
        streams = bool(body.get("stream")) or path.endswith(":streamGenerateContent")
        protocol = next(made for end, made in _PROTOCOLS.items() if end in path)
        whole, events = protocol(model, body)
        self.send_response(200)
        self.send_header("content-type", "text/event-stream" if streams else "application/json")
        self.end_headers()
        if not streams:
            self.wfile.write(json.dumps(whole).encode())
        for name, event in events if streams else ():
            line = event if isinstance(event, str) else json.dumps(event)
            self.wfile.write(f"{f'event: {name}{chr(10)}' if name else ''}data: {line}\n\n".encode())


Made = tuple[Json, Iterator[tuple[str, Json]]]


def _counts(model: str, usage: Mapping[str, Json]) -> dict[str, Json]:
    return {} if model.startswith("uncounted") else {"usage": usage}


def _chat(model: str, body: Mapping[str, Any]) -> Made:
    whole = {
        "id": "c1",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}],
        **_counts(model, CHAT_USAGE),
    }

    def events() -> Iterator[tuple[str, Json]]:
        chunk = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": model}
        for delta, finish in (
            ({"role": "assistant", "content": "Line"}, None),
            ({"content": " 4"}, None),
            ({}, "stop"),
        ):
            yield "", {**chunk, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
        if (body.get("stream_options") or {}).get("include_usage") and _counts(model, CHAT_USAGE):
            yield "", {**chunk, "choices": [], "usage": CHAT_USAGE}
        yield "", "[DONE]"

    return whole, events()


def _legacy(model: str, body: Mapping[str, Any]) -> Made:
    choice = {"index": 0, "text": TEXT, "finish_reason": "stop", "logprobs": None}
    whole = {"id": "t1", "object": "text_completion", "created": 1, "model": model, "choices": [choice]}

    def events() -> Iterator[tuple[str, Json]]:
        yield "", {**whole, "choices": [{**choice, "finish_reason": None}]}
        yield "", {**whole, "choices": [{**choice, "text": ""}]}
        if (body.get("stream_options") or {}).get("include_usage") and _counts(model, CHAT_USAGE):
            yield "", {**whole, "choices": [], "usage": CHAT_USAGE}
        yield "", "[DONE]"

    return {**whole, **_counts(model, CHAT_USAGE)}, events()


def _messages(model: str, body: Mapping[str, Any]) -> Made:
    shell = {"id": "msg_1", "type": "message", "role": "assistant", "model": model, "stop_sequence": None}
    text = {"type": "text", "text": TEXT}
    whole = {**shell, "content": [text], "stop_reason": "end_turn", "usage": MESSAGES_USAGE}

    def events() -> Iterator[tuple[str, Json]]:
        began: dict[str, Json] = {
            **shell,
            "content": [],
            "stop_reason": None,
            "usage": {**MESSAGES_USAGE, "output_tokens": 1},
        }
        ended = {"stop_reason": "end_turn", "stop_sequence": None}
        pieces: list[dict[str, Json]] = [
            {"type": "message_start", "message": began},
            {"type": "content_block_start", "index": 0, "content_block": {**text, "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": TEXT}},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": ended, "usage": {"output_tokens": OUTPUT}},
            {"type": "message_stop"},
        ]
        yield from ((piece["type"], piece) for piece in pieces)

    return whole, events()


def _responses(model: str, body: Mapping[str, Any]) -> Made:
    part = {"type": "output_text", "text": TEXT, "annotations": []}
    item = {"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": [part]}
    whole = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "status": "completed",
        "model": model,
        "output": [item],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        **_counts(model, RESPONSES_USAGE),
    }

    def events() -> Iterator[tuple[str, Json]]:
        place = {"item_id": "m", "output_index": 0, "content_index": 0}
        pieces: list[dict[str, Json]] = [
            {
                "type": "response.created",
                "response": {**whole, "status": "in_progress", "output": [], "usage": None},
            },
            {
                "type": "response.output_item.added",
                "output_index": 0,
                "item": {**item, "status": "in_progress", "content": []},
            },
            {"type": "response.content_part.added", **place, "part": {**part, "text": ""}},
            {"type": "response.output_text.delta", **place, "delta": TEXT},
            {"type": "response.output_text.done", **place, "text": TEXT},
            {"type": "response.content_part.done", **place, "part": part},
            {"type": "response.output_item.done", "output_index": 0, "item": item},
            {"type": "response.completed", "response": whole},
        ]
        yield from ((piece["type"], {**piece, "sequence_number": at}) for at, piece in enumerate(pieces))

    return whole, events()


def _gemini(model: str, body: Mapping[str, Any]) -> Made:
    content = {"role": "model", "parts": [{"text": TEXT}]}
    whole = {
        "candidates": [{"content": content, "finishReason": "STOP", "index": 0}],
        "usageMetadata": GEMINI_USAGE,
        "modelVersion": "gemini-2.5-flash",
    }
    return whole, iter([("", whole)])


_PROTOCOLS = {
    "/chat/completions": _chat,
    "/completions": _legacy,
    "/messages": _messages,
    "/responses": _responses,
    "enerateContent": _gemini,
}
