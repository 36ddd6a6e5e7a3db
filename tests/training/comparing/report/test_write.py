from __future__ import annotations

import base64
import builtins
import hashlib
import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from router.errors import CallLogError, MissingExtra
from tests.training.comparing.report.reports import (
    CASES,
    exact,
    hostile,
    off_policy,
    one_model,
    support,
    unknown_costs,
)
from training.comparing.report.charts import charts_of
from training.comparing.report.write import PACKAGE, PLOTLY, conclusion_of, html, write_report
from training.pages.rendering import packaged
from training.statistics.intervals import UNKNOWN

VOID = {"meta", "br", "line", "circle", "path"}


class Parsed(HTMLParser):
    """The tags of a page that were opened and not closed, all that were seen, its scripts, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.text = ""
        self.scripts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        if tag == "script":
            self.scripts.append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts[-1] += data
        elif self.open and self.open[-1] != "style":
            self.text += data


def parsed(page: str) -> Parsed:
    tags = Parsed()
    tags.feed(page)
    tags.close()
    return tags


@pytest.fixture(scope="module")
def page() -> str:
    return html(exact())


def test_both_files_are_written_and_nothing_else(tmp_path: Path) -> None:
    data, page = write_report(exact(), tmp_path / "new" / "folder")
    assert sorted(path.name for path in data.parent.iterdir()) == ["report.html", "report.json"]
    assert json.loads(data.read_text(encoding="utf-8"))["best_single"] == "gpt-4o"
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_report_is_replaced_by_the_next_one(tmp_path: Path) -> None:
    write_report(exact(), tmp_path)
    data, _ = write_report(replace(exact(), warnings=("second",)), tmp_path)
    assert json.loads(data.read_text(encoding="utf-8"))["warnings"] == ["second"]


def test_a_failed_write_leaves_the_old_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, _ = write_report(exact(), tmp_path)
    before = data.read_bytes()
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(CallLogError, match=r"report\.json: can't be written: disk full; choose another"):
        write_report(replace(exact(), warnings=("second",)), tmp_path)
    assert data.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 2


def test_a_folder_that_can_t_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    with pytest.raises(CallLogError, match=r"file/report\.json: can't be written"):
        write_report(exact(), tmp_path / "file")


def test_half_a_surrogate_pair_is_written_as_its_escape(tmp_path: Path) -> None:
    data, page = write_report(replace(exact(), warnings=("half \ud83d",)), tmp_path)
    assert json.loads(data.read_text(encoding="utf-8"))["warnings"] == ["half \ud83d"]
    assert "half \\ud83d" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", CASES)
def test_a_page_is_well_formed_for_every_comparison(name: str) -> None:
    tags = parsed(html(CASES[name]()))
    assert tags.open == []
    assert not {"link", "img", "iframe", "object", "form", "embed"} & set(tags.seen)
    assert "nan" not in re.findall(r"\b[a-z]+\b", tags.text.lower())
    assert not re.search(r"\binf\b|\bNone\b(?! of| is)", tags.text)


def test_names_and_texts_from_users_are_text_and_never_markup() -> None:
    page = html(hostile(off_policy()))
    tags = parsed(page)
    assert len(tags.scripts) == 3
    assert "<img src=x onerror=" in tags.text
    assert "{{ 7 * 7 }}" in tags.text
    assert tags.seen.count("a") == tags.seen.count("nav") * 13 + 2


def test_data_for_scripts_can_not_end_its_script() -> None:
    data = parsed(html(hostile(exact()))).scripts[0]
    assert not set("<>&\u2028") & set(data)
    assert data.isascii()
    assert json.loads(data)["charts"].keys() == {"cost-quality", "reliability", "risk-coverage"}


def test_the_page_runs_its_own_scripts_only_and_reaches_nothing(page: str) -> None:
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    own = [
        base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        for script in parsed(page).scripts[1:]
    ]
    assert re.findall(r"'sha256-([^']*)'", policy) == own
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe-eval" not in policy
    assert "http" not in policy


def test_the_answer_comes_first_and_losses_before_it(page: str) -> None:
    text = parsed(page).text
    order = [
        "Deploy this router",
        "Deploy the router against best single",
        "the router is shown to be",
        "\N{MINUS SIGN}$2.55 to",
        "pointsman route --router",
        "Cost against success",
        "What was compared",
        "Against every other policy",
        "Where does it lose?",
        "Where they disagree",
        "Data, and what was left out",
        "The same calls, router and seed",
        "Every policy",
        "At equal quality, and at equal cost",
        "Can its confidence be believed?",
        "Method, and what the words mean",
    ]
    places = [text.index(part) for part in order[:5]]
    assert places == sorted(places)
    rest = [text.rindex(part) for part in order[5:] if part != "Every policy"]
    assert rest == sorted(rest)


def test_a_refused_policy_has_a_reason_in_place_of_numbers() -> None:
    text = parsed(html(off_policy())).text
    assert "No number: the log never took its choice on 41 % of the calls." in text
    assert "Refused: the log never took its choice on 41 % of the calls." in text


def test_off_policy_numbers_say_where_their_propensities_come_from() -> None:
    text = parsed(html(off_policy())).text
    assert "The propensities were estimated" in text
    assert all(
        name in text for name in ("Direct method", "Self-normalised IPS", "Doubly robust", "Switch-DR")
    )


def test_logged_propensities_are_said_to_be_logged() -> None:
    case = off_policy()
    assert case.off_policy is not None
    logged = replace(case, off_policy=replace(case.off_policy, propensities="logged"))
    assert "The propensities were logged" in parsed(html(logged)).text


def test_an_exact_comparison_says_nothing_of_propensities(page: str) -> None:
    assert "ropensit" not in parsed(page).text


def test_a_promise_that_none_can_keep_is_said_to_be_none() -> None:
    assert "No weight on cost can be promised" in parsed(html(off_policy())).text
    assert "✓ kept" in parsed(html(exact())).text


def test_a_promise_of_which_the_loss_is_unknown_is_said_to_be_neither_kept_nor_broken() -> None:
    case = exact()
    assert case.promise is not None
    loss = replace(case.promise.loss, value=math.nan, low=math.nan, high=math.nan)
    text = parsed(html(replace(case, promise=replace(case.promise, loss=loss, kept=None)))).text
    assert "Not known whether it is kept" in " ".join(text.split())
    assert "✓ kept" not in text
    assert "✕ not kept" not in text


def test_a_withheld_text_is_said_to_be_withheld_with_the_way_to_see_it(page: str) -> None:
    text = parsed(page).text
    assert "Text withheld." in text
    assert "Some texts are withheld" in text
    hidden = " ".join(parsed(html(replace(exact(), text_shown=False))).text.split())
    assert "Texts are withheld: give --show-text to compare" in hidden


def test_a_made_up_log_is_called_synthetic(page: str) -> None:
    made_up = replace(exact(), provenance=replace(exact().provenance, synthetic=True))
    assert "SYNTHETIC" in parsed(html(made_up)).text
    assert "SYNTHETIC" not in parsed(page).text


def test_the_first_screen_says_which_router_and_which_log() -> None:
    case = exact()
    named = replace(
        case.provenance,
        routers={"models:/claims/2": "v2"},
        trained="2026-11-02T10:00:00+00:00",
        calls=("calls.parquet",),
        first_day="2026-09-14",
        last_day="2026-10-25",
        calls_in_log=6000,
    )
    text = " ".join(parsed(html(replace(case, provenance=named))).text.split())
    assert "models:/claims/2, version" in text
    assert "trained 2026-11-02" in text
    assert "calls.parquet, 2026-09-14 to 2026-10-25, 6,000 calls" in text


def test_losing_slices_are_named_worst_first(page: str) -> None:
    text = " ".join(parsed(page).text.split())
    assert "Shown to lose on 2 of 14 slices against best single: over 2,000 tokens (length, " in text
    assert "11.8 points), code (task type, " in text


def test_unknown_costs_are_called_unknown() -> None:
    assert "Costs are unknown, so there is no curve" in parsed(html(unknown_costs())).text


def test_a_refused_router_has_no_figures_and_its_costs_are_not_called_unknown() -> None:
    case = unknown_costs()
    nothing = replace(case.change, usd_per_1000=UNKNOWN, failures_per_1000=UNKNOWN)
    refused = replace(
        case, change=nothing, router=replace(case.router, support=support(refused="too seldom"))
    )
    text = parsed(html(refused)).text
    assert "so there is no curve" in text
    assert "Costs are unknown" not in text
    assert "Per 1,000 requests, against" not in text


def test_one_prompt_makes_a_page() -> None:
    assert "1 held-out prompt\n" in parsed(html(one_model())).text


def test_every_chart_names_the_table_that_holds_its_numbers(page: str) -> None:
    labels = re.findall(r'class="chart"[^>]*aria-label="([^"]*)"', page)
    captions = re.findall(r"<caption><span><b>(.*?)\.?</b>", page)
    named = [name for label in labels for name in re.findall("“(.*?)”", label)]
    assert len(labels) == 3
    assert set(named) <= set(captions)


@pytest.mark.parametrize(
    ("value", "p", "outcome"),
    [
        pytest.param(-0.1, 0.01, "loss", id="worse"),
        pytest.param(0.1, 0.01, "win", id="better"),
        pytest.param(-0.1, 0.2, "undecided", id="by chance"),
        pytest.param(0.1, float("nan"), "undecided", id="unknown"),
    ],
)
def test_a_difference_is_shown_by_its_corrected_p_value(value: float, p: float, outcome: str) -> None:
    difference = exact().policies[0].success_difference
    interval = replace(difference.interval, value=value)
    assert conclusion_of(replace(difference, interval=interval, p_adjusted=p)) == outcome


def hide(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a package be missing."""
    importing: Callable[..., object] = builtins.__import__

    def without(name: str, *rest: object, **more: object) -> object:
        if name.split(".")[0] == package:
            raise ImportError(name)
        return importing(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    hide("jinja2", monkeypatch)
    with pytest.raises(MissingExtra, match="jinja2"):
        html(exact())


def test_the_page_is_small_and_has_its_script_without_the_package_of_plotly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hide("plotly", monkeypatch)
    page = html(exact())
    assert len(page.encode()) < 2_000_000
    assert page.count(packaged(PACKAGE, PLOTLY)) == 1


def test_the_script_of_plotly_comes_with_its_licence_and_draws_every_chart() -> None:
    script = packaged(PACKAGE, PLOTLY)
    assert "MIT" in packaged(PACKAGE, "plotly-basic.LICENSE")
    kinds = {trace["type"] for chart in charts_of(exact()).values() for trace in chart.data}
    assert kinds == {"scatter", "bar"}
    assert all(f'name:"{kind}"' in script for kind in kinds)
