from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from router import cli
from router.version import Version
from tests.training.comparing.test_on_log import full_calls
from tests.training.logs import write_lines
from training.commands.comparing import GATE

Compare = Callable[..., tuple[int, str, str]]


@pytest.fixture
def compare(
    version: Version, router_folder: Path, encoder_cache: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> Compare:  # fmt: skip
    """Run `pointsman compare` on fresh calls in this process: exit code, output, messages."""
    log = write_lines(tmp_path / "fresh.jsonl", *full_calls(version, 40))
    monkeypatch.chdir(tmp_path)

    def command(*options: str) -> tuple[int, str, str]:
        words = ["compare", log, "--router", str(router_folder), "--out", "report", "--draws", "200"]
        words += ["--cache", str(encoder_cache), "--no-record", *options]
        monkeypatch.setattr(sys, "argv", ["pointsman", *words])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return int(end.value.code or 0), *capsys.readouterr()

    return command


def test_a_gate_that_holds_fails_with_the_reason_after_the_report_is_written(compare: Compare) -> None:
    code, _, messages = compare("--fail-if", "router.success.value < 0.9")
    assert code == GATE
    assert "router.success.value < 0.9" in messages
    assert json.loads(Path("report/report.json").read_bytes())["router"]["success"]["value"] == 0.5


def test_a_gate_that_does_not_hold_lets_the_comparison_pass(compare: Compare) -> None:
    assert compare("--fail-if", "router.success.value < 0.1")[0] == 0


def test_json_is_the_content_of_the_report(compare: Compare) -> None:
    code, out, _ = compare("--json", "--max-quality-loss", "0.3", "--today", "all-cheap")
    found = json.loads(out)
    assert (code, found) == (0, json.loads(Path("report/report.json").read_bytes()))
    assert (found["change"]["today"], found["promise"]["max_quality_loss"]) == ("all-cheap", 0.3)
    assert found["provenance"]["command"].startswith("pointsman compare ")


def test_prompts_are_in_the_report_only_where_they_may_be(compare: Compare) -> None:
    compare("--today", "all-cheap")
    assert "a new question" not in Path("report/report.json").read_text(encoding="utf-8")
    compare("--today", "all-cheap", "--show-text")
    assert "a new question" in Path("report/report.json").read_text(encoding="utf-8")
