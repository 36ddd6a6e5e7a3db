from __future__ import annotations

from pathlib import Path

import pytest

from router.errors import CallLogError
from tests.training.logs import call, write_lines
from training.readers.protocol import Sample
from training.reading.files.log_file import LogFile
from training.reading.rows import recognising
from training.reading.rows.recognising import find_files, sample_of


def test_a_glob_gives_its_files_in_name_order_and_each_once(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.jsonl"):
        write_lines(tmp_path / name, call())
    files = find_files([f"{tmp_path}/*.jsonl", f"{tmp_path}/a.jsonl"], {})
    assert [Path(file.path).name for file in files] == ["a.jsonl", "b.jsonl"]


def test_a_file_whose_name_looks_like_a_pattern_is_found(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "calls[1].jsonl", call())
    assert [file.path for file in find_files([path], {})] == [path]


@pytest.mark.parametrize("ending", [".jsonl", ".ndjson", ".json", ".JSONL"])
def test_the_ending_names_the_format(tmp_path: Path, ending: str) -> None:
    assert find_files([write_lines(tmp_path / f"x{ending}", call())], {})[0].kind == "json"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        pytest.param(
            "x.txt", b"a", r"x\.txt: no reader for this ending; it must be one of", id="unknown ending"
        ),
        pytest.param("x.parquet.gz", b"a", "no reader for this ending", id="gzipped Parquet"),
        pytest.param("x.parquet", b"PAR1 no", r"x\.parquet: can't be read as parquet", id="not Parquet"),
        pytest.param("x.jsonl", "{}".encode("utf-16-le"), r"x\.jsonl: is UTF-16, not UTF-8 or", id="UTF-16"),
        pytest.param("x.csv", "a,b".encode("utf-32"), r"x\.csv: is UTF-32", id="UTF-32"),
        pytest.param("x.csv.gz", b"a,b", r"x\.csv\.gz: not gzip", id="not gzip"),
        pytest.param(
            "x.csv", b"text,llm\n", "no column 'model'; map one with --map model=COLUMN", id="no model"
        ),
        pytest.param("x.csv", b"model,b\n", "no column 'prompt or messages'", id="no prompt"),
        pytest.param("x.csv", b"model,prompt,model\n", "two columns are named 'model'", id="a column twice"),
    ],
)
def test_a_file_that_cannot_be_a_log_is_refused_by_name(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CallLogError, match=message):
        find_files([str(tmp_path / name)], {})


def test_a_glob_without_a_match_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CallLogError, match=r"no file matches '.*\*\.jsonl'"):
        find_files([f"{tmp_path}/*.jsonl"], {})


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CallLogError, match=r"gone\.jsonl: no such file"):
        find_files([f"{tmp_path}/gone.jsonl"], {})


def test_a_folder_stands_for_the_logs_below_it(tmp_path: Path) -> None:
    (tmp_path / "day" / ".hidden").mkdir(parents=True)
    for name in ("day/b.jsonl", "a.jsonl", "day/.hidden/c.jsonl"):
        write_lines(tmp_path / name, call())
    (tmp_path / "notes.txt").write_text("no log")
    files = find_files([str(tmp_path)], {})
    assert [Path(file.path).name for file in files] == ["a.jsonl", "b.jsonl"]


OTHERS = {"package.json": b'{"name": "app"}', "amounts.csv": b"id,amount\n1,2\n"}


def test_a_file_of_a_folder_that_has_nothing_of_a_call_is_left_out_by_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_lines(tmp_path / "a.jsonl", call())
    for name, content in OTHERS.items():
        (tmp_path / name).write_bytes(content)
    assert [Path(file.path).name for file in find_files([str(tmp_path)], {})] == ["a.jsonl"]
    (message,) = caplog.messages
    assert all(name in message for name in OTHERS)


def test_a_file_that_no_reader_knows_is_looked_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at: list[str] = []

    def sample(file: LogFile) -> Sample:
        looked_at.append(Path(file.path).name)
        return sample_of(file)

    monkeypatch.setattr(recognising, "sample_of", sample)
    write_lines(tmp_path / "a.jsonl", call())
    (tmp_path / "package.json").write_bytes(OTHERS["package.json"])
    find_files([str(tmp_path)], {})
    assert looked_at == ["a.jsonl", "package.json"]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b'{"prompt": "2 + 2?", "modl": "small"}\n', id="a call without its model"),
        pytest.param(b'{"prompt": "2 + 2?", "mo', id="cut short"),
        pytest.param(b"", id="empty"),
    ],
)
def test_a_file_of_a_folder_that_may_be_a_log_is_read(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.jsonl").write_bytes(content)
    assert len(find_files([str(tmp_path)], {})) == 1


@pytest.mark.parametrize(("name", "content"), OTHERS.items())
def test_a_folder_of_other_files_alone_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CallLogError, match=f"no file names a model or a prompt: .*{name}"):
        find_files([str(tmp_path)], {})


def test_a_folder_without_a_log_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CallLogError, match=r"no log in this folder; a log ends in \.parquet"):
        find_files([str(tmp_path)], {})


def test_no_source_at_all_is_refused() -> None:
    with pytest.raises(CallLogError, match="no call log given"):
        find_files([], {})


def test_a_mapping_of_an_unknown_field_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CallLogError, match="can't map a column to 'succes': no such field"):
        find_files([write_lines(tmp_path / "a.jsonl", call())], {"succes": "won"})


def test_a_mapping_of_an_unknown_column_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("prompt,model\nx,m\n")
    with pytest.raises(
        CallLogError, match="no column 'won', which 'success' is mapped to; columns: prompt, model"
    ):
        find_files([str(tmp_path / "a.csv")], {"success": "won"})
