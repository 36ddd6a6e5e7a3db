from __future__ import annotations

import re
from pathlib import Path

import pytest
from rich.console import Console

from tests.training.inspecting.logs import inspected, many
from training.commands import inspection_tables as tables
from training.inspecting.inspection import Inspection

NAMES = [f"anthropic/claude-{kind}-4-5" for kind in ("haiku", "sonnet", "opus", "fable")]


@pytest.fixture
def found(tmp_path: Path) -> Inspection:
    """Four models of long names on the same prompts, at costs of many digits."""
    return inspected(tmp_path, *(row for name in NAMES for row in many(12, model=name, cost_usd=0.0000123)))


def shown(found: Inspection, monkeypatch: pytest.MonkeyPatch, width: int) -> str:
    console = Console(width=width, record=True, highlight=False, emoji=False)
    monkeypatch.setattr(tables, "console", console)
    tables.show_inspection(found, [])
    return console.export_text()


def test_no_number_is_cut_on_a_terminal_of_80_characters(
    found: Inspection, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = shown(found, monkeypatch, 80)
    assert "…" not in text
    assert text.count("$0.00015") >= len(NAMES)
    assert "  48 (100.0 %) calls" in text


def test_models_whose_names_do_not_fit_beside_each_other_are_numbered(
    found: Inspection, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "(3) anthropic/claude-opus-4-5" in shown(found, monkeypatch, 80)
    assert "(3)" not in shown(found, monkeypatch, 200)


def test_models_that_a_matrix_leaves_out_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"m{number}" for number in range(tables.MOST_MODELS + 2)]
    found = inspected(tmp_path, *(row for name in names for row in many(2, model=name)))
    assert shown(found, monkeypatch, 80).count("and 2 more models; --json has all") == 2


def test_groups_left_out_are_counted_and_groups_without_a_name_are_no_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = tables.MOST_ROWS + 3
    rows = many(2 * days, model="m")
    dated = [row | {"time": f"2026-01-{1 + place % days:02}T00:00:00Z"} for place, row in enumerate(rows)]
    text = shown(inspected(tmp_path, *dated), monkeypatch, 80)
    assert "and 3 earlier; --json has all" in text
    assert "no call has a task type" in text
    assert "(none)" not in text


@pytest.mark.parametrize(("change", "named"), [({}, False), ({"propensity": 0.5}, True)])
def test_a_column_that_would_be_zero_throughout_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, float], named: bool
) -> None:
    rows = [row | change for row in many(4, model="m")]
    assert ("propen-" in shown(inspected(tmp_path, *rows), monkeypatch, 80)) == named


def test_what_nobody_knows_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row | {"success": None, "cost_usd": None} for row in many(4, model="m")]
    text = shown(inspected(tmp_path, *rows), monkeypatch, 80)
    assert text.count("unknown") >= 2
    assert not re.search(r"(^| )-( |$)", text, re.MULTILINE)
