from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from router.records import Json, Request
from router.version import Version
from tests.training.comparing.comparisons import evaluated, knowing
from training import tables
from training.comparing.comparison import compare
from training.pipeline import Trained


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal that breaks no cell."""
    monkeypatch.setattr(tables.console, "_width", 200)


def test_reading_says_what_was_read_and_what_was_not(
    trained: Trained, capsys: pytest.CaptureFixture[str]
) -> None:
    tables.reading(trained.reading, Path("calls.parquet"))
    said = capsys.readouterr().out
    assert said.startswith(f"{trained.reading.rows} rows in 1 file(s): {trained.reading.calls} calls")
    assert "written: calls.parquet" in said


def test_training_says_models_estimators_and_where_the_router_is(
    trained: Trained, capsys: pytest.CaptureFixture[str]
) -> None:
    tables.trained(trained)
    said = capsys.readouterr().out
    assert all(model in said for model in trained.manifest["models"])
    assert f"{trained.fitted.published} (published)" in said
    assert f"router {trained.manifest['policy_version']} written: {trained.out}" in said


def test_every_warning_of_training_is_shown(trained: Trained, capsys: pytest.CaptureFixture[str]) -> None:
    tables.trained(replace(trained, warnings=["[bold] is no markup here"]))
    assert "note: [bold] is no markup here" in capsys.readouterr().out


def test_a_model_name_in_brackets_is_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    tables.decisions([({"id": "1"}, answer("[red]model"))])
    assert "[red]model" in capsys.readouterr().out


def answer(model: str, usd: float | None = 0.002) -> dict[str, Json]:
    return {"model": model, "source": "learned", "confidence": 0.5, "expected_cost_usd": {model: usd}}


@pytest.mark.parametrize(
    ("usd", "words"), [pytest.param(0.002, "2.000", id="known"), pytest.param(None, "unknown", id="unknown")]
)
def test_a_decision_shows_its_expected_cost(
    usd: float | None, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tables.decisions([({"id": "1"}, answer("small", usd))])
    assert words in capsys.readouterr().out


def test_a_bad_line_shows_its_error_among_the_decisions(capsys: pytest.CaptureFixture[str]) -> None:
    tables.decisions([({"id": "7"}, {"error": "not valid JSON"}), ({}, answer("small"))])
    assert "not valid JSON" in capsys.readouterr().out


def test_a_comparison_shows_its_verdict_before_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tables.comparison(compare(evaluated(knowing())), tmp_path)
    said = capsys.readouterr().out
    assert said.index("win ") < said.index("independent groups")
    assert f"written: {tmp_path / 'report.html'} and report.json" in said


def test_real_decisions_fit_the_table(version: Version, capsys: pytest.CaptureFixture[str]) -> None:
    decision = json.loads(json.dumps(version.decide(Request.of("hello")).to_json()))
    tables.decisions([({"id": "1"}, decision)])
    assert decision["model"] in capsys.readouterr().out
