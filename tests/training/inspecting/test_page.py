from __future__ import annotations

from pathlib import Path

import pytest

from router.errors import CallLogError
from router.settings.yaml_file import parse_config
from tests.training.inspecting.logs import inspected, many
from tests.training.logs import call
from training.commands.inspection_tables import show_inspection
from training.inspecting.gaps import missing_for_a_router
from training.inspecting.page import page, where_rows_went, write_page


def test_the_page_escapes_names(tmp_path: Path) -> None:
    found = inspected(tmp_path, call(model="<script>alert(1)</script>", task_type="<b>"))
    text = page(found, missing_for_a_router(found))
    assert "<script" not in text
    assert "&lt;script&gt;" in text


def test_outcome_rules_are_on_the_page_and_on_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = parse_config("outcomes: {rules: [{feedback: {}}]}")
    found = inspected(tmp_path, *many(4), config=config)
    assert "By outcome rule" in page(found, [])
    assert "By outcome rule" not in page(inspected(tmp_path, *many(4)), [])
    show_inspection(found, [])
    assert "0 calls that no rule decided" in capsys.readouterr().out


def test_the_page_asks_for_nothing(tmp_path: Path) -> None:
    text = page(inspected(tmp_path, *many(10)), [])
    assert "http" not in text.replace("http-equiv", "")
    assert "default-src 'none'" in text


def test_the_page_shows_openings_only_when_the_inspection_has_them(tmp_path: Path) -> None:
    rows = [call(prompt=f"Summarise ticket {number}") for number in range(6)]
    assert "summarise ticket" not in page(inspected(tmp_path, *rows), [])
    assert "summarise ticket" in page(inspected(tmp_path, *rows, show_text=True), [])


def test_where_the_rows_went_adds_up(tmp_path: Path) -> None:
    found = inspected(tmp_path, b"{bad", call(call_id="x"), call(call_id="x"), call(score=7))
    assert sum(where_rows_went(found.reading).values()) == found.reading.rows == 4


def test_a_page_that_can_t_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    with pytest.raises(CallLogError, match="can't be written"):
        write_page(inspected(tmp_path, call()), [], tmp_path / "file" / "page.html")


def test_code_looks_like_code_and_stays_text(tmp_path: Path) -> None:
    html = page(inspected(tmp_path, *many(6)), ["Read `<b>x</b>` again `pointsman inspect a.db`"], "Yes.")
    assert "<code>&lt;b&gt;x&lt;/b&gt;</code>" in html
    assert "<code>pointsman inspect a.db</code>" in html
    assert "<strong>Yes.</strong>" in html
    assert "Format: pointsman (1 file)" in html
