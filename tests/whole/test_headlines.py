"""The study of benchmarks/headlines.py in a small form: what the report says on thin logs."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.headlines import (
    ThinLog,
    headlines,
    impossible_numbers,
    most_wrong,
    settings,
    thin_log,
    unfounded,
)
from training.commands import tables
from training.comparing.report.gate import failures, parse_gate
from training.comparing.report.record import comparison_record
from training.comparing.report.write import html

LOGS = 40


@pytest.fixture(scope="module")
def logs() -> list[ThinLog]:
    return [
        thin_log(seed, known=min(known, 300), n_models=n_models, draws=200)
        for seed, known, n_models in settings(LOGS)
    ]


@pytest.fixture(scope="module")
def refused(logs: Sequence[ThinLog]) -> list[ThinLog]:
    """The logs that can't speak for the router."""
    return [log for log in logs if (one := log.comparison.router.support) is not None and one.refused]


def test_no_number_is_impossible(logs: Sequence[ThinLog]) -> None:
    assert [name for log in logs for name in impossible_numbers(log.comparison)] == []


def test_nothing_rests_on_a_refused_estimate(logs: Sequence[ThinLog]) -> None:
    assert [what for log in logs for what in unfounded(log.comparison)] == []


def test_headlines_are_true_as_often_as_intervals_promise(logs: Sequence[ThinLog]) -> None:
    stated = [true for log in logs for _, true in headlines(log)]
    assert stated.count(False) <= most_wrong(len(stated))


def test_logs_of_both_kinds_were_drawn(logs: Sequence[ThinLog], refused: Sequence[ThinLog]) -> None:
    assert 3 <= len(refused) <= len(logs) - 3


def test_nan_reaches_nobody(logs: Sequence[ThinLog], monkeypatch: pytest.MonkeyPatch) -> None:
    for log in logs[::4]:
        said = io.StringIO()
        monkeypatch.setattr(tables, "console", Console(file=said, width=200))
        tables.comparison(log.comparison, Path("report"))
        page = re.sub(r"<script.*?</script>|<style.*?</style>", "", html(log.comparison), flags=re.S)
        texts = [said.getvalue(), page, log.comparison.recommendation.sentence]
        assert [text for text in texts if re.search(r"\bnan\b", text, flags=re.I)] == []
        assert all(map(math.isfinite, comparison_record(log.comparison).metrics.values()))


@pytest.mark.parametrize(
    "condition",
    ["change.failures_per_1000.ci_high > 0", "router.success.value < 0.5", "change.usd_per_1000.value > 0"],
)
def test_a_condition_on_a_refused_estimate_fails_as_unknown(
    condition: str, refused: Sequence[ThinLog]
) -> None:
    for log in refused:
        (sentence,) = failures([parse_gate(condition)], log.comparison.to_json())
        assert "unknown" in sentence
