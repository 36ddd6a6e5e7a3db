"""Sentence encoders at serving time: text in, unit vector out."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, compress, count, islice, repeat
from operator import is_
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from router.errors import DamagedArtifact
from router.records import Float32Array, IntArray, Json
from router.text import well_formed

if TYPE_CHECKING:
    from onnxruntime import InferenceSession
    from tokenizers import Tokenizer

ONNX_FILE = "encoder.onnx"
TABLE_FILE = "table.safetensors"
TOKENIZER_FILE = "tokenizer.json"
CHARACTERS_PER_TOKEN = 8
"""Characters kept of a text per token of the encoder's window, before the text is tokenised."""
LEAST_CHARACTERS = 4_096
"""Characters kept at least: they are counted as tokens, though a short window reads fewer."""

RUN = re.compile(r"[^ \t\n\r!-/:-@\[-`{-~\u4e00-\u9fff]+|[!-/:-@\[-`{-~\u4e00-\u9fff]")
"""What a BERT tokenizer reads by itself: an ASCII mark, a Chinese character, or those between them and
spaces."""
NO_SPACE = "\x0b\x0c\x1c\x1d\x1e\x1f\x85"
"""White space to Python that a BERT tokenizer leaves out, so that it joins what stands around it."""
BLOCK = 64
"""Rows of a table that are added at once: they stay in the processor's nearest cache."""
MOST_KNOWN = 50_000
LONGEST_KNOWN = 24
"""Characters of a word or run whose ids are kept; longer ones seldom come again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderInfo:
    """An encoder as the manifest records it.

    Attributes:
        name: the sentence-transformers model that was exported.
        kind: "onnx": the network itself; "static": a table of token vectors distilled from it.
        dimensions: length of the vectors.
        max_tokens: the window; of a longer text, head and tail are read.
        sha256: hash over the encoder's files and its window; names the encoder in the embedding cache.
        parity: cosine to the original (`mean`, `least`) on `prompts` texts, and the precision kept.
    """

    name: str
    kind: Literal["onnx", "static"]
    dimensions: int
    max_tokens: int
    sha256: str
    parity: dict[str, Json]


@dataclass(frozen=True, slots=True)
class Encoding:
    """A text's unit vector, shape (dimensions,), and about how many tokens the whole text has."""

    vector: Float32Array
    tokens: int


class Encoder(Protocol):
    """Turns a text into a vector; many threads may call it at once."""

    @property
    def info(self) -> EncoderInfo:
        """The encoder's description."""
        ...

    def encode(self, text: str) -> Encoding:
        """Encode any text, even an empty one."""
        ...


class OnnxEncoder:
    """A sentence-transformers network exported to ONNX, run one text at a time.

    With dynamic int8 the rounding depends on the batch: batches would give a text another vector in training
    than in serving.
    """

    def __init__(self, folder: Path, info: EncoderInfo) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        # A second thread costs more processor time than it saves; the other options change nothing.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # The export fused the graph; fusing again costs start-up time and undoes one of its choices.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        self.info = info
        self._session: InferenceSession = onnxruntime.InferenceSession(
            str(folder / ONNX_FILE), options, providers=["CPUExecutionProvider"]
        )
        self._tokenizer = load_tokenizer(folder)

    def encode(self, text: str) -> Encoding:
        """See `Encoder.encode`."""
        ids, tokens = token_ids(self._tokenizer, text, self.info.max_tokens)
        vector = self._session.run(None, {"input_ids": ids[None, :]})[0][0]
        return Encoding(vector, tokens)


class StaticEncoder:
    """A table of token vectors distilled from a network; a text's vector is the mean of its tokens' rows."""

    def __init__(self, folder: Path, info: EncoderInfo) -> None:
        from safetensors.numpy import load_file

        self.info = info
        self._table: Float32Array = load_file(folder / TABLE_FILE)["table"].astype(np.float32)
        self._tokenizer = load_tokenizer(folder)

    def encode(self, text: str) -> Encoding:
        """See `Encoder.encode`."""
        ids, tokens = token_ids(self._tokenizer, text, self.info.max_tokens)
        vector = np.add.reduce(self._table.take(ids[:BLOCK], axis=0))
        for start in range(BLOCK, len(ids), BLOCK):
            rows = self._table.take(ids[start : start + BLOCK], axis=0)
            rows[0] += vector
            vector = np.add.reduce(rows)
        return Encoding(vector / max(math.sqrt(vector @ vector), 1e-12), tokens)


def load_encoder(folder: Path, info: EncoderInfo) -> Encoder:
    """Load the encoder in a folder.

    Raises:
        DamagedArtifact: onnxruntime or tokenizers can't read the files.
    """
    try:
        return OnnxEncoder(folder, info) if info.kind == "onnx" else StaticEncoder(folder, info)
    except Exception as error:  # the native libraries raise undeclared types
        raise DamagedArtifact(f"{folder}: the encoder can't be loaded: {error}") from error


class WordIds:
    """A tokenizer that keeps the ids of the words that it has met; many threads may share it.

    A BERT tokenizer reads each run of a text by itself, so a text's ids are those of its words in order, and
    looking up a word takes a twentieth of the time of splitting it. Any other tokenizer always reads whole
    texts.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        added = tokenizer.get_added_tokens_decoder().values()
        kinds = [type(part).__name__ for part in (tokenizer.normalizer, tokenizer.pre_tokenizer)]
        self._by_run = (
            kinds == ["BertNormalizer", "BertPreTokenizer"]
            and tokenizer.normalizer.handle_chinese_chars
            and not any(one.normalized for one in added)
        )
        self._added = [one.content for one in added]
        self._tokenizer = tokenizer
        self._known = self._whole_words() if self._by_run else {}
        bare, framed = (tokenizer.encode("a", add_special_tokens=special).ids for special in (False, True))
        start = framed.index(bare[0]) if bare else 0
        self._before, self._after = framed[:start], framed[start + len(bare) :]

    def window(self, text: str, most: int) -> tuple[list[int], int]:
        """The text's ids, or if it has more than `most`, those of head and tail; and how many it has."""
        parts = self._parts(text)
        length, half = sum(map(len, parts)), most // 2
        if length <= most:
            return list(chain.from_iterable(parts)), length
        head = islice(chain.from_iterable(parts), half)
        tail = islice(chain.from_iterable(map(reversed, reversed(parts))), most - half)
        return [*head, *reversed(list(tail))], length

    def _parts(self, text: str) -> list[Sequence[int]]:
        """The ids of a text by its words, or as one part."""
        if not self._by_run or any(map(text.__contains__, self._added)):
            return [self._tokenizer.encode(text).ids]
        words = RUN.findall(text) if any(map(text.__contains__, NO_SPACE)) else text.split()
        found = list(map(self._known.get, words))
        inner = self._learned(words, found) if None in found else found
        return [self._before, *inner, self._after]

    def _whole_words(self) -> dict[str, tuple[int, ...]]:
        """The words that are one token; only those in lower case, which no tokenizer changes."""
        words = self._tokenizer.get_vocab(with_added_tokens=False).items()
        return {word: (one,) for word, one in words if word.isascii() and word.isalpha() and word.islower()}

    def _learned(self, words: list[str], found: list[Any]) -> list[Sequence[int]]:
        """Fill in the ids of each unknown word, those of its runs in order; runs are tokenised at once."""
        known = self._known
        places = list(compress(count(), map(is_, found, repeat(None))))
        runs = {words[place]: RUN.findall(words[place]) for place in places}
        learned = self._tokenised([run for run in dict.fromkeys(chain(*runs.values())) if run not in known])
        for word, parts in runs.items():
            ids = (learned[run] if run in learned else known[run] for run in parts)
            learned[word] = tuple(chain.from_iterable(ids))
        if len(known) + len(learned) > MOST_KNOWN:
            self._known = self._whole_words()  # a new one: another thread may be reading the old
        self._known.update((word, ids) for word, ids in learned.items() if len(word) <= LONGEST_KNOWN)
        for place in places:
            found[place] = learned[words[place]]
        return found

    def _tokenised(self, runs: list[str]) -> dict[str, tuple[int, ...]]:
        """The ids of each run, by one call of the tokenizer."""
        if not runs:
            return {}
        encoding = self._tokenizer.encode(" ".join(runs), add_special_tokens=False)
        found: dict[str, list[int]] = {run: [] for run in runs}
        ends = accumulate(len(run) + 1 for run in runs)
        owner, end = "", 0
        waiting = iter(runs)
        for (start, _), one in zip(encoding.offsets, encoding.ids, strict=True):
            while start >= end:
                owner, end = next(waiting), next(ends)
            found[owner].append(one)
        return {run: tuple(ids) for run, ids in found.items()}


def load_tokenizer(folder: Path) -> WordIds:
    """Load the folder's tokenizer so that it neither cuts nor pads: `token_ids` cuts."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER_FILE))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return WordIds(tokenizer)


def token_ids(tokenizer: WordIds, text: str, max_tokens: int) -> tuple[IntArray, int]:
    """Token ids of a text; of a text longer than the window, those of head and tail.

    Returns:
        Ids, shape (at most max_tokens,), and the number of tokens of the whole text: exact up to a few
        thousand characters, beyond that estimated from the length.
    """
    shortened = head_and_tail(text, max(max_tokens * CHARACTERS_PER_TOKEN, LEAST_CHARACTERS))
    ids, count = tokenizer.window(well_formed(shortened), max_tokens)
    tokens = count if shortened is text else count * len(text) // len(shortened)
    return np.array(ids, dtype=np.int64), tokens


def head_and_tail(text: str, characters: int) -> str:
    """The text, or if it is longer than `characters`, half as many from its start and half from its end."""
    half = characters // 2
    return text if len(text) <= characters else f"{text[:half]}\n{text[-half:]}"
