"""One streaming pass over call logs: cleaned calls by prompt, in a scratch folder, and what was read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from router.settings.outcome_rules import OutcomeRule
from training.reading.files.log_file import COMPRESSED, ROWS_ONLY, LogFile
from training.reading.outcomes.amendments import judge_verdicts, session_verdicts, with_amendments
from training.reading.outcomes.judge_report import JudgeReport
from training.reading.outcomes.session_rules import count_outcomes, judge_sessions
from training.reading.read_pass import REJECTED, Meter, Plan, Progress, Runner, call_source, start_daft
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
from training.whole_file import draft_of, not_written

if TYPE_CHECKING:
    import daft

_BUCKET_BYTES = 128 << 20
_MOST_BUCKETS = 256
_UNPACKED = {
    "parquet": 6,
    "json": 1,
    "csv": 1,
    "database": 2,
    "values": 1,
    "table": 2,
    "address": 2,
    "joined": 1,
}
"""Bytes of calls that a byte of a log file holds, roughly."""
_SORTED_REJECTS = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFiles:
    """Cleaned calls in a scratch folder: Parquet files by bucket, and a prompt is in one bucket only.

    Attributes:
        buckets: number of buckets; the keys in bucket i are all smaller than those in bucket i + 1.
    """

    folder: Path
    buckets: int
    runner: Runner
    summary: ReadSummary

    def bucket(self, number: int) -> daft.DataFrame | None:
        """The calls of one bucket, with `prompt_key` and `place`, without repeats; None if there are none."""
        frame = bucket_frame(self.folder, number, self.runner)
        return None if frame is None else self._settled(frame)

    def whole(self) -> daft.DataFrame | None:
        """The calls of all buckets, as `bucket` gives those of one; None if there are none."""
        frame = all_calls(self.folder, self.buckets, self.runner)
        return None if frame is None else self._settled(frame)

    def _settled(self, frame: daft.DataFrame) -> daft.DataFrame:
        """Without the repeated calls, and with what sessions' rules and judge said of the outcomes."""
        read = start_daft(self.runner).read_parquet
        if self.summary.duplicates:
            frame = frame.join(read(str(duplicates_path(self.folder))), on="place", how="anti")
        for verdicts in (session_verdicts(self.folder), judge_verdicts(self.folder)):
            if verdicts.exists():
                frame = with_amendments(frame, read(str(verdicts)))
        return frame

    def frames(self) -> Iterator[daft.DataFrame]:
        """The calls of each bucket that has some, in the order of the prompt keys."""
        for number in range(self.buckets):
            frame = self.bucket(number)
            if frame is not None:
                yield frame


def read_calls(  # noqa: PLR0913 - each is a setting of its own, and callers have them apart
    sources: Sequence[str],
    *,
    scratch: Path,
    mapping: Mapping[str, str] | None = None,
    format: str = AUTO,
    runner: Runner = "native",
    rejects: Path | None = None,
    max_reject_share: float = 0.05,
    rules: Sequence[OutcomeRule] = (),
    progress: Progress | None = None,
) -> CallFiles:
    """Read call logs into `scratch`, which the caller removes when done.

    Args:
        sources: files, folders, globs, objects in cloud storage and databases.
        mapping: source column per canonical field.
        format: name of a reader, or "auto": the surest for each file.
        rejects: gets one JSON line for each row that was turned away; not written if there is none.
        rules: find the outcomes; without any they are as the log has them.
        progress: called with bytes read and bytes there are; with Ray only at the end.

    Raises:
        CallLogError: a file is damaged or missing, no row is readable, or a function of the rules fails.
        TooManyRejects: more rows than `max_reject_share` of all were turned away.
    """
    files = find_files(sources, mapping or {}, format, evidence=bool(rules))
    size = sum(file.size for file in files)
    meter = Meter(progress, size) if progress and runner == "native" else None
    folder = scratch / "calls"
    shutil.rmtree(folder, ignore_errors=True)
    for verdicts in (session_verdicts(folder), judge_verdicts(folder)):
        verdicts.unlink(missing_ok=True)
    spooled = spool(files, scratch / "joining")
    plan = Plan(files=spooled.files, buckets=_bucket_count(files), meter=meter, rules=rules)
    source = call_source(plan, start_daft(runner))
    source.read().write_parquet(str(folder), partition_cols=["bucket"])
    summary = summarise(files, folder, plan.buckets, runner, spooled.tallies)
    _write_rejects(files, folder, runner, rejects if summary.rejected else None)
    refuse_bad_log(summary, rejects, max_reject_share)
    if progress:
        progress(size, size)
    found = CallFiles(folder=folder, buckets=plan.buckets, runner=runner, summary=summary)
    return _with_rules(found, rules) if rules else found


def _with_rules(files: CallFiles, rules: Sequence[OutcomeRule]) -> CallFiles:
    """The calls with what the rules that look at a session say, and the count of what all of them did."""
    calls = files.whole()
    if calls is None:
        return files
    if any(rule.of_session for rule in rules):
        judge_sessions(rules, calls, files.summary.calls, files.folder)
    return counted(files, rules)


def counted(files: CallFiles, rules: Sequence[OutcomeRule], judge: JudgeReport | None = None) -> CallFiles:
    """The calls with the count of what the rules did, after everything that they said."""
    calls = files.whole()
    assert calls is not None, "a log that was read has calls"
    outcomes = replace(count_outcomes(rules, calls), judge=judge)
    return replace(files, summary=replace(files.summary, outcomes=outcomes))


def write_calls(files: CallFiles, out: Path) -> int:
    """Write the calls as one canonical Parquet file, whole or not at all; returns their number.

    The order is that of prompt keys, and within a prompt that of the log.

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
    """Write each rejected row as a line of JSON; in the order of the log unless there are very many."""
    frame = bucket_frame(folder, REJECTED, runner)
    if out is None or frame is None:
        return
    few = frame.count_rows() <= _SORTED_REJECTS
    wanted = (frame.sort("place") if few else frame).select("place", "call_id", "reason", "detail", "raw")
    try:
        with out.open("w", encoding="utf-8") as stream:
            for row in wanted.iter_rows():
                file, line = place_of(files, row.pop("place"))
                call_id = row.pop("call_id")
                named = {"call_id": call_id} if file.kind in ROWS_ONLY else {}
                whole = {"file": file.path, "line": line, **named, **row}
                stream.write(json.dumps(whole, ensure_ascii=False) + "\n")
    except OSError as error:
        raise not_written(out, error) from error
