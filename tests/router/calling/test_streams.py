from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from router.calling.transport import AsyncStream, Stream
from router.errors import CallFailed, StreamBroken
from router.records import Json
from tests.router.calling.four_ways import (
    MESSAGES,
    STREAMED,
    Caller,
    Way,
    caller,
    config_of,
    joined,
    key,
    run,
    streamed_async,
)
from tests.services.provider import Provider, Reply, answer, provider, silence, tokens
from tests.services.waiting import wait_until

__all__ = ["key", "provider"]  # fixtures

pytestmark = pytest.mark.usefixtures("key")

BROKEN_AT_THE_START = [
    pytest.param(answer("one two", break_after=0), "connection", id="broken"),
    pytest.param(answer("one two", silent_after=0), "timeout", id="silent"),
    pytest.param(answer("one two", fail_after=0), "server", id="an error instead"),
    pytest.param(silence(), "timeout", id="not even a header"),
]
BROKEN_LATER = [
    pytest.param(answer("one two three", break_after=2), id="broken"),
    pytest.param(answer("one two three", silent_after=2), id="silent"),
    pytest.param(answer("one two three", fail_after=2), id="an error instead"),
]
COUNTED = tokens(1000, 2)
SLOW = answer("one two three", silent_after=1)
"""One word, and then nothing for as long as the caller waits."""


def opened(bench: Caller, **arguments: Json) -> Stream:
    given = {"messages": MESSAGES, "stream": True, **arguments}
    return bench.transport.completion(["small", "large"], given, bench.observe)  # type: ignore[no-any-return]


async def opened_async(bench: Caller, **arguments: Json) -> AsyncStream:
    given = {"messages": MESSAGES, "stream": True, **arguments}
    return await bench.transport.acompletion(["small", "large"], given, bench.observe)  # type: ignore[no-any-return]


@pytest.mark.parametrize("way", STREAMED)
@pytest.mark.parametrize(("reply", "kind"), BROKEN_AT_THE_START)
def test_a_stream_that_breaks_before_its_first_token_is_left_for_the_next_model(
    provider: Provider, way: Way, reply: Reply, kind: str
) -> None:
    provider.script("small", reply)
    patience = 0.3 if kind == "timeout" else 60.0
    bench = caller(config_of(provider, models={"small": {"timeout_s": patience}}))
    assert bench.call(way, "small", "large") == "answer from large"
    assert bench.kinds == [("small", kind), ("large", None)]


@pytest.mark.parametrize("way", STREAMED)
@pytest.mark.parametrize("reply", BROKEN_LATER)
def test_a_stream_that_breaks_after_its_first_token_fails(provider: Provider, way: Way, reply: Reply) -> None:
    provider.script("small", reply)
    patience = 60.0 if reply.silent_after is None else 2.0  # the words before the silence must come in time
    bench = caller(config_of(provider, retries=2, models={"small": {"timeout_s": patience}}))
    with pytest.raises(StreamBroken, match="small: the stream broke after its first piece") as caught:
        bench.call(way, "small", "large")
    assert caught.value.model == "small"
    assert caught.value.__cause__ is bench.attempts[0].error
    assert bench.kinds == [("small", "broken_stream")]
    assert provider.models == ["small"]


@pytest.mark.parametrize("way", STREAMED)
def test_streams_that_all_break_before_their_first_token_are_a_failed_call(
    provider: Provider, way: Way
) -> None:
    provider.script("small", answer("one", break_after=0))
    bench = caller(config_of(provider, retries=1))
    with pytest.raises(CallFailed, match=r"after 2 attempt\(s\)"):
        bench.call(way, "small")
    assert bench.kinds == [("small", "connection")] * 2


def test_what_came_before_a_break_is_handed_out(provider: Provider) -> None:
    provider.script("small", answer("one two three", break_after=2))
    bench = caller(config_of(provider))
    stream = opened(bench)
    assert joined([next(stream) for _ in range(3)]) == "one two"
    with pytest.raises(StreamBroken, match="small"):
        next(stream)
    assert list(stream) == []
    assert bench.attempts[0].response.choices[0].message.content == "one two"


def test_what_came_before_a_break_is_handed_out_to_async_code_too(provider: Provider) -> None:
    provider.script("small", answer("one two three", break_after=2))
    bench = caller(config_of(provider))

    async def read() -> None:
        stream = await opened_async(bench)
        assert joined([await anext(stream) for _ in range(3)]) == "one two"
        with pytest.raises(StreamBroken, match="small"):
            await anext(stream)
        assert [piece async for piece in stream] == []

    run(read())


@pytest.mark.parametrize("way", STREAMED)
def test_a_broken_stream_counts_against_its_model(provider: Provider, way: Way) -> None:
    provider.script("small", answer("one two", break_after=1))
    bench = caller(config_of(provider, cool_down={"failures": 1}))
    with pytest.raises(StreamBroken, match="small"):
        bench.call(way, "small", "large")
    assert bench.call(way, "small", "large") == "answer from large"


def test_a_stream_tells_which_model_answers_and_what_it_did_not_get(provider: Provider) -> None:
    provider.script("small", answer("one", break_after=0))
    stream = opened(caller(config_of(provider, models={"large": {"drop": ["seed"]}})), seed=7)
    assert stream.model == "large"
    assert stream.notes == ("large does not get 'seed': left out, as configured",)


def test_pieces_are_handed_out_as_they_come(provider: Provider) -> None:
    provider.script("small", SLOW)
    stream = opened(caller(config_of(provider)))
    assert joined([next(stream), next(stream)]) == "one"
    stream.close()


def test_pieces_of_an_async_stream_are_handed_out_as_they_come(provider: Provider) -> None:
    provider.script("small", SLOW)

    async def read() -> str:
        async with await opened_async(caller(config_of(provider))) as stream:
            return joined([await anext(stream), await anext(stream)])

    assert run(read()) == "one"


def test_a_provider_that_only_says_it_is_alive_is_not_waited_for(provider: Provider) -> None:
    provider.script("small", answer("one two", silent_after=0, pings=True))
    bench = caller(config_of(provider, models={"small": {"timeout_s": 0.3}}))
    assert bench.call(streamed_async, "small", "large") == "answer from large"
    assert bench.kinds == [("small", "timeout"), ("large", None)]


def shapes(pieces: list[Any]) -> list[tuple[bool, bool]]:
    """Per piece: has it a finish reason, has it token counts?"""
    return [
        (bool(piece.choices and piece.choices[0].finish_reason), getattr(piece, "usage", None) is not None)
        for piece in pieces
    ]


def test_token_counts_that_the_caller_did_not_ask_for_stay_out_of_his_stream(provider: Provider) -> None:
    provider.script("small", answer("one two", usage=COUNTED))
    bench = caller(config_of(provider))
    assert shapes(list(opened(bench)))[-2:] == [(False, False), (True, False)]
    assert bench.attempts[0].usage.input_tokens == 1000


def test_token_counts_that_the_caller_asked_for_are_his_last_piece(provider: Provider) -> None:
    provider.script("small", answer("one two", usage=COUNTED))
    bench = caller(config_of(provider))
    pieces = list(opened(bench, stream_options={"include_usage": True}))
    assert shapes(pieces)[-2:] == [(True, False), (False, True)]
    assert bench.attempts[0].usage.input_tokens == 1000


def test_a_stream_that_nobody_counted_has_no_piece_with_counts(provider: Provider) -> None:
    provider.script("small", answer("one two", uncounted=True))
    bench = caller(config_of(provider))
    pieces = list(opened(bench, stream_options={"include_usage": True}))
    assert shapes(pieces)[-1] == (True, False)
    assert bench.attempts[0].usage.input_tokens is None


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"drop": ["stream_options"]}, id="by the settings"),
        pytest.param({"litellm_model": "bytez/small"}, id="by LiteLLM's list"),
    ],
)
def test_a_model_that_must_not_be_asked_for_token_counts_is_not(
    provider: Provider, settings: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Json] = []

    def completion(**arguments: Json) -> Json:
        sent.append(arguments)
        return iter(())

    monkeypatch.setattr("litellm.completion", completion)
    list(opened(caller(config_of(provider, models={"small": settings}))))
    assert "stream_options" not in sent[0]


@pytest.mark.parametrize("way", STREAMED)
def test_a_stream_without_token_counts_makes_nobody_look_at_its_images(
    provider: Provider, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LiteLLM would count the tokens of the messages, and fetch their images for it."""
    monkeypatch.setattr("litellm.user_url_validation", False)  # else it fetches from public hosts only
    url = provider.api_base.replace("/v1", "/image.png")
    image = {"type": "image_url", "image_url": {"url": url, "detail": "high"}}
    provider.script("small", answer("one", uncounted=True))
    bench = caller(config_of(provider))
    assert bench.call(way, "small", messages=[{"role": "user", "content": [image]}]) == "one"
    assert bench.attempts[0].response.choices[0].message.content == "one"
    assert provider.fetched == ()


def test_a_closed_stream_is_reported_once_with_what_was_received(provider: Provider) -> None:
    provider.script("small", SLOW)
    bench = caller(config_of(provider))
    stream = opened(bench)
    assert joined([next(stream), next(stream)]) == "one"
    stream.close()
    stream.close()
    assert list(stream) == []
    assert bench.kinds == [("small", "cancelled")]
    assert bench.attempts[0].response.choices[0].message.content == "one"


def test_closing_a_stream_hangs_up(provider: Provider) -> None:
    provider.script("small", SLOW)
    with opened(caller(config_of(provider))):
        pass
    wait_until(lambda: provider.left == 1)


def test_closing_an_async_stream_hangs_up_and_is_reported(provider: Provider) -> None:
    provider.script("small", SLOW)
    bench = caller(config_of(provider))

    async def close() -> None:
        stream = await opened_async(bench)
        await anext(stream)
        await stream.aclose()
        await stream.aclose()
        assert [piece async for piece in stream] == []

    run(close())
    assert bench.kinds == [("small", "cancelled")]
    wait_until(lambda: provider.left == 1)


def test_a_stream_that_nobody_reads_is_reported_when_it_is_garbage(provider: Provider) -> None:
    provider.script("small", SLOW)
    bench = caller(config_of(provider))
    opened(bench)
    gc.collect()
    wait_until(lambda: bench.kinds == [("small", "cancelled")])
    wait_until(lambda: provider.left == 1)


def test_an_async_stream_that_nobody_reads_is_reported_when_it_is_garbage(provider: Provider) -> None:
    provider.script("small", SLOW)
    bench = caller(config_of(provider))

    async def forget() -> None:
        await opened_async(bench)
        gc.collect()

    asyncio.run(forget())
    assert bench.kinds == [("small", "cancelled")]
    wait_until(lambda: provider.left == 1)


def test_a_stream_that_is_left_at_its_end_has_answered(provider: Provider) -> None:
    """Many a loop ends with the finish reason; the tokens come after it."""
    provider.script("small", answer("one two", usage=COUNTED))
    bench = caller(config_of(provider))
    for piece in opened(bench):
        if piece.choices[0].finish_reason:
            break
    assert bench.kinds == [("small", None)]
    assert bench.attempts[0].usage.input_tokens == 1000


def test_a_stream_that_breaks_after_its_end_has_answered(provider: Provider) -> None:
    provider.script("small", answer("one", silent_after_finish=True))
    bench = caller(config_of(provider, models={"small": {"timeout_s": 2.0}}))  # the word must come in time
    assert joined(opened(bench)) == "one"
    assert bench.kinds == [("small", None)]


def test_a_task_cancelled_while_it_waits_for_a_piece_is_reported(provider: Provider) -> None:
    provider.script("small", SLOW)
    bench = caller(config_of(provider))

    async def read() -> None:
        async for _ in await opened_async(bench):
            reading.set()

    async def cancel() -> None:
        task = asyncio.create_task(read())
        await reading.wait()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    reading = asyncio.Event()
    run(cancel())
    assert bench.kinds == [("small", "cancelled")]
    assert isinstance(bench.attempts[0].error, asyncio.CancelledError)
    wait_until(lambda: provider.left == 1)


def test_the_time_to_the_first_token_is_known(provider: Provider) -> None:
    bench = caller(config_of(provider))
    list(opened(bench))
    attempt = bench.attempts[0]
    assert attempt.first_token_s is not None
    assert 0 < attempt.first_token_s <= attempt.latency_s


def test_a_stream_carries_what_others_hang_on_it(provider: Provider) -> None:
    """The router hangs its decision on whatever it returns."""
    stream = opened(caller(config_of(provider)))
    object.__setattr__(stream, "decision", "left")
    assert vars(stream)["decision"] == "left"
    list(stream)
