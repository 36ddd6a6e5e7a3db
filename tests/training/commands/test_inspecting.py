from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from router import cli
from tests.training.inspecting.logs import many
from tests.training.logs import write_lines


@pytest.fixture
def log(tmp_path: Path) -> str:
    """A log of one model, with a bad line."""
    return write_lines(tmp_path / "calls.jsonl", *many(6), b"{bad")


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["pointsman", "inspect", *map(str, arguments)])
    with pytest.raises(SystemExit, match="0"):
        cli.main()


def test_inspect_prints_json(
    log: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, log, "--json", "--format", "pointsman")
    found = json.loads(capsys.readouterr().out)
    assert (found["total"]["calls"], found["models"][0]["name"]) == (6, "small")
    unread, alone, *_ = found["missing"]
    assert unread.startswith("14.3 % of the rows can't be read: line is broken JSON (1);")
    assert alone.startswith("Only one model, small")


def test_a_log_that_can_train_ends_with_the_command_that_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [row for model in ("small", "large") for row in many(50, model=model)]
    log = write_lines(tmp_path / "calls.jsonl", *(row | {"asked": row.pop("prompt")} for row in rows))
    run(monkeypatch, log, "--map", "prompt=asked")
    said = capsys.readouterr().err.splitlines()
    assert said[-1] == f"next: pointsman train {log} --map=prompt=asked --out models/router"


def test_inspect_writes_tables_a_page_and_the_bad_rows(
    log: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    page, rejects = tmp_path / "new" / "report.html", tmp_path / "bad.jsonl"
    run(monkeypatch, log, "--html", page, "--rejects", rejects, "--format", "pointsman")
    out = capsys.readouterr().out
    assert "Only one model, small" in out
    assert "of many" not in out
    assert page.read_text().startswith("<!doctype html>")
    assert len(rejects.read_text().splitlines()) == 1
