"""Task types for calls that have none: prompts grouped by template, then by meaning, and named."""

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

from router.addresses import shown_address
from router.errors import CallLogError, TrainingError
from router.forecasting.encoder import Encoder, Encoding, load_encoder
from router.forecasting.features import embedded_text
from router.forecasting.task_groups import ABOUT_FILE, ARRAYS_FILE, TaskGroups, frames_of
from router.records import Float32Array, IntArray, Json, Request, message_texts
from training.progress import Reporter
from training.prompts.embeddings import encode_all
from training.prompts.encoder_export import encoder_info, prepared_encoder
from training.prompts.from_logs import EMBEDDINGS, ReadOptions
from training.readers.cells import parse_json
from training.reading.files.log_file import damage_as_log_error, is_in_store, is_remote, open_raw
from training.reading.rows.cleaning import CALL_SCHEMA
from training.whole_file import draft_of

SAMPLED = 20_000
"""Groups are found on a uniform sample of so many prompts; memory is that of the sample."""
CLUSTERED = 8_000
LEAST_SHARE = 0.005
LEAST_MEMBERS = 20
MOST_SHARE = 0.5
"""A frame that more than half of the prompts share tells nothing of the task."""
MOST_FRAMES = 64
LEAST_CLUSTERED = 100
CENTRES = (2, 4, 8, 12, 16, 24, 32)
JUDGED = 2_000
NAME_WORDS = 3
LEAST_NAMED = 5
LEAST_NAMED_SHARE = 0.1
"""A word is part of a name only where a tenth of the group has it, and at least five prompts: no single
prompt gives its words away."""
METADATA = b"pointsman_task_groups"
_BATCH = 4_096
_NAMING = re.compile(r"[^\W\d_]{3,}")
_NAMED_CHARACTERS = 2_000
_PROMPT = ("prompt", "messages", "tools", "response_format")


@dataclass(frozen=True, slots=True, kw_only=True)
class InferredTasks:
    """What was found in a call log.

    Attributes:
        folder: where the groups are stored, for `train`.
        calls: calls by group.
        untyped: calls that are in no group.
    """

    folder: Path
    calls: Mapping[str, int]
    untyped: int

    def to_json(self) -> dict[str, Json]:
        """What `pointsman import --json` prints of it."""
        return {"folder": str(self.folder), "calls": dict(self.calls), "untyped": self.untyped}

    def __str__(self) -> str:
        lines = [f"task types inferred: {self.folder}; keep it beside the log, `train` takes it from there"]
        most = sorted(self.calls.items(), key=lambda one: -one[1])
        lines += [f"  {calls} calls: {name}" for name, calls in most]
        return "\n".join([*lines, *([f"  {self.untyped} calls in no group"] if self.untyped else [])])


def infer_tasks(calls: Path, reading: ReadOptions, reporter: Reporter, seed: int) -> InferredTasks:
    """Give the calls of a log that have no task type that of their group, and keep the groups beside the log.

    Raises:
        CallLogError: the log can't be written again.
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
    """The groups of the call logs that were typed by them, here or in an object store; None where none was.

    Raises:
        CallLogError: the store can't be reached, or refuses.
        TrainingError: two logs have groups of their own, or a log's are gone.
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
    """Refuse groups made from another encoder's embeddings.

    Raises:
        TrainingError: they were.
    """
    if groups.encoder_sha256 != sha256:
        raise TrainingError(
            f"the log's task groups were made with encoder {groups.encoder}, and this router gets another: "
            "set training.encoder to the same in both, or import again"
        )


def fit_groups(
    requests: Sequence[Request], encoder: Encoder, cache: Path, taken: Collection[str], seed: int
) -> TaskGroups:
    """Groups of requests: by the frames that many share, then by the nearest of some centres of embeddings.

    Args:
        taken: task types that the log has already; no group is named so.
    """
    frames, framed = _shared_frames([frames_of(request) for request in requests])
    rest = np.flatnonzero(framed < 0)
    generator = np.random.default_rng(seed)
    some = rest if len(rest) <= CLUSTERED else np.sort(generator.choice(rest, CLUSTERED, replace=False))
    centres = np.zeros((0, encoder.info.dimensions), dtype=np.float32)
    members = framed.copy()
    if len(some) >= LEAST_CLUSTERED:
        encodings, _ = encode_all(encoder, [embedded_text(requests[row]) for row in some.tolist()], cache)
        vectors = np.stack([one.vector for one in encodings]).astype(np.float32)
        centres = _centres(vectors, seed)
        members[some] = len(frames) + np.argmax(vectors @ centres.T, axis=1)
    return TaskGroups(
        names=_names(requests, members, len(frames) + len(centres), taken),
        encoder=encoder.info.name,
        encoder_sha256=encoder.info.sha256,
        frames=frames,
        centres=centres,
    )


def _shared_frames(frames: Sequence[Sequence[int]]) -> tuple[dict[int, int], IntArray]:
    """Group by frame that enough requests share, and the group of each request, -1 for none.

    The same frame of the same request counts once; a request is of the first of its frames that is shared.
    """
    least = max(LEAST_MEMBERS, LEAST_SHARE * len(frames))
    counts = Counter(frame for of_request in frames for frame in set(of_request))
    shared = {frame for frame, count in counts.items() if least <= count <= MOST_SHARE * len(frames)}
    first = [next((frame for frame in of_request if frame in shared), None) for of_request in frames]
    used = Counter(frame for frame in first if frame is not None)
    kept = [frame for frame, count in used.most_common(MOST_FRAMES) if count >= least]
    groups = {frame: number for number, frame in enumerate(kept)}
    found = [next((groups[frame] for frame in of_request if frame in groups), -1) for of_request in frames]
    return groups, np.array(found, dtype=np.int64)


def _centres(vectors: Float32Array, seed: int) -> Float32Array:
    """Unit centres of the clustering, of several numbers of clusters, that separates the vectors best."""
    from sklearn.cluster import KMeans
    from sklearn.metrics import silhouette_score

    judged = vectors[:: max(1, len(vectors) // JUDGED)]
    tried = [(-1.0, vectors[:1])]
    for count in CENTRES:
        if count * LEAST_MEMBERS > len(vectors):
            break
        found = KMeans(n_clusters=count, n_init=2, random_state=seed).fit(vectors).cluster_centers_
        found = found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
        labels = np.argmax(judged @ found.T, axis=1)
        if 1 < len(np.unique(labels)) < len(judged):
            tried.append((float(silhouette_score(judged, labels, metric="cosine")), found))
    return np.asarray(max(tried, key=lambda one: one[0])[1], dtype=np.float32)


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
    """A uniform sample of the prompts without a task type, each once; and the task types that there are."""
    kept: list[Request] = []
    taken: set[str] = set()
    seen = 0
    before: tuple[Json, ...] | None = None
    for batch in _batches(calls, (*_PROMPT, "task_type")):
        for row in batch.to_pylist():
            prompt = tuple(row[name] for name in _PROMPT)
            if row["task_type"]:
                taken.add(row["task_type"])
            if row["task_type"] or prompt == before:  # the calls of a prompt stand together
                continue
            before, seen = prompt, seen + 1
            place = seen - 1 if seen <= SAMPLED else int(generator.integers(seen))
            if place < SAMPLED:
                kept[place : place + 1] = [_request(*prompt)]
    return kept, taken


def _batches(calls: Path, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(calls) as parquet:
        yield from parquet.iter_batches(_BATCH, columns=columns)


def _write_types(
    calls: Path, groups: TaskGroups, encoder: Encoder, cache: Path, reporter: Reporter
) -> Counter[str | None]:
    """Write the log anew, whole or not at all; returns the number of calls that got each group."""
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
    """The task type of each call of a batch; the prompts are embedded once each, through the cache."""
    rows = batch.select([*_PROMPT, "task_type"]).to_pylist()
    prompts = {tuple(row[name] for name in _PROMPT): None for row in rows if not row["task_type"]}
    requests = {prompt: _request(*prompt) for prompt in prompts}
    unframed = {prompt: r for prompt, r in requests.items() if not groups.frames.keys() & set(frames_of(r))}
    encoded: dict[int, Encoding] = {}
    if len(groups.centres):
        encodings, _ = encode_all(encoder, [embedded_text(r) for r in unframed.values()], cache)
        encoded = {id(r): one for r, one in zip(unframed.values(), encodings, strict=True)}
    names = {prompt: groups.name_of(r, lambda asked: encoded[id(asked)]) for prompt, r in requests.items()}
    found = [row["task_type"] or names[tuple(row[name] for name in _PROMPT)] for row in rows]
    counts.update(name for row, name in zip(rows, found, strict=True) if not row["task_type"])
    return found


def _request(prompt: str | None, messages: str | None, tools: str | None, form: str | None) -> Request:
    return Request.of(
        parse_json(messages)[0] if messages is not None else prompt or "",
        tools=tools and parse_json(tools)[0],
        response_format=form and parse_json(form)[0],
    )


def _is_typed(file: str) -> bool:
    if is_remote(file):
        if not is_in_store(file):  # a web address is known here without its signature: it is not asked again
            return False
    elif not Path(file).is_file():
        return False
    with damage_as_log_error(shown_address(file)), open_raw(file) as raw:
        return METADATA in (pq.read_schema(raw).metadata or {})


def _remote_groups(calls: str) -> TaskGroups:
    """The groups beside a call log in an object store."""
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
