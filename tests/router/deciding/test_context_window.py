from __future__ import annotations

import socket
import subprocess
import sys
from itertools import accumulate
from typing import Never

import litellm
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from router.deciding import context_window
from router.deciding.context_window import EXACT, GLANCE, ROUGH, SAMPLE, SPREAD, RequestSize, _sampled
from router.errors import MissingExtra
from router.forecasting.request_tokens import MEDIA_TOKENS, MOST_NODES, answer_tokens
from router.records import Json, Request
from tests.router.messages import requests

SENTENCE = "The quick brown fox jumps over the lazy dog. "
PICTURE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "high"}}


class Counter:
    """Stands in for LiteLLM's tokenizer: one token a character; remembers what it was given."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def __call__(self, *, model: str, text: str) -> int:
        self.texts.append(text)
        return len(text)


@pytest.fixture
def counter(monkeypatch: pytest.MonkeyPatch) -> Counter:
    counter = Counter()
    monkeypatch.setattr(litellm, "token_counter", counter)
    return counter


@pytest.fixture
def without_litellm(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine where only the router is installed."""

    def missing() -> Never:
        raise MissingExtra("litellm", "litellm")

    monkeypatch.setattr(context_window, "litellm_module", missing)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> Never:
        raise AssertionError("something asked the network")

    monkeypatch.setattr(socket, "getaddrinfo", refused)
    monkeypatch.setattr(socket.socket, "connect", refused)


def size_of(text: Json, estimate: float = 0.0, **fields: Json) -> RequestSize:
    return RequestSize(Request.of(text, **fields), estimate)


def test_what_fits_even_at_a_token_a_byte_is_not_counted(counter: Counter) -> None:
    assert not size_of("a" * 900, 800.0).exceeds(1_000)
    assert counter.texts == []


def test_what_is_far_below_by_the_estimate_is_not_counted(counter: Counter) -> None:
    assert not size_of("a" * 4_000, 900.0).exceeds(3_100)
    assert counter.texts == []


def test_what_is_near_the_window_is_counted(counter: Counter) -> None:
    assert size_of("a" * 4_000, 900.0).exceeds(2_900)
    assert counter.texts


def test_it_is_counted_once_however_many_windows_there_are(counter: Counter) -> None:
    size = size_of("a" * 3_000)
    assert [size.exceeds(window) for window in (10, 1_000, 1_999)] == [True, True, True]
    assert len(counter.texts) == 1


def test_of_what_is_far_from_the_window_little_is_counted(counter: Counter) -> None:
    size = size_of(SENTENCE * 20_000)
    assert size.exceeds(300_000)
    assert not size.exceeds(3_000_000)
    assert sum(map(len, counter.texts)) <= GLANCE
    assert size.exceeds(500_000)
    assert not size.exceeds(1_500_000)
    assert sum(map(len, counter.texts)) <= GLANCE + ROUGH
    assert size.about == pytest.approx(20_000 * len(SENTENCE), rel=0.001)
    assert size.exceeds(670_000)
    assert ROUGH < sum(map(len, counter.texts)) <= GLANCE + ROUGH + SAMPLE


def test_an_estimate_that_is_too_low_for_so_many_bytes_is_not_believed(counter: Counter) -> None:
    assert size_of("a" * 4_000, 1.0).exceeds(2_900)


@pytest.mark.usefixtures("counter")
@pytest.mark.parametrize(("answer", "exceeds"), [(0, False), (1_000, False), (1_600, True)])
def test_an_answer_takes_its_part_of_a_shared_window(answer: int, exceeds: bool) -> None:
    assert size_of("a" * 3_000, 1_000.0).exceeds(4_500, answer) is exceeds


@pytest.mark.parametrize(
    ("request_", "least"),
    [
        pytest.param(Request.of("word " * 1_000), 1_000, id="text"),
        pytest.param(
            Request.of([{"role": "user", "content": [{"type": "text", "text": "word " * 1_000}]}]),
            1_000,
            id="parts",
        ),
        pytest.param(
            Request.of([{"role": "tool", "content": [{"type": "tool_result", "content": "word " * 1_000}]}]),
            1_000,
            id="a tool's answer",
        ),
        pytest.param(
            Request.of([{"role": "assistant", "tool_calls": [{"function": {"arguments": "word " * 1_000}}]}]),
            1_000,
            id="a call",
        ),
        pytest.param(Request.of("hi", tools=[{"description": "word " * 1_000}]), 1_000, id="tools"),
        pytest.param(Request.of("hi", parameters={"functions": [{"word " * 1_000: 1}]}), 1_000, id="a name"),
        pytest.param(
            Request.of("hi", response_format={"schema": {"description": "word " * 1_000}}),
            1_000,
            id="a schema",
        ),
        pytest.param(
            Request.of(
                [
                    {
                        "role": "user",
                        "content": [
                            {"type": "document", "source": {"type": "text", "data": "word " * 1_000}}
                        ],
                    }
                ]
            ),
            1_000,
            id="a document's text",
        ),
        pytest.param(Request.of([{"role": "user", "content": [PICTURE] * 3}]), 3 * MEDIA_TOKENS, id="images"),
    ],
)
@pytest.mark.usefixtures("no_network")
def test_all_that_is_sent_is_counted(request_: Request, least: int) -> None:
    assert least <= RequestSize(request_, 0.0).count() <= 1.05 * least + 30


def test_the_bytes_of_an_image_are_no_text() -> None:
    inline = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}}
    size = size_of([{"role": "user", "content": [inline]}])
    assert size.at_most < MEDIA_TOKENS + 500


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize(
    "text",
    [
        pytest.param(SENTENCE * 50, id="English"),
        pytest.param("今天的订单在哪里" * 50, id="Chinese"),
        pytest.param("😀🏳️‍🌈" * 50, id="emoji"),
        pytest.param("\ud800" * 50, id="lone surrogates"),
        pytest.param("<|endoftext|>" * 50, id="a tokenizer's own words"),
        pytest.param("\x00\x1b[0m" * 50, id="control characters"),
        pytest.param("YWJjZGVmZw" * 50, id="base64"),
    ],
)
def test_the_bound_holds_for_litellms_tokenizer(text: str) -> None:
    size = size_of(text)
    assert 0 < size.count() <= size.at_most


@given(st.text(max_size=300))
def test_the_bound_holds_for_any_text(text: str) -> None:
    size = size_of(text)
    assert size.count() <= size.at_most


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        pytest.param("a" * 10_000_000, 5e5, 1e7, id="one letter"),
        pytest.param(" " * 10_000_000, 5e4, 1e7, id="blanks"),
        pytest.param(SENTENCE * 220_000, 2.1e6, 2.5e6, id="English"),
        pytest.param("今天" * 2_500_000, 2.5e6, 1e7, id="Chinese"),
    ],
)
def test_of_ten_megabytes_a_sample_is_counted(text: str, least: float, most: float) -> None:
    assert least < size_of(text, 5.0).count() < most


def test_of_a_long_text_no_more_than_the_sample_is_counted(counter: Counter) -> None:
    text = "".join(map(str, range(1_000_000)))
    assert size_of(text).count() == pytest.approx(len(text), rel=0.01)
    assert sum(map(len, counter.texts)) <= SAMPLE
    assert text.startswith(counter.texts[0][:SPREAD])


@given(st.lists(st.text("aé\n字", max_size=9), min_size=1, max_size=30), st.integers(0, 60))
def test_the_pieces_are_those_of_the_joined_texts(texts: list[str], whole: int) -> None:
    joined, ends = "\n".join(texts), list(accumulate(map(len, texts)))
    assume(len(joined) >= 4)
    spread = [joined[start : start + 4] for start in (0, len(joined) - 4)]
    cut = "".join(spread[:: max(round(len("".join(spread).encode()) / 8), 1)])
    assert _sampled(texts, ends, 8, 4, whole) == (joined if len(joined.encode()) <= whole else cut)


def test_a_text_up_to_a_length_is_counted_exactly(counter: Counter) -> None:
    assert size_of("a" * (EXACT - 5)).count() == EXACT
    assert len("".join(counter.texts)) == EXACT


def test_of_text_that_has_more_bytes_fewer_characters_are_counted(counter: Counter) -> None:
    assert size_of("字" * 50_000).count() == pytest.approx(50_000, rel=0.01)
    assert sum(map(len, counter.texts)) <= SAMPLE / 3 + SPREAD


@pytest.mark.parametrize(
    ("estimate", "exceeds", "looks"),
    [
        pytest.param(11_000.0, True, GLANCE, id="the estimate agrees"),
        pytest.param(1_000.0, True, GLANCE + ROUGH, id="it does not"),
    ],
)
def test_a_first_look_decides_nearer_a_window_where_the_estimate_agrees(
    counter: Counter, estimate: float, exceeds: bool, looks: int
) -> None:
    assert size_of("a" * 14_000, estimate).exceeds(7_000) is exceeds
    assert sum(map(len, counter.texts)) == looks


def test_without_any_text_nothing_is_counted(counter: Counter) -> None:
    nothing = [{"role": "user", "content": [1] * (2 * MOST_NODES)}]
    assert size_of(nothing).count() >= MOST_NODES
    assert counter.texts == []


def test_a_dense_part_in_the_middle_of_a_long_text_is_seen() -> None:
    padding = " " * 2_000_000
    assert size_of(padding + "今天" * 500_000 + padding).count() > 400_000


@pytest.mark.parametrize(
    "tools",
    [
        pytest.param([{"a": [1] * (3 * MOST_NODES)}], id="numbers"),
        pytest.param([[[]] * (3 * MOST_NODES)], id="lists"),
    ],
)
def test_of_endless_lists_only_a_part_is_read(tools: Json) -> None:
    size = size_of("hi", 900_000.0, tools=tools)
    assert size.exceeds(800_000)
    assert not size.exceeds(2_000_000)


def test_nesting_without_end_is_read() -> None:
    deep: Json = "x"
    for _ in range(20_000):
        deep = [deep]
    assert size_of("hi", tools=deep).at_most > 20_000


@pytest.mark.usefixtures("without_litellm")
@pytest.mark.parametrize(
    ("estimate", "exceeds"),
    [pytest.param(900.0, False, id="fits"), pytest.param(1_100.0, True, id="too long")],
)
def test_without_litellm_the_estimate_decides(estimate: float, exceeds: bool) -> None:
    assert size_of("word " * 700, estimate).exceeds(1_000) is exceeds


def test_a_tokenizer_that_is_switched_off_leaves_it_to_the_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(litellm, "disable_token_counter", True)
    assert size_of("word " * 700, 900.0).count() == 900.0


def test_the_tokenizer_is_imported_only_to_count() -> None:
    code = (
        "import sys; from router.deciding.context_window import RequestSize; "
        "from router.records import Request; "
        "RequestSize(Request.of('hi'), 1.0).exceeds(1000); print('litellm' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("parameters", "tokens"),
    [
        pytest.param({}, 0, id="nothing"),
        pytest.param({"max_tokens": 5}, 5, id="the usual name"),
        pytest.param({"max_completion_tokens": 7, "max_tokens": 5}, 7, id="the newer name first"),
        pytest.param({"max_tokens": None}, 0, id="null"),
        pytest.param({"max_tokens": "many"}, 0, id="no number"),
        pytest.param({"max_tokens": -4}, 0, id="below zero"),
    ],
)
def test_the_length_asked_for_is_the_parameters(parameters: dict[str, Json], tokens: int) -> None:
    assert answer_tokens(parameters) == tokens


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.usefixtures("no_network")
@given(requests(), st.floats(0, 1e6))
def test_no_legal_request_stops_the_measuring(request_: Request, estimate: float) -> None:
    size = RequestSize(request_, estimate)
    assert size.exceeds(1) is (size.count() > 1)
    assert size.count() >= 0
    assert answer_tokens(request_.parameters) >= 0
