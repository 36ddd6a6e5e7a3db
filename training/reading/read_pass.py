"""The read pass as a daft data source: log files in, checked rows with prompt key and bucket out."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa

from router.errors import CallLogError, MissingExtra
from router.settings.outcome_rules import OutcomeRule
from training.reading.files.log_file import LogFile
from training.reading.files.raw import RawRows, place_at
from training.reading.outcomes.batch import RULE_COLUMNS, with_outcomes
from training.reading.rows.cleaning import CALL_SCHEMA, CleanRows, clean_rows
from training.reading.rows.own_log import read_batches
from training.reading.rows.task_summary import TaskSummary

if TYPE_CHECKING:
    import daft

Runner = Literal["native", "ray"]
Progress: TypeAlias = Callable[[int, int], None]
"""Called with the work done and all work, in bytes or in parts."""

_REACH_S = 5.0
"""Time within which a Ray cluster has to answer."""

REJECTED_BUCKET, SUMMARY_BUCKET = -1, -2
"""Buckets of rows that are not calls: rejected rows, and one row per `TaskSummary`."""

_TASK_BYTES = 16 << 20
_TASK_FILES = 1000
"""Small files share a task up to these limits."""

SCRATCH_SCHEMA = pa.schema(
    [
        *CALL_SCHEMA,
        pa.field("bucket", pa.int32()),
        pa.field("prompt_key", pa.large_string()),
        pa.field("place", pa.int64()),
        pa.field("reason", pa.large_string()),
        pa.field("detail", pa.large_string()),
        pa.field("raw", pa.large_string()),
        *(pa.field(name, type_) for name, type_ in RULE_COLUMNS.items()),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the tasks of the read pass need; it travels to workers.

    Attributes:
        rules: find the outcomes; without rules, outcomes stay as logged.
        grade: keep the numbers of answers that a grader learns from.
        aliases: the name that a model counts under, by the name in the log.
    """

    files: Sequence[LogFile]
    buckets: int
    meter: Meter | None
    rules: Sequence[OutcomeRule] = ()
    grade: bool = False
    aliases: Mapping[str, str] = field(default_factory=dict)


class Meter:
    """Adds up the bytes that all tasks read, for a progress display."""

    def __init__(self, report: Progress, total: int) -> None:
        self._report, self._total, self._done = report, total, 0
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        """Count bytes as read, and report the sum."""
        with self._lock:
            self._done = min(self._done + count, self._total)
            self._report(self._done, self._total)


def start_daft(runner: Runner, address: str | None = None) -> Any:  # noqa: ANN401 - a module has no narrower type
    """The daft module without its telemetry, set to run here or on Ray.

    Args:
        address: of the Ray cluster, for the first call of a process; None: the one that Ray's own
            `RAY_ADDRESS` names, else one on this machine.

    Raises:
        MissingExtra: daft, or Ray for "ray", is not installed.
        CallLogError: no cluster listens at the address, or daft already runs on the other runner in this
            process.
    """
    quiet = {"DAFT_ANALYTICS_ENABLED": "0", "DO_NOT_TRACK": "true", "SCARF_NO_ANALYTICS": "true"}
    quiet |= {"RAY_USAGE_STATS_ENABLED": "0", "DAFT_PROGRESS_BAR": "0"}
    os.environ.update(quiet)
    try:
        import daft
    except ImportError as error:
        raise MissingExtra("daft", "train") from error
    if not _has_runner():
        if runner == "ray":
            _check_listening(address or os.environ.get("RAY_ADDRESS"))
        try:
            daft.set_runner_ray(address) if runner == "ray" else daft.set_runner_native()
        except ImportError as error:
            raise MissingExtra("ray", "ray") from error
        daft.set_execution_config(parquet_target_row_group_size=1 << 20, scantask_max_parallel=2)
    running = daft.get_or_infer_runner_type()
    if running != runner:
        raise CallLogError(
            f"this process already runs daft on {running!r}, not {runner!r}; start a new process"
        )
    return daft


def _check_listening(address: str | None) -> None:
    """Find out in seconds that no cluster listens; Ray itself tries for three minutes.

    Raises:
        CallLogError: nothing listens at the address.
    """
    named = address or ""
    place = urlsplit(named if "//" in named else f"//{named}")
    if place.hostname is None or place.port is None:
        return  # "auto" or "local": Ray finds or starts the cluster itself
    try:
        socket.create_connection((place.hostname, place.port), timeout=_REACH_S).close()
    except OSError as error:
        raise CallLogError(
            f"no Ray cluster listens at {place.hostname}:{place.port} ({error}): check training.ray_address "
            "and RAY_ADDRESS, or set training.runner: native"
        ) from error


def _has_runner() -> bool:
    """Whether daft has a runner in this process; to set one twice is an error."""
    # Daft 0.7 has only this private function: `get_or_infer_runner_type` returns "native" without a runner.
    from daft.runners import _get_runner

    return _get_runner() is not None


def call_source(plan: Plan, daft: Any) -> Any:  # noqa: ANN401, C901 - classes over bases imported only here
    """A daft data source over the log files: one task for each file, or row group of a Parquet file."""
    from daft.io.source import DataSource, DataSourceTask
    from daft.recordbatch import RecordBatch

    shared_schema = daft.Schema.from_pyarrow_schema(SCRATCH_SCHEMA)

    class CallTask(DataSourceTask):
        def __init__(self, parts: Sequence[tuple[LogFile, int]]) -> None:
            self._parts = parts

        @property
        def schema(self) -> daft.Schema:
            return shared_schema

        async def read(self) -> AsyncIterator[daft.recordbatch.RecordBatch]:
            batches = chain.from_iterable(_part_batches(file, part, plan) for file, part in self._parts)
            while (batch := await asyncio.to_thread(next, batches, None)) is not None:
                yield RecordBatch.from_arrow_record_batches([batch], SCRATCH_SCHEMA)

    class CallSource(DataSource):
        @property
        def name(self) -> str:
            return "call log"

        @property
        def schema(self) -> daft.Schema:
            return shared_schema

        async def get_tasks(self, pushdowns: object) -> AsyncIterator[DataSourceTask]:
            for parts in _tasks(plan.files):
                yield CallTask(parts)

    return CallSource()


def _tasks(files: Sequence[LogFile]) -> Iterator[list[tuple[LogFile, int]]]:
    """The parts of the files per task; small files share tasks, a million files a few thousand."""
    parts: list[tuple[LogFile, int]] = []
    size = 0
    for file in files:
        for part in range(file.row_groups if file.size else 0):
            share = file.size // file.row_groups
            if parts and (size + share > _TASK_BYTES or len(parts) >= _TASK_FILES):
                yield parts
                parts, size = [], 0
            parts.append((file, part))
            size += share
    if parts:
        yield parts


def _part_batches(file: LogFile, part: int, plan: Plan) -> Iterator[pa.RecordBatch]:
    """The calls and rejected rows of one part of a file, then one row with the part's `TaskSummary`.

    A damaged file ends its part early, with the error in the summary: so the pass finds all damaged files.
    """
    summary = TaskSummary(file=None if file.kind == "spool" else file.number)
    try:
        for batch in read_batches(file, part):
            checked = clean_rows(batch.rows, plan.aliases)
            clean, rule_columns = with_outcomes(plan.rules, batch.rows, checked, grade=plan.grade)
            summary.add(batch, clean)
            yield from _batches(file, batch.rows, clean, rule_columns, plan.buckets)
            if plan.meter:
                plan.meter.add(batch.bytes_read)
    except CallLogError as error:
        summary.error = str(error)
    # Rows are all that a task can return, from another machine if daft runs on Ray.
    yield _padded(
        {
            "bucket": pa.array([SUMMARY_BUCKET], pa.int32()),
            "detail": pa.array([summary.to_json()], pa.large_string()),
        }
    )


def task_summaries(frame: daft.DataFrame | None) -> list[TaskSummary]:
    """The summaries in the summary bucket; none if the bucket is None."""
    texts = frame.select("detail").to_pydict()["detail"] if frame is not None else []
    return list(map(TaskSummary.from_json, texts))


def _batches(
    file: LogFile, rows: RawRows, clean: CleanRows, rule_columns: Mapping[str, pa.Array], buckets: int
) -> Iterator[pa.RecordBatch]:
    """The calls of one batch, then its rejected rows; rows without their text are in neither."""
    first_place = 0 if file.kind == "spool" else place_at(file.number, 0)
    places = np.asarray(rows.lines, dtype=np.int64) + first_place
    bad = sorted(clean.problems)
    numbers = [bucket_of(key, buckets) if key else REJECTED_BUCKET for key in clean.keys]
    calls = _padded(
        {
            **clean.columns,
            **rule_columns,
            "bucket": pa.array(numbers, pa.int32()),
            "prompt_key": pa.array(clean.keys, pa.large_string()),
            "place": pa.array(places),
        }
    )
    no_calls = [*bad, *clean.without_text, *clean.skipped]
    if not no_calls:
        yield calls
        return
    good = np.ones(len(places), dtype=bool)
    good[no_calls] = False
    yield calls.filter(pa.array(good))
    yield _padded(
        {
            "bucket": pa.array([REJECTED_BUCKET] * len(bad), pa.int32()),
            "place": pa.array(places[bad]),
            "call_id": clean.columns["call_id"].take(pa.array(bad, pa.int64())),
            "reason": pa.array([clean.problems[row][0] for row in bad], pa.large_string()),
            "detail": pa.array([clean.problems[row][1] for row in bad], pa.large_string()),
            "raw": pa.array([rows.raw(row) for row in bad], pa.large_string()),
        }
    )


def bucket_of(key: str, buckets: int) -> int:
    """The bucket of a prompt key, in [0, buckets); buckets are in the order of their keys."""
    return int(key[:8], 16) * buckets >> 32


def _padded(columns: Mapping[str, pa.Array]) -> pa.RecordBatch:
    """A batch of the scratch schema; missing columns are null."""
    length = len(columns["bucket"])
    return pa.record_batch(
        [columns.get(field.name, pa.nulls(length, field.type)) for field in SCRATCH_SCHEMA],
        schema=SCRATCH_SCHEMA,
    )
