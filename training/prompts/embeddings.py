"""The embedding cache: each encoder embeds a text once, whichever log it comes from."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import overload

import numpy as np
from joblib import Parallel, delayed

from router.errors import RouterError
from router.forecasting.encoder import Encoder, Encoding
from router.records import IntArray
from training.statistics import blocks
from training.statistics.blocks import OnDisk

BATCH = 512
_BUSY_S = 5.0
SCHEMA = """
create table if not exists encoding (
    encoder text not null, content blob not null, tokens integer not null, vector blob not null,
    primary key (encoder, content)
) without rowid
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEncodings(Sequence[Encoding]):
    """Encodings whose vectors are on disk.

    Attributes:
        tokens: shape (n,); the number of tokens of each text.
    """

    vectors: OnDisk
    tokens: IntArray

    def __len__(self) -> int:
        return len(self.tokens)

    @overload
    def __getitem__(self, rows: int) -> Encoding: ...
    @overload
    def __getitem__(self, rows: slice) -> Sequence[Encoding]: ...
    def __getitem__(self, rows: int | slice) -> Encoding | Sequence[Encoding]:
        if not isinstance(rows, slice):
            return self[rows : rows + 1][0]
        vectors, tokens = np.asarray(self.vectors[rows]), self.tokens[rows].tolist()
        return [Encoding(*one) for one in zip(vectors, tokens, strict=True)]

    def __iter__(self) -> Iterator[Encoding]:
        return (one for rows in blocks.blocks(len(self)) for one in self[rows])


def encode_all(
    encoder: Encoder, texts: Sequence[str], cache: Path, advance: Callable[[int], object] = lambda done: None
) -> tuple[Sequence[Encoding], int]:
    """Encode texts; returns the encodings in order, of many on disk, and how many of them were computed.

    Args:
        cache: SQLite file, created if missing. It holds hashes of the texts, never the texts.
        advance: called with the number of texts done since the last call.

    Raises:
        RouterError: the cache can't be written.
    """
    tokens: list[int] = []
    computed = 0

    def encoded(connection: sqlite3.Connection) -> Iterator[list[Encoding]]:
        nonlocal computed
        for batch in _batches(texts, BATCH):
            encodings, new = _encode_batch(encoder, batch, connection)
            computed += new
            tokens.extend(one.tokens for one in encodings)
            yield encodings
            advance(len(batch))

    with _opened(cache) as connection:
        if len(texts) <= blocks.AT_ONCE:
            return list(chain.from_iterable(encoded(connection))), computed
        vectors = OnDisk.of(np.stack([one.vector for one in batch]) for batch in encoded(connection))
    return StoredEncodings(vectors=vectors, tokens=np.array(tokens)), computed


@contextmanager
def _opened(cache: Path) -> Iterator[sqlite3.Connection]:
    """Open the cache for the block, and name it in SQLite's errors."""
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(cache, timeout=60)) as connection:
            _use_wal(connection)
            # After a power cut the lost rows are computed again.
            connection.execute("pragma synchronous = normal")
            connection.execute(SCHEMA)
            yield connection
    except (OSError, sqlite3.Error) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise RouterError(
            f"{cache}: the cache of embeddings can't be written: {why}; give another folder as --cache"
        ) from error


def _encode_batch(
    encoder: Encoder, texts: Sequence[str], connection: sqlite3.Connection
) -> tuple[list[Encoding], int]:
    name = encoder.info.sha256
    hashes = [hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() for text in texts]
    known = _look_up(connection, name, hashes)
    missing = {key: text for key, text in zip(hashes, texts, strict=True) if key not in known}
    # Looking up the tokens of a static encoder holds Python's lock: more threads only wait for each other.
    workers = Parallel(n_jobs=1 if encoder.info.kind == "static" else os.cpu_count(), prefer="threads")
    fresh = dict(
        zip(missing, workers(delayed(encoder.encode)(text) for text in missing.values()), strict=True)
    )
    rows = [(name, key, one.tokens, one.vector.astype("<f4").tobytes()) for key, one in fresh.items()]
    with connection:
        connection.executemany("insert or replace into encoding values (?, ?, ?, ?)", rows)
    known.update(fresh)
    return [known[key] for key in hashes], len(missing)


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch to WAL; if two processes do so at once, SQLite fails one without waiting, which tries again."""
    until = time.monotonic() + _BUSY_S
    while True:
        try:
            connection.execute("pragma journal_mode=wal")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
        time.sleep(0.02)


def _look_up(connection: sqlite3.Connection, name: str, hashes: Sequence[bytes]) -> dict[bytes, Encoding]:
    marks = ",".join("?" * len(hashes))
    query = f"select content, tokens, vector from encoding where encoder = ? and content in ({marks})"
    rows = connection.execute(query, [name, *hashes])
    return {key: Encoding(np.frombuffer(blob, dtype="<f4"), tokens) for key, tokens, blob in rows}


def _batches(texts: Iterable[str], size: int) -> Iterator[list[str]]:
    iterator = iter(texts)
    while batch := list(islice(iterator, size)):
        yield batch
