from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.cells import cell_len

from router.records import Json, Request
from router.settings.yaml_file import parse_config
from router.version import Version
from tests.training.comparing.report.reports import CASES, exact, off_policy
from tests.training.logs import call, read, write_lines
from training.commands import tables
from training.pipeline import Trained


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal that breaks no cell."""
    monkeypatch.setattr(tables.console, "_width", 200)


def test_reading_says_what_was_read_and_what_was_not(
    trained: Trained, capsys: pytest.CaptureFixture[str]
) -> None:
    tables.show_read_summary(trained.reading, Path("calls.parquet"))
    said = capsys.readouterr().out
    assert said.startswith(f"{trained.reading.rows:,} rows in 1 file: {trained.reading.calls:,} calls")
    assert "written: calls.parquet" in said


def test_training_says_models_estimators_and_where_the_router_is(
    trained: Trained, capsys: pytest.CaptureFixture[str]
) -> None:
    tables.trained(trained)
    said = capsys.readouterr().out
    assert all(model in said for model in trained.manifest["models"])
    assert f"{trained.fitted.published} (published)" in said
    assert f"published: {trained.fitted.published}, because {trained.fitted.why}" in said
    assert f"router {trained.manifest['policy_version']} written: {trained.out}" in said
    assert said.rstrip().endswith(f"{trained.recommendation.sentence}\nnext: {trained.recommendation.next}")
    assert f"digest {trained.to_json()['digest']}" in said


def test_no_model_name_is_cut_on_a_terminal_of_80_characters(
    trained: Trained, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables.console, "_width", 80)
    figures = {"success_difference": 0.1, "success_interval": [0.02, 0.18], "cost_difference_usd": -0.004}
    dominated = {"anthropic/claude-opus-4-5": {"by": "small", "prompts": 60, **figures}}
    tables.trained(replace(trained, report={**trained.report, "dominated": dominated}))
    tables.decisions([({"id": "1"}, answer("anthropic/claude-opus-4-5"))])
    said = capsys.readouterr().out
    assert "…" not in said
    assert "anthropic/claude-opus-4-5 is dominated: small is no dearer and no worse on 60 prompts" in said


def test_models_with_few_prompts_in_common_are_not_compared(
    trained: Trained, capsys: pytest.CaptureFixture[str]
) -> None:
    rare = [{"models": ["a", "b"], "prompts": 10}]
    tables.trained(replace(trained, report={**trained.report, "rarely_shared": rare}))
    assert (
        "with both outcomes and both costs to compare: a and b (10); 30 are the least"
        in capsys.readouterr().out
    )


def test_every_warning_of_training_is_shown(trained: Trained, capsys: pytest.CaptureFixture[str]) -> None:
    tables.trained(replace(trained, warnings=["[bold] is no markup here"]))
    assert "note: [bold] is no markup here" in capsys.readouterr().out


def test_a_model_name_in_brackets_is_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    tables.decisions([({"id": "1"}, answer("[red]model"))])
    assert "[red]model" in capsys.readouterr().out


def answer(model: str, usd: float | None = 0.002) -> dict[str, Json]:
    return {"model": model, "source": "learned", "confidence": 0.5, "expected_cost_usd": {model: usd}}


@pytest.mark.parametrize(
    ("usd", "words"), [pytest.param(0.002, "$2.00", id="known"), pytest.param(None, "unknown", id="unknown")]
)
def test_a_decision_shows_its_expected_cost(
    usd: float | None, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tables.decisions([({"id": "1"}, answer("small", usd))])
    assert words in capsys.readouterr().out


def test_a_bad_line_shows_its_error_among_the_decisions(capsys: pytest.CaptureFixture[str]) -> None:
    tables.decisions([({"id": "7"}, {"error": "not valid JSON"}), ({}, answer("small"))])
    assert "not valid JSON" in capsys.readouterr().out


@pytest.mark.parametrize("name", CASES)
def test_a_comparison_of_every_kind_fits_eighty_columns(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tables.console, "_width", 80)
    tables.comparison(CASES[name](), Path("out"))
    said = capsys.readouterr().out
    assert max(cell_len(line) for line in said.splitlines()) <= 80
    assert "nan" not in said
    assert "\x1b" not in said
    assert "…" not in said or name.startswith("hostile")


def test_a_comparison_shows_losses_then_the_change_then_the_policies(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tables.comparison(exact(), Path("out"))
    said = capsys.readouterr().out
    order = [
        "Deploy this router. Deploy the router against best single",
        "next: pointsman route --router models/support",
        "less successful than none",
        "Against mean per task type",
        "against what runs today, best single (gpt-4o)",
        "-$2.38",
        "Against keyword heuristic",
        "independent groups: 1,812",
        "shown to lose success against best single on 2 of 14 slices",
        "190 prompts",
        "note: On these prompts",
        f"written: {Path('out') / 'report.html'} and report.json",
    ]
    said = " ".join(said.split())
    places = [said.rindex(part) for part in order]
    assert places == sorted(places)


def test_a_policy_that_the_log_can_not_judge_is_refused_with_the_reason(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tables.comparison(off_policy(), Path("out"))
    said = " ".join(capsys.readouterr().out.split())
    both = "LiteLLM complexity v1, oracle"
    assert f"refused: {both}: the log never took its choice on 41 % of the calls" in said


def test_a_policy_name_neither_marks_up_nor_steers_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    case = exact()
    evil = replace(case.policies[0], name="[red]\x1b[31mevil")
    tables.comparison(replace(case, policies=(evil,)), Path("out"))
    said = capsys.readouterr().out
    assert "[red] [31mevil" in said
    assert "\x1b" not in said


def test_real_decisions_fit_the_table(version: Version, capsys: pytest.CaptureFixture[str]) -> None:
    decision = json.loads(json.dumps(version.decide(Request.of("hello")).to_json()))
    tables.decisions([({"id": "1"}, decision)])
    assert decision["model"] in capsys.readouterr().out


def test_reading_says_what_each_outcome_rule_decided(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = parse_config("outcomes: {rules: [{feedback: {}}, {finish_reason: {}}]}").outcomes.rules
    row = call(success=True, finish_reason="length")
    tables.show_read_summary(
        read(tmp_path, write_lines(tmp_path / "calls.jsonl", row, call()), rules=rules).summary
    )
    said = capsys.readouterr().out
    assert "outcome unknown: 1 calls; rules in conflict: 1 calls" in said
    assert "1. feedback over 2. finish_reason: 1" in said
