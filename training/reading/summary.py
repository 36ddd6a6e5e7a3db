"""Counts what a read pass left in its scratch folder."""

from __future__ import annotations

import hashlib
import io
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from router.call_log.rows import COLUMNS
from router.errors import CallLogError
from router.models.names import Spelling, differ_by_provider
from training.reading.files.log_file import ROWS_ONLY, LogFile, open_raw
from training.reading.files.raw import file_and_line, place_at
from training.reading.outcomes.session_rules import OutcomeCounts
from training.reading.read_pass import REJECTED_BUCKET, SUMMARY_BUCKET, Runner, start_daft, task_summaries
from training.reading.rows.task_summary import TaskSummary

if TYPE_CHECKING:
    import daft

_NAMED = 5
_IDS_AT_ONCE = 2_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectCount:
    """Rejected rows with the same reason.

    Attributes:
        where: `file:line` of the first one; the row's number in a Parquet file, number and call_id in a
            database.
        value: its offending value, cut short.
    """

    reason: str
    rows: int
    where: str
    value: str

    def __str__(self) -> str:
        return f"{self.rows:,} x {self.reason}, first {self.where}: {self.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadSummary:
    """What a read pass read.

    `rows` = `calls` + `duplicates` + `without_text` + `joined` + the rows of `rejects` and of `set_apart`.

    Attributes:
        calls: rows kept.
        rejects: per reason, the most frequent first.
        duplicates: rows that repeat an earlier call: its call_id, or as a copy.
        copies: those of them that another log holds as well: of the same prompt, model, time and tokens.
        same_names: models of the log whose names differ by the provider only.
        split_names: names in other logs than the router's own that were read as a model at an effort.
        without_text: valid rows whose prompt text was not logged, only its key; training can't use them.
        set_apart: skipped rows, which are valid but no calls for training, per reason, the most frequent
            first.
        joined: rows whose content went into the call of another row, such as scores.
        left_out: values that can't be read and that their calls do not need, per reason.
        repaired: rows in which a lone surrogate became U+FFFD.
        truncated: calls of which the log has only a part of the text.
        files: the files that were read, in the order of the sources.
        readers: number of files per reader.
        empty_files: files without a row.
        ignored_columns: columns that no field is read from; without those of the runtime's own log.
        digest: sha256 over the content of the files, independent of their names and order.
        outcomes: what the declared rules did; None without rules.
    """

    rows: int
    calls: int
    rejects: Sequence[RejectCount]
    duplicates: int
    without_text: int
    set_apart: Mapping[str, int]
    joined: int
    repaired: int
    truncated: int
    files: Sequence[str]
    readers: Mapping[str, int]
    empty_files: Sequence[str]
    ignored_columns: Sequence[str]
    digest: str
    outcomes: OutcomeCounts | None = None
    copies: int = 0
    same_names: Sequence[Sequence[str]] = ()
    split_names: Sequence[str] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)

    @property
    def rejected(self) -> int:
        """Number of all rejected rows."""
        return sum(reject.rows for reject in self.rejects)


def rows_in_files(summary: ReadSummary) -> str:
    """How many rows were read: "4,500 rows in 1 file"."""
    rows, files = summary.rows, len(summary.files)
    return f"{rows:,} row{'s' * (rows != 1)} in {files:,} file{'s' * (files != 1)}"


def same_names(summary: ReadSummary) -> list[tuple[str, tuple[str, ...]]]:
    """A sentence on each group of names that differ by the provider only, with the options to join them."""
    return [
        (
            f"{', '.join(names)} differ by the provider only and count as {len(names)} models; if they are "
            "one, join them (`aliases` in pointsman.yaml, or --map-model)",
            tuple(part for name in names[:-1] for part in ("--map-model", f"{name}={names[-1]}")),
        )
        for names in summary.same_names
    ]


def split_names(summary: ReadSummary) -> str | None:
    """A sentence on the names that were read as a model at an effort, with the way out; None without one."""
    if not summary.split_names:
        return None
    first, more = summary.split_names[0], len(summary.split_names) - _NAMED
    named = ", ".join(summary.split_names[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")
    whole = f"{first}={first.replace('@', '-')}"
    return (
        f"read as a model at an effort: {named}; if one is a model's whole name, give it another that does "
        f"not end so: --map-model {shlex.quote(whole)}"
    )


def bucket_frame(folder: Path, number: int, runner: Runner) -> daft.DataFrame | None:
    """All rows of one bucket; None if it has none."""
    part = folder / f"bucket={number}"
    return start_daft(runner).read_parquet(f"{part}/*.parquet") if part.is_dir() else None


def duplicates_path(folder: Path) -> Path:
    """The file, beside the scratch folder, that lists the places of duplicates."""
    return folder.parent / "duplicates.parquet"


def all_calls(folder: Path, buckets: int, runner: Runner) -> daft.DataFrame | None:
    """All calls, duplicates included; None if there are none."""
    parts = [part for number in range(buckets) if (part := folder / f"bucket={number}").is_dir()]
    return start_daft(runner).read_parquet([f"{part}/*.parquet" for part in parts]) if parts else None


def summarise(
    files: Sequence[LogFile], folder: Path, buckets: int, runner: Runner, spooled: Sequence[TaskSummary] = ()
) -> ReadSummary:
    """Count what the read pass left in `folder`.

    Args:
        spooled: summaries of the files whose rows were spooled before the pass.

    Raises:
        CallLogError: a file is damaged, no row has a mapped column, or the counts don't add up.
    """
    tasks = [*spooled, *task_summaries(bucket_frame(folder, SUMMARY_BUCKET, runner))]
    errors = sorted({task.error for task in tasks if task.error})
    if errors:
        raise CallLogError("; ".join(errors))
    rows = sum(task.rows for task in tasks)
    names = {name for task in tasks for name in task.names}
    if rows:
        _check_mapping(files[0].mapping, names)
    calls = all_calls(folder, buckets, runner)
    kept, truncated = _count_calls(calls)
    repeated = _find_repeated_ids(calls, kept, folder)
    copies = _find_copies(files, folder, buckets, runner)
    duplicates = repeated + copies
    rejects = _count_rejects(files, folder, runner)
    skipped: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    for task in tasks:
        skipped.update(task.skipped)
        left_out.update(task.left_out)
    summary = ReadSummary(
        rows=rows,
        calls=kept - duplicates,
        rejects=rejects,
        duplicates=duplicates,
        without_text=sum(task.without_text for task in tasks),
        set_apart=dict(skipped.most_common()),
        joined=sum(task.joined for task in tasks),
        repaired=sum(task.repaired for task in tasks),
        truncated=truncated,
        files=[file.path for file in files],
        readers=dict(Counter(file.reader for file in files)),
        empty_files=_empty_files(files, tasks),
        ignored_columns=_ignored_columns(names, files[0].mapping),
        left_out=dict(left_out.most_common()),
        digest=_digest(files, {task.file: task.digest for task in tasks}),
        copies=copies,
        same_names=differ_by_provider(_models(calls)),
        split_names=sorted({name for task in tasks for name in task.split}),
    )
    _check_sum(summary)
    return summary


def _check_mapping(mapping: Mapping[str, str], names: Set[str]) -> None:
    for name, source in mapping.items():
        if name != source and source not in names:
            there = ", ".join(sorted(names)) or "none; import the log, and map that file"
            raise CallLogError(f"no row has {source!r}, which {name!r} is mapped to; names there: {there}")


def _check_sum(summary: ReadSummary) -> None:
    """Raise if a row was counted nowhere, or twice."""
    parts = {
        "calls": summary.calls, "duplicates": summary.duplicates, "without text": summary.without_text,
        "rejected": summary.rejected, "skipped": sum(summary.set_apart.values()), "joined": summary.joined,
    }  # fmt: skip
    if summary.rows != sum(parts.values()):
        counts = ", ".join(f"{count:,} {name}" for name, count in parts.items())
        raise CallLogError(
            f"read {summary.rows:,} rows, but counted {counts}; this is a defect of pointsman: please "
            "report it"
        )


def _empty_files(files: Sequence[LogFile], tasks: Sequence[TaskSummary]) -> list[str]:
    filled = {task.file for task in tasks if task.rows}
    return [file.path for file in files if file.number not in filled]


def _ignored_columns(names: Set[str], mapping: Mapping[str, str]) -> list[str]:
    own = (
        set(COLUMNS) if names >= set(COLUMNS) - {"effort", "served_model", "cache_write_tokens"} else set()
    )  # earlier logs lack it
    around = {
        source[:end] for source in mapping.values() for end, one in enumerate(source) if one == "."
    }  # a mapped path begins with a column
    return sorted(names - set(mapping.values()) - around - own)


def _count_calls(calls: daft.DataFrame | None) -> tuple[int, int]:
    """Number of calls, and of those with a truncated text."""
    if calls is None:
        return 0, 0
    flags = calls.groupby("truncated").agg(calls["place"].count()).to_pydict()
    counts = dict(zip(flags["truncated"], flags["place"], strict=True))
    return sum(counts.values()), counts.get(True, 0)


def _models(calls: daft.DataFrame | None) -> list[str]:
    """The names of the models, after aliases."""
    return [] if calls is None else calls.select("model").distinct().to_pydict()["model"]


def _find_repeated_ids(calls: daft.DataFrame | None, kept: int, folder: Path) -> int:
    """Write the places of calls that repeat an earlier call_id; return their number.

    Slices of the ids, by their hash, are compared one by one, so memory stays the same for any log.
    """
    if calls is None:
        return 0
    ids = calls.select("call_id", "place").where(calls["call_id"].not_null())
    hashed: Any = ids["call_id"].hash()
    slices = 1 + kept // _IDS_AT_ONCE
    count = 0
    with pq.ParquetWriter(duplicates_path(folder), pa.schema({"place": pa.int64()})) as writer:
        for number in range(slices):
            part = ids.where(hashed % slices == number) if slices > 1 else ids
            in_order = pl.DataFrame(part.to_arrow()).sort("place")
            repeats = in_order.filter(~pl.col("call_id").is_first_distinct()).select("place")
            writer.write_table(repeats.to_arrow())
            count += len(repeats)
    return count


def _find_copies(files: Sequence[LogFile], folder: Path, buckets: int, runner: Runner) -> int:
    """Add the places of calls that another log holds as well to the duplicates; return their number.

    A call is the same as one of another file if prompt, model and both token counts agree, whatever the
    provider in the model's name, and if less than a second lies between them. Files of one format are one log
    where their calls have ids: there, only ids tell calls apart. The copy with an outcome stays, else the
    first.
    """
    count = 0
    for number in range(buckets if len(files) > 1 else 0):
        frame = bucket_frame(folder, number, runner)
        if frame is not None:
            known = pl.read_parquet(duplicates_path(folder))
            calls = pl.DataFrame(frame.select(*_OF_A_CALL).to_arrow()).join(known, on="place", how="anti")
            copies = _copies_in(calls, [file.reader for file in files])
            count += len(copies)
            if len(copies):
                pl.concat([known, copies]).write_parquet(duplicates_path(folder))
    return count


_OF_A_CALL = (
    "place", "prompt_key", "model", "time", "input_tokens", "output_tokens", "call_id", "success", "score",
)  # fmt: skip


def _copies_in(calls: pl.DataFrame, readers: Sequence[str]) -> pl.DataFrame:
    """Places of the calls that another log holds as well, among the calls of one bucket.

    Args:
        readers: of each file.
    """
    numbers, names = range(len(readers)), calls["model"].unique().to_list()
    bare = {name: Spelling.of(name).path[-1] for name in names}
    alike = ["prompt_key", "bare", "input_tokens", "output_tokens"]
    same = [*alike, "moment"]
    file = pl.col("place") // place_at(1, 0)
    format_ = file.replace_strict(dict(zip(numbers, map(readers.index, readers), strict=True)))
    timed = calls.filter(
        pl.all_horizontal(pl.col("time", "input_tokens", "output_tokens").is_not_null()),
        pl.col("time").dt.time() != time(),  # a day without a time of day tells no calls apart
    ).with_columns(
        bare=pl.col("model").replace_strict(bare),
        log=pl.when(pl.col("call_id").is_null()).then(-1 - file).otherwise(format_),
        unknown=pl.all_horizontal(pl.col("success", "score").is_null()),
    )
    pause = (pl.col("time").diff() >= timedelta(seconds=1)).fill_null(value=False)
    told = timed.sort("time").with_columns(moment=pause.cum_sum().over(alike))
    ordered = told.sort("unknown", "place").with_columns(
        occurrence=pl.int_range(pl.len()).over([*same, "log"])
    )
    return ordered.filter(~pl.struct(*same, "occurrence").is_first_distinct()).select("place")


def _count_rejects(files: Sequence[LogFile], folder: Path, runner: Runner) -> list[RejectCount]:
    frame = bucket_frame(folder, REJECTED_BUCKET, runner)
    if frame is None:
        return []
    place = frame["place"]
    groups = frame.groupby("reason").agg(place.min().alias("first"), place.count().alias("rows")).to_pylist()
    firsts = [group["first"] for group in groups]
    first_rows = frame.where(place.is_in(firsts)).select("place", "detail", "call_id").to_pylist()
    row_at = {row["place"]: row for row in first_rows}
    counts = [
        RejectCount(
            reason=group["reason"],
            rows=group["rows"],
            where=_place_text(*place_of(files, group["first"]), row_at[group["first"]]["call_id"]),
            value=row_at[group["first"]]["detail"],
        )
        for group in groups
    ]
    return sorted(counts, key=lambda count: (-count.rows, count.reason))


def place_of(files: Sequence[LogFile], place: int) -> tuple[LogFile, int]:
    """The file of a place in the log, and its line or row."""
    number, line = file_and_line(place)
    return files[number], line


def _place_text(file: LogFile, line: int, call_id: str | None) -> str:
    if file.kind not in ROWS_ONLY:
        return f"{file.path}:{line}"
    return f"{file.path}: row {line}" + (f" (call_id {call_id})" if call_id else "")


def _digest(files: Sequence[LogFile], row_digests: Mapping[int | None, str | None]) -> str:
    """A hash of what the files hold, independent of their names and order.

    Args:
        row_digests: hash of the rows of a database, by the file's number.
    """
    parts = [row_digests.get(file.number) or _content_digest(file) for file in files]
    return hashlib.sha256(b"".join(sorted(map(bytes.fromhex, parts)))).hexdigest()


def _content_digest(file: LogFile) -> str:
    """A hash of a file and of the feedback beside it; a hash of nothing for a database without rows."""
    whole = hashlib.sha256()
    if file.kind not in ROWS_ONLY:
        whole = _file_digest(file.location)
    if file.feedback:
        whole.update(_file_digest(str(file.feedback)).digest())
    return whole.hexdigest()


def _file_digest(path: str) -> hashlib._Hash:
    with open_raw(path) as stream:
        return hashlib.file_digest(cast(io.BufferedReader, stream), "sha256")
