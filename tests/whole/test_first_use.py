"""What a new user reads first, on the logs that he has: one model each and few outcomes."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import TypeAlias

import polars as pl
import pytest
from playwright.sync_api import Browser

import pointsman
from benchmarks.headlines import impossible_numbers, unfounded
from router.records import Json
from tests.training.comparing.report.test_report_in_browser import DESK, PHONE
from tests.training.logs import write_lines
from tests.training.readers.example_langfuse import OBSERVATION, SCORE
from tests.training.readers.example_litellm import EXAMPLES
from tests.training.test_pipeline import TOPICS

MODELS = {"gpt-4o-mini": (0.6, 0.0002), "gpt-4o": (0.8, 0.003), "claude-sonnet-4-5": (0.9, 0.004)}
SETTINGS = {"training": {"estimator": "success", "min_calls": 20, "test_share": 0.3, "encoder": "static"}}
CALLS = 450
VISIBLE = """[...document.querySelectorAll("h1, h2, p, pre, dt, dd, li")].filter((one) => {
  const box = one.getBoundingClientRect();
  return box.height && box.top >= 0 && box.bottom <= innerHeight;
}).map((one) => one.innerText).join(" ")"""
"""What stands on the screen as a whole before anybody scrolls."""
Rows: TypeAlias = Sequence[dict[str, Json]]


def one_call_each(*, known: float, lean: float) -> Rows:
    """Calls of one model each, with thumbs on some; one that leans sends hard kinds to the dearest."""
    dice = random.Random(5)
    rows = []
    for number in range(CALLS):
        kind = dice.choice(list(TOPICS))
        weights = [1.0, 1.0, 1.0 + lean * (kind in ("poem", "code"))]
        model = dice.choices(list(MODELS), weights)[0]
        chance, usd = MODELS[model]
        row: dict[str, Json] = {"prompt": TOPICS[kind].format(number, dice.randint(0, 999)), "model": model}
        row |= {"cost_usd": usd * dice.uniform(0.5, 1.5), "time": f"2026-11-0{1 + number % 9}T08:00:00Z"}
        rows.append(row | ({"success": dice.random() < chance} if dice.random() < known else {}))
    return rows


def canonical(rows: Rows) -> Mapping[str, Rows]:
    """The files of a log in the project's own columns, by name."""
    return {"calls.jsonl": rows}


def litellm(rows: Rows) -> Mapping[str, Rows]:
    """The files of LiteLLM's spend log, with the thumbs in its metadata."""
    spend, _ = EXAMPLES["litellm-spend"]
    return {
        "spend_logs.jsonl": [
            {
                **spend, "request_id": f"chatcmpl-{at}", "session_id": f"s{at}", "spend": row["cost_usd"],
                "model": row["model"], "startTime": row["time"], "endTime": row["time"],
                "proxy_server_request": json.dumps({"model": "smart", "messages": messages(row)}),
                "metadata": {"status": "success", "spend_logs_metadata": thumbs(row)},
            }
            for at, row in enumerate(rows)
        ]
    }  # fmt: skip


def langfuse(rows: Rows) -> Mapping[str, Rows]:
    """The files of Langfuse's export: generations, and the thumbs as scores beside them."""
    return {
        "langfuse/observations/1.jsonl": [
            {
                **OBSERVATION, "id": f"o{at}", "trace_id": f"t{at}", "session_id": f"s{at}",
                "start_time": row["time"], "end_time": row["time"], "input": json.dumps(messages(row)),
                "provided_model_name": row["model"], "total_cost": row["cost_usd"], "cost_details": {},
            }
            for at, row in enumerate(rows)
        ],
        "langfuse/scores/1.jsonl": [
            {**SCORE, "id": f"c{at}", "trace_id": f"t{at}", "observation_id": f"o{at}", "value": int(good)}
            for at, row in enumerate(rows)
            for good in thumbs(row).values()
        ],
    }  # fmt: skip


def messages(row: Mapping[str, Json]) -> Json:
    return [{"role": "user", "content": row["prompt"]}]


def thumbs(row: Mapping[str, Json]) -> dict[str, bool]:
    return {"success": bool(row["success"])} if "success" in row else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstUse:
    """The whole path on one log, with what it printed and wrote.

    Attributes:
        known: outcomes in the log.
    """

    known: int
    report: pointsman.LogReport
    imported: pointsman.Imported
    trained: pointsman.Trained
    comparison: pointsman.Comparison
    page: Path


SHAPES = {
    "thumbs": (canonical, 0.3, 0.0),
    "tilted": (canonical, 0.5, 9.0),
    "thumbs in LiteLLM's spend log": (litellm, 0.3, 0.0),
    "tilted in Langfuse's export": (langfuse, 0.5, 9.0),
}


@pytest.fixture(scope="module")
def uses(tmp_path_factory: pytest.TempPathFactory, encoder_cache: Path) -> Mapping[str, FirstUse]:
    """The use of every shape, before any browser: beside its event loop the path can't run its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POINTSMAN_CACHE", str(encoder_cache.absolute()))
        uses = {}
        for name, (shape, known, lean) in SHAPES.items():
            folder, rows = tmp_path_factory.mktemp("use"), one_call_each(known=known, lean=lean)
            patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
            patch.chdir(folder)
            uses[name] = first_use(folder, shape(rows), sum("success" in row for row in rows))
    return uses


def first_use(folder: Path, log: Mapping[str, Rows], known: int) -> FirstUse:
    """Inspect, import, train and compare, in the working folder."""
    for name, lines in log.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_lines(folder / name, *lines)
    source = name.split("/")[0]
    return FirstUse(
        known=known,
        report=pointsman.inspect(source, config=SETTINGS),
        imported=pointsman.import_calls(source, out=folder / "imported.parquet"),
        trained=pointsman.train("imported.parquet", out="router", config=SETTINGS),
        comparison=pointsman.compare("router", "imported.parquet", out="report", draws=200),
        page=folder / "report" / "report.html",
    )


@pytest.fixture(params=SHAPES)
def used(request: pytest.FixtureRequest, uses: Mapping[str, FirstUse]) -> FirstUse:
    return uses[request.param]


def test_nothing_is_said_that_the_log_can_not_tell(used: FirstUse) -> None:
    sentence = used.report.readiness.sentence
    assert sentence.startswith("Can train a router: yes, on 3 models. Can judge one: not")
    assert list(impossible_numbers(used.comparison)) == []
    assert list(unfounded(used.comparison)) == []
    for one in (used.report, used.imported, used.trained, used.comparison):
        assert not re.search(r"\bnan\b|\binf\b", f"{one!r} {one._repr_html_()}")
    page = used.page.read_text(encoding="utf-8")
    assert not re.search(r"\bnan\b", re.sub(r"(?s)<(script|style).*?</\1>", "", page))


def test_one_number_says_how_many_outcomes_are_missing(used: FirstUse) -> None:
    missing = used.report.readiness.outcomes_missing
    assert f"about {missing:,} more known outcomes" in used.report.readiness.sentence
    assert f"about {missing:,} more known outcomes" in used.comparison.recommendation.sentence


def test_every_call_and_every_thumb_of_an_export_is_read(used: FirstUse) -> None:
    calls = pl.read_parquet(used.imported.out)
    assert (len(calls), calls["success"].count()) == (CALLS, used.known)


@pytest.mark.parametrize("size", [pytest.param(DESK, id="desk"), pytest.param(PHONE, id="phone")])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_first_screen_says_what_to_do_and_no_figure_of_a_refused_estimate(
    uses: Mapping[str, FirstUse], browser: Browser, shape: str, size: tuple[int, int]
) -> None:
    advice, router = uses[shape].comparison.recommendation, uses[shape].comparison.router
    assert (advice.code, isnan(router.success.value)) == ("cannot_tell", True)
    page = browser.new_page(viewport={"width": size[0], "height": size[1]})
    page.goto(uses[shape].page.as_uri())
    screen = " ".join(page.evaluate(VISIBLE).split())
    page.close()
    wanted = ("No verdict yet", "router router", "2026-11-01 to 2026-11-09", advice.sentence, advice.next)
    assert [part for part in wanted if part not in screen] == []
    assert re.findall(r"\N{CHECK MARK}|\bcheaper|\bdearer|fewer failures|\$\d", screen) == []
