"""A real browser for the tests: the system's own Chromium, without head, profile or network of its own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.services.waiting import PATIENCE_S

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NAMES = ("chromium", "chromium-browser", "google-chrome")
REQUIRED = ("CI", "POINTSMAN_REQUIRE_SERVICES")
"""Environment variables that turn a missing Chromium into a failure."""
FLAGS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium for a module's tests; skipped where it is not installed, unless it is required.

    Not for the whole run: as long as Playwright runs, its event loop does too, and no test may start another.
    """
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        missing = f"Chromium is not installed (no {', '.join(NAMES)} on PATH): install chromium"
        required = [name for name in REQUIRED if os.environ.get(name)]
        if required:
            pytest.fail(f"{missing}; {required[0]} is set, so it is required")
        pytest.skip(missing)
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=1000 * PATIENCE_S)

    # Chromium's sandbox does not start as root.
    flags = [*FLAGS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, args=flags)
        yield running
        running.close()
