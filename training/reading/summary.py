"""What a read pass found: counted from the scratch folder it left."""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from router.call_log.rows import COLUMNS
from router.errors import CallLogError
from router.records import Json
from training.reading.files.log_file import ROWS_ONLY, LogFile, open_raw
from training.reading.outcomes.session_rules import OutcomeCounts
from training.reading.read_pass import REJECTED, TALLY, Runner, start_daft
from training.reading.rows.places import LINE_BITS

if TYPE_CHECKING:
    import daft

_IDS_AT_ONCE = 2_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectCount:
    """Rows that were turned away for one reason.

    Attributes:
        where: `file:line` of the first, in a Parquet file the row's number; in a database the row's number
            and its call_id.
        value: what stood there, cut short.
    """

    reason: str
    rows: int
    where: str
    value: str

    def __str__(self) -> str:
        return f"{self.rows} x {self.reason}, first {self.where}: {self.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadSummary:
    """What was read.

    `rows` = `calls` + `duplicates` + `without_text` + `joined` + the rows of `rejects` and of `set_apart`.

    Attributes:
        calls: rows kept.
        rejects: per reason, the most frequent first.
        duplicates: rows that repeat an earlier call_id.
        without_text: rows in order, but of whose prompt only the key was logged; nothing is learnt from them.
        set_apart: rows that are in order and no calls to learn from, per reason, the most frequent first.
        joined: rows whose content went into the call of another row, such as scores.
        repaired: rows in which a lone surrogate became U+FFFD.
        truncated: calls whose logged text is not the whole text.
        files: the files read, in the order given.
        readers: number of files per reader.
        empty_files: those without a row.
        ignored_columns: names in the files that no field is read from; not those of the runtime's own log.
        digest: sha256 over the content of the files, whatever their names and order.
        outcomes: what the declared rules did; None without any.
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

    @property
    def rejected(self) -> int:
        """Rows turned away, for whatever reason."""
        return sum(reject.rows for reject in self.rejects)


def bucket_frame(folder: Path, number: int, runner: Runner) -> daft.DataFrame | None:
    """What one bucket holds, rejected rows and tallies included; None if it holds nothing."""
    part = folder / f"bucket={number}"
    return start_daft(runner).read_parquet(f"{part}/*.parquet") if part.is_dir() else None


def duplicates_path(folder: Path) -> Path:
    """The file, beside the scratch folder, that lists the places of repeated calls."""
    return folder.parent / "duplicates.parquet"


def all_calls(folder: Path, buckets: int, runner: Runner) -> daft.DataFrame | None:
    """All calls, duplicates included; None if there are none."""
    parts = [part for number in range(buckets) if (part := folder / f"bucket={number}").is_dir()]
    return start_daft(runner).read_parquet([f"{part}/*.parquet" for part in parts]) if parts else None


def summarise(
    files: Sequence[LogFile],
    folder: Path,
    buckets: int,
    runner: Runner,
    spooled: Sequence[Mapping[str, Json]] = (),
) -> ReadSummary:
    """Count what the read pass left in `folder`.

    Args:
        spooled: the sums of the files whose rows were joined, beside those that the pass itself left.

    Raises:
        CallLogError: a file turned out to be damaged, a mapped column is nowhere, or the counts don't add up.
    """
    tallies = _tallies(files, folder, runner, spooled)
    calls = all_calls(folder, buckets, runner)
    kept, truncated = _count_calls(calls)
    duplicates = _find_duplicates(calls, kept, folder, runner)
    rejects = _count_rejects(files, folder, runner)
    rows = sum(tally["rows"] for tally in tallies)
    without_text = sum(tally["without_text"] for tally in tallies)
    apart: Counter[str] = Counter()
    for tally in tallies:
        apart.update(tally["apart"])
    joined = sum(tally["joined"] for tally in tallies)
    rejected = sum(reject.rows for reject in rejects)
    _check_sum(
        rows, calls=kept, without_text=without_text, rejected=rejected, apart=apart.total(), joined=joined
    )
    filled = {tally["file"] for tally in tallies if tally["rows"]}
    names = {name for tally in tallies for name in tally["names"]}
    used = set(files[0].mapping.values())
    return ReadSummary(
        rows=rows,
        calls=kept - duplicates,
        rejects=rejects,
        duplicates=duplicates,
        without_text=without_text,
        set_apart=dict(apart.most_common()),
        joined=joined,
        repaired=sum(tally["repaired"] for tally in tallies),
        truncated=truncated,
        files=[file.path for file in files],
        readers=dict(Counter(file.reader for file in files)),
        empty_files=[file.path for file in files if file.number not in filled],
        ignored_columns=sorted(names - used - (set(COLUMNS) if names >= set(COLUMNS) else set())),
        digest=_digest(files, {tally["file"]: tally["digest"] for tally in tallies}),
    )


def _check_sum(rows: int, **parts: int) -> None:
    """Raise where a row has come out nowhere, or twice."""
    if rows != sum(parts.values()):
        told = ", ".join(f"{count} as {name}" for name, count in parts.items())
        raise CallLogError(
            f"{rows} rows were read, but came out {told}; this is a defect of pointsman: please report it"
        )


def _tallies(
    files: Sequence[LogFile], folder: Path, runner: Runner, spooled: Sequence[Mapping[str, Json]]
) -> list[Mapping[str, Json]]:
    """What each task said about its part of a file."""
    frame = bucket_frame(folder, TALLY, runner)
    texts = frame.select("detail").to_pydict()["detail"] if frame is not None else []
    tallies = [*spooled, *map(json.loads, texts)]
    faults = sorted({tally["fault"] for tally in tallies if tally["fault"]})
    if faults:
        raise CallLogError("; ".join(faults))
    names = {name for tally in tallies for name in tally["names"]}
    rows = sum(tally["rows"] for tally in tallies)
    for field, source in files[0].mapping.items():
        if rows and field != source and source not in names:
            there = ", ".join(sorted(names))
            raise CallLogError(f"no row has {source!r}, which {field!r} is mapped to; names there: {there}")
    return tallies


def _count_calls(calls: daft.DataFrame | None) -> tuple[int, int]:
    """Number of calls, and of those with a truncated text."""
    if calls is None:
        return 0, 0
    flags = calls.groupby("truncated").agg(calls["place"].count()).to_pydict()
    counts = dict(zip(flags["truncated"], flags["place"], strict=True))
    return sum(counts.values()), counts.get(True, 0)


def _find_duplicates(calls: daft.DataFrame | None, kept: int, folder: Path, runner: Runner) -> int:
    """Note the places of calls whose call_id stands earlier in the log; returns their number.

    The ids are looked at in slices by their hash, so that memory stays the same for a log of any length.
    """
    if calls is None:
        return 0
    ids = calls.select("call_id", "place").where(calls["call_id"].not_null())
    slices = 1 + kept // _IDS_AT_ONCE
    count = 0
    with pq.ParquetWriter(duplicates_path(folder), pa.schema({"place": pa.int64()})) as writer:
        for number in range(slices):
            some = ids.where(_slice_of(ids, slices) == number) if slices > 1 else ids
            in_order = pl.DataFrame(some.to_arrow()).sort("place")
            repeats = in_order.filter(~pl.col("call_id").is_first_distinct()).select("place")
            writer.write_table(repeats.to_arrow())
            count += len(repeats)
    return count


def _slice_of(ids: daft.DataFrame, slices: int) -> Any:  # noqa: ANN401 - daft's expressions are untyped
    """Number of the slice that each call_id is looked at in."""
    hashed: Any = ids["call_id"].hash()
    return hashed % slices


def _count_rejects(files: Sequence[LogFile], folder: Path, runner: Runner) -> list[RejectCount]:
    frame = bucket_frame(folder, REJECTED, runner)
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
    """The file of a place in the log, and the line or row in it."""
    return files[place >> LINE_BITS], place & ((1 << LINE_BITS) - 1)


def _place_text(file: LogFile, line: int, call_id: str | None) -> str:
    if file.kind not in ROWS_ONLY:
        return f"{file.path}:{line}"
    return f"{file.path}: row {line}" + (f" (call_id {call_id})" if call_id else "")


def _digest(files: Sequence[LogFile], of_rows: Mapping[int, str | None]) -> str:
    """A hash of what the files hold; the same for the same files under other names or in another order.

    Args:
        of_rows: a database's hash, made while its rows were read, by the file's number.
    """
    parts = [of_rows.get(file.number) or _content_digest(file) for file in files]
    return hashlib.sha256(b"".join(sorted(map(bytes.fromhex, parts)))).hexdigest()


def _content_digest(file: LogFile) -> str:
    """A hash of a file, and of the feedback beside it; of a database without rows that of nothing."""
    whole = hashlib.sha256()
    if file.kind not in ROWS_ONLY:
        whole = _file_digest(file.place)
    if file.feedback:
        whole.update(_file_digest(str(file.feedback)).digest())
    return whole.hexdigest()


def _file_digest(path: str) -> hashlib._Hash:
    with open_raw(path) as stream:
        return hashlib.file_digest(cast(io.BufferedReader, stream), "sha256")
