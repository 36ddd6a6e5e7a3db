"""The features of a request: its embedding, its structure, its words, its task type and its tags."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from zlib import crc32

import numpy as np

from router.forecasting.encoder import Encoding, head_and_tail
from router.forecasting.read_part import (
    READ_TOGETHER,
    ToolShape,
    fitting_texts,
    read_part,
    tool_list,
    tool_shape,
    tool_wordings,
)
from router.forecasting.request_tokens import billed_tokens
from router.records import LISTS, SYSTEM_ROLES, Float32Array, Json, Request, message_texts

READ_CHARACTERS = 8_000
"""Characters, from head and tail, that structure and words are read from: a huge prompt costs no more."""
MAX_GRAMS = 2_000
# `re` skips to the next place where a match can begin only if each branch begins with a plain character.
CODE = re.compile(
    r"d(?<=\bd)ef \w+\(|c(?<=\bc)lass \w+|f(?<=\bf)unction\b|r(?<=\br)eturn\b|S(?<=\bS)ELECT\b"
    r"|```|\{\s*$|\}\s*$|;\s*$|=>|#include",
    re.M,
)
NUMBER = re.compile(r"\d\d*(?:[.,]\d+)?")
NEGATION = re.compile(r"n(?<=\bn)ot\b|e(?<=\be)xcept\b|n(?<=\bn)ever\b|w(?<=\bw)ithout\b|n't\b")
"""In lower case, as are `WORD` and its faster form for a text in ASCII."""
OPTION = re.compile(r"^[^\S\n]*\(?[A-Za-z][.):]\s", re.M)
LIST_ITEM = re.compile(r"^[^\S\n]*(?:[-*•]|\d+[.)])\s", re.M)
SENTENCE = re.compile(r"[.!?\u3002\uff01\uff1f](?:(?<=[\u3002\uff01\uff1f])|\s|$)")
WORD = re.compile(r"[^\W\d_]+|\d+|[^\w\s]")
ASCII_WORD = re.compile(r"[a-z]+|[0-9]+|[^a-z0-9_\s]")
NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
STEM = re.compile(r"[^\W\d_]{3,}")
CHARACTER_KINDS = (str.isdigit, str.isupper, str.isalnum, str.isspace)
ASCII_KINDS = tuple(bytes(code for code in range(128) if kind(chr(code))) for kind in CHARACTER_KINDS)
"""The ASCII characters of each kind; `bytes.translate` counts them twenty times faster than the methods."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSpec:
    """The columns of the features; training fixes them and writes them into the manifest.

    Attributes:
        task_types: task types seen in training, in order; serving ignores any other.
        tags: likewise.
        gram_dimensions: columns of the hashed word n-grams.
    """

    task_types: tuple[str, ...]
    tags: tuple[str, ...]
    gram_dimensions: int = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """Features of n requests.

    Attributes:
        embedding: shape (n, dimensions), unit rows.
        structure: shape (n, len(STRUCTURE)), not standardised.
        grams: shape (n, gram_dimensions), unit rows: signed hashed word uni- and bigrams.
        labels: shape (n, len(task_types) + len(tags)), 0 or 1.
        task_type: shape (n,); index into the specification's task types; -1 for none or an unknown one.
        tokens: shape (n,); input tokens that a provider bills, by `billed_tokens`.
    """

    embedding: Float32Array
    structure: Float32Array
    grams: Float32Array
    labels: Float32Array
    task_type: np.ndarray
    tokens: np.ndarray

    def __len__(self) -> int:
        return len(self.embedding)

    def rows(self, index: np.ndarray | slice) -> Features:
        """The requests at `index`."""
        return Features(**{name: getattr(self, name)[index] for name in self.__slots__})


def embedded_text(request: Request) -> str:
    """The text to embed: the last user turn first, then the other turns, newest first.

    The encoder keeps a long text's head and tail, so the last turn always counts. System text is left out: it
    is the same for every request of an application and would drown the question. Its words are in the
    n-grams.
    """
    turns = [
        (role, text)
        for role, text in message_texts(read_part(request).messages)
        if role not in SYSTEM_ROLES and text
    ]
    last = max((i for i, (role, _) in enumerate(turns) if role == "user"), default=len(turns) - 1)
    ordered = turns[last : last + 1] + turns[last + 1 :][::-1] + turns[: max(last, 0)][::-1]
    return "\n\n".join(text for _, text in ordered)


def featurize(requests: Sequence[Request], encodings: Sequence[Encoding], spec: FeatureSpec) -> Features:
    """The features of some requests, given the encodings of their `embedded_text`."""
    parts = [read_part(request) for request in requests]
    texts = [_read_text(part) for part in parts]
    shapes = [tool_shape(request.tools) for request in requests]
    tokens = [_input_tokens(*one) for one in zip(requests, parts, encodings, shapes, strict=True)]
    structure = [[*_structure(*one).values()] for one in zip(parts, texts, tokens, shapes, strict=True)]
    billed = [billed_tokens(r, e.tokens, n) for r, e, n in zip(requests, encodings, tokens, strict=True)]
    grams = np.zeros((len(requests), spec.gram_dimensions), dtype=np.float32)
    labels = np.zeros((len(requests), len(spec.task_types) + len(spec.tags)), dtype=np.float32)
    for row, (request, text) in enumerate(zip(parts, texts, strict=True)):
        _hash_grams(_grams(request, text), grams[row])
        _mark_labels(request, spec, labels[row])
    places = {name: place for place, name in enumerate(spec.task_types)}
    return Features(
        embedding=np.stack([one.vector for one in encodings]).astype(np.float32),
        structure=np.array(structure, dtype=np.float32).reshape(len(requests), len(STRUCTURE)),
        grams=grams,
        labels=labels,
        task_type=np.array([places.get(request.task_type or "", -1) for request in requests], dtype=np.int64),
        tokens=np.array(billed, dtype=np.float64),
    )


def _read_text(request: Request) -> str:
    """The text that structure and words are read from: all turns except system text."""
    whole = "\n".join(text for role, text in message_texts(request.messages) if role not in SYSTEM_ROLES)
    return head_and_tail(whole, READ_CHARACTERS)


def _input_tokens(request: Request, part: Request, encoding: Encoding, shape: ToolShape) -> float:
    """About how many tokens the request has: the encoder's count, and a quarter per other character."""
    system = sum(len(text) for role, text in message_texts(request.messages) if role in SYSTEM_ROLES)
    unread = 0 if part is request else _turn_characters(request) - _turn_characters(part)
    return encoding.tokens + (system + unread + shape.characters) / 4


def _turn_characters(request: Request) -> int:
    return sum(len(text) for role, text in message_texts(request.messages) if role not in SYSTEM_ROLES)


def _structure(request: Request, text: str, tokens: float, shape: ToolShape) -> dict[str, float]:
    """The structure features of one request by name: counts as log(1 + count), shares times ten."""
    size = max(len(text), 1)
    others = "" if text.isascii() else "".join(NOT_ASCII.findall(text))
    words = text.split()
    numbers = NUMBER.findall(text)
    digits, upper, letters, spaces = _character_counts(text, others)
    log = math.log1p
    return {
        "tokens": log(tokens),
        "words": log(len(words)),
        "lines": log(text.count("\n")),
        "word_length": min(size / max(len(words), 1), 30.0) / 5,
        "digits": 10 * digits / size,
        "numbers": log(len(numbers)),
        "longest_number": log(max(map(len, numbers), default=0)),
        "non_ascii": 10 * len(others) / size,
        "upper_case": 10 * upper / size,
        "symbols": 10 * (size - letters - spaces) / size,
        "code": log(len(CODE.findall(text))),
        "questions": log(text.count("?")),
        "brackets": log(text.count("(") + text.count("[")),
        "equals": log(text.count("=")),
        "commas": log(text.count(",")),
        "sentences": log(len(SENTENCE.findall(text))),
        "quotes": log(text.count('"') + text.count("'")),
        "backslashes": log(text.count("\\")),
        "negations": log(len(NEGATION.findall(text.lower()))),
        "options": log(len(OPTION.findall(text))),
        "list_items": log(len(LIST_ITEM.findall(text))),
        "turns": log(len(request.messages)),
        "system": float(any(message["role"] in SYSTEM_ROLES for message in request.messages)),
        "images": log(_images(request)),
        "response_format": float(request.response_format is not None),
        **_tool_structure(request.tools, shape, text),
    }


def _character_counts(text: str, others: str) -> list[int]:
    """Digits, upper-case letters, letters with digits, and white space in a text.

    Args:
        others: the text's characters that are not in ASCII.
    """
    plain = text.encode("ascii", "ignore")
    counts = [len(plain) - len(plain.translate(None, members)) for members in ASCII_KINDS]
    if not others:
        return counts
    return [count + sum(map(kind, others)) for count, kind in zip(counts, CHARACTER_KINDS, strict=True)]


def _tool_structure(tools: Json, shape: ToolShape, text: str) -> dict[str, float]:
    """Number, size and shape of the tools, and how much of their wording the prompt repeats."""
    described = _stems(" ".join(tool_wordings(tools)))
    prompt = _stems(text) if described else set()
    return {
        "tools": math.log1p(len(tool_list(tools))),
        "tool_characters": math.log1p(shape.characters),
        "tool_properties": math.log1p(shape.properties),
        "tool_required": math.log1p(shape.required),
        "tool_depth": float(shape.depth),
        "tool_overlap": len(described & prompt) / max(1, min(len(described), len(prompt))),
    }


def _images(request: Request) -> int:
    """Parts of the messages that hold something other than text."""
    parts = (message.get("content") for message in request.messages)
    return sum(
        isinstance(part, dict) and part.get("type") not in (None, "text")
        for content in parts
        if isinstance(content, LISTS)
        for part in content
    )


def _stems(text: str) -> set[str]:
    """The words of a text, cut to five letters so that forms of one word meet."""
    return {word[:5] for word in STEM.findall(text.lower())}


def _grams(request: Request, text: str) -> list[str]:
    """Word unigrams and bigrams of the prompt, and the marked words of the system text and the tools."""
    words = _masked_words(text)
    grams = [*words, *map(" ".join, pairwise(words))]
    system = [
        text[: 2 * READ_CHARACTERS] for role, text in message_texts(request.messages) if role in SYSTEM_ROLES
    ]
    for content in fitting_texts(system, READ_TOGETHER):
        grams += [f"s:{word}" for word in _masked_words(content[:READ_CHARACTERS])]
    for described in tool_wordings(request.tools):
        grams += [f"t:{word}" for word in _words(described[:READ_CHARACTERS])[:300]]
    return grams


def _masked_words(text: str) -> list[str]:
    """The first words of a text; of a number only its length: its value does not tell who can answer."""
    return [word if word.isalpha() else _masked(word) for word in _words(text)[:MAX_GRAMS]]


def _words(text: str) -> list[str]:
    """The words, numbers and marks of a text, in lower case."""
    return (ASCII_WORD if text.isascii() else WORD).findall(text.lower())


def _masked(word: str) -> str:
    """The word, or for a number its length: which number it is does not tell who can answer."""
    return "#" * min(len(word), 8) if word.isdigit() else word


def _hash_grams(grams: Sequence[str], row: Float32Array) -> None:
    """Fill one row: signed feature hashing (Weinberger et al. 2009), 1 + log(count), then unit length."""
    counts = Counter(grams)
    codes = np.array([crc32(gram.encode("utf-8", "replace")) for gram in counts], dtype=np.int64)
    sizes = 1.0 + np.log(np.fromiter(counts.values(), np.float64, len(counts)))
    signed = np.where(codes >> 31, sizes, -sizes)
    row += np.bincount(codes % len(row), weights=signed, minlength=len(row))
    row /= max(math.sqrt(float(row @ row)), 1e-12)


def _mark_labels(request: Request, spec: FeatureSpec, row: Float32Array) -> None:
    """Set the columns of the request's task type and tags to 1."""
    if request.task_type in spec.task_types:
        row[spec.task_types.index(request.task_type)] = 1.0
    for tag in request.tags:
        if tag in spec.tags:
            row[len(spec.task_types) + spec.tags.index(tag)] = 1.0


STRUCTURE = tuple(_structure(Request.of(""), "", 0.0, tool_shape(None)))
"""Names of the structure features, in the order of their columns."""
