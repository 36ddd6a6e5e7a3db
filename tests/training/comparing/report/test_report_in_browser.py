"""The report as its readers meet it: in Chromium, on phone and desk, by day and by night, and on paper."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.services.waiting import PATIENCE_S
from tests.training.comparing.report.reports import CASES, HOSTILE
from training.comparing.report.write import html
from training.pages.rendering import PALETTES

PHONE, DESK = (390, 844), (1440, 900)
PAPER = 688
"""Width between the margins of A4, in CSS pixels."""
Scheme = Literal["light", "dark"]
Open = Callable[[str, tuple[int, int], Scheme], "Visit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """A page that was opened, and what it did meanwhile."""

    page: Page
    size: tuple[int, int]
    scheme: Scheme
    url: str
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reports")


@pytest.fixture(scope="module")
def opened(browser: Browser, folder: Path) -> Iterator[Open]:
    """Opens the page of a hand-made comparison, by its name; the same page for the same reader."""
    visits: dict[tuple[str, tuple[int, int], Scheme], Visit] = {}

    def open_(name: str, size: tuple[int, int], scheme: Scheme) -> Visit:
        if (name, size, scheme) in visits:
            return visits[name, size, scheme]
        path = folder / f"{name}.html"
        if not path.exists():
            path.write_text(html(CASES[name]()), encoding="utf-8")
        # Reduced motion: a scroll is over at once, so that a place on the screen stays where it was seen.
        page = browser.new_page(
            viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, reduced_motion="reduce"
        )
        page.set_default_timeout(1000 * PATIENCE_S)
        visit = Visit(page=page, size=size, scheme=scheme, url=path.as_uri())
        visits[name, size, scheme] = visit
        page.on("request", lambda request: visit.requests.append(request.url))
        page.on("console", lambda message: visit.complaints.append(message.text))
        page.on("pageerror", lambda error: visit.complaints.append(str(error)))
        page.on("dialog", lambda dialog: visit.complaints.append(dialog.message))
        page.goto(visit.url)
        drawn(page)
        return visit

    yield open_
    for visit in visits.values():
        visit.page.close()


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((PHONE, "light"), id="phone, light"),
        pytest.param((PHONE, "dark"), id="phone, dark"),
        pytest.param((DESK, "light"), id="desk, light"),
        pytest.param((DESK, "dark"), id="desk, dark"),
    ],
)
def visit(request: pytest.FixtureRequest, opened: Open) -> Visit:
    """The report of the exact comparison."""
    return opened("exact", *request.param)


def drawn(page: Page) -> None:
    """Wait until every chart that has room is there, painted anew where it has to be."""
    page.wait_for_function(
        """[...document.querySelectorAll(".chart.drawn")]
           .every((chart) => chart.querySelector(".scatterlayer .trace :is(path.js-line, path.point)"))"""
    )


def test_the_page_asks_for_nothing_but_itself_and_complains_of_nothing(visit: Visit) -> None:
    drawn(visit.page)
    assert visit.requests == [visit.url]
    assert visit.complaints == []


def test_the_page_does_not_scroll_sideways(visit: Visit) -> None:
    assert visit.page.evaluate("document.documentElement.scrollWidth") == visit.size[0]


def test_the_answer_is_in_the_first_screen_after_what_is_lost(visit: Visit) -> None:
    losses = visit.page.locator(".losses").bounding_box()
    figures = visit.page.locator(".figures").bounding_box()
    assert losses is not None
    assert figures is not None
    assert losses["y"] + losses["height"] <= figures["y"]
    assert figures["y"] + figures["height"] <= visit.size[1]
    said = visit.page.locator(".figures").inner_text()
    assert all(
        part in said
        for part in (
            "\N{MINUS SIGN}$2.38",
            "\N{MINUS SIGN}$2.55 to \N{MINUS SIGN}$2.21",
            "cheaper",
            "+6.1",
            "not shown to differ",
        )
    )
    advice = visit.page.locator("h1, .advice").all()
    assert all((box := one.bounding_box()) and box["y"] + box["height"] <= losses["y"] for one in advice)


def test_details_are_folded_and_a_link_opens_them(opened: Open) -> None:
    page = opened("exact", (1000, 800), "light").page
    assert page.locator("details.fold[open]").count() == 0
    assert not page.get_by_role("heading", name="Where does it lose?").is_visible()
    page.get_by_role("link", name="Where it loses").click()
    expect(page.get_by_role("heading", name="Where does it lose?")).to_be_visible()
    page.get_by_text("For the statistician").click()
    drawn(page)
    expect(page.locator("#reliability .main-svg").first).to_be_visible()


def test_no_name_of_a_policy_covers_the_verdict_beside_it(opened: Open) -> None:
    page = opened("exact", (1200, 800), "light").page
    page.get_by_text("For whoever pays").click()
    names = page.locator(".verdict b")
    assert names.count() > 3
    assert names.evaluate_all("(all) => all.filter((one) => one.scrollWidth > one.clientWidth)") == []


def test_rows_become_cards_on_a_phone_with_the_deciding_number_first(opened: Open) -> None:
    page = opened("exact", (389, 844), "light").page
    page.get_by_text("For the statistician").click()
    table = page.get_by_role("region", name="Every policy", exact=True)
    row = table.locator(".cards tbody tr:has(td.decides)").nth(1)
    cells = row.locator("td").evaluate_all(
        "(all) => all.map((one) => [one.dataset.label, one.getBoundingClientRect().top])"
    )
    first = min(cells, key=lambda cell: cell[1])[0]
    assert first == "Router\N{RIGHT SINGLE QUOTATION MARK}s success less this"
    assert page.locator(".scroll:has(.cards)").evaluate_all(
        "(all) => all.every((one) => one.scrollWidth <= one.clientWidth)"
    )


def test_the_curve_and_every_kind_of_policy_are_seen(visit: Visit) -> None:
    drawn(visit.page)
    boxes = visit.page.evaluate(
        """[...document.querySelectorAll("#cost-quality .trace :is(path.js-line, path.point)")]
           .map((path) => path.getBoundingClientRect()).map(({left, right, width}) => [left, right, width])"""
    )
    assert sum(width > visit.size[0] / 3 for _, _, width in boxes) == 4, "three curves and a band"
    assert sum(0 < width < 40 for _, _, width in boxes) == 17
    assert all(left >= 0 and right <= visit.size[0] for left, right, _ in boxes)


def test_charts_are_painted_in_the_scheme_of_the_page(visit: Visit) -> None:
    drawn(visit.page)
    assert painted(visit.page) == rgb(PALETTES[visit.scheme]["card"])


def test_every_label_stays_inside_its_chart(visit: Visit) -> None:
    drawn(visit.page)
    outside = visit.page.evaluate(
        """[...document.querySelectorAll(".chart")].flatMap((chart) => {
             const frame = chart.getBoundingClientRect();
             return [...chart.querySelectorAll("text")].filter((text) => {
               const box = text.getBoundingClientRect();
               return box.width && (box.left < frame.left - 1 || box.right > frame.right + 1);
             }).map((text) => text.textContent);
           })"""
    )
    assert outside == []


def test_charts_are_painted_anew_when_the_scheme_or_the_width_changes(opened: Open) -> None:
    page = opened("exact", (900, 900), "light").page
    curve = page.locator("#cost-quality .main-svg").first
    before = curve.bounding_box()
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size({"width": 600, "height": 900})
    expect(curve).to_have_css("background-color", rgb(PALETTES["dark"]["card"]))
    expect(curve).not_to_have_css("width", f"{before['width'] if before else 0:g}px")
    assert page.evaluate("document.documentElement.scrollWidth") == 600


def painted(page: Page) -> str:
    """The colour behind the curve."""
    return str(
        page.evaluate("getComputedStyle(document.querySelector('#cost-quality .main-svg')).backgroundColor")
    )


def rgb(color: str) -> str:
    return "rgb({}, {}, {})".format(*(int(color[at : at + 2], 16) for at in (1, 3, 5)))


@pytest.mark.parametrize("name", ["hostile", "hostile off-policy"])
def test_hostile_names_and_texts_are_only_ever_read(opened: Open, name: str) -> None:
    visit = opened(name, PHONE, "light")
    page = visit.page
    drawn(page)
    assert (visit.requests, visit.complaints) == ([visit.url], [])
    assert page.evaluate("window.hacked") is None
    assert page.locator("img, iframe, object, a:not([href^='#']), [onerror], [onload]").count() == 0
    assert page.locator("script").count() == 3
    assert "<img src=x onerror=" in (page.locator("#cost-quality").text_content() or "")
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE[0]
    box = page.locator(".figures").bounding_box()
    assert box is not None
    assert box["y"] + box["height"] <= PHONE[1]


def test_hover_text_shows_a_hostile_name_as_it_is_written(opened: Open) -> None:
    page = opened("hostile", PHONE, "light").page
    drawn(page)
    page.locator("#cost-quality").scroll_into_view_if_needed()
    cheap = page.locator("#cost-quality .trace path.point").evaluate_all(
        """(points) => points.map((point) => point.getBoundingClientRect())
                             .map(({x, y, width}) => [x + width / 2, y + width / 2])"""
    )
    x, y = min(cheap)
    page.mouse.move(x, y)
    # Plotly puts the text element in place before its words.
    expect(page.locator("#cost-quality .hoverlayer")).to_contain_text(HOSTILE[2][:30])


@pytest.mark.parametrize("name", ["off-policy", "costs unknown", "one model"])
def test_every_kind_of_comparison_opens_without_complaint(opened: Open, name: str) -> None:
    visit = opened(name, PHONE, "dark")
    assert (visit.requests, visit.complaints) == ([visit.url], [])
    assert visit.page.evaluate("document.documentElement.scrollWidth") == PHONE[0]


def test_without_scripts_the_answer_and_the_tables_are_there(
    browser: Browser, opened: Open, folder: Path
) -> None:
    opened("exact", DESK, "light")
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto((folder / "exact.html").as_uri())
        assert "\N{MINUS SIGN}$2.38" in page.locator(".figures").inner_text()
        assert "does not run here" in page.locator("#cost-quality").inner_text()
        page.get_by_text("For the statistician").click()
        assert page.get_by_role("table", name="Every policy.").is_visible()


def test_a_screen_reader_finds_landmarks_headings_tables_and_charts(opened: Open) -> None:
    page = opened("off-policy", (391, 844), "dark").page
    for one in page.locator("details.fold > summary").all():
        one.click()
    tree = page.locator("body").aria_snapshot()
    for part in (
        "- main:",
        '- navigation "Contents"',
        '- heading "Deploy this router" [level=1]',
        '- heading "Where does it lose?" [level=2]',
        '- img "Success rate over cost per 1,000 requests',
        '- rowheader "keyword heuristic"',
        '- columnheader "Success"',
    ):
        assert part in tree
    assert 'link "oracle"' not in tree


def test_headings_come_in_order_and_every_table_is_described(opened: Open) -> None:
    page = opened("off-policy", PHONE, "dark").page
    levels = page.locator("h1, h2, h3, h4").evaluate_all("(all) => all.map((one) => Number(one.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert page.locator("table:not(:has(caption))").count() == 0
    assert page.locator("th:not([scope])").count() == 0
    assert page.locator(".chart:not([role='img'][aria-label])").count() == 0


def test_paper_holds_the_answer_the_charts_and_the_last_column(visit: Visit, tmp_path: Path) -> None:
    drawn(visit.page)
    content = visit.page.pdf(prefer_css_page_size=True, path=tmp_path / "report.pdf")
    assert content.startswith(b"%PDF")
    assert content.count(b"/Type /Page\n") > 4
    if shutil.which("pdftotext") is None:
        return
    done = subprocess.run(
        ["pdftotext", "-layout", tmp_path / "report.pdf", "-"], capture_output=True, check=True
    )
    text = done.stdout.decode()
    for part in (
        "\N{MINUS SIGN}$2.38",
        "not shown to differ",
        "LiteLLM heuristic_v2",
        "USD per 1,000 requests, logarithmic scale",
        "18,400",
        "Confidence from",
        "customer-facing",
        "sha256:9f2c4e1ab07d55c3",
    ):
        assert part in text


def test_no_table_is_wider_than_the_paper(opened: Open) -> None:
    page = opened("hostile off-policy", PHONE, "light").page
    page.set_viewport_size({"width": PAPER, "height": 900})
    page.emulate_media(media="print")
    wide = page.locator("table, figure, pre").evaluate_all(
        """(all, paper) => all.map((one) => one.getBoundingClientRect().right)
                              .filter((right) => right > paper + 1)""",
        PAPER,
    )
    assert wide == []


def test_closed_details_are_printed_and_closed_again(opened: Open) -> None:
    page = opened("exact", DESK, "light").page
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details[open]").count() == 0


def test_the_page_forbids_what_would_get_past_the_escaping(opened: Open) -> None:
    page = opened("exact", DESK, "light").page
    page.evaluate(
        """() => {
          const script = document.createElement("script");
          script.textContent = "window.hacked = true";
          document.body.append(script);
          const image = document.createElement("img");
          image.src = "http://127.0.0.1:9/leak.png";
          document.body.append(image);
        }"""
    )
    assert page.evaluate("window.hacked") is None
    assert page.evaluate("fetch('http://127.0.0.1:9/leak').then(() => 'sent', () => 'stopped')") == "stopped"
