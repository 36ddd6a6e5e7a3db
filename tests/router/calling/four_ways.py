"""The four ways to call models, so that a rule is tested in each: plain and streamed, sync and async."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import pytest

from router.calling.running import Observe
from router.calling.transport import Attempt, Clock, Transport
from router.records import Json
from router.settings.sections import Config
from tests.services.provider import KEY, Provider

Arguments: TypeAlias = dict[str, Json]
Way: TypeAlias = Callable[[Transport, list[str], Arguments, Observe], str]

run = asyncio.Runner().run
"""One event loop for all tests, as an application has: LiteLLM keeps its connections open in it."""

MESSAGES = [{"role": "user", "content": "What is a pointsman's secret?"}]
KEY_VARIABLE = "POINTSMAN_TEST_PROVIDER_KEY"
NAMES = ("small", "middle", "large")


def whole(transport: Transport, chain: list[str], arguments: Arguments, observe: Observe) -> str:
    return text_of(transport.completion(chain, arguments, observe))


def streamed(transport: Transport, chain: list[str], arguments: Arguments, observe: Observe) -> str:
    return joined(transport.completion(chain, {**arguments, "stream": True}, observe))


def whole_async(transport: Transport, chain: list[str], arguments: Arguments, observe: Observe) -> str:
    return text_of(run(transport.acompletion(chain, arguments, observe)))


def streamed_async(transport: Transport, chain: list[str], arguments: Arguments, observe: Observe) -> str:
    async def read() -> str:
        stream = await transport.acompletion(chain, {**arguments, "stream": True}, observe)
        return joined([piece async for piece in stream])

    return run(read())


def text_of(response: Json) -> str:
    return response.choices[0].message.content or ""


def joined(pieces: Json) -> str:
    return "".join(choice.delta.content or "" for piece in pieces for choice in piece.choices)


PLAIN = [pytest.param(whole, id="plain"), pytest.param(whole_async, id="async")]
STREAMED = [pytest.param(streamed, id="stream"), pytest.param(streamed_async, id="async stream")]
EVERY_WAY = [*PLAIN, *STREAMED]


@dataclass
class Caller:
    """Calls through a transport whose waits take no time, and keeps the attempts."""

    transport: Transport
    attempts: list[Attempt] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def observe(self, attempt: Attempt) -> None:
        with self.lock:
            self.attempts.append(attempt)

    @property
    def kinds(self) -> list[tuple[str, str | None]]:
        """Model and kind of each attempt, in order."""
        return [(attempt.model, attempt.kind) for attempt in self.attempts]

    def call(self, way: Way, *chain: str, **arguments: Json) -> str:
        return way(self.transport, list(chain), {"messages": MESSAGES, **arguments}, self.observe)


def caller(config: Config, client: Json = None, **clock: Json) -> Caller:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    sleep_async: Callable[[float], Awaitable[None]] = sleep
    times = Clock(**{"sleep": waits.append, "sleep_async": sleep_async, "draw": lambda: 1.0, **clock})
    return Caller(Transport(config, client, clock=times), waits=waits)


def config_of(provider: Provider, *, models: dict[str, Any] | None = None, **calls: Json) -> Config:
    """Settings under which each name is a model of the local provider's; no retries by default."""
    here = {"api_base": provider.api_base, "api_key_env": KEY_VARIABLE}
    named = {
        name: {"litellm_model": f"openai/{name}", **here, **(models or {}).get(name, {})} for name in NAMES
    }
    rules = {"retries": 0, "timeout_s": 30.0, **calls}
    return Config.model_validate({"models": named, "calls": rules})


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> str:
    """The environment holds the provider's key."""
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    return KEY
