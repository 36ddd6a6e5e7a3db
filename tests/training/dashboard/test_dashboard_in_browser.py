"""The dashboard as its readers meet it: served by the command, in Chromium, on phone and desk."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page

from router.numbers import dollars
from router.text import typeset
from tests.services.runtime_log import NOON, failed, record, write_log
from tests.services.waiting import PATIENCE_S

PHONE, DESK = (390, 844), (1440, 900)
DAY = 86_400.0
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&\u202e</style>"
COMMAND = (sys.executable, "-m", "router.cli")
Scheme = Literal["light", "dark"]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two weeks of two models; texts that would do harm if a page took them for markup."""
    calls = [
        record(
            f"c{i}",
            time=NOON + i * 14 * DAY / 280,
            model=("small", "large")[i % 2],
            cost_usd=(0.001, 0.004)[i % 2],
            task_type=("code", "chat", None)[i % 3],
            tags=[["web"], ["web", "beta"], []][i % 3],
            success=(None, True, True, False)[i % 4],
            policy_version=f"v{1 + i // 200}",
        )
        for i in range(280)
    ]
    odd = [
        record(HOSTILE, time=NOON + 13 * DAY, model=HOSTILE, task_type=HOSTILE, tags=[HOSTILE]),
        failed("c1-1", time=NOON + 13 * DAY, error=f"{HOSTILE}: E", policy_version=HOSTILE),
    ]
    return write_log(tmp_path_factory.mktemp("log") / "calls.db", *calls, *odd)


@pytest.fixture(scope="module")
def served(log: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address at which the command serves the log."""
    environment = {**os.environ, "POINTSMAN_CACHE": str(tmp_path_factory.mktemp("cache"))}
    command = [*COMMAND, "dashboard", log, "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as running:
        assert running.stderr is not None
        lines = iter(running.stderr.readline, "")
        address = next(match[0] for line in lines if (match := re.search(r"http://127\.0\.0\.1:\d+/", line)))
        yield address
        running.send_signal(signal.SIGINT)
        running.wait(PATIENCE_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """A page, and what it asked for and complained of."""

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


@pytest.fixture(
    params=[
        pytest.param((PHONE, "light"), id="phone, light"),
        pytest.param((PHONE, "dark"), id="phone, dark"),
        pytest.param((DESK, "light"), id="desk, light"),
        pytest.param((DESK, "dark"), id="desk, dark"),
    ]
)
def visit(request: pytest.FixtureRequest, browser: Browser, served: str) -> Iterator[Visit]:
    size, scheme = request.param
    yield from visited(browser, served, size, scheme)


@pytest.fixture
def desk(browser: Browser, served: str) -> Iterator[Visit]:
    yield from visited(browser, served, DESK, "light")


def visited(browser: Browser, address: str, size: tuple[int, int], scheme: Scheme) -> Iterator[Visit]:
    page = browser.new_page(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
    page.set_default_timeout(1000 * PATIENCE_S)
    one = Visit(page=page)
    page.on("request", lambda request: one.requests.append(request.url))
    page.on("console", lambda message: one.complaints.append(message.text))
    page.on("pageerror", lambda error: one.complaints.append(str(error)))
    page.on("dialog", lambda dialog: one.complaints.append(dialog.message))
    page.goto(address)
    yield one
    page.close()


def costs(log: str, *options: str) -> dict[str, object]:
    done = subprocess.run(
        [*COMMAND, "costs", log, "--json", *options], capture_output=True, text=True, check=True
    )
    total: dict[str, object] = json.loads(done.stdout)["total"]
    return total


def figure(page: Page, name: str) -> str:
    return page.locator(f"#{name}").inner_text()


def unfold(page: Page) -> None:
    """Open everything that is folded."""
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")


def test_the_page_asks_for_nothing_else_complains_of_nothing_and_fits(visit: Visit) -> None:
    page = visit.page
    assert all(url == page.url for url in visit.requests if not url.startswith("data:"))
    assert visit.complaints == []
    assert page.evaluate("document.documentElement.scrollWidth") == page.evaluate("innerWidth")
    assert page.evaluate("document.querySelectorAll('script, img').length") == 0


def test_what_was_saved_got_worse_and_cost_is_open_and_the_rest_is_folded(visit: Visit) -> None:
    headings = visit.page.locator("h2")
    assert headings.all_inner_texts() == [
        "Did anything get worse?",
        "By model",
        "Who decided",
        "Failures by model",
        "Drift: is it as forecast?",
        "Day by day",
        "By version",
        "Latest calls",
        "By task type",
        "By tag",
        "By day",
        "Where outcomes come from",
    ]
    assert visit.page.locator("table:visible caption").all_inner_texts() == [
        "Rates now and before",
        "Plain sums of the period",
    ]


def test_the_keyboard_unfolds_what_is_folded_in_the_order_of_the_page(visit: Visit) -> None:
    page = visit.page
    page.locator("summary").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("section:has(#by-source) table").is_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('section').querySelector('h2').id") == "by-source"


def test_every_cell_is_on_the_screen_of_a_phone(visit: Visit) -> None:
    unfold(visit.page)
    cells = "[...document.querySelectorAll('tbody td')].map(one => one.getBoundingClientRect().right)"
    assert visit.page.evaluate(f"innerWidth > 640 || Math.max(...{cells}) <= innerWidth")


def test_the_style_is_let_in_by_the_header(visit: Visit) -> None:
    paper = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper not in {"rgba(0, 0, 0, 0)", "rgb(255, 255, 255)"}


def test_the_answer_is_in_the_first_screen(visit: Visit) -> None:
    heading = visit.page.locator("h1")
    box = visit.page.locator("#saved").bounding_box()
    assert heading.inner_text().startswith("Saved $")
    assert box is not None
    assert box["y"] + box["height"] < visit.page.evaluate("innerHeight")


def test_numbers_are_those_of_the_costs_command(desk: Visit, served: str, log: str) -> None:
    desk.page.goto(f"{served}?period=all")
    total = costs(log)
    assert figure(desk.page, "saved") == typeset(dollars(float(str(total["saved_usd"]))))
    assert figure(desk.page, "spent") == typeset(dollars(float(str(total["cost_usd"]))))
    assert figure(desk.page, "failed") == str(total["failed_attempts"])
    days = ("--since", "2026-09-15", "--until", "2026-09-20")
    desk.page.goto(f"{served}?since=2026-09-15&until=2026-09-20")
    assert figure(desk.page, "spent") == typeset(dollars(float(str(costs(log, *days)["cost_usd"]))))


def test_filters_choose_what_is_summed(desk: Visit) -> None:
    page = desk.page
    page.locator("select[name=model]").select_option("small")
    page.locator("select[name=period]").select_option("all")
    page.get_by_role("button", name="Show").click()
    assert {"model=small", "period=all"} <= set(page.url.partition("?")[2].split("&"))
    assert figure(page, "spent") == "$0.14"
    rows = page.locator("section:has(#by-model) tbody tr")
    assert rows.count() == 1
    page.locator("#by-task_type").click()
    page.locator("section:has(#by-task_type) tbody a", has_text="code").click()
    assert "task_type=code" in page.url
    assert "model=small" in page.url
    assert desk.complaints == []


def test_hostile_text_is_only_text(desk: Visit, served: str) -> None:
    page = desk.page
    page.goto(f"{served}?period=all")
    assert page.locator("section:has(#by-model) th", has_text="<script>alert(1)").is_visible()
    page.locator("#calls").click()
    page.locator("section:has(#calls) tbody a", has_text="<script>").first.click()
    assert "answered this request" in page.locator("h1").inner_text()
    page.goto(f"{served}?model={HOSTILE}".replace("#", "%23").replace("&", "%26"))
    assert desk.complaints == []
    assert page.evaluate("document.querySelectorAll('script, img').length") == 0


def test_a_call_is_explained_and_its_text_is_not_shown(desk: Visit, served: str) -> None:
    desk.page.locator("#calls").click()
    desk.page.get_by_label("Call id").fill("c1")
    desk.page.get_by_role("button", name="Explain").click()
    assert desk.page.locator("h1").inner_text() == "Why large answered this request"
    assert "2 + 2?" not in desk.page.content()
    assert desk.complaints == []


def test_landmarks_headings_and_tables_have_names(desk: Visit) -> None:
    unfold(desk.page)
    unnamed = desk.page.evaluate(
        """[...document.querySelectorAll("table")].filter((table) => !table.caption?.innerText.trim()).length
           + [...document.querySelectorAll("section")].filter((part) =>
               !document.getElementById(part.getAttribute("aria-labelledby"))).length
           + [...document.querySelectorAll("th")].filter((cell) => !cell.scope).length
           + [...document.querySelectorAll("select, input")].filter((input) => !input.labels.length).length"""
    )
    levels = desk.page.evaluate(
        "[...document.querySelectorAll('h1, h2, h3')].map((heading) => +heading.tagName[1])"
    )
    assert unnamed == 0
    assert levels[0] == 1
    assert set(levels[1:]) == {2}
    assert desk.page.locator("main").count() == 1


@pytest.mark.parametrize(
    ("path", "host", "method", "status"),
    [
        pytest.param("/", None, "GET", 200, id="the page"),
        pytest.param("/", "attacker.example", "GET", 400, id="a foreign name for this machine"),
        pytest.param("/?modle=x", None, "GET", 400, id="an unknown filter"),
        pytest.param("/?period=<script>", None, "GET", 400, id="a period that is none"),
        pytest.param("/", None, "POST", 405, id="it only reads"),
        pytest.param("/call?id=" + "x" * 5000, None, "GET", 200, id="an endless id"),
        pytest.param("/other", None, "GET", 404, id="another page"),
    ],
)
def test_requests_get_their_status(
    served: str, path: str, host: str | None, method: str, status: int
) -> None:
    connection = http.client.HTTPConnection(served.removeprefix("http://").rstrip("/"), timeout=PATIENCE_S)
    connection.request(
        method, path.replace("<", "%3C").replace(">", "%3E"), headers={"Host": host} if host else {}
    )
    answer = connection.getresponse()
    text = answer.read().decode()
    assert answer.status == status
    assert "<script>" not in text
    if status == 200:
        assert "default-src 'none'" in str(answer.getheader("Content-Security-Policy"))
        assert "script-src" not in str(answer.getheader("Content-Security-Policy"))


def test_the_file_of_the_costs_command_is_the_same_first_screen(
    browser: Browser, log: str, tmp_path: Path
) -> None:
    out = tmp_path / "costs.html"
    subprocess.run([*COMMAND, "costs", log, "--html", str(out)], check=True, capture_output=True)
    for one in visited(browser, out.as_uri(), PHONE, "dark"):
        assert one.page.locator("h1").inner_text().startswith("Saved $")
        assert one.page.locator("a, form").count() == 0
        assert one.requests == [out.as_uri(), "data:,"][: len(one.requests)]
        assert one.complaints == []
