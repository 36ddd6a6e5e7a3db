from __future__ import annotations

import gc
import gzip
import json
import socket
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from router.errors import CallLogError, TooManyRejects
from tests.training.logs import call, read, read_rows, write_lines
from tests.training.readers.example_otel import SPAN, request
from training.reading import read_pass
from training.reading.calls import remove_unfinished, write_calls
from training.reading.read_pass import start_daft
from training.reading.rows.cleaning import CALL_SCHEMA
from training.reading.summary import ReadSummary, same_names, split_names

FULL: dict[str, Any] = {
    "call_id": "c1", "session_id": "s1", "time": "2024-05-01T12:00:00Z", "prompt": None,
    "messages": '[{"role":"user","content":"hi"}]', "tools": '[{"name":"t"}]',
    "response_format": '{"type":"json"}', "task_type": "maths", "tags": ["a", "b"], "model": "small",
    "success": True, "score": 0.75, "outcome_source": "feedback", "cost_usd": 0.001, "input_tokens": 10,
    "output_tokens": 20, "latency_s": 1.5, "propensity": 0.25, "policy_version": "v1",
    "decision_source": "learned", "confidence": 0.9, "sampling_probability": 0.1, "truncated": True,
    "effort": "high", "expected_cost_usd": 0.002,
    "graded": 0.25, "graded_source": "grader", "served_model": "small-2026-11-01",
    "cached_input_tokens": 4, "cache_write_tokens": 3, "reasoning_tokens": 5,
}  # fmt: skip


def written(folder: Path, *rows: dict[str, Any] | bytes) -> pa.Table:
    write_calls(read_rows(folder, *rows), folder / "out.parquet")
    return pq.read_table(folder / "out.parquet")


def test_every_row_is_a_call_or_a_duplicate_or_a_reject(tmp_path: Path) -> None:
    summary = read_rows(
        tmp_path, call(), call(call_id="x"), call(call_id="x"), b"{bad", call(score=2)
    ).summary
    assert (summary.rows, summary.calls, summary.duplicates, summary.rejected) == (5, 2, 1, 2)


def test_writing_and_reading_again_loses_nothing(tmp_path: Path) -> None:
    first = written(tmp_path, FULL, call(prompt="a\0b"), call(call_id="2", messages=[{"role": "user"}]))
    files = read(tmp_path, str(tmp_path / "out.parquet"))
    write_calls(files, tmp_path / "again.parquet")
    assert pq.read_table(tmp_path / "again.parquet").equals(first)
    assert first.schema.equals(CALL_SCHEMA)


def test_every_field_of_a_call_is_kept(tmp_path: Path) -> None:
    (row,) = written(tmp_path, FULL).to_pylist()
    assert {**row, "time": row["time"].strftime("%Y-%m-%dT%H:%M:%SZ")} == FULL


def test_parquet_and_csv_give_the_calls_that_json_lines_give(tmp_path: Path) -> None:
    expected = written(tmp_path, FULL)
    cells = [json.dumps(value) if isinstance(value, list) else value for value in FULL.values()]
    line = ",".join("" if cell is None else '"' + str(cell).replace('"', '""') + '"' for cell in cells)
    (tmp_path / "full.csv.gz").write_bytes(gzip.compress(f"{','.join(FULL)}\n{line}\n".encode()))
    pq.write_table(pa.Table.from_pylist([FULL]), tmp_path / "full.parquet")
    for name in ("full.csv.gz", "full.parquet"):
        write_calls(read(tmp_path, str(tmp_path / name)), tmp_path / "other.parquet")
        assert pq.read_table(tmp_path / "other.parquet").equals(expected)


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    files = read_rows(tmp_path, call())
    (tmp_path / "file").write_text("kept")
    with pytest.raises(CallLogError, match=r"file/out\.parquet: can't be written"):
        write_calls(files, tmp_path / "file" / "out.parquet")
    assert (tmp_path / "file").read_text() == "kept"


def test_of_calls_with_one_id_the_first_is_kept(tmp_path: Path) -> None:
    rows = written(
        tmp_path, call(call_id="x", score=0.1), call(), call(call_id="x", score=0.9, prompt="other")
    )
    assert sorted(rows["score"].to_pylist(), key=str) == [0.1, None]


def test_a_lone_surrogate_is_replaced_and_counted(tmp_path: Path) -> None:
    files = read_rows(tmp_path, rb'{"prompt": "a\ud800\u0000", "model": "m"}', call())
    write_calls(files, tmp_path / "out.parquet")
    assert "a\ufffd\0" in pq.read_table(tmp_path / "out.parquet")["prompt"].to_pylist()
    assert files.summary.repaired == 1


def test_rejects_are_counted_by_reason_with_the_first_quoted(tmp_path: Path) -> None:
    summary = read_rows(tmp_path, call(), call(cost_usd=-2), call(cost_usd=-3), call(score=7)).summary
    assert list(map(str, summary.rejects)) == [
        f"2 x cost_usd is negative, first {tmp_path}/calls.jsonl:2: -2",
        f"1 x score is outside [0, 1], first {tmp_path}/calls.jsonl:4: 7",
    ]


def test_rejected_rows_are_written_whole_and_in_order(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", call(), b"{bad", call(cost_usd=-2))
    read(tmp_path, path, rejects=tmp_path / "rejects.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "rejects.jsonl").read_text().splitlines()]
    assert rows[0] == {
        "file": path, "line": 2, "reason": "line is broken JSON", "detail": "'{bad'", "raw": "{bad",
    }  # fmt: skip
    assert json.loads(rows[1]["raw"]) == call(cost_usd=-2)


def test_too_many_rejects_stop_the_reading_and_say_where_they_are(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", call(), b"{bad")
    with pytest.raises(
        TooManyRejects, match=r"(?s)1 of 2 rows .*50\.0 %.*a\.jsonl:2: '\{bad'.*are in .*r\.jsonl"
    ):
        read(tmp_path, path, rejects=tmp_path / "r.jsonl", max_reject_share=0.4)


def test_a_share_of_rejects_that_is_allowed_is_no_error(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", call(), b"{bad")
    assert read(tmp_path, path, max_reject_share=0.5).summary.rejected == 1


@pytest.mark.parametrize("rows", [pytest.param((), id="empty"), pytest.param((b"{bad",), id="all rejected")])
def test_a_log_without_a_readable_call_is_refused(tmp_path: Path, rows: tuple[bytes, ...]) -> None:
    with pytest.raises(CallLogError, match=r"no readable call in .*calls\.jsonl"):
        read_rows(tmp_path, *rows)


def test_an_empty_file_among_others_is_named_in_the_summary(tmp_path: Path) -> None:
    empty, full = write_lines(tmp_path / "a.jsonl"), write_lines(tmp_path / "b.jsonl", call())
    assert list(read(tmp_path, empty, full).summary.empty_files) == [empty]


def test_columns_nothing_is_read_from_are_named_once(tmp_path: Path) -> None:
    assert read_rows(tmp_path, call(extra=1), call(extra=2, more=3)).summary.ignored_columns == [
        "extra",
        "more",
    ]


def test_a_mapped_name_that_no_json_line_has_is_refused(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", call(ok=True))
    with pytest.raises(
        CallLogError, match=r"no row has 'won', which 'success' is mapped to; names there: .*ok"
    ):
        read(tmp_path, path, mapping={"success": "won"})


def test_spans_have_no_columns_to_map_before_they_are_imported(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "spans.jsonl", request(SPAN))
    with pytest.raises(CallLogError, match="names there: none; import the log, and map that file"):
        read(tmp_path, path, mapping={"session_id": "call_id"})


def test_every_damaged_file_is_named(tmp_path: Path) -> None:
    packed = gzip.compress(b"\n".join(b'{"model": "m", "prompt": "%x"}' % (n**9) for n in range(90_000)))
    for name in ("a.jsonl.gz", "b.jsonl.gz"):
        (tmp_path / name).write_bytes(packed[:-500])
    with pytest.raises(CallLogError, match=r"a\.jsonl\.gz: .*; .*b\.jsonl\.gz: "):
        read(tmp_path, f"{tmp_path}/*.jsonl.gz")


def test_the_digest_ignores_names_and_order_but_no_content(tmp_path: Path) -> None:
    one, two = write_lines(tmp_path / "1.jsonl", call()), write_lines(tmp_path / "2.jsonl", call(score=1))
    digest = read(tmp_path, one, two).summary.digest
    assert digest == read(tmp_path, two, one).summary.digest
    assert digest != read(tmp_path, one).summary.digest


def test_progress_ends_at_the_whole(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    path = write_lines(tmp_path / "a.jsonl", call())
    read(tmp_path, path, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (Path(path).stat().st_size,) * 2


def test_python_searches_for_cycles_as_before_once_a_log_is_read(tmp_path: Path) -> None:
    before = gc.get_threshold()
    read(tmp_path, write_lines(tmp_path / "log.jsonl", call()))
    assert gc.get_threshold() == before


def test_one_process_keeps_one_runner() -> None:
    start_daft("native")
    with pytest.raises(CallLogError, match="already runs daft on 'native', not 'ray'"):
        start_daft("ray")


@pytest.mark.parametrize("scheme", ["ray://", ""])
def test_a_ray_cluster_that_does_not_listen_is_named_at_once(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_pass, "_has_runner", lambda: False)
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{deaf.getsockname()[1]}"
        with pytest.raises(CallLogError, match=f"no Ray cluster listens at {place} .*training.ray_address"):
            start_daft("ray", scheme + place)


def test_what_a_machine_that_died_wrote_is_not_read(tmp_path: Path) -> None:
    for name in ("bucket=0/whole.parquet", "bucket=0/part.parquet", "bucket=1/part.parquet"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    remove_unfinished(tmp_path, [f"file://{tmp_path}/bucket=0/whole.parquet"])
    assert [path.name for path in tmp_path.rglob("*.parquet")] == ["whole.parquet"]


TIMED = {"time": "2026-11-01T10:00:00.25Z", "input_tokens": 7, "output_tokens": 9}


def in_two_logs(folder: Path, first: dict[str, Any], second: dict[str, Any]) -> ReadSummary:
    one = write_lines(folder / "a.jsonl", call(**TIMED | first))
    return read(folder, one, write_lines(folder / "b.jsonl", call(**TIMED | second))).summary


@pytest.mark.parametrize(
    ("first", "second", "copies"),
    [
        pytest.param({}, {}, 1, id="the same"),
        pytest.param({}, {"model": "openai/small"}, 1, id="another spelling of the model"),
        pytest.param({}, {"time": "2026-11-01T10:00:00.9Z"}, 1, id="within the second"),
        pytest.param({}, {"time": "2026-11-01T09:59:59.9Z"}, 1, id="over the end of a second"),
        pytest.param({"call_id": "a"}, {}, 1, id="one without an id"),
        pytest.param({"call_id": "a"}, {"call_id": "b"}, 0, id="two ids of one format"),
        pytest.param({}, {"time": "2026-11-01T10:00:02Z"}, 0, id="another time"),
        pytest.param({}, {"output_tokens": 10}, 0, id="other tokens"),
        pytest.param({}, {"prompt": "other"}, 0, id="another prompt"),
        pytest.param({}, {"model": "large"}, 0, id="another model"),
        pytest.param({"time": None}, {"time": None}, 0, id="no time"),
        pytest.param({"input_tokens": None}, {"input_tokens": None}, 0, id="no tokens"),
        pytest.param({"time": "2026-11-01"}, {"time": "2026-11-01"}, 0, id="a day"),
    ],
)
def test_the_same_call_in_two_logs_counts_once(
    tmp_path: Path, first: dict[str, Any], second: dict[str, Any], copies: int
) -> None:
    summary = in_two_logs(tmp_path, first, second)
    assert (summary.calls, summary.duplicates, summary.copies) == (2 - copies, copies, copies)


def test_of_two_copies_the_one_with_an_outcome_stays(tmp_path: Path) -> None:
    one = write_lines(tmp_path / "a.jsonl", call(**TIMED))
    files = read(tmp_path, one, write_lines(tmp_path / "b.jsonl", call(**TIMED, success=True)))
    write_calls(files, tmp_path / "out.parquet")
    assert pq.read_table(tmp_path / "out.parquet")["success"].to_pylist() == [True]


def test_repeats_within_one_log_are_calls_of_their_own(tmp_path: Path) -> None:
    twice = write_lines(tmp_path / "a.jsonl", *[call(**TIMED)] * 2)
    summary = read(tmp_path, twice, write_lines(tmp_path / "b.jsonl", *[call(**TIMED)] * 3)).summary
    assert (summary.calls, summary.copies) == (3, 2)


def test_names_that_look_like_an_effort_are_named_with_the_way_out(tmp_path: Path) -> None:
    rows = [call(model=model, prompt=model) for model in ("acme@low", "acme@2024", "acme@high")]
    rows.append(call(model="own@low", prompt_key="k" * 32))
    path = write_lines(tmp_path / "calls.jsonl", *rows)
    note = split_names(read(tmp_path, path).summary)
    assert note is not None
    assert note.startswith("read as a model at an effort: acme@high, acme@low; ")
    assert note.endswith("--map-model acme@high=acme-high")
    whole = read(tmp_path, path, aliases={"acme@high": "acme-high", "acme@low": "acme-low"})
    assert split_names(whole.summary) is None


def test_aliases_join_the_names_of_a_model(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", call(model="gpt-4o"), call(model="openai/gpt-4o"))
    assert read(tmp_path, path).summary.same_names == [("gpt-4o", "openai/gpt-4o")]
    assert same_names(read(tmp_path, path).summary)[0][1] == ("--map-model", "gpt-4o=openai/gpt-4o")
    joined = read(tmp_path, path, aliases={"gpt-4o": "openai/gpt-4o"})
    assert joined.summary.same_names == []
    write_calls(joined, tmp_path / "out.parquet")
    assert set(pq.read_table(tmp_path / "out.parquet")["model"].to_pylist()) == {"openai/gpt-4o"}
