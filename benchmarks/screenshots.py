"""Pictures for the documentation: the first screens of the dashboard and of the demo's report."""

from __future__ import annotations

import argparse
import random
import shutil
import tempfile
import time
from datetime import UTC
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, sync_playwright

from router.call_log import CallLog, CallRecord
from training.dashboard.kept import KeptCells
from training.dashboard.pages import Site, dashboard_page
from training.dashboard.query import Query

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
REPORT = Path(__file__).parents[1] / "runs" / "demo" / "report" / "report.html"
SCHEMES: tuple[Literal["light"], Literal["dark"]] = ("light", "dark")
SIZE = (1200, 800)
DAY_S = 86_400.0
CALLS = 4_000
DAYS = 21


def main() -> None:
    """Take the pictures of the dashboard on invented calls, and of the report where the demo has run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--report", type=Path, default=REPORT, help="the report of `make demo`")
    report: Path = parser.parse_args().report
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        raise SystemExit("Chromium is not installed: install chromium")
    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        page = Path(folder) / "dashboard.html"
        site = Site(kept=KeptCells(invented_log(Path(folder) / "calls.db"), None, UTC))
        page.write_text(dashboard_page(site, Query()).replace(folder + "/", ""), encoding="utf-8")
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        take(browser, page, "dashboard")
        if report.is_file():
            take(browser, report, "report")
        else:
            print(f"{report}: no report there; run make demo first for its pictures")
        browser.close()


def take(browser: Browser, page: Path, name: str) -> None:
    """Take a page's first screen in both schemes."""
    for scheme in SCHEMES:
        tab = browser.new_page(viewport={"width": SIZE[0], "height": SIZE[1]}, color_scheme=scheme)
        tab.goto(page.resolve().as_uri())
        tab.wait_for_load_state("networkidle")
        tab.screenshot(path=PICTURES / f"{name}-{scheme}.png")
        tab.close()
        print(f"written: {PICTURES / f'{name}-{scheme}.png'}")


def invented_log(path: Path) -> str:
    """A log of invented calls up to now, most of which a small model answers."""
    draw, end = random.Random(0), time.time()
    log = CallLog.open(path)
    for number in range(CALLS):
        small = draw.random() < 0.7
        strong = draw.uniform(0.002, 0.02)
        log.write(
            CallRecord(
                call_id=f"call-{number:05d}",
                session_id=f"session-{number // 3}",
                time=end - (1 - number / CALLS) * DAYS * DAY_S,
                messages=None,
                model="gpt-5-mini" if small else "gpt-5",
                chosen_model="gpt-5-mini" if small else "gpt-5",
                task_type=draw.choice(["code", "summary", "support"]),
                tags=[draw.choice(["web", "batch"])],
                success=None if draw.random() < 0.4 else draw.random() < 0.9,
                outcome_source="feedback",
                cost_usd=strong * (0.12 if small else 1.0),
                baseline_model="gpt-5",
                baseline_cost_usd=strong,
                latency_s=draw.lognormvariate(0, 0.5),
                policy_version="4b825dc642cb" if number < CALLS * 0.8 else "9c1185a5c5e9",
                decision_source="learned" if draw.random() < 0.8 else "rule",
                error="rate_limit: RateLimitError" if draw.random() < 0.01 else None,
            )
        )
    log.flush(60)
    log.close()
    return str(path)


if __name__ == "__main__":
    main()
