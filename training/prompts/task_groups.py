"""Infers task types for calls without one: groups prompts by template, then by meaning, and names them."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from router.errors import CallLogError, TrainingError
from router.errors.masking import shown_address
from router.forecasting.encoder import Encoder, Encoding, load_encoder
from router.forecasting.features import embedded_text
from router.forecasting.task_groups import ABOUT_FILE, ARRAYS_FILE, TaskGroups, frames_of
from router.records import Float32Array, IntArray, Json, Request, message_texts
from training.progress import Reporter
from training.prompts.embeddings import encode_all
from training.prompts.encoder_export import encoder_info, prepared_encoder
from training.prompts.from_logs import EMBEDDINGS, ReadOptions
from training.prompts.table import stored_request
from training.reading.files.log_file import damage_as_log_error, is_in_store, is_remote, open_raw
from training.reading.rows.cleaning import CALL_SCHEMA
from training.whole_file import draft_of

SAMPLED = 20_000
"""Size of the uniform sample that the groups are fitted on, which bounds the memory."""
CLUSTERED = 8_000
LEAST_SHARE = 0.005
LEAST_MEMBERS = 20
MOST_SHARE = 0.5
"""A frame that more than half of the prompts share says nothing about the task."""
MOST_FRAMES = 64
LEAST_CLUSTERED = 100
CENTRES = (2, 4, 8, 12, 16, 24, 32)
SCORED = 2_000
NAME_WORDS = 3
LEAST_NAMED = 5
LEAST_NAMED_SHARE = 0.1
"""Share of a group, and number of prompts, that must contain a word before it enters the name: no single
prompt reveals its words."""
METADATA = b"pointsman_task_groups"
_BATCH = 4_096
_NAMING = re.compile(r"[^\W\d_]{3,}")
_NAMED_CHARACTERS = 2_000
_PROMPT = ("prompt", "messages", "tools", "response_format")


@dataclass(frozen=True, slots=True, kw_only=True)
class InferredTasks:
    """The task types inferred for a call log.

    Attributes:
        folder: where the groups are stored, for `train`.
        calls: number of calls by group.
        untyped: number of calls in no group.
    """

    folder: Path
    calls: Mapping[str, int]
    untyped: int

    def to_json(self) -> dict[str, Json]:
        """What `pointsman import --json` prints."""
        return {"folder": str(self.folder), "calls": dict(self.calls), "untyped": self.untyped}

    def __str__(self) -> str:
        lines = [f"task types inferred: {self.folder}; keep it beside the log, where `train` reads it"]
        by_calls = sorted(self.calls.items(), key=lambda item: -item[1])
        lines += [f"  {calls:,} calls: {name}" for name, calls in by_calls]
        return "\n".join([*lines, *([f"  {self.untyped:,} calls in no group"] if self.untyped else [])])


def infer_tasks(calls: Path, reading: ReadOptions, reporter: Reporter, seed: int) -> InferredTasks:
    """Group a log's calls without a task type, write the types into the log, and save the groups beside it.

    Raises:
        CallLogError: the log can't be rewritten.
        TrainingError: the encoder can't be prepared.
    """
    requests, taken = _sample(calls, np.random.default_rng(seed))
    texts = [embedded_text(request) for request in requests[:256]]
    folder = prepared_encoder(reading.config.training.encoder, texts, reading.cache)
    encoder = load_encoder(folder, encoder_info(folder))
    cache = reading.cache / EMBEDDINGS
    groups = fit_groups(requests, encoder, cache, taken, seed)
    place = groups_beside(calls)
    shutil.rmtree(place, ignore_errors=True)
    groups.save(place)
    counts = _write_types(calls, groups, encoder, cache, reporter)
    return InferredTasks(
        folder=place,
        calls={name: counts[name] for name in groups.names if counts[name]},
        untyped=counts[None],
    )


def groups_beside(calls: Path) -> Path:
    """The folder of the groups of a call log: `calls.tasks` beside `calls.parquet`."""
    return calls.with_name(f"{calls.stem}.tasks")


def groups_of(files: Sequence[str]) -> TaskGroups | None:
    """Load the groups that gave a call log its task types, from disk or an object store; None if none did.

    Raises:
        CallLogError: the store can't be reached, or refuses.
        TrainingError: two logs have their own groups, or the groups are missing.
    """
    typed = [file for file in files if file.endswith(".parquet") and _is_typed(file)]
    if not typed:
        return None
    if len(typed) > 1:
        raise TrainingError(
            f"{', '.join(typed)}: each has its own task groups; import their sources into one log"
        )
    if is_remote(typed[0]):
        return _remote_groups(typed[0])
    place = groups_beside(Path(typed[0]))
    if not place.is_dir():
        raise _gone(typed[0], str(place))
    return TaskGroups.load(place)


def check_encoder(groups: TaskGroups, sha256: str) -> None:
    """Raise if the groups come from another encoder's embeddings.

    Raises:
        TrainingError: they do.
    """
    if groups.encoder_sha256 != sha256:
        raise TrainingError(
            f"the log's task groups were made with encoder {groups.encoder}, and this router gets another: "
            "set training.encoder to the same in both, or import again"
        )


def fit_groups(
    requests: Sequence[Request], encoder: Encoder, cache: Path, taken: Collection[str], seed: int
) -> TaskGroups:
    """Group requests by the frames that many of them share, and the rest by the nearest centre of embeddings.

    Args:
        taken: task types that the log already has; no group gets such a name.
    """
    frames, framed = _shared_frames([frames_of(request) for request in requests])
    rest = np.flatnonzero(framed < 0)
    generator = np.random.default_rng(seed)
    if len(rest) > CLUSTERED:
        rest = np.sort(generator.choice(rest, CLUSTERED, replace=False))
    centres = np.zeros((0, encoder.info.dimensions), dtype=np.float32)
    members = framed.copy()
    if len(rest) >= LEAST_CLUSTERED:
        encodings, _ = encode_all(encoder, [embedded_text(requests[row]) for row in rest.tolist()], cache)
        vectors = np.stack([one.vector for one in encodings]).astype(np.float32)
        centres = _centres(vectors, seed)
        members[rest] = len(frames) + np.argmax(vectors @ centres.T, axis=1)
    return TaskGroups(
        names=_names(requests, members, len(frames) + len(centres), taken),
        encoder=encoder.info.name,
        encoder_sha256=encoder.info.sha256,
        frames=frames,
        centres=centres,
    )


def _shared_frames(frames: Sequence[Sequence[int]]) -> tuple[dict[int, int], IntArray]:
    """Number the frames that enough requests share; returns them with the group of each request, -1 for none.

    A frame counts once per request; a request belongs to its first shared frame.
    """
    least = max(LEAST_MEMBERS, LEAST_SHARE * len(frames))
    counts = Counter(frame for of_request in frames for frame in set(of_request))
    shared = {frame for frame, count in counts.items() if least <= count <= MOST_SHARE * len(frames)}
    first = [next((frame for frame in of_request if frame in shared), None) for of_request in frames]
    used = Counter(frame for frame in first if frame is not None)
    kept = [frame for frame, count in used.most_common(MOST_FRAMES) if count >= least]
    groups = {frame: number for number, frame in enumerate(kept)}
    members = [next((groups[frame] for frame in of_request if frame in groups), -1) for of_request in frames]
    return groups, np.array(members, dtype=np.int64)


def _centres(vectors: Float32Array, seed: int) -> Float32Array:
    """Cluster with several numbers of clusters; returns the unit centres that separate the vectors best."""
    from sklearn.cluster import KMeans
    from sklearn.metrics import silhouette_score

    sample = vectors[:: max(1, len(vectors) // SCORED)]
    scored = [(-1.0, vectors[:1])]
    for count in CENTRES:
        if count * LEAST_MEMBERS > len(vectors):
            break
        centres = KMeans(n_clusters=count, n_init=2, random_state=seed).fit(vectors).cluster_centers_
        centres = centres / np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-12)
        labels = np.argmax(sample @ centres.T, axis=1)
        if 1 < len(np.unique(labels)) < len(sample):
            scored.append((float(silhouette_score(sample, labels, metric="cosine")), centres))
    return np.asarray(max(scored, key=lambda pair: pair[0])[1], dtype=np.float32)


def _names(
    requests: Sequence[Request], members: IntArray, groups: int, taken: Collection[str]
) -> tuple[str, ...]:
    """A name for each group: its most telling words by class-based tf-idf (Grootendorst 2022)."""
    counts: dict[int, Counter[str]] = defaultdict(Counter)
    sizes = Counter(members.tolist())
    for request, group in zip(requests, members.tolist(), strict=True):
        if group >= 0:
            counts[group].update(_naming_words(request))
    overall: Counter[str] = Counter()
    for of_group in counts.values():
        overall.update(of_group)
    average = overall.total() / max(len(counts), 1)
    names: list[str] = []
    for group in range(groups):
        least = max(LEAST_NAMED, LEAST_NAMED_SHARE * sizes[group])
        weights = {
            word: count * np.log1p(average / overall[word])
            for word, count in counts[group].items()
            if count >= least
        }
        telling = sorted(weights, key=lambda word: (-weights[word], word))[:NAME_WORDS]
        names.append(_free("-".join(telling) or "group", {*names, *taken}))
    return tuple(names)


def _naming_words(request: Request) -> set[str]:
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    whole = " ".join(text[:_NAMED_CHARACTERS] for _, text in message_texts(request.messages))
    return {word for word in _NAMING.findall(whole.lower()) if word not in ENGLISH_STOP_WORDS}


def _free(name: str, taken: Collection[str]) -> str:
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}-{number}"
    return free


def _sample(calls: Path, generator: np.random.Generator) -> tuple[list[Request], set[str]]:
    """Draw a uniform sample of distinct prompts without a task type; returns the log's task types too."""
    kept: list[Request] = []
    taken: set[str] = set()
    seen = 0
    before: tuple[Json, ...] | None = None
    for batch in _batches(calls, (*_PROMPT, "task_type")):
        for row in batch.to_pylist():
            prompt = tuple(row[name] for name in _PROMPT)
            if row["task_type"]:
                taken.add(row["task_type"])
            if row["task_type"] or prompt == before:  # the calls of a prompt are adjacent
                continue
            before, seen = prompt, seen + 1
            place = seen - 1 if seen <= SAMPLED else int(generator.integers(seen))
            if place < SAMPLED:
                kept[place : place + 1] = [stored_request(*prompt)]
    return kept, taken


def _batches(calls: Path, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(calls) as parquet:
        yield from parquet.iter_batches(_BATCH, columns=columns)


def _write_types(
    calls: Path, groups: TaskGroups, encoder: Encoder, cache: Path, reporter: Reporter
) -> Counter[str | None]:
    """Rewrite the log, whole or not at all; returns the number of calls by group."""
    counts: Counter[str | None] = Counter()
    with pq.ParquetFile(calls) as parquet:
        advance = reporter.stage("assigning tasks", parquet.metadata.num_rows)
    schema = CALL_SCHEMA.with_metadata({METADATA: groups.encoder_sha256.encode()})
    with draft_of(calls) as draft, pq.ParquetWriter(draft, schema, compression="zstd") as writer:
        for batch in _batches(calls):
            types = _types(batch, groups, encoder, cache, counts)
            place = batch.schema.get_field_index("task_type")
            column = pa.array(types, CALL_SCHEMA.field("task_type").type)
            typed = batch.set_column(place, "task_type", column)
            writer.write_batch(pa.RecordBatch.from_arrays(typed.columns, schema=schema))
            advance(len(batch))
    return counts


def _types(
    batch: pa.RecordBatch, groups: TaskGroups, encoder: Encoder, cache: Path, counts: Counter[str | None]
) -> list[str | None]:
    """The task type of each call of a batch; each prompt is embedded once, through the cache."""
    rows = batch.select([*_PROMPT, "task_type"]).to_pylist()
    prompts = {tuple(row[name] for name in _PROMPT): None for row in rows if not row["task_type"]}
    requests = {prompt: stored_request(*prompt) for prompt in prompts}
    unframed = {prompt: r for prompt, r in requests.items() if not groups.frames.keys() & set(frames_of(r))}
    encoded: dict[int, Encoding] = {}
    if len(groups.centres):
        encodings, _ = encode_all(encoder, [embedded_text(r) for r in unframed.values()], cache)
        encoded = {id(r): one for r, one in zip(unframed.values(), encodings, strict=True)}
    names = {prompt: groups.name_of(r, lambda one: encoded[id(one)]) for prompt, r in requests.items()}
    types = [row["task_type"] or names[tuple(row[name] for name in _PROMPT)] for row in rows]
    counts.update(name for row, name in zip(rows, types, strict=True) if not row["task_type"])
    return types


def _is_typed(file: str) -> bool:
    if is_remote(file):
        if not is_in_store(file):  # a web address has lost its signature here: don't request it again
            return False
    elif not Path(file).is_file():
        return False
    with damage_as_log_error(shown_address(file)), open_raw(file) as raw:
        return METADATA in (pq.read_schema(raw).metadata or {})


def _remote_groups(calls: str) -> TaskGroups:
    """Load the groups beside a call log in an object store."""
    place = f"{calls.removesuffix('.parquet')}.tasks"
    with tempfile.TemporaryDirectory(prefix="pointsman-") as scratch:
        for name in (ABOUT_FILE, ARRAYS_FILE):
            try:
                with damage_as_log_error(place), open_raw(f"{place}/{name}") as raw:
                    (Path(scratch) / name).write_bytes(raw.read())
            except CallLogError as error:
                if isinstance(error.__cause__, FileNotFoundError):
                    raise _gone(calls, place) from error
                raise
        return TaskGroups.load(Path(scratch))


def _gone(calls: str, place: str) -> TrainingError:
    return TrainingError(
        f"{calls} was imported with --infer-tasks, but its groups are not at {place}: keep the folder "
        "beside the file, or import again"
    )
