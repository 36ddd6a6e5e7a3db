"""The features of a request: its embedding, its structure, its words, its task type and its tags."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import NamedTuple
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
from router.forecasting.request_tokens import billed_tokens, characters
from router.forecasting.words import CODE_WORD, SHORT, Codes, FewPieces, Pieces, pieces_of, plain_words
from router.records import (
    LISTS,
    SYSTEM_ROLES,
    BoolArray,
    Float32Array,
    FloatArray,
    Json,
    Request,
    message_texts,
    turn_texts,
)

READ_CHARACTERS = 8_000
"""Characters, from head and tail, that structure and words are read from: a huge prompt costs no more."""
MAX_GRAMS = 2_000
SYSTEM_MARK, TOOL_MARK = crc32(b"s:"), crc32(b"t:")
# `re` skips to the next place where a match can begin only if each branch begins with a plain character.
CODE = {
    mark: re.compile(pattern, re.M)
    for mark, pattern in {
        "def ": r"d(?<=\bd)ef \w+\(", "class ": r"c(?<=\bc)lass \w+",
        "{": r"\{\s*$", "}": r"\}\s*$", ";": r";\s*$",
    }.items()
}  # fmt: skip
"""What shows code beside `CODE_WORD`, by what a text must hold for it."""
ANY_CODE = re.compile("|".join(pattern.pattern for pattern in (*CODE.values(), CODE_WORD)), re.M)
NAMES = frozenset({"def", "class", "function", "return", "SELECT"})
LINE_START = re.compile(r"\n[^\S\n]*(?:(\(?[A-Za-z][.):])|[-*•]|\d+[.)])(?=\s)")
"""An option of a choice, or an item of a list, after its line end: `re` finds that character faster than the
start of a line."""
NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
STEM = re.compile(r"[^\W\d_]{3,}")
CHARACTER_KINDS = (str.isdigit, str.isupper, str.isalnum, str.isspace)
MARKS = ("\n", "?", "([", "=", ",", "\"'", "\\")
ASCII_KINDS = np.array(
    [[kind(chr(code)) for code in range(128)] for kind in CHARACTER_KINDS]
    + [[chr(code) in marks for code in range(128)] for marks in MARKS],
    dtype=np.int64,
)
"""Which ASCII characters are of each kind, and which are one of each of `MARKS`."""
ASCII_MEMBERS = tuple(bytes(np.flatnonzero(kind).tolist()) for kind in ASCII_KINDS)
"""The same, as the characters themselves: of a short text, `bytes.translate` counts them sooner."""
NO_TOOL_STRUCTURE = dict.fromkeys(
    ("tools", "tool_characters", "tool_properties", "tool_required", "tool_depth", "tool_overlap"), 0.0
)


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

    @property
    def later(self) -> BoolArray:
        """Whether each request goes on with a conversation: it has messages of an earlier turn."""
        turns, system = (self.structure[:, column] for column in (TURNS_COLUMN, SYSTEM_COLUMN))
        return np.asarray(np.expm1(turns) - system > 2.5)

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


class RequestFeatures(NamedTuple):
    """The features of one request, before they are rows of `Features`.

    Attributes:
        structure: in the order of `STRUCTURE`.
        codes: CRC-32 of its words and pairs of words, whose hashes are the n-grams.
        labels: columns of the labels that it has.
        task_type, tokens: as in `Features`.
    """

    embedding: Float32Array
    structure: list[float]
    codes: Codes | list[int]
    labels: list[int]
    task_type: int
    tokens: float

    @property
    def later(self) -> bool:
        """As in `Features`."""
        return math.expm1(self.structure[TURNS_COLUMN]) - self.structure[SYSTEM_COLUMN] > 2.5


def request_features(request: Request, encoding: Encoding, spec: FeatureSpec) -> RequestFeatures:
    """The features of a request, given the encoding of its `embedded_text`."""
    part = read_part(request)
    turns, system = _read_texts(part)
    text = head_and_tail("\n".join(turns), READ_CHARACTERS)
    pieces, shape = pieces_of(text), tool_shape(request.tools)
    wordings = () if request.tools is None else tool_wordings(request.tools)
    said = list(turn_texts(request.messages))
    unread = 0 if part is request else characters(said) - characters(list(turn_texts(part.messages)))
    tokens = encoding.tokens + (sum(map(len, system)) + unread + shape.characters) / 4
    return RequestFeatures(
        embedding=encoding.vector,
        structure=[*_structure(part, text, pieces, tokens, shape, wordings).values()],
        codes=_grams(pieces, system, wordings),
        labels=_labels(part, spec),
        task_type=spec.task_types.index(part.task_type) if part.task_type in spec.task_types else -1,
        tokens=billed_tokens(request, said, encoding.tokens, tokens),
    )


def featurize(requests: Sequence[Request], encodings: Sequence[Encoding], spec: FeatureSpec) -> Features:
    """The features of some requests, given the encodings of their `embedded_text`."""
    ones = [request_features(*pair, spec) for pair in zip(requests, encodings, strict=True)]
    labels = np.zeros((len(ones), len(spec.task_types) + len(spec.tags)), dtype=np.float32)
    for row, one in zip(labels, ones, strict=True):
        row[one.labels] = 1.0
    return Features(
        embedding=np.array([one.embedding for one in ones], dtype=np.float32),
        structure=np.array([one.structure for one in ones], np.float32).reshape(len(ones), len(STRUCTURE)),
        grams=_hashed([one.codes for one in ones], spec.gram_dimensions),
        labels=labels,
        task_type=np.array([one.task_type for one in ones], dtype=np.int64),
        tokens=np.array([one.tokens for one in ones], dtype=np.float64),
    )


def _read_texts(request: Request) -> tuple[list[str], list[str]]:
    """The texts of all turns except system text, which structure and words are read from; and system text."""
    turns: list[str] = []
    system: list[str] = []
    for role, text in message_texts(request.messages):
        (system if role in SYSTEM_ROLES else turns).append(text)
    return turns, system


def _structure(
    request: Request,
    text: str,
    pieces: Pieces | FewPieces,
    tokens: float,
    shape: ToolShape,
    wordings: Sequence[str],
) -> dict[str, float]:
    """The structure features of one request by name: counts as log(1 + count), shares times ten."""
    size = max(len(text), 1)
    others = "" if text.isascii() else "".join(NOT_ASCII.findall(text))
    counts, starts = pieces.counts, LINE_START.findall(f"\n{text}")
    options = len(starts) - starts.count("")
    kinds = _character_counts(text, others)
    digits, upper, letters, spaces, line_ends, questions, brackets, equals, commas, quotes, slashes = kinds
    log = math.log1p
    return {
        "tokens": log(tokens),
        "words": log(len(pieces)),
        "lines": log(line_ends),
        "word_length": min(size / max(len(pieces), 1), 30.0) / 5,
        "digits": 10 * digits / size,
        "numbers": log(counts.numbers),
        "longest_number": log(counts.longest_number),
        "non_ascii": 10 * len(others) / size,
        "upper_case": 10 * upper / size,
        "symbols": 10 * (size - letters - spaces) / size,
        "code": log(_code_marks(text, counts.code_words)),
        "questions": log(questions),
        "brackets": log(brackets),
        "equals": log(equals),
        "commas": log(commas),
        "sentences": log(counts.sentences),
        "quotes": log(quotes),
        "backslashes": log(slashes),
        "negations": log(counts.negations),
        "options": log(options),
        "list_items": log(len(starts) - options),
        "turns": log(len(request.messages)),
        "system": float(any(map(SYSTEM_ROLES.__contains__, map(itemgetter("role"), request.messages)))),
        "images": log(_images(request)),
        "response_format": float(request.response_format is not None),
        **_tool_structure(request.tools, shape, text, wordings),
    }


def _code_marks(text: str, words: int) -> int:
    """How many marks of code a text has.

    Args:
        words: how many of them are `CODE_WORD`.
    """
    found = {mark: pattern.findall(text) for mark, pattern in CODE.items() if mark in text}
    defined = chain(found.get("def ", ()), found.get("class ", ()))
    if NAMES.isdisjoint(name.split()[1].rstrip("(") for name in defined):
        return words + sum(map(len, found.values()))
    return len(ANY_CODE.findall(text))  # what is defined has a name that is itself a mark


def _character_counts(text: str, others: str) -> list[int]:
    """Digits, upper-case letters, letters with digits, white space, and each of `MARKS` in a text.

    Args:
        others: the text's characters that are not in ASCII.
    """
    encoded = text.encode("utf-8", "surrogatepass")
    counts: list[int]
    if len(text) <= SHORT:
        counts = [len(encoded) - len(encoded.translate(None, members)) for members in ASCII_MEMBERS]
    else:
        histogram = np.bincount(np.frombuffer(encoded, np.uint8), minlength=256)[:128]
        counts = (ASCII_KINDS @ histogram).tolist()
    for column, kind in enumerate(CHARACTER_KINDS if others else ()):
        counts[column] += sum(map(kind, others))
    return counts


def _tool_structure(tools: Json, shape: ToolShape, text: str, wordings: Sequence[str]) -> dict[str, float]:
    """Number, size and shape of the tools, and how much of their wording the prompt repeats."""
    if tools is None:
        return NO_TOOL_STRUCTURE
    described = _stems(" ".join(wordings))
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
    count = 0
    for message in request.messages:
        content = message.get("content")
        if isinstance(content, LISTS):
            count += sum(
                isinstance(part, dict) and part.get("type") not in (None, "text") for part in content
            )
    return count


def _stems(text: str) -> set[str]:
    """The words of a text, cut to five letters so that forms of one word meet."""
    return {word[:5] for word in STEM.findall(text.lower())}


def _grams(pieces: Pieces | FewPieces, system: Sequence[str], wordings: Sequence[str]) -> Codes | list[int]:
    """CRC-32 of each word and each pair of words of the prompt, and of the marked words beside it.

    Those are the words of the system text, after `s:`, and of the tools' wordings, after `t:`.
    """
    codes = [pieces.grams(MAX_GRAMS)]
    texts = [text[: 2 * READ_CHARACTERS] for text in system]
    for content in fitting_texts(texts, READ_TOGETHER):
        codes.append(pieces_of(content[:READ_CHARACTERS]).marked(SYSTEM_MARK, MAX_GRAMS))
    for described in wordings:
        marked_words = plain_words(described[:READ_CHARACTERS])[:300]
        codes.append([crc32(word.encode("utf-8", "replace"), TOOL_MARK) for word in marked_words])
    return codes[0] if len(codes) == 1 else np.concatenate([np.asarray(one, np.uint32) for one in codes])


def _hashed(codes: Sequence[Codes | list[int]], dimensions: int) -> Float32Array:
    """Signed feature hashing (Weinberger et al. 2009) of each text's codes, shape (n, dimensions).

    A code counts 1 + log(how often it comes); rows have unit length.
    """
    rows = np.zeros((len(codes), dimensions), dtype=np.float32)
    for row, one in zip(rows, codes, strict=True):
        sums = _sums(one, dimensions)
        row[:] = sums / max(math.sqrt(sums @ sums), 1e-12)
    return rows


def hashed_product(codes: Codes | list[int], weights: FloatArray) -> float:
    """The product of the row that `_hashed` makes of one text's codes with weights, shape (dimensions,)."""
    sums = _sums(codes, len(weights))
    return float(sums @ weights) / max(math.sqrt(sums @ sums), 1e-12)


def _sums(codes: Codes | list[int], dimensions: int) -> np.ndarray:
    """What a text's codes add to each column; those from 2**31 on add, the others subtract."""
    every = np.array(codes, np.uint32)
    every.sort()
    first = np.ones(len(every) + 1, dtype=np.bool_)
    np.not_equal(every[1:], every[:-1], out=first[1:-1])
    starts = first.nonzero()[0]
    unique = every.take(starts[:-1])
    sizes = 1.0 + np.log(starts[1:] - starts[:-1])
    np.copysign(sizes, (~unique).view(np.int32), out=sizes)
    return np.bincount(unique % np.uint32(dimensions), sizes, dimensions)


def _labels(request: Request, spec: FeatureSpec) -> list[int]:
    """The columns of the request's task type and tags."""
    columns = [spec.task_types.index(request.task_type)] if request.task_type in spec.task_types else []
    first = len(spec.task_types)
    return columns + [first + spec.tags.index(tag) for tag in request.tags if tag in spec.tags]


STRUCTURE = tuple(_structure(Request.of(""), "", pieces_of(""), 0.0, tool_shape(None), ()))
"""Names of the structure features, in the order of their columns."""
TURNS_COLUMN, SYSTEM_COLUMN, TOOLS_COLUMN = map(STRUCTURE.index, ("turns", "system", "tools"))
