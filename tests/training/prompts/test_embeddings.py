from __future__ import annotations

import multiprocessing
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from router.forecasting.encoder import EncoderInfo, Encoding
from tests.services.waiting import PATIENCE_S
from training.prompts.embeddings import BATCH, StoredEncodings, encode_all
from training.statistics import blocks

TEXTS = ["what is a pointsman", "a secret recipe", "what is a pointsman", "", "日本語 and \ud800"]


class Counting:
    """An encoder that counts the texts that it is given."""

    def __init__(self, sha256: str = "one") -> None:
        self.info = EncoderInfo(
            name="test", kind="static", dimensions=3, max_tokens=8, sha256=sha256, parity={}
        )
        self.seen: list[str] = []

    def encode(self, text: str) -> Encoding:
        self.seen.append(text)
        return Encoding(np.array([len(text), text.count("a"), 1.0], dtype=np.float32), len(text.split()))


def encode(texts: Sequence[str], cache: Path, sha256: str = "one") -> tuple[Sequence[Encoding], int]:
    return encode_all(Counting(sha256), texts, cache)


def test_encodings_come_in_the_order_of_the_texts(tmp_path: Path) -> None:
    encodings, _ = encode(TEXTS, tmp_path / "cache.sqlite")
    assert [one.vector[0] for one in encodings] == [len(text) for text in TEXTS]


def test_a_text_that_repeats_is_computed_once(tmp_path: Path) -> None:
    assert encode(TEXTS, tmp_path / "cache.sqlite")[1] == 4


def test_a_second_run_computes_nothing_and_says_the_same(tmp_path: Path) -> None:
    first, _ = encode(TEXTS, tmp_path / "cache.sqlite")
    second, computed = encode(TEXTS, tmp_path / "cache.sqlite")
    assert computed == 0
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.vector, other.vector)
        assert one.tokens == other.tokens


def test_only_what_is_new_is_computed(tmp_path: Path) -> None:
    encode(TEXTS, tmp_path / "cache.sqlite")
    encoder = Counting()
    encode_all(encoder, [*TEXTS, "new"], tmp_path / "cache.sqlite")
    assert encoder.seen == ["new"]


def test_another_encoder_shares_nothing(tmp_path: Path) -> None:
    encode(TEXTS, tmp_path / "cache.sqlite")
    assert encode(TEXTS, tmp_path / "cache.sqlite", sha256="two")[1] == 4


def test_the_cache_holds_no_text(tmp_path: Path) -> None:
    encode(TEXTS, tmp_path / "cache.sqlite")
    written = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"secret" not in written
    assert b"pointsman" not in written


def test_the_missing_folder_of_the_cache_is_made(tmp_path: Path) -> None:
    encode(TEXTS, tmp_path / "new" / "folder" / "cache.sqlite")
    assert (tmp_path / "new" / "folder" / "cache.sqlite").is_file()


def test_no_text_at_all_is_no_trouble(tmp_path: Path) -> None:
    assert encode([], tmp_path / "cache.sqlite") == ([], 0)


def test_more_texts_than_a_batch_are_all_encoded_and_told(tmp_path: Path) -> None:
    reported: list[int] = []
    texts = [f"text {number}" for number in range(2 * BATCH + 3)]
    encodings, computed = encode_all(Counting(), texts, tmp_path / "cache.sqlite", reported.append)
    assert (len(encodings), computed, reported) == (len(texts), len(texts), [BATCH, BATCH, 3])


def test_the_vectors_of_many_texts_are_on_disk_and_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_memory, _ = encode(TEXTS, tmp_path / "cache.sqlite")
    monkeypatch.setattr(blocks, "AT_ONCE", 2)
    stored, computed = encode(TEXTS, tmp_path / "cache.sqlite")
    assert (computed, len(stored)) == (0, len(TEXTS))
    assert isinstance(stored, StoredEncodings)
    for read in (list(stored), stored[:], [stored[row] for row in range(len(TEXTS))]):
        assert [(one.tokens, one.vector.tolist()) for one in read] == [
            (one.tokens, one.vector.tolist()) for one in in_memory
        ]


def fill(cache: Path, start: int) -> None:
    encode_all(Counting(), [f"text {number}" for number in range(start, start + 1500)], cache)


def test_two_processes_may_fill_the_cache_at_once(tmp_path: Path) -> None:
    cache = tmp_path / "cache.sqlite"
    spawn = multiprocessing.get_context("spawn")
    workers = [spawn.Process(target=fill, args=(cache, start)) for start in (0, 700)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(PATIENCE_S)
    assert [worker.exitcode for worker in workers] == [0, 0]
    with closing(sqlite3.connect(cache)) as connection:
        assert connection.execute("select count(*) from encoding").fetchone() == (2200,)
