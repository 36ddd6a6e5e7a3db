"""The tokens that a provider bills for one request: the one counter behind costs, limits and windows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, filterfalse, islice, repeat
from typing import Final

import numpy as np

from router.records import LISTS, MAPPINGS, FloatArray, Json, Request
from router.text import printable, shown

MEDIA_TOKENS: Final = 1_600
"""Tokens of an image or a file: the most that Anthropic counts for an image of usual size."""
BYTES_A_TOKEN: Final = 4
"""What OpenAI and Anthropic document for English."""
RUN: Final = re.compile(r"([A-Za-z]+)|([0-9]{1,3})|([^\x00-\x7f]+)|([^\sA-Za-z0-9]+)|\s{2,}")
"""Words, numbers, text that is not in ASCII, marks, and breaks: a tokenizer splits a text about like this."""
WORD_TOKENS, LETTER_TOKENS, NUMBER_TOKENS = 0.75, 0.07, 1.6
OTHER_TOKENS, MARK_TOKENS, BREAK_TOKENS = 0.33, 0.9, 0.8
"""Tokens of a word, of each of its letters, of up to three digits, of a byte outside ASCII, of a run of
marks, and of a break, fitted on prompts, schemas, JSON, code and answers (`python -m benchmarks.tokens`)."""
LONG_WORD: Final = 12
"""Letters from which on a run of them is no word, and has as many tokens as other text of its length."""
MEMBER_TOKENS: Final = 2.7
"""Tokens of the quotes, brackets, colons and commas around a member or item of a JSON value."""
LEAF_TOKENS: Final = 2.0
"""Tokens of a number, true, false or null."""
SAMPLE: Final = 40_000
"""Characters counted of a longer text, in pieces spread evenly over it."""
PIECE: Final = 4_000
CLAUDE_TOKENS: Final = 1.2
"""Tokens that Claude counts for one of OpenAI's, by `python -m benchmarks.tokens`."""
SAFE_SIDE: Final = 1.15
"""What a cap multiplies the expected cost by: nine of ten requests are counted within 15 %."""
MOST_BYTES_A_TOKEN: Final = 12
"""An encoder that has fewer tokens than that took a run of characters without a break for one word."""
LEAVES: Final = (int, float, type(None))
MOST_NODES: Final = 10_000
"""Values of a request that are visited; a request with more values has more tokens than that."""
MOST_OUTPUT: Final = 10**9
MEDIA: Final = frozenset(
    {
        "image_url", "input_image", "image", "file", "input_file", "document",
        "input_audio", "audio", "audio_url", "video_url", "input_video", "video",
    }
)  # fmt: skip
"""Types of parts that hold no text of the prompt."""
TEXTUAL: Final = frozenset(
    {
        "text", "input_text", "output_text", "refusal", "tool_use", "tool_result", "function",
        "function_call", "function_call_output", "thinking", "redacted_thinking", "reasoning",
        "reasoning_text", "summary_text", "search_result",
    }
)  # fmt: skip
"""Types of parts whose whole content is in the request, as text."""
NOT_BILLED: Final = frozenset(
    {
        "audio", "extra_headers", "headers", "litellm_metadata", "logit_bias", "metadata", "modalities",
        "parallel_tool_calls", "stop", "stream_options", "thinking", "tool_choice", "user",
        "web_search_options", "api_base", "base_url", "api_version", "model", "messages", "tools",
        "response_format", "reasoning_effort", "service_tier", "verbosity", "function_call",
    }
)  # fmt: skip
"""Arguments that hold no text of the prompt, or that are counted elsewhere; text in any other is counted."""

BOUNDING: Final = frozenset({"thinking", "max_tokens", "max_completion_tokens", "n", "extra_body"})
"""Arguments that bound or multiply an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What some values of a request hold.

    Attributes:
        texts: every text, including the names of members.
        media: number of parts that hold something other than text.
        nodes: number of values that were visited.
        written: tokens of what JSON writes beside the texts: marks and numbers.
        uncounted: what has a number of tokens that nobody can tell from the request; None: nothing.
    """

    texts: Sequence[str]
    media: int
    nodes: int
    written: float
    uncounted: str | None

    @property
    def tokens(self) -> float:
        """About how many tokens they are."""
        text = text_tokens("\n".join(self.texts)) + self.written
        return max(text, self.nodes if self.nodes >= MOST_NODES else 0) + MEDIA_TOKENS * self.media


def contents_of(values: Iterable[Json], parts: Iterable[Json] = ()) -> Contents:
    """Visit some JSON values and the parts of some messages, however deep, and at most `MOST_NODES`."""
    texts: list[str] = []
    waiting: list[tuple[Json, bool]] = [*zip(values, repeat(False)), *zip(parts, repeat(True))]
    media = nodes = 0
    written = 0.0
    uncounted: str | None = None
    while waiting and nodes < MOST_NODES:
        value, is_part = waiting.pop()
        nodes += 1
        if isinstance(value, str):
            texts.append(value)
        elif not isinstance(value, LEAVES) and isinstance(value, MAPPINGS):
            kind = _kind(value)
            if kind in MEDIA and not _is_text(value):
                media += 1
                continue
            if is_part and kind and kind not in TEXTUAL:
                uncounted = f"a part of type '{printable(kind[:40])}'"
            nodes += len(value)
            written += 0 if is_part else MEMBER_TOKENS * len(value)
            for name, inner in islice(value.items(), MOST_NODES):
                texts.append(name if isinstance(name, str) else shown(name))
                waiting.append((inner, name == "content"))
        elif isinstance(value, LISTS):
            written += 0 if is_part else MEMBER_TOKENS * len(value)
            waiting.extend(zip(islice(value, MOST_NODES), repeat(is_part)))
        else:
            written += 0 if value is None else LEAF_TOKENS
    unvisited = f"more than {MOST_NODES:,} values" if waiting else None
    uncounted = unvisited or uncounted
    return Contents(texts=texts, media=media, nodes=nodes, written=written, uncounted=uncounted)


def text_tokens(text: str) -> float:
    """About how many tokens a text has; of a long one, a sample is looked at."""
    sample = text
    if len(text) > SAMPLE:
        step = (len(text) - PIECE) // (SAMPLE // PIECE - 1)
        sample = "".join(text[start : start + PIECE] for start in range(0, len(text) - PIECE + 1, step))
    tokens = 0.0
    for word, number, other, mark in RUN.findall(sample):
        if word:
            beyond = max(len(word) - LONG_WORD, 0)
            tokens += WORD_TOKENS + LETTER_TOKENS * (len(word) - beyond) + beyond / BYTES_A_TOKEN
        elif number:
            tokens += NUMBER_TOKENS
        elif other:
            tokens += OTHER_TOKENS * _bytes(other)
        else:
            tokens += MARK_TOKENS if mark else BREAK_TOKENS
    return tokens * len(text) / max(len(sample), 1)


def tokens_of_one(called: str) -> float:
    """How many tokens a model counts for one of OpenAI's.

    Args:
        called: the model's name in calls to LiteLLM.
    """
    return CLAUDE_TOKENS if "claude" in called.casefold() else 1.0


def _kind(part: Mapping[Json, Json]) -> str:
    """The type of a part; empty if it has none that is text."""
    kind = part.get("type")
    return kind if isinstance(kind, str) else ""


def request_contents(request: Request) -> Contents:
    """Everything of a request that a provider may bill as input."""
    others = [] if request.tools is None else [request.tools]
    roles = [message["role"] for message in request.messages]
    return contents_of(
        [*others, *roles, *_members(request), *_arguments(request)],
        parts=[message.get("content") for message in request.messages],
    )


def billed_tokens(request: Request, said: Sequence[Sequence[str]], encoded: float, counted: float) -> float:
    """About how many input tokens a provider bills for a request.

    Args:
        said: the texts of its `turn_texts`.
        encoded: the encoder's tokens of all turns except system text.
        counted: those, and a quarter per character of the system text and the tools.
    """
    others = filterfalse(str.isascii, chain.from_iterable(said))
    read = characters(said) + sum(_bytes(text) - len(text) for text in others)
    unseen = read / BYTES_A_TOKEN if read > MOST_BYTES_A_TOKEN * max(encoded, 1.0) else 0.0
    values, parts = [*_members(request), *_arguments(request)], [*_unread_parts(request)]
    rest = contents_of(values, parts).tokens if values or parts else 0.0
    return counted + unseen + rest


def characters(turns: Sequence[Sequence[str]]) -> int:
    """Characters of some `turn_texts`, joined."""
    return sum(map(len, chain.from_iterable(turns))) + sum(map(len, turns)) - len(turns)


def billed_output(predicted: FloatArray, parameters: Mapping[str, Json]) -> FloatArray:
    """Expected output tokens under a call's arguments: its reasoning budget, its bound, and its `n` answers.

    Args:
        predicted: of one answer without arguments, any shape.
    """
    if BOUNDING.isdisjoint(parameters):
        return predicted
    extra = parameters.get("extra_body")
    given = {**parameters, **extra} if isinstance(extra, Mapping) else parameters
    thinking = given.get("thinking")
    budget = _count(thinking.get("budget_tokens")) if isinstance(thinking, Mapping) else 0
    most = answer_tokens(given) or MOST_OUTPUT
    output = np.minimum(np.maximum(predicted, budget), min(most, MOST_OUTPUT))
    return np.asarray(output * max(_count(given.get("n")), 1))


def answer_tokens(parameters: Mapping[str, Json]) -> int:
    """The longest answer that a request allows; 0 if it does not say."""
    most = parameters.get("max_completion_tokens") or parameters.get("max_tokens")
    return max(most, 0) if isinstance(most, int) else 0


def _members(request: Request) -> Iterator[Json]:
    """What the messages hold beside role and content: tool calls, names, reasoning."""
    for message in request.messages:
        if len(message) > 2 or "content" not in message:
            yield from (value for name, value in message.items() if name not in ("role", "content"))


def _unread_parts(request: Request) -> Iterator[Json]:
    """What the messages' contents hold beside the texts that `message_texts` yields."""
    for message in request.messages:
        content = message.get("content")
        if isinstance(content, str):
            continue
        if isinstance(content, LISTS):
            yield from (part for one in content if (part := _unread(one)) is not None)
        elif content is not None:
            yield content


def _unread(part: Json) -> Json:
    """A part without the text that `message_texts` yields of it; None if nothing is left."""
    if isinstance(part, str):
        return None
    if not isinstance(part, MAPPINGS) or not isinstance(part.get("text"), str):
        return part
    if len(part) == 2 and _kind(part) in TEXTUAL:
        return None
    rest = {name: value for name, value in part.items() if name != "text"}
    return None if rest.keys() <= {"type", "cache_control"} and _kind(part) in TEXTUAL else rest


def _arguments(request: Request) -> Iterator[Json]:
    """The response format, and arguments that hold text."""
    if request.response_format is not None:
        yield request.response_format
    for name, value in request.parameters.items():
        if name not in NOT_BILLED and isinstance(value, str | Mapping | list | tuple):
            yield value


def _is_text(part: Mapping[str, Json]) -> bool:
    """Whether a document consists of text."""
    source = part.get("source")
    return isinstance(source, Mapping) and source.get("type") in ("text", "content")


def _count(value: Json) -> int:
    usable = isinstance(value, int) and not isinstance(value, bool)
    return min(max(value, 0), MOST_OUTPUT) if usable else 0


def _bytes(text: str) -> int:
    """Bytes of a text in UTF-8; of a long one, by a sample."""
    sample = text if len(text) <= SAMPLE else text[:: len(text) // SAMPLE]
    return len(sample.encode("utf-8", "surrogatepass")) * len(text) // len(sample)
