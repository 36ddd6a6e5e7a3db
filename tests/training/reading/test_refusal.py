from __future__ import annotations

from pathlib import Path

import pytest

from router.errors import CallLogError
from router.records import Json
from tests.training.logs import call, read, read_rows, write_lines
from tests.training.readers.example_litellm import EXAMPLES
from training.reading.rows.recognising import AUTO

ROW, _ = EXAMPLES["litellm-spend"]


def refused(folder: Path, *rows: Json) -> str:
    path = write_lines(folder / "calls.jsonl", *[row for row in rows if isinstance(row, dict)])
    with pytest.raises(CallLogError) as caught:
        read(folder, path, format=AUTO)
    return str(caught.value)


def spend(**changed: Json) -> Json:
    assert isinstance(ROW, dict)
    return {**ROW, **changed}


@pytest.mark.parametrize(
    ("row", "way_out"),
    [
        pytest.param(
            spend(proxy_server_request="{}"),
            "1 x no prompt logged); log prompts from now on (LiteLLM: store_prompts",
            id="no prompt",
        ),
        pytest.param(spend(cache_hit="True"), "1 x cache hit); read a longer part", id="cached"),
        pytest.param(
            spend(call_type="aembedding"),
            "1 x no chat or completion); name a log that holds your application's chat calls",
            id="no chat",
        ),
        pytest.param(
            {"custom_id": "1", "body": {"model": "m", "messages": [{"role": "user", "content": "hi"}]}},
            "1 x request without a result); name the input, output and error files of a batch together",
            id="half a batch",
        ),
    ],
)
def test_a_log_of_rows_set_apart_says_how_many_why_and_what_to_do(
    tmp_path: Path, row: Json, way_out: str
) -> None:
    assert way_out in refused(tmp_path, row)


def test_each_way_out_is_said_once(tmp_path: Path) -> None:
    said = refused(tmp_path, spend(cache_hit="True"), spend(request_id="2", proxy_server_request="{}"))
    assert "(2 rows): the skipped rows hold nothing to learn from (1 x " in said
    assert said.count("; ") == 3


def test_of_many_files_three_are_named(tmp_path: Path) -> None:
    paths = [write_lines(tmp_path / f"{number}.jsonl") for number in range(5)]
    with pytest.raises(
        CallLogError, match=r"0\.jsonl, .*1\.jsonl, .*2\.jsonl and 2 more \(0 rows\); the files"
    ):
        read(tmp_path, *paths)


def test_the_text_that_was_not_kept_comes_first(tmp_path: Path) -> None:
    with pytest.raises(CallLogError, match=r"the text was not kept .* log\.text 'full'"):
        read_rows(tmp_path, call(prompt=None, prompt_key="ab" * 16))


def test_a_format_that_was_not_recognised_can_be_named(tmp_path: Path) -> None:
    row = spend()
    assert isinstance(row, dict)
    del row["cache_hit"]
    assert "name its format with --format (none of " in refused(tmp_path, row)


def test_bytes_that_are_no_utf_8_are_to_be_saved_as_such(tmp_path: Path) -> None:
    (tmp_path / "calls.csv").write_bytes("prompt,model\nGrüße,m\nok,m\n".encode("latin-1"))
    with pytest.raises(CallLogError, match=r"(?s)row is not valid UTF-8, .* save it as UTF-8"):
        read(tmp_path, str(tmp_path / "calls.csv"), max_reject_share=0.1)
