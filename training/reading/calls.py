"""Reads call logs in one streaming pass: cleaned calls by prompt in a scratch folder, and their summary."""

from __future__ import annotations

import gc
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from router.settings.outcome_rules import OutcomeRule
from training.reading.files.log_file import COMPRESSED, ROWS_ONLY, LogFile
from training.reading.outcomes.amendments import (
    grades_beside,
    judge_verdicts,
    session_verdicts,
    with_amendments,
    with_grades,
)
from training.reading.outcomes.judge_report import JudgeReport
from training.reading.outcomes.session_rules import count_outcomes, judge_sessions
from training.reading.read_pass import REJECTED_BUCKET, Meter, Plan, Progress, Runner, call_source, start_daft
from training.reading.refusal import refuse_bad_log
from training.reading.rows.cleaning import CALL_SCHEMA
from training.reading.rows.joining import spool
from training.reading.rows.recognising import AUTO, find_files
from training.reading.summary import (
    ReadSummary,
    all_calls,
    bucket_frame,
    duplicates_path,
    place_of,
    summarise,
)
from training.whole_file import draft_of

if TYPE_CHECKING:
    import daft

_BUCKET_BYTES = 128 << 20
_MOST_BUCKETS = 256
_UNPACKED = {
    "parquet": 6, "json": 1, "csv": 1, "database": 2, "values": 1, "table": 2, "address": 2, "spool": 1,
    "frame": 1,
}  # fmt: skip
"""Bytes of calls in a byte of a log file, roughly."""
_SORTED_REJECTS = 200_000
_OBJECTS_BETWEEN = 1_000_000
"""New objects between two searches for cycles while a log is read: one every 700 takes a fifth of the
time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFiles:
    """Cleaned calls in a scratch folder: Parquet files by bucket, with all calls of a prompt in one bucket.

    Attributes:
        buckets: number of buckets; all keys in bucket i are smaller than those in bucket i + 1.
    """

    folder: Path
    buckets: int
    runner: Runner
    summary: ReadSummary

    def bucket(self, number: int) -> daft.DataFrame | None:
        """The calls of one bucket with `prompt_key` and `place`, without duplicates; None if it is empty."""
        frame = bucket_frame(self.folder, number, self.runner)
        return None if frame is None else self._amended(frame)

    def whole(self) -> daft.DataFrame | None:
        """The calls of all buckets, with the same columns as `bucket`; None if there are none."""
        frame = all_calls(self.folder, self.buckets, self.runner)
        return None if frame is None else self._amended(frame)

    def _amended(self, frame: daft.DataFrame) -> daft.DataFrame:
        """The calls without duplicates, with the amendments of session rules and judge, and the grades."""
        read = start_daft(self.runner).read_parquet
        if self.summary.duplicates:
            frame = frame.join(read(str(duplicates_path(self.folder))), on="place", how="anti")
        for amendments in (session_verdicts(self.folder), judge_verdicts(self.folder)):
            if amendments.exists():
                frame = with_amendments(frame, read(str(amendments)))
        grades = grades_beside(self.folder)
        return with_grades(frame, read(str(grades))) if grades.exists() else frame

    def frames(self) -> Iterator[daft.DataFrame]:
        """The calls of each bucket that has some, in the order of prompt keys."""
        for number in range(self.buckets):
            frame = self.bucket(number)
            if frame is not None:
                yield frame


def read_calls(  # noqa: PLR0913 - each is a setting of its own, and callers have them one by one
    sources: Sequence[str],
    *,
    scratch: Path,
    mapping: Mapping[str, str] | None = None,
    format: str = AUTO,
    runner: Runner = "native",
    ray_address: str | None = None,
    rejects: Path | None = None,
    max_reject_share: float = 0.05,
    rules: Sequence[OutcomeRule] = (),
    grade: bool = False,
    aliases: Mapping[str, str] | None = None,
    frames: Mapping[str, pa.Table] | None = None,
    progress: Progress | None = None,
) -> CallFiles:
    """Read call logs into `scratch`, which the caller removes afterwards.

    Args:
        sources: files, folders, globs, objects in cloud storage and databases.
        mapping: source column per canonical field.
        format: name of a reader, or "auto": the surest for each file.
        rejects: gets one JSON line for each rejected row; not written if there is none.
        rules: find the outcomes; without rules, outcomes stay as logged.
        grade: keep the numbers of answers that a grader learns from; only with rules.
        aliases: the name that a model counts under, by the name in the logs.
        frames: tables in memory, by the name that they have among the sources.
        progress: called with the bytes read and all bytes; with Ray only at the end.

    Raises:
        CallLogError: a file is damaged or missing, no row is readable, or a function of the rules fails.
        TooManyRejects: more than `max_reject_share` of all rows are rejected.
    """
    files = find_files(sources, mapping or {}, format, evidence=bool(rules), frames=frames or {})
    size = sum(file.size for file in files)
    meter = Meter(progress, size) if progress and runner == "native" else None
    folder = scratch / "calls"
    shutil.rmtree(folder, ignore_errors=True)
    for amendments in (session_verdicts(folder), judge_verdicts(folder), grades_beside(folder)):
        amendments.unlink(missing_ok=True)
    with _few_collections():
        spooled = spool(files, scratch / "joining")
        plan = Plan(
            files=spooled.files,
            buckets=_bucket_count(files),
            meter=meter,
            rules=rules,
            grade=grade,
            aliases=aliases or {},
        )
        source = call_source(plan, start_daft(runner, ray_address))
        written = source.read().write_parquet(str(folder), partition_cols=["bucket"]).to_pydict()["path"]
    remove_unfinished(folder, written)
    summary = summarise(files, folder, plan.buckets, runner, spooled.summaries)
    _write_rejects(files, folder, runner, rejects if summary.rejected else None)
    refuse_bad_log(summary, rejects, max_reject_share)
    if progress:
        progress(size, size)
    calls = CallFiles(folder=folder, buckets=plan.buckets, runner=runner, summary=summary)
    return _with_rules(calls, rules) if rules else calls


@contextmanager
def _few_collections() -> Iterator[None]:
    """Let Python seldom look for cycles: reading makes none, and each search visits all rows held."""
    before = gc.get_threshold()
    gc.set_threshold(max(before[0], _OBJECTS_BETWEEN) if before[0] else 0, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def remove_unfinished(folder: Path, written: Iterable[str]) -> None:
    """Remove what a machine that died wrote of a task which another then did again.

    Args:
        written: paths of the files that count.
    """
    counts = {Path(path).name for path in written}
    for path in folder.rglob("*.parquet"):
        if path.name not in counts:
            path.unlink()


def _with_rules(files: CallFiles, rules: Sequence[OutcomeRule]) -> CallFiles:
    """The calls after session rules, with the count of what all rules did."""
    calls = files.whole()
    if calls is None:
        return files
    if any(rule.of_session for rule in rules):
        judge_sessions(rules, calls, files.summary.calls, files.folder)
    return counted(files, rules)


def counted(files: CallFiles, rules: Sequence[OutcomeRule], judge: JudgeReport | None = None) -> CallFiles:
    """The calls with the count of what the rules did, amendments included."""
    calls = files.whole()
    assert calls is not None, "a log that was read has calls"
    outcomes = replace(count_outcomes(rules, calls), judge=judge)
    return replace(files, summary=replace(files.summary, outcomes=outcomes))


def write_calls(files: CallFiles, out: Path) -> int:
    """Write the calls as one canonical Parquet file, whole or not at all; return their number.

    They are in the order of prompt keys, and of the log within a prompt.

    Raises:
        CallLogError: `out` can't be written.
    """
    count = 0
    with draft_of(out) as draft, pq.ParquetWriter(draft, CALL_SCHEMA, compression="zstd") as writer:
        for frame in files.frames():
            ordered = frame.sort(["prompt_key", "place"]).select(*CALL_SCHEMA.names)
            for batch in ordered.to_arrow_iter():
                writer.write_batch(batch.cast(CALL_SCHEMA))
                count += batch.num_rows
    return count


def _bucket_count(files: Sequence[LogFile]) -> int:
    unpacked = sum(
        file.size * _UNPACKED[file.kind] * (6 if file.path.endswith(COMPRESSED) else 1) for file in files
    )
    return min(1 + unpacked // _BUCKET_BYTES, _MOST_BUCKETS)


def _write_rejects(files: Sequence[LogFile], folder: Path, runner: Runner, out: Path | None) -> None:
    """Write each rejected row as a line of JSON, in the order of the log unless there are very many."""
    frame = bucket_frame(folder, REJECTED_BUCKET, runner)
    if out is None or frame is None:
        return
    if frame.count_rows() <= _SORTED_REJECTS:
        frame = frame.sort("place")
    with draft_of(out) as draft, draft.open("w", encoding="utf-8") as stream:
        for row in frame.select("place", "call_id", "reason", "detail", "raw").iter_rows():
            file, line = place_of(files, row.pop("place"))
            call_id = row.pop("call_id")
            name = {"call_id": call_id} if file.kind in ROWS_ONLY else {}
            whole = {"file": file.path, "line": line, **name, **row}
            stream.write(json.dumps(whole, ensure_ascii=False) + "\n")
