from __future__ import annotations

import gzip
import json
import tracemalloc
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from router.errors import CallLogError
from tests.training.logs import call, read, write_lines
from training.reading.files import csv_rows, log_file
from training.reading.files.raw import RawBatch
from training.reading.rows.cleaning import clean_rows
from training.reading.rows.own_log import read_batches
from training.reading.rows.recognising import find_files

BAD_TEXT = pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xff"], pa.binary()).buffers())


def batches_of(path: object, **mapping: str) -> list[RawBatch]:
    file = find_files([str(path)], mapping)[0]
    return [batch for part in range(file.row_groups) for batch in read_batches(file, part)]


def rows_of(path: object, field: str, **mapping: str) -> list[Any]:
    return [value for batch in batches_of(path, **mapping) for value in batch.rows.columns[field]]


def broken_of(path: object) -> dict[int, str]:
    (batch,) = batches_of(path)
    return {batch.rows.lines[row]: reason for row, (reason, _) in batch.rows.broken.items()}


def test_blank_lines_are_no_rows_but_count_as_lines(tmp_path: Path) -> None:
    (batch,) = batches_of(write_lines(tmp_path / "a.jsonl", call(), b"", b"  ", call()))
    assert list(batch.rows.lines) == [1, 4]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        pytest.param(b"{bad", "line is broken JSON", id="broken"),
        pytest.param(b'{"a": ' + b"[" * 100_000, "line is broken JSON", id="nested too deeply"),
        pytest.param(b"[1]", "line is not a JSON object", id="a list"),
        pytest.param(b'{"prompt": "\xff"}', "line is not valid UTF-8", id="not UTF-8"),
    ],
)
def test_a_bad_line_is_a_broken_row(tmp_path: Path, line: bytes, reason: str) -> None:
    assert broken_of(write_lines(tmp_path / "a.jsonl", call(), line, call())) == {2: reason}


def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path: Path) -> None:
    assert rows_of(write_lines(tmp_path / "a.jsonl", b'\xef\xbb\xbf{"model": "m"}'), "model") == ["m"]


def test_a_gzipped_file_reads_like_a_plain_one(tmp_path: Path) -> None:
    plain = Path(write_lines(tmp_path / "a.jsonl", call(prompt="x"), call(prompt="y")))
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(plain.read_bytes()))
    assert rows_of(tmp_path / "a.jsonl.gz", "prompt") == ["x", "y"]


def test_a_cell_may_hold_line_breaks_and_be_long(tmp_path: Path) -> None:
    long = "x" * 200_000
    (tmp_path / "a.csv").write_text(f'model,prompt\nm,"one\ntwo"\nm,{long}\n')
    (batch,) = batches_of(tmp_path / "a.csv")
    assert batch.rows.columns["prompt"] == ["one\ntwo", long]
    assert list(batch.rows.lines) == [2, 4]


TABLE = 'model,prompt,cost_usd,input_tokens\nm,"a;b\n1,234",0.0031,"1,234"\n'


@pytest.mark.parametrize(
    ("name", "text"),
    [
        pytest.param("a.csv", TABLE, id="comma"),
        pytest.param("a.csv", f"\n{TABLE}", id="an empty line first"),
        pytest.param("a.tsv", TABLE.replace(",", "\t").replace("1\t234", "1,234"), id="tab"),
        pytest.param("a.csv", TABLE.replace(",", "|").replace("1|234", "1,234"), id="bar"),
        pytest.param(
            "a.csv", 'model;prompt;cost_usd;input_tokens\r\nm;"a;b\n1,234";0,0031;1.234,0\r\n', id="semicolon"
        ),
        pytest.param(
            "a.csv", 'sep=;\nmodel;prompt;cost_usd;input_tokens\nm;"a;b\n1,234";0,0031;1.234,0\n', id="stated"
        ),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_table_is_split_by_what_splits_its_header(
    tmp_path: Path, name: str, text: str, encoding: str
) -> None:
    (tmp_path / name).write_bytes(text.encode(encoding))
    (batch,) = batches_of(tmp_path / name)
    checked = clean_rows(batch.rows)
    assert not checked.problems
    assert [checked.columns[field].to_pylist() for field in ("prompt", "cost_usd", "input_tokens")] == [
        ["a;b\n1,234"], [0.0031], [1234]
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("header", "amount", "seconds"),
    [("model;prompt;latency_s", '"1,234"', 1.234), ("model,prompt,latency_s", '"1,234"', 1234.0)],
)
def test_a_comma_in_a_number_is_decimal_only_between_semicolons(
    tmp_path: Path, header: str, amount: str, seconds: float
) -> None:
    row = f"m,x,{amount}" if "," in header else f"m;x;{amount}"
    (tmp_path / "a.csv").write_text(f"{header}\n{row}\n")
    (batch,) = batches_of(tmp_path / "a.csv")
    assert clean_rows(batch.rows).columns["latency_s"].to_pylist() == [seconds]


def test_utf16_cut_within_a_character_is_refused_and_half_a_pair_breaks_its_row(tmp_path: Path) -> None:
    lines = '{"model": "m", "prompt": "😀"}\n' * 2
    (tmp_path / "a.jsonl").write_bytes(lines.encode("utf-16")[:-1])
    with pytest.raises(CallLogError, match=r"a\.jsonl: can't be read.*UTF-16 text is cut short"):
        batches_of(tmp_path / "a.jsonl")
    half = lines.encode("utf-16").replace(
        "😀".encode("utf-16-le"), "\ud83d".encode("utf-16-le", "surrogatepass"), 1
    )
    (tmp_path / "a.jsonl").write_bytes(half)
    assert broken_of(tmp_path / "a.jsonl") == {1: "line is not valid UTF-8"}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        pytest.param(b"m", "row has 1 cells, the header 2", id="too few cells"),
        pytest.param(b"m,a,b", "row has 3 cells, the header 2", id="too many cells"),
        pytest.param(b'm,"a"b', "row is broken CSV (',' expected after '\"')", id="a quote inside"),
        pytest.param(b"m,\xff", "row is not valid UTF-8", id="not UTF-8"),
    ],
)
def test_a_bad_csv_row_is_broken_and_the_next_one_is_read(tmp_path: Path, row: bytes, reason: str) -> None:
    (tmp_path / "a.csv").write_bytes(b"model,prompt\n" + row + b"\nm,good\n")
    assert broken_of(tmp_path / "a.csv") == {2: reason}
    assert rows_of(tmp_path / "a.csv", "prompt")[-1] == "good"


def test_parquet_rows_are_numbered_through_the_row_groups(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist([call()] * 5), tmp_path / "a.parquet", row_group_size=2)
    lines = [line for batch in batches_of(tmp_path / "a.parquet") for line in batch.rows.lines]
    assert lines == [1, 2, 3, 4, 5]


def test_parquet_text_that_is_not_utf8_comes_as_bytes(tmp_path: Path) -> None:
    pq.write_table(pa.table({"prompt": BAD_TEXT, "model": ["m"]}), tmp_path / "a.parquet")
    assert rows_of(tmp_path / "a.parquet", "prompt") == [b"\xff"]


HI = [{"role": "user", "content": "Hi"}]
PAIRS = [("role", "user"), ("content", "Hi")]
NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
UUID = "00112233-4455-6677-8899-aabbccddeeff"
MAP = pa.map_(pa.string(), pa.string())


@pytest.mark.parametrize(
    ("field", "column", "value"),
    [
        pytest.param("messages", pa.array([[PAIRS]], pa.list_(MAP)), HI, id="a list of maps"),
        pytest.param("messages", pa.array([HI[0]]), HI, id="one message"),
        pytest.param(
            "response_format", pa.array([[("type", "json_object")]], MAP), {"type": "json_object"}, id="a map"
        ),
        pytest.param(
            "call_id",
            pa.ExtensionArray.from_storage(
                pa.uuid(), pa.array([bytes.fromhex(UUID.replace("-", ""))], pa.binary(16))
            ),
            UUID,
            id="UUID",
        ),
        pytest.param(
            "cost_usd", pa.array([Decimal("0.0012")], pa.decimal256(50, 10)), 0.0012, id="decimal256"
        ),
        pytest.param("latency_s", pa.array([timedelta(seconds=1.5)]), 1.5, id="duration"),
        pytest.param("tags", pa.array([["a", None]]), ["a"], id="a list with a null"),
        pytest.param(
            "time", pa.array([NOON], pa.timestamp("us", "Mars/Base")), NOON, id="a zone nobody knows"
        ),
    ],
)
def test_an_odd_parquet_column_gives_its_value(
    tmp_path: Path, field: str, column: pa.Array, value: object
) -> None:
    texts = {} if field == "messages" else {"prompt": ["Hi"]}
    pq.write_table(pa.table({"model": ["m"], field: column, **texts}), tmp_path / "a.parquet")
    (batch,) = batches_of(tmp_path / "a.parquet")
    checked = clean_rows(batch.rows)
    assert not checked.problems
    [found] = checked.columns[field].to_pylist()
    assert (json.loads(found) if field in ("messages", "response_format") else found) == value


@pytest.mark.parametrize(
    ("field", "column", "reason"),
    [
        pytest.param(
            "time", pa.array([10**12], pa.timestamp("s")), "time is not a time", id="the year 33658"
        ),
        pytest.param(
            "time", pa.array([-(10**11)], pa.timestamp("s")), "time is not a time", id="before year 1"
        ),
        pytest.param(
            "messages",
            pa.ListArray.from_arrays(
                pa.array([0, 1], pa.int32()),
                pa.StructArray.from_arrays([pa.array(["user"]), BAD_TEXT], ["role", "content"]),
            ),
            "messages is not valid UTF-8",
            id="text of a struct",
        ),
    ],
)
def test_an_odd_parquet_value_that_nobody_can_read_rejects_its_row_only(
    tmp_path: Path, field: str, column: pa.Array, reason: str
) -> None:
    pq.write_table(pa.table({"model": ["m"], "prompt": ["x"], field: column}), tmp_path / "a.parquet")
    (batch,) = batches_of(tmp_path / "a.parquet")
    assert clean_rows(batch.rows).problems[0][0].startswith(reason)


def test_messages_of_a_parquet_struct_lose_the_members_it_adds(tmp_path: Path) -> None:
    messages = [[{"role": "user", "content": "x"}, {"role": "user", "content": None, "name": "y"}]]
    pq.write_table(pa.table({"messages": messages, "model": ["m"]}), tmp_path / "a.parquet")
    assert rows_of(tmp_path / "a.parquet", "messages") == messages


def test_a_mapped_column_gives_its_field(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", {"llm": "m", "prompt": "x", "model": "ignored"})
    assert rows_of(path, "model", model="llm") == ["m"]


BODY = {"model": "m", "messages": HI}


@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet"])
def test_a_mapped_path_gives_what_lies_within_a_column(tmp_path: Path, ending: str) -> None:
    path, text = tmp_path / f"a.{ending}", json.dumps(BODY)
    if ending == "parquet":
        pq.write_table(pa.table({"body": [BODY] * 2}), path, row_group_size=1)
    else:
        quoted = text.replace('"', '""')
        path.write_text(
            f'{{"body": {text}}}\n' * 2 if ending == "jsonl" else f'id,body\n1,"{quoted}"\n2,"{quoted}"\n'
        )
    mapping = {"model": "body.model", "messages": "body.messages"}
    assert rows_of(path, "messages", **mapping) == [HI, HI]
    assert rows_of(path, "model", **mapping) == ["m", "m"]


def test_a_gzip_file_cut_short_is_refused_by_name(tmp_path: Path) -> None:
    rows = b"\n".join(b'{"model": "m", "prompt": "%x"}' % (number**9) for number in range(9000))
    packed = gzip.compress(rows)
    (tmp_path / "a.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(CallLogError, match=r"a\.jsonl\.gz: .*cut short"):
        batches_of(tmp_path / "a.jsonl.gz")


def test_a_damaged_parquet_page_is_refused_by_name(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"prompt": [str(n) for n in range(9999)], "model": ["m"] * 9999}), tmp_path / "a.parquet"
    )
    content = bytearray((tmp_path / "a.parquet").read_bytes())
    content[100:3000] = b"\x55" * 2900
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(CallLogError, match=r"a\.parquet: can't be read"):
        batches_of(tmp_path / "a.parquet")


@pytest.fixture
def short_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (log_file, csv_rows):
        monkeypatch.setattr(module, "LONGEST_VALUE", 1 << 20)


@pytest.mark.usefixtures("short_limit")
@pytest.mark.parametrize(
    ("name", "good", "start", "reason"),
    [
        ("calls.jsonl", b'{"model": "m", "prompt": "x"}\n', b'{"prompt": "', "line is longer than 64 MiB"),
        ("calls.csv", b"m,x\n", b'm,"', "row is broken CSV (row is longer than 64 MiB)"),
        ("calls.csv", b"m,x\n", b'm,"\n\n', "row is broken CSV (row is longer than 64 MiB)"),
    ],
)
def test_a_row_that_might_not_fit_into_memory_is_broken_alone(
    name: str, good: bytes, start: bytes, reason: str, tmp_path: Path
) -> None:
    header = b"model,prompt\n" if name.endswith("csv") else good
    log = header + good + start + b"a" * (48 << 20) + b"\n" + good
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress(log, 1))
    del log
    tracemalloc.start()
    try:
        assert broken_of(tmp_path / f"{name}.gz") == {3: reason}
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
    assert rows_of(tmp_path / f"{name}.gz", "prompt")[-1] == "x"


@pytest.mark.usefixtures("short_limit")
@pytest.mark.parametrize("format_", ["pointsman", "langfuse"])
def test_a_line_that_is_too_long_counts_as_rejected(format_: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b"{}\n" * 20 + b"a" * 2_000_000))
    with pytest.raises(CallLogError, match=r"line is longer than 64 MiB"):
        read(tmp_path, str(tmp_path / "a.jsonl.gz"), format=format_)


@pytest.mark.usefixtures("short_limit")
def test_a_header_that_is_too_long_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"a" * 2_000_000))
    with pytest.raises(CallLogError, match=r"a\.csv\.gz: the header is broken CSV \(row is longer"):
        batches_of(tmp_path / "a.csv.gz")
