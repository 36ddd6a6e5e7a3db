"""Sentence encoders at serving time: text in, unit vector out; onnxruntime and tokenizers do the work."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

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
CHARACTERS_PER_TOKEN = 16
"""A text is cut to this many characters per token of the encoder's window before it is tokenised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderInfo:
    """What the manifest records of an encoder.

    Attributes:
        name: the sentence-transformers model it was made from.
        kind: "onnx": the network itself; "static": a table of token vectors distilled from it.
        dimensions: length of the vectors.
        max_tokens: window; a longer text keeps its head and its tail.
        sha256: hash over the encoder's files: names the encoder in the embedding cache.
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
    """A text's vector, shape (dimensions,), of unit length; and how many tokens the whole text has, about."""

    vector: Float32Array
    tokens: int


class Encoder(Protocol):
    """Turns a text into a vector; safe to call from many threads."""

    @property
    def info(self) -> EncoderInfo:
        """What the encoder is."""
        ...

    def encode(self, text: str) -> Encoding:
        """The text's vector; any text is accepted, the empty one too."""
        ...


class OnnxEncoder:
    """A sentence-transformers network exported to ONNX, run one text at a time.

    One at a time on purpose: with dynamic int8 the rounding depends on the batch, so a batch would give the
    same text other vectors in training than in serving.
    """

    def __init__(self, folder: Path, info: EncoderInfo) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
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
    """A table of token vectors, distilled from a network: a text's vector is the mean of its tokens' rows."""

    def __init__(self, folder: Path, info: EncoderInfo) -> None:
        from safetensors.numpy import load_file

        self.info = info
        self._table: Float32Array = load_file(folder / TABLE_FILE)["table"].astype(np.float32)
        self._tokenizer = load_tokenizer(folder)

    def encode(self, text: str) -> Encoding:
        """See `Encoder.encode`."""
        ids, tokens = token_ids(self._tokenizer, text, self.info.max_tokens)
        vector = self._table[ids].sum(axis=0) if len(ids) else np.zeros(self.info.dimensions, np.float32)
        return Encoding(vector / max(float(np.linalg.norm(vector)), 1e-12), tokens)


def load_encoder(folder: Path, info: EncoderInfo) -> Encoder:
    """The encoder in a folder, as its description says.

    Raises:
        DamagedArtifact: onnxruntime or tokenizers can't read the files.
    """
    try:
        return OnnxEncoder(folder, info) if info.kind == "onnx" else StaticEncoder(folder, info)
    except Exception as error:  # the native libraries raise undeclared types
        raise DamagedArtifact(f"{folder}: the encoder can't be loaded: {error}") from error


def load_tokenizer(folder: Path) -> Tokenizer:
    """The folder's tokenizer, which neither cuts nor pads: `token_ids` does the cutting."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER_FILE))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def token_ids(tokenizer: Tokenizer, text: str, max_tokens: int) -> tuple[IntArray, int]:
    """Token ids of a text, head and tail kept where it is longer than the window.

    Returns:
        Ids, shape (at most max_tokens,), and the number of tokens of the whole text: exact up to a few
        thousand characters, and in proportion to the length beyond.
    """
    shortened = head_and_tail(text, max_tokens * CHARACTERS_PER_TOKEN)
    ids = np.asarray(tokenizer.encode(well_formed(shortened)).ids, dtype=np.int64)
    total = len(ids) * len(text) // max(len(shortened), 1)
    head = max_tokens // 2
    if len(ids) > max_tokens:
        ids = np.concatenate((ids[:head], ids[head - max_tokens :]))
    return ids, total


def head_and_tail(text: str, characters: int) -> str:
    """The text, or where it is longer its first and last halves of `characters`."""
    half = characters // 2
    return text if len(text) <= characters else f"{text[:half]}\n{text[-half:]}"
