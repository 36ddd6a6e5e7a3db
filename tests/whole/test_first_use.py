"""What a new user reads first, on the logs that he has: one model each and few outcomes."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pytest

import pointsman
from benchmarks.headlines import impossible_numbers, unfounded
from router.records import Json
from tests.training.test_pipeline import TOPICS

MODELS = {"gpt-4o-mini": (0.6, 0.0002), "gpt-4o": (0.8, 0.003), "claude-sonnet-4-5": (0.9, 0.004)}
SETTINGS = {"training": {"estimator": "success", "min_calls": 20, "test_share": 0.3, "encoder": "static"}}


def one_call_each(*, known: float, lean: float, calls: int = 450) -> list[dict[str, Json]]:
    """Calls of one model each, with thumbs on some; one that leans sends hard kinds to the dearest."""
    dice = random.Random(5)
    rows = []
    for number in range(calls):
        kind = dice.choice(list(TOPICS))
        weights = [1.0, 1.0, 1.0 + lean * (kind in ("poem", "code"))]
        model = dice.choices(list(MODELS), weights)[0]
        chance, usd = MODELS[model]
        row: dict[str, Json] = {"prompt": TOPICS[kind].format(number, dice.randint(0, 999)), "model": model}
        row |= {"cost_usd": usd * dice.uniform(0.5, 1.5), "time": f"2026-11-0{1 + number % 9}T08:00:00Z"}
        rows.append(row | ({"success": dice.random() < chance} if dice.random() < known else {}))
    return rows


@pytest.mark.parametrize(
    ("known", "lean"), [pytest.param(0.3, 0.0, id="thumbs"), pytest.param(0.5, 9.0, id="tilted")]
)
def test_nothing_is_said_that_the_log_can_not_tell(
    tmp_path: Path, encoder_cache: Path, monkeypatch: pytest.MonkeyPatch, known: float, lean: float
) -> None:
    monkeypatch.setenv("POINTSMAN_CACHE", str(encoder_cache.absolute()))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.chdir(tmp_path)
    log = tmp_path / "calls.jsonl"
    log.write_text("".join(json.dumps(row) + "\n" for row in one_call_each(known=known, lean=lean)))
    report = pointsman.inspect(log, config=SETTINGS)
    trained = pointsman.train(log, out="router", config=SETTINGS)
    comparison = pointsman.compare("router", log, out="report", draws=200)
    assert report.readiness.sentence.startswith("Can train a router: yes, on 3 models. Can judge one: not")
    assert list(impossible_numbers(comparison)) == []
    assert list(unfounded(comparison)) == []
    for one in (report, trained, comparison):
        assert not re.search(r"\bnan\b|\binf\b", f"{one!r} {one._repr_html_()}")
    page = Path("report/report.html").read_text(encoding="utf-8")
    assert not re.search(r"\bnan\b", re.sub(r"(?s)<(script|style).*?</\1>", "", page))
