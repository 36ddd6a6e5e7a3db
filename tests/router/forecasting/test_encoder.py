from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.errors import DamagedArtifact
from router.forecasting.encoder import (
    TABLE_FILE,
    TOKENIZER_FILE,
    Encoder,
    EncoderInfo,
    StaticEncoder,
    WordIds,
    head_and_tail,
    load_encoder,
    load_tokenizer,
    token_ids,
)
from router.loading.artifact import save_arrays
from router.version import ENCODER_FOLDER, Version

QUICK = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
TEXTS = [
    pytest.param("What do we owe?", id="a question"),
    pytest.param("x", id="one character"),
    pytest.param(" \t\n ", id="whitespace"),
    pytest.param("今天的订单在哪里", id="Chinese"),
    pytest.param("a\ud800b\udfff", id="lone surrogates"),
    pytest.param("a\0b", id="NUL"),
    pytest.param("👩‍👩‍👧‍👦" * 50, id="joined emoji"),
    pytest.param("refund " * 28_571 + "now", id="200,000 characters"),
    pytest.param("x" * 200_000, id="200,000 characters in one word"),
    pytest.param("\n" * 200_000, id="200,000 newlines"),
]
MIDDLE = "the middle " * 4000


@pytest.fixture(scope="session")
def static_info(version: Version) -> EncoderInfo:
    return replace(version.encoder.info, kind="static", dimensions=8, max_tokens=64)


@pytest.fixture(scope="session")
def static_folder(router_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small table of random vectors for the tokenizer of the trained router."""
    folder = tmp_path_factory.mktemp("static")
    shutil.copy(router_folder / ENCODER_FOLDER / TOKENIZER_FILE, folder)
    table = np.random.default_rng(0).normal(size=(31_000, 8)).astype(np.float16)
    save_arrays(folder / TABLE_FILE, {"table": table})
    return folder


@pytest.fixture(params=["onnx", "static"])
def encoder(
    request: pytest.FixtureRequest, version: Version, static_folder: Path, static_info: EncoderInfo
) -> Encoder:
    return version.encoder if request.param == "onnx" else load_encoder(static_folder, static_info)


@pytest.mark.parametrize("text", TEXTS)
def test_any_text_gives_a_unit_vector(encoder: Encoder, text: str) -> None:
    vector = encoder.encode(text).vector
    assert vector.shape == (encoder.info.dimensions,)
    assert vector.dtype == np.float32
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)


def test_the_empty_text_gives_a_vector_of_length_one_or_zero(encoder: Encoder) -> None:
    assert np.linalg.norm(encoder.encode("").vector) == pytest.approx(1, abs=1e-5)


def test_a_text_without_tokens_gives_the_zero_vector(
    static_folder: Path, static_info: EncoderInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("router.forecasting.encoder.token_ids", lambda *_: (np.zeros(0, np.int64), 0))
    assert not StaticEncoder(static_folder, static_info).encode("").vector.any()


@pytest.mark.parametrize("text", TEXTS[:5])
def test_a_text_always_has_the_same_vector(encoder: Encoder, text: str) -> None:
    np.testing.assert_array_equal(encoder.encode(text).vector, encoder.encode(text).vector)


def test_another_process_would_load_the_same_vectors(version: Version, router_folder: Path) -> None:
    again = Version.load(router_folder).encoder
    np.testing.assert_array_equal(again.encode("Refund?").vector, version.encoder.encode("Refund?").vector)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        pytest.param(f"First words. {MIDDLE} end", f"Other words. {MIDDLE} end", False, id="the head counts"),
        pytest.param(f"a {MIDDLE} first end", f"a {MIDDLE} other words", False, id="the tail counts"),
        pytest.param(
            f"{MIDDLE}{MIDDLE}", f"{MIDDLE} something else {MIDDLE}", True, id="the middle does not"
        ),
    ],
)
def test_a_long_text_keeps_its_head_and_its_tail(encoder: Encoder, one: str, other: str, same: bool) -> None:
    assert np.array_equal(encoder.encode(one).vector, encoder.encode(other).vector) is same


def test_an_encoder_made_with_a_longer_window_still_reads_all_of_it(
    version: Version, router_folder: Path
) -> None:
    earlier = load_encoder(
        router_folder / ENCODER_FOLDER, replace(version.encoder.info, kind="onnx", max_tokens=256)
    )
    one, other = (f"{'a word ' * 60}{middle} {'a word ' * 60}" for middle in ("refund", "poem"))
    assert np.array_equal(version.encoder.encode(one).vector, version.encoder.encode(other).vector)
    assert not np.array_equal(earlier.encode(one).vector, earlier.encode(other).vector)


def test_similar_texts_are_closer_than_different_ones(version: Version) -> None:
    refund, money, poem = (
        version.encoder.encode(text).vector
        for text in ("I want a refund.", "Please give me my money back.", "Write a poem about the moon.")
    )
    assert refund @ money > refund @ poem + 0.2


@QUICK
@given(text=st.text(st.characters(), max_size=300))
def test_no_text_takes_more_tokens_than_the_window(version: Version, text: str) -> None:
    ids, tokens = token_ids(version.encoder._tokenizer, text, 16)  # type: ignore[attr-defined]
    assert len(ids) <= 16
    assert tokens >= len(ids) - 2


WORDS = st.lists(
    st.one_of(
        st.sampled_from(
            "refund Refund! [PAD] [SEP] don't naïve İstanbul ΣΑΣ a\u0301 e\u0301x 订单在 \x1c\x0b".split(" ")
        ),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
        st.text("aé\u0301 \t\x0b\xa0-[],.\u200b\ufffd字", max_size=8),
        st.just("x" * 101),
    ),
    max_size=30,
)


def whole(by_words: WordIds, text: str) -> list[int]:
    return by_words.window(text, sys.maxsize)[0]


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=WORDS, between=st.sampled_from([" ", "", "\n"]))
def test_the_ids_by_words_are_those_of_the_tokenizer(
    version: Version, words: list[str], between: str
) -> None:
    by_words: WordIds = version.encoder._tokenizer  # type: ignore[attr-defined]
    text = between.join(words)
    ids = by_words._tokenizer.encode(text).ids
    assert whole(by_words, text) == ids
    assert whole(by_words, text) == ids
    for most in (4, 7, len(ids)):
        cut = ids if len(ids) <= most else ids[: most // 2] + ids[most // 2 - most :]
        assert by_words.window(text, most) == (cut, len(ids))


def test_the_known_words_are_bounded(router_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    by_words = load_tokenizer(router_folder / ENCODER_FOLDER)
    most = len(by_words._known) + 50
    monkeypatch.setattr("router.forecasting.encoder.MOST_KNOWN", most)
    for start in range(0, 400, 40):
        text = " ".join(f"w{number}" for number in range(start, start + 45))
        assert whole(by_words, text) == by_words._tokenizer.encode(text).ids
        assert len(by_words._known) <= most


def test_the_token_count_is_that_of_the_whole_text(version: Version) -> None:
    assert version.encoder.encode("word " * 1000).tokens == pytest.approx(1000, abs=5)


def test_the_token_count_of_a_huge_text_grows_with_its_length(version: Version) -> None:
    assert version.encoder.encode("word " * 40_000).tokens == pytest.approx(40_000, rel=0.02)


@given(st.text(st.characters(), max_size=60), st.integers(2, 40))
def test_head_and_tail_are_the_texts_own(text: str, characters: int) -> None:
    short, half = head_and_tail(text, characters), characters // 2
    assert short == text if len(text) <= characters else short.startswith(text[:half] + "\n")
    assert len(short) <= max(len(text), characters + 1)


def break_nothing(folder: Path) -> None:
    """Leave the folder without its files."""


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(break_nothing, id="no files"),
        pytest.param(lambda folder: (folder / "encoder.onnx").write_bytes(b"no graph"), id="no ONNX graph"),
    ],
)
@pytest.mark.parametrize("kind", ["onnx", "static"])
def test_an_encoder_that_cannot_be_read_is_damaged(
    tmp_path: Path, version: Version, spoil: Callable[[Path], object], kind: str
) -> None:
    spoil(tmp_path)
    with pytest.raises(DamagedArtifact, match="the encoder can't be loaded"):
        load_encoder(tmp_path, replace(version.encoder.info, kind=kind))  # type: ignore[arg-type]
